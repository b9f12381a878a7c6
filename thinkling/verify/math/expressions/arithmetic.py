"""Do two expressions have the same value? Exact rationals where they are exact; else numbers at rising precision.

Every comparison has a budget of work, counted and not timed. Variables are compared at seeded random points (Schwartz
and Zippel's test, on more than polynomials). Safe from any thread: what is shared, mpmath's context, has a lock.
"""

import math
import random
from collections.abc import Callable
from fractions import Fraction

import thinkling.verify.math.expressions.numeric as numeric
from thinkling.verify.math.expressions.atoms import with_atoms
from thinkling.verify.math.expressions.exact import CannotTell, NoCase, Undefined, exact, in_terms
from thinkling.verify.math.expressions.numeric import MP, Numeric
from thinkling.verify.math.expressions.points import between_bends, generic, substituted
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    IMAGINARY,
    INFINITY,
    Apply,
    Number,
    Symbol,
    has_unknown,
    replace,
    unknowns,
    variables,
    walk,
)

MAX_WORK = 8_000  # counted in steps of about a microsecond
WORK_OF_A_CHARACTER = 5  # that reading it took: a long answer has less left to be compared with
DIGITS = (30, 70, 300, 1000)


class Calculator:
    """Compares values within one budget of work."""

    def __init__(self, work: int = MAX_WORK) -> None:
        self.work = work
        self.told: dict = {}  # a pair that was compared: every rule set and every reading asks for the same ones
        self.without_forms: dict = {}  # an expression, as with_atoms gave it
        self.draw = 0  # unknown functions: f is another one at each point

    def spend(self, units: int) -> None:
        self.work -= units
        if self.work < 0:
            raise CannotTell("too much work to compare")

    def same(self, a: object, b: object) -> bool:
        """Whether two expressions are equal wherever both have a value. Symmetric. Raises CannotTell."""
        if a == b:
            return True
        told = self.told.get((a, b))
        if told is None:
            try:
                told = self._compared(a, b)
            except CannotTell as limit:
                told = limit
            self.told[a, b] = told
        if isinstance(told, CannotTell):
            raise told
        return told

    def _compared(self, a: object, b: object) -> bool:
        self.spend(3 * sum(1 for tree in (a, b) for _ in walk(tree)))
        (a, ours), (b, theirs) = self._with_atoms(a), self._with_atoms(b)
        if ours == theirs:
            return self._same(a, b)
        if a != b and not self._same(a, b):
            raise CannotTell("an integral, a limit or an endless sum is compared by its form only")
        return True

    def _with_atoms(self, tree: object) -> tuple[object, set[str]]:
        if tree not in self.without_forms:
            self.without_forms[tree] = with_atoms(tree, self.spend)
        return self.without_forms[tree]

    def _same(self, a: object, b: object) -> bool:
        if a == b:
            return True
        if ELLIPSIS in (symbol.name for tree in (a, b) for symbol in walk(tree) if isinstance(symbol, Symbol)):
            return False
        if not unknowns((a, b)):
            try:
                return self._same_value(exact(a, self.spend), exact(b, self.spend), real=False)
            except Undefined:
                return _infinite(a) is not None and _infinite(a) == _infinite(b)
        real = not any(Symbol(IMAGINARY) in walk(tree) for tree in (a, b))

        def differ(x: object, y: object) -> bool:
            return not self._same_value(x, y, real)

        agreed = self._agreed(a, b, differ, enough=5)
        if agreed is not None and agreed < 3:
            raise CannotTell("no points were found where both have a value")
        return agreed is not None

    def proportional(self, a: object, b: object) -> int:
        """The sign of the constant that b is a times; 0 where there is none, and -1 for a complex one.

        For equations: a = 0 and b = 0 say the same where there is one. Two expressions with nothing unknown in them
        are always proportional, so nothing is asked of those."""
        if not unknowns((a, b)):
            return 0
        real = not any(Symbol(IMAGINARY) in walk(tree) for tree in (a, b))
        a, b = self._with_atoms(a)[0], self._with_atoms(b)[0]
        base: list = []

        def differ(x: object, y: object) -> bool | None:
            zeros = [self._same_value(side, Number(Fraction(0)), real) for side in (x, y)]
            if any(zeros):
                return None if all(zeros) else True
            if not base:
                base.extend((x, y, self._sign(x) * self._sign(y) if real else -1))
                return None
            left, right = Apply("*", (x, base[1])), Apply("*", (y, base[0]))
            return not self._same_value(exact(left, self.spend), exact(right, self.spend), real)

        agreed = self._agreed(a, b, differ, enough=4)
        return base[2] if base and agreed is not None and agreed >= 2 else 0

    def _agreed(self, a: object, b: object, differ: Callable, enough: int) -> int | None:
        """At how many points the two were compared and agreed; None where they differ at one.

        `differ` says whether two values do; None: these say nothing. Points where one has no value are skipped.
        """
        names, size = sorted(variables(a) | variables(b)), sum(1 for tree in (a, b) for _ in walk(tree))
        drawn = [has_unknown(tree) for tree in (a, b)]
        agreed = 0

        def agree(point: dict) -> bool:
            nonlocal agreed
            self.spend(5 * size)
            self.draw += 1
            sides = [substituted(tree, point) for tree in (a, b)]
            try:
                sides = [self._drawn(tree) if unknown else tree for tree, unknown in zip(sides, drawn, strict=True)]
                told = differ(*(exact(tree, self.spend) for tree in sides))
            except NoCase:
                return False
            except Undefined:
                return True
            agreed += told is False
            return not told

        for point in generic(names, (a, b)) if names else [{}] * enough:
            if not agree(point):
                return None
            if agreed == enough:
                break
        return agreed if all(map(agree, between_bends(names, (a, b), self.spend))) else None

    def _drawn(self, node: object) -> object:
        """The tree with a number, drawn for this point, in place of each value of an unknown function: f(2), f(x+1)."""

        def value(part: object) -> object | None:
            if isinstance(part, Apply) and part.function in ("sum", "prod") and has_unknown(part.arguments[0]):
                return self._drawn(terms) if (terms := in_terms(part, self.spend)) is not None else None
            if not (isinstance(part, Apply) and part.function.endswith("()")):
                return None
            self.spend(30)
            inside = [exact(self._drawn(argument), self.spend) for argument in part.arguments]
            if variables(part):
                return None
            key = [side.value if isinstance(side, Number) else numeric.digits(self._rough(side)) for side in inside]
            rng = random.Random(f"{part.function} {key} {self.draw}")
            return Number(Fraction(rng.randint(65, 640), 64))

        return replace(node, value)

    def rounds_to(self, answer: object, reference: Number, measured: bool = False) -> bool:
        """Whether the answer, rounded to the reference's decimals, is the reference, so that this may be rounded.

        It may be where the answer has no finite decimal, or where the reference was `measured` (a physical quantity, a
        percentage) and the answer has more digits. To three significant digits at least, so that 4.5 does not swallow
        all that lies near it.
        """
        top, bottom = abs(reference.value).as_integer_ratio()  # each may be too large for a float
        significant = -math.floor(math.log10(top) - math.log10(bottom)) + 2 if top else 3
        tolerance = Fraction(1, 2) / Fraction(10) ** max(reference.decimals, significant)
        try:
            value = exact(answer, self.spend)
            if isinstance(value, Number):
                finer = (
                    (value.value * Fraction(10) ** reference.decimals).denominator != 1
                    if measured
                    else not _is_decimal(value.value)
                )
                return finer and abs(value.value - reference.value) <= tolerance
            return bool(abs(self._rough(value) - _mpf(reference.value)) <= _mpf(tolerance))
        except Undefined:
            return False

    def near(self, value: object, written: Number) -> bool:
        """Whether a value was rounded, or cut off, to the digits that were written: 2/3 and 0.67, or 0.66."""
        unit = Fraction(10) ** -(written.decimals or 0)
        try:
            value = abs(self.rational(value))
        except Undefined:
            return False
        over = value - abs(written.value)
        return abs(over) <= unit / 2 or 0 <= over < unit

    def order(self, a: object, b: object) -> int:
        """-1, 0 or 1 as a is below, equal to or above b; both real, or infinite. Raises CannotTell or Undefined."""
        self.spend(5)
        infinite = _infinite(a) or 0, _infinite(b) or 0
        if any(infinite):
            return (infinite[0] > infinite[1]) - (infinite[0] < infinite[1])
        a, b = exact(a, self.spend), exact(b, self.spend)
        if isinstance(a, Number) and isinstance(b, Number):
            return (a.value > b.value) - (a.value < b.value)
        return 0 if self._same_value(a, b, real=True) else self._sign(Apply("+", (a, Apply("neg", (b,)))))

    def rational(self, node: object) -> Fraction:
        """A rational within 10^-15 of a real value, or the value itself."""
        value = exact(node, self.spend)
        if isinstance(value, Number):
            return value.value
        return Fraction(numeric.digits(self._rough(value)))

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
                self.spend(10)
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
