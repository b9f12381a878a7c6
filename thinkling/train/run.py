"""A training run in its folder: resume, log, measure, save, watch. It calls `take(step)` and knows no more of what is
trained: policy gradients, a base model and a reward head give it theirs.

A run that was interrupted resumes at its last checkpoint. The rows that were written after it are dropped first, so
that every file tells one story.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from thinkling.errors import UserError
from thinkling.runs import append_jsonl, read_jsonl, write_json
from thinkling.train import checkpoint
from thinkling.train.config import RunConfig
from thinkling.train.trackers import numbers, open_tracker

FINISHED = "finished.json"
Metrics = TypeVar("Metrics")  # a frozen dataclass with a field `step`, from 0


class Trainee(Protocol[Metrics]):
    """What a run trains.

    metrics: the record that `take` returns, one a step. files: other files of the run that `take` appends rows to; each
    row has a field `step`.
    """

    metrics: type[Metrics]
    files: Sequence[str]

    def take(self, step: int) -> Metrics: ...

    def save(self, folder: Path, step: int) -> None:
        """Write into a checkpoint's folder all that is needed to resume behind `step` steps."""

    def resume(self, folder: Path) -> None:
        """Be where `save` was."""


class Validator(Protocol):
    """What a run measures now and then. Of two measurements the one with the higher `score` is better.

    every: steps between two of them. record: what `measure` returns, with a field `step`: a line of `file`.
    """

    every: int
    file: str
    record: type

    def measure(self, step: int) -> Any: ...
    def score(self, record: Any) -> float: ...
    def numbers(self, record: Any) -> dict[str, float]: ...
    def save_best(self, folder: Path) -> None: ...


class Run(Generic[Metrics]):
    """A run: what it has behind it, and the loop.

    step, seconds: how many steps are behind it, and the time that they took, over all starts. rows: their metrics.
    show: sees each row and each measurement, those of an earlier start too. watch: says what is wrong with the rows so
    far, or None; window: how many steps a collapse may take until it is seen.
    """

    def __init__(
        self,
        config: RunConfig,
        trainee: Trainee[Metrics],
        *,
        validator: Validator | None = None,
        watch: Callable[[Sequence[Metrics]], str | None] | None = None,
        window: int = 0,
        show: Callable[[Any], None] = lambda shown: None,
        tracked_config: object = None,
    ) -> None:
        self.config, self.trainee, self.validator, self.show = config, trainee, validator, show
        self.watch, self.window = watch, window
        self.out = Path(config.out)
        self.trackers = [open_tracker(kind, self.out, tracked_config or config) for kind in config.trackers]
        self.step, self.seconds = 0, 0.0
        self.rows: list[Metrics] = []
        self.best: Any = None
        self.resume(checkpoint.latest(self.out))

    # --- where it stands ---

    def resume(self, last: checkpoint.Checkpoint | None) -> None:
        """Be where the checkpoint was; without one, at the start. The rows behind it are shown again."""
        if last is not None:
            self.trainee.resume(last.folder)
            self.step, self.seconds = last.step, last.seconds
        measured_in = [self.validator.file] if self.validator else []
        for name in ("metrics.jsonl", *self.trainee.files, *measured_in):
            checkpoint.keep_rows(self.out / name, self.step)
        measured = [self.validator.record(**row) for name in measured_in for row in self.known(name)]
        for row in self.known("metrics.jsonl"):
            metrics = self.trainee.metrics(**row)
            for found in measured:
                if found.step == metrics.step:
                    self.is_best(found)
                    self.show(found)
            self.rows.append(metrics)
            self.show(metrics)

    def known(self, name: str) -> list[dict]:
        return list(read_jsonl(self.out / name)) if (self.out / name).exists() else []

    # --- the loop ---

    def go(self) -> Path:
        """Run to the end; returns the folder of the last checkpoint, or of the last good one if it was stopped."""
        config, started = self.config, time.perf_counter() - self.seconds
        while self.step < config.steps:
            if self.validator and self.step % self.validator.every == 0:
                self.measure()
            self.log(self.trainee.take(self.step))
            self.step, self.seconds = self.step + 1, time.perf_counter() - started
            wrong = self.watch(self.rows) if self.watch else None
            if wrong:
                return self.roll_back(wrong)
            if config.minutes is not None and self.seconds >= 60 * config.minutes:
                break
            if config.save_every and self.step % config.save_every == 0 and self.step < config.steps:
                self.save()
        if self.validator:
            self.measure()
        return self.finish(self.save())

    def log(self, metrics: Metrics) -> None:
        self.rows.append(metrics)
        append_jsonl(self.out / "metrics.jsonl", [metrics])
        self.track(numbers(asdict(metrics)), metrics.step)
        self.show(metrics)

    def track(self, row: dict[str, float], step: int) -> None:
        for send, _ in self.trackers:
            send(row, step)

    def measure(self) -> None:
        """Measure the weights as they are; the best ones so far are kept beside the checkpoints."""
        found = self.validator.measure(self.step)
        append_jsonl(self.out / self.validator.file, [found])
        self.track(self.validator.numbers(found), self.step)
        if self.is_best(found):
            checkpoint.save_best(self.out, self.validator.save_best)
        self.show(found)

    def is_best(self, found: Any) -> bool:
        score = self.validator.score
        better = self.best is None or score(found) > score(self.best)
        if better:
            self.best = found
        return better

    # --- how it ends ---

    def save(self) -> Path:
        return checkpoint.save(self.out, self.step, self.seconds, lambda folder: self.trainee.save(folder, self.step))

    def roll_back(self, wrong: str) -> Path:
        """Stop here; what counts is the newest checkpoint from before the steps that gave alarm."""
        good = [c for c in checkpoint.whole(self.out) if c.step <= self.step - self.window]
        if not good:
            raise UserError(f"{self.out}: stopped at step {self.step}: {wrong}. No checkpoint is from before that: the "
                            "model is still the one that training began with")  # fmt: skip
        return self.finish(good[0].folder, wrong)

    def finish(self, folder: Path, stopped: str | None = None) -> Path:
        record = {"checkpoint": folder, "steps": self.step, "seconds": self.seconds, "best": self.best}
        write_json(self.out / FINISHED, record | {"stopped": stopped})
        for _, close in self.trackers:
            close()
        return folder
