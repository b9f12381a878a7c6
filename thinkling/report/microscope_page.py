"""The page of `thinkling microscope`: HTML and style around the packed data of a run.

The script (microscope_script.py) puts text in as text only; it is the only one that the page may run.
"""

from thinkling.report.microscope_script import SCRIPT
from thinkling.report.page import page as document


def page(data: dict) -> str:
    """One HTML file. data: what commands/microscope.pack found."""
    return document(f"{data['folder']} under the microscope", [BODY], OWN_STYLE, SCRIPT, data)


BODY = """<header><h1>thinkling microscope</h1><p id="line"></p></header>
<section><h2>The run</h2><div id="curves" class="curves"></div>
<p class="note">A ring marks a step that can be opened: click it, or use the arrow keys.</p></section>
<section id="same"><h2>The same problems as training went on</h2><div id="examples"></div></section>
<section>
<h2 id="heading"></h2>
<div class="bar-of-choices">
<label>step <select id="step"></select></label>
<label>colour <select id="mode">
<option value="advantage">advantage</option><option value="entropy">entropy</option>
<option value="ratio">ratio, new policy / old</option><option value="clip">clipped by the objective</option>
</select></label>
<label>groups <select id="filter">
<option value="all">all</option><option value="signal">with a signal</option>
<option value="right">all right</option><option value="wrong">all wrong</option>
</select></label>
</div>
<p id="legend" class="note"></p>
<div id="groups"></div>
</section>"""

OWN_STYLE = """
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 2rem 2.5rem; }
.curves figure { display: flex; flex-direction: column; }
.curves svg { margin-top: auto; }
.curves h3 { font-weight: 600; }
.curves .note { margin: .1rem 0 .5rem; min-height: 1.4em; }
.curves .note span { display: inline-block; margin-right: 1.1rem; }
.curves .line { display: inline-block; width: 1.4rem; height: 0; margin-right: .4rem; vertical-align: middle;
  border-top: 2px solid var(--accent); }
.curves .line.second { border-top: 2px dashed var(--loud); }
.curves path { fill: none; stroke: var(--accent); stroke-width: 1.75; stroke-linejoin: round; }
.curves path.second { stroke: var(--loud); stroke-dasharray: 5 3; }
.curves line { stroke: var(--rule); }
.curves text { fill: var(--muted); font-size: 11px; }
.curves circle { fill: var(--paper); stroke: var(--accent); stroke-width: 1.5; cursor: pointer; }
.curves circle.now { fill: var(--accent); }
.bar-of-choices { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .5rem 1.5rem;
  padding: .6rem 0; background: var(--paper); border-bottom: 1px solid var(--rule); }
label { color: var(--muted); font-size: .875rem; }
select, button { font: inherit; color: var(--ink); background: var(--wash); border: 1px solid var(--rule);
  border-radius: .3rem; padding: .15rem .4rem; }
button { cursor: pointer; font-size: .8125rem; margin-right: .4rem; }
.group { margin-top: 2rem; }
.group h3 { margin: 0 0 .3rem; font-size: 1rem; font-weight: 500; max-width: 58rem; white-space: pre-wrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: .8rem;
  margin-top: .8rem; }
.card { border: 1px solid var(--rule); border-radius: .4rem; padding: .6rem .75rem; }
.card.right { border-left: 3px solid var(--accent); }
.card.wrong { border-left: 3px solid var(--loud); }
.card p { margin: 0; font-size: .8125rem; color: var(--muted); }
.card p b { color: var(--ink); }
.running { margin: .4rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .8125rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.running span { border-radius: .15rem; }
.up { background: color-mix(in srgb, var(--accent) calc(var(--heat) * 1%), transparent); }
.down { background: color-mix(in srgb, var(--loud) calc(var(--heat) * 1%), transparent); }
.given { color: var(--muted); font-style: italic; }
.cut { text-decoration: line-through 2px var(--loud); }
.swatch { padding: 0 .4rem; margin-right: .5rem; border-radius: .15rem; color: var(--ink); }
details { margin-top: .6rem; } summary { cursor: pointer; }
"""
