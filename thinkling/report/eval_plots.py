"""The report's two plots, as inline SVG: reward over training steps, and accuracy against tokens per problem.

Leaves out the page around them (eval_report.py).
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from thinkling.evaluate.result import Result
from thinkling.report.page import safe, svg
from thinkling.report.palette import ON_PAGE
from thinkling.report.plots import dress, new_axes, place_labels
from thinkling.words import counted

INK, MUTED, ACCENT, PAPER = (ON_PAGE[role] for role in ("ink", "muted", "accent", "paper"))
WIDTH, HEIGHT, FONT = 420, 300, 11.5  # points; on the page a plot scales with its column


def _axes(xlabel: str, ylabel: str) -> Any:
    axes = new_axes((WIDTH, HEIGHT), (0.1, 0.15, 0.88, 0.755), ON_PAGE)
    dress(axes, ON_PAGE, FONT, xlabel, ylabel)
    return axes


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
    ends = f"From {smooth[0]:.2f} to {smooth[-1]:.2f} in {counted(len(rewards), 'step')}"
    how = f"Thin: every step. Thick: mean over {2 * reach + 1} steps, fewer at the ends."
    picture = svg(axes, "reward", f"Mean reward over GRPO steps. {ends}.")
    return f"<figure><h2>Reward while training</h2>{picture}<figcaption>{ends}. {how}</figcaption></figure>"


def tokens_figure(rows: Sequence[Result]) -> str:
    from matplotlib.ticker import LogLocator, NullLocator

    tokens = [max(row.tokens, 1.0) for row in rows]  # the axis is logarithmic
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
    key = "".join(f'<li><i class="disc">{n}</i>{safe(row.method)}</li>' for n, row in enumerate(rows, start=1))
    picture = svg(axes, "tokens", "Accuracy with its 95% interval against tokens per problem; numbers as in the table.")
    return f"<figure><h2>What an answer costs</h2>{picture}<figcaption><ul>{key}</ul></figcaption></figure>"
