"""Reinforcement learning with verifiable rewards: roll out, compare siblings, take a step, log.

What is optimised is a row of choices (settings/objective.py; objective.py makes the loss of it), and this loop does not
know which. Left out so far: refilling groups without signal, rollouts that overlap updates.
"""

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from rich.console import Console

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.generate.score import score_completions
from thinkling.model.qwen3 import Qwen3
from thinkling.runs import alone_in, append_jsonl, open_run, read_jsonl, write_json
from thinkling.settings import Grpo
from thinkling.tasks.builtin import stream
from thinkling.train import checkpoint
from thinkling.train.batch import micro_batches, pad, pad_values
from thinkling.train.metrics import LiveTable, StepMetrics, describe
from thinkling.train.objective import Rows, Totals, loss_of, rewards_after_kl
from thinkling.train.optim import Optimizer
from thinkling.train.policy import advantages
from thinkling.train.rollout import Rollout, roll_out

FINISHED = "finished.json"


def train(
    settings: Grpo, model: LanguageModel | None = None, show: Callable[[StepMetrics], None] | None = None
) -> Path:
    """Run `thinkling grpo`; returns the folder of the last checkpoint. `show` sees every step's metrics.

    A run that was interrupted goes on from its last checkpoint, and on a CPU in float32 ends with the same bits as one
    that was not. The steps before it are shown again.
    """
    model = model or LanguageModel.from_settings(settings)
    out = open_run(settings.out, settings, FINISHED)
    with alone_in(out):
        return Training(settings, model, out, show or (lambda metrics: None)).run()


class Training:
    """A run: what it has behind it, and the loop."""

    def __init__(self, settings: Grpo, model: LanguageModel, out: Path, show: Callable[[StepMetrics], None]) -> None:
        self.settings, self.model, self.out, self.show = settings, model, out, show
        self.optimizer = Optimizer(model.network, lr=settings.lr)
        self.reference = copy.deepcopy(model.network) if settings.objective.needs_reference else None
        self.problems = stream("train", f"grpo/{settings.seed}")
        self.step, self.seconds = 0, 0.0  # behind it: steps, and the time that they took
        self.go_on(checkpoint.latest(out))

    def go_on(self, last: checkpoint.Checkpoint | None) -> None:
        """Be where the checkpoint was: weights, optimizer, problems, rows. Without one, at the start."""
        if last is not None:
            checkpoint.restore(last, self.model, self.optimizer)
            self.step, self.seconds = last.step, last.seconds
        for name in ("metrics.jsonl", "samples.jsonl"):
            checkpoint.keep_rows(self.out / name, self.step)
        deque(islice(self.problems, self.step * self.settings.prompts_per_step), maxlen=0)
        if self.step:
            for row in read_jsonl(self.out / "metrics.jsonl"):
                self.show(StepMetrics(**row))

    def run(self) -> Path:
        settings, started = self.settings, time.perf_counter() - self.seconds
        while self.step < settings.steps:
            metrics = self.take()
            append_jsonl(self.out / "metrics.jsonl", [metrics])
            self.show(metrics)
            self.step, self.seconds = self.step + 1, time.perf_counter() - started
            if settings.minutes is not None and self.seconds >= 60 * settings.minutes:
                break
            if settings.save_every and self.step % settings.save_every == 0 and self.step < settings.steps:
                self.save()
        folder = self.save()
        write_json(self.out / FINISHED, {"checkpoint": folder, "steps": self.step})
        return folder

    def take(self) -> StepMetrics:
        """One batch of rollouts, kept, and the updates on it."""
        settings, model = self.settings, self.model
        groups, generate_seconds = timed(lambda: sample_groups(settings, model, self.problems, self.step))
        groups, prepare_seconds = timed(lambda: prepare(settings, model, groups, self.reference))
        append_jsonl(self.out / "samples.jsonl", (row_of(self.step, rollout) for group in groups for rollout in group))
        learnt, train_seconds = timed(lambda: update(settings, model, self.optimizer, groups))
        return StepMetrics(self.step, **describe(groups), **learnt, generate_seconds=generate_seconds,
                           train_seconds=prepare_seconds + train_seconds)  # fmt: skip

    def save(self) -> Path:
        return checkpoint.save(self.out, self.step, self.seconds, self.model, self.optimizer)


def sample_groups(settings: Grpo, model: LanguageModel, problems: Iterator, step: int) -> list[list[Rollout]]:
    sampling = Sampling(
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        seed=derive_seed(settings.seed, "rollout", step),
    )
    batch = list(islice(problems, settings.prompts_per_step))
    return roll_out(model, batch, settings.rollouts_per_prompt, sampling, settings.template)


def prepare(
    settings: Grpo, model: LanguageModel, groups: list[list[Rollout]], reference: Qwen3 | None = None
) -> list[list[Rollout]]:
    """The same rollouts with what the objective needs to know before the first update, and their advantages."""
    objective = settings.objective
    if settings.updates_per_batch > 1 or objective.kl == "k1-in-reward":
        groups = [scored(settings, model.network, group, "old") for group in groups]
    if reference is not None:
        groups = [scored(settings, reference, group, "reference") for group in groups]
    rollouts = [rollout for group in groups for rollout in group]
    rewards = torch.tensor([[r.reward] for r in rollouts])
    lengths = torch.tensor([len(r.completion.tokens) for r in rollouts])
    if objective.kl == "k1-in-reward":
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        old, known = (pad_values([getattr(r, name) for r in rollouts], rewards.device) for name in ("old", "reference"))
        rewards = rewards_after_kl(objective, rewards, old, known, mask)
    owners = torch.tensor([i for i, group in enumerate(groups) for _ in group])
    found = iter(advantages(objective.advantage, rewards, owners, lengths).tolist())
    return [[replace(rollout, advantage=next(found)) for rollout in group] for group in groups]


@torch.no_grad()
def scored(settings: Grpo, network: Qwen3, group: list[Rollout], name: str) -> list[Rollout]:
    """The group with the log-probabilities that this network gives its tokens, as the field `name`."""
    found = list(group)
    for rows in micro_batches([len(r.completion.tokens) for r in group], settings.micro_batch_tokens):
        tokens, mask, _ = pad([group[row].completion for row in rows], network.device)
        prompt = torch.tensor(group[0].completion.prompt_tokens, device=network.device)
        logprobs, _ = score_completions(network, prompt, tokens, mask, settings.temperature)
        for row, values in zip(rows, logprobs.tolist(), strict=True):
            found[row] = replace(group[row], **{name: tuple(values[: len(group[row].completion.tokens)])})
    return found


def update(settings: Grpo, model: LanguageModel, optimizer: Optimizer, groups: list[list[Rollout]]) -> dict:
    """The optimizer steps on a batch of rollouts: their groups are dealt out to as many shares."""
    steps = [take_step(settings, model, optimizer, groups[i :: settings.updates_per_batch])
             for i in range(settings.updates_per_batch)]  # fmt: skip
    num_tokens = max(1, sum(step["num_tokens"] for step in steps))
    entropy, clipped, kl, mismatch = (sum(step["sums"] for step in steps) / num_tokens).tolist()
    return {
        "entropy": entropy, "clipped": clipped, "kl": kl, "mismatch": mismatch,
        "mismatch_max": max(step["worst"] for step in steps), "grad_norm": fmean(step["grad_norm"] for step in steps),
    }  # fmt: skip


def take_step(settings: Grpo, model: LanguageModel, optimizer: Optimizer, groups: list[list[Rollout]]) -> dict:
    """One optimizer step on all these rollouts. How they are split into passes changes the memory, not the result."""
    device, objective = model.network.device, settings.objective
    lengths = [len(r.completion.tokens) for group in groups for r in group]
    totals = Totals(len(lengths), sum(lengths), settings.max_tokens)
    sums = torch.zeros(4, dtype=torch.float64)  # over tokens: entropy, clipped, kl, |mismatch|
    worst, num_tokens = 0.0, 0
    for rollouts in passes(settings, groups):
        tokens, mask, sampled = pad([r.completion for r in rollouts], device)
        prompt = torch.tensor(rollouts[0].completion.prompt_tokens, device=device)
        logprobs, entropy = score_completions(model.network, prompt, tokens, mask, settings.temperature)
        old = pad_values([r.old for r in rollouts], device) if rollouts[0].old else logprobs.detach()
        reference = pad_values([r.reference for r in rollouts], device) if rollouts[0].reference else None
        weight = torch.tensor([r.advantage for r in rollouts], device=device)
        loss = loss_of(objective, Rows(logprobs, old, sampled, reference, weight, mask), totals)
        loss.value.backward()
        mismatch = (old - sampled)[mask].abs()
        sums += torch.stack([entropy.sum(), loss.clipped, loss.kl, mismatch.sum()]).cpu().double()  # MPS has none
        worst = max(worst, float(mismatch.max()))
        num_tokens += int(mask.sum())
    return {
        "sums": sums,
        "worst": worst,
        "num_tokens": num_tokens,
        "grad_norm": optimizer.step() if num_tokens else 0.0,
    }


def passes(settings: Grpo, groups: list[list[Rollout]]) -> Iterator[list[Rollout]]:
    """Rollouts of one prompt that go through the model together, so that their prompt is read once for all of them.

    Without a KL term in the loss a rollout with advantage zero adds nothing to the gradient: it is left out here, but
    not of the denominators.
    """
    every = settings.objective.kl not in ("none", "k1-in-reward")
    for group in groups:
        useful = [rollout for rollout in group if every or rollout.advantage != 0]
        for rows in micro_batches([len(r.completion.tokens) for r in useful], settings.micro_batch_tokens):
            yield [useful[row] for row in rows]


def row_of(step: int, rollout: Rollout) -> dict:
    """A rollout as a line of samples.jsonl: ids and text, so that nothing ever has to be encoded again."""
    problem, c = rollout.problem, rollout.completion
    return {
        "step": step, "id": problem.id, "question": problem.question, "reference": problem.reference,
        **asdict(rollout.verdict), "reward": rollout.reward, "advantage": rollout.advantage,
        "finish_reason": c.finish_reason, "response": c.text, "prompt_tokens": c.prompt_tokens, "tokens": c.tokens,
        "logprobs": [round(logprob, 5) for logprob in c.logprobs],
    }  # fmt: skip


def timed(work: Callable[[], object]) -> tuple:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def main(settings: Grpo) -> Path:
    with LiveTable(settings.steps) as table:
        folder = train(settings, show=table)
    Console().print(f"\nThe trained model: {folder}", highlight=False)
    return folder
