"""Sine, cosine and their kin at rational multiples of π, exactly: sin(π) is 0, cos(60°) is 1/2."""

from fractions import Fraction

from thinkling.verify.math.expressions.tree import PI, Apply, Number, Symbol

FUNCTIONS = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_SIN = {0: Fraction(0), 30: Fraction(1, 2), 90: Fraction(1)}
_ROOTS = {45: 2, 60: 3}


def value(function: str, angle: object) -> object | None:
    """The exact value at a multiple of 30° or 45°; None elsewhere; "pole" where there is none."""
    turns = multiple_of_pi(angle)
    if turns is None or (turns * 180).denominator != 1:
        return None
    degrees = int(turns * 180) % 360
    sine, cosine = _sine(degrees), _sine(degrees + 90)
    if sine is None or cosine is None:
        return None
    parts = {"sin": (sine, None), "cos": (cosine, None), "tan": (sine, cosine), "cot": (cosine, sine),
             "sec": (Number(Fraction(1)), cosine), "csc": (Number(Fraction(1)), sine)}  # fmt: skip
    top, bottom = parts[function]
    if bottom is None:
        return top
    if bottom == Number(Fraction(0)):
        return "pole"
    return Apply("/", (top, bottom))


def multiple_of_pi(node: object) -> Fraction | None:
    """The rational r of an angle r·π; None where it is no such angle."""
    match node:
        case Number(value):
            return Fraction(0) if value == 0 else None
        case Symbol(name):
            return Fraction(1) if name == PI else None
        case Apply("°", (Number(value),)):
            return value / 180
        case Apply("neg", (part,)):
            inner = multiple_of_pi(part)
            return None if inner is None else -inner
        case Apply("*", factors):
            rest = [factor for factor in factors if not isinstance(factor, Number)]
            inner = multiple_of_pi(rest[0]) if len(rest) == 1 else None
            for factor in factors:
                inner = inner * factor.value if inner is not None and isinstance(factor, Number) else inner
            return inner
        case Apply("/", (top, Number(value))) if value:
            inner = multiple_of_pi(top)
            return None if inner is None else inner / value
        case Apply("+", terms):
            inner = [multiple_of_pi(term) for term in terms]
            return None if None in inner else sum(inner, Fraction(0))
    return None


def _sine(degrees: int) -> object | None:
    degrees %= 360
    sign = -1 if degrees >= 180 else 1
    degrees %= 180
    degrees = min(degrees, 180 - degrees)
    if degrees in _SIN:
        return Number(sign * _SIN[degrees])
    if degrees not in _ROOTS:
        return None
    half = Apply("*", (Number(Fraction(sign, 2)), Apply("sqrt", (Number(Fraction(_ROOTS[degrees])),))))
    return half
