"""Do two expressions have the same value? Exact rationals where they are exact; else numbers at rising precision.

Every comparison has a budget of work, counted and not timed. Variables are compared at seeded random points (Schwartz
and Zippel's test, on more than polynomials). Safe from any thread: what is shared, mpmath's context, has a lock.
"""

import math
import random
from collections.abc import Iterator
from fractions import Fraction

import thinkling.verify.math.numeric as numeric
from thinkling.verify.math.exact import CannotTell, Undefined, exact
from thinkling.verify.math.numeric import MP, Numeric
from thinkling.verify.math.tree import (
    ELLIPSIS,
    IMAGINARY,
    INFINITY,
    Apply,
    Number,
    Symbol,
    replace,
    variables,
    walk,
)  # fmt: skip

MAX_WORK = 30_000  # counted in steps of about a microsecond
DIGITS = (30, 70, 300, 1000)


class Calculator:
    """Compares values within one budget of work."""

    def __init__(self, work: int = MAX_WORK) -> None:
        self.work = work

    def spend(self, units: int) -> None:
        self.work -= units
        if self.work < 0:
            raise CannotTell("too much work to compare")

    def same(self, a: object, b: object) -> bool:
        """Whether two expressions are equal wherever both have a value. Symmetric. Raises CannotTell."""
        if a == b:
            return True
        names = sorted(variables(a) | variables(b))
        if ELLIPSIS in (symbol.name for tree in (a, b) for symbol in walk(tree) if isinstance(symbol, Symbol)):
            return False
        if not names:
            try:
                return self._same_value(exact(a, self.spend), exact(b, self.spend), real=False)
            except Undefined:
                return _infinite(a) is not None and _infinite(a) == _infinite(b)
        real = Symbol(IMAGINARY) not in walk(a) and Symbol(IMAGINARY) not in walk(b)
        agreed, size = 0, sum(1 for tree in (a, b) for _ in walk(tree))
        for point in points(names):
            self.spend(4 * size)
            try:
                if not self._same_value(exact(_at(a, point), self.spend), exact(_at(b, point), self.spend), real):
                    return False
                agreed += 1
            except Undefined:
                continue
            if agreed == 5:
                return True
        if agreed < 3:
            raise CannotTell("no points were found where both have a value")
        return True

    def proportional(self, a: object, b: object) -> int:
        """The sign of the constant that b is a times; 0 where there is none.

        For equations: a = 0 and b = 0 say the same where there is one.
        """
        names = sorted(variables(a) | variables(b))
        base = None
        agreed, sign, size = 0, 0, sum(1 for tree in (a, b) for _ in walk(tree))
        for point in points(names):
            self.spend(4 * size)
            try:
                x, y = exact(_at(a, point), self.spend), exact(_at(b, point), self.spend)
                zeros = [self._same_value(side, Number(Fraction(0)), real=True) for side in (x, y)]
                if any(zeros):
                    if not all(zeros):
                        return 0
                    continue
                if base is None:
                    base, sign = (x, y), self._sign(x) * self._sign(y)
                    continue
                left, right = Apply("*", (x, base[1])), Apply("*", (y, base[0]))
                if not self._same_value(exact(left, self.spend), exact(right, self.spend), real=True):
                    return 0
                agreed += 1
            except Undefined:
                continue
            if agreed == 4:
                return sign
        return sign if agreed >= 2 else 0

    def rounds_to(self, answer: object, reference: Number) -> bool:
        """Whether the answer has no finite decimal, and rounded to the reference's decimals is the reference.

        To three significant digits at least, so that 4.5 does not swallow all that lies near it.
        """
        significant = -math.floor(math.log10(abs(reference.value))) + 2 if reference.value else 3
        tolerance = Fraction(1, 2) / Fraction(10) ** max(reference.decimals, significant)
        try:
            value = exact(answer, self.spend)
            if isinstance(value, Number):
                return not _is_decimal(value.value) and abs(value.value - reference.value) <= tolerance
            return bool(abs(self._rough(value) - _mpf(reference.value)) <= _mpf(tolerance))
        except Undefined:
            return False

    def order(self, a: object, b: object) -> int:
        """-1, 0 or 1 as a is below, equal to or above b; both real, or infinite. Raises CannotTell or Undefined."""
        infinite = _infinite(a) or 0, _infinite(b) or 0
        if any(infinite):
            return (infinite[0] > infinite[1]) - (infinite[0] < infinite[1])
        a, b = exact(a, self.spend), exact(b, self.spend)
        if isinstance(a, Number) and isinstance(b, Number):
            return (a.value > b.value) - (a.value < b.value)
        return 0 if self._same_value(a, b, real=True) else self._sign(Apply("+", (a, Apply("neg", (b,)))))

    def _sign(self, node: object) -> int:
        if isinstance(node, Number):
            return (node.value > 0) - (node.value < 0)
        value = self._rough(node)
        return (value > 0) - (value < 0)

    def _rough(self, node: object) -> object:
        """A real value that is good to 20 digits. Raises CannotTell where large terms cancelled, and left fewer."""
        with numeric.LOCK, MP.workdps(DIGITS[1]):
            number = Numeric(self.spend, DIGITS[1], True, None)
            value = number.value(node)
            if number.scale * MP.mpf("1e-50") > abs(value):
                raise CannotTell("large terms cancel")
            return value

    def _same_value(self, a: object, b: object, real: bool) -> bool:
        """Two expressions without variables, already exact where they can be."""
        if isinstance(a, Number) and isinstance(b, Number):
            return a.value == b.value
        if a == b:
            _defined(a)
            return True
        plain_log = any(
            isinstance(n, Apply) and n.function == "log" and len(n.arguments) == 1 for n in (*walk(a), *walk(b))
        )
        with numeric.LOCK:
            return any(self._agree(a, b, real, log_base) for log_base in ((10, None) if plain_log else (None,)))

    def _agree(self, a: object, b: object, real: bool, log_base: int | None) -> bool:
        """Evaluate both at rising precision: a true difference stays, a rounding error shrinks."""
        before = None
        for digits in DIGITS:
            with MP.workdps(digits):
                number = Numeric(self.spend, digits, real, log_base)
                if number.is_huge(a) != number.is_huge(b):
                    number.value(b if number.is_huge(a) else a)  # raises where the other one is too large as well
                    return False
                x, y = number.value(a), number.value(b)
                difference, scale = abs(x - y), max(abs(x), abs(y), number.scale)
                if before is None:
                    if difference > scale * MP.mpf("1e-8"):
                        return False
                    before = difference
                    continue
                error = scale * MP.mpf(10) ** (10 - digits)
                shrunk = before > 0 and difference <= before * MP.mpf(10) ** (DIGITS[0] + 15 - digits)
                if not (shrunk or difference <= error):
                    return False
                telling = error <= max(abs(x), abs(y)) * MP.mpf("1e-20") or error <= MP.mpf("1e-25")
                if telling and not number.lost:  # else large terms cancelled: what is left says nothing
                    return True
        raise CannotTell("the values are too close to tell apart")


_RANGES = ((0.4, 3.0), (-3.0, 3.0), None, (0.05, 0.95), (-1.5, 1.5), None)  # None: whole numbers


def points(names: list[str]) -> Iterator[dict[str, Number]]:
    """Seeded random points: positive, of either sign, whole, in the unit interval; rational, so exact.

    Those that are not whole have a denominator of 64, so that no odd root of a negative number is real by chance.
    """
    rng = random.Random(20260101)
    if len(names) > 12:
        raise CannotTell("more than 12 variables")
    for attempt in range(24):
        span = _RANGES[attempt % len(_RANGES)]
        yield {name: Number(Fraction(rng.randint(1, 10)) if span is None else _between(rng, *span)) for name in names}


def _between(rng: random.Random, low: float, high: float) -> Fraction:
    return Fraction(2 * rng.randrange(int(low * 32), int(high * 32)) + 1, 64)


def _at(node: object, point: dict[str, Number]) -> object:
    return replace(node, lambda part: point.get(part.name) if isinstance(part, Symbol) else None)


def _infinite(node: object) -> int | None:
    """1 or -1 for a lone infinity, None for everything else."""
    match node:
        case Symbol(name) if name == INFINITY:
            return 1
        case Apply("neg", (Symbol(name),)) if name == INFINITY:
            return -1
    return None


def _defined(node: object) -> None:
    if any(isinstance(part, Symbol) and part.name == INFINITY for part in walk(node)):
        raise Undefined("infinity inside a calculation")


def _is_decimal(value: Fraction) -> bool:
    """Can it be written with finitely many decimals? No prime but 2 and 5 divides its denominator."""
    denominator = value.denominator
    return pow(10, denominator.bit_length(), denominator) == 0


def _mpf(value: Fraction) -> object:
    return MP.mpf(value.numerator) / value.denominator
