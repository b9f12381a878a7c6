"""What a training step was like: a line of metrics.jsonl, and the run as it goes, live in the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from thinkling.train.rollout import Rollout, has_signal


@dataclass(frozen=True)
class StepMetrics:
    """One line of metrics.jsonl. Shares are between 0 and 1; log-probabilities and entropy are in nats.

    signal: share of groups whose rewards differ; all_right, all_wrong: the other groups. length: mean tokens of a
    rollout; length_right, length_wrong: of the right and of the wrong ones, None where there is none. clipped: share of
    tokens whose gradient the clip cut off. kl: mean over tokens of the objective's estimate, 0 without one. mismatch:
    mean |trainer - sampler log-probability| of the tokens trained on, before the step. grad_norm: before clipping, the
    mean over updates.
    """

    step: int
    reward: float
    signal: float
    all_right: float
    all_wrong: float
    length: float
    length_right: float | None
    length_wrong: float | None
    truncated: float
    entropy: float
    clipped: float
    kl: float
    mismatch: float
    mismatch_max: float
    grad_norm: float
    generate_seconds: float
    train_seconds: float


def describe(groups: list[list[Rollout]]) -> dict[str, float | None]:
    rollouts = [rollout for group in groups for rollout in group]
    num = len(rollouts)
    return {
        "reward": sum(r.reward for r in rollouts) / num,
        "signal": sum(has_signal(group) for group in groups) / len(groups),
        "all_right": sum(all(r.reward == 1 for r in group) for group in groups) / len(groups),
        "all_wrong": sum(all(r.reward == 0 for r in group) for group in groups) / len(groups),
        "length": fmean(len(r.completion.tokens) for r in rollouts),
        "length_right": mean_length([r for r in rollouts if r.verdict.correct]),
        "length_wrong": mean_length([r for r in rollouts if not r.verdict.correct]),
        "truncated": sum(r.completion.truncated for r in rollouts) / num,
    }


def mean_length(rollouts: list[Rollout]) -> float | None:
    return fmean(len(r.completion.tokens) for r in rollouts) if rollouts else None


class LiveTable:
    """The run as it goes: a progress bar, the reward of every step so far, and a table of the latest ones."""

    COLUMNS = ("step", "reward", "signal", "length", "cut off", "entropy", "grad norm", "mismatch", "seconds")

    def __init__(self, num_steps: int, rows: int = 12) -> None:
        self.rows: list[StepMetrics] = []
        self.num_rows = rows
        columns = (TextColumn("GRPO"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns)
        self.task = self.progress.add_task("", total=num_steps)
        self.live = Live(self.render(), refresh_per_second=4)

    def __enter__(self) -> "LiveTable":
        self.live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.__exit__(*error)

    def __call__(self, metrics: StepMetrics) -> None:
        self.rows.append(metrics)
        self.progress.advance(self.task)
        self.live.update(self.render())

    def render(self) -> Group:
        table = Table(*self.COLUMNS, box=None, pad_edge=False)
        for column in table.columns:
            column.justify = "right"
        for m in self.rows[-self.num_rows :]:
            seconds = m.generate_seconds + m.train_seconds
            table.add_row(
                str(m.step + 1), f"{m.reward:.2f}", f"{m.signal:.0%}", f"{m.length:.0f}", f"{m.truncated:.0%}",
                f"{m.entropy:.2f}", f"{m.grad_norm:.3f}", f"{m.mismatch:.1e}", f"{seconds:.1f}",
            )  # fmt: skip
        curve = Text(f"reward {sparkline([m.reward for m in self.rows])}")
        return Group(self.progress, curve, table)


def sparkline(values: Sequence[float], width: int = 64) -> str:
    """Shares between 0 and 1 as one line of bars; past `width` values, each bar is the mean of several."""
    size = max(1, math.ceil(len(values) / width))
    means = [fmean(values[i : i + size]) for i in range(0, len(values), size)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * mean))] for mean in means)
