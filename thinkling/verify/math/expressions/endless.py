r"""Endless sums that have an exact value: P(k) r^k, P(k) r^k / k!, and quotients of polynomials with rational poles.

So geometric series and their kin, the series of e^r, telescoping ones, ζ(2), ζ(4), ..., those of ln 2 and π/4. Left out
are all others, and endless products: they are compared by their form (atoms.py).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from thinkling.verify.math.expressions.exact import MAX_BITS, bits
from thinkling.verify.math.expressions.polynomials import (
    Polynomial,
    differences,
    partial_fractions,
    polynomial,
    quotient,
    times,
    trimmed,
    value_at,
)
from thinkling.verify.math.expressions.tree import EULER, INFINITY, PI, Apply, Number, Symbol, walk

MAX_POWER, MAX_START, MAX_EXPONENT = 200, 50, 20
_ONE = [Fraction(1)]
_ZETA = {2: Fraction(1, 6), 4: Fraction(1, 90), 6: Fraction(1, 945), 8: Fraction(1, 9450)}  # ζ(m) / π^m


@dataclass(frozen=True)
class _Term:
    """top(k) / bottom(k) · factor · ratio^k / (k + shift)!; no factorial where the shift is None."""

    top: Polynomial
    bottom: Polynomial
    factor: Fraction = Fraction(1)
    ratio: Fraction = Fraction(1)
    shift: int | None = None


def endless_sum(node: Apply, spend: Callable[[int], None]) -> object | None:
    """The value of a sum from a whole number to infinity; None where it is none of those above."""
    if len(node.arguments) != 4:
        return None
    body, low, high, index = node.arguments
    if high != Symbol(INFINITY) or not isinstance(low, Number):
        return None
    if low.value.denominator != 1 or abs(low.value) > MAX_START:
        return None
    spend(100 + 15 * sum(1 for _ in walk(body)))
    term = _term(body, index.name)
    if term is None:
        return None
    start, bottom = int(low.value), trimmed(term.bottom)
    if term.shift is not None:
        spend(40 * len(term.top) ** 2 + 500)
        value = _exponential(term, start) if len(bottom) == 1 else None
    elif len(bottom) == 1 and 0 < abs(term.ratio) < 1:
        value = _geometric(term, start)
    else:
        spend(80 * len(bottom) ** 2)
        value = _of_poles(term, start)
    return None if value is None else Apply("*", (Number(term.factor), value))


def _term(node: object, name: str) -> _Term | None:
    """A term of such a series; None for all others."""
    fraction = quotient(node, name)
    if fraction is not None:
        return _Term(*fraction)
    match node:
        case Apply("neg", (part,)):
            inner = _term(part, name)
            return inner and replace(inner, factor=-inner.factor)
        case Apply("*", factors):
            result: _Term | None = _Term(_ONE, _ONE)
            for factor in factors:
                inner = _term(factor, name)
                result = _product(result, inner) if result and inner else None
            return result
        case Apply("/", (top, Apply("!", (inside,)))):
            over, line = _term(top, name), polynomial(inside, name)
            shift = line and len(line) == 2 and line[1] == 1 and line[0].denominator == 1 and abs(line[0]) < MAX_START
            return replace(over, shift=int(line[0])) if over and over.shift is None and shift else None
        case Apply("/", (top, Apply("*", (first, *rest)))):
            return _term(Apply("/", (Apply("/", (top, first)), Apply("*", tuple(rest)) if rest[1:] else rest[0])), name)
        case Apply("/", (top, bottom)):
            over, under = _term(top, name), _term(bottom, name)
            if not over or not under or under.shift is not None or not any(under.top):
                return None
            swapped = _Term(under.bottom, under.top, 1 / under.factor, 1 / under.ratio)
            return _product(over, swapped)
        case Apply("^", (base, exponent)):
            inner, line = _term(base, name), polynomial(exponent, name)
            return _power(inner, line) if inner and line else None
    return None


def _product(a: _Term, b: _Term) -> _Term | None:
    top, bottom = times(a.top, b.top), times(a.bottom, b.bottom)
    if top is None or bottom is None or None not in (a.shift, b.shift):
        return None
    shift = b.shift if a.shift is None else a.shift
    return _Term(top, bottom, a.factor * b.factor, a.ratio * b.ratio, shift)


def _power(base: _Term, line: Polynomial) -> _Term | None:
    """A constant to a power a + b·k with whole a and b, or what is geometric to a whole power."""
    a, b = [*line, Fraction(0)][:2]
    whole = len(line) < 3 and a.denominator == b.denominator == 1 and max(abs(a), abs(b)) <= MAX_POWER
    if base.shift is not None or len(base.top) > 1 or len(base.bottom) > 1 or not base.top[0] or not whole:
        return None
    value = base.factor * base.top[0] / base.bottom[0]
    if (base.ratio != 1 and b) or bits(value) > 100 or bits(base.ratio) > 100:
        return None
    return _Term(_ONE, _ONE, value ** int(a), base.ratio ** int(a) * value ** int(b))


def _geometric(term: _Term, start: int) -> Number | None:
    """Of binomial(j, m) r^j over all j the sum is r^m / (1 - r)^(m + 1)."""
    r, total = term.ratio, Fraction(0)
    for m, difference in enumerate(differences(term.top, Fraction(start))):
        total += difference * r**m / (1 - r) ** (m + 1)
    value = total * r**start / trimmed(term.bottom)[0]
    return Number(value) if bits(value) < MAX_BITS else None


def _exponential(term: _Term, start: int) -> object | None:
    """With n = k + shift: of binomial(n, m) r^n / n! over all n from 0 the sum is r^m / m! · e^r."""
    r, first = term.ratio, start + term.shift
    if first < 0 or first > MAX_START or abs(r) > MAX_EXPONENT or bits(r) > 40:
        return None
    found = differences(term.top, Fraction(-term.shift))
    whole = sum((d * r**m / math.factorial(m) for m, d in enumerate(found)), Fraction(0))
    before = sum(
        (value_at(term.top, Fraction(n - term.shift)) * r**n / math.factorial(n) for n in range(first)), Fraction(0)
    )
    scale = r**-term.shift / trimmed(term.bottom)[0]
    power = Apply("^", (Symbol(EULER), Number(r)))
    return Apply("+", (Apply("*", (Number(whole * scale), power)), Number(-before * scale)))


def _of_poles(term: _Term, start: int) -> object | None:
    """A quotient of polynomials as partial fractions, each c / (k - a)^m times ratio^k, summed one by one."""
    r, room = term.ratio, len(trimmed(term.bottom)) - len(trimmed(term.top))
    if not (abs(r) < 1 and room > 0) and not (r == -1 and room > 0) and not (r == 1 and room > 1):
        return None
    parts = partial_fractions(term.top, term.bottom)
    if not parts or any((start - a).denominator > 2 or not 0 < start - a <= MAX_START for a, _ in parts):
        return None
    terms: list[object] = []
    for (a, m), c in parts.items():
        if r == 1 and m == 1:
            continue
        value = _of_pole(r, start - a, m)
        if value is None:
            return None
        terms.append(Apply("*", (Number(c * r ** math.floor(a)), value)))
    if r == 1:
        telescoped = _telescoped({a: c for (a, m), c in parts.items() if m == 1}, start)
        if telescoped is None:
            return None
        terms.append(Number(telescoped))
    return Apply("+", tuple(terms)) if len(terms) > 1 else terms[0]


def _of_pole(r: Fraction, first: Fraction, m: int) -> object | None:
    """The sum of r^⌈x⌉ / x^m over x = first, first + 1, ...: the whole one from 1 or 1/2, less what stands before."""
    half = first.denominator == 2
    if m == 1 and not half:
        whole = Apply("neg", (Apply("ln", (Number(1 - r),)),))
    elif m == 1 and r == -1:
        whole = Apply("*", (Number(Fraction(-1, 2)), Symbol(PI)))
    elif m in _ZETA and abs(r) == 1 and not (half and r == -1):
        scale = Fraction(2**m - 1) if half else Fraction(1) if r == 1 else Fraction(2, 2**m) - 1
        whole = Apply("*", (Number(scale * _ZETA[m]), Apply("^", (Symbol(PI), Number(Fraction(m))))))
    else:
        return None
    x, before = first - math.ceil(first) + 1, Fraction(0)
    while x < first:
        before += r ** math.ceil(x) / x**m
        x += 1
    return Apply("+", (whole, Number(-before)))


def _telescoped(residues: dict[Fraction, Fraction], start: int) -> Fraction | None:
    """The sum of all c / (k - a), where those whose a differ by whole numbers cancel; None where they do not."""
    total, left = Fraction(0), dict(residues)
    while left:
        lowest = min(left)
        group = [a for a in left if (a - lowest).denominator == 1]
        if sum(left[a] for a in group):
            return None
        for a in group:
            total += left.pop(a) * sum((1 / (j - lowest) for j in range(start - int(a - lowest), start)), Fraction(0))
    return total
