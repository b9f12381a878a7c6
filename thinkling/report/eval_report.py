"""Rows of results become things people look at: a table in the terminal, and one HTML page that needs nothing else.

The page loads nothing and runs nothing, and all text in it is escaped: some of it comes from a model.
It leaves out how the numbers were made (run.py) and what they allow us to say (stats.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from thinkling.errors import UserError
from thinkling.evaluate.result import Result
from thinkling.report.eval_plots import reward_figure, tokens_figure
from thinkling.report.page import header, how_it_was_made, page, safe, section
from thinkling.report.tables import BAR_HEAD, MUCH_TRUNCATED, Sheet, bar_cell, interval
from thinkling.runs import write_text
from thinkling.words import counted

ADVICE = "allow more tokens before comparing"
HEADERS = ("accuracy", "tokens / {one}", "seconds", "truncated")


@dataclass(frozen=True)
class BeforeAfter:
    """One problem answered before and after, with the verifier's reason for each verdict."""

    question: str
    reference: str
    before_text: str
    after_text: str
    before_reason: str
    after_reason: str


def table(rows: Sequence[Result], advice: str = ADVICE) -> Sheet:
    """The rows as a table for the terminal; a row that was truncated too often is marked, and what to do about it said
    once."""
    lines = []
    for row in rows:
        share, span, tokens, seconds, truncated = _cells(row)
        loud = "bold red" if row.truncated > MUCH_TRUNCATED else ""
        lines.append((row.method, f"{share}  {span}", tokens, seconds, Text(truncated, loud)))
    headers = (header.replace("/ ", "/ \n") for header in _headers(rows))
    return Sheet(("method", *headers), lines, caption=_small_print(rows, advice))


def write_html(
    path: Path,
    title: str,
    rows: Sequence[Result],
    reward_curve: Sequence[tuple[int, float]],
    examples: Sequence[BeforeAfter],
    facts: Mapping[str, str],
    trained: tuple[Result, Result] | None = None,
) -> None:
    """Write the page, whole or not at all. The first row is what the others are compared with.

    reward_curve: (GRPO step, mean reward) in order. The curve, the examples and the facts (machine, versions, seeds,
    command) may be empty: then the page has no such section. trained: the same question before and after training, of
    which the headline then tells. Raises UserError if there are no rows.
    """
    if not rows:
        raise UserError("a report needs at least one row of results")
    figures = [tokens_figure(rows)]
    if reward_curve:
        figures.insert(0, reward_figure(reward_curve))
    told = [_headline(rows)] if trained is None else _html_training(rows, *trained)
    body = [
        header(title, *told),
        f'<section aria-label="Results">{_html_table(rows)}</section>',
        f'<section class="figures" aria-label="Plots">{"".join(figures)}</section>',
    ]
    if examples:
        body.append(section("In its own words", *map(_html_example, examples)))
    write_text(path, page(title, [*body, how_it_was_made(facts)], OWN_STYLE))


def training_headline(rows: Sequence[Result], before: Result, after: Result) -> list[str]:
    """What training did to the same question; then what the untrained model did when it was asked in other ways."""
    told = [
        f"Reinforcement learning took the {before.method} question from {before.accuracy:.1%} to {after.accuracy:.1%} "
        f"of {counted(before.num_problems, 'problem')} ({_how_sure(before, after)})."
    ]
    others = [row for row in rows[: list(rows).index(after)] if row is not before]
    if others:
        best = max(others, key=lambda row: row.accuracy)
        told.append(
            f"Untrained, the best of the other ways to ask was {best.method}: {best.accuracy:.1%}, with "
            f"{_times(before, best)}."
            if best.accuracy > before.accuracy
            else f"Untrained, no other way to ask did better than the {before.method} question."
        )
    return told


def _html_training(rows: Sequence[Result], before: Result, after: Result) -> list[str]:
    first, *others = map(safe, training_headline(rows, before, after))
    for share in (before, after):
        mark = "<b class=best>" if share is after else "<b>"
        first = first.replace(f" {share.accuracy:.1%} ", f" {mark}{share.accuracy:.1%}</b> ", 1)
    return [first, *others]


def _cells(row: Result) -> tuple[str, str, str, str, str]:
    """The row's numbers as text: accuracy, interval, tokens, seconds, truncated."""
    mark = "⚠ " if row.truncated > MUCH_TRUNCATED else ""
    return (
        f"{row.accuracy:.1%}",
        interval(row.low, row.high),
        _number(row.tokens),
        _number(row.wall_seconds),
        f"{mark}{row.truncated:.1%}",
    )


def _headers(rows: Sequence[Result]) -> list[str]:
    """Where a problem was answered several times, a row's tokens are the mean of one answer."""
    one = "answer" if any(row.num_samples > 1 for row in rows) else "problem"
    return [header.format(one=one) for header in HEADERS]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _num_problems(rows: Sequence[Result]) -> str:
    counts = sorted({row.num_problems for row in rows})
    return counted(counts[0], "problem") if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} problems"


def _small_print(rows: Sequence[Result], advice: str = ADVICE) -> str:
    if not rows:
        return "no results yet"
    note = f"{_num_problems(rows)}; in brackets, the 95% interval."
    if any(row.truncated > MUCH_TRUNCATED for row in rows):
        note += f" ⚠ More than {MUCH_TRUNCATED:.0%} ran into the token limit: {advice}."
    return note


def _headline(rows: Sequence[Result]) -> str:
    """What happened, in one sentence: the first row against the best one."""
    first, best = rows[0], max(rows, key=lambda row: row.accuracy)
    start = f"Of {_num_problems(rows)}, <b>{safe(first.method)}</b> solves <b>{first.accuracy:.1%}</b>"
    if best is first:
        return start + ("." if len(rows) == 1 else ", and no other row does better.")
    return (
        f"{start}; <b>{safe(best.method)}</b> solves <b class=best>{best.accuracy:.1%}</b>, with {_times(first, best)} "
        f"({_how_sure(first, best)})."
    )


def _times(first: Result, other: Result) -> str:
    times = other.tokens / max(first.tokens, 1e-9)
    return f"{times:,.0f} times the tokens" if times >= 10 else f"{times:.1f} times the tokens"


def _how_sure(first: Result, other: Result) -> str:
    apart = other.low > first.high or other.high < first.low
    return "the 95% intervals lie apart" if apart else "the 95% intervals overlap: it may be chance"


def _html_table(rows: Sequence[Result]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        share, span, tokens, seconds, truncated = _cells(row)
        lines.append(
            f'<tr><th scope="row"><div><i class="disc">{number}</i>{safe(row.method)}</div></th>'
            f"{bar_cell(row.accuracy, row.low, row.high)}"
            f"<td><b>{share}</b> <small>{span}</small></td><td>{tokens}</td><td>{seconds}</td>"
            f"<td{' class=loud' if row.truncated > MUCH_TRUNCATED else ''}>{truncated}</td></tr>"
        )
    heads = "".join(f'<th scope="col">{header}</th>' for header in _headers(rows))
    return (
        f'<table><thead><tr><th scope="col">method</th>{BAR_HEAD}{heads}</tr></thead><tbody>{"".join(lines)}</tbody>'
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


OWN_STYLE = """
header p + p { margin-top: .5rem; font-size: 1.05rem; color: var(--muted); }
article { margin-top: 2rem; padding-top: 1.25rem; border-top: 1px solid var(--rule); }
article .note { margin: .4rem 0 0; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem;
  margin-top: 1rem; }
.sides > div { min-width: 0; display: flex; flex-direction: column; }
h4 { margin: 0 0 .4rem; color: var(--muted); font-size: .8125rem; font-weight: 600; text-transform: capitalize; }
.after h4 { color: var(--accent); }
.after pre { border-color: var(--accent); }
"""
