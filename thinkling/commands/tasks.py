"""`thinkling tasks`: what --tasks can name; and, for one source, its first problem as it is understood."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from thinkling.commands.options import Split


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """List the sources of problems; or show one: its size, its first problem, its verifier.

    A benchmark that is not in the cache is then fetched from the Hub, and is there later without a network.
    """

    source: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = None
    """A name of the list, a file, gym:FAMILY or FILE.py:FUNCTION; without it, the list."""
    columns: tuple[str, ...] = ()
    """Which column of a file is which, as question=Problem; the others are guessed, and the guesses printed."""
    split: Split = "held-out"
    """Of built-in problems."""


def main(settings: Tasks) -> None:
    from rich.console import Console

    console = Console()
    for line in listing() if settings.source is None else shown(settings, settings.source):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def listing() -> list[str]:
    from thinkling.tasks.builtin import SUITES
    from thinkling.tasks.hub import lock_of
    from thinkling.tasks.published import BENCHMARKS
    from thinkling.tasks.rows import READERS

    made = [(", ".join(SUITES), "made on the spot, without end"), ("choice:SUITE", "the same, with four options each"),
            ("gym:FAMILY", "a family of reasoning-gym, with its own checker")]  # fmt: skip
    own = [("FILE", f"rows of a file that ends in {', '.join(READERS)}"),
           ("FILE.py:FUNCTION", "rows that a function yields")]  # fmt: skip
    published = [
        (name, f"{row.says}: {row.num:,} problems{', terms to accept' if row.gated else ''}"
               f"{', in the cache' if lock_of(name) else ''}") for name, row in BENCHMARKS.items()
    ]  # fmt: skip
    rows = [*made, *own, *published]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {says}" for name, says in rows]


def shown(settings: Tasks, source: str) -> list[str]:
    from thinkling.tasks.benchmarks import is_file, load_problems
    from thinkling.tasks.hub import home_of, is_published, lock_of

    finite = is_file(source) or is_published(source)
    problems = load_problems(source, settings.split, None if finite else 1, columns=settings.columns)
    first = problems[0]
    lines = [f"{source}: {len(problems):,} problems" if finite else f"{source}: problems without end",
             f"verifier {first.verifier}; the first, {first.id}:",
             *(f"  {line}" for line in first.question.split("\n")), f"  reference: {first.reference}"]  # fmt: skip
    lock = lock_of(source) if is_published(source) else None
    if lock is not None:
        lines += [f"{lock.repo} at {lock.revision}, in {home_of(source)}",
                  *(f"  {name}: sha256 {sha256}" for name, sha256 in lock.sha256.items())]  # fmt: skip
    return lines
