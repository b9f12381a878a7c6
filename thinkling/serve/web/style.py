"""How the web chat looks, in light and in dark, and its one script: clicks go to Python, a token's alternatives appear
where one points.

Colours are the palette's. Fonts are the system's: nothing is loaded from anywhere.
"""

from thinkling.report.palette import DARK, LIGHT

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme_colours() -> dict[str, str]:
    """Gradio's own variables, in the palette's colours."""
    roles = {
        "body_background_fill": "paper", "body_text_color": "ink", "body_text_color_subdued": "muted",
        "background_fill_primary": "paper", "background_fill_secondary": "wash", "border_color_primary": "rule",
        "block_background_fill": "paper", "block_border_color": "rule", "block_label_text_color": "muted",
        "block_title_text_color": "ink", "block_info_text_color": "muted", "input_background_fill": "paper",
        "input_border_color": "rule", "input_border_color_focus": "accent", "input_placeholder_color": "muted",
        "button_primary_background_fill": "accent", "button_primary_background_fill_hover": "accent",
        "button_primary_text_color": "paper", "button_secondary_background_fill": "wash",
        "button_secondary_background_fill_hover": "rule", "button_secondary_text_color": "ink",
        "button_cancel_background_fill": "wash", "button_cancel_text_color": "loud", "slider_color": "accent",
        "link_text_color": "accent", "checkbox_background_color_selected": "accent",
        "checkbox_label_background_fill": "paper", "checkbox_label_background_fill_selected": "wash",
        "checkbox_label_text_color": "ink", "checkbox_label_text_color_selected": "ink",
    }  # fmt: skip
    light = {name: LIGHT[role] for name, role in roles.items()}
    light["input_border_width"] = "1px"
    return light | {f"{name}_dark": DARK[role] for name, role in roles.items()}


def variables() -> str:
    light, dark = (" ".join(f"--{role}: {c};" for role, c in colours.items()) for colours in (LIGHT, DARK))
    return f":root {{ {light} }} .dark {{ {dark} }}\n"


STYLE = """
.gradio-container { width: 100%; max-width: 62rem !important; margin: 0 auto; color: var(--ink); font-size: 1rem; }
html, body, gradio-app { background: var(--paper) !important; }
.gradio-container, .gradio-container main, .gradio-container .wrap, .gradio-container .contain,
.gradio-container .column { overflow: visible !important; }  /* else nothing sticks to the window's edge */
.gradio-container .main { padding: 1rem 1.25rem !important; }
.gradio-container main { padding: 0 !important; }
.gradio-container .html-container { padding: 0 !important; }
.dark input[type=range] { --neutral-200: var(--rule); }
footer { display: none !important; }
#head { align-items: center; flex-wrap: nowrap; }
#head .block { padding: 0; }
#head h1 { margin: 0; font-size: 1.05rem; font-weight: 650; color: var(--ink); overflow-wrap: anywhere; }
#head h1 small { font-weight: 400; font-size: .875rem; color: var(--muted); }
#new { flex: none; min-width: 6.5rem; }
#chat { min-height: calc(100dvh - 14.5rem); padding: 0; color: var(--ink);
  line-height: 1.55; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
#chat article { margin: 0 0 1.1rem; }
#chat .text { white-space: pre-wrap; }
#chat .person { max-width: min(85%, 44rem); width: fit-content; margin-left: auto; }
#chat .person .text { padding: .55rem .9rem; border-radius: .9rem .9rem .2rem .9rem; background: var(--wash);
  border: 1px solid var(--rule); }
#chat .person[data-form] { width: 100%; }
#chat .person .bar { justify-content: flex-end; }
#chat .model > .text { font-size: 1.0625rem; }
#chat header { color: var(--muted); font-size: .875rem; margin-bottom: .3rem; }
#chat .greeting { margin: 14vh auto; max-width: 30rem; text-align: center; color: var(--muted); font-size: 1.1rem;
  text-wrap: balance; }
#chat .thought { margin: 0 0 .6rem; padding-left: .9rem; border-left: 3px solid var(--rule); color: var(--muted);
  font-size: .9375rem; }
#chat .thought .text { padding: .15rem 0 .1rem; max-height: 24rem; overflow-y: auto; }
#chat .thought > button { padding: .1rem 0; font-size: .875rem; color: var(--muted); }
#chat .bar { display: flex; flex-wrap: wrap; align-items: center; gap: .15rem .35rem; margin-top: .3rem;
  font-size: .8125rem; color: var(--muted); }
#chat button { border: 0; border-radius: .4rem; background: none; color: var(--accent); font: inherit; cursor: pointer;
  padding: .3rem .5rem; min-height: 2rem; text-align: left; }
#chat button:hover:enabled { background: var(--wash); }
#chat button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
#chat button:disabled { color: var(--rule); cursor: default; }
#chat .model > .bar > button:first-child, #chat .model > .bar > .steps:first-child { margin-left: -.5rem; }
#chat .steps { display: inline-flex; align-items: center; }
#chat .fact { padding: 0 .4rem; }
#chat .verdict { margin: .5rem 0 0; font-size: .9375rem; color: var(--muted); }
#chat .verdict b { margin-right: .4rem; color: var(--muted); }
#chat .verdict.correct b { color: var(--series-3); }
#chat .verdict.incorrect b, #chat .loud { color: var(--loud); }
#chat .note { padding: .6rem .9rem; border: 1px solid var(--loud); border-radius: .5rem; }
#chat .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
#chat .pair article { padding: .8rem .9rem; border: 1px solid var(--rule); border-radius: .6rem; min-width: 0; }
#chat .vote { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; margin: 0 0 1.2rem; }
#chat .vote p { margin: 0 .5rem 0 0; color: var(--muted); font-size: .9375rem; }
#chat .vote button { border: 1px solid var(--rule); padding: .35rem .75rem; font-size: .9375rem; }
#chat .classes { margin: .6rem 0 0; font-size: .9375rem; }
#chat .classes ul { margin: 0; padding: 0; list-style: none; max-width: 30rem; }
#chat .classes li { display: grid; grid-template-columns: minmax(3.5rem, max-content) 1fr 2rem; gap: .6rem;
  align-items: center; }
#chat .classes i { height: .55rem; border-radius: .3rem;
  background: linear-gradient(var(--accent), var(--accent)) 0 / var(--share) 100% no-repeat, var(--wash); }
#chat .classes p { margin: .2rem 0 0; color: var(--muted); font-size: .8125rem; }
#chat label { display: block; margin-bottom: .5rem; color: var(--muted); font-size: .8125rem; }
#chat textarea { display: block; width: 100%; margin-top: .2rem; padding: .6rem .7rem; border: 1px solid var(--rule);
  border-radius: .5rem; background: var(--paper); color: var(--ink); font: inherit; font-size: .9375rem;
  line-height: 1.5; resize: vertical; }
#chat textarea:focus { outline: 2px solid var(--accent); }
#chat math { font-size: 1.08em; }
#chat .boxed { padding: .12em .35em; border: 1px solid currentColor; border-radius: .2em; }
#chat .t { border-radius: .2rem; }
#chat .t:hover { background: color-mix(in srgb, var(--accent) 22%, transparent); }
#chat .raw .text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .875rem; }
#chat .raw .t { box-shadow: inset 0 0 0 1px var(--rule);
  background: color-mix(in srgb, var(--loud) calc(var(--heat) * .6), transparent); }
#chat .waits { display: inline-block; width: .55em; height: 1em; vertical-align: -.12em; background: var(--muted);
  animation: waits 1s steps(2) infinite; }
@keyframes waits { 50% { opacity: 0; } }
@media (prefers-reduced-motion: reduce) { #chat .waits { animation: none; } }
#tip { position: fixed; z-index: 50; display: none; padding: .45rem .6rem; border: 1px solid var(--rule);
  border-radius: .4rem; background: var(--paper); color: var(--ink); box-shadow: 0 4px 16px rgb(0 0 0 / .18);
  font: .8125rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre;
  pointer-events: none; }
#write { position: sticky; bottom: 0; z-index: 5; align-items: flex-end; flex-wrap: nowrap; gap: .5rem;
  padding: .6rem 0; background: var(--paper); }
#write > .form, #write > .block { min-width: 0 !important; }
#send, #stop { flex: none; min-width: 5rem; height: 2.65rem; font-size: 1rem; }
@media (max-width: 46rem) {
  .gradio-container .main { padding: .6rem .75rem !important; }
  #chat .person { max-width: 94%; }
  #chat .pair { grid-template-columns: 1fr; }
}
"""

# element, trigger: what Gradio gives to a component's script. All text is set as text.
SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (!button) return;
  const fields = {what: button.dataset.what || ''};
  const form = button.closest('[data-form]');
  if (form) for (const area of form.querySelectorAll('textarea')) fields[area.dataset.field] = area.value;
  trigger('click', {act: button.dataset.act, turn: Number(button.dataset.turn), fields: fields});
});
let tip = document.getElementById('tip');
if (!tip) {
  tip = document.createElement('div');
  tip.id = 'tip';
  tip.setAttribute('role', 'tooltip');
  document.body.appendChild(tip);
}
element.addEventListener('pointerover', event => {
  const token = event.target.closest('.t');
  tip.style.display = token ? 'block' : 'none';
  if (!token) return;
  tip.textContent = token.dataset.tip;
  const at = token.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const below = at.bottom + 6 + size.height < innerHeight;
  tip.style.left = Math.max(6, Math.min(at.left, innerWidth - size.width - 6)) + 'px';
  tip.style.top = (below ? at.bottom + 6 : at.top - size.height - 6) + 'px';
});
element.addEventListener('pointerleave', () => { tip.style.display = 'none'; });
addEventListener('scroll', () => { tip.style.display = 'none'; }, true);
"""
