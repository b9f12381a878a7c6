"""Where the server's event loop and the engine's thread meet: requests go in, tokens come out as they are drawn.

The engine's thread parses each token and wakes the loop at most once for all that came meanwhile, so that a loop with
much to do falls behind in pieces and not in steps. Here is also how much the server takes on at once. Left out: what
was asked (asks.py), and how an answer is written (shapes.py, responses.py).
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from thinkling.generate.completion import Completion
from thinkling.generate.jobs import Job, Outcome
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import tell_given
from thinkling.serve.metrics import Metrics
from thinkling.serve.refusals import ApiError
from thinkling.serve.reply_parser import Delta, ReplyParser, TokenFact, joined

LONGEST_WAIT = 60  # seconds that a client is told to wait at most


@dataclass(frozen=True)
class Plan:
    """One choice to be drawn. stops, split, opened, merged, continued: see ReplyParser. tell: likeliest
    tokens to be told of each place, None for no log-probabilities. told: are the tokens themselves to be told?
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    stops: tuple[str, ...] = ()
    split: bool = False
    opened: bool = False
    merged: bool = False
    continued: bool = False
    tell: int | None = None
    told: bool = False


class Source(Protocol):
    """What grows: a choice under way. wake: called when there is something to take, in the loop's thread."""

    wake: Callable[[], None]

    def take(self) -> Delta | None:
        """What has come since the last call, None for nothing. Raises what went wrong."""

    def cancel(self) -> None: ...


class Desk:
    """The one way to the engine. places: choices that may run or wait at once; spare: so many more, for clients that
    have none yet. Belongs to one event loop.

    client: who asks. Where the batch is full, clients take turns (scheduler.Queue).
    """

    def __init__(self, model: LanguageModel, queue: int, metrics: Metrics) -> None:
        self.model, self.metrics = model, metrics
        self.places, self.spare = model.engine.max_rows + queue, max(1, queue // 8)
        self.taken_by: Counter[Hashable] = Counter()  # of each client that has any
        self.pace = 1.0  # seconds that one request takes, lately
        self.loop = asyncio.get_running_loop()
        self.ready: deque[Generation] = deque()
        self.woken = False
        self.tokenizing = ThreadPoolExecutor(1, "tokenizing")  # one thread: a template's child serves one at a time

    @property
    def taken(self) -> int:
        return self.taken_by.total()

    def take(self, num: int, client: Hashable = None) -> None:
        """Places for so many choices. Raises ApiError 429 if there are not so many."""
        if num > self.places:
            raise ApiError(400, f"n: {num} choices are more than this server ever draws at once: {self.places}", "n")
        spare = 0 if client in self.taken_by else self.spare
        if self.taken + num > self.places + spare:
            wait = min(LONGEST_WAIT, math.ceil(self.pace))
            raise ApiError(429, f"the queue is full ({self.taken} choices are under way): try again in {wait} s",
                           code="queue_full", headers={"Retry-After": str(wait)})  # fmt: skip
        self.taken_by[client] += num

    def give_back(self, num: int, seconds: float, client: Hashable = None) -> None:
        self.taken_by[client] -= num
        self.taken_by = +self.taken_by  # without those that have none
        self.pace += (seconds - self.pace) / 8

    async def tokenized(self, make: Callable[..., object], *given: object) -> object:
        """Text into tokens, without holding up the loop."""
        return await self.loop.run_in_executor(self.tokenizing, make, *given)

    async def complete(
        self, prompt: Sequence[int], sampling: Sampling, watch: Callable | None = None, client: Hashable = None
    ) -> Completion:
        """One completion, whole, without its text; given up if the caller is cancelled."""
        return await self._outcome(self.model.engine.request(prompt, sampling, watch, client=client))

    async def score(self, tokens: Sequence[int], num: int) -> tuple[TokenFact, ...]:
        """Given tokens, each with its log-probability and the `num` likeliest in its place."""
        hidden = await self._outcome(self.model.engine.reading(tokens))
        told = await self.loop.run_in_executor(self.tokenizing, tell_given, self.model.network, hidden, tokens, num)
        rest = (TokenFact(token, own, tuple(top)) for token, (own, top) in zip(tokens[1:], told, strict=True))
        return (TokenFact(tokens[0], None), *rest)

    async def _outcome(self, job: Job) -> Outcome:
        """Asked without the patience that the engine has with a loop that asks in rounds (engine_thread.py): other
        clients wait."""
        future: asyncio.Future[Outcome] = self.loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        def deliver(outcomes: list[tuple[int, Outcome]]) -> None:
            self._call(settle, outcomes[0][1])

        self.model.engine_thread.ask([job], deliver)
        try:
            outcome = await future
        except asyncio.CancelledError:
            self.model.engine_thread.cancel([job.id])
            raise
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    # --- in the engine's thread ---

    def announce(self, generation: "Generation") -> None:
        self.ready.append(generation)
        if not self.woken:
            self.woken = True
            self._call(self._wake)

    def _call(self, work: Callable[..., object], *given: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self.loop.call_soon_threadsafe(work, *given)

    # --- in the loop ---

    def _wake(self) -> None:
        self.woken = False  # before the queue is emptied: what comes meanwhile wakes anew
        while self.ready:
            self.ready.popleft().wake()


class Generation:
    """A plan being carried out. It begins at once."""

    def __init__(self, desk: Desk, plan: Plan, client: Hashable = None) -> None:
        self.desk, self.plan, self.wake = desk, plan, lambda: None
        tokenizer = desk.model.tokenizer
        self.parser = ReplyParser(tokenizer, plan.split, plan.opened, plan.merged, plan.stops, plan.continued)
        self.arrived: deque[Delta | BaseException] = deque()
        self.ended = False
        self.request = desk.model.engine.request(plan.prompt, plan.sampling, self._on_token, plan.tell, client)
        desk.model.engine_thread.ask([self.request], self._deliver)

    def take(self) -> Delta | None:
        return taken(self.arrived)

    def cancel(self) -> None:
        if not self.ended:
            self.desk.model.engine_thread.cancel([self.request.id])

    # --- in the engine's thread ---

    def _on_token(self, token: int) -> bool:
        thought = self.parser.thinking
        thinking, answer = self.parser.push(token)
        facts = (self._fact(token, thought or self.parser.thinking),) if self.plan.told else ()
        if thinking or answer or facts:
            self._put(Delta(thinking, answer, facts, None, self.parser.num_tokens, self.parser.num_thinking))
        return self.parser.stopped

    def _fact(self, token: int, thinking: bool) -> TokenFact:
        if self.plan.tell is None:
            return TokenFact(token, None, (), thinking)
        told = self.request.told[-1]
        return TokenFact(token, told.logprob, told.top, thinking)

    def _deliver(self, outcomes: list[tuple[int, Outcome]]) -> None:
        ((_, outcome),) = outcomes
        self.ended = True
        if isinstance(outcome, BaseException):
            self._put(outcome)
            return
        thinking, answer = self.parser.finish()
        reason = "stop" if outcome.finish_reason == "stop" else "length"
        self._put(Delta(thinking, answer, (), reason, self.parser.num_tokens, self.parser.num_thinking))

    def _put(self, item: Delta | BaseException) -> None:
        self.arrived.append(item)
        self.desk.announce(self)


class Nothing:
    """The source of a request that only wants its prompt scored."""

    wake: Callable[[], None]

    def take(self) -> Delta:
        return Delta(finish="length")

    def cancel(self) -> None:
        """There is nothing to give up."""


def taken(arrived: deque[Delta | BaseException]) -> Delta | None:
    """All that has arrived, joined; None for nothing. Raises an error that has, once what came before it is taken."""
    deltas: list[Delta] = []
    while arrived and not isinstance(arrived[0], BaseException):
        deltas.append(arrived.popleft())
    if arrived and not deltas:
        raise arrived.popleft()
    return joined(deltas) if deltas else None


async def follow(sources: Sequence[Source]) -> AsyncIterator[list[tuple[int, Delta]]]:
    """What all the sources have grown by, again and again, until each has ended. Closed early, it cancels the rest."""
    event, left = asyncio.Event(), dict(enumerate(sources))
    for source in sources:
        source.wake = event.set
    event.set()  # something may have come already
    try:
        while left:
            await event.wait()
            event.clear()
            grown = [(i, delta) for i, source in left.items() if (delta := source.take()) is not None]
            for i, delta in grown:
                if delta.finish is not None:
                    del left[i]
            if grown:
                yield grown
                event.set()  # an error may stand behind what was taken
    finally:
        for source in left.values():
            source.cancel()
