"""Equations and inequalities by their form: what they define, for which name, and as a comparison with zero."""

from thinkling.verify.math.build import is_variable
from thinkling.verify.math.tree import Apply, Listing, Relation, Symbol, Tuple, replace, variables


def one_name(items: tuple) -> tuple:
    """`x = 2, x = 3` and `x = 2, 3` are the values 2 and 3."""
    heads = {item.sides[0] if defines(item) else None for item in items}
    return tuple(item.sides[1] if defines(item) else item for item in items) if len(heads - {None}) == 1 else items


def named_values(listing: Listing) -> tuple | None:
    """`y = 3, x = 2` as the point (2, 3): the values in the order of their names, each of which must stand once."""
    if not all(defines(item) for item in listing.items):
        return None
    named = {item.sides[0].name: item.sides[1] for item in listing.items}
    return tuple(named[name] for name in sorted(named)) if len(named) == len(listing.items) else None


def defines(item: object) -> bool:
    return isinstance(item, Relation) and item.operators == ("=",) and is_variable(item.sides[0])


def is_head(side: object) -> bool:
    """What stands before `=` in a definition: x, f(x), (x, y)."""
    if isinstance(side, Tuple):
        return all(map(is_variable, side.items))
    return is_variable(side) or is_function(side)


def is_function(side: object) -> bool:
    """f(x) or f(x, y), as it stands before `=` in a definition."""
    return isinstance(side, Apply) and side.function.endswith("()") and all(map(is_variable, side.arguments))


def renamed(a: Relation, b: Relation) -> tuple[Relation, Relation]:
    """`f(t) = t^2` with b's name for the bound variable, so that it equals `f(x) = x^2`."""
    first, second = a.sides[0], b.sides[0]
    if (
        not (is_function(first) and is_function(second))
        or first.function != second.function
        or len(first.arguments) != len(second.arguments)
    ):
        return a, b
    if variables(b) & variables(first) and first.arguments != second.arguments:
        return a, b
    names = dict(zip(first.arguments, second.arguments, strict=True))
    return replace(a, lambda part: names.get(part) if isinstance(part, Symbol) else None), b


def from_zero(node: Relation) -> tuple[Apply, str]:
    """`a < b` as a - b and its sense, with > and ≥ turned round."""
    left, right = node.sides
    sense = node.operators[0]
    if sense in (">", "≥"):
        left, right, sense = right, left, {">": "<", "≥": "≤"}[sense]
    return Apply("+", (left, Apply("neg", (right,)))), sense
