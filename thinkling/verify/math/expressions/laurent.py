"""Power series of an expression in one small variable, with rational coefficients: sin(t)/t is 1 - t²/6 + ...

A series begins at a whole power, which may be negative, and is known to a few terms. Left out are coefficients that are
not rational, as in e^(1+t), and what has no such series, as |t| around zero.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from thinkling.verify.math.expressions.exact import bits
from thinkling.verify.math.expressions.tree import EULER, Apply, Number, Symbol

MAX_TERMS, MAX_BITS, MAX_POWER = 8, 2_000, 30
_ZERO, _ONE = Fraction(0), Fraction(1)
Spend = Callable[[int], None]


class NoSeries(Exception):
    """There is no such series, or not with rational coefficients, or it is known to too few terms."""


@dataclass(frozen=True)
class Series:
    """The sum of coefficients[i] · t^(low + i), up to terms of the power low + len(coefficients).

    The first coefficient is not zero; where there is none, all that is known is zero.
    """

    low: int
    coefficients: tuple[Fraction, ...]

    @property
    def end(self) -> int:
        return self.low + len(self.coefficients)

    def constant(self) -> Fraction:
        """Its value at zero. Raises NoSeries where there is none, or it is not known."""
        if self.low > 0:
            return _ZERO
        if self.low < 0 or not self.coefficients:
            raise NoSeries
        return self.coefficients[0]


def made(low: int, coefficients: list[Fraction]) -> Series:
    first = next((i for i, c in enumerate(coefficients) if c), len(coefficients))
    kept = tuple(coefficients[first : first + MAX_TERMS])
    if any(bits(c) > MAX_BITS for c in kept):
        raise NoSeries
    return Series(low + first, kept)


def constant(value: Fraction) -> Series:
    return made(0, [value, *[_ZERO] * (MAX_TERMS - 1)]) if value else Series(10**6, ())


class Expansion:
    """The series of expressions in the symbol t; `positive`: t comes from above only, so that |t| is t."""

    def __init__(self, t: Symbol, positive: bool, spend: Spend) -> None:
        self.t, self.positive, self.spend = t, positive, spend

    def of(self, node: object) -> Series:
        """Raises NoSeries."""
        self.spend(10)
        match node:
            case Number(value):
                return constant(value)
            case Symbol() if node == self.t:
                return Series(1, (_ONE, *[_ZERO] * (MAX_TERMS - 1)))
            case Apply("neg", (part,)):
                return self._times(constant(-_ONE), self.of(part))
            case Apply("+", terms):
                *_, total = accumulate(map(self.of, terms), self._plus)
                return total
            case Apply("*", factors):
                *_, product = accumulate(map(self.of, factors), self._times)
                return product
            case Apply("/", (top, bottom)):
                return self._times(self.of(top), self._power(self.of(bottom), -_ONE))
            case Apply("^", (Symbol(name), exponent)) if name == EULER:
                return self._exp(self.of(exponent))
            case Apply("^", (base, Number(power))):
                return self._power(self.of(base), power)
            case Apply("^", (base, exponent)):
                return self._exp(self._times(self.of(exponent), self._ln(self.of(base))))
            case Apply("sqrt" | "cbrt" as function, (part,)):
                return self._power(self.of(part), Fraction(1, 2 if function == "sqrt" else 3))
            case Apply("root", (part, Number(index))) if index > 0 and index.denominator == 1:
                return self._power(self.of(part), 1 / index)
            case Apply("abs", (part,)):
                return self._abs(self.of(part))
            case Apply(function, (part,)):
                return self._applied(function, self.of(part))
        raise NoSeries

    def _applied(self, function: str, u: Series) -> Series:
        """A function that is analytic at zero, of a series that is zero at zero."""
        if function == "exp":
            return self._exp(u)
        if function == "ln":
            return self._ln(u)
        if u.constant():
            raise NoSeries
        if function in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"):
            sine, cosine = self._waves(u, 1 if function.endswith("h") else -1)
            one = constant(_ONE)
            over, under = {
                "sin": (sine, one), "cos": (cosine, one), "tan": (sine, cosine), "cot": (cosine, sine),
                "sec": (one, cosine), "csc": (one, sine),
            }[function.removesuffix("h")]  # fmt: skip
            return over if under is one else self._times(over, self._power(under, -_ONE))
        square = self._times(u, u)
        slopes = {  # of the inverse functions
            "arctan": (_ONE, -_ONE), "artanh": (-_ONE, -_ONE),
            "arcsin": (-_ONE, Fraction(-1, 2)), "arsinh": (_ONE, Fraction(-1, 2)),
        }  # fmt: skip
        if function not in slopes:
            raise NoSeries
        sign, power = slopes[function]
        inside = self._plus(constant(_ONE), self._times(constant(sign), square))
        return self._integral(self._times(self._slope(u), self._power(inside, power)))

    def _plus(self, a: Series, b: Series) -> Series:
        low, end = min(a.low, b.low), min(a.end, b.end)
        at = lambda s, n: s.coefficients[n - s.low] if s.low <= n < s.end else _ZERO  # noqa: E731
        self.spend(20)
        return made(low, [at(a, n) + at(b, n) for n in range(low, min(end, low + 4 * MAX_TERMS))])

    def _times(self, a: Series, b: Series) -> Series:
        size = min(len(a.coefficients), len(b.coefficients))
        found = [_ZERO] * size
        for i, x in enumerate(a.coefficients[:size]):
            if x:
                self.spend(4 * (size - i))
                for j, y in enumerate(b.coefficients[: size - i]):
                    if y:
                        found[i + j] += x * y
        return made(a.low + b.low, found)

    def _power(self, a: Series, r: Fraction) -> Series:
        """(c t^n (1 + ...))^r, by the rule n·b_n = sum of (i·r - n + i) a_i b_(n-i)."""
        if not a.coefficients or r == 0 or abs(r) > MAX_POWER or (a.low * r).denominator != 1 or abs(a.low) > MAX_POWER:
            raise NoSeries
        lead = a.coefficients[0]
        if r.denominator != 1 and (lead < 0 or (a.low and not self.positive)):
            raise NoSeries
        first = _rational_power(lead, r)
        u = [c / lead for c in a.coefficients]
        found = [first]
        for n in range(1, len(u)):
            self.spend(4 * n)
            total = sum(((i * r - n + i) * u[i] * found[n - i] for i in range(1, n + 1) if u[i]), _ZERO)
            found.append(total / n)
        return made(int(a.low * r), found)

    def _exp(self, u: Series) -> Series:
        if u.constant():
            raise NoSeries
        u = self._from_zero(u)
        found = [_ONE]
        for n in range(1, len(u)):
            self.spend(4 * n)
            found.append(sum((i * u[i] * found[n - i] for i in range(1, n + 1) if u[i]), _ZERO) / n)
        return made(0, found)

    def _ln(self, a: Series) -> Series:
        if a.low != 0 or not a.coefficients or a.coefficients[0] != 1:
            raise NoSeries
        return self._integral(self._times(self._slope(a), self._power(a, -_ONE)))

    def _waves(self, u: Series, sign: int) -> tuple[Series, Series]:
        """sin and cos (sign -1), or sinh and cosh (sign 1): s' = u' c and c' = sign · u' s."""
        u = self._from_zero(u)
        sine, cosine = [_ZERO], [_ONE]
        for n in range(1, len(u)):
            self.spend(8 * n)
            sine.append(sum((i * u[i] * cosine[n - i] for i in range(1, n + 1) if u[i]), _ZERO) / n)
            cosine.append(sign * sum((i * u[i] * sine[n - i] for i in range(1, n + 1) if u[i]), _ZERO) / n)
        return made(0, sine), made(0, cosine)

    def _from_zero(self, u: Series) -> list[Fraction]:
        """The coefficients of the powers 0, 1, 2, ... of a series that is zero at zero."""
        if u.low > MAX_TERMS:
            return [_ZERO] * MAX_TERMS
        return [*[_ZERO] * u.low, *u.coefficients][:MAX_TERMS]

    def _slope(self, a: Series) -> Series:
        return made(a.low - 1, [(a.low + i) * c for i, c in enumerate(a.coefficients)])

    def _integral(self, a: Series) -> Series:
        if a.low < 0:
            raise NoSeries
        return made(a.low + 1, [c / (a.low + i + 1) for i, c in enumerate(a.coefficients)])

    def _abs(self, a: Series) -> Series:
        if not a.coefficients or (a.low % 2 and not self.positive):
            raise NoSeries
        return a if a.coefficients[0] > 0 else self._times(constant(-_ONE), a)


def _rational_power(value: Fraction, r: Fraction) -> Fraction:
    """Raises NoSeries where it is irrational."""
    root = value
    if r.denominator != 1:
        parts = [_whole_root(n, r.denominator) for n in (value.numerator, value.denominator)]
        root = Fraction(*parts)
    if bits(root) * abs(r.numerator) > MAX_BITS:
        raise NoSeries
    return root**r.numerator


def _whole_root(n: int, index: int) -> int:
    guess = math.isqrt(n) if index == 2 else round(n ** (1 / index)) if n < 10**15 else 0
    if guess**index != n:
        raise NoSeries
    return guess
