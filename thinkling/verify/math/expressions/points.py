"""Where two expressions with variables are compared: seeded random points, and each stretch between their bends.

A bend is where |x - 2025| or max(x, -5) changes its formula: between two bends a formula is one, so it needs a point in
each stretch, and at each bend. Bends are solved for exactly where they are linear, else searched for by sign.
"""

import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations, pairwise

import thinkling.verify.math.expressions.angles as angles
from thinkling.verify.math.expressions.exact import CannotTell, Undefined, exact
from thinkling.verify.math.expressions.tree import PI, Apply, Number, Symbol, replace, variables, walk

MAX_BENDS, MAX_JOINT = 16, 16
_RANGES = ((0.4, 3.0), (-3.0, 3.0), None, (0.05, 0.95), (-1.5, 1.5), None)  # None: whole numbers
_WHOLE = frozenset(["!", "!!", "binom", "gcd", "lcm", "sum", "prod", "mod"])  # of whole numbers only
_INNER = frozenset(["abs", "sgn", "sqrt", "root", "cbrt", "ln", "log"])
_STEPS = tuple(map(Fraction, ("1/2", 1, 2, 3, 5, 8, 15, 40, 110, 320, 1100, 3300, 10**5)))
_SEARCHED = (*(-step for step in reversed(_STEPS)), Fraction(0), *_STEPS)
_WHOLE_NAMES, _COUNTING_NAMES = frozenset("nmkNijpq"), frozenset("nmk")
Point = dict[str, Number]


def generic(names: list[str], trees: tuple) -> Iterator[Point]:
    """Positive, of either sign, whole, in the unit interval; rational, so exact.

    Those that are not whole have a denominator of 64, so that no odd root of a negative number is real by chance. Where
    a factorial or a binomial stands, all are whole.
    """
    rng = random.Random(20260101)
    if len(names) > 12:
        raise CannotTell("more than 12 variables")
    if _whole(trees):
        for attempt in range(40):
            top = (6, 9, 14)[attempt % 3]
            yield {name: Number(Fraction(rng.randint(1, top))) for name in names}
        return
    for attempt in range(24):
        span = _RANGES[attempt % len(_RANGES)]
        yield {name: Number(Fraction(rng.randint(1, 10)) if span is None else _between(rng, *span)) for name in names}


def _whole(trees: tuple) -> bool:
    """Whether the variables count: in a factorial or binomial, as n in ⌊n/2⌋ or cos(2πn); in ⌊n⌋ n is none."""
    for node in (node for tree in trees for node in walk(tree) if isinstance(node, Apply)):
        if node.function in _WHOLE and variables(node):
            return True
        if node.function in angles.FUNCTIONS and Symbol(PI) in walk(node) and _count_all(trees) and variables(node):
            return True
        counting = node.function in ("floor", "ceil") and variables(node) and variables(node) <= _WHOLE_NAMES
        if counting and any(isinstance(part, Apply) and part.function == "/" for part in walk(node)):
            return True
    return False


def _count_all(trees: tuple) -> bool:
    return set().union(*map(variables, trees)) <= _COUNTING_NAMES


def _between(rng: random.Random, low: float, high: float) -> Fraction:
    return Fraction(2 * rng.randrange(int(low * 32), int(high * 32)) + 1, 64)


def between_bends(names: list[str], trees: tuple, spend: Callable[[int], None]) -> Iterator[Point]:
    """A point on each stretch between two bends, on each bend, and far out, variable by variable; then joint ones."""
    edges = list(dict.fromkeys(edge for tree in trees for node in walk(tree) for edge in _edges(node)))
    if not edges:
        return
    base = next(generic(names, ()))
    whole = _whole(trees)
    if whole:
        base = {name: Number(Fraction(7 + place)) for place, name in enumerate(names)}
    found: dict[str, list[Fraction]] = {}
    for name in names:
        bends: set[Fraction] = set()
        for edge in edges:
            if name in variables(edge) and len(bends) < MAX_BENDS:
                bends.update(_zeros(edge, name, base, spend))
        found[name] = _stretches(sorted(bends)[:MAX_BENDS]) if bends else []
    for name, values in found.items():
        for value in values:
            if value.denominator == 1 or not whole:
                yield base | {name: Number(value)}
    if sum(map(bool, found.values())) > 1:
        rng = random.Random(7)
        for _ in range(MAX_JOINT):
            yield base | {name: Number(rng.choice(values)) for name, values in found.items() if values and not whole}


def _edges(node: object) -> Iterator[object]:
    """Expressions whose zeros are where the node bends, jumps or stops."""
    if not isinstance(node, Apply) or not variables(node):
        return
    function, arguments = node.function, node.arguments
    if function in _INNER:
        yield arguments[0]
    elif function == "/":
        if variables(arguments[1]):
            yield arguments[1]
    elif function == "^":
        exponent = arguments[1]
        if variables(arguments[0]) and not (isinstance(exponent, Number) and exponent.value.denominator == 1):
            yield arguments[0]
    elif function in ("max", "min", "<", "≤", "=", "≠"):
        for a, b in combinations(arguments[:6], 2):
            yield _minus(a, b)
    elif function in ("floor", "ceil"):
        for step in (-1, 0, 1, 2):
            yield _minus(arguments[0], Number(Fraction(step)))
    elif function == "binom":
        yield _minus(*arguments)
    elif function in ("gcd", "lcm", "mod"):
        for a, b in combinations(arguments[:4], 2):
            for times in (1, 2, 3):
                yield _minus(a, Apply("*", (Number(Fraction(times)), b)))
                yield _minus(b, Apply("*", (Number(Fraction(times)), a)))
    elif function in ("arcsin", "arccos", "artanh", "arcosh"):
        yield _minus(arguments[0], Number(Fraction(1)))
        yield _minus(arguments[0], Number(Fraction(-1)))


def _minus(a: object, b: object) -> Apply:
    return Apply("+", (a, Apply("neg", (b,))))


def _zeros(edge: object, name: str, base: Point, spend: Callable[[int], None]) -> list[Fraction]:
    """Where the edge is zero as the one variable moves: exactly where it is linear, else to within 1/64."""
    known: dict[Fraction, Fraction | None] = {}
    size = sum(1 for _ in walk(edge))

    def value(at: Fraction) -> Fraction | None:
        if at not in known:
            spend(size)
            point = base | {name: Number(at)}
            try:
                result = exact(substituted(edge, point), spend)
                known[at] = result.value if isinstance(result, Number) else None
            except Undefined:
                known[at] = None
        return known[at]

    first = [value(Fraction(at)) for at in (0, 1, 2)]
    if None not in first and first[0] - 2 * first[1] + first[2] == 0:
        slope = first[1] - first[0]
        third = value(Fraction(7))
        if slope == 0 and third == first[0]:
            return []
        if slope and third == first[0] + 7 * slope:
            return [-first[0] / slope]
    zeros, before = [], None
    for at in _SEARCHED:
        now = value(at)
        if now == 0:
            zeros.append(at)
        elif now is not None and before is not None and before[1] * now < 0:
            zeros.append(_bisected(value, before[0], at))
        before = None if now is None or now == 0 else (at, now)
    if zeros:
        return zeros
    return sorted({sign * part.value for part in walk(edge) if isinstance(part, Number) for sign in (1, -1)})[:6]


def _bisected(value: Callable[[Fraction], Fraction | None], low: Fraction, high: Fraction) -> Fraction:
    rising = value(low) < 0
    while high - low > Fraction(1, 64):
        middle = (low + high) / 2
        now = value(middle)
        if now is None or now == 0:
            return middle
        low, high = (middle, high) if (now < 0) == rising else (low, middle)
    return low


def _stretches(bends: list[Fraction]) -> list[Fraction]:
    """The bends themselves, the middle of every stretch, whole numbers around each, and far out on both sides."""
    low, high = bends[0], bends[-1]
    values = [low - 1, high + 1, low - Fraction(1, 3), high + Fraction(1, 3), 2 * high - low + 41, 2 * low - high - 43]
    values += [(a + b) / 2 for a, b in pairwise(bends)]
    for bend in bends:
        whole = bend.numerator // bend.denominator
        values += [bend, Fraction(whole), Fraction(whole - 1), Fraction(whole + 1)]
    return list(dict.fromkeys(values))


def substituted(node: object, point: Point) -> object:
    return replace(node, lambda part: point.get(part.name) if isinstance(part, Symbol) else None)
