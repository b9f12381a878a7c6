"""The web chat's page in Gradio: boxes, buttons and sliders, each handed on to the session and back.

The only file that knows Gradio, which is an extra. Left out: everything that can be said without it.
"""

import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from thinkling.errors import UserError, install
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.report.page import safe
from thinkling.serve.arena import cast
from thinkling.serve.chat import greeting
from thinkling.serve.far import Far
from thinkling.serve.parameters import EFFORTS
from thinkling.serve.served import public_name
from thinkling.serve.talkers import Hosted, There
from thinkling.serve.web import style
from thinkling.serve.web.actions import Fields, act, decide, problem_id
from thinkling.serve.web.answering import Controls, answer
from thinkling.serve.web.known import Known
from thinkling.serve.web.session import Session
from thinkling.serve.web.shelf import Shelf, browser_of
from thinkling.serve.web.transcript import transcript
from thinkling.serve.web.tree import loaded

QUEUE = 64  # replies that may wait for a place in the batch
UNTOLD = 8192  # the context where a server does not tell its own
BOTH = "both, blind"
EVENT = {"show_progress": "hidden", "trigger_mode": "multiple", "concurrency_limit": None, "api_visibility": "private"}
MISSING = f"the web chat needs the package gradio, which is not installed: {install('chat')}"


@dataclass(frozen=True)
class House:
    """What all users share. models: one, or two to compare, here or on a server. votes: the file of votes. effort: for
    a start."""

    models: tuple[LanguageModel | There, ...]
    sampling: Sampling
    effort: str
    votes: Path
    known: Known
    shelf: Shelf = field(default_factory=Shelf)

    @cached_property
    def hosted(self) -> dict[str, Hosted | Far]:
        """The models by name. Made in the event loop that serves the page."""
        made = [Far(model) if isinstance(model, There) else Hosted(model, QUEUE) for model in self.models]
        return dict(zip(self.names, made, strict=True))

    @property
    def context(self) -> int:
        """Tokens that a conversation may have with each of the models."""
        all_of = [m.context if isinstance(m, There) else m.engine.max_length for m in self.models]
        return min((context for context in all_of if context), default=UNTOLD)

    @property
    def names(self) -> tuple[str, ...]:
        """Without the folders that they lie in, where that tells them apart."""
        short = tuple(public_name(model.name) for model in self.models)
        return short if len(set(short)) == len(short) else tuple(model.name for model in self.models)


def gradio() -> Any:
    """The package, told to be silent: it would else ask for its newest version, and count uses."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise UserError(MISSING) from None
    return gradio


def vote(house: House, session: Session, number: int, winner: str) -> None:
    """A vote on a pair of replies, written at once; names that are looked at without one are no vote."""
    before = session.tree
    pair = decide(session, number, winner)
    if winner == "shown":
        return
    try:
        a, b = (session.tree.turns[id].reply.answer for id in pair.turns)
        match = replace(pair.match, problem=problem_id(session, pair, house.known.find))
        cast(house.votes, match, pair.winner, a, b)
    except UserError:  # it is in no file, so it can be given again
        session.tree, pair.winner = before, ""
        raise


async def run(
    house: House, session: Session, action: str, turn: int, fields: Fields, controls: Controls | None
) -> AsyncIterator[None]:
    """What a click does. It yields each time that there is something new to be seen."""
    try:
        session.note = ""
        if action == "vote":
            vote(house, session, turn, fields.what)
            wanted = []
        else:
            wanted = act(session, action, turn, fields)
    except UserError as error:
        session.note, wanted = str(error), []
    yield
    if wanted:
        try:
            async with aclosing(answer(session, wanted, house.hosted, controls, house.known)) as grown:
                async for _ in grown:
                    yield
        finally:  # of a tab that was closed, too: what was said until then is there when the page is opened again
            house.shelf.put(session.browser, session.kept())


def controls_of(values: Mapping[str, Any]) -> Controls:
    """What the sliders say. Raises UserError where it makes no sense."""
    try:
        number = int(values["vote"])
        floats = {name: float(values[name]) for name in ("temperature", "top_p", "min_p")}
        whole = {name: int(values[name]) for name in ("top_k", "max_tokens", "seed")}
    except (TypeError, ValueError):
        raise UserError("each of the settings needs a number") from None
    if number == 1:
        raise UserError("a vote needs at least 2 samples; 0 switches it off")
    if values["effort"] not in EFFORTS:
        raise UserError(f"the thinking budget (effort) must be one of {', '.join(EFFORTS)}")
    return Controls(Sampling(**floats, **whole), values["effort"], number, values["system"] or "")


def blocks(house: House) -> Any:
    """The page."""
    gr = gradio()
    with gr.Blocks(title=f"{house.names[0]} · thinkling", analytics_enabled=False) as page:
        session = gr.State(Session(house.names))
        stored = gr.BrowserState(None, storage_key="thinkling-chat", secret="thinkling")
        with gr.Row(elem_id="head"):
            gr.HTML(
                f"<h1>{' and '.join(map(safe, house.names))} <small>thinkling</small></h1>", apply_default_css=False
            )
            new = gr.Button("New chat", size="sm", elem_id="new")
        shown = gr.HTML("", js_on_load=style.SCRIPT, elem_id="chat", apply_default_css=False, autoscroll=True)
        with gr.Row(elem_id="write"):
            text = gr.Textbox(placeholder="Ask something", show_label=False, lines=1, max_lines=8, scale=1,
                              elem_id="message", container=False, autofocus=True)  # fmt: skip
            send = gr.Button("Send", variant="primary", elem_id="send")
            stop = gr.Button("Stop", variant="stop", elem_id="stop", visible=False)
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            inputs = settings(gr, house)
            problem = gr.Button("Take a problem whose answer is known", size="sm", elem_id="problem")
        wire(gr, page, house, session, stored, shown, text, (send, stop, new, problem), inputs)
    page.queue(default_concurrency_limit=None, max_size=1000)
    return page


def settings(gr: Any, house: House) -> dict[str, Any]:
    """The controls by name, with their values for a start."""
    sampling, context = house.sampling, house.context
    made: dict[str, Any] = {}
    choices = [*house.names, *([BOTH] if len(house.names) > 1 else [])]
    made["who"] = gr.Radio(choices, value=choices[-1], label="Who answers", visible=len(choices) > 1)
    with gr.Row():
        made["effort"] = gr.Dropdown(list(EFFORTS), value=house.effort, label="Thinking budget",
                                     info="a part of the reply; xhigh is all of it")  # fmt: skip
        made["vote"] = gr.Slider(0, 32, 0, step=1, label="Vote among samples", info="0 is one reply")
        made["max_tokens"] = gr.Slider(16, context - 1, sampling.max_tokens, step=1, label="Tokens of a reply",
                                       info="at most, thinking included")  # fmt: skip
    with gr.Row():
        made["temperature"] = gr.Slider(0, 2, sampling.temperature, step=0.05, label="Temperature",
                                        info="0 takes the likeliest")  # fmt: skip
        made["top_p"] = gr.Slider(0.05, 1, sampling.top_p, step=0.01, label="Top-p", info="1 keeps all")
        made["top_k"] = gr.Slider(0, 200, sampling.top_k, step=1, label="Top-k", info="0 keeps all")
        made["min_p"] = gr.Slider(0, 1, sampling.min_p, step=0.01, label="Min-p", info="0 keeps all")
    with gr.Row():
        made["system"] = gr.Textbox(label="System message", lines=1, max_lines=6, scale=3)
        made["seed"] = gr.Number(sampling.seed, precision=0, label="Seed", scale=1)
    return made


def opened(house: House, session: Session, saved: Any) -> None:
    """A tab is opened, with what its browser has kept."""
    session.seed, session.browser = secrets.randbits(48), browser_of(saved)
    try:
        session.tree = loaded(saved) if saved else session.tree
    except UserError as error:
        session.note = str(error)
    session.tree = house.shelf.put(session.browser, session.tree)


def kept(house: House, session: Session) -> dict:
    """What the browser is to keep."""
    return {"browser": session.browser} | house.shelf.put(session.browser, session.kept()).saved()


def cleared(house: House, session: Session) -> None:
    """A new conversation, in this tab."""
    house.shelf.take_away(session.browser, session.kept())
    act(session, "clear")


def seen_of(gr: Any, house: House, told: str, here: Session) -> list:
    """What the outputs become: the conversation, what the browser keeps of it, and which button is there."""
    live = bool(here.live)
    keep = gr.skip() if live else kept(house, here)
    return [transcript(here, told), keep, gr.update(visible=not live), gr.update(visible=live)]


def wire(
    gr: Any, page: Any, house: House, session: Any, stored: Any, shown: Any, text: Any, buttons: tuple, inputs: dict
) -> None:
    """Who calls whom. All are coroutines: Gradio runs a plain function in a thread of its own, and a session, and what
    draws its replies, belong to the event loop's."""
    send, stop, new, problem = buttons
    outputs = [shown, stored, send, stop]
    look = partial(seen_of, gr, house, greeting(house.names[0]))
    tabs: dict[str, Session] = {}  # that are open

    async def clicked(here: Session, action: str, turn: int, fields: Fields, values: tuple) -> AsyncIterator[list]:
        given = dict(zip(inputs, values, strict=True))
        who = given.pop("who")
        here.who = house.names if who == BOTH else (who,)
        try:
            controls = controls_of(given)
        except UserError as error:
            here.note = str(error)
            yield look(here)
            return
        async with aclosing(run(house, here, action, turn, fields, controls)) as changes:
            async for _ in changes:
                yield look(here)

    async def on_page(event: gr.EventData, here: Session, *values: Any) -> AsyncIterator[list]:
        data = event._data
        async for seen in clicked(here, str(data["act"]), int(data["turn"]), Fields.of(data["fields"]), values):
            yield seen

    async def on_send(here: Session, said: str, *values: Any) -> AsyncIterator[list]:
        async for seen in clicked(here, "send", 0, Fields.of({"text": said}), values):
            yield [*seen, said if here.note and not here.live else ""]

    async def on_stop(here: Session) -> None:
        act(here, "stop")

    async def on_new(here: Session) -> list:
        cleared(house, here)
        return look(here)

    async def on_load(here: Session, saved: Any, request: gr.Request) -> list:
        opened(house, here, saved)
        tabs[request.session_hash] = here
        return look(here)

    async def on_close(request: gr.Request) -> None:
        if (here := tabs.pop(request.session_hash, None)) is not None:
            here.stop()

    async def on_problem() -> str:
        return secrets.choice(house.known.problems).question

    values = list(inputs.values())
    shown.click(on_page, [session, *values], outputs, **EVENT)
    gr.on([text.submit, send.click], on_send, [session, text, *values], [*outputs, text], **EVENT)
    stop.click(on_stop, [session], None, **EVENT)
    new.click(on_new, [session], outputs, **EVENT)
    problem.click(on_problem, None, [text], **EVENT)
    page.load(on_load, [session, stored], outputs, **EVENT)
    page.unload(on_close)


def theme(gr: Any) -> Any:
    made = gr.themes.Base(font=list(style.FONTS), font_mono=list(style.MONO))
    return made.set(**style.theme_colours())


def application(house: House) -> Any:
    """The page as an ASGI application."""
    gr = gradio()
    from fastapi import FastAPI

    return gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), blocks(house), "", theme=theme(gr),
        css=style.variables() + style.STYLE, footer_links=[], run_history=False, show_error=False, ssr_mode=False,
        enable_monitoring=False, pwa=False, mcp_server=False, max_file_size=1,
    )  # fmt: skip
