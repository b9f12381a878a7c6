"""What is not computed, compared by its form: an integral, a limit or an endless sum is an unknown of that form's name.

So twice an integral is twice the same integral, in any spelling; and of two different ones nothing is known.
"""

from collections.abc import Callable
from contextlib import suppress

from thinkling.verify.math.expressions.endless import endless_sum
from thinkling.verify.math.expressions.exact import Undefined, exact
from thinkling.verify.math.expressions.integrals import integral
from thinkling.verify.math.expressions.limits import limit
from thinkling.verify.math.expressions.tree import INFINITY, Apply, Symbol, replace, walk

_FORMS = ("integral", "antiderivative", "lim", "lim+", "lim-", "det", "tr", "set")


def with_atoms(tree: object, spend: Callable[[int], None]) -> tuple[object, set[str]]:
    """The tree with a symbol in place of each part that is not computed, and the names of those symbols."""
    names: set[str] = set()

    def atom(part: object) -> object | None:
        if not isinstance(part, Apply) or not _is_form(part):
            return None
        value = value_of(part, spend)
        if value is not None:
            return value
        name = f"⟦{_canonical(part, spend)!r}⟧"
        names.add(name)
        return Symbol(name)

    if not any(isinstance(part, Apply) and _is_form(part) for part in walk(tree)):
        return tree, names
    return replace(tree, atom), names


_VALUES = {"integral": integral, "sum": endless_sum, "lim": limit, "lim+": limit, "lim-": limit}


def value_of(part: Apply, spend: Callable[[int], None]) -> object | None:
    """The value of an integral, a limit or an endless sum, after those that stand in it; None where it is not known."""
    if part.function not in _VALUES:
        return None

    def inner(node: object) -> object | None:
        return value_of(node, spend) if isinstance(node, Apply) and _is_form(node) else None

    arguments = tuple(replace(argument, inner) for argument in part.arguments)
    if any(isinstance(node, Apply) and _is_form(node) for argument in arguments for node in walk(argument)):
        return None
    return _VALUES[part.function](Apply(part.function, arguments), spend)


def _is_form(part: Apply) -> bool:
    if part.function in ("sum", "prod"):
        return len(part.arguments) != 4 or not _may_be_finite(part.arguments)
    return part.function in _FORMS and not (part.function == "det" and not isinstance(part.arguments[0], Symbol))


def _may_be_finite(arguments: tuple) -> bool:
    _, low, high, _ = arguments
    return all(Symbol(INFINITY) not in walk(end) for end in (low, high))


def _canonical(node: object, spend: Callable[[int], None]) -> object:
    """A form in which the order of terms and factors, and how numbers are written, do not count."""
    with suppress(Undefined):
        node = exact(node, spend)
    return _sorted(node)


def _sorted(node: object) -> object:
    if not isinstance(node, Apply):
        return node
    parts = tuple(map(_sorted, node.arguments))
    if node.function in ("+", "*"):
        flat = [inner for part in parts for inner in (part.arguments if _is(part, node.function) else (part,))]
        return Apply(node.function, tuple(sorted(flat, key=repr)))
    return Apply(node.function, parts)


def _is(node: object, function: str) -> bool:
    return isinstance(node, Apply) and node.function == function
