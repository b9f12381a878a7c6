"""An explanation as one HTML page that needs nothing else.

The page loads nothing and runs nothing, and all text in it is escaped. Leaves out how tokens and numbers are put as
text (explain_words.py), the PNG (explain_picture.py) and the terminal (commands/explain.py).
"""

import math
from collections.abc import Callable, Iterable

from thinkling.generate.explain import DrawnToken, Explanation
from thinkling.model.tokenizer import Tokenizer
from thinkling.report.explain_words import COIN, MAKER, headline, label, percent, stage_cells, visible, with_signs
from thinkling.report.page import header, how_it_was_made, safe, section
from thinkling.report.page import page as document


def page(explanation: Explanation, tokenizer: Tokenizer, facts: dict[str, str]) -> str:
    def name(token: int) -> str:
        return visible(tokenizer, token)

    prompt = "\n".join(map(with_signs, tokenizer.decode(explanation.completion.prompt_tokens).split("\n")))
    running = "".join(_html_token(step, name(step.token)) for step in explanation.steps)
    body = [
        header(MAKER, *map(safe, headline(explanation, name))),
        section(
            "The text",
            f'<pre class="running"><span class="prompt">{safe(prompt)}</span>{running}</pre>',
            "<p class=note>Behind the prompt, each token of the completion: the more open the place, the stronger its "
            "colour; underlined where a likelier token was there.</p>",
        ),
        section("The next token", _html_stages(explanation, name)),
        section("Token by token", _html_steps(explanation, name)),
        how_it_was_made(facts),
    ]
    return document(MAKER, body, OWN_STYLE)


def _html_token(step: DrawnToken, name: str) -> str:
    heat = f"{min(1.0, step.entropy / (2 * COIN)):.0%}"
    told = f"{percent(step.probability)}, rank {step.rank}, entropy {step.entropy:.2f} nats"
    unlikely = ' class="unlikely"' if step.rank > 1 else ""
    return f'<span{unlikely} style="--heat:{heat}" title="{safe(told)}">{safe(name)}</span>' + "\n" * name.count("⏎")


def _html_stages(explanation: Explanation, name: Callable[[int], str]) -> str:
    stages = explanation.stages
    drawn = explanation.steps[0].token

    def cells(logprobs: Iterable[float]) -> str:
        bars = [f"{min(1.0, math.exp(logprob)):.2%}" for logprob in logprobs]
        pairs = zip(stage_cells(logprobs), bars, strict=True)
        return "".join(
            f'<td class="cut">{cell}</td>' if cell in ("cut", "") else f'<td>{cell}<i style="--share:{bar}"></i></td>'
            for cell, bar in pairs
        )

    rows = [
        f"<tr{' class=drawn' if candidate.token == drawn else ''}><th scope=row><small>{candidate.rank:,}</small>"
        f"<code>{safe(name(candidate.token))}</code></th><td>{candidate.logit:.2f}</td>{cells(candidate.logprobs)}</tr>"
        for candidate in explanation.candidates
    ]
    feet = (
        ("all others together", cells(explanation.others)),
        ("entropy, nats", "".join(f"<td>{stage.entropy:.2f}</td>" for stage in stages)),
        ("tokens left", "".join(f"<td>{stage.num_left:,}</td>" for stage in stages)),
    )
    foot = "".join(f"<tr><th scope=row>{told}</th><td></td>{numbers}</tr>" for told, numbers in feet)
    heads = "".join(f"<th scope=col>{safe(label(stage))}</th>" for stage in stages)
    return (
        f'<table class="stages" style="--columns:{len(stages) + 1}"><thead><tr><th scope=col>rank, token</th>'
        f"<th scope=col>logit</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody><tfoot>{foot}</tfoot></table>"
        "<p class=note>Each column also applies what stands left of it. Settings that are off are left out. "
        "In colour: the token that was drawn. A full bar is 100%, here and below.</p>"
    )


def _html_steps(explanation: Explanation, name: Callable[[int], str]) -> str:
    most = max(2 * COIN, *(step.entropy for step in explanation.steps))
    rows = []
    for number, step in enumerate(explanation.steps, start=1):
        others = "".join(f"<span><code>{safe(name(o))}</code> {percent(p)}</span>" for o, p in step.alternatives)
        rank = f"<b class=loud>{step.rank:,}</b>" if step.rank > 1 else "1"
        rows.append(
            f"<tr><th scope=row><small>{number}</small><code>{safe(name(step.token))}</code></th>"
            f'<td>{percent(step.probability)}<i style="--share:{step.probability:.2%}"></i></td><td>{rank}</td>'
            f"<td{' class=open' if step.entropy > COIN else ''}>{step.entropy:.2f}"
            f'<i style="--share:{step.entropy / most:.2%}"></i></td><td class="others">{others}</td></tr>'
        )
    heads = "".join(f"<th scope=col>{head}</th>" for head in ("probability", "rank", "entropy, nats", "instead"))
    return (
        f'<table class="steps"><thead><tr><th scope=col>token</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table><p class=note>Probabilities are those that the token was drawn with. "
        f"In red: a rank above 1, and places more open than the toss of a coin ({COIN:.2f} nats).</p>"
    )


OWN_STYLE = """
header p + p { margin-top: .5rem; font-size: 1.05rem; color: var(--muted); }
code { padding: .1rem .3rem; border-radius: .25rem; background: var(--wash); white-space: pre-wrap;
  font: .875rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.running .prompt { color: var(--muted); }
.running span:not(.prompt) { border-radius: .2rem; box-shadow: inset 0 0 0 1px var(--rule);
  background: color-mix(in srgb, var(--loud) calc(var(--heat) * .45), transparent); }
.running .unlikely { text-decoration: underline 2px var(--loud); text-underline-offset: .2em; }
.stages { table-layout: fixed; }
.stages thead th:first-child { width: 24%; }
table small { display: inline-block; min-width: 2.2em; margin-right: .6rem; text-align: right; }
tbody td, tbody th { padding-top: .35rem; padding-bottom: .35rem; vertical-align: top; }
td i { display: block; height: .35rem; margin-top: .15rem; border-radius: .1rem; background:
  linear-gradient(var(--accent), var(--accent)) 0 / var(--share) 100% no-repeat, var(--wash); }
.open { color: var(--loud); font-weight: 700; }
.open i { background: linear-gradient(var(--loud), var(--loud)) 0 / var(--share) 100% no-repeat, var(--wash); }
.cut { color: var(--muted); font-style: italic; }
.drawn code { background: var(--accent); color: var(--paper); }
tfoot th, tfoot td { color: var(--muted); font-weight: 500; padding-top: .35rem; padding-bottom: .35rem; }
.steps .others { text-align: left; white-space: normal; color: var(--muted); }
.steps thead th:last-child { text-align: left; }
.others span { display: inline-block; margin-right: 1.1rem; white-space: nowrap; }
@media (max-width: 46rem) {
  tfoot { display: block; }
  .stages tr, .steps tr { gap: .1rem .6rem; padding: .4rem 0; }
  .stages tr { grid-template-columns: repeat(var(--columns), 1fr); }
  .stages td, .steps td, .stages th, .steps th { padding: 0; font-size: .8125rem; }
  .stages thead th { font-size: .6875rem; }
  .steps tr { grid-template-columns: 1.6fr 1fr .5fr 1fr; }
  .steps thead th:first-child { display: block; }
  .steps th:first-child { grid-column: auto; }
  .steps .others, .steps thead th:last-child { grid-column: 1 / -1; }
  table thead th:nth-child(3), table td:nth-child(3) { text-align: right; }
}
"""
