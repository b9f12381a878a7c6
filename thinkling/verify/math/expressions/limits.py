r"""Limits that have an exact value: where the expression is continuous, or has a power series there (laurent.py).

Left out are all others, such as those at which two sides differ: they are compared by their form (atoms.py).
"""

from collections.abc import Callable
from fractions import Fraction

import thinkling.verify.math.expressions.numeric as numeric
from thinkling.verify.math.expressions.exact import CannotTell, Undefined, exact
from thinkling.verify.math.expressions.laurent import Expansion, NoSeries, Series
from thinkling.verify.math.expressions.numeric import MP, Numeric
from thinkling.verify.math.expressions.tree import EULER, INFINITY, PI, Apply, Number, Symbol, replace, variables, walk

_ENTIRE = frozenset(["+", "*", "neg", "sin", "cos", "exp", "sinh", "cosh", "arctan", "abs", "°"])
_CONTINUOUS = _ENTIRE | {"/", "^", "sqrt", "cbrt", "root", "ln", "log", "tan", "cot", "sec", "csc", "tanh"}
_SMALL = Fraction(1, 10**12)
_ENDLESS = {Symbol(INFINITY): 1, Apply("neg", (Symbol(INFINITY),)): -1}


def limit(node: Apply, spend: Callable[[int], None]) -> object | None:
    """The value of a limit, which may be an infinity; None where it is none of those above."""
    body, to, t = node.arguments
    if to in _ENDLESS:
        return _by_series(body, Apply("/", (Number(Fraction(_ENDLESS[to])), t)), t, True, spend)
    if variables(to) or variables(body):
        return _substituted(body, t, to) if _is_entire(body, t) else None
    value = _continuous(body, t, to, spend)
    if value is not None or not isinstance(to, Number):
        return value
    side = Apply("neg", (t,)) if node.function == "lim-" else t
    return _by_series(body, Apply("+", (to, side)), t, node.function != "lim", spend)


def _substituted(body: object, t: Symbol, place: object) -> object:
    return replace(body, lambda part: place if part == t else None)


def _is_entire(body: object, t: Symbol) -> bool:
    """Whether an expression is continuous in t everywhere, whatever its other names stand for."""
    for part in walk(body):
        if not isinstance(part, Apply) or t not in walk(part) or part.function in _ENTIRE:
            continue
        match part:
            case Apply("/", (_, bottom)) if t not in walk(bottom):
                continue
            case Apply("^", (_, Number(power))) if power.denominator == 1 and power > 0:
                continue
            case Apply("^", (Symbol(name), _)) if name == EULER:
                continue
        return False
    return True


def _continuous(body: object, t: Symbol, to: object, spend: Callable[[int], None]) -> object | None:
    """The value at the place itself, where each part of the expression is continuous there; None elsewhere."""
    bounds: list[object] = []  # must be positive there; those of `apart` must only not be zero
    apart: list[object] = []
    for part in walk(body):
        if not isinstance(part, Apply) or t not in walk(part):
            continue
        match part:
            case Apply("/", (_, bottom)):
                apart.append(bottom)
            case Apply("^", (base, Number(power))) if power.denominator == 1:
                apart += [base] if power <= 0 else []
            case Apply("^", (base, _)):
                bounds.append(base)
            case Apply("root", (inside, index)) if t not in walk(index):
                bounds.append(inside)
            case Apply("sqrt" | "cbrt" | "ln" | "log" | "root", arguments):
                bounds += arguments
            case Apply(function, _) if function not in _CONTINUOUS:
                return None
    try:
        with numeric.LOCK, MP.workdps(30):
            number = Numeric(spend, 30, True, None)
            values = [number.value(exact(_substituted(part, t, to), spend)) for part in (*bounds, *apart)]
            small = MP.mpf(_SMALL.numerator) / _SMALL.denominator
            fits = all(value > small for value in values[: len(bounds)]) and all(abs(v) > small for v in values)
            value = _substituted(body, t, to)
            number.value(exact(value, spend))  # raises at the pole of a tangent
    except (Undefined, CannotTell):
        return None
    return value if fits else None


def _by_series(body: object, place: object, t: Symbol, positive: bool, spend: Callable[[int], None]) -> object | None:
    return _limit_of(_substituted(body, t, place), t, positive, Expansion(t, positive, spend))


def _limit_of(body: object, t: Symbol, positive: bool, expansion: Expansion) -> object | None:
    if t not in walk(body):
        return None if variables(body) else body
    try:
        match body:
            case Apply("^", (base, exponent)) if t in walk(exponent):  # e to what the logarithm tends to
                if base == Symbol(EULER):
                    return _exponential(expansion.of(exponent), positive)
                logarithm = expansion.of(Apply("*", (exponent, Apply("ln", (base,)))))
                return _exponential(logarithm, positive)
        return _value(expansion.of(body), positive)
    except NoSeries:
        return _by_parts(body, t, positive, expansion)


def _by_parts(body: object, t: Symbol, positive: bool, expansion: Expansion) -> object | None:
    """The sum, the product or the arc tangent of limits that are known."""
    match body:
        case Apply("+" | "*" | "neg" as function, arguments):
            values = [_limit_of(part, t, positive, expansion) for part in arguments]
            finite = None not in values and not any(Symbol(INFINITY) in walk(value) for value in values)
            return Apply(function, tuple(values)) if finite else None
        case Apply("arctan", (part,)):
            value = _limit_of(part, t, positive, expansion)
            half = Apply("/", (Symbol(PI), Number(Fraction(2 * _ENDLESS.get(value, 1)))))
            return half if value in _ENDLESS else value and Apply("arctan", (value,))
    return None


def _value(series: Series, positive: bool) -> object | None:
    if series.low >= 0:
        return Number(series.constant())
    if not series.coefficients or (series.low % 2 and not positive):
        return None
    infinity = Symbol(INFINITY)
    return infinity if series.coefficients[0] > 0 else Apply("neg", (infinity,))


def _exponential(series: Series, positive: bool) -> object | None:
    """e to a series' limit."""
    value = _value(series, positive)
    if isinstance(value, Number):
        return Apply("^", (Symbol(EULER), value))
    return Number(Fraction(0)) if isinstance(value, Apply) else value
