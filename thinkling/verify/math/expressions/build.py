"""Parts -> nodes of the tree: what brackets, signs, relations and digits mean once the grammar has found them."""

import math
from fractions import Fraction

from thinkling.verify.math.expressions.tokens import NotMathematics
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    EXPRESSIONS,
    INFINITY,
    NOUNS,
    Apply,
    Interval,
    Listing,
    Number,
    Numeral,
    Qualified,
    Quantity,
    Relation,
    Residue,
    Set,
    SetOperation,
    Solution,
    Symbol,
    Tuple,
    Words,
    replace,
    variables,
)  # fmt: skip

REALS = Interval(Apply("neg", (Symbol(INFINITY),)), Symbol(INFINITY), False, False)
SIGN = Symbol("±")  # `a ± b` is a + ± * b, until it is expanded into two answers
SETS = (Interval, SetOperation, Set)


def expression(node: object) -> object:
    """The node itself, where one can calculate with it. Raises NotMathematics for sets, relations and the like."""
    if isinstance(node, Quantity) and node.unit in ("°", "%"):
        return Apply(node.unit, (node.expression,))
    if not isinstance(node, EXPRESSIONS):
        raise NotMathematics(f"{NOUNS[type(node)]} inside a calculation")
    if node == Symbol(ELLIPSIS):
        raise NotMathematics("dots inside a calculation")
    return node


def negated(node: object) -> object:
    node = expression(node)
    if isinstance(node, Number):
        return Number(-node.value, node.decimals)
    return node.arguments[0] if isinstance(node, Apply) and node.function == "neg" else Apply("neg", (node,))


def product(factors: tuple) -> object:
    return factors[0] if len(factors) == 1 else Apply("*", tuple(map(expression, factors)))


def number(digits: str) -> Number:
    """`12`, `.5`, `1.5e-3`, `0.1\\overline{6}`: exactly. Raises NotMathematics past a power of 10^1000."""
    if digits.isdigit():
        return Number(Fraction(int(digits)))
    mantissa, _, exponent = digits.lower().partition("e") if "\\" not in digits else (digits, "", "")
    plain, _, repeating = mantissa.partition("\\")
    whole, _, decimals = plain.partition(".")
    value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals))
    block = "".join(filter(str.isdigit, repeating))
    if block:
        return Number(value + Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(decimals)))
    if exponent:
        if len(exponent) > 4 or abs(int(exponent)) > 1000:
            raise NotMathematics("a power of ten past 10^1000")
        return Number(value * Fraction(10) ** int(exponent), len(decimals) - int(exponent) if decimals else None)
    return Number(value, len(decimals) or None)


def continued(digits: str) -> Number:
    """`0.333...` repeats its last block where that stands there three times, or twice if it is longer than a digit."""
    whole, _, decimals = digits.partition(".")
    for length in range(1, len(decimals) // 2 + 1):
        block = decimals[-length:]
        times = 3 if length == 1 else 2
        if decimals.endswith(block * times):
            start = decimals[:-length]
            while start.endswith(block):
                start = start[:-length]
            return number(f"{whole}.{start}\\overline{{{block}}}")
    raise NotMathematics(f"it is unclear how {digits[:40]}... goes on")


def numeral(digits: str, base: str) -> Numeral:
    if not (digits.isdigit() and base.isdigit() and len(base) <= 2 and 2 <= int(base) <= 36) or any(
        int(digit) >= int(base) for digit in digits
    ):
        raise NotMathematics(f"{digits[:40]} is no numeral in base {base[:40]}")
    return Numeral(digits.lstrip("0") or "0", int(base))


def bracketed(opening: str, items: tuple, joins: set[str], closing: str) -> object:
    """What brackets make of their items: a group, a tuple, an interval, or a set in plain braces `{1, 2}`."""
    if "or" in joins or "and" in joins:
        raise NotMathematics("'and' or 'or' inside brackets")
    if opening == "{":
        return items[0] if len(items) == 1 else Set(items)
    square = opening == "[", closing == "]"
    if len(items) == 1:
        if square[0] != square[1]:
            raise NotMathematics(f"{opening} closed by {closing}")
        return items[0]
    if square == (False, False) or (all(square) and len(items) > 2):
        return Tuple(items)
    if len(items) != 2:
        raise NotMathematics("an interval needs two ends")
    return Interval(expression(items[0]), expression(items[1]), *square)


def as_set(node: object) -> object | None:
    """A node that stands where a set must stand: `x ∈ (0, 1)` is an interval, not a point. None: it is no set."""
    if isinstance(node, Tuple) and len(node.items) == 2:
        return Interval(*node.items, False, False)
    if node in (Symbol("\\mathbb{R}"), Symbol("R")):
        return REALS
    return node if isinstance(node, SETS) else None


def flat(node: object, operator: str = "") -> tuple:
    """The sets that unions of unions, or intersections, are made of."""
    operator = operator or node.operator
    if not (isinstance(node, SetOperation) and node.operator == operator):
        return (node,)
    return tuple(inner for part in node.parts for inner in flat(part, operator))


def _names_a_set(node: object) -> bool:
    """The A and the B^c of A ∪ B^c: sets of which nothing is known."""
    if isinstance(node, Apply) and node.function == "^" and node.arguments[1] in (Symbol("c"), Symbol("C")):
        node = node.arguments[0]
    return isinstance(node, Symbol) and node.name.isalpha() and node.name.isupper() and node != Symbol("R")


def set_operation(operator: str, left: object, right: object) -> SetOperation:
    parts = tuple(node if _names_a_set(node) else as_set(node) for node in (left, right))
    if None in parts:
        raise NotMathematics(f"{operator} of what is no set")
    return SetOperation(operator, parts)


_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠", "≈": "≈"}
_RISING, _FALLING = {"<", "≤"}, {">", "≥"}


def relation(sides: tuple, operators: tuple[str, ...]) -> object:
    """`x ≤ 2`, `0 < x < 5`, `x ≠ 3` and `x ∈ [0, 1]` bound one variable: sets with a name. The rest stay relations."""
    operators = tuple("=" if operator == "≡" else operator for operator in operators)
    if "∈" in operators or "∉" in operators:
        values = as_set(sides[1])
        if operators == ("∈",) and isinstance(sides[0], Tuple) and isinstance(sides[1], Set):
            return Listing(tuple(Relation((sides[0], point), ("=",)) for point in sides[1].items))
        if len(sides) != 2 or not is_variable(sides[0]) or (values is None and not isinstance(sides[1], Symbol)):
            raise NotMathematics("∈ without a variable and a set")
        if operators == ("∉",):
            return Solution(sides[0].name, set_operation("∖", REALS, sides[1]))
        return Solution(sides[0].name, values or sides[1])
    kept = tuple(side.expression if isinstance(side, Quantity) and side.unit == "$" else side for side in sides)
    if set(operators) <= _FALLING:
        kept, operators = kept[::-1], tuple(_FLIPPED[operator] for operator in operators[::-1])
    bounds = [side for side in kept if not is_variable(side)]
    constant = len(bounds) == len(kept) - 1 and all(map(is_constant, bounds))
    if constant and set(operators) <= _RISING:
        if len(kept) == 2:
            name, position = next((side.name, i) for i, side in enumerate(kept) if is_variable(side))
            closed = operators[0] == "≤"
            low_high = (
                (REALS.low, bounds[0], False, closed) if position == 0 else (bounds[0], REALS.high, closed, False)
            )
            return Solution(name, Interval(*low_high))
        if len(kept) == 3 and is_variable(kept[1]):
            return Solution(kept[1].name, Interval(kept[0], kept[2], operators[0] == "≤", operators[1] == "≤"))
    if constant and operators == ("≠",):
        name = next(side.name for side in kept if is_variable(side))
        return Solution(name, SetOperation("∖", (REALS, Set(tuple(bounds)))))
    return Relation(kept, operators)


def as_relation(node: object) -> Relation | None:
    """`x ≤ 2` and `0 < x < 5`, which are sets with a name, as relations again; None for what is no comparison."""
    if isinstance(node, Relation):
        return node
    match node:
        case Solution(name, Interval(low, high, low_closed, high_closed)):
            sides, operators = [Symbol(name)], []
            if low != REALS.low:
                sides, operators = [low, *sides], ["≤" if low_closed else "<"]
            if high != REALS.high:
                sides, operators = [*sides, high], [*operators, "≤" if high_closed else "<"]
            return Relation(tuple(sides), tuple(operators)) if operators else None
        case Solution(name, SetOperation("∖", (whole, Set((one,))))) if whole == REALS:
            return Relation((Symbol(name), one), ("≠",))
    return None


def is_constant(node: object) -> bool:
    return isinstance(node, EXPRESSIONS) and not variables(node)


def residue(sides: tuple, operators: tuple[str, ...], modulus: object) -> Residue:
    """`x ≡ 3 (mod 7)` and `3 (mod 7)`. Raises NotMathematics for all else with a modulus."""
    if not operators:
        return Residue("", expression(sides[0]), modulus)
    if len(sides) != 2 or operators[0] not in ("≡", "=") or not is_variable(sides[0]):
        raise NotMathematics("a congruence that is not of the form x ≡ a (mod m)")
    return Residue(sides[0].name, expression(sides[1]), modulus)


def such_that(head: object, conditions: list) -> object:
    """The set `{x | x > 2}`, `{n ∈ ℤ | 0 < n < 5}`, or `{2k | k ∈ ℤ}`, which is 2k for whole k.

    Raises NotMathematics where the condition is more than a bound.
    """
    condition = conditions[0] if len(conditions) == 1 else None
    form = isinstance(head, EXPRESSIONS) and not isinstance(head, Symbol) and isinstance(condition, Solution)
    if form and variables(head) == {condition.name} and condition.values in WHOLE:
        return Qualified(head, (Words("integer"),))
    name = head.name if isinstance(head, Symbol | Solution) else None
    over_reals = not isinstance(head, Solution) or head.values == REALS or isinstance(head.values, Symbol)
    if not isinstance(condition, Solution) or condition.name != name or not over_reals:
        raise NotMathematics("a set whose condition is no plain bound")
    if isinstance(head, Solution) and isinstance(head.values, Symbol):
        return Solution(name, _lattice(condition.values, head.values))
    return condition


WHOLE, _NATURAL = (Symbol("\\mathbb{Z}"), Symbol("Z")), (Symbol("\\mathbb{N}"), Symbol("N"))
MAX_LISTED = 100


def _lattice(bounds: object, within: Symbol) -> object:
    """The whole numbers in an interval: a set where it has two ends, else with its end moved to a whole number."""
    match bounds:
        case Interval(low, high, low_closed, high_closed) if within in (*WHOLE, *_NATURAL):
            if low == REALS.low and within in _NATURAL:
                low, low_closed = Number(Fraction(1)), True
            if isinstance(low, Number):
                low = Number(Fraction(math.ceil(low.value) if low_closed else math.floor(low.value) + 1))
            if isinstance(high, Number):
                high = Number(Fraction(math.floor(high.value) if high_closed else math.ceil(high.value) - 1))
            if isinstance(low, Number) and isinstance(high, Number) and high.value - low.value < MAX_LISTED:
                return Set(tuple(Number(Fraction(n)) for n in range(int(low.value), int(high.value) + 1)))
            closed = isinstance(low, Number), isinstance(high, Number)
            bounds = Interval(low, high, *closed) if any(closed) else bounds
            within = WHOLE[0]
    return SetOperation("∩", (bounds, within))


def is_variable(node: object) -> bool:
    return isinstance(node, Symbol) and bool(variables(node))


def with_sign(node: object, sign: int) -> object:
    """The tree with every ± taken as +, or as -."""

    def signed(part: object) -> object | None:
        match part:
            case Apply("*", (first, rest)) if first in (SIGN, negated(SIGN)):
                rest = with_sign(rest, sign)
                return rest if (first == SIGN) == (sign > 0) else negated(rest)
        return None

    node = replace(node, signed)
    return relation(node.sides, node.operators) if isinstance(node, Relation) else node  # x ≠ ±1 bounds x
