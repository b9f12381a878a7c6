"""Rows of results become things people look at: a table in the terminal, and one HTML page that needs nothing else.

The page loads nothing and runs nothing, and all text in it is escaped: some of it comes from a model.
It leaves out how the numbers were made (run.py) and what they allow us to say (stats.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from math import cos, dist, pi, sin
from pathlib import Path
from statistics import fmean

from rich.table import Table
from rich.text import Text

from thinkling.errors import UserError
from thinkling.runs import write_text

MUCH_TRUNCATED = 0.05  # past this share, an accuracy says more about the token limit than about the method
HEADERS = ("accuracy", "tokens / problem", "seconds", "truncated")


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


@dataclass(frozen=True)
class Example:
    """One problem answered before and after, with the verifier's reason for each verdict."""

    question: str
    reference: str
    before_text: str
    after_text: str
    before_reason: str
    after_reason: str


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table for the terminal; a row that was truncated too often is marked."""
    drawn = Table(caption=_small_print(rows), caption_justify="left")
    drawn.add_column("method", overflow="fold")
    drawn.add_column(HEADERS[0], justify="right", no_wrap=True)
    for header in HEADERS[1:]:
        drawn.add_column(header, justify="right", max_width=9)
    for row in rows:
        share, interval, tokens, seconds, truncated = _cells(row)
        loud = "bold red" if row.truncated > MUCH_TRUNCATED else ""
        # Text, not str: rich would read the square brackets of a name as its markup.
        drawn.add_row(Text(row.name), Text(f"{share}  {interval}"), tokens, seconds, Text(truncated, style=loud))
    return drawn


def write_html(
    path: Path,
    title: str,
    rows: Sequence[Row],
    reward_curve: Sequence[tuple[int, float]],
    examples: Sequence[Example],
    facts: dict[str, str],
) -> None:
    """Write the page, whole or not at all. The first row is what the others are compared with.

    reward_curve: (GRPO step, mean reward) in order. The curve, the examples and the facts (machine, versions, seeds,
    command) may be empty: then the page has no such section. Raises UserError if there are no rows.
    """
    if not rows:
        raise UserError("a report needs at least one row of results")
    figures = [_tokens_figure(rows)]
    if reward_curve:
        figures.insert(0, _reward_figure(reward_curve))
    body = [
        f"<header><h1>{_safe(title)}</h1><p>{_headline(rows)}</p></header>",
        f'<section aria-label="Results">{_html_table(rows)}</section>',
        f'<section class="figures" aria-label="Plots">{"".join(figures)}</section>',
    ]
    if examples:
        body.append(f"<section><h2>In its own words</h2>{''.join(map(_html_example, examples))}</section>")
    if facts:
        items = "".join(f"<div><dt>{_safe(name)}</dt><dd>{_safe(fact)}</dd></div>" for name, fact in facts.items())
        body.append(f"<section><h2>How this was made</h2><dl>{items}</dl></section>")
    write_text(path, PAGE.format(title=_safe(title), style=STYLE, body="\n".join(body)))


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


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    """The row's numbers as text: accuracy, interval, tokens, seconds, truncated."""
    mark = "⚠ " if row.truncated > MUCH_TRUNCATED else ""
    interval = f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return (
        f"{row.accuracy:.1%}",
        interval,
        _number(row.tokens_per_problem),
        _number(row.seconds),
        f"{mark}{row.truncated:.1%}",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _num_problems(rows: Sequence[Row]) -> str:
    counts = sorted({row.num_problems for row in rows})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def _small_print(rows: Sequence[Row]) -> str:
    if not rows:
        return "no results yet"
    note = f"{_num_problems(rows)} problems; in brackets, the 95% interval."
    if any(row.truncated > MUCH_TRUNCATED for row in rows):
        note += f" ⚠ More than {MUCH_TRUNCATED:.0%} ran into the token limit: allow more tokens before comparing."
    return note


def _safe(text: str) -> str:
    """Text from anywhere as HTML text or attribute; half a surrogate pair, which no file can hold, becomes '?'."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))


def _headline(rows: Sequence[Row]) -> str:
    """What happened, in one sentence: the first row against the best one."""
    first, best = rows[0], max(rows, key=lambda row: row.accuracy)
    start = f"Of {_num_problems(rows)} problems, <b>{_safe(first.name)}</b> solves <b>{first.accuracy:.1%}</b>"
    if best is first:
        return start + ("." if len(rows) == 1 else ", and no other row does better.")
    times = best.tokens_per_problem / max(first.tokens_per_problem, 1e-9)
    cost = f"{times:,.0f} times the tokens" if times >= 10 else f"{times:.1f} times the tokens"
    sure = "the 95% intervals lie apart" if best.low > first.high else "the 95% intervals overlap: it may be chance"
    return f"{start}; <b>{_safe(best.name)}</b> solves <b class=best>{best.accuracy:.1%}</b>, with {cost} ({sure})."


def _html_table(rows: Sequence[Row]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        share, interval, tokens, seconds, truncated = _cells(row)
        low, width, at = (f"{100 * value:.2f}%" for value in (row.low, row.high - row.low, row.accuracy))
        lines.append(
            f'<tr><th scope="row"><div><i class="disc">{number}</i>{_safe(row.name)}</div></th>'
            f'<td class="bar" aria-hidden="true"><span style="--low:{low};--width:{width};--at:{at}"></span></td>'
            f"<td><b>{share}</b> <small>{interval}</small></td><td>{tokens}</td><td>{seconds}</td>"
            f"<td{' class=loud' if row.truncated > MUCH_TRUNCATED else ''}>{truncated}</td></tr>"
        )
    scale = '<th class="bar" aria-hidden="true"><span>0%</span><span>50%</span><span>100%</span></th>'
    heads = "".join(f'<th scope="col">{header}</th>' for header in HEADERS)
    return (
        f'<table><thead><tr><th scope="col">method</th>{scale}{heads}</tr></thead><tbody>{"".join(lines)}</tbody>'
        f"</table><p class=note>{_small_print(rows)}</p>"
    )


def _html_example(example: Example) -> str:
    sides = "".join(
        f'<div class="{side}"><h4>{side}</h4><pre>{_safe(text)}</pre><p class="note">{_safe(reason)}</p></div>'
        for side, text, reason in (
            ("before", example.before_text, example.before_reason),
            ("after", example.after_text, example.after_reason),
        )
    )
    return (
        f'<article><h3>{_safe(example.question)}</h3><p class="note">Reference answer: '
        f'<b>{_safe(example.reference)}</b></p><div class="sides">{sides}</div></article>'
    )


# The plots are drawn in these stand-in colours, which the page's style sheet then decides: light, dark or print.
COLOURS = {"#010101": "ink", "#020202": "muted", "#030303": "accent", "#040404": "paper", "#050505": "rule"}
INK, MUTED, ACCENT, PAPER, RULE = COLOURS
WIDTH, HEIGHT, FONT = 420, 300, 11.5  # points; on the page a plot scales with its column


def _axes(xlabel: str, ylabel: str):
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


def _svg(axes, name: str, description: str) -> str:
    """The figure as an inline <svg>: no prolog, ids of its own, colours from the page."""
    from matplotlib import rc_context

    drawn = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        axes.figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    svg = drawn.getvalue()
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :])
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{colour})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)


def _reward_figure(curve: Sequence[tuple[int, float]]) -> str:
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
    picture = _svg(axes, "reward", f"Mean reward over GRPO steps. {ends}.")
    return f"<figure><h2>Reward while training</h2>{picture}<figcaption>{ends}. {how}</figcaption></figure>"


def _tokens_figure(rows: Sequence[Row]) -> str:
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
    key = "".join(f'<li><i class="disc">{n}</i>{_safe(row.name)}</li>' for n, row in enumerate(rows, start=1))
    picture = _svg(
        axes, "tokens", "Accuracy with its 95% interval against tokens per problem; numbers as in the table."
    )
    return f"<figure><h2>What an answer costs</h2>{picture}<figcaption><ul>{key}</ul></figcaption></figure>"


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

STYLE = """
:root { --ink: #1b1f24; --muted: #646b75; --rule: #dfe2e6; --paper: #fff; --wash: #f5f6f8; --accent: #0f6fb8;
  --loud: #b42318; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --muted: #9aa2ad; --rule: #343a43; --paper: #14171b;
  --wash: #1c2026; --accent: #62b3f2; --loud: #ff8a75; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: clamp(1.25rem, 4vw, 4rem) clamp(1rem, 4vw, 3rem); max-width: 76rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h1 { margin: 0 0 .75rem; font-size: 1rem; font-weight: 600; color: var(--muted); }
header p { margin: 0; max-width: 58rem; font-size: clamp(1.3rem, 2.6vw, 1.9rem); line-height: 1.35; text-wrap: pretty; }
header b { font-weight: 650; }
.best { color: var(--accent); }
section { margin-top: clamp(2.25rem, 4vw, 3.5rem); }
h2 { margin: 0 0 1rem; font-size: 1.15rem; font-weight: 650; }
.note, figcaption { color: var(--muted); font-size: .875rem; }
.loud { color: var(--loud); font-weight: 700; }
.disc { display: inline-flex; flex: none; align-items: center; justify-content: center; width: 1.35rem; height: 1.35rem;
  margin-right: .6rem; border: 1px solid var(--muted); border-radius: 50%; font-size: .75rem; font-style: normal; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .6rem 0 .6rem 1.25rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
thead th { color: var(--muted); font-size: .8125rem; font-weight: 500; vertical-align: bottom; }
th:first-child { padding-left: 0; text-align: left; }
tbody th { font-weight: 500; white-space: normal; }
tbody th > div { display: flex; }
small { color: var(--muted); font-size: .875rem; }
.bar { width: 30%; }
thead .bar span { display: inline-block; width: 33.3%; text-align: center; }
thead .bar span:first-child { text-align: left; }
thead .bar span:last-child { text-align: right; }
td.bar span { position: relative; display: block; height: 1.1rem;
  background: linear-gradient(var(--rule), var(--rule)) center / 100% 1px no-repeat; }
td.bar span::before { content: ""; position: absolute; top: .3rem; left: var(--low); width: var(--width); height: .5rem;
  border-radius: .25rem; background: var(--accent); opacity: .35; }
td.bar span::after { content: ""; position: absolute; top: .2rem; left: calc(var(--at) - .35rem); width: .7rem;
  height: .7rem; border-radius: 50%; background: var(--accent); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 3rem; }
figure { margin: 0; max-width: 35rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
figcaption { margin-top: .75rem; }
figcaption ul { display: flex; flex-wrap: wrap; gap: .35rem 1.25rem; margin: 0; padding: 0; list-style: none; }
figcaption li { display: flex; align-items: center; }
figcaption .disc { margin-right: .4rem; }
article { margin-top: 2rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
h3 { margin: 0; max-width: 50rem; font-size: 1rem; font-weight: 500; white-space: pre-wrap; }
article .note { margin: .4rem 0 0; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem;
  margin-top: 1rem; }
.sides > div { min-width: 0; display: flex; flex-direction: column; }
h4 { margin: 0 0 .4rem; color: var(--muted); font-size: .8125rem; font-weight: 600; text-transform: capitalize; }
.after h4 { color: var(--accent); }
pre { flex: 1; margin: 0; padding: .9rem 1rem; border-left: 3px solid var(--rule); background: var(--wash);
  font: .875rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; }
.after pre { border-color: var(--accent); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 1rem 2rem; margin: 0; }
dt { color: var(--muted); font-size: .8125rem; }
dd { margin: 0; }
@media (max-width: 64rem) {
  .bar { width: 15%; }
  thead .bar span { width: 50%; }
  thead .bar span:nth-child(2) { display: none; }
  tbody th { min-width: 13rem; }
}
@media (max-width: 46rem) {
  table, thead, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1.5fr 1fr 1fr 1.1fr; gap: .2rem .75rem; padding: .7rem 0;
    border-bottom: 1px solid var(--rule); }
  th, td { padding: 0; border: 0; }
  th:first-child, .bar { min-width: 0; grid-column: 1 / -1; width: auto; }
  thead th:first-child { display: none; }
  thead th:nth-child(3), td:nth-child(3) { text-align: left; }
  thead th { white-space: normal; overflow-wrap: normal; }
  td small { display: block; font-size: .8125rem; }
}
@media print {
  :root { --ink: #000; --muted: #555; --rule: #ccc; --paper: #fff; --wash: #fff; --accent: #0f6fb8; --loud: #b42318; }
  body { padding: 0; font-size: 10pt; }
  figure, article, tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
