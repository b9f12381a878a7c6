"""Self-consistency: sample several answers, take the one that most samples agree on (Wang et al., arXiv:2203.11171).

Also the adaptive form, which stops sampling once the winner is clear (Aggarwal et al., arXiv:2305.11860).
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import samples
from thinkling.scale.method import Answer, Kind
from thinkling.scale.scorers import Scorer, exponential, ranked
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class SelfConsistency:
    """Vote among `num_samples` completions of one prompt, sampled at once.

    With a scorer each vote has a weight, which `weigh` makes of the scores; and of the completions only the share
    `voters` with the highest scores votes, one at least (DeepConf's top 10% or 90%, arXiv:2508.15260).
    """

    sampling: Sampling
    num_samples: int = 8
    template: str = "plain"
    scorer: Scorer | None = None
    weigh: Callable[[Sequence[float]], list[float]] = exponential
    voters: float = 1.0

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        completions = await samples(model, problem, self.template, self.sampling, range(self.num_samples))
        if self.scorer is None:
            return elected(problem, completions)
        scored = await asyncio.gather(*(self.scorer(model, problem, c) for c in completions))
        scores = [ranked(score) for score in scored]
        weights = self.weigh(scores)
        lowest = sorted(scores, reverse=True)[max(1, round(self.voters * len(scores))) - 1]
        weights = [w if score >= lowest else 0.0 for w, score in zip(weights, scores, strict=True)]
        return elected(problem, completions, weights)


@dataclass(frozen=True)
class AdaptiveConsistency:
    """Vote among at most `num_samples` completions, and stop as soon as the vote is clear (see `is_clear`).

    Samples are drawn together where that wastes none: as many as it takes, at the least, before the vote can be clear.
    So it draws exactly what one sample at a time would.
    """

    sampling: Sampling
    num_samples: int = 16
    template: str = "plain"
    confidence: float = 0.95

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        completions: list[Completion] = []
        while len(completions) < self.num_samples:
            first, second = leaders(problem, completions)
            left = self.num_samples - len(completions)
            if is_clear(first, second, left, self.confidence):
                break
            fewest = next(k for k in range(1, left + 1) if is_clear(first + k, second, left - k, self.confidence))
            numbers = range(len(completions), len(completions) + fewest)
            completions += await samples(model, problem, self.template, self.sampling, numbers)
        return elected(problem, completions)


KINDS = (
    Kind("self-consistency", "vote of n", "votes among samples, by --scorer weighted",
         lambda p: SelfConsistency(p.sampling, p.budget, p.template, p.scorer, p.weigh),
         unit="samples", budget=8, temperature=1.0, scorer=""),
    Kind("adaptive", "adaptive vote of at most n", "stops voting once the winner is clear",
         lambda p: AdaptiveConsistency(p.sampling, p.budget, p.template),
         unit="samples", budget=8, temperature=1.0),
)  # fmt: skip


def is_clear(first: int, second: int, left: int, confidence: float) -> bool:
    """May a vote end in which the two leading answers have `first` and `second` votes, and `left` are still to come?

    Yes if none is left, if those left cannot change the winner, or if the first would win a vote of everyone with
    probability `confidence`.
    """
    return left == 0 or first - second > left or lead_probability(first, second) >= confidence


def elected(problem: Problem, completions: Sequence[Completion], weights: Sequence[float] | None = None) -> Answer:
    """The vote's winner as an answer; without any vote, the first completion."""
    winner = vote(problem, completions, weights)
    if winner is None:  # nobody gave an answer
        return Answer(completions[0].text, None, tuple(completions))
    return Answer(winner.text, verifier_of(problem).extract(winner.text), tuple(completions))


def vote(
    problem: Problem, completions: Sequence[Completion], weights: Sequence[float] | None = None
) -> Completion | None:
    """The first completion of the winning group; None if no completion holds an answer.

    Answers that the problem's verifier calls the same are one group (0.5 and 1/2). A completion without an answer
    abstains. Each has one vote, or its weight (none, if that is NaN). A tie goes to the group with the greater summed
    log-probability, then to the one seen first.
    """
    weights = [1.0] * len(completions) if weights is None else weights
    weight_of = {id(c): 0.0 if math.isnan(weight) else weight for c, weight in zip(completions, weights, strict=True)}

    def strength(group: list[Completion]) -> tuple[float, float]:
        logprob = ranked(math.fsum(sum(c.logprobs) for c in group))
        return math.fsum(weight_of[id(c)] for c in group), logprob

    return max(groups(problem, completions), key=strength, default=[None])[0]


def groups(problem: Problem, completions: Sequence[Completion]) -> list[list[Completion]]:
    """The completions that hold an answer, those with equal answers together, in the order in which answers came up."""
    verifier = verifier_of(problem)
    found: list[tuple[str, list[Completion]]] = []
    for completion in completions:
        answer = verifier.extract(completion.text)
        if answer is None:
            continue
        members = next((members for first, members in found if verifier.same_answer(first, answer)), None)
        if members is None:
            found.append((answer, [completion]))
        else:
            members.append(completion)
    return [members for _, members in found]


def leaders(problem: Problem, completions: Sequence[Completion]) -> tuple[int, int]:
    """How many votes the two most frequent answers have."""
    sizes = sorted((len(group) for group in groups(problem, completions)), reverse=True)
    return (*sizes, 0, 0)[:2]


def lead_probability(first: int, second: int) -> float:
    """How probable it is that an answer with `first` votes is more popular than one with `second`, were there only two.

    The share p of the first has a uniform prior, so that it is Beta(first + 1, second + 1) after the votes, and this is
    P(p > 1/2). With whole numbers it is a binomial sum (arXiv:2305.11860, equation 2).
    """
    tosses = first + second + 1
    return sum(math.comb(tosses, heads) for heads in range(first + 1)) / 2**tosses
