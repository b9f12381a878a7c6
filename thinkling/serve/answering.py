"""An answer on its way to a client: work goes on while the client listens, and is given up when it is gone.

Errors before the first byte are a status and JSON; later ones are the stream's last event. Left out: what is answered.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from thinkling.errors import UserError
from thinkling.serve.desk import Desk, Source, follow
from thinkling.serve.refusals import ApiError
from thinkling.serve.reply_parser import Delta, joined
from thinkling.serve.security import refusal
from thinkling.serve.shapes import event

LOG = logging.getLogger("thinkling.serve")
JSON, EVENTS = "application/json", "text/event-stream; charset=utf-8"


class Last(bytes):
    """The piece that ends a stream. Who reads it may ask again at once, and then his place must be free."""


class Answering(Response):
    """parts: the body, piece by piece, if it streams; else one piece. places: of the desk, taken by the client, given
    back before the last piece is sent, or when the client is gone. seconds: that the whole may take."""

    def __init__(
        self, desk: Desk, client: str, places: int, seconds: float, parts: Callable[[], AsyncIterator[bytes]],
        streams: bool, headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(None, 200, headers, EVENTS if streams else JSON)
        del self.headers["content-length"]
        self.desk, self.client, self.places, self.seconds = desk, client, places, seconds
        self.parts, self.streams, self.started, self.is_over = parts, streams, 0.0, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started = time.monotonic()
        work = asyncio.ensure_future(self._work(scope, receive, send))
        gone = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.desk.metrics.count("cancelled")
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            self._give_back()

    def _give_back(self) -> None:
        if not self.is_over:
            self.is_over, seconds = True, time.monotonic() - self.started
            self.desk.give_back(self.places, seconds, self.client)
            self.desk.metrics.observe("request_seconds", seconds)

    async def _work(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with asyncio.timeout(self.seconds), aclosing(self.parts()) as parts:
                async for part in parts:
                    if isinstance(part, Last) or not self.streams:
                        self._give_back()
                    if not begun:
                        begun = True
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except Exception as error:
            told = as_refusal(error, self.seconds)
            if isinstance(error, TimeoutError):
                self.desk.metrics.count("cancelled")
            self._give_back()
            if not begun:
                return await refusal(told)(scope, receive, send)
            await send({"type": "http.response.body", "body": event(told.json()), "more_body": False})


def as_refusal(error: Exception, seconds: float) -> ApiError:
    """What a client learns of an error: no more than it has to."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, f"the answer took longer than {seconds:g} s: ask for fewer tokens, or start the server "
                        "with a longer --request-timeout", code="timeout")  # fmt: skip
    LOG.error("an answer failed", exc_info=error)
    if isinstance(error, UserError):  # of the engine; it names no paths
        return ApiError(500, str(error))
    return ApiError(500, "the server failed at this request; its log says why")


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def whole(sources: Sequence[Source], grown: AsyncIterator[list[tuple[int, Delta]]]) -> list[Delta]:
    """Each source's deltas, joined."""
    deltas: list[list[Delta]] = [[] for _ in sources]
    async with aclosing(grown):
        async for some in grown:
            for i, delta in some:
                deltas[i].append(delta)
    return [joined(own) for own in deltas]


async def timed(desk: Desk, sources: Sequence[Source]) -> AsyncIterator[list[tuple[int, Delta]]]:
    """`follow`, with what the metrics want to know."""
    started, first = time.monotonic(), True
    async with aclosing(follow(sources)) as grown:
        async for some in grown:
            if first:
                desk.metrics.observe("first_token_seconds", time.monotonic() - started)
                first = False
            desk.metrics.count("completion_tokens", sum(d.num_tokens for _, d in some if d.finish is not None))
            yield some
