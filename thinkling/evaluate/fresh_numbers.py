"""Does a model do better on the numbers that it may have read than on fresh ones? The same kinds of problems, twice.

Contamination that no shared run of words shows: a suite that makes its problems can make new ones, and a model that has
learnt the method does not care. The gap's interval is Newcombe's; a gap that could be zero is said to be none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

from thinkling.errors import UserError
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.verify.verifier import verify


@dataclass(frozen=True)
class Side:
    """What was right of so many problems; low, high: the accuracy's 95% interval. truncated: responses cut off."""

    num: int
    right: int
    low: float
    high: float
    truncated: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / self.num


@dataclass(frozen=True)
class Gap:
    """family: which problems, "" for all. gap: the accuracy on old numbers minus that on fresh ones, as a share."""

    family: str
    old: Side
    fresh: Side
    gap: float
    low: float
    high: float


def gap_interval(right_a: int, num_a: int, right_b: int, num_b: int, z: float = 1.96) -> tuple[float, float]:
    """Interval (low, high) of the difference of two independent shares, a - b, from Wilson's of each; z: as there.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    a, b = right_a / num_a, right_b / num_b
    (low_a, high_a), (low_b, high_b) = wilson_interval(right_a, num_a, z), wilson_interval(right_b, num_b, z)
    return (a - b - sqrt((a - low_a) ** 2 + (high_b - b) ** 2), a - b + sqrt((high_a - a) ** 2 + (b - low_b) ** 2))


def unseen(old: Sequence[Problem], fresh: Sequence[Problem]) -> list[Problem]:
    """The fresh problems without those that the old ones hold. Raises UserError where that leaves none."""
    known = {problem.question for problem in old}
    found = [problem for problem in fresh if problem.question not in known]
    if not found:
        raise UserError("every fresh problem is among the old ones: name another --fresh-split or --fresh-seed")
    return found


def ask(
    model: LanguageModel, problems: Sequence[Problem], prompt: Callable[[Problem], Any], sampling: Sampling, label: str
) -> list[tuple[Problem, bool, bool]]:
    """Each problem, with whether its response was right and whether it was cut off."""
    completions = model.complete_all([prompt(problem) for problem in problems], sampling, progress=True, label=label)
    return [(problem, verify(problem, completion.text).correct, completion.truncated)
            for problem, completion in zip(problems, completions, strict=True)]  # fmt: skip


def side(rows: Sequence[tuple[Problem, bool, bool]]) -> Side:
    right = sum(correct for _, correct, _ in rows)
    return Side(len(rows), right, *wilson_interval(right, len(rows)), sum(cut for _, _, cut in rows))


def gaps(old: Sequence[tuple[Problem, bool, bool]], fresh: Sequence[tuple[Problem, bool, bool]]) -> list[Gap]:
    """The gap over all problems, then that of each family which both sides have.

    The families' intervals hold all together 95% of the time (Bonferroni): of twenty families, one would else show a
    gap by chance.
    """
    both = sorted({problem.family for problem, _, _ in old} & {problem.family for problem, _, _ in fresh})
    found, z = [], NormalDist().inv_cdf(1 - 0.025 / max(1, len(both)))
    for family in ["", *(both if len(both) > 1 else [])]:
        a, b = (side([row for row in rows if family in ("", row[0].family)]) for rows in (old, fresh))
        low, high = gap_interval(a.right, a.num, b.right, b.num, z if family else 1.96)
        found.append(Gap(family, a, b, a.accuracy - b.accuracy, low, high))
    return found
