"""The exact part of an expression: whatever is a rational number becomes one, unless it would be too large.

Every size is bounded before it is computed: `9^{9^{9}}` and `(10^9)!` stay as they are written (see numeric.py).
"""

import math
from collections.abc import Callable
from fractions import Fraction

import thinkling.verify.math.expressions.angles as angles
from thinkling.verify.math.expressions.polynomials import polynomial, summed
from thinkling.verify.math.expressions.tree import INFINITY, Apply, Matrix, Number, Numeral, Symbol, replace, walk

MAX_TERMS = 200  # of a sum or product that is written out
MAX_UNKNOWN = 20  # terms of a sum of f(k)
MAX_END = 10**30  # of a sum of a polynomial
MAX_BITS = 25_000  # of an exact numerator or denominator


class CannotTell(Exception):
    """Two values are too large, too close or too much work to compare; the message says which."""


class Undefined(Exception):
    """An expression has no value: a division by zero, the logarithm of zero, infinity in a calculation."""


class NoCase(Undefined):
    """A function by cases has no case for a point, or two that contradict each other."""


def exact(node: object, spend: Callable[[int], None]) -> object:
    """The expression with every part that is a rational number, and small enough, put in as a Number."""
    match node:
        case Numeral():
            return Number(node.value)
        case Apply("det", (Matrix(rows),)):
            spend(len(rows) ** 3)
            return exact(_determinant(rows), spend)
        case Apply("sum" | "prod" as function, (body, low, high, Symbol() as index)):
            return _series(function, body, exact(low, spend), exact(high, spend), index, spend)
        case Apply("cases", pieces):
            return _by_cases(pieces, spend)
        case Apply(function, arguments):
            parts = tuple(exact(argument, spend) for argument in arguments)
            spend(1)
            if all(isinstance(part, Number) for part in parts):
                value = _rational(function, [part.value for part in parts])
                if value is not None:
                    spend(bits(value) ** 2 // 400_000)
                    return Number(value)
            elif function == "*" and Number(Fraction(0)) in parts:
                if any(Symbol(INFINITY) in walk(part) for part in parts):
                    raise Undefined("zero times infinity")
                return Number(Fraction(0))
            if function in angles.FUNCTIONS and (value := angles.value(function, parts[0])) is not None:
                if value == "pole":
                    raise Undefined(f"{function} at a pole")
                return value
            return Apply(function, parts)
        case Matrix(rows):
            return Matrix(tuple(tuple(exact(entry, spend) for entry in row) for row in rows))
    return node


def _series(function: str, body: object, low: object, high: object, index: Symbol, spend: Callable) -> object:
    """A finite sum or product, term by term; as it is where it is infinite.

    Raises CannotTell where it has too many terms, and is no sum of a polynomial.
    """
    ends = [side.value for side in (low, high) if isinstance(side, Number) and side.value.denominator == 1]
    if len(ends) < 2:
        return Apply(function, (body, low, high, index))
    if ends[1] - ends[0] >= MAX_TERMS:
        terms = polynomial(body, index.name) if function == "sum" and max(map(abs, ends)) < MAX_END else None
        if terms is None:
            raise CannotTell(f"a {function} of more than {MAX_TERMS} terms")
        spend(300)
        return Number(summed(terms, int(ends[0]), int(ends[1])))
    if ends[1] < ends[0] - 1:
        raise Undefined("a sum that ends before it begins")
    return exact(_in_terms(function, body, int(ends[0]), int(ends[1]), index, spend), spend)


def in_terms(node: Apply, spend: Callable[[int], None]) -> object | None:
    """A finite sum or product of unknown values, f(1) + f(2), written out; None where it is long, or not finite."""
    ends = [exact(end, spend) for end in node.arguments[1:3]]
    if len(node.arguments) < 4 or not all(isinstance(end, Number) and end.value.denominator == 1 for end in ends):
        return None
    low, high = (int(end.value) for end in ends)
    short = -1 <= high - low < MAX_UNKNOWN
    return _in_terms(node.function, node.arguments[0], low, high, node.arguments[3], spend) if short else None


def _in_terms(function: str, body: object, low: int, high: int, index: Symbol, spend: Callable) -> Apply:
    terms, size = [], sum(1 for _ in walk(body))
    for at in range(low, high + 1):
        spend(12 + 2 * size)
        value = Number(Fraction(at))
        terms.append(replace(body, lambda part, value=value: value if part == index else None))
    start = Number(Fraction(function == "prod"))
    return Apply("+" if function == "sum" else "*", (start, *terms))


def _by_cases(pieces: tuple, spend: Callable) -> object:
    """The value of the piece whose condition holds. Raises NoCase where none does, or two that differ."""
    found: list = []
    for value, condition in zip(pieces[::2], pieces[1::2], strict=True):
        holds = exact(condition, spend)
        if not isinstance(holds, Number):
            return Apply("cases", pieces)
        if holds.value and not (found and condition == Number(Fraction(1))):  # 1: otherwise
            found.append(exact(value, spend))
    if not found or any(other != found[0] for other in found[1:]):
        raise NoCase("no case holds, or two that differ")
    return found[0]


def bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _rational(function: str, values: list[Fraction]) -> Fraction | None:
    """The exact value; None where it is irrational, or too large to be computed exactly. Raises Undefined."""
    first = values[0]
    match function:
        case "+":
            total = Fraction(0)
            for value in values:
                if bits(total) + bits(value) > MAX_BITS:
                    return None
                total += value
            return total
        case "*":
            return math.prod(values, start=Fraction(1)) if sum(map(bits, values)) <= MAX_BITS else None
        case "/":
            if values[1] == 0:
                raise Undefined("a division by zero")
            return first / values[1] if bits(first) + bits(values[1]) <= MAX_BITS else None
        case "^":
            return _exact_power(first, values[1])
        case "neg":
            return -first
        case "%":
            return first / 100
        case "sqrt" if first >= 0:
            top, bottom = math.isqrt(first.numerator), math.isqrt(first.denominator)
            return Fraction(top, bottom) if Fraction(top * top, bottom * bottom) == first else None
        case "abs":
            return abs(first)
        case "sgn":
            return Fraction((first > 0) - (first < 0))
        case "<" | "≤" | "=" | "≠":
            holds = {"<": first < values[1], "≤": first <= values[1], "=": first == values[1]}
            return Fraction(holds.get(function, first != values[1]))
        case "mod" if values[1] > 0:
            return first % values[1]
        case "floor":
            return Fraction(math.floor(first))
        case "ceil":
            return Fraction(math.ceil(first))
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "Re":
            return first
        case "Im":
            return Fraction(0)
    if all(value.denominator == 1 for value in values):
        return _whole(function, [value.numerator for value in values])
    return None


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 0 and exponent <= 0:
        raise Undefined("zero to a power that is not positive")
    if base in (0, 1):
        return base
    if exponent.denominator != 1 or (abs(base) != 1 and abs(exponent) * bits(base) > MAX_BITS):
        return None
    return base ** int(exponent % 2 if base == -1 else exponent)


def _whole(function: str, values: list[int]) -> Fraction | None:
    n = values[0]
    if function in ("!", "!!"):
        if n < 0:
            raise Undefined("the factorial of a negative number")
        if n * max(n.bit_length(), 1) > MAX_BITS:
            return None
        return Fraction(math.factorial(n) if function == "!" else math.prod(range(n, 0, -2)))
    if function == "binom" and n >= 0:
        k = min(values[1], n - values[1])
        if k < 0:
            return Fraction(0)
        return Fraction(math.comb(n, k)) if k * n.bit_length() <= MAX_BITS else None
    if function in ("gcd", "lcm") and sum(value.bit_length() for value in values) <= MAX_BITS:
        return Fraction(math.gcd(*values) if function == "gcd" else math.lcm(*values))
    return None


def _determinant(rows: tuple[tuple, ...]) -> object:
    """Laplace's expansion along the first row."""
    if len(rows) > 4 or len(rows) != len(rows[0]):
        raise CannotTell("the determinant of a matrix that is not square, or larger than 4 x 4")
    if len(rows) == 1:
        return rows[0][0]
    minors = [_determinant(tuple(row[:j] + row[j + 1 :] for row in rows[1:])) for j in range(len(rows))]
    signs = (Number(Fraction((-1) ** j)) for j in range(len(rows)))
    return Apply("+", tuple(Apply("*", parts) for parts in zip(signs, rows[0], minors, strict=True)))
