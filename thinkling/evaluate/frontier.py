"""What does a point of accuracy cost? The Pareto front of measured points, the cheapest way to a target, paired tests.

Pure: points in, points and numbers out. Leaves out measuring them (sweep.py) and drawing (report/scale_plots.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, sqrt
from typing import Literal

from thinkling.errors import UserError
from thinkling.evaluate.result import Result
from thinkling.evaluate.stats import holm, paired_p_value

CostName = Literal["tokens", "seconds", "flops"]
Cost = CostName | Callable[[Result], float | None]


@dataclass(frozen=True)
class Reached:
    """The cheapest point that reaches a target accuracy, None if none does.

    sure: its 95% interval reaches the target too, not only its measured accuracy.
    """

    target: float
    point: Result | None
    sure: bool


@dataclass(frozen=True)
class FrontierStep:
    """From one point to the next, on the same problems.

    gained, lost: problems that only `after`, and only `before`, solves. difference, low, high: accuracy of `after` less
    that of `before`, a share in [-1, 1], and its 95% interval. p_value: exact McNemar. adjusted: by Holm, for all the
    steps listed together.
    """

    before: Result
    after: Result
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float


def cost_of(point: Result, cost: Cost) -> float | None:
    return getattr(point, cost) if isinstance(cost, str) else cost(point)


def rivals(points: Sequence[Result], cost: Cost) -> list[Result]:
    """Those that compete, cheapest first: no oracles, and none whose cost is not known.

    Of equal cost the more accurate comes first, and of equals in both the one that came first in the table.
    """
    known = [point for point in points if not point.oracle and cost_of(point, cost) is not None]
    return sorted(known, key=lambda point: (cost_of(point, cost), -point.accuracy))


def pareto(points: Sequence[Result], cost: Cost = "tokens") -> list[Result]:
    """The points that beat in accuracy everything that costs no more; cheapest first, so ever more accurate.

    Of points that are equal in both, the first in the table stands for all.
    """
    front: list[Result] = []
    for point in rivals(points, cost):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def cheapest(points: Sequence[Result], targets: Sequence[float], cost: Cost = "tokens") -> list[Reached]:
    """For each target accuracy, a share in [0, 1], the cheapest point that reaches it: always one of the front."""
    front, found = pareto(points, cost), []
    for target in targets:
        point = next((point for point in front if point.accuracy >= target), None)
        found.append(Reached(target, point, point is not None and point.low >= target))
    return found


def round_targets(points: Sequence[Result]) -> tuple[float, ...]:
    """Round accuracies above the lowest measured and up to the highest; oracles do not count.

    Every 10%, or every 5%, 2% or 1%: the coarsest that gives four of them. None where all are equally accurate.
    """
    shares = [point.accuracy for point in points if not point.oracle]
    targets: tuple[float, ...] = ()
    for percent in (10, 5, 2, 1) if shares else ():
        # The tiny number keeps 0.29 * 100 = 28.999999999999996 from counting as 28.
        first, last = (floor(share * 100 / percent + 1e-9) for share in (min(shares), max(shares)))
        targets = tuple(number * percent / 100 for number in range(first + 1, last + 1))
        if len(targets) >= 4:
            break
    return targets


def neighbours(front: Sequence[Result]) -> list[FrontierStep]:
    """Each point against the one before it: what was gained, how sure that is. One less than points.

    Raises UserError for a point that does not say which problems it solved, or solved others than its neighbour.
    """
    pairs = list(pairwise(front))
    counts = [_discordant(before, after) for before, after in pairs]
    values = [paired_p_value(lost, gained) for gained, lost in counts]
    steps = []
    for (before, after), (gained, lost), value, adjusted in zip(pairs, counts, values, holm(values), strict=True):
        num = len(after.correct)
        low, high = paired_interval(gained, lost, num)
        steps.append(FrontierStep(before, after, gained, lost, (gained - lost) / num, low, high, value, adjusted))
    return steps


def check_measured(points: Sequence[Result]) -> None:
    """Raises UserError if there is no method among the points, only oracles."""
    if all(point.oracle for point in points):
        raise UserError("a report on what accuracy costs needs at least one measured method")


def steps_of(points: Sequence[Result]) -> tuple[list[FrontierStep], list[FrontierStep]]:
    """The steps along the tokens' front; and the one from its start to its end, where there are several."""
    front = pareto(points)
    return neighbours(front), neighbours([front[0], front[-1]]) if len(front) > 2 else []


def _discordant(before: Result, after: Result) -> tuple[int, int]:
    """Problems that only `after` solves, and that only `before` solves."""
    if not before.correct or len(before.correct) != len(after.correct):
        raise UserError(
            f"a paired test needs the same problems: '{before.method}' has {len(before.correct)} verdicts, "
            f"'{after.method}' has {len(after.correct)}"
        )
    pairs = list(zip(before.correct, after.correct, strict=True))
    return pairs.count((False, True)), pairs.count((True, False))


def paired_interval(gained: int, lost: int, num: int, z: float = 1.96) -> tuple[float, float]:
    """Interval (low, high) for the difference between two accuracies on the same `num` problems; z = 1.96 gives 95%.

    It holds the differences δ that the score test does not reject: (gained - lost - n·δ)² <= z² · n · (2q + δ(1 - δ)),
    where q is the likeliest chance of a loss given δ. Unlike difference ± z · deviation it keeps its coverage for few
    disagreements; with none at all it still has a width. It is asymptotic, the McNemar test beside it exact: near the
    edge they can differ, and then the test is to be believed. Raises UserError for counts that cannot be.
    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design".
    """
    if min(gained, lost) < 0 or gained + lost > num or num < 1:
        raise UserError(f"{gained} problems gained and {lost} lost, of {num}: that cannot be")

    def accepted(delta: float) -> bool:
        b = (2 * num - gained + lost) * delta - gained - lost
        c = -lost * delta * (1 - delta)
        root = sqrt(max(b * b - 8 * num * c, 0.0))  # q solves 2n·q² + b·q + c = 0
        q = -2 * c / (root + b) if b > 0 else (root - b) / (4 * num)  # the form of it that loses no digits
        return (gained - lost - num * delta) ** 2 <= z**2 * num * (2 * q + delta * (1 - delta))

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if accepted(middle) else (inside, middle)
        return inside

    difference = (gained - lost) / num
    return edge(difference, -1.0), edge(difference, 1.0)
