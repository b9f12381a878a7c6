r"""Names that are free: the k of kπ, the C of Ce^{2x}, the a and b of f(x) = ax + b may have any name.

A rule of lenient grading only. The names of the problem itself (x, the n of 2^n - 1) are not free.
"""

import re
from collections.abc import Iterator
from itertools import permutations

from thinkling.verify.math.expressions.relations import is_function
from thinkling.verify.math.expressions.tree import PI, Listing, Qualified, Relation, Symbol, replace, variables, walk

MAX_NAMES = 3
_CONSTANT = re.compile(r"[CcK](?:_\{?[0-9]\}?)?|[abk]_\{?[0-9]\}?")
_ARGUMENTS = frozenset(["x", "y", "t", "z", "s", "r", "u", "\\theta"])
_WHOLE = re.compile(r"[nkmlj](?:_\{?[0-9]\}?)?")
_PARAMETER = re.compile(r"[a-dkmpqrCKAB](?:_\{?[0-9]\}?)?")
_ANY = re.compile(r"[a-zA-Z](?:_\{?[0-9]\}?)?")


def renamings(a: object, b: object) -> Iterator[object]:
    """The first tree with its free names put as the second one's, in every way that is allowed."""
    ours, theirs = variables(a) - variables(b), variables(b) - variables(a)
    if not ours or len(ours) != len(theirs) or len(ours) > MAX_NAMES or (ours | theirs) & (_heads(a) | _heads(b)):
        return
    allowed = [kind for kind, holds in _kinds(a, b) if holds and all(map(kind.fullmatch, ours | theirs))]
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
    period = all(Symbol(PI) in walk(side) for side in (a, b))
    stated = isinstance(a, Qualified) or isinstance(b, Qualified)
    solution = bool(variables(a) & variables(b) & _ARGUMENTS)
    return [(_CONSTANT, solution), (_WHOLE, period), (_PARAMETER, functions), (_ANY, stated)]
