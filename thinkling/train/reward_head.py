"""Train a reward head: ask training problems, grade the answers, fit, and measure on problems kept aside.

The model stays as it is. Only training problems are asked, so the held-out and unseen problems remain a fair test.
Left out: heads for single steps (process reward models), and training the model's own weights as a reward model.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.completion import Completion, completion_of
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.packed import Packed
from thinkling.model.transformer import Transformer
from thinkling.problem import Problem
from thinkling.runs import read_jsonl, write_json, write_jsonl
from thinkling.scale.prompts import prompt_of
from thinkling.scale.reward_head import RewardHead, features
from thinkling.train.batch import micro_batches
from thinkling.train.head_measure import GradedCompletion, Measured, measure, row_of
from thinkling.verify.verifier import verify

PROBLEMS_PER_STEP = 100  # of the run that asks
MEASURED = "metrics.json"  # written last of all
SAMPLES, EXAMPLES, FEATURES = "samples.jsonl", "examples.jsonl", "features.safetensors"
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


def train(collected: "Collector", out: Path) -> dict[str, Measured]:
    """Fit a head on the answers to most of the problems and measure it on those to the rest; write both to `out`.

    Returns what the head is worth, by template and over all of them.
    """
    config, model = collected.config, collected.model
    aside = {problem.id for problem in split(collected.asked, config.validation_share)[1]}
    seen = [example for example in collected.examples if example.problem.id not in aside]
    labels = torch.tensor([example.right for example in seen])
    inputs = torch.stack([example.features for example in seen])
    weight, bias = fit(inputs, labels, config.weight_decay, config.max_iterations, config.tolerance)
    head = RewardHead(weight, bias, model.name, ",".join(config.templates))
    unseen = [replace(e, score=head.log_right(e.features)) for e in collected.examples if e.problem.id in aside]
    pools = {name: [e for e in unseen if e.template == name] for name in config.templates}
    if len(pools) > 1:
        pools["together"] = unseen
    measured = {name: measure(pool) for name, pool in pools.items()}
    write_jsonl(out / SAMPLES, map(row_of, unseen))
    head.save(out)
    write_json(out / MEASURED, measured)
    return measured


def split(asked: Sequence[Problem], validation_share: float) -> tuple[list[Problem], list[Problem]]:
    """The problems that the head is fitted to, and those that are kept aside: no problem is on both sides."""
    num_kept = min(max(2, round(validation_share * len(asked))), len(asked) - 1)
    return list(asked[:-num_kept]), list(asked[-num_kept:])


@dataclass(frozen=True)
class CollectMetrics:
    """One step. template: in which the problems were put; tokens: sampled; right: the share of the completions."""

    step: int
    template: str
    completions: int
    right: float
    tokens: int
    seconds: float


class Collector:
    """Asks the problems, some a step, one template behind the other, and grades the answers: what a `Run` does before
    the head is fitted. examples: all so far, those of one template and problem together."""

    metrics, files = CollectMetrics, ()

    def __init__(self, config: HeadConfig, model: LanguageModel, asked: Sequence[Problem]) -> None:
        self.config, self.model, self.asked = config, model, list(asked)
        starts = range(0, len(self.asked), PROBLEMS_PER_STEP)
        self.steps = [(template, first) for template in config.templates for first in starts]
        self.examples: list[GradedCompletion] = []

    def take(self, step: int) -> CollectMetrics:
        (template, first), num, started = self.steps[step], self.config.num_samples, time.perf_counter()
        asked = self.asked[first : first + PROBLEMS_PER_STEP]
        drawn = self.config.sampling
        sampling = replace(drawn, seed=derive_seed(drawn.seed, "reward-head", template))
        prompts = [prompt_of(self.model, template, problem.question) for problem in asked]
        repeated = [prompt for prompt in prompts for _ in range(num)]
        completions = self.model.complete_all(repeated, sampling, first=num * first)
        new = []
        for i, problem in enumerate(asked):
            group = completions[i * num : (i + 1) * num]
            for completion, seen in zip(group, read(self.model.network, group), strict=True):
                right = verify(problem, completion.text, "strict").correct
                new.append(GradedCompletion(problem, template, completion, seen, right))
        self.examples += new
        return CollectMetrics(step, template, len(new), fmean(example.right for example in new),
                              sum(len(c.tokens) for c in completions), time.perf_counter() - started)  # fmt: skip

    def save(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"features": torch.stack([e.features for e in self.examples])}, folder / FEATURES)
        places = {problem.id: place for place, problem in enumerate(self.asked)}
        write_jsonl(folder / EXAMPLES, (
            {"problem": places[e.problem.id], "template": e.template, "completion": e.completion, "right": e.right}
            for e in self.examples
        ))  # fmt: skip

    def resume(self, folder: Path) -> None:
        rows = zip(read_jsonl(folder / EXAMPLES), load_file(folder / FEATURES)["features"], strict=True)
        self.examples = [
            GradedCompletion(self.asked[row["problem"]], row["template"], completion_of(row["completion"]), seen,
                             row["right"])
            for row, seen in rows
        ]  # fmt: skip


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
