"""The report's two plots, as inline SVG: reward over training steps, and accuracy against tokens per problem.

Also `Row`, the line of results that tables and plots share. Leaves out the page around them (report.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import cos, dist, pi, sin
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Row:
    """What one method did on one set of problems.

    accuracy, low, high: a share in [0, 1] and its 95% interval. tokens_per_problem: all tokens sampled, over problems.
    seconds: for the whole set. truncated: the share in [0, 1] of completions that ran into the token limit.
    """

    name: str
    accuracy: float
    low: float
    high: float
    tokens_per_problem: float
    seconds: float
    num_problems: int
    truncated: float


# The plots are drawn in these stand-in colours, which the page's style sheet then decides: light, dark or print.
COLOURS = {"#010101": "ink", "#020202": "muted", "#030303": "accent", "#040404": "paper", "#050505": "rule"}
INK, MUTED, ACCENT, PAPER, RULE = COLOURS
WIDTH, HEIGHT, FONT = 420, 300, 11.5  # points; on the page a plot scales with its column


def _axes(xlabel: str, ylabel: str) -> Any:
    """Empty axes in the page's style."""
    from matplotlib.figure import Figure  # slow to import, so only once a page is drawn

    axes = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72).add_axes((0.1, 0.15, 0.88, 0.755))
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=RULE, labelcolor=MUTED, labelsize=FONT, left=False)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel, color=MUTED, fontsize=FONT)
    axes.set_title(ylabel, color=MUTED, fontsize=FONT, loc="left", x=-0.1, pad=12)
    return axes


def svg(axes: Any, name: str, description: str, colours: Mapping[str, str] = COLOURS) -> str:
    """The figure as an inline <svg>: no prolog, ids of its own, colours from the page.

    name: marks its ids, so no other picture of the page may have it. colours: from stand-ins to the page's names.
    """
    from matplotlib import rc_context

    drawn = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        axes.figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    svg = drawn.getvalue()
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :])
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)
    for stand_in, colour in colours.items():
        svg = svg.replace(stand_in, f"var(--{colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{safe(description)}" ', 1)


def reward_figure(curve: Sequence[tuple[int, float]]) -> str:
    steps, rewards = zip(*curve, strict=True)
    reach = max(1, len(rewards) // 20)
    smooth = [fmean(rewards[max(0, i - reach) : i + reach + 1]) for i in range(len(rewards))]
    axes = _axes("GRPO step", "mean reward")
    marker = "o" if len(rewards) == 1 else None  # one step makes no line
    axes.plot(steps, rewards, color=ACCENT, alpha=0.4, linewidth=1, marker=marker)
    axes.plot(steps, smooth, color=ACCENT, linewidth=2.2, solid_capstyle="round")
    axes.margins(x=0.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if min(rewards) >= 0 and max(rewards) <= 1:
        axes.set_ylim(0, 1.02)
    ends = f"From {smooth[0]:.2f} to {smooth[-1]:.2f} in {len(rewards)} steps"
    how = f"Thin: every step. Thick: mean over {2 * reach + 1} steps, fewer at the ends."
    picture = svg(axes, "reward", f"Mean reward over GRPO steps. {ends}.")
    return f"<figure><h2>Reward while training</h2>{picture}<figcaption>{ends}. {how}</figcaption></figure>"


def tokens_figure(rows: Sequence[Row]) -> str:
    from matplotlib.ticker import LogLocator, NullLocator

    tokens = [max(row.tokens_per_problem, 1.0) for row in rows]  # the axis is logarithmic
    axes = _axes("tokens per problem (each tick doubles)", "accuracy")
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(tokens) / 1.7, max(tokens) * 1.7)
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=9))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")

    to_points = axes.transData.transform
    points = [tuple(to_points((x, row.accuracy))) for x, row in zip(tokens, rows, strict=True)]
    spans = [(to_points((1, row.low))[1], to_points((1, row.high))[1]) for row in rows]
    labels = axes.transData.inverted().transform(place_labels(points, spans, size=16, box=(WIDTH, HEIGHT)))
    for number, (row, x, (label_x, label_y)) in enumerate(zip(rows, tokens, labels, strict=True), start=1):
        axes.plot((x, label_x), (row.accuracy, label_y), color=MUTED, linewidth=0.8, clip_on=False)
        axes.vlines(x, row.low, row.high, color=ACCENT, alpha=0.55, linewidth=2.5)
        axes.plot(x, row.accuracy, "o", color=ACCENT, markersize=6.5, zorder=3)
        style = {"markersize": 15, "markerfacecolor": PAPER, "markeredgecolor": MUTED, "markeredgewidth": 0.8}
        axes.plot(label_x, label_y, "o", **style, zorder=4, clip_on=False)
        place = {"ha": "center", "va": "center_baseline", "fontsize": 10, "color": INK, "zorder": 5}
        axes.text(label_x, label_y, str(number), **place)
    key = "".join(f'<li><i class="disc">{n}</i>{safe(row.name)}</li>' for n, row in enumerate(rows, start=1))
    picture = svg(axes, "tokens", "Accuracy with its 95% interval against tokens per problem; numbers as in the table.")
    return f"<figure><h2>What an answer costs</h2>{picture}<figcaption><ul>{key}</ul></figcaption></figure>"


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


def safe(text: str) -> str:
    """Text from anywhere as HTML text or attribute; half a surrogate pair, which no file can hold, becomes '?'."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))
