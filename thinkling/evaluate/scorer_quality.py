"""How well does each scorer rank right above wrong, on samples that a run has drawn?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from thinkling.evaluate.stats import auroc, auroc_interval, auroc_within, share_interval, wilson_interval
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.problem import Problem
from thinkling.scale.methods import SCORERS
from thinkling.scale.scorers import Scorer, ranked
from thinkling.verify.verifier import verify

DEFAULT = tuple(name for name in SCORERS if name not in ("reward-head", "judge"))  # those that need only the model


@dataclass(frozen=True)
class Ranking:
    """One scorer on one pool.

    overall: the chance that a right completion scores above a wrong one, of any problem (AUROC; 0.5 knows nothing).
    within: the same between completions of one problem, averaged over the problems that have both: what best of n
    needs. best: the accuracy of the best-scored completion of each problem. Intervals are 95%.
    """

    scorer: str
    overall: float
    overall_interval: tuple[float, float]
    within: float
    within_interval: tuple[float, float]
    best: float
    best_interval: tuple[float, float]


async def rank(
    name: str, scorer: Scorer, model: Model, problems: Sequence[Problem], pools: Sequence[Sequence[Completion]]
) -> Ranking:
    """Score every completion of every pool, and compare with the verdicts. Raises UserError if none is right, or
    none is wrong."""
    asked = [scorer(model, problem, c) for problem, pool in zip(problems, pools, strict=True) for c in pool]
    scores = [max(ranked(score), -1e30) for score in await asyncio.gather(*asked)]  # minus infinity: no answer
    places = [place for place, pool in enumerate(pools) for _ in pool]
    labels = [verify(problem, c.text).correct for problem, pool in zip(problems, pools, strict=True) for c in pool]
    within = auroc_within(scores, labels, places)
    first_best: dict[int, tuple[float, bool]] = {}
    for place, score, right in zip(places, scores, labels, strict=True):
        first_best[place] = max(first_best.get(place, (score, right)), (score, right), key=lambda pair: pair[0])
    best = sum(right for _, right in first_best.values())
    return Ranking(name, auroc(scores, labels), auroc_interval(scores, labels, places), fmean(within),
                   share_interval(within), best / len(pools), wilson_interval(best, len(pools)))  # fmt: skip
