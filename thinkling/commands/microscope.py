"""`thinkling microscope RUN`: what a training run learnt from, as one HTML file that needs nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.checks import at_least


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """Show what a run of grpo learnt from, as one HTML page: its rollouts side by side, token by token.

    RUN is the folder that grpo's --out named; it may still be under way.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    out: Path | None = None
    """The file to write; RUN/microscope.html if it is left out."""
    max_groups: int = 400
    """Groups of rollouts in the page at most, of steps spread evenly over the run; about 10 KB each."""

    def __post_init__(self) -> None:
        at_least(2, max_groups=self.max_groups)


def main(settings: Microscope) -> Path:
    from rich.console import Console

    from thinkling.report.microscope import pack
    from thinkling.report.microscope_page import page
    from thinkling.runs import write_text

    out = settings.out or settings.run / "microscope.html"
    data = pack(settings.run, settings.max_groups)
    write_text(out, page(data))
    Console().print(f"{out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser", highlight=False)
    return out
