"""What all pictures have in common: axes in one style, round ticks, labels that keep apart, a PNG.

A picture is drawn on matplotlib's axes, in the colours of the page that it stands on (palette.ON_PAGE) or in light.
Leaves out what the pictures show (eval_plots.py, scale_plots.py) and how they get into a page (page.svg).
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import cos, dist, log10, pi, sin
from typing import Any

from thinkling.report.palette import LIGHT


def new_axes(size: tuple[float, float], box: tuple[float, float, float, float], ink: Mapping[str, str]) -> Any:
    """Axes alone in a figure of this size in points, in this box of shares of it: left, bottom, width, height."""
    from matplotlib.figure import Figure  # slow to import, so only once something is drawn

    return Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, facecolor=ink["paper"]).add_axes(box)


def dress(axes: Any, ink: Mapping[str, str], font: float, xlabel: str, ylabel: str, lines: str = "y") -> None:
    """The style of all axes: one thin line below, a thin grid, muted numbers; the name of the y axis stands over it.

    lines: the axis that has a grid.
    """
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(ink["rule"])
    axes.tick_params(colors=ink["rule"], labelcolor=ink["muted"], labelsize=font, left=False)
    axes.grid(axis=lines, color=ink["rule"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=ink["muted"], fontsize=font)
    if ylabel:
        axes.annotate(ylabel, (0, 1), (-2.2 * font, 0.9 * font), xycoords="axes fraction", color=ink["muted"],
                      textcoords="offset points", fontsize=font, va="center", annotation_clip=False)  # fmt: skip


def png(figure: Any, maker: str) -> bytes:
    """The figure at twice its size in points, drawn in light. maker: the command, for whoever finds the file."""
    drawn = BytesIO()
    figure.set_facecolor(LIGHT["paper"])
    figure.savefig(drawn, format="png", dpi=144, metadata={"Software": maker})
    return drawn.getvalue()


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high for a logarithmic axis, `most` at most: 1 2 5 10 20, or 1 10 100, or fewer."""
    decades = range(int(log10(low)) - 2, int(log10(high)) + 2)
    for heads, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 4), ((1,), 6)):
        found = [head * 10.0**decade for decade in decades if decade % every == 0 for head in heads]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= most:
            return found
    return found[:most]


def rounded(value: float) -> str:
    """For an axis: 20, 0.5, 20k, 3M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and letter != "k"):
            return f"{value / size:g}{letter}"
    return f"{value:,.0f}" if value >= 1 else f"{value:.10f}".rstrip("0")


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves places along a line so that neighbours are `gap` apart and all lie in [low, high]; moved squares are least.

    Keeps their order. Where there is no room for all, the gap shrinks until there is.
    """
    if not places:
        return []
    gap = min(gap, (high - low) / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda n: places[n])
    blocks: list[tuple[float, int]] = []  # (mean, size): places less the room below them, pooled until they rise
    for rank, n in enumerate(order):
        mean, size = places[n] - rank * gap, 1
        while blocks and blocks[-1][0] >= mean:
            other, more = blocks.pop()
            mean, size = (mean * size + other * more) / (size + more), size + more
        blocks.append((mean, size))
    rising = [mean for mean, size in blocks for _ in range(size)]
    top = high - gap * (len(places) - 1)
    found = [0.0] * len(places)
    for rank, (n, mean) in enumerate(zip(order, rising, strict=True)):
        found[n] = min(max(mean, low), top) + rank * gap
    return found


def place_labels(
    points: Sequence[tuple[float, float]],
    spans: Sequence[tuple[float, float]],
    size: float,
    box: tuple[float, float],
) -> list[tuple[float, float]]:
    """Centres for one round label per point, so that no two labels touch and none covers an interval.

    spans: the (bottom, top) of the interval through each point; size: a label's diameter; box: (width, height) that
    labels stay inside. All in one unit of length. Greedy: each label in turn takes the nearest free place in rings
    around its point, or the least crowded one where none is free.
    """
    placed: list[tuple[float, float]] = []

    def room(x: float, y: float) -> float:
        """Distance to the nearest thing in the way; negative where they touch."""
        gaps = [dist((x, y), other) - 1.05 * size for other in placed]
        for (bar_x, _), (bottom, top) in zip(points, spans, strict=True):
            gaps.append(dist((x, y), (bar_x, min(max(y, bottom), top))) - 0.7 * size)
        gaps += [edge - size / 2 for edge in (x, y, box[0] - x, box[1] - y)]
        return min(gaps)

    for x, y in points:
        rings = [(1.2 + 0.5 * ring, pi * turn / 8) for ring in range(12) for turn in (0, 8, 1, 7, -1, -7, 2, 6, -2, -6)]
        places = [(x + size * radius * cos(angle), y + size * radius * sin(angle)) for radius, angle in rings]
        placed.append(next((place for place in places if room(*place) >= 0), max(places, key=lambda p: room(*p))))
    return placed
