"""An inequality in one variable as the set that it bounds, solved exactly: -x > -1, |x| < 3, x^2 > 4, 1/x ≤ 2.

Between two zeros and poles an expression keeps its sign, so one point decides each stretch. Left out are
inequalities whose zeros no square root writes.
"""

from fractions import Fraction
from functools import cmp_to_key
from itertools import product

from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.exact import Undefined
from thinkling.verify.math.expressions.points import substituted
from thinkling.verify.math.expressions.polynomials import quotient, roots_of
from thinkling.verify.math.expressions.tree import (
    EXPRESSIONS,
    INFINITY,
    Apply,
    Interval,
    Number,
    Relation,
    Set,
    SetOperation,
    Solution,
    Symbol,
    replace,
    variables,
    walk,
)

MAX_CORNERS, MAX_ZEROS = 3, 12
_ZERO = Number(Fraction(0))
_HOLDS = {"<": (-1,), "≤": (-1, 0), "≠": (-1, 1)}  # what rises: build.relation turns > and ≥ round


def solved(node: Relation, calculator: Calculator) -> Solution | None:
    """The set with its variable's name; None where this is no such inequality. Raises CannotTell."""
    names = variables(node)
    plain = len(names) == 1 and set(node.operators) <= set(_HOLDS)
    if not plain or not all(isinstance(side, EXPRESSIONS) for side in node.sides) or len(node.sides) > 3:
        return None
    name, parts = next(iter(names)), []
    for left, operator, right in zip(node.sides, node.operators, node.sides[1:], strict=False):
        part = _one(Apply("+", (left, Apply("neg", (right,)))), operator, name, calculator)
        if part is None:
            return None
        parts.append(part)
    return Solution(name, parts[0] if len(parts) == 1 else SetOperation("∩", tuple(parts)))


def _one(tree: object, operator: str, name: str, calculator: Calculator) -> object | None:
    zeros = _zeros(tree, name, calculator)
    if zeros is None:
        return None
    low, pieces = Apply("neg", (Symbol(INFINITY),)), []
    for place, high in enumerate([*zeros, Symbol(INFINITY)]):
        inside = _between(low if place else None, high if place < len(zeros) else None, calculator)
        if _sign(tree, name, inside, calculator) in _HOLDS[operator]:
            pieces.append(Interval(low, high, False, False))
        if place < len(zeros) and _sign(tree, name, high, calculator) in _HOLDS[operator]:
            pieces.append(Set((high,)))
        low = high
    return SetOperation("∪", tuple(pieces)) if pieces else Set(())


def _zeros(tree: object, name: str, calculator: Calculator) -> list | None:
    """Every zero and pole in rising order, and maybe more; None where not all are found.

    A zero is one for some choice of the signs of what stands in |...|; at a corner that is none the sign stays.
    """
    corners = list(dict.fromkeys(part for part in walk(tree) if isinstance(part, Apply) and part.function == "abs"))
    if len(corners) > MAX_CORNERS:
        return None
    found: list = []
    for signs in product((1, -1), repeat=len(corners)):
        chosen = dict(zip(corners, signs, strict=True))
        fraction = quotient(_without_corners(tree, chosen), name)
        if fraction is None:
            return None
        for side in fraction:
            if len(side) > 1:
                roots = roots_of(side)
                if roots is None:
                    return None
                found += roots
    order = cmp_to_key(lambda a, b: calculator.order(a, b))
    ordered: list = []
    for zero in sorted(dict.fromkeys(found), key=order):
        if not ordered or calculator.order(ordered[-1], zero):
            ordered.append(zero)
    return ordered if len(ordered) <= MAX_ZEROS else None


def _without_corners(tree: object, signs: dict) -> object:
    def plain(part: object) -> object | None:
        if part in signs:
            inside = _without_corners(part.arguments[0], signs)
            return inside if signs[part] > 0 else Apply("neg", (inside,))
        return None

    return replace(tree, plain)


def _between(low: object | None, high: object | None, calculator: Calculator) -> Number:
    """A rational strictly between two ends; None is no end."""
    ends = [None if end is None else calculator.rational(end) for end in (low, high)]
    if ends[0] is None:
        return Number(Fraction(0) if ends[1] is None else ends[1] - 1)
    return Number(ends[0] + 1 if ends[1] is None else (ends[0] + ends[1]) / 2)


def _sign(tree: object, name: str, at: object, calculator: Calculator) -> int | None:
    try:
        return calculator.order(substituted(tree, {name: at}), _ZERO)
    except Undefined:
        return None
