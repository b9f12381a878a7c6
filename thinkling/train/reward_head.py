"""Train a reward head: ask training problems, grade the answers, fit, and measure on problems kept aside.

The model stays as it is. Only training problems are asked, so the held-out and unseen problems remain a fair test.
Left out: heads for single steps (process reward models), and training the model's own weights as a reward model.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Bool, Float
from rich.table import Table
from rich.text import Text
from torch import Tensor

from thinkling.errors import UserError
from thinkling.evaluate.stats import auroc, auroc_interval, auroc_within, share_interval, wilson_interval
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.cache import Packed
from thinkling.model.transformer import Transformer
from thinkling.problem import Problem
from thinkling.runs import append_jsonl, write_json
from thinkling.scale.prompts import prompt_of
from thinkling.scale.reward_head import RewardHead, features
from thinkling.scale.vote import vote
from thinkling.train.batch import micro_batches
from thinkling.verify.verifier import verifier_of, verify

READ_TOKENS = 8192  # tokens of completions, padding included, whose hidden states are held at once


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What a head learns from. templates: the ways in which each problem is put. num_samples: completions of each, for
    each. sampling: how they are drawn. validation_share: of the problems, kept aside to measure on. weight_decay,
    max_iterations, tolerance: see `fit`."""

    templates: tuple[str, ...]
    num_samples: int
    sampling: Sampling
    validation_share: float
    weight_decay: float
    max_iterations: int
    tolerance: float


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


def train(config: HeadConfig, model: LanguageModel, asked: Sequence[Problem], out: Path) -> dict[str, Measured]:
    """Fit a head on the answers to most of these problems and measure it on those to the rest; write both to `out`.

    Returns what the head is worth, by template and over all of them.
    """
    fitted, validation = split(asked, config.validation_share)
    examples = collect(config, model, [*fitted, *validation])
    aside = {problem.id for problem in validation}
    seen = [example for example in examples if example.problem.id not in aside]
    labels = torch.tensor([example.right for example in seen])
    inputs = torch.stack([example.features for example in seen])
    weight, bias = fit(inputs, labels, config.weight_decay, config.max_iterations, config.tolerance)
    head = RewardHead(weight, bias, model.name, ",".join(config.templates))
    unseen = [replace(e, score=head.log_right(e.features)) for e in examples if e.problem.id in aside]
    pools = {name: [e for e in unseen if e.template == name] for name in config.templates}
    if len(pools) > 1:
        pools["together"] = unseen
    measured = {name: measure(pool) for name, pool in pools.items()}
    append_jsonl(out / "samples.jsonl", map(row_of, unseen))
    write_json(out / "metrics.json", measured)
    head.save(out)
    return measured


def split(asked: Sequence[Problem], validation_share: float) -> tuple[list[Problem], list[Problem]]:
    """The problems that the head is fitted to, and those that are kept aside: no problem is on both sides."""
    num_kept = min(max(2, round(validation_share * len(asked))), len(asked) - 1)
    return list(asked[:-num_kept]), list(asked[-num_kept:])


# ------------------------------------------------------------------------------------------------------------ the data


def collect(config: HeadConfig, model: LanguageModel, asked: Sequence[Problem]) -> list[GradedCompletion]:
    """All completions of all problems, those of one template and problem together."""
    examples, num = [], config.num_samples
    for template in config.templates:
        sampling = replace(config.sampling, seed=derive_seed(config.sampling.seed, "reward-head", template))
        prompts = [prompt_of(model, template, problem.question) for problem in asked]
        repeated = [prompt for prompt in prompts for _ in range(num)]
        completions = model.complete_all(repeated, sampling, progress=True, label=template)
        for i, problem in enumerate(asked):
            group = completions[i * num : (i + 1) * num]
            for completion, seen in zip(group, read(model.network, group), strict=True):
                right = verify(problem, completion.text, "boxed-only").correct
                examples.append(GradedCompletion(problem, template, completion, seen, right))
    return examples


@torch.inference_mode()
def read(network: Transformer, group: Sequence[Completion]) -> list[Tensor]:
    """The features of each completion of one prompt, which is read once for many of them."""
    prompt, seen = group[0].prompt_tokens, {}
    for rows in micro_batches([len(c.tokens) for c in group], READ_TOKENS):
        lengths = [len(group[row].tokens) for row in rows]
        tokens = torch.tensor([[*prompt, *(token for row in rows for token in group[row].tokens)]])
        packed = Packed([(len(prompt), lengths)], network.device)
        hidden = network(tokens.to(network.device), packed)[0, len(prompt) :]
        for row, states in zip(rows, hidden.split(lengths), strict=True):
            seen[row] = features(states, group[row].logprobs)
    return [seen[row] for row in range(len(group))]


# ----------------------------------------------------------------------------------------------------------------- fit


def fit(
    seen: Float[Tensor, "N F"],
    labels: Bool[Tensor, " N"],
    weight_decay: float,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
) -> tuple[Float[Tensor, " F"], Float[Tensor, ""]]:
    """Weight and bias of the logistic regression of labels on features, in float32.

    max_iterations, tolerance: of L-BFGS, which ends where no part of the gradient is larger.

    Minimises the mean cross-entropy plus weight_decay / 2 · |w|², where w weighs the standardised features, and gives w
    back for the features as they are. The problem is convex and starts at zero: no randomness. Raises UserError unless
    there are right and wrong examples.
    """
    if bool(labels.all()) or not bool(labels.any()):
        raise UserError(f"of {len(labels)} completions {int(labels.sum())} are right: a head learns from right and "
                        "wrong ones, so take more problems, or other templates")  # fmt: skip
    centre, scale = seen.mean(0), seen.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    inputs, targets = (seen - centre) / scale, labels.float()
    weight, bias = torch.zeros(seen.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iterations, tolerance_grad=tolerance, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        fitted = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ weight + bias, targets)
        total = fitted + weight_decay / 2 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        weight /= scale
        bias -= weight @ centre
    return weight.detach(), bias.detach()


# ------------------------------------------------------------------------------------------------------------- measure


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
