"""How long work shows that it goes on: a bar where standard error is a terminal, elsewhere a line there now and then.

Every command's progress goes through here, and to standard error only: what a command prints can be piped. Leaves out
the live table of a training run (train/rl/live_table.py), which says its lines through `heartbeat`.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

INTERVAL = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """Work with a name, of so many pieces, or of a number that is not known yet (None).

    Used as a context: `with Progress("training", 60) as progress: progress.advance("loss 1.2")`. Say what is new with
    `update` or `advance`, as often as you like.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self.label, self.total, self.done, self.note, self.started = label, total, 0, "", time.monotonic()
        console = Console(stderr=True)
        words = [
            TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[count]", "fields[note]")
        ]
        columns = (words[0], BarColumn(), *words[1:], TimeElapsedColumn(), TimeRemainingColumn())
        self.bar = Bar(*columns, console=console, transient=True) if console.is_terminal else None
        self.beat = heartbeat(self.words)

    def __enter__(self) -> "Progress":
        if self.bar is None:
            self.beat.__enter__()
        else:
            self.task = self.bar.add_task(self.label, total=self.total, count=self.count(), note="")
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is None:
            self.beat.__exit__(None, None, None)
        else:
            self.bar.stop()

    def update(self, done: int, note: str = "", total: int | None = None, label: str | None = None) -> None:
        self.done, self.note = done, note
        self.total = self.total if total is None else total
        self.label = self.label if label is None else label
        if self.bar is not None:
            said = {"description": self.label, "count": self.count(), "note": note}
            self.bar.update(self.task, total=self.total, completed=done, **said)

    def advance(self, note: str = "") -> None:
        self.update(self.done + 1, note)

    def count(self) -> str:
        return "" if self.total is None else f"{self.done:,}/{self.total:,}"

    def words(self) -> str:
        """One line: what, how far, what else is known, how long it has taken."""
        parts = [self.label, self.count(), self.note, duration(time.monotonic() - self.started)]
        return "  ".join(part for part in parts if part)


def tracked(items: Iterable, label: str, total: int) -> Iterator:
    """The items one by one, with progress."""
    with Progress(label, total) as progress:
        for item in items:
            yield item
            progress.advance()


@contextmanager
def heartbeat(words: Callable[[], str]) -> Iterator[None]:
    """While this context lasts, a line of `words()` on standard error every INTERVAL seconds."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(INTERVAL):
            try:
                print(words(), file=sys.stderr, flush=True)
            except OSError:  # nobody reads it any more; the work goes on
                return

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
