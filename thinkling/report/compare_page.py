"""The page of `thinkling compare`: every pair's difference in one picture, the verdicts, the problems won and lost.

It loads nothing and runs nothing; all text in it is escaped. Formulas are drawn as on an eval run's page.
"""

from collections.abc import Sequence

from thinkling.evaluate.compare import Comparison, Decided
from thinkling.report.compare_words import HEADERS, cells, reach, verdict
from thinkling.report.formulas import Formulas, shortened
from thinkling.report.page import header, page, safe, section, svg
from thinkling.report.palette import ON_PAGE
from thinkling.report.plots import dress, new_axes
from thinkling.words import counted

LABEL = 24  # characters of a run's name in the picture
SHOWN = 200  # problems won, and as many lost, of a pair


def compare_page(comparisons: Sequence[Comparison]) -> str:
    """One HTML file."""
    names = list(dict.fromkeys(name for found in comparisons for name in (found.first, found.second)))
    formulas = Formulas()
    told = [f"<p>{safe(verdict(found))} <small>{safe(reach(found))}</small></p>" for found in comparisons]
    body = [
        header(f"thinkling compare: {', '.join(names)}", safe(verdict(comparisons[0]))),
        f'<section aria-label="Differences">{table(comparisons)}</section>',
        section("Differences", f'<div class="figures">{picture(comparisons)}</div>'),
        section("In words", *told),
        *(decided(found, formulas) for found in comparisons),
    ]
    return page(f"compare: {', '.join(names)}", body, STYLE)


def table(comparisons: Sequence[Comparison]) -> str:
    heads = "".join(f'<th scope="col">{safe(name)}</th>' for name in HEADERS)
    lines = []
    for found in comparisons:
        first, *others = map(safe, cells(found))
        loud = ' class="best"' if found.apart else ""
        lines.append(f'<tr><th scope="row"{loud}>{first}</th>{"".join(f"<td>{cell}</td>" for cell in others)}</tr>')
    note = f"{counted(comparisons[0].num_problems, 'problem')}. Differences in points, with the 95% interval."
    return (f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
            f'<p class="note">{note}</p>')  # fmt: skip


def picture(comparisons: Sequence[Comparison]) -> str:
    """Each pair's difference with its interval, and the line of no difference."""
    ink, accent, muted = (ON_PAGE[role] for role in ("ink", "accent", "muted"))
    height = 90 + 34 * len(comparisons)
    axes = new_axes((480, height), (0.04, 50 / height, 0.92, 1 - 70 / height), ON_PAGE)
    dress(axes, ON_PAGE, 11.5, "difference in points", "")
    axes.set_yticks([])
    axes.grid(False, axis="y")
    axes.axvline(0, color=muted, linewidth=1.2)
    for place, found in enumerate(reversed(comparisons)):
        low, high, seen = (100 * value for value in (found.low, found.high, found.difference))
        colour = accent if found.apart else muted
        axes.hlines(place, low, high, color=colour, linewidth=3, alpha=0.7)
        axes.plot(seen, place, "o", color=colour, markersize=7)
        name = f"{brief(found.second)} - {brief(found.first)}"
        axes.text((low + high) / 2, place + 0.2, name, color=ink, fontsize=10, ha="center")
    axes.set_ylim(-0.5, len(comparisons) - 0.2)
    axes.margins(x=0.1)
    drawn = svg(axes, "differences", "Differences between runs with their 95% intervals, numbers as in the table.")
    return f"<figure>{drawn}<figcaption>Coloured: told apart. Grey: not.</figcaption></figure>"


def brief(name: str) -> str:
    """A run's name as the picture has room for it; the table has the whole."""
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def decided(found: Comparison, formulas: Formulas) -> str:
    pieces = []
    for verb, own in (("wins", found.won), ("loses", found.lost)):
        if not own:
            continue
        left = f" The {SHOWN} clearest are shown." if len(own) > SHOWN else ""
        heading = f"{found.second} {verb} {counted(len(own), 'problem')} against {found.first}.{left}"
        shown = "".join(fold(one, found, formulas) for one in own[:SHOWN])
        pieces.append(f"<h3>{safe(heading)}</h3>{shown}")
    return section(f"{safe(found.second)} and {safe(found.first)}", *pieces) if pieces else ""


def fold(one: Decided, found: Comparison, formulas: Formulas) -> str:
    sides = "".join(
        f"<div><h4>{safe(name)}: {share:.0%} right</h4>"
        f'<div class="running">{formulas.html(shortened(text))}</div></div>'
        for name, share, text in (
            (found.first, one.first, one.first_response),
            (found.second, one.second, one.second_response),
        )
    )
    summary = f"{one.first:.0%} → {one.second:.0%} {formulas.html(shortened(one.question))}"
    note = f'<p class="note">Reference: {safe(one.reference)}</p>'
    return f'<details><summary>{summary}</summary>{note}<div class="sides">{sides}</div></details>'


STYLE = """
.wide { overflow-x: auto; }
details { margin-top: .6rem; } summary { cursor: pointer; max-width: 58rem; white-space: pre-wrap; }
summary, .running { overflow: auto hidden; }
h3 { margin: 1.5rem 0 .5rem; font-weight: 600; }
h4 { margin: .5rem 0 .3rem; color: var(--muted); font-size: .8125rem; font-weight: 600; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem 1.5rem; }
.sides > div { min-width: 0; }
.running { padding: .6rem .8rem; border-left: 3px solid var(--rule); background: var(--wash); white-space: pre-wrap;
  font-size: .9375rem; }
math .boxed { border: 1px solid currentColor; padding: .15em .3em; }
@media (max-width: 46rem) {
  .wide table { display: table; width: max-content; } .wide thead { display: table-header-group; }
  .wide tbody { display: table-row-group; } .wide tr { display: table-row; }
  .wide th, .wide td { display: table-cell; padding: .5rem .6rem .5rem 0; }
  .wide thead th:first-child { display: table-cell; }
  .wide tbody th { min-width: 6rem; max-width: 32vw; } .wide { font-size: .875rem; }
}
"""
