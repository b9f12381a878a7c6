"""The page of an eval run: its numbers, its plots, and every response, to be filtered by verdict.

The script (eval_script.py) puts text in as text and formulas in element by element; it is the only one that the page
may run, and nothing is loaded.
"""

from collections.abc import Sequence

from thinkling.evaluate.details import Asked, Details, Estimate, Part, by_problem, is_cut_off
from thinkling.evaluate.manifest import flat
from thinkling.evaluate.saved import Run
from thinkling.model.thinking import TAGS
from thinkling.report.eval_script import SCRIPT
from thinkling.report.eval_words import loud, sentences, tokens
from thinkling.report.formulas import Formulas, shortened
from thinkling.report.page import header, how_it_was_made, page, safe, section
from thinkling.report.tables import BAR_HEAD, bar_cell, interval
from thinkling.words import counted


def eval_page(run: Run) -> str:
    """One HTML file."""
    details, title = run.details, f"{run.name}: {run.report['method']} on {run.settings.get('tasks', 'problems')}"
    warned = set(loud(details))
    told = [f"<p{' class=loud' if line in warned else ''}>{safe(line)}</p>" for line in sentences(details)]
    body = [
        header(title, headline(run)),
        f'<section class="told">{"".join(told)}<p class="note">{safe(tokens(details))}</p></section>',
        section("Numbers", numbers(details)),
        '<section id="plots" class="figures" aria-label="Plots"></section>',
        *(section(f"By {name}", parts_table(parts)) for name, parts in details.parts.items()),
        problems_section(details),
        RESPONSES,
        how_it_was_made(facts(run)),
    ]
    return page(title, body, STYLE, SCRIPT, packed(run))


def headline(run: Run) -> str:
    details = run.details
    times = f", each answered {details.num_samples} times" if details.num_samples > 1 else ""
    return (f"{safe(run.report['method'])} solves <b class=best>{details.accuracy.value:.1%}</b> "
            f"{interval(details.accuracy.low, details.accuracy.high)} of "
            f"{counted(details.num_problems, 'problem')}{times}.")  # fmt: skip


def numbers(details: Details) -> str:
    n = details.num_samples
    rows = [(f"avg@{n}" if n > 1 else "accuracy", details.accuracy)]
    if n > 1:
        told = [k for k in range(1, n + 1) if k in (2, 4, 8, 16, 32, 64, 128, n)]
        rows += [(f"pass@{k}: one of {k} is right", details.pass_at[k - 1]) for k in told]
        rows += [(f"maj@{k}: a vote of {k} is right", details.maj_at[str(k)]) for k in told]
    if details.finished is not None and details.truncated:
        rows.append(("of what was finished", details.finished))
    note = (
        "In brackets, the 95% interval, which counts problems and not samples. "
        f"Cut off {details.truncated:.1%}, in a loop {details.looping:.1%}, no answer read {details.unparsed:.1%}."
    )
    return f'{estimates_table(rows)}<p class="note">{note}</p>'


def estimates_table(rows: Sequence[tuple[str, Estimate]], second: Sequence[str] = ()) -> str:
    lines = []
    for place, (name, value) in enumerate(rows):
        more = f"<td>{safe(second[place])}</td>" if second else ""
        lines.append(
            f'<tr><th scope="row">{safe(name)}</th>{bar_cell(value.value, value.low, value.high)}<td>'
            f"<b>{value.value:.1%}</b> <small>{interval(value.low, value.high)}</small></td>{more}</tr>"
        )
    heads = '<th scope="col">accuracy</th>' + ('<th scope="col">problems</th>' if second else "")
    return (
        f'<table class="slim"><thead><tr><th scope="col"></th>{BAR_HEAD}{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def parts_table(parts: Sequence[Part]) -> str:
    return estimates_table([(part.name, part.accuracy) for part in parts], [f"{part.num_problems:,}" for part in parts])


def problems_section(details: Details) -> str:
    """The hardest and the least consistent problems, as buttons that lead to their responses."""
    shown = [("Hardest", details.hardest), ("Least consistent", details.inconsistent)]
    columns = [f"<div><h3>{name}</h3><ul>{''.join(map(item, found))}</ul></div>" for name, found in shown if found]
    return section("Problems to look at", f'<div class="columns">{"".join(columns)}</div>') if columns else ""


def item(asked: Asked) -> str:
    return (
        f'<li><button type="button" data-row="{asked.row}">{asked.num_correct} of {asked.num_samples} right</button> '
        f"<small>{safe(asked.id)}</small></li>"
    )


def facts(run: Run) -> dict[str, str]:
    """Settings and manifest, for whoever wants to make the run again."""
    settings = {name: str(value) for name, value in run.settings.items() if value is not None}
    made_of = {name: str(value) for name, value in flat(run.manifest).items() if value is not None}
    return settings | {name: value for name, value in made_of.items() if not name.startswith("resumed")}


def packed(run: Run) -> dict:
    """What the script reads. Of a response: s status, a answer, w why, t tokens, h of them thinking, c cut off, and its
    text in pieces (Formulas.packed): b thinking, x the rest."""
    formulas, problems = Formulas(), []
    for own in by_problem(run.rows):
        first = own[0]
        problems.append({
            "id": safe_text(first["id"]), "row": first["row"], "subject": safe_text(str(first.get("family", ""))),
            "level": safe_text(str(first.get("level", ""))), "q": formulas.packed(first["question"]),
            "ref": formulas.packed(as_formula(first["reference"])),
            "r": [response(row, formulas) for row in own],
        })  # fmt: skip
    details = run.details
    curve = {name: [[k, e.value, e.low, e.high] for k, e in values] for name, values in (
        ("pass@k", enumerate(details.pass_at, start=1)),
        ("maj@k", ((int(k), e) for k, e in details.maj_at.items())),
    )}  # fmt: skip
    return {"n": details.num_samples, "curve": curve, "problems": problems, "formulas": formulas.trees,
            "left": formulas.num_left}  # fmt: skip


def response(row: dict, formulas: Formulas) -> dict:
    thinking, closed, rest = row["response"].partition(TAGS[1])
    if not closed:
        opened = row["response"].lstrip().startswith(TAGS[0])
        thinking, rest = (thinking, "") if opened else ("", thinking)
    completions = row["completions"]
    return {"s": row["status"], "a": safe_text(row["answer"] or ""), "w": safe_text(row["reason"]),
            "t": sum(c["num_tokens"] for c in completions),
            "h": sum(c.get("thinking_tokens", 0) for c in completions), "c": any(map(is_cut_off, completions)),
            "b": formulas.packed(shortened(thinking.strip().removeprefix(TAGS[0]).strip())),
            "x": formulas.packed(shortened(rest.strip()))}  # fmt: skip


def as_formula(reference: str) -> str:
    return f"${reference}$" if "\\" in reference and "$" not in reference else reference


def safe_text(text: str) -> str:
    """Half a surrogate pair, which no file can hold, becomes '?'."""
    return text.encode("utf-8", "replace").decode("utf-8")


RESPONSES = """<section><h2>Responses</h2>
<div class="choices">
<label>verdict <select id="verdict"><option value="">all</option><option value="correct">correct</option>
<option value="incorrect">incorrect</option><option value="unparsed">unparsed</option>
<option value="cut">cut off</option><option value="mixed">some right, some wrong</option></select></label>
<label id="subject-label">subject <select id="subject"><option value="">all</option></select></label>
<label>with the words <input id="words" type="search" autocomplete="off"></label>
<span id="count" class="note" role="status"></span>
</div>
<div id="responses"></div>
<button id="more" type="button">more</button>
</section>"""

STYLE = """
.told p { margin: 0 0 .5rem; max-width: 58rem; }
table.slim td:last-child, table.slim th:last-child { padding-right: 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem 3rem; }
.columns h3 { font-weight: 600; margin-bottom: .5rem; }
.columns ul { margin: 0; padding: 0; list-style: none; }
.columns li { margin: .3rem 0; }
.figures h3 { font-weight: 600; margin-bottom: .5rem; }
.figures path { fill: none; stroke-width: 2; stroke-linejoin: round; }
.figures .band { stroke: none; opacity: .16; }
.figures line { stroke: var(--rule); }
.figures text { fill: var(--muted); font-size: 11px; }
.choices { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center;
  padding: .6rem 0; background: var(--paper); border-bottom: 1px solid var(--rule); }
label { min-width: 0; color: var(--muted); font-size: .875rem; }
select, button, input { font: inherit; color: var(--ink); background: var(--wash); border: 1px solid var(--rule);
  border-radius: .3rem; padding: .15rem .4rem; max-width: min(16rem, 60vw); }
button { cursor: pointer; font-size: .8125rem; }
#more { margin-top: 1.5rem; }
[hidden] { display: none !important; }
.problem { margin-top: 1.75rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
.problem h3 { max-width: 58rem; }
.problem h3, .running { overflow: auto hidden; }
.problem > .note { margin: .3rem 0 0; }
details.response { margin-top: .5rem; padding: .3rem .75rem; border-left: 3px solid var(--loud);
  background: var(--wash); }
details.response.correct { border-color: var(--accent); }
details.response.unparsed { border-color: var(--muted); }
summary { cursor: pointer; }
summary b { font-weight: 600; }
.running { margin: .5rem 0; white-space: pre-wrap; font-size: .9375rem; max-width: 58rem; }
.thought { color: var(--muted); border-left: 1px solid var(--rule); padding-left: .75rem; }
math { font-size: 1.08em; }
math .boxed { border: 1px solid currentColor; padding: .15em .3em; }
math[display="block"] { margin: .4rem 0; text-align: left; }
@media (max-width: 46rem) { .slim tr { grid-template-columns: 2fr 1fr; } .slim td:nth-child(3) { text-align: left; } }
"""
