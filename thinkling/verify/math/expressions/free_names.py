r"""Names that are free: the k of kπ, the C of Ce^{2x}, the a and b of f(x) = ax + b may have any name.

A rule of lenient grading only. The names of the problem itself (x, the n of 2^n - 1) are not free.
"""

import re
from collections.abc import Iterator
from itertools import permutations

from thinkling.verify.math.expressions.relations import is_function, named_values
from thinkling.verify.math.expressions.tree import (
    PI,
    Apply,
    Listing,
    Qualified,
    Relation,
    Symbol,
    Tuple,
    Words,
    replace,
    variables,
    walk,
)

MAX_NAMES = 3
_NAMED_CONSTANT = re.compile(r"[A-DKkc](?:_\{?[0-9]\}?)?")
_PARAMETER_OF_LINE = re.compile(r"[tsrku]|\\lambda|\\mu")
_CONSTANT = re.compile(r"[CcK](?:_\{?[0-9]\}?)?|[abk]_\{?[0-9]\}?")
_NUMBERED = re.compile(r"[Cc]_\{?[0-9]\}?")
_ARGUMENTS = frozenset(["x", "y", "t", "z", "s", "r", "u", "\\theta"])
_WHOLE = re.compile(r"[nkmlj](?:_\{?[0-9]\}?)?")
_PARAMETER = re.compile(r"[a-dkmpqrCKAB](?:_\{?[0-9]\}?)?")
_ANY = re.compile(r"[a-zA-Z](?:_\{?[0-9]\}?)?")


def renamings(a: object, b: object) -> Iterator[object]:
    """The first tree with its free names put as the second one's, in every way that is allowed."""
    ours, theirs = variables(a) - variables(b), variables(b) - variables(a)
    if not (_heads(a) and _heads(b)):  # kπ beside x = nπ
        ours, theirs = ours - _heads(a), theirs - _heads(b)
    if not ours and not theirs:  # c_1e^x + c_2e^{-x} beside c_1e^{-x} + c_2e^x
        ours = theirs = {name for name in variables(a) if _NUMBERED.fullmatch(name)}
    if not ours or len(ours) != len(theirs) or len(ours) > MAX_NAMES or (ours | theirs) & (_heads(a) | _heads(b)):
        return
    allowed = [kind for kind, holds in _kinds(a, b) if holds and all(map(kind.fullmatch, ours | theirs))]
    constants = [all(map(_CONSTANT.fullmatch, names)) for names in (ours, theirs)]
    other = theirs if constants[0] else ours
    marked = any(len(name) > 1 or name.isupper() for name in ours | theirs)
    if (
        any(constants)
        and marked
        and variables(a) & variables(b) & _ARGUMENTS
        and all(map(_NAMED_CONSTANT.fullmatch, other))
    ):
        allowed.append(_NAMED_CONSTANT)  # Ce^{2x} and Ae^{2x}
    if not allowed:
        return
    for order in permutations(sorted(theirs)):
        names = dict(zip(sorted(ours), order, strict=True))
        yield _renamed(a, names)


def _heads(tree: object) -> set[str]:
    """The names that are said to equal something: the y of y = Ce^x."""
    if isinstance(tree, Qualified):
        return _heads(tree.value)
    if isinstance(tree, Listing):
        return {name for item in tree.items for name in _heads(item)}
    return {side.name for side in tree.sides if isinstance(side, Symbol)} if isinstance(tree, Relation) else set()


def _renamed(tree: object, names: dict[str, str]) -> object:
    return replace(tree, lambda part: Symbol(names[part.name]) if _is_of(part, names) else None)


def _is_of(part: object, names: dict[str, str]) -> bool:
    return isinstance(part, Symbol) and part.name in names


def _kinds(a: object, b: object) -> list[tuple[re.Pattern, bool]]:
    functions = all(isinstance(side, Relation) and is_function(side.sides[0]) for side in (a, b))
    period = all(_beside_pi(side) or _turns(side) for side in (a, b))
    line = all(isinstance(side, Tuple) or (isinstance(side, Listing) and named_values(side)) for side in (a, b))
    stated = [side for side in (a, b) if isinstance(side, Qualified)]
    conditions = [condition for side in stated for condition in side.conditions]
    runs = any(isinstance(condition, Words) and condition.text != "real" for condition in conditions)  # "k ∈ ℤ"
    solution = bool(variables(a) & variables(b) & _ARGUMENTS)
    return [
        (_CONSTANT, solution),
        (_WHOLE, period or bool(stated)),
        (_PARAMETER, functions),
        (_ANY, runs or len(stated) == 2),
        (_PARAMETER_OF_LINE, line),
    ]


def _beside_pi(tree: object) -> bool:
    """Whether a name stands in a product with π: kπ, (2k+1)π/2; in sin(nx) + π none does."""
    products = [part for part in walk(tree) if isinstance(part, Apply) and part.function == "*"]
    return any(Symbol(PI) in walk(part) and variables(part) for part in products)


def _turns(tree: object) -> bool:
    """Whether an angle in degrees stands in a sum: 45° + 360° k."""
    return any(isinstance(part, Apply) and part.function == "°" for part in walk(tree))


def renamed_function(a: object, b: object) -> object | None:
    """`g(x) = 2x` with b's name for the function it defines, f(x) = 2x; None where both are no definitions."""
    if not (isinstance(a, Relation) and isinstance(b, Relation)):
        return None
    first, second = a.sides[0], b.sides[0]
    if not (is_function(first) and is_function(second)) or first.function == second.function:
        return None
    if _marks(first) or _marks(second) or second.function in {n.function for n in walk(a) if isinstance(n, Apply)}:
        return None

    def other(part: object) -> object | None:
        if not (isinstance(part, Apply) and part.function == first.function):
            return None
        return Apply(second.function, tuple(replace(argument, other) for argument in part.arguments))

    return replace(a, other)


def _marks(head: Apply) -> bool:
    return head.function[-3:-2] in ("'", "¹") or not all(isinstance(argument, Symbol) for argument in head.arguments)
