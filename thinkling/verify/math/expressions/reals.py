"""Sets of reals as sorted, separate intervals: `x < 2 or x > 3` equals `(3, ∞) ∪ (-∞, 2)`, `x ≠ 9` is two rays."""

from functools import cmp_to_key

from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.build import REALS
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import EXPRESSIONS, Interval, Set, SetOperation, variables


class NotReal(Exception):
    """The set's ends are not real numbers, so that it cannot be put in order."""


def pieces(node: object, calculator: Calculator) -> list[Interval]:
    """A set as disjoint intervals in rising order, none empty, none touching; a point is closed and of no length.

    Raises NotReal, Undefined or CannotTell. (3, 1) is no set: nobody writes the empty one so, it is a pair of numbers.
    """
    match node:
        case Interval(low, high, _, _):
            _real(low), _real(high)
            if _is_empty(node, calculator):
                raise NotReal
            return [node]
        case Set(items):
            return _merged([_point(item) for item in items], calculator)
        case SetOperation("∪", parts):
            return _merged([piece for part in parts for piece in pieces(part, calculator)], calculator)
        case SetOperation("∩", parts):
            kept = [REALS]
            for part in parts:
                kept = _common(kept, pieces(part, calculator), calculator)
            return kept
        case SetOperation("∖", (whole, removed)):
            rest = _complement(pieces(removed, calculator))
            return _common(pieces(whole, calculator), rest, calculator)
    raise NotReal


def differ(a: list[Interval], b: list[Interval], calculator: Calculator) -> bool:
    """Whether two lists of pieces differ."""
    return len(a) != len(b) or any(
        calculator.order(x.low, y.low) or calculator.order(x.high, y.high)
        or (x.low_closed, x.high_closed) != (y.low_closed, y.high_closed)
        for x, y in zip(a, b, strict=True)
    )  # fmt: skip


def _real(end: object) -> None:
    if not isinstance(end, EXPRESSIONS) or variables(end):
        raise NotReal


def _point(item: object) -> Interval:
    _real(item)
    return Interval(item, item, True, True)


def _is_empty(piece: Interval, calculator: Calculator) -> bool:
    order = calculator.order(piece.low, piece.high)
    return order > 0 or (order == 0 and not (piece.low_closed and piece.high_closed))


def _merged(found: list[Interval], calculator: Calculator) -> list[Interval]:
    def below(a: Interval, b: Interval) -> int:
        return calculator.order(a.low, b.low) or b.low_closed - a.low_closed

    merged: list[Interval] = []
    for piece in sorted(found, key=cmp_to_key(below)):
        last = merged[-1] if merged else None
        gap = calculator.order(last.high, piece.low) if last else -1
        if gap < 0 or (gap == 0 and not (last.high_closed or piece.low_closed)):
            merged.append(piece)
            continue
        order = calculator.order(last.high, piece.high)
        closed = last.high_closed or piece.high_closed if order == 0 else (last if order > 0 else piece).high_closed
        merged[-1] = Interval(last.low, last.high if order > 0 else piece.high, last.low_closed, closed)
    return merged


def _complement(found: list[Interval]) -> list[Interval]:
    low, low_closed, rest = REALS.low, False, []
    for piece in found:
        rest.append(Interval(low, piece.low, low_closed, not piece.low_closed))
        low, low_closed = piece.high, not piece.high_closed
    return [*rest, Interval(low, REALS.high, low_closed, False)]


def _common(a: list[Interval], b: list[Interval], calculator: Calculator) -> list[Interval]:
    found = []
    for x in a:
        for y in b:
            low, high = calculator.order(x.low, y.low), calculator.order(x.high, y.high)
            piece = Interval(
                (x if low >= 0 else y).low,
                (x if high <= 0 else y).high,
                x.low_closed and y.low_closed if low == 0 else (x if low > 0 else y).low_closed,
                x.high_closed and y.high_closed if high == 0 else (x if high < 0 else y).high_closed,
            )
            if not _is_empty(piece, calculator):
                found.append(piece)
    return found


def openness(mine: list[Interval], wanted: list[Interval], calculator: Calculator) -> str | None:
    """In words, the end that is open in one and closed in the other; None where the ends themselves differ."""
    for piece, other in zip(mine, wanted, strict=False):
        if calculator.order(piece.low, other.low) or calculator.order(piece.high, other.high):
            break
        ends = ((piece.low, piece.low_closed, other.low_closed), (piece.high, piece.high_closed, other.high_closed))
        for end, closed, wanted_closed in ends:
            if closed != wanted_closed:
                words = ("closed", "open") if closed else ("open", "closed")
                return f"the interval is {words[0]} at {show(end)}, the reference is {words[1]}"
    return None
