"""Are two equations or inequalities the same, or is one the other's value? Values by name, chains, and multiples.

The comparison of their parts is equal.py's, which hands itself in.
"""

from fractions import Fraction
from typing import Protocol

from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.build import is_variable
from thinkling.verify.math.expressions.relations import Stated, from_zero, is_function, named_values, renamed, stated
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import (
    EXPRESSIONS,
    NOUNS,
    Apply,
    Number,
    Quantity,
    Ratio,
    Relation,
    Symbol,
    replace,
    unknowns,
    variables,
    walk,
)
from thinkling.verify.math.quantities.units import factor

_MUTUAL = (("≅",), ("∼",), ("∥",), ("⊥",))


class Comparison(Protocol):
    calculator: Calculator
    rules: frozenset[str]

    def difference(self, a: object, b: object) -> str | None: ...

    def entries(self, a: tuple, b: tuple, noun: str) -> str | None: ...


def difference(compare: Comparison, a: object, b: object) -> str | None:
    """Why two answers, at least one of them a relation, are not the same; None where they are."""
    if not (isinstance(a, Relation) and isinstance(b, Relation)):
        return _value(compare, a, b)
    if is_function(a.sides[0]) != is_function(b.sides[0]) and (values := _defined(compare, a, b)):
        return compare.difference(*values)
    a, b = _without_ratios(a), _without_ratios(b)
    named, wanted = named_values(a), named_values(b)
    if named is not None and wanted is not None:
        return by_name(compare, named, wanted)
    a, b = renamed(a, b)
    first, second = (_consistent(compare, node) for node in (a, b))
    if first is not None and second is not None:
        if not (first.heads and second.heads):
            return _alike(compare, first, second, a, b)
        if _same_heads(compare, first.heads, second.heads):
            return _alike(compare, first, second, a, b)
    if a.operators == b.operators and a.operators in _MUTUAL and not compare.entries(a.sides, b.sides[::-1], "side"):
        return None
    if len(a.sides) > 2 or len(b.sides) > 2 or not unknowns((a, b)):
        same = a.operators == b.operators and not compare.entries(a.sides, b.sides, "side")
        return None if same else is_not(a, b)
    if a.operators in _MUTUAL or not all(isinstance(side, EXPRESSIONS) for side in (*a.sides, *b.sides)):
        same = a.operators == b.operators and not compare.entries(a.sides, b.sides, "side")
        return None if same else is_not(a, b)
    (left, sense), (right, wanted_sense) = from_zero(a), from_zero(b)
    if sense != wanted_sense:
        return f"{a.operators[0]} is not {b.operators[0]}"
    sign = compare.calculator.proportional(left, right)
    same = (
        sign > 0
        or (sign < 0 and sense in "=≠≈")
        or ("solved" in compare.rules and sense == "=" and _rearranged(compare, a, b))
    )
    return None if same else is_not(a, b)


def _without_ratios(node: Relation) -> Relation:
    """`x:y = 2:3` as x/y = 2/3."""
    if not all(isinstance(side, Ratio) and len(side.terms) == 2 for side in node.sides):
        return node
    return Relation(tuple(Apply("/", side.terms) for side in node.sides), node.operators)


def by_name(compare: Comparison, named: dict[str, object], wanted: dict[str, object]) -> str | None:
    """`y = 2, x = 1` and `(x, y) = (1, 2)`: the same names with the same values, in any order."""
    if named.keys() != wanted.keys():
        return f"it names {', '.join(sorted(named))}, the reference {', '.join(sorted(wanted))}"
    for name, value in named.items():
        why = compare.difference(value, wanted[name])
        if why is not None:
            return f"{name}: {why}"
    return None


def _value(compare: Comparison, a: object, b: object) -> str | None:
    """`x = 5` against 5: the relation's value, exact or as it was rounded there, is the other answer."""
    relation, other = (a, b) if isinstance(a, Relation) else (b, a)
    found = _consistent(compare, relation)
    if found is None:
        return _kinds(a, b)
    whys = [
        compare.difference(value, other) if relation is a else compare.difference(other, value)
        for value in found.values
    ]
    return None if None in whys else whys[0]


def _alike(compare: Comparison, first: Stated, second: Stated, a: Relation, b: Relation) -> str | None:
    """The exact values where both have one; else what is exact in one may be rounded in the other."""
    if first.exact and second.exact:
        why = compare.difference(first.exact[-1], second.exact[-1])
        return why if why is None else is_not(a, b)
    same = any(compare.difference(x, y) is None for x in first.values for y in second.values)
    return None if same else is_not(a, b)


def _consistent(compare: Comparison, node: Relation) -> Stated | None:
    """What a relation states, if its exact sides are equal and its rounded ones near: 1 + 1 = 3 states nothing."""
    found = stated(node)
    if found is None or not found.values:
        return None
    if any(compare.difference(found.exact[-1], other) is not None for other in found.exact[:-1]):
        return None
    for rough in found.rough if found.exact else ():
        if not _near(compare, found.exact[-1], rough):
            return None
    return found


def _near(compare: Comparison, exact: object, rough: object) -> bool:
    if compare.difference(exact, rough) is None:
        return True
    if isinstance(exact, Quantity) and isinstance(rough, Quantity) and (times := factor(exact.unit, rough.unit)):
        exact = Apply("*", (Number(times), exact.expression))
    exact, rough = (side.expression if isinstance(side, Quantity) else side for side in (exact, rough))
    return isinstance(rough, Number) and isinstance(exact, EXPRESSIONS) and compare.calculator.near(exact, rough)


def _same_heads(compare: Comparison, first: tuple, second: tuple) -> bool:
    if len(first) != len(second):
        return False
    left = list(second)
    for head in first:
        match = next((other for other in left if head == other or _same_head(compare, head, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_head(compare: Comparison, head: object, other: object) -> bool:
    if is_variable(head) or is_variable(other):
        return False
    if isinstance(head, EXPRESSIONS) and isinstance(other, EXPRESSIONS):
        return compare.calculator.same(head, other)
    return compare.difference(head, other) is None


def _defined(compare: Comparison, a: Relation, b: Relation) -> tuple | None:
    """The values of `f(x) = x^2` and `y = x^2`; None where they are no such pair."""
    function, other = (a, b) if is_function(a.sides[0]) else (b, a)
    name = other.sides[0]
    if not is_variable(name) or name in function.sides[0].arguments or name.name in variables(function):
        return None
    values = [_consistent(compare, node) for node in (a, b)]
    return None if None in values else tuple(found.values[0] for found in values)


def _rearranged(compare: Comparison, a: Relation, b: Relation) -> bool:
    """`a = F/m` and `F = ma`, `x/y = 2/3` and `3x = 2y`: one is the other, solved for a name.

    That is multiplied by names alone, and only once. Where such a name is zero, the other equation must be false, as
    F = 0a is: xy = x is not y = 1.
    """
    if compare.calculator.proportional(_without_quotients(a), _without_quotients(b)):
        return True
    for one, other in ((a, b), (b, a)):
        name, value = one.sides if is_variable(one.sides[0]) else one.sides[::-1]
        inside = _without_quotients(other)
        names = _slope(inside, name) if is_variable(name) and name.name not in variables(value) else None
        if names is None:
            continue
        rest = replace(inside, lambda part, name=name: _ZERO if part == name else None)
        zeros = [replace(rest, lambda part, own=own: _ZERO if part == own else None) for own in names]
        put = replace(inside, lambda part, name=name, value=value: value if part == name else None)
        if not any(compare.calculator.same(at_zero, _ZERO) for at_zero in zeros):
            return compare.calculator.same(put, _ZERO)
    return False


def _without_quotients(node: Relation) -> object:
    """`a/b = c/d` as ad - cb, every other equation as the difference of its sides."""
    tops, bottoms = [], []
    for side in node.sides:
        quotient = isinstance(side, Apply) and side.function == "/" and bool(variables(side.arguments[1]))
        tops.append(side.arguments[0] if quotient else side)
        bottoms.append(side.arguments[1:] if quotient else ())
    if not any(bottoms):
        return from_zero(node)[0]
    left, right = ((top, *under) for top, under in zip(tops, bottoms[::-1], strict=True))
    return Apply("+", (_times(left), Apply("neg", (_times(right),))))


def _times(factors: tuple) -> object:
    flat = tuple(inner for part in factors for inner in (part.arguments if _is_product(part) else (part,)))
    return Apply("*", flat) if len(flat) > 1 else flat[0]


def _is_product(node: object) -> bool:
    return isinstance(node, Apply) and node.function == "*"


def _slope(node: object, name: object) -> set[object] | None:
    """What a name is multiplied by in an expression, where those are names and numbers alone; None: another form."""
    if node == name:
        return set()
    if not isinstance(node, Apply) or sum(part == name for part in walk(node)) != 1:
        return None
    inner = next(part for part in node.arguments if name in walk(part))
    names = _slope(inner, name)
    others = [part for part in node.arguments if part is not inner]
    if names is None or node.function in ("+", "neg"):
        return names
    if node.function == "/" and inner is node.arguments[0]:
        return names
    if node.function != "*":
        return None
    bases = [part.arguments[0] if isinstance(part, Apply) and part.function == "^" else part for part in others]
    plain = all(isinstance(base, Symbol) or (isinstance(base, Number) and base.value) for base in bases)
    return names | {base for base in bases if is_variable(base)} if plain else None


_ZERO = Number(Fraction(0))


def is_not(a: object, b: object) -> str:
    return f"{show(a)} is not {show(b)}"


def _kinds(a: object, b: object) -> str:
    first, second = NOUNS[type(a)], NOUNS[type(b)]
    return f"{first} is not {second}" if first != second else is_not(a, b)
