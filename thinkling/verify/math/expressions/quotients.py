"""Antiderivatives of polynomials and their quotients, with where each holds: 1/x is ln|x| on either side of zero.

Left out are quotients whose bottom is of more than degree two, unless it is a power of a linear expression.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from thinkling.verify.math.expressions.polynomials import Polynomial, trimmed, value_at
from thinkling.verify.math.expressions.tree import PI, Apply, Number, Symbol

ONE, ZERO = Number(Fraction(1)), Number(Fraction(0))


class Unknown(Exception):
    """No antiderivative is known."""


@dataclass(frozen=True)
class Part:
    """A term of an antiderivative; what it tends to at -∞ and ∞, where it does; and where it holds.

    Between the ends `apart` must not be zero, and `above` not below zero: both keep their sign where they keep it at
    the two ends, being linear, or falling on both sides.
    """

    tree: object
    endless: tuple[object | None, object | None] = (None, None)
    apart: tuple = ()
    above: tuple = ()


def polynomial_part(coefficients: Polynomial, x: Symbol) -> Part:
    return Part(tree_of([Fraction(0), *(c / (i + 1) for i, c in enumerate(coefficients))], x))


def tree_of(coefficients: Polynomial, x: object) -> object:
    return Apply("+", (ZERO, *(Apply("*", (Number(c), Apply("^", (x, Number(Fraction(i)))))) if i else Number(c)
                               for i, c in enumerate(coefficients) if c)))  # fmt: skip


def of_quotient(top: Polynomial, bottom: Polynomial, x: Symbol) -> list[Part]:
    """A quotient of polynomials, the bottom of degree two at most, or a power of a linear one."""
    top, bottom = trimmed(top), trimmed(bottom)
    whole: Polynomial = [Fraction(0)] * max(1, len(top) - len(bottom) + 1)
    while len(top) >= len(bottom) and any(top):  # long division
        at, c = len(top) - len(bottom), top[-1] / bottom[-1]
        whole[at] = c
        top = trimmed([*top[:at], *(a - c * b for a, b in zip(top[at:], bottom, strict=True))])
    parts = [polynomial_part(whole, x)] if any(whole) else []
    if not any(top):
        return parts
    if len(bottom) == 2:
        return [*parts, _logarithmic(top[0] / bottom[1], -bottom[0] / bottom[1], x)]
    if len(bottom) == 3:
        return [*parts, *_over_quadratic(top, bottom, x)]
    root = -bottom[-2] / bottom[-1] / (len(bottom) - 1)
    if len(top) > 1 or any(value_at(derived, root) for derived in _derivatives(bottom)[:-1]):
        raise Unknown
    shifted, power = Apply("+", (x, Number(-root))), Fraction(2 - len(bottom))
    tree = Apply("*", (Number(top[0] / bottom[-1] / power), Apply("^", (shifted, Number(power)))))
    return [*parts, Part(tree, (ZERO, ZERO), apart=(shifted,))]


def _derivatives(a: Polynomial) -> list[Polynomial]:
    """The polynomial and its derivatives, down to the constant one."""
    found = [a]
    while len(found[-1]) > 1:
        found.append([i * c for i, c in enumerate(found[-1])][1:])
    return found


def _logarithmic(c: Fraction, root: Fraction, x: Symbol) -> Part:
    inside = Apply("+", (x, Number(-root)))
    return Part(Apply("*", (Number(c), Apply("ln", (Apply("abs", (inside,)),)))), apart=(inside,))


def _over_quadratic(top: Polynomial, bottom: Polynomial, x: Symbol) -> list[Part]:
    """(p x + q) / (a x² + b x + c), by the sign of b² - 4ac."""
    c, b, a = bottom
    q, p = [*top, Fraction(0)][:2]
    discriminant, middle = b * b - 4 * a * c, -b / (2 * a)
    value = q + p * middle  # of the top in the middle: (p x + q) = p (x - middle) + value
    shifted = Apply("+", (x, Number(-middle)))
    if discriminant < 0:
        root = Apply("sqrt", (Number(-discriminant / (4 * a * a)),))
        angle = Apply("arctan", (Apply("/", (shifted, root)),))
        scale = Apply("/", (Number(value / a), root))
        ends = tuple(Apply("*", (Number(Fraction(sign, 2)), scale, Symbol(PI))) for sign in (-1, 1))
        parts = [Part(Apply("*", (scale, angle)), ends)] if value else []
        logarithm = Apply("*", (Number(p / (2 * a)), Apply("ln", (Apply("abs", (tree_of(bottom, x),)),))))
        return [*parts, Part(logarithm)] if p else parts
    half = _rational_root_of(discriminant / (4 * a * a))
    if half == 0:
        tree = Apply("/", (Number(-value / a), shifted))
        return [Part(tree, (ZERO, ZERO), apart=(shifted,)), *([_logarithmic(p / a, middle, x)] if p else [])]
    first, second = middle + half, middle - half
    edges = tuple(Apply("+", (x, Number(-root))) for root in (first, second))
    if not p:
        ratio = Apply("abs", (Apply("/", edges),))
        return [Part(Apply("*", (Number(q / (2 * a * half)), Apply("ln", (ratio,)))), (ZERO, ZERO), apart=edges)]
    over = (p * first + q) / (2 * a * half), -(p * second + q) / (2 * a * half)
    return [_logarithmic(over[0], first, x), _logarithmic(over[1], second, x)]


def _rational_root_of(value: Fraction) -> Fraction:
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if Fraction(top * top, bottom * bottom) != value:
        raise Unknown
    return Fraction(top, bottom)
