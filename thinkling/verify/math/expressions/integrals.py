r"""Definite integrals that have an exact value, by an antiderivative that is known to hold between the two ends.

Also e^(-ax²) over a whole or a half line. Left out are all others: they are compared by their form (atoms.py).
"""

from collections.abc import Callable
from fractions import Fraction

import thinkling.verify.math.expressions.numeric as numeric
from thinkling.verify.math.expressions.antiderivatives import antiderivative, factors_of
from thinkling.verify.math.expressions.exact import CannotTell, Undefined, exact
from thinkling.verify.math.expressions.numeric import MP, Numeric
from thinkling.verify.math.expressions.polynomials import polynomial
from thinkling.verify.math.expressions.quotients import ONE, ZERO, Part, Unknown
from thinkling.verify.math.expressions.tree import EULER, INFINITY, PI, Apply, Number, Symbol, replace, variables, walk

ENDLESS = {Symbol(INFINITY): 1, Apply("neg", (Symbol(INFINITY),)): -1}


def integral(node: Apply, spend: Callable[[int], None]) -> object | None:
    """The value of a definite integral; None where none is known. Symbols may stand in it, and in its ends."""
    body, low, high, x = node.arguments
    bad = [end for end in (low, high) if x in walk(end) or (end not in ENDLESS and Symbol(INFINITY) in walk(end))]
    sets = any(isinstance(part, Apply) and part.function == "set" for end in (low, high) for part in walk(end))
    if bad or sets or (high in ENDLESS and variables(low)):  # \int_C
        return None
    spend(250)
    try:
        bell = _bell(body, low, high, x)
        parts = [] if bell else antiderivative(body, x, spend)
        ends = [Apply("+", (_at(part, high, x), Apply("neg", (_at(part, low, x),)))) for part in parts]
        value = bell or Apply("+", (ZERO, *ends))  # no part at all: of 0 · f(x)
        return tidy(value, spend) if _hold(parts, (low, high), x, spend) else None
    except (Unknown, Undefined):
        return None


def tidy(node: object, spend: Callable[[int], None]) -> object:
    """The same with rational parts computed, and without + 0, · 1, · 0 and ^ 1. Raises Undefined."""
    spend(6)
    if not isinstance(node, Apply):
        return node
    parts = tuple(tidy(part, spend) for part in node.arguments)
    plain = exact(Apply(node.function, parts), spend) if all(isinstance(part, Number) for part in parts) else None
    if isinstance(plain, Number):
        return plain
    if node.function in ("+", "*"):
        empty = ZERO if node.function == "+" else ONE
        if node.function == "*" and ZERO in parts:
            return ZERO
        kept = [part for part in parts if part != empty]
        return Apply(node.function, tuple(kept)) if len(kept) > 1 else kept[0] if kept else empty
    if node.function in ("/", "^") and parts[1] == ONE:
        return parts[0]
    return Apply(node.function, parts)


def _at(part: Part, end: object, x: Symbol) -> object:
    if end in ENDLESS:
        value = part.endless[ENDLESS[end] > 0]
        if value is None:
            raise Unknown
        return value
    return _put(part.tree, x, end)


def _put(node: object, x: Symbol, end: object) -> object:
    return replace(node, lambda part: end if part == x else None)


def _hold(parts: list[Part], ends: tuple[object, object], x: Symbol, spend: Callable[[int], None]) -> bool:
    """Whether every term holds from one end to the other."""
    if not any(part.apart or part.above for part in parts):
        return True
    try:
        with numeric.LOCK, MP.workdps(30):
            number = Numeric(spend, 30, True, None)
            far = {end: Number(Fraction(10**9 * sign)) for end, sign in ENDLESS.items()}
            values = [far.get(end, end) for end in ends]

            def signs(edge: object) -> list[int]:
                found = [number.value(exact(_put(edge, x, end), spend)) for end in values]
                return [0 if abs(value) < MP.mpf("1e-15") else 1 if value > 0 else -1 for value in found]

            for part in parts:
                if any(abs(sum(signs(edge))) != 2 for edge in part.apart) or any(-1 in signs(e) for e in part.above):
                    return False
    except (Undefined, CannotTell):
        return False
    return True


def _bell(body: object, low: object, high: object, x: Symbol) -> object | None:
    """c·e^(-ax²) over the whole line or a half of it: √(π/a), or half of that; None for all else."""
    reach = [ENDLESS.get(end, 0 if end == ZERO else None) for end in (low, high)]
    constants, factors = factors_of(body, x)
    match factors:
        case [Apply("^", (Symbol(name), exponent))] if name == EULER:
            pass
        case [Apply("exp", (exponent,))]:
            pass
        case _:
            return None
    inside = polynomial(exponent, x.name)
    if None in reach or inside is None or len(inside) != 3 or inside[0] or inside[1] or inside[2] >= 0:
        return None
    root = Apply("sqrt", (Apply("/", (Symbol(PI), Number(-inside[2]))),))
    return Apply("*", (*constants, Number(Fraction(reach[1] - reach[0], 2)), root))
