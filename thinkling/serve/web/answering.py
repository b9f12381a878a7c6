"""Draws the replies that a session wants: asks its models, grows the turns as tokens come, and tells what is known.

Left out: what a click means (actions.py) and the page (page.py).
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.model.tokenizer import StreamDecoder, Tokenizer
from thinkling.problem import Problem
from thinkling.report.explain_words import visible, with_signs
from thinkling.scale.vote import groups
from thinkling.serve.answering import as_refusal
from thinkling.serve.context import Chat
from thinkling.serve.desk import Generation, follow
from thinkling.serve.far import Far, FarReply, TextFact, characters
from thinkling.serve.methods import MethodRun
from thinkling.serve.reply import seed_of
from thinkling.serve.reply_parser import TokenFact
from thinkling.serve.talkers import Begun, Hosted
from thinkling.serve.web.known import Known
from thinkling.serve.web.session import Class, Piece, Session, Told, Wanted
from thinkling.verify.verifier import verifier_of

ALTERNATIVES = 5  # likeliest tokens that are told of each place
BETWEEN = 0.08  # seconds between two looks at a reply that grows


@dataclass(frozen=True)
class Controls:
    """How replies are drawn. effort: of parameters.EFFORTS, the part of a reply that may be thinking; none switches it
    off. vote: samples that are voted among, 0 for one reply. system: a message in front of all others."""

    sampling: Sampling
    effort: str = "xhigh"
    vote: int = 0
    system: str = ""


@dataclass
class Drawing:
    """A reply being drawn. facts: of its tokens, as they come, where the model is here."""

    turn: int
    host: Hosted | Far
    begun: Begun | FarReply
    question: str
    facts: list[TokenFact] = field(default_factory=list)

    @property
    def source(self) -> Generation | MethodRun | FarReply:
        return self.begun if isinstance(self.begun, FarReply) else self.begun.source

    def told(self, before: Told) -> Told:
        """What is known of the reply by now."""
        if isinstance(self.begun, FarReply):
            return replace(before, pieces=tuple(far_pieces(self.begun.facts)), dropped=self.begun.dropped,
                           silent=self.begun.silent)  # fmt: skip
        pieces = tuple(pieces_of(self.host.model.tokenizer, self.facts))
        return replace(before, pieces=pieces, dropped=self.begun.asked.dropped)


async def answer(
    session: Session, wanted: Sequence[Wanted], hosted: Mapping[str, Hosted | Far], controls: Controls, known: Known
) -> AsyncIterator[None]:
    """Draw what is wanted into the session's turns; it yields now and then, for whoever looks."""
    stopped = asyncio.Event()
    epoch = session.epoch
    places = max(1, controls.vote)
    drawings: list[Drawing] = []
    taken = ExitStack()

    def stop() -> None:
        """Takes hold at once, also where nobody looks any more: of a tab that is closed."""
        stopped.set()
        for drawing in drawings:
            drawing.source.cancel()

    session.stop = stop
    try:
        for want in wanted:
            host = hosted[session.tree.turns[want.turn].model]
            taken.enter_context(host.room(places, id(session)))
            drawings.append(await begin(session, want, host, controls))
        async for _ in grow(session, drawings, stopped):
            yield
    except Exception as error:  # told to the user without its paths; what is a bug is logged with its traceback
        told = error if isinstance(error, UserError) else as_refusal(error, 0)
        session.note = str(getattr(told, "message", told)).removeprefix("messages: ")
    finally:
        for drawing in drawings:
            drawing.source.cancel()
        taken.close()
        if session.epoch == epoch:
            await finish(session, wanted, drawings, stopped.is_set(), known)
    yield


async def begin(session: Session, want: Wanted, host: Hosted | Far, controls: Controls) -> Drawing:
    tree = session.tree
    turn = tree.turns[want.turn]
    before = [t.message for t in tree.up_to(turn.parent)]
    system = [{"role": "system", "content": controls.system.strip()}] if controls.system.strip() else []
    others = {t.pair or t.id for t in tree.children(turn.parent)} - {turn.pair or turn.id}
    sampling = replace(controls.sampling, seed=seed_of(controls.sampling.seed, len(before), len(others)))
    effort = "xhigh" if controls.effort == "none" and want.begun_thinking is not None else controls.effort
    chat = Chat((*system, *before), effort != "none", want.begun, want.begun_thinking)
    vote = 0 if want.goes_on else controls.vote
    begun = await host.begin(chat, sampling, vote, id(session), effort=effort, tell=ALTERNATIVES, told=True)
    return Drawing(turn.id, host, begun, before[-1]["content"])


async def grow(session: Session, drawings: Sequence[Drawing], stopped: asyncio.Event) -> AsyncIterator[None]:
    started, looked = time.monotonic(), 0.0
    async with aclosing(until(stopped, follow([drawing.source for drawing in drawings]))) as grown:
        async for some in grown:
            now = time.monotonic()
            for i, delta in some:
                drawing = drawings[i]
                drawing.facts += delta.tokens
                reply = session.tree.turns[drawing.turn].reply
                session.grow(drawing.turn, reply.grown(delta, now - started))
                told_of_vote(session, drawing)
            if now - looked >= BETWEEN:
                looked = now
                yield


async def until(stopped: asyncio.Event, grown: AsyncIterator) -> AsyncIterator:
    """What comes, up to the stop."""
    end = asyncio.ensure_future(stopped.wait())
    try:
        async with aclosing(grown):
            while True:
                step = asyncio.ensure_future(anext(grown, None))
                await asyncio.wait({step, end}, return_when=asyncio.FIRST_COMPLETED)
                if end.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
                    return
                if (some := step.result()) is None:
                    return
                yield some
    finally:
        end.cancel()


async def finish(
    session: Session, wanted: Sequence[Wanted], drawings: Sequence[Drawing], stopped: bool, known: Known
) -> None:
    """The replies as they have become; what was never begun goes. Nothing of it if, while they are judged, a new
    conversation begins."""
    epoch, replies = session.epoch, [session.tree.turns[drawing.turn].reply for drawing in drawings]
    pairs = list(zip(drawings, replies, strict=True))
    verdicts = [await asyncio.to_thread(known.verdict, drawing.question, reply.answer) for drawing, reply in pairs]
    if session.epoch != epoch:
        return
    for (drawing, reply), verdict in zip(pairs, verdicts, strict=True):
        session.grow(drawing.turn, replace(reply, stopped=stopped))
        session.told[drawing.turn] = replace(drawing.told(session.told.get(drawing.turn, Told())), verdict=verdict)
        session.end(drawing.turn)
    for want in wanted:
        if want.turn in session.live:
            session.drop(want.turn)


def told_of_vote(session: Session, drawing: Drawing) -> None:
    if isinstance(drawing.source, MethodRun):
        classes = classes_of(drawing.source.problem, drawing.source.sampled)
        session.told[drawing.turn] = replace(session.told.get(drawing.turn, Told()), classes=classes)


def classes_of(problem: Problem, completions: Sequence[Completion]) -> tuple[Class, ...]:
    """The samples by their answers, the most frequent first; those without an answer last."""
    verifier = verifier_of(problem)
    found = [Class(verifier.extract(group[0].text), len(group)) for group in groups(problem, completions)]
    found.sort(key=lambda one: -one.votes)  # equals stay in the order in which they came up
    silent = len(completions) - sum(one.votes for one in found)
    return (*found, Class("", silent)) if silent else tuple(found)


def margin_of(classes: Sequence[Class]) -> int:
    """How many votes the winner is ahead of the next answer."""
    first, second = (*(one.votes for one in classes if one.answer), 0, 0)[:2]
    return first - second


def pieces_of(tokenizer: Tokenizer, facts: Sequence[TokenFact]) -> list[Piece]:
    """Tokens as text with what else could have stood there; tokens that only together are a character are one."""
    found: list[Piece] = []
    decoder, waiting = StreamDecoder(tokenizer, skip_special=True), None
    for fact in facts:
        first, waiting = waiting or fact, None
        text = decoder.push(fact.id)
        if decoder.waits:
            waiting = first
            continue
        others = tuple((visible(tokenizer, token), math.exp(logprob)) for token, logprob in first.top)
        found.append(Piece(text, first.thinking, math.exp(first.logprob or 0.0), others))
    return found


def far_pieces(facts: Sequence[TextFact]) -> list[Piece]:
    """The same of what a server tells."""
    return [
        Piece(text, fact.thinking, math.exp(fact.logprob),
              tuple((shown(data), math.exp(logprob)) for data, logprob in fact.top))
        for text, fact in characters(facts)
    ]  # fmt: skip


def shown(data: bytes) -> str:
    return with_signs(data.decode(errors="backslashreplace")).replace(" ", "·")
