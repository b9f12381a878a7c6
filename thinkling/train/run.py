"""A training run in its folder: resume, log, measure, save, watch. It calls `take(step)` and knows no more of what is
trained: policy gradients, a base model and a reward head give it theirs.

A run that was interrupted resumes at its last checkpoint. The rows that were written after it are dropped first, so
that every file tells one story. On several ranks all of them run this loop, step by step together; rank 0 alone writes,
and its clock and its eyes decide what goes by time or by what was measured.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from thinkling.distributed import barrier, broadcast, is_first, phase
from thinkling.runs import FINISHED, append_jsonl, read_jsonl, record_of, write_json
from thinkling.train import checkpoint
from thinkling.train.config import RunConfig
from thinkling.train.trackers import numbers, open_tracker

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
    far, or None; window: how many steps a collapse may take until it is seen. start: the folder of the model that
    training began with.
    """

    def __init__(
        self,
        config: RunConfig,
        trainee: Trainee[Metrics],
        *,
        validator: Validator | None = None,
        watch: Callable[[Sequence[Metrics]], str | None] | None = None,
        window: int = 0,
        start: Path = Path(),
        show: Callable[[Any], None] = lambda shown: None,
        tracked_config: object = None,
    ) -> None:
        self.config, self.trainee, self.validator, self.show = config, trainee, validator, show
        self.watch, self.window, self.start = watch, window, start
        self.out = Path(config.out)
        trackers = config.trackers if is_first() else ()
        self.trackers = [open_tracker(kind, self.out, tracked_config or config) for kind in trackers]
        self.step, self.seconds = 0, 0.0
        self.rows: list[Metrics] = []
        self.measured: dict[int, Any] = {}  # by step
        self.best: Any = None
        self.resume(broadcast(checkpoint.latest(self.out) if is_first() else None))

    # --- where it stands ---

    def resume(self, last: checkpoint.Checkpoint | None) -> None:
        """Be where the checkpoint was; without one, at the start. The rows behind it are shown again."""
        if last is not None:
            self.trainee.resume(last.folder)
            self.step, self.seconds = last.step, last.seconds
        for name in ("metrics.jsonl", *self.trainee.files):
            self.keep_rows(name, self.step)
        if self.validator:  # measured behind so many steps: the last one may stand at the checkpoint itself
            self.keep_rows(self.validator.file, self.step + 1)
            self.measured = {row["step"]: self.validator.record(**row) for row in self.known(self.validator.file)}
        for row in self.known("metrics.jsonl"):
            metrics = record_of(self.trainee.metrics, row)
            if metrics.step in self.measured:
                self.measure(metrics.step)
            self.rows.append(metrics)
            self.show(metrics)

    def keep_rows(self, name: str, num_steps: int) -> None:
        if is_first():
            checkpoint.keep_rows(self.out / name, num_steps)

    def known(self, name: str) -> list[dict]:
        there = is_first() and (self.out / name).exists()
        return broadcast(list(read_jsonl(self.out / name)) if there else [])

    def append(self, name: str, row: Any) -> None:
        if is_first():
            append_jsonl(self.out / name, [row])

    # --- the loop ---

    def go(self) -> Path:
        """Run to the end; returns the folder of the last checkpoint, or of the last good one if it was stopped."""
        config, started = self.config, time.perf_counter() - self.seconds
        while not self.over():
            with phase(f"step {self.step + 1}"):
                if self.validator and self.step % self.validator.every == 0:
                    self.measure(self.step)
                self.log(self.trainee.take(self.step))
                self.step, self.seconds = self.step + 1, broadcast(time.perf_counter() - started)
                wrong = broadcast(self.watch(self.rows) if self.watch else None)
            if wrong:
                return self.roll_back(wrong)
            if config.save_every and self.step % config.save_every == 0 and not self.over():
                self.save()
        if self.validator:
            self.measure(self.step)
        return self.finish(self.save())

    def over(self) -> bool:
        steps, minutes = self.config.steps, self.config.minutes
        return (steps is not None and self.step >= steps) or (minutes is not None and self.seconds >= 60 * minutes)

    def log(self, metrics: Metrics) -> None:
        self.rows.append(metrics)
        self.append("metrics.jsonl", metrics)
        self.track(numbers(asdict(metrics)), metrics.step)
        self.show(metrics)

    def track(self, row: dict[str, float], step: int) -> None:
        for send, _ in self.trackers:
            send(row, step)

    def measure(self, step: int) -> None:
        """Measure the weights as they are behind so many steps, unless that is known already. The best ones so far are
        kept beside the checkpoints, before a row says that they are."""
        known = step in self.measured
        with phase("held-out measurement"):
            found = self.measured[step] if known else broadcast(self.validator.measure(step))
        score = self.validator.score(found)
        better = not math.isnan(score) and (self.best is None or score > self.validator.score(self.best))
        if better:
            self.best = found
        if not known:
            if better and is_first():
                checkpoint.save_best(self.out, self.validator.save_best)
            self.append(self.validator.file, found)
            self.track(self.validator.numbers(found), step)
        self.show(found)

    # --- how it ends ---

    def save(self) -> Path:
        def fill(folder: Path) -> None:
            self.trainee.save(folder, self.step)

        with phase(f"saving step {self.step}"):
            return checkpoint.save(self.out, self.step, self.seconds, fill, self.window)

    def roll_back(self, wrong: str) -> Path:
        """Stop here. What counts is the newest checkpoint from before the steps that gave alarm, else the one that did
        best on held-out problems, else the model that training began with (`start`)."""
        good = [c.folder for c in checkpoint.whole(self.out) if c.step <= self.step - self.window]
        if self.best:
            good.append(self.out / "checkpoints" / "best")
        return self.finish(broadcast([*good, self.start][0]), wrong)

    def finish(self, folder: Path, stopped: str | None = None) -> Path:
        record = {"checkpoint": folder, "steps": self.step, "seconds": self.seconds, "best": self.best}
        if is_first():
            write_json(self.out / FINISHED, record | {"stopped": stopped})
        barrier()
        for _, close in self.trackers:
            close()
        return folder
