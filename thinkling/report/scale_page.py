"""What each point of accuracy costs, for people: one HTML page, and its pictures as PNG.

The page loads nothing and runs nothing, and all text in it is escaped. Leaves out what can be said of the points
(frontier.py), the words for it (scale_words.py), how the pictures are drawn (scale_plots.py) and the terminal's tables
(scale_terminal.py).
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from thinkling.evaluate.frontier import CostName, cheapest, check_measured, pareto, round_targets, steps_of
from thinkling.evaluate.result import Result
from thinkling.report import scale_words as words
from thinkling.report.page import header, how_it_was_made, page, safe, section
from thinkling.report.palette import MARKERS
from thinkling.report.scale_plots import cost_png, cost_svg, curves, drawable, looks, panel_svg, panels_png
from thinkling.report.scale_words import COSTS
from thinkling.report.tables import BAR_HEAD, MUCH_TRUNCATED, bar_cell, interval
from thinkling.runs import write_bytes, write_text


def write_page(
    path: Path, title: str, points: Sequence[Result], facts: Mapping[str, str], notes: Sequence[str]
) -> None:
    """Write the page, whole or not at all: the pictures, the cheapest way, the steps, every row, the notes, the facts.

    facts: how it was made (machine, versions, command); notes: what to keep in mind. Either may be empty. Raises
    UserError if there is no method among the points.
    """
    check_measured(points)
    costs = [cost for cost in COSTS if drawable(points, cost)]
    body = [header(title, words.headline_html(points)), _pictures(points, costs), _html_ways(points, costs)]
    body += [_html_steps(points), _panels(points) if "tokens" in costs else "", _html_rows(points)]
    if notes:
        told = "".join(f"<li>{safe(note)}</li>" for note in notes)
        body.append(section("To keep in mind", f"<ul class=notes>{told}</ul>"))
    write_text(path, page(title, [*body, how_it_was_made(facts)], OWN_STYLE))


def write_pngs(folder: Path, points: Sequence[Result]) -> list[Path]:
    """accuracy-tokens.png, accuracy-seconds.png, accuracy-flops.png and methods.png: the page's pictures, in light.

    All are drawn before the first is written, and each is written whole or not at all. Left out is a cost that is not
    known. Returns what was written. Raises UserError if there is no method among the points.
    """
    check_measured(points)
    drawn = {f"accuracy-{cost}.png": cost_png(points, cost) for cost in COSTS if drawable(points, cost)}
    if drawable(points, "tokens"):
        drawn["methods.png"] = panels_png(points)
    for name, content in drawn.items():
        write_bytes(folder / name, content)
    return [folder / name for name in drawn]


def _pictures(points: Sequence[Result], costs: Sequence[CostName]) -> str:
    """The first cost's picture large (in a narrow window: small, with a key), the others' small."""
    if not costs:
        return ""
    first, *others = costs
    key = _key(points)
    caption = (
        "Staircase: the Pareto front, the most accuracy that can be had for so much; n is the budget. "
        "Coloured: the methods on it, with 95% intervals. Grey: the others, each drawn on its own below."
    )
    if any(point.oracle for point in points):
        caption += f" Dotted: {words.ORACLE}"
    large = (
        f"<section class=hero><figure><h2>Accuracy against {COSTS[first]}</h2><div class=wide>"
        f"{cost_svg(points, first, wide=True)}</div><div class=narrow>{cost_svg(points, first, wide=False)}{key}</div>"
        f"<figcaption>{caption}</figcaption></figure></section>"
    )
    small = "".join(
        f"<figure><h2>Against {COSTS[cost]}</h2>{cost_svg(points, cost, wide=False)}</figure>" for cost in others
    )
    return large + (f"<section><div class=figures>{small}</div>{key}</section>" if small else "")


def _key(points: Sequence[Result]) -> str:
    items = "".join(
        f'<li><i style="color:var(--{colour})">{MARKERS[marker][0]}</i>{safe(name)}</li>'
        for name, (colour, marker, _) in looks(points).items()
    )
    items += "".join(f"<li><i>⋯</i>{safe(name)}</li>" for name, own in curves(points).items() if own[0].oracle)
    return f"<ul class=key>{items}</ul>"


def _html_ways(points: Sequence[Result], costs: Sequence[CostName]) -> str:
    targets = round_targets(pareto(points))
    if not targets or not costs:
        return ""
    heads = "".join(f'<th scope="col">by {COSTS[cost]}</th>' for cost in costs)
    columns = [cheapest(points, targets, cost) for cost in costs]
    lines = []
    for ways, found in groupby(zip(*columns, strict=True), lambda goals: [goal.point for goal in goals]):
        reached, cells, before = list(zip(*found, strict=True)), "", None
        for cost, point, goals in zip(costs, ways, reached, strict=True):
            spent = f"<b>{words.amount(point, cost)} {COSTS[cost]}</b>"
            measured = f", {words.accuracy(point)} {words.sure(goals)}".rstrip()
            if point is before:
                cells += f"<td class=same><span>the same</span><small>{spent}</small></td>"
            else:
                cells += f"<td>{safe(words.label(point))}<small>{spent}{measured}</small></td>"
            before = point
        lines.append(f'<tr><th scope="row">{words.span(reached[0])}</th>{cells}</tr>')
    return (
        f'<section><h2>The cheapest way to reach</h2><table class=ways><thead><tr><th scope="col">accuracy</th>{heads}'
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table><p class=note>Costs are per problem. ✓ its whole 95% "
        "interval reaches there.</p></section>"
    )


def _html_steps(points: Sequence[Result]) -> str:
    steps, whole = steps_of(points)
    if not steps:
        return ""
    low = min(0.0, *(step.low for step in steps + whole))
    span = max(step.high for step in steps + whole) - low
    items = []
    for step in steps + whole:
        name = f"{safe(words.label(step.before))} <span>→</span> {safe(words.label(step.after))}"
        name += " <span>(all steps together)</span>" if step in whole else ""
        at = {"zero": -low, "low": step.low - low, "width": step.high - step.low, "at": step.difference - low}
        style = ";".join(f"--{what}:{100 * value / span:.2f}%" for what, value in at.items())
        items.append(
            f"<li><h3>{name}</h3><p>{words.step_html(step, 1 if step in whole else len(steps))}</p>"
            f'<div class="bar" aria-hidden="true"><span style="{style}"></span></div></li>'
        )
    return (
        f"<section><h2>Is the next step worth it?</h2><ol class=steps>{''.join(items)}</ol>"
        f"<p class=note>{words.how_tested(len(steps))} {words.CAUTION}</p></section>"
    )


def _panels(points: Sequence[Result]) -> str:
    drawn = []
    for number, (name, own) in enumerate(curves(points).items(), start=1):
        best = max(own, key=lambda point: point.accuracy)
        drawn.append(
            f"<figure><h3>{safe(name)}</h3>{panel_svg(points, name, number)}<figcaption>at most {best.accuracy:.1%}"
            f"</figcaption></figure>"
        )
    return (
        f"<section><h2>Each method on its own</h2><p class=note>Accuracy with its 95% interval against tokens per "
        f"problem. The thin staircase is the Pareto front of all.</p><div class=panels>{''.join(drawn)}</div></section>"
    )


def _html_rows(points: Sequence[Result]) -> str:
    fronts, known = words.fronts(points), words.known_costs(points)
    groups = []
    for name, own in curves(points).items():
        lines = []
        for point in own:
            loud = " class=loud" if point.truncated > MUCH_TRUNCATED else ""
            lines.append(
                f'<tr><th scope="row">{safe(words.budget(point)) or "–"} <i>{words.marks(point, fronts)}</i></th>'
                f"{bar_cell(point.accuracy, point.low, point.high)}"
                f"<td><b>{point.accuracy:.1%}</b> <small>{interval(point.low, point.high)}</small></td>"
                + "".join(f"<td>{words.amount(point, cost)}</td>" for cost in known)
                + f"<td{loud}>{point.truncated:.1%}</td></tr>"
            )
        head = f'<tr class=group><th scope="rowgroup" colspan="{4 + len(known)}">{safe(name)}</th></tr>'
        groups.append(f"<tbody>{head}{''.join(lines)}</tbody>")
    headers = ("accuracy", *(COSTS[cost] for cost in known), "cut off")
    heads = "".join(f'<th scope="col">{header}</th>' for header in headers)
    return (
        f'<section><h2>Every row</h2><table class=rows style="--columns:{len(headers) - 1}"><thead><tr>'
        f'<th scope="col">budget</th>{BAR_HEAD}{heads}</tr></thead>'
        f"{''.join(groups)}</table><p class=note>Costs are per problem; in brackets, the 95% interval. "
        f"{words.marks_explained(fronts)} cut off: completions that ran into the token limit.</p></section>"
    )


OWN_STYLE = """
.hero figure { max-width: none; }
.narrow { display: none; }
.key { display: flex; flex-wrap: wrap; gap: .35rem 1.25rem; margin: .75rem 0 0; padding: 0; list-style: none;
  color: var(--muted); font-size: .875rem; }
.key i { margin-right: .4rem; font-style: normal; }
.ways td, .ways th { vertical-align: top; text-align: left; white-space: normal; }
.ways th { padding-right: 1rem; white-space: nowrap; }
.ways th[scope=row] { font-size: 1.15rem; font-weight: 650; padding-left: 0; }
.ways small { display: block; }
.ways .same span { color: var(--muted); }
.ways small b { color: var(--ink); font-weight: 600; }
.steps { margin: 0; padding: 0; list-style: none; }
.steps li { display: grid; grid-template-columns: minmax(0, 1fr) 30%; gap: .25rem 2rem; padding: .9rem 0;
  border-bottom: 1px solid var(--rule); }
.steps h3 { grid-column: 1; max-width: none; font-weight: 600; white-space: normal; }
.steps h3 span { color: var(--muted); font-weight: 400; }
.steps p { grid-column: 1; margin: 0; max-width: 48rem; }
.steps .bar { grid-column: 2; grid-row: 1 / span 2; width: auto; align-self: center; }
.bar span::before, .steps .bar span::before { content: ""; }
.steps .bar span { position: relative; display: block; height: 1.6rem; border-radius: 0;
  background: linear-gradient(var(--muted), var(--muted)) var(--zero) 0 / 1px 100% no-repeat,
  linear-gradient(var(--rule), var(--rule)) center / 100% 1px no-repeat; }
.steps .bar span::before { position: absolute; top: .55rem; left: var(--low); width: var(--width); height: .5rem;
  border-radius: .25rem; background: var(--accent); opacity: .35; }
.steps .bar span::after { content: ""; position: absolute; top: .45rem; left: calc(var(--at) - .35rem); width: .7rem;
  height: .7rem; border-radius: 50%; background: var(--accent); }
.clear { color: var(--series-3); }
.unsure { color: var(--muted); }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(45%, 13rem), 1fr)); gap: 1.5rem 1.25rem; }
.panels h3 { min-height: 2.6em; font-size: .875rem; line-height: 1.3; display: flex; align-items: end; }
.panels figcaption { margin: 0; }
.rows i { margin-left: .5rem; color: var(--accent); font-style: normal; font-weight: 700; font-size: .8125rem; }
.rows td, .rows tbody th { padding-top: .3rem; padding-bottom: .3rem; }
.rows tbody th { white-space: nowrap; }
.rows .group th { padding-top: 1.1rem; font-weight: 650; white-space: normal; }
.notes { margin: 0; padding-left: 1.1rem; max-width: 58rem; }
.notes li { margin: .3rem 0; }
@media (max-width: 46rem) {
  .wide { display: none; }
  .narrow { display: block; }
  .ways tr { display: block; }
  .ways thead { display: none; }
  .ways td { display: block; margin-top: .4rem; }
  .ways .same { display: inline-block; margin: 0 .75rem 0 0; }
  .ways .same span { display: none; }
  .steps li { display: block; }
  .steps .bar { margin-top: .5rem; }
  .rows tr { grid-template-columns: 1.7fr repeat(var(--columns), 1fr); }
  .rows .group { border: 0; padding: 1.2rem 0 0; }
  .rows .group th { padding: 0; }
}
"""
