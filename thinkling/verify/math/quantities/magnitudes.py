"""Are two numbers, expressions or quantities the same? Units are converted; a missing one agrees with any.

Rounding is lenient grading's one tolerance: a reference that must have been rounded (a decimal beside an irrational
answer; a measured quantity, a percentage or a number in scientific notation) is agreed with to its own digits.
"""

from contextlib import suppress
from fractions import Fraction
from typing import Protocol

from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.build import is_variable
from thinkling.verify.math.expressions.exact import Undefined
from thinkling.verify.math.expressions.matrices import as_matrix, drawn
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import PI, Apply, Matrix, Number, Quantity, Symbol, replace, variables, walk
from thinkling.verify.math.quantities.units import factor, known, measure


class Comparison(Protocol):
    calculator: Calculator
    rules: frozenset[str]


_PERCENT, _DEGREE = Number(Fraction(1, 100)), Apply("/", (Symbol(PI), Number(Fraction(180))))


def difference(compare: Comparison, a: object, b: object) -> str | None:
    """Why one magnitude is not the other, in words; None where it is."""
    first, unit = (a.expression, a.unit) if isinstance(a, Quantity) else (a, "")
    second, wanted = (b.expression, b.unit) if isinstance(b, Quantity) else (b, "")
    measured = bool(unit or wanted)
    if unit and wanted:
        if unit == wanted:
            return None if same(compare, first, second, measured=True) else _is_not(a, b)
        return _converted(compare, a, b)
    if unit == wanted:
        return None if same(compare, first, second) or _letters_are_units(compare, first, second) else _is_not(a, b)
    bare, sign = (second, unit) if unit else (first, wanted)
    if sign == "%":
        return None if _percent(compare, first, second, wanted=bool(wanted)) else _is_not(a, b)
    if variables(bare) and (_with_letters(compare, a, b) or _converts_letters(compare, a, b)):
        return None
    radians = sign == "°" and Symbol(PI) in walk(bare)  # π/6 is never (π/6)°
    if not radians and same(compare, first, second, measured=measured):
        return None
    if sign == "°":
        times = Apply("*", (first if unit else second, _DEGREE))
        if compare.calculator.same(times, bare):
            return None
    return _is_not(a, b)


def same(compare: Comparison, a: object, b: object, exactly: bool = False, measured: bool = False) -> bool:
    """Whether two expressions have the same value, or the answer rounds to a reference that is rounded."""
    a, b = drawn(a, b) or (as_matrix(a), as_matrix(b))
    if isinstance(a, Matrix) or isinstance(b, Matrix):
        return isinstance(a, Matrix) and isinstance(b, Matrix) and _same_matrix(compare, a, b)
    if compare.calculator.same(a, b):
        return True
    if "rounding" not in compare.rules or exactly or variables(a):
        return False
    written = decimals_of(b)
    if written is None:
        return False
    value, decimals, scientific = written
    return compare.calculator.rounds_to(a, Number(value, decimals), measured or scientific)


def decimals_of(node: object) -> tuple[Fraction, int, bool] | None:
    """A decimal's value, the digits behind its point (fewer than none in 2.998 * 10^8), and if it is of that form."""
    match node:
        case Number(value, decimals) if decimals is not None:
            return value, decimals, decimals < 0 or (value != 0 and abs(value) < Fraction(1, 1000) and decimals > 6)
        case Apply("neg", (inner,)) if (written := decimals_of(inner)) is not None:
            return -written[0], written[1], written[2]
        case Apply("*", (Number(value, decimals), Apply("^", (Number(ten), Number(power))))):
            if ten == 10 and power.denominator == 1 and abs(power) < 1000 and decimals is not None:
                return value * ten ** int(power), decimals - int(power), True
    return None


def _same_matrix(compare: Comparison, a: Matrix, b: Matrix) -> bool:
    if (len(a.rows), len(a.rows[0])) != (len(b.rows), len(b.rows[0])):
        return False
    rows = zip(a.rows, b.rows, strict=True)
    return all(same(compare, x, y) for row, other in rows for x, y in zip(row, other, strict=True))


def _converted(compare: Comparison, a: Quantity, b: Quantity) -> str | None:
    """60 km/h is 1 km/min; an angle in degrees may stand in radians."""
    times = factor(a.unit, b.unit)
    if times is not None:
        inside = Apply("*", (Number(times), a.expression))
        return None if same(compare, inside, b.expression, measured=True) else _units_differ(a, b)
    if {a.unit, b.unit} == {"°", "radian"} or {a.unit, b.unit} == {"°", "rad"}:
        first, second = (Apply("*", (q.expression, _DEGREE)) if q.unit == "°" else q.expression for q in (a, b))
        return None if same(compare, first, second, measured=True) else _is_not(a, b)
    return _units_differ(a, b)


def _percent(compare: Comparison, first: object, second: object, wanted: bool) -> bool:
    """50% is 0.5, and 50 where the sign is missing; but 0.5 is never 0.5%, since 0.5 is 50%."""
    share, bare = (second, first) if wanted else (first, second)
    as_share = Apply("*", (share, _PERCENT))
    if wanted and (compare.calculator.same(bare, as_share) or _rounds_as_share(compare, bare, share)):
        return True
    if not wanted and compare.calculator.same(as_share, bare):
        return True
    return _past_one(compare, share) and same(compare, first, second, measured=True)


def _past_one(compare: Comparison, share: object) -> bool:
    """Whether a percentage is of more than one percent, or has no size."""
    if variables(share):
        return True
    with suppress(Undefined):
        return compare.calculator.order(Apply("abs", (share,)), Number(Fraction(1))) > 0
    return True


def _rounds_as_share(compare: Comparison, bare: object, share: object) -> bool:
    return same(compare, Apply("*", (bare, Number(Fraction(100)))), share, measured=True)


def _with_letters(compare: Comparison, a: object, b: object) -> bool:
    """`5 N` in plain letters is 5 times N to the parser: it is `5\\text{ N}` all the same."""
    quantity, other = (a, b) if isinstance(a, Quantity) else (b, a)
    parts = quantity.unit.split()
    if measure(quantity.unit) is None or not all(part.partition("^")[0].isalpha() for part in parts):
        return False
    factors, under, sign = [quantity.expression], [], True
    for part in parts:
        if part == "per":
            sign = False
            continue
        name, _, power = part.partition("^")
        letters = [Symbol(letter) for letter in name] * int(power or 1)
        (factors if sign else under).extend(letters)
    node = Apply("*", tuple(factors))
    node = Apply("/", (node, Apply("*", tuple(under)))) if under else node
    return compare.calculator.same(node, other)


def _converts_letters(compare: Comparison, a: object, b: object) -> bool:
    """`5000 g` in plain letters beside 5 kg, and `18 km/h` beside `5 m/s`: letters that measure what the unit does."""
    if "letter units" not in compare.rules:
        return False
    first, second = (side if isinstance(side, Quantity) else _lettered(side) for side in (a, b))
    return first is not None and second is not None and _converted(compare, first, second) is None


def _lettered(node: object) -> Quantity | None:
    """A number times letters that are all units, as a quantity: 5m/s is 5 "m per s". None: another form."""
    numbers, over, under = [], [], []

    def taken(part: object, up: bool, times: int = 1) -> bool:
        match part:
            case Apply("*", factors):
                return all(taken(factor, up) for factor in factors)
            case Apply("/", (top, bottom)):
                return taken(top, up) and taken(bottom, not up)
            case Apply("^", (Symbol() as base, Number(power))) if power in (2, 3):
                return taken(base, up, int(power))
            case Symbol(name) if name in variables(part):
                (over if up else under).append(f"{name}^{times}" if times > 1 else name)
                return len(name) == 1 and known(name) is not None
        numbers.append((part, up))
        return not variables(part)

    if not taken(node, True) or not over:
        return None
    value = Apply("*", tuple(part if up else Apply("/", (Number(Fraction(1)), part)) for part, up in numbers))
    return Quantity(value if numbers else Number(Fraction(1)), " ".join([*over, *(["per", *under] if under else [])]))


def factors_of(node: object) -> bool:
    """Whether an expression is a product or quotient of powers, and no sum."""
    return all(not isinstance(part, Apply) or part.function in ("*", "/", "^") for part in walk(node))


def _letters_are_units(compare: Comparison, a: object, b: object) -> bool:
    """`60 m/s` in plain letters against 60: a quotient whose letters are all units. A lone letter is a variable."""
    for letters, bare in ((a, b), (b, a)):
        names = variables(letters)
        if len(names) < 2 or variables(bare) or "letter units" not in compare.rules or not factors_of(letters):
            continue
        quotient = any(isinstance(part, Apply) and part.function == "/" for part in walk(letters))
        counted = any(isinstance(part, Number) and part.value != 1 for part in walk(letters))  # F/m is not 1
        if quotient and counted and all(len(name) == 1 and known(name) for name in names):
            number = replace(letters, lambda part: Number(Fraction(1)) if is_variable(part) else None)
            return same(compare, number, bare) if letters is a else same(compare, bare, number)
    return False


def _units_differ(a: Quantity, b: Quantity) -> str:
    return f"{a.unit} is not {b.unit}" if a.expression == b.expression or not factor(a.unit, b.unit) else _is_not(a, b)


def _is_not(a: object, b: object) -> str:
    return f"{show(a)} is not {show(b)}"
