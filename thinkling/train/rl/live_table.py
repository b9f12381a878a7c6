"""A training run as it goes, live in the terminal."""

import math
from collections.abc import Sequence
from statistics import fmean

from rich import get_console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from thinkling.distributed import doing
from thinkling.progress import heartbeat
from thinkling.report.tables import Either, Sheet, flowing
from thinkling.train.rl.guard.preflight import Findings
from thinkling.train.rl.guard.validation import Validation
from thinkling.train.rl.metrics import StepMetrics


class LiveTable:
    """A progress bar, what was found before training, the share of right answers of every step so far, the held-out
    accuracy, and a table of the latest steps. tokens/s: drawn / trained on."""

    COLUMNS = ("step", "right", "reward", "signal", "tokens", "cut", "entropy", "gradient", "seconds", "tokens/s")

    def __init__(self, num_steps: int, rows: int = 12) -> None:
        self.rows: list[StepMetrics] = []
        self.measured: list[Validation] = []
        self.findings: Findings | None = None
        self.num_rows = rows
        self.console = get_console()
        columns = (TextColumn("GRPO"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns)
        self.task = self.progress.add_task("", total=num_steps)
        self.live = Live(self.render(), refresh_per_second=4)
        self.beat = heartbeat(self.words)  # where there is no terminal

    def __enter__(self) -> "LiveTable":
        self.live.__enter__()
        if not self.live.console.is_terminal:
            self.beat.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if not self.live.console.is_terminal:
            self.beat.__exit__(None, None, None)
        self.live.transient = not (self.rows or self.measured or self.findings)  # an error before anything: it alone
        self.live.__exit__(*error)
        if any(error) and not (self.live.transient or self.live.console.is_terminal):
            self.live.console.print()  # rich ends no line there, and what went wrong wants its own

    def __call__(self, shown: StepMetrics | Validation | Findings) -> None:
        if isinstance(shown, StepMetrics):
            self.rows.append(shown)
            self.progress.advance(self.task)
        elif isinstance(shown, Validation):
            self.measured.append(shown)
        else:
            self.findings = shown
        self.live.update(self.render())

    def render(self) -> Group:
        sheet = self.sheet(self.num_rows)
        if sheet.width(range(len(self.COLUMNS))) > self.console.width:
            sheet = self.sheet(self.num_rows // 2)  # each row takes several lines
        lines: list[Text | Either] = [Text(self.findings.words)] if self.findings else []
        lines.append(Text(f"right    {sparkline([m.right for m in self.rows])}"))
        if self.rows:
            lines.append(Text(latest(self.rows[-1])))
        lines += [measured_row(found, self.console.width) for found in self.measured[:1] + self.measured[1:][-3:]]
        return Group(self.progress, *lines, sheet)

    def sheet(self, num_rows: int) -> Sheet:
        """The latest steps; in a narrow window in blocks, each with the step's number."""
        return Sheet(self.COLUMNS, [row_of(m) for m in self.rows[-num_rows:]], left=(), narrow="blocks", border=None)

    def words(self) -> str:
        """The run so far in one line, and what it is doing."""
        parts = [f"GRPO  {len(self.rows)}/{self.progress.tasks[0].total:.0f} steps"]
        if self.rows:
            m = self.rows[-1]
            entropy = "nothing to learn from" if m.entropy is None else f"entropy {m.entropy:.3f}"
            parts += [f"right {m.right:.0%}", f"reward {m.reward:.2f}", f"{m.length:.0f} tokens", entropy]
        return "  ".join([*parts, *([f"now: {doing()}"] if doing() else [])])


def row_of(m: StepMetrics) -> tuple[str, ...]:
    learning = m.score_seconds + m.train_seconds
    return (
        str(m.step + 1), f"{m.right:.0%}", f"{m.reward:.2f}", f"{m.signal:.0%}", f"{m.length:.0f}",
        f"{m.truncated:.0%}", told(m.entropy, ".3f"), told(m.grad_norm, ".3f"), f"{m.generate_seconds + learning:.1f}",
        f"{rate(m.tokens, m.generate_seconds)}/{rate(m.tokens, learning) if m.grad_norm else '-'}",
    )  # fmt: skip


def latest(m: StepMetrics) -> str:
    """What the table has no room for, of the last step."""
    parts = ", ".join(f"{name} {value:.2f}" for name, value in m.parts.items())
    if m.kl is None:
        why = "" if m.signal else ": all answers to a problem earned the same"
        return f"now      {parts}; nothing to learn from{why}"
    return (f"now      {parts}; KL {told(m.kl, '.3f')}, clipped {told(m.clipped, '.1%')}; sampler and trainer differ "
            f"by {told(m.mismatch, '.0e')}, at most {told(m.mismatch_max, '.0e')}{behind(m)}")  # fmt: skip


def behind(m: StepMetrics) -> str:
    """What is to be said of rollouts whose weights were not those that learn."""
    return (f"; rollouts {m.stale:.1f} steps old" if m.stale else "") + (
        f"; {m.thrown_away} thrown away, for too old weights" if m.thrown_away else "")  # fmt: skip


def told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def rate(tokens: int, seconds: float) -> str:
    return f"{tokens / max(seconds, 1e-9) / 1000:.1f}k"


def measured_row(found: Validation, room: int) -> Either:
    """In a line, or in a narrow window in several, none of which breaks the interval."""
    low, high = found.pass_1_interval
    steps = "step: " if found.step == 1 else "steps:"
    cells = [f"held-out after {found.step:>3} {steps}", f"pass@1 {found.pass_1:.1%} [{low:.1%}, {high:.1%}],",
             f"pass@{found.num_samples} {found.pass_k:.1%}"]  # fmt: skip
    whole = " ".join(cells)
    return Either(len(whole), Text(whole), Group(*flowing(cells, room)))


def sparkline(values: Sequence[float], width: int = 64) -> str:
    """Shares between 0 and 1 as one line of bars; past `width` values, each bar is the mean of several."""
    size = max(1, math.ceil(len(values) / width))
    means = [fmean(values[i : i + size]) for i in range(0, len(values), size)]
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * mean))] for mean in means)
