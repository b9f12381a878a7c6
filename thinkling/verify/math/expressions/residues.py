"""Congruences: `x ≡ 3 (mod 7)` is `x ≡ 10 (mod 7)` and `x = 7k + 3`, and 17 (mod 5) is its remainder 2.

The comparison of values is equal.py's, which hands itself in.
"""

from fractions import Fraction
from typing import Protocol

from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.exact import Undefined
from thinkling.verify.math.expressions.polynomials import polynomial
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import (
    EXPRESSIONS,
    Apply,
    Number,
    Relation,
    Residue,
    Symbol,
    unknowns,
    variables,
)


class Comparison(Protocol):
    calculator: Calculator


def difference(compare: Comparison, a: object, b: object) -> str | None:
    """Why two answers, at least one of them a residue, are not the same; None where they are."""
    different = f"{show(a)} is not {show(b)}"
    if not (isinstance(a, Residue) and isinstance(b, Residue)):
        whole, other = (a, b) if isinstance(a, Residue) else (b, a)
        return None if _is_remainder(compare, whole, other) else different
    if a.name and b.name and a.name != b.name:
        return f"{a.name} is not {b.name}"
    if not compare.calculator.same(a.modulus, b.modulus):
        return different
    rest = Apply("mod", (Apply("+", (a.value, Apply("neg", (b.value,)))), a.modulus))
    return None if a.value == b.value or compare.calculator.same(rest, Number(Fraction(0))) else different


def _is_remainder(compare: Comparison, whole: Residue, other: object) -> bool:
    """17 (mod 5) is 2, its remainder; -4 (mod 9) is 5 and, as it is written, -4. But n (mod 9) is not n."""
    if not isinstance(other, EXPRESSIONS) or unknowns((whole, other)):
        return False
    try:
        if compare.calculator.order(Apply("floor", (other,)), other):
            return False  # 1/3 (mod 7) is 5
        small = compare.calculator.order(Apply("abs", (other,)), whole.modulus) < 0
    except Undefined:
        return False
    rest = Apply("mod", (whole.value, whole.modulus))
    return small and (compare.calculator.same(rest, other) or compare.calculator.same(whole.value, other))


def as_residue(node: object, other: object) -> object:
    """`x = 5k + 2` beside `x ≡ 2 (mod 5)`, as the residue that it is; every other node as it is."""
    if not (isinstance(node, Relation) and isinstance(other, Residue) and node.operators == ("=",)):
        return node
    name, value = node.sides
    names = variables(value)
    if (
        not isinstance(name, Symbol)
        or other.name not in ("", name.name)
        or len(names) != 1
        or not names <= set("kmnjl")
    ):
        return node
    line = polynomial(value, next(iter(names)))
    modulus = other.modulus.value if isinstance(other.modulus, Number) else None
    if line is None or len(line) != 2 or abs(line[1]) != modulus:
        return node
    return Residue(name.name, Number(line[0]), other.modulus)
