"""What a reward head is worth: how well it tells right completions from wrong ones, and what choosing by it brings."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table
from rich.text import Text
from torch import Tensor

from thinkling.evaluate.stats import auroc, auroc_interval, auroc_within, share_interval, wilson_interval
from thinkling.generate.completion import Completion
from thinkling.problem import Problem
from thinkling.scale.vote import vote
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class GradedCompletion:
    """One graded completion, what the head sees of it: features (F,), and once there is a head, its log p(right)."""

    problem: Problem
    template: str
    completion: Completion
    features: Tensor
    right: bool
    score: float = math.nan


@dataclass(frozen=True)
class RankedBy:
    """How well a score tells right completions from wrong ones, with 95% intervals; None where it cannot be told.

    auroc: over all completions, its interval allowing for those of one problem being alike. within: the mean, over
    problems with right and wrong completions, of the AUROC among the completions of one problem.
    """

    auroc: float | None
    auroc_interval: tuple[float, float] | None
    within: float | None
    within_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Measured:
    """The head on one pool of completions, beside the mean log-probability of a completion's tokens.

    accuracies: share of problems answered right, low and high end of its interval, by each way of choosing among all
    completions of a problem.
    """

    num_problems: int
    samples_per_problem: int
    head: RankedBy
    mean_logprob: RankedBy
    accuracies: dict[str, tuple[float, float, float]]


def measure(examples: Sequence[GradedCompletion]) -> Measured:
    """The head on completions of problems that it was not fitted to; each example carries its score."""
    groups = by_problem(examples)
    means = [fmean(example.right for example in group) for group in groups]
    accuracies = {"one completion": (fmean(means), *share_interval(means))}
    for name, choose in WAYS.items():
        num_right = sum(choose(group) for group in groups)
        accuracies[name] = (num_right / len(groups), *wilson_interval(num_right, len(groups)))
    return Measured(len(groups), len(groups[0]), ranking(examples, score), ranking(examples, mean_logprob), accuracies)


def ranking(examples: Sequence[GradedCompletion], key: Callable[[GradedCompletion], float]) -> RankedBy:
    scores, labels = [key(e) for e in examples], [e.right for e in examples]
    ids = [e.problem.id for e in examples]
    area = within = area_interval = within_interval = None
    if min(len({e.problem.id for e in examples if e.right == kind}) for kind in (True, False)) >= 2:
        area, area_interval = auroc(scores, labels), auroc_interval(scores, labels, ids)
    areas = auroc_within(scores, labels, ids)
    if len(areas) >= 2:
        within, within_interval = fmean(areas), share_interval(areas)
    return RankedBy(area, area_interval, within, within_interval)


def by_problem(examples: Sequence[GradedCompletion]) -> list[list[GradedCompletion]]:
    groups: dict[str, list[GradedCompletion]] = {}
    for example in examples:
        groups.setdefault(example.problem.id, []).append(example)
    return list(groups.values())


def score(example: GradedCompletion) -> float:
    return example.score


def mean_logprob(example: GradedCompletion) -> float:
    return fmean(example.completion.logprobs)


def best(group: Sequence[GradedCompletion], key: Callable[[GradedCompletion], float]) -> bool:
    """Is the completion with the highest score right, of those that hold an answer?"""
    answered = verifier_of(group[0].problem).extract
    return max(group, key=lambda e: (answered(e.completion.text) is not None, key(e))).right


def elected(group: Sequence[GradedCompletion], weights: Sequence[float] | None = None) -> bool:
    """Is the winner of the vote right?"""
    winner = vote(group[0].problem, [e.completion for e in group], weights)
    return any(e.right for e in group if e.completion is winner)


WAYS: dict[str, Callable[[Sequence[GradedCompletion]], bool]] = {
    "majority vote": elected,
    "best by mean logprob": lambda group: best(group, mean_logprob),
    "best by head": lambda group: best(group, score),
    "vote weighed by head": lambda group: elected(group, [math.exp(e.score) for e in group]),
    "any of them": lambda group: any(e.right for e in group),
}


def row_of(example: GradedCompletion) -> dict:
    """An example as a line of samples.jsonl."""
    problem, completion = example.problem, example.completion
    return {"id": problem.id, "question": problem.question, "reference": problem.reference,
            "template": example.template, "response": completion.text, "finish_reason": completion.finish_reason,
            "correct": example.right, "score": example.score, "mean_logprob": mean_logprob(example)}  # fmt: skip


def table(measured: dict[str, Measured]) -> Table:
    """One column per pool of completions; in brackets the 95% intervals."""
    drawn = Table(box=None, pad_edge=False, caption="in brackets: 95% intervals", caption_justify="left")
    drawn.add_column("problems kept aside", no_wrap=True)
    for name in measured:
        drawn.add_column(name, justify="right", no_wrap=True)
    pools = measured.values()
    drawn.add_row("problems x completions", *(f"{pool.num_problems} x {pool.samples_per_problem}" for pool in pools))
    for name, of in (("head", lambda pool: pool.head), ("mean logprob", lambda pool: pool.mean_logprob)):
        ranks = [of(pool) for pool in pools]
        drawn.add_row(f"AUROC, {name}", *(chance(rank.auroc, rank.auroc_interval) for rank in ranks))
        drawn.add_row("  within a problem", *(chance(rank.within, rank.within_interval) for rank in ranks))
    for name in ("one completion", *WAYS):
        rows = [[100 * share for share in pool.accuracies[name]] for pool in pools]
        drawn.add_row(f"% {name}", *(Text(f"{share:.1f} [{low:.1f}, {high:.1f}]") for share, low, high in rows))
    return drawn


def chance(value: float | None, interval: tuple[float, float] | None) -> Text:
    """`.957 [.944, .970]`; Text, since rich would read the brackets of a str as its markup."""
    if value is None or interval is None:
        return Text("-")
    low, high = interval
    return Text(re.sub(r"\b0\.", ".", f"{value:.3f} [{low:.3f}, {high:.3f}]"))
