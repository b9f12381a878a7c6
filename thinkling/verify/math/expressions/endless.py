"""Endless things that have an exact value: geometric series, and limits of rational functions at infinity.

Left out are all others: they are compared by their form (atoms.py).
"""

from fractions import Fraction

from thinkling.verify.math.expressions.exact import MAX_BITS, bits
from thinkling.verify.math.expressions.polynomials import polynomial, quotient, trimmed
from thinkling.verify.math.expressions.tree import INFINITY, Apply, Number, Symbol

MAX_POWER = 200


def geometric_sum(node: Apply) -> Number | None:
    """The value of a sum of c·r^k from a whole number to infinity with |r| < 1; None for all others."""
    if len(node.arguments) != 4:
        return None
    body, low, high, index = node.arguments
    if high != Symbol(INFINITY) or not isinstance(low, Number) or low.value.denominator != 1 or abs(low.value) > 50:
        return None
    term = _geometric(body, index.name)
    if term is None or not 0 < abs(term[1]) < 1:
        return None
    first, ratio = term
    value = first * ratio ** int(low.value) / (1 - ratio)
    return Number(value) if bits(value) < MAX_BITS else None


def _geometric(node: object, name: str) -> tuple[Fraction, Fraction] | None:
    """(c, r) of a term that is c·r^k; None for all others."""
    match node:
        case Number(value):
            return value, Fraction(1)
        case Apply("neg", (part,)):
            inner = _geometric(part, name)
            return inner and (-inner[0], inner[1])
        case Apply("*", factors):
            parts = [_geometric(factor, name) for factor in factors]
            if None in parts:
                return None
            first, ratio = Fraction(1), Fraction(1)
            for part in parts:
                first, ratio = first * part[0], ratio * part[1]
            return first, ratio
        case Apply("/", (top, bottom)):
            over, under = _geometric(top, name), _geometric(bottom, name)
            return (over[0] / under[0], over[1] / under[1]) if over and under and under[0] else None
        case Apply("^", (base, exponent)):
            constant, line = _geometric(base, name), polynomial(exponent, name)
            return _power(constant, line) if constant and line else None
    return None


def _power(base: tuple[Fraction, Fraction], line: list[Fraction]) -> tuple[Fraction, Fraction] | None:
    """A constant to a power a + b·k with whole a and b."""
    value, ratio = base
    a, b = [*line, Fraction(0)][:2]
    whole = len(line) < 3 and a.denominator == b.denominator == 1 and max(abs(a), abs(b)) <= MAX_POWER
    if ratio != 1 or not value or not whole or bits(value) > 100:
        return None
    return value ** int(a), value ** int(b)


def limit_at_infinity(node: Apply) -> object | None:
    """The limit of a rational function at ∞ or -∞, where that is a number; None for all others."""
    body, to, index = node.arguments
    if to not in (Symbol(INFINITY), Apply("neg", (Symbol(INFINITY),))):
        return None
    fraction = quotient(body, index.name)
    if fraction is None:
        return None
    top, bottom = map(trimmed, fraction)
    if len(top) > len(bottom) or bottom == [0]:
        return None
    return Number(top[-1] / bottom[-1] if len(top) == len(bottom) else Fraction(0))
