"""`thinkling compare RUN RUN ...`: is one better, by how much, and how many problems would settle it?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare eval runs on the same problems: the difference, its interval, problems won and lost.

    It says in words whether they can be told apart, and what it would take. Every problem's answers in one run are
    paired with those in the other; several pairs are tested together (Holm).
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The runs' folders: two or more."""
    allow: tuple[Literal["problems", "prompts", "budgets"], ...] = ()
    """What may differ between the runs. problems: those that all of them have are compared."""
    out: Path | None = None
    """Write the comparison to this .html page, and its numbers beside it, as .json."""
    show: int = 3
    """Problems won and lost to print, at most; the page has all."""

    def __post_init__(self) -> None:
        if self.out is not None and self.out.suffix.lower() != ".html":
            raise UserError(f"--out {self.out} is no .html file: name one that is; the numbers go beside it, as .json")


def main(settings: Compare) -> None:
    from rich.console import Console

    from thinkling.evaluate.compare import compare_all
    from thinkling.evaluate.saved import read_run
    from thinkling.report.compare_page import compare_page
    from thinkling.report.compare_words import decided_words, sentences, table
    from thinkling.runs import write_json, write_text
    from thinkling.terminal import visible

    found = compare_all([read_run(folder) for folder in settings.runs], settings.allow)
    console = Console(highlight=False)
    console.print(table(found))
    for comparison in found:
        for line in [*sentences(comparison), *decided_words(comparison, settings.show)]:
            console.print(visible(line), markup=False, soft_wrap=True)
    if settings.out is not None:
        write_text(settings.out, compare_page(found))
        write_json(settings.out.with_suffix(".json"), found)
        console.print(f"The page: {settings.out}", markup=False, soft_wrap=True)
