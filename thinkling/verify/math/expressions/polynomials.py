"""Polynomials in one variable with rational coefficients, exactly: read from a tree, divided, taken apart, and solved.

Coefficients stand from the constant upward. Left out are roots that no square root writes.
"""

import math
from fractions import Fraction
from itertools import pairwise

from thinkling.verify.math.expressions.tree import Apply, Number, Symbol

MAX_DEGREE = 12
Polynomial = list[Fraction]


def polynomial(node: object, name: str) -> Polynomial | None:
    """The coefficients of a tree that is a polynomial in this variable alone; None for all else."""
    match node:
        case Number(value):
            return [value]
        case Symbol(symbol):
            return [Fraction(0), Fraction(1)] if symbol == name else None
        case Apply("neg", (part,)):
            inner = polynomial(part, name)
            return None if inner is None else [-c for c in inner]
        case Apply("+", terms):
            total: Polynomial = [Fraction(0)]
            for term in terms:
                inner = polynomial(term, name)
                if inner is None:
                    return None
                total = added(total, inner)
            return total
        case Apply("*", factors):
            product: Polynomial | None = [Fraction(1)]
            for factor in factors:
                inner = polynomial(factor, name)
                product = times(product, inner) if inner is not None and product is not None else None
            return product
        case Apply("/", (top, Number(value))) if value:
            inner = polynomial(top, name)
            return None if inner is None else [c / value for c in inner]
        case Apply("^", (base, Number(power))) if power.denominator == 1 and 0 <= power <= MAX_DEGREE:
            inner, result = polynomial(base, name), [Fraction(1)]
            for _ in range(int(power)):
                result = times(result, inner) if inner is not None and result is not None else None
            return result
    return None


def quotient(node: object, name: str) -> tuple[Polynomial, Polynomial] | None:
    """Numerator and denominator of a tree that is a rational function of this variable; None for all else."""
    plain = polynomial(node, name)
    if plain is not None:
        return plain, [Fraction(1)]
    match node:
        case Apply("neg", (part,)):
            inner = quotient(part, name)
            return inner and ([-c for c in inner[0]], inner[1])
        case Apply("/", (top, bottom)):
            over, under = quotient(top, name), quotient(bottom, name)
            if not over or not under or not any(under[0]):
                return None
            return _pair(times(over[0], under[1]), times(over[1], under[0]))
        case Apply("*", factors):
            result = ([Fraction(1)], [Fraction(1)])
            for factor in factors:
                inner = quotient(factor, name)
                result = inner and result and _pair(times(result[0], inner[0]), times(result[1], inner[1]))
            return result
        case Apply("+", terms):
            result = ([Fraction(0)], [Fraction(1)])
            for term in terms:
                inner = quotient(term, name)
                if not inner or not result:
                    return None
                left, right = times(result[0], inner[1]), times(inner[0], result[1])
                result = _pair(left and right and added(left, right), times(result[1], inner[1]))
            return result
        case Apply("^", (base, Number(power))) if power.denominator == 1 and 0 < abs(power) <= MAX_DEGREE:
            inner, result = quotient(base, name), ([Fraction(1)], [Fraction(1)])
            for _ in range(abs(int(power))):
                result = inner and result and _pair(times(result[0], inner[0]), times(result[1], inner[1]))
            return result and (result if power > 0 else result[::-1] if any(result[0]) else None)
    return None


def _pair(top: Polynomial | None, bottom: Polynomial | None) -> tuple[Polynomial, Polynomial] | None:
    return None if top is None or bottom is None else (top, bottom)


def added(a: Polynomial, b: Polynomial) -> Polynomial:
    size = max(len(a), len(b))
    return trimmed([(a[i] if i < len(a) else 0) + (b[i] if i < len(b) else 0) for i in range(size)])


def times(a: Polynomial | None, b: Polynomial | None) -> Polynomial | None:
    if a is None or b is None or len(a) + len(b) - 2 > MAX_DEGREE:
        return None
    result = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] += x * y
    if any(c.numerator.bit_length() + c.denominator.bit_length() > 2000 for c in result):
        return None
    return trimmed(result)


def trimmed(a: Polynomial) -> Polynomial:
    while len(a) > 1 and a[-1] == 0:
        a = a[:-1]
    return a


def value_at(a: Polynomial, x: Fraction) -> Fraction:
    total = Fraction(0)
    for c in reversed(a):
        total = total * x + c
    return total


def differences(a: Polynomial, start: Fraction) -> list[Fraction]:
    """P(start + j) is the sum of these times the binomials of j over 0, 1, 2, ... (Newton)."""
    row, found = [value_at(a, start + j) for j in range(len(a))], []
    while row:
        found.append(row[0])
        row = [after - before for before, after in pairwise(row)]
    return found


def summed(a: Polynomial, low: int, high: int) -> Fraction:
    """P(low) + ... + P(high): of binomial(j, m) over j = 0, ..., n the sum is binomial(n + 1, m + 1)."""
    total, count = Fraction(0), high - low + 1
    for m, difference in enumerate(differences(a, Fraction(low))):
        total += difference * math.comb(count, m + 1)
    return total


def roots_of(a: Polynomial, complex_too: bool = False) -> list[object] | None:
    """The roots as trees, each once; None where a factor of more than degree two has no rational root."""
    a, roots = trimmed(a), []
    if len(a) == 1:
        return [] if a[0] else None
    while len(a) > 3:
        root = _rational_root(a)
        if root is None:
            return None
        roots.append(Number(root))
        a = _divided(a, root)
    if len(a) == 2:
        roots.append(Number(-a[0] / a[1]))
    elif len(a) == 3:
        roots += _quadratic(*a, complex_too)
    return list(dict.fromkeys(roots))


def _quadratic(c: Fraction, b: Fraction, a: Fraction, complex_too: bool) -> list[object]:
    discriminant = b * b - 4 * a * c
    if discriminant < 0 and not complex_too:
        return []
    top, bottom = math.isqrt(abs(discriminant.numerator)), math.isqrt(discriminant.denominator)
    if discriminant >= 0 and Fraction(top * top, bottom * bottom) == discriminant:
        root = Fraction(top, bottom)
        return [Number((-b - root) / (2 * a)), Number((-b + root) / (2 * a))]
    root = Apply("sqrt", (Number(discriminant),))
    half = Number(1 / (2 * a))
    return [Apply("*", (half, Apply("+", (Number(-b), side)))) for side in (Apply("neg", (root,)), root)]


def _rational_root(a: Polynomial) -> Fraction | None:
    scale = math.lcm(*(c.denominator for c in a))
    whole = [int(c * scale) for c in a]
    if whole[0] == 0:
        return Fraction(0)
    if abs(whole[0]) > 10**6 or abs(whole[-1]) > 10**6:
        return None
    for top in _divisors(abs(whole[0])):
        for bottom in _divisors(abs(whole[-1])):
            for candidate in (Fraction(top, bottom), Fraction(-top, bottom)):
                if value_at(a, candidate) == 0:
                    return candidate
    return None


def _divisors(n: int) -> list[int]:
    small = [d for d in range(1, min(math.isqrt(n), 1000) + 1) if n % d == 0]
    return small + [n // d for d in small if d * d != n]


def _divided(a: Polynomial, root: Fraction) -> Polynomial:
    """The polynomial divided by x - root, which is a factor."""
    result, carry = [], Fraction(0)
    for c in reversed(a):
        carry = carry * root + c
        result.append(carry)
    return result[-2::-1]


def partial_fractions(top: Polynomial, bottom: Polynomial) -> dict[tuple[Fraction, int], Fraction] | None:
    """{(a, m): c} of the sum of all c / (x - a)^m that top / bottom is; None where a root is not rational.

    The quotient must be a proper one. c is a coefficient of the series of the rest around a.
    """
    top, bottom = trimmed(top), trimmed(bottom)
    rest, roots = bottom, []
    while len(rest) > 1:
        root = -rest[0] / rest[1] if len(rest) == 2 else _rational_root(rest)
        if root is None:
            return None
        roots.append(root)
        rest = _divided(rest, root)
    found = {}
    for a in dict.fromkeys(roots):
        count, others = roots.count(a), rest
        for root in roots:
            others = others if root == a else times(others, [-root, Fraction(1)])
        over, under = shifted(top, a), shifted(others, a)
        series: list[Fraction] = []
        for n in range(count):
            known = sum((series[i] * under[n - i] for i in range(n) if n - i < len(under)), Fraction(0))
            series.append(((over[n] if n < len(over) else 0) - known) / under[0])
        found |= {(a, count - n): c for n, c in enumerate(series) if c}
    return found


def shifted(a: Polynomial, by: Fraction) -> Polynomial:
    """The polynomial at x + by."""
    result: Polynomial = [Fraction(0)]
    for c in reversed(a):
        result = added(times(result, [by, Fraction(1)]) or [], [c])
    return result
