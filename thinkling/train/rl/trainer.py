"""Reinforcement learning with verifiable rewards: the loop of a run.

Draw rollouts (sampler.py), compare siblings and take a step (step.py), log, measure, watch, save. What is optimised is
a row of choices (train/rl/objective.py; objective.py makes the loss of it), and this loop does not know which.
"""

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.transformer import Transformer
from thinkling.runs import alone_in, append_jsonl, check_run, open_run, read_jsonl, write_json
from thinkling.settings import Grpo
from thinkling.tasks.benchmarks import load_problems
from thinkling.train import checkpoint, memory
from thinkling.train.lora import add_adapters
from thinkling.train.optim import Optimizer, warmup_then_decay
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.guard import validation as held_out
from thinkling.train.rl.guard.preflight import Findings, examine
from thinkling.train.rl.guard.validation import Validation
from thinkling.train.rl.guard.watchdog import WINDOW, alarm
from thinkling.train.rl.live_table import LiveTable
from thinkling.train.rl.metrics import StepMetrics, describe
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.sampler import Sampler
from thinkling.train.rl.update import TokenStats, prepare, probe, update
from thinkling.train.trackers import numbers, open_tracker

FINISHED = "finished.json"
Shown = StepMetrics | Validation | Findings


def train(settings: Grpo, model: LanguageModel | None = None, show: Callable[[Shown], None] | None = None) -> Path:
    """Run `thinkling grpo`; returns the folder of the last checkpoint, or of the last good one if the watchdog stopped
    the run. `show` sees every step's metrics, and what is measured in between.

    A run that was interrupted goes on from its last checkpoint, and on a CPU in float32 ends with the same bits as one
    that was not. The steps before it are shown again.
    """
    check_run(settings.out, settings, FINISHED)
    curriculum = Curriculum(settings.tasks, settings.seed, settings.curriculum)
    if settings.eval_every:
        load_problems(settings.held_out, "held-out", 1)
    model = model or LanguageModel.from_settings(settings)
    out = open_run(settings.out, settings, FINISHED)  # nothing is made where the problems cannot be read
    with alone_in(out):
        return Training(settings, model, curriculum, out, show or (lambda shown: None)).run()


class Training:
    """A run: what it has behind it, and the loop."""

    def __init__(
        self, settings: Grpo, model: LanguageModel, curriculum: Curriculum, out: Path, show: Callable[[Shown], None]
    ) -> None:
        if settings.memory_gb is not None:
            room = memory.plan(settings, model.network.config, model.network.dtype)
            settings = replace(settings, micro_batch_tokens=room.tokens)
        self.settings, self.model, self.out, self.show = settings, model, out, show
        self.optimizer = optimizer_of(settings, model.network)
        self.reference = None
        if settings.objective.needs_reference:  # with adapters it is the same model without them
            self.reference = model.network if settings.lora_rank else copy.deepcopy(model.network)
        self.sampler = Sampler(settings, model, curriculum)
        self.trackers = [open_tracker(kind, out, settings) for kind in settings.mirror]
        self.step, self.seconds = 0, 0.0  # behind it: steps, and the time that they took
        self.rows: list[StepMetrics] = []
        self.best: Validation | None = None
        self.resume(checkpoint.latest(out))

    def resume(self, last: checkpoint.Checkpoint | None) -> None:
        """Be where the checkpoint was: weights, optimizer, problems, rows. Without one, at the start."""
        if last is not None:
            state = checkpoint.restore(last, self.model, self.optimizer)
            self.sampler.resume(state)
            self.step, self.seconds = last.step, last.seconds
        for name in ("metrics.jsonl", "samples.jsonl", "held_out.jsonl"):
            checkpoint.keep_rows(self.out / name, self.step)
        measured = [Validation(**row) for row in self.known("held_out.jsonl")]
        for row in self.known("metrics.jsonl"):
            metrics = StepMetrics(**row)
            for found in measured:
                if found.step == metrics.step:
                    self.keep_best(found)
                    self.show(found)
            self.rows.append(metrics)
            self.show(metrics)

    def known(self, name: str) -> list[dict]:
        return list(read_jsonl(self.out / name)) if (self.out / name).exists() else []

    def run(self) -> Path:
        settings = self.settings
        started = time.perf_counter() - self.seconds
        if settings.doctor and self.step == 0:
            findings = examine(settings, self.model)
            write_json(self.out / "doctor.json", findings)
            self.show(findings)
        if self.model.network.device.type != "cpu":
            probe(settings, self.model.network)
        while self.step < settings.steps:
            if settings.eval_every and self.step % settings.eval_every == 0:
                self.measure()
            self.log(self.take())
            self.step, self.seconds = self.step + 1, time.perf_counter() - started
            wrong = alarm(self.rows) if settings.watchdog else None
            if wrong:
                return self.roll_back(wrong)
            if settings.minutes is not None and self.seconds >= 60 * settings.minutes:
                break
            if settings.save_every and self.step % settings.save_every == 0 and self.step < settings.steps:
                self.save()
        if settings.eval_every:
            self.measure()
        return self.finish(self.save())

    def take(self) -> StepMetrics:
        """One batch of rollouts, the updates on it, and both kept."""
        settings, model = self.settings, self.model
        batch = self.sampler.take(self.step)
        scale = warmup_then_decay(self.step, settings.steps, 0, settings.lr_decay)
        groups, score_seconds = timed(lambda: prepare(settings, model, batch.groups, self.reference))
        (learnt, looks), train_seconds = timed(lambda: update(settings, model, self.optimizer, groups, scale))
        unused = [group for group in batch.asked if not any(group is kept for kept in batch.groups)]
        rows = (
            row_of(self.step, number, rollout, looks.get((number, place)))
            for number, group in enumerate(groups + unused)
            for place, rollout in enumerate(group)
        )
        append_jsonl(self.out / "samples.jsonl", rows)
        return StepMetrics(self.step, **describe(batch.asked, tuple(settings.reward_weights)), **learnt,
                           generate_seconds=batch.seconds, score_seconds=score_seconds,
                           train_seconds=train_seconds)  # fmt: skip

    def log(self, metrics: StepMetrics) -> None:
        self.rows.append(metrics)
        append_jsonl(self.out / "metrics.jsonl", [metrics])
        self.mirror(numbers(asdict(metrics)), metrics.step)
        self.show(metrics)

    def mirror(self, row: dict[str, float], step: int) -> None:
        for send, _ in self.trackers:
            send(row, step)

    def measure(self) -> None:
        """Held-out accuracy of the weights as they are; the best ones so far are kept beside the checkpoints."""
        found = held_out.measure(self.settings, self.model, self.step)
        append_jsonl(self.out / "held_out.jsonl", [found])
        self.mirror({"held_out/pass_1": found.pass_1, "held_out/pass_k": found.pass_k}, self.step)
        if self.keep_best(found):
            checkpoint.save_best(self.out, self.model)
        self.show(found)

    def keep_best(self, found: Validation) -> bool:
        better = self.best is None or found.pass_1 > self.best.pass_1
        if better:
            self.best = found
        return better

    def save(self) -> Path:
        return checkpoint.save(
            self.out, self.step, self.seconds, self.model, self.optimizer, self.sampler.state(self.step)
        )

    def roll_back(self, wrong: str) -> Path:
        """Stop here; what counts is the newest checkpoint from before the steps that gave alarm."""
        good = [c for c in checkpoint.whole(self.out) if c.step <= self.step - WINDOW]
        if not good:
            raise UserError(f"{self.out}: stopped at step {self.step}: {wrong}. No checkpoint is from before that: the "
                            f"model is still {self.settings.model}")  # fmt: skip
        return self.finish(good[0].folder, wrong)

    def finish(self, folder: Path, stopped: str | None = None) -> Path:
        write_json(
            self.out / FINISHED, {"checkpoint": folder, "steps": self.step, "best": self.best, "stopped": stopped}
        )
        for _, close in self.trackers:
            close()
        return folder


def optimizer_of(settings: Grpo, network: Transformer) -> Optimizer:
    """Of the weights that are trained: where the settings ask for adapters, they are put in first."""
    if settings.lora_rank:
        add_adapters(network, settings.lora_rank, settings.lora_alpha, settings.seed)
    muon_lr = settings.muon_lr if settings.optimizer == "muon" else None
    return Optimizer(network, settings.lr, muon_lr, eight_bit=settings.optimizer == "adamw-8bit")


def row_of(step: int, group: int, rollout: Rollout, looks: TokenStats | None) -> dict:
    """A rollout as a line of samples.jsonl: ids and text, so that nothing ever has to be encoded again."""
    problem, c = rollout.problem, rollout.completion
    row = {
        "step": step, "group": group, "id": problem.id, "question": problem.question, "reference": problem.reference,
        **asdict(rollout.verdict), "reward": rollout.reward, "parts": rollout.parts, "advantage": rollout.advantage,
        "finish_reason": c.finish_reason, "response": c.text, "prompt_tokens": c.prompt_tokens, "tokens": c.tokens,
        "logprobs": rounded(c.logprobs),
    }  # fmt: skip
    if looks is not None:
        row |= {"credits": rollout.credits} if rollout.credits else {}
        row |= {"entropy": rounded(looks.entropy), "ratio": rounded(looks.ratio), "clipped": looks.clipped}
    return row


def rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 5) for value in values]


def timed(work: Callable[[], object]) -> tuple:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def main(settings: Grpo) -> Path | None:
    if settings.plan:
        memory.show(settings)
        return None
    with LiveTable(settings.steps) as table:
        folder = train(settings, show=table)
    finished = json.loads((settings.out / FINISHED).read_text(encoding="utf-8"))
    if finished["stopped"]:
        raise UserError(f"stopped at step {finished['steps']}: {finished['stopped']}. The last good checkpoint: "
                        f"{folder}")  # fmt: skip
    console = Console(highlight=False)
    console.print(f"\nThe trained model: {folder}")
    if finished["best"] and finished["best"]["step"] != finished["steps"]:
        console.print(f"The best on held-out problems, after {finished['best']['step']} steps: "
                      f"{settings.out / 'checkpoints' / 'best'}")  # fmt: skip
    console.print(f"What it learnt from: thinkling microscope {settings.out}")
    return folder
