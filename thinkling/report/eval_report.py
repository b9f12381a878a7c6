"""Rows of results become things people look at: a table in the terminal, and one HTML page that needs nothing else.

The page loads nothing and runs nothing, and all text in it is escaped: some of it comes from a model.
It leaves out how the numbers were made (run.py) and what they allow us to say (stats.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from thinkling.errors import UserError
from thinkling.evaluate.run import Report
from thinkling.report.plots import Row, reward_figure, safe, tokens_figure
from thinkling.runs import write_text

MUCH_TRUNCATED = 0.05  # past this share, an accuracy says more about the token limit than about the method
HEADERS = ("accuracy", "tokens / problem", "seconds", "truncated")


@dataclass(frozen=True)
class BeforeAfter:
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
    examples: Sequence[BeforeAfter],
    facts: dict[str, str],
) -> None:
    """Write the page, whole or not at all. The first row is what the others are compared with.

    reward_curve: (GRPO step, mean reward) in order. The curve, the examples and the facts (machine, versions, seeds,
    command) may be empty: then the page has no such section. Raises UserError if there are no rows.
    """
    if not rows:
        raise UserError("a report needs at least one row of results")
    figures = [tokens_figure(rows)]
    if reward_curve:
        figures.insert(0, reward_figure(reward_curve))
    body = [
        f"<header><h1>{safe(title)}</h1><p>{_headline(rows)}</p></header>",
        f'<section aria-label="Results">{_html_table(rows)}</section>',
        f'<section class="figures" aria-label="Plots">{"".join(figures)}</section>',
    ]
    if examples:
        body.append(f"<section><h2>In its own words</h2>{''.join(map(_html_example, examples))}</section>")
    if facts:
        items = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(fact)}</dd></div>" for name, fact in facts.items())
        body.append(f"<section><h2>How this was made</h2><dl>{items}</dl></section>")
    write_text(path, PAGE.format(title=safe(title), style=STYLE, body="\n".join(body)))


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


def _headline(rows: Sequence[Row]) -> str:
    """What happened, in one sentence: the first row against the best one."""
    first, best = rows[0], max(rows, key=lambda row: row.accuracy)
    start = f"Of {_num_problems(rows)} problems, <b>{safe(first.name)}</b> solves <b>{first.accuracy:.1%}</b>"
    if best is first:
        return start + ("." if len(rows) == 1 else ", and no other row does better.")
    times = best.tokens_per_problem / max(first.tokens_per_problem, 1e-9)
    cost = f"{times:,.0f} times the tokens" if times >= 10 else f"{times:.1f} times the tokens"
    sure = "the 95% intervals lie apart" if best.low > first.high else "the 95% intervals overlap: it may be chance"
    return f"{start}; <b>{safe(best.name)}</b> solves <b class=best>{best.accuracy:.1%}</b>, with {cost} ({sure})."


def _html_table(rows: Sequence[Row]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        share, interval, tokens, seconds, truncated = _cells(row)
        low, width, at = (f"{100 * value:.2f}%" for value in (row.low, row.high - row.low, row.accuracy))
        lines.append(
            f'<tr><th scope="row"><div><i class="disc">{number}</i>{safe(row.name)}</div></th>'
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


def _html_example(example: BeforeAfter) -> str:
    sides = "".join(
        f'<div class="{side}"><h4>{side}</h4><pre>{safe(text)}</pre><p class="note">{safe(reason)}</p></div>'
        for side, text, reason in (
            ("before", example.before_text, example.before_reason),
            ("after", example.after_text, example.after_reason),
        )
    )
    return (
        f'<article><h3>{safe(example.question)}</h3><p class="note">Reference answer: '
        f'<b>{safe(example.reference)}</b></p><div class="sides">{sides}</div></article>'
    )


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


def row_of(name: str, report: Report) -> Row:
    """A report as a line of the table."""
    return Row(name, report.accuracy, *report.interval, report.tokens_per_problem, report.seconds, report.num_problems,
               report.truncated)  # fmt: skip
