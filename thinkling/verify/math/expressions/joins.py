"""Items of a whole answer with what joins them: `x < 2 or x > 3` is a union, `1, 2` a listing, and "A or C" a guess.

Leaves out what a listing then means beside another one (see equal.py).
"""

from fractions import Fraction

from thinkling.verify.math.expressions.build import REALS, is_constant, is_variable, negated
from thinkling.verify.math.expressions.tokens import NotMathematics
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    EXPRESSIONS,
    Apply,
    Listing,
    Number,
    Relation,
    Set,
    SetOperation,
    Solution,
    Symbol,
)

LETTERS = frozenset("ABCDEFGHIJ")  # of choices


def joined(items: list, joins: set[str]) -> object:
    """The items of a whole answer: one, a union (`x < 2 or x > 3`), an intersection, or a listing."""
    if len(items) == 1:
        return items[0]
    if "or" in joins and all(map(is_variable, items)):
        raise NotMathematics("one choice or another")  # A or C, p or q
    if joins == {"or"} and (either := _either(items)) is not None:
        return either
    match items[0]:
        case Solution(name, SetOperation("∖", (_, Set((one,))))) if ";" not in joins:
            rest = items[1:]
            if all(map(is_constant, rest)) and Symbol(ELLIPSIS) not in rest:  # x ≠ 1, 2
                return Solution(name, SetOperation("∖", (REALS, Set((one, *rest)))))
    names = {item.name if isinstance(item, Solution) else None for item in items}
    if len(names) == 1 and None not in names and joins - {",", ";"} in ({"or"}, {"and"}):
        operator = "∪" if "or" in joins else "∩"
        return Solution(names.pop(), SetOperation(operator, tuple(item.values for item in items)))
    return Listing(tuple(items))


def _either(items: list) -> Relation | None:
    """`x = 1 or y = 2` as (x - 1)(y - 2) + 0 = 0, which is no point; None where it is the values of one name.

    Raises NotMathematics for bounds of two names, `x > 1 or y > 2`, which are no set.
    """
    if not all(isinstance(item, Relation | Solution) for item in items) or len(set(map(_head, items))) == 1:
        return None
    if any(isinstance(item, Solution) for item in items):
        raise NotMathematics("one condition or another")
    if not all(
        item.operators == ("=",) and all(isinstance(side, EXPRESSIONS) for side in item.sides) for item in items
    ):
        return None
    zero = Number(Fraction(0))
    factors = tuple(Apply("+", (item.sides[0], negated(item.sides[1]))) for item in items)
    return Relation((Apply("+", (Apply("*", factors), zero)), zero), ("=",))


def _head(item: Relation | Solution) -> object:
    """What an item is about: the x of x > 1 and x_1 = 2, the m + n of m + n = 5."""
    head = Symbol(item.name) if isinstance(item, Solution) else item.sides[0]
    return head.name.partition("_")[0] if isinstance(head, Symbol) else head
