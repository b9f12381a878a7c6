"""The one way to make a page: one HTML file that needs nothing else, in the reader's light or dark.

The page loads nothing from outside; it runs nothing, or the one script that it is made with. All text from anywhere
goes through `safe`. Leaves out what stands on the pages, and how pictures are drawn (plots.py).
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from io import StringIO
from typing import Any

from thinkling.report.palette import ON_PAGE, variables


def page(title: str, body: Iterable[str], style: str = "", script: str = "", data: object = None) -> str:
    """One HTML file. title is text; body are pieces of HTML; style comes after the style of all pages.

    script: the page's own, the only one that a browser runs there. data: what it reads, as JSON can hold it, from the
    element with the id "data".
    """
    policy, scripts = "", ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        packed = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
        policy = f" script-src 'sha256-{digest}';"
        scripts = f'<script type="application/json" id="data">{packed}</script>\n<script>{script}</script>\n'
    return PAGE.format(
        title=safe(title), policy=policy, style=variables() + STYLE + style, body="\n".join(body), scripts=scripts
    )


def safe(text: str) -> str:
    """Text from anywhere as HTML text or attribute; half a surrogate pair, which no file can hold, becomes '?'."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))


def header(title: str, *told: str) -> str:
    """The page's title, small, and under it what happened: pieces of HTML, the first one large."""
    return f"<header><h1>{safe(title)}</h1>{''.join(f'<p>{line}</p>' for line in told)}</header>"


def section(heading: str, *pieces: str) -> str:
    return f"<section><h2>{heading}</h2>{''.join(pieces)}</section>"


def how_it_was_made(facts: Mapping[str, str]) -> str:
    """The section of facts (machine, versions, seeds, command); nothing if there are none."""
    items = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(fact)}</dd></div>" for name, fact in facts.items())
    return section("How this was made", f"<dl>{items}</dl>") if facts else ""


def svg(axes: Any, name: str, description: str) -> str:
    """The axes' figure, drawn in ON_PAGE's colours, as an inline <svg>: no prolog, ids of its own, the page's colours.

    name: marks its ids, so no other picture of the page may have it.
    """
    from matplotlib import rc_context

    drawn = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        axes.figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    svg = drawn.getvalue()
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :])
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\1{name}-", svg)
    for role, stand_in in ON_PAGE.items():
        svg = svg.replace(stand_in, f"var(--{role})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{safe(description)}" ', 1)


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline';{policy} base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
{scripts}</body>
</html>
"""

STYLE = """* { box-sizing: border-box; }
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
h3 { margin: 0; max-width: 50rem; font-size: 1rem; font-weight: 500; white-space: pre-wrap; }
pre { flex: 1; margin: 0; padding: .9rem 1rem; border-left: 3px solid var(--rule); background: var(--wash);
  font: .875rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; }
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
  body { padding: 0; font-size: 10pt; }
  figure, article, tr { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
