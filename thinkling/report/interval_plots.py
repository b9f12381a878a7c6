"""Pictures of values with their intervals, one in a row: ratings of a leaderboard, a score and its corrections.

Each is drawn once and comes out as inline SVG, in the page's colours, or as PNG. Leaves out what the values mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thinkling.report.page import svg
from thinkling.report.palette import LIGHT, ON_PAGE
from thinkling.report.plots import dress, new_axes, png

WIDTH, ROW, FONT = 620, 30, 12  # points
LONGEST = 26  # characters of a label


@dataclass(frozen=True)
class Row:
    """label: at the left. value, low, high: a dot and a thick bar. second: a thin line under it, and mark: a diamond on
    that. loud: in the accent's colour; else muted."""

    label: str
    value: float
    low: float
    high: float
    second: tuple[float, float] | None = None
    mark: float | None = None
    loud: bool = True


def draw(
    rows: Sequence[Row], xlabel: str, ink: Mapping[str, str], truth: float | None = None, percent: bool = False
) -> Any:
    """The axes. truth: a value that is marked by a line through all rows."""
    height = ROW * len(rows) + 62
    left = 8 + 0.62 * FONT * max(len(short(row.label)) for row in rows)
    box = (left / WIDTH, 46 / height, 1 - (left + 22) / WIDTH, 1 - 56 / height)
    axes = new_axes((WIDTH, height), box, ink)
    dress(axes, ink, FONT - 1, xlabel, "", lines="x")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [short(row.label) for row in rows], fontsize=FONT)
    axes.tick_params(axis="y", labelcolor=ink["ink"], labelsize=FONT, length=0)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    for place, row in enumerate(rows):
        colour = ink["accent"] if row.loud else ink["muted"]
        axes.plot((row.low, row.high), (place, place), color=colour, alpha=0.45, linewidth=7, solid_capstyle="round")
        axes.plot(row.value, place, "o", color=colour, markersize=8)
        if row.second is not None:
            axes.plot(row.second, (place + 0.3, place + 0.3), color=ink["series-2"], linewidth=1.6)
        if row.mark is not None:
            axes.plot(row.mark, place + 0.3, "d", color=ink["series-2"], markersize=5.5)
    if truth is not None:
        axes.axvline(truth, color=ink["ink"], linewidth=1.2, linestyle=(0, (4, 3)))
    if percent:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.margins(x=0.04)
    return axes


def as_svg(rows: Sequence[Row], xlabel: str, name: str, description: str, **more: object) -> str:
    return svg(draw(rows, xlabel, ON_PAGE, **more), name, description)


def as_png(rows: Sequence[Row], xlabel: str, maker: str, **more: object) -> bytes:
    return png(draw(rows, xlabel, LIGHT, **more).figure, maker)


def short(label: str) -> str:
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
