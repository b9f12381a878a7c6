"""Equations and inequalities by their form: what they define, for which name, and as a comparison with zero."""

from dataclasses import dataclass

from thinkling.verify.math.expressions.build import is_variable
from thinkling.verify.math.expressions.tree import (
    Apply,
    Listing,
    Number,
    Quantity,
    Relation,
    Symbol,
    Tuple,
    replace,
    unknowns,
    variables,
    walk,
)


@dataclass(frozen=True)
class Stated:
    """What a chain of = and ≈ says: the sides with something unknown in them, their exact values, and rounded ones."""

    heads: tuple
    exact: tuple
    rough: tuple

    @property
    def values(self) -> tuple:
        """The sides that an answer may be equal to: the last exact one, and what it was rounded to."""
        return (*self.exact[-1:], *self.rough)


def stated(node: Relation) -> Stated | None:
    """What `x = 5`, `m + n = 73`, `f(x) = 2x`, `x = 1/3 ≈ 0.33` and `1 + 1 = 2` state; None for other relations.

    An equation that is to be solved, `2x = 10` or `x^2 - 4 = 0`, states no value.
    """
    if not set(node.operators) <= {"=", "≈"}:
        return None
    if node.operators == ("≈",) and _is_decimal(node.sides[0]) and not _is_decimal(node.sides[1]):
        node = Relation(node.sides[::-1], node.operators)  # 0.333 ≈ 1/3
    rounded = (False, *(operator == "≈" for operator in node.operators))
    first_rounded = rounded.index(True) if True in rounded else len(rounded)
    places = [place for place, side in enumerate(node.sides) if not unknowns((side,))]
    if not places:
        if is_head(node.sides[0]):
            places = list(range(1, len(node.sides)))
        elif len(node.sides) == 2 and is_head(node.sides[1]):
            places = [0]
        else:
            return None
    elif any(_to_be_solved(side, node.sides[places[-1]]) for i, side in enumerate(node.sides) if i not in places):
        return None
    heads = tuple(side for place, side in enumerate(node.sides) if place not in places)
    exact = tuple(node.sides[place] for place in places if place < first_rounded)
    rough = tuple(node.sides[place] for place in places if place >= first_rounded)
    return Stated(heads, exact, rough)


def _is_decimal(side: object) -> bool:
    """Whether a side is written in digits, and may so be rounded."""
    side = side.expression if isinstance(side, Quantity) else side
    return isinstance(side, Number) and (side.decimals is not None or side.value.denominator == 1)


def _to_be_solved(side: object, value: object) -> bool:
    """A line in one variable, such as 2x + 1, is an equation's side; so is a sum that is said to be zero."""
    names = variables(side)
    if is_head(side) or not isinstance(side, Apply):
        return False
    zero = isinstance(value, Number) and value.value == 0
    linear = all(not isinstance(part, Apply) or part.function in ("+", "*", "/", "neg") for part in walk(side))
    return (len(names) == 1 and linear) or (zero and side.function == "+")


def is_curve(node: object) -> bool:
    """`x^2 + y^2 = 25` and `2x + 3y = 6`, where the number says nothing by itself; x + y and xy are quantities."""
    if not (isinstance(node, Relation) and node.operators == ("=",)):
        return False
    sides = [side for side in node.sides if {"x", "y"} <= variables(side)]
    return len(sides) == 1 and any(isinstance(part, Number) for part in walk(sides[0]))


def heads(items: tuple) -> set[str]:
    """The names that are given a value: x and y of `x = 1, y = 2`; x alone of the roots `x_1 = 1, x_2 = 2`."""
    names = {item.sides[0].name for item in items if defines(item)}
    return {name[0] if name[0] in "xztr" and name[1:2] == "_" else name for name in names}


def one_name(items: tuple) -> tuple:
    """`x = 2, x = 3` and `x = 2, 3` are the values 2 and 3."""
    return tuple(item.sides[1] if defines(item) else item for item in items) if len(heads(items)) == 1 else items


def named_values(node: object) -> dict[str, object] | None:
    """`y = 3, x = 2` and `(x, y) = (2, 3)` as values by name; None where a name stands twice, or not all have one."""
    match node:
        case Listing(items) if all(map(defines, items)):
            found = {item.sides[0].name: item.sides[1] for item in items}
            return found if len(found) == len(items) else None
        case Relation((Tuple(names), Tuple(values)), ("=",)) if len(names) == len(values):
            found = {name.name: value for name, value in zip(names, values, strict=True) if is_variable(name)}
            return found if len(found) == len(names) else None
        case Relation((*names, value), operators) if len(names) > 1 and set(operators) == {"="}:  # x = y = 5
            if all(map(is_variable, names)) and len(set(names)) == len(names) and not unknowns((value,)):
                return {name.name: value for name in names}
    return None


def in_order(named: dict[str, object], node: object) -> tuple:
    """The values as a point: in the alphabet's order, but as they are written in `(m, b) = (2, 3)`."""
    usual = set(named) <= set("xyz") or set(named) <= set("abcd")
    written = isinstance(node, Relation) and not usual
    return tuple(named[name] for name in (named if written else sorted(named, key=lambda name: name.lstrip("\\"))))


def defines(item: object) -> bool:
    return isinstance(item, Relation) and item.operators in (("=",), ("≈",)) and is_variable(item.sides[0])


def is_head(side: object) -> bool:
    """What stands before `=` in a definition: x, f(x), (x, y)."""
    if isinstance(side, Tuple):
        return all(map(is_variable, side.items))
    return is_variable(side) or is_function(side)


def is_function(side: object) -> bool:
    """f(x), f(x, y) or f(g(x)), as it stands before `=` in a definition."""
    if not (isinstance(side, Apply) and side.function.endswith("()")) or side.function in ("max()", "min()"):
        return False
    if not all(is_variable(argument) or is_function(argument) for argument in side.arguments):
        return False
    return not any(argument.name.isupper() for argument in side.arguments if isinstance(argument, Symbol))  # P(A)


def renamed(a: Relation, b: Relation) -> tuple[Relation, Relation]:
    """`f(t) = t^2` with b's name for the bound variable, so that it equals `f(x) = x^2`."""
    first, second = a.sides[0], b.sides[0]
    if (
        not (is_function(first) and is_function(second))
        or first.function != second.function
        or len(first.arguments) != len(second.arguments)
    ):
        return a, b
    if first.arguments != second.arguments and (
        (variables(b) - variables(second)) & variables(first) or (variables(a) - variables(first)) & variables(second)
    ):
        return a, b  # f(q) = ax + b is not f(x) = ax + b
    names = dict(zip(first.arguments, second.arguments, strict=True))
    return replace(a, lambda part: names.get(part) if isinstance(part, Symbol) else None), b


def from_zero(node: Relation) -> tuple[Apply, str]:
    """`a < b` as a - b and its sense, with > and ≥ turned round."""
    left, right = node.sides
    sense = node.operators[0]
    if sense in (">", "≥"):
        left, right, sense = right, left, {">": "<", "≥": "≤"}[sense]
    return Apply("+", (left, Apply("neg", (right,)))), sense
