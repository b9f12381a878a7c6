"""A model on a server as the web chat asks it: many replies at once, each a source that grows (desk.Source).

Any OpenAI-compatible server will do. What else could have stood in a token's place is asked for, and left out where the
server does not tell it; a vote, a budget for thinking and a reply that is gone on from need a server that offers them,
as `thinkling serve` does.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import httpx

from thinkling.generate.openai.reply import message_of, read_json
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import END_THINK
from thinkling.serve.context import Chat
from thinkling.serve.desk import taken
from thinkling.serve.reply_parser import Delta
from thinkling.serve.talkers import There, body_of, data_of, deltas_of

REFUSED = (400, 422)  # what a server says that does not know a parameter


@dataclass(frozen=True)
class TextFact:
    """A token as a server tells it: its bytes, the natural logarithm of its probability, the same of the likeliest in
    its place. thinking: is it part of the thinking?"""

    data: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...]
    thinking: bool


class Far:
    """The model. tells: does the server tell log-probabilities, as far as is known? Belongs to one event loop."""

    def __init__(self, there: There) -> None:
        self.there, self.name, self.context, self.tells = there, there.name, there.context, True
        self.http = httpx.AsyncClient(headers=there.headers, timeout=there.timeout, limits=httpx.Limits())

    def room(self, num: int, client: Hashable) -> AbstractContextManager[None]:
        """The server itself says what is too much."""
        return nullcontext()

    async def begin(
        self, chat: Chat, sampling: Sampling, vote: int = 0, client: Hashable = None, effort: str | None = None,
        tell: int | None = None, told: bool = False,
    ) -> "FarReply":  # fmt: skip
        """The reply as it grows; see talkers.Hosted."""
        body = body_of(self.name, messages_of(chat), sampling, vote, chat.thinking)
        body |= {"reasoning_effort": effort} if chat.thinking and effort not in (None, "xhigh") and not vote else {}
        return FarReply(self, body, None if vote else tell)


def messages_of(chat: Chat) -> list[dict]:
    """The chat's messages, the beginning of the reply the last of them."""
    messages = list(chat.messages)
    if chat.begun is not None or chat.begun_thinking is not None:
        thought = {} if chat.begun_thinking is None else {"reasoning_content": chat.begun_thinking}
        messages.append({"role": "assistant", "content": chat.begun or ""} | thought)
    return messages


class FarReply:
    """A reply under way. facts: of its tokens, as they come. silent: did the server not tell them? dropped: turns that
    did not fit."""

    def __init__(self, far: Far, body: dict, tell: int | None) -> None:
        self.far, self.body, self.tell = far, body, tell
        self.wake: Callable[[], None] = lambda: None
        self.arrived: deque[Delta | BaseException] = deque()
        self.facts: list[TextFact] = []
        self.dropped, self.finish, self.answering = 0, "stop", False
        self.task = asyncio.get_running_loop().create_task(self._run())

    @property
    def silent(self) -> bool:
        return self.tell is not None and not self.facts

    @property
    def num_thinking(self) -> int:
        return sum(fact.thinking for fact in self.facts)

    def take(self) -> Delta | None:
        return taken(self.arrived)

    def cancel(self) -> None:
        self.task.cancel()

    def _put(self, item: Delta | BaseException) -> None:
        self.arrived.append(item)
        self.wake()

    async def _run(self) -> None:
        try:
            with self.far.there.asking():
                if not await self._asked(self.tell if self.far.tells else None):
                    self.far.tells = False
                    await self._asked(None)
        except Exception as error:  # told to whoever follows this source
            self._put(error)

    async def _asked(self, tell: int | None) -> bool:
        """Ask, and tell what comes. False where the server refuses to tell log-probabilities."""
        there = self.far.there
        body = self.body | ({} if tell is None else {"logprobs": True, "top_logprobs": tell})
        async with self.far.http.stream("POST", f"{there.url}/chat/completions", json=body) as reply:
            if reply.status_code != 200:
                text = (await reply.aread()).decode("utf-8", "replace")
                said = message_of(read_json(text), text)
                if tell is not None and reply.status_code in REFUSED and "logprobs" in said:
                    return False
                raise there.failed("refuses", said)
            dropped = reply.headers.get("x-dropped-turns", "")
            self.dropped = int(dropped) if dropped.isdecimal() else 0
            last = Delta()
            async for line in reply.aiter_lines():
                if (data := data_of(line)) is not None:
                    last = self._chunk(data) or last
        self._put(replace(last, finish=self.finish, num_thinking=self.num_thinking))
        return True

    def _chunk(self, data: str) -> Delta | None:
        """Tell what a chunk says; returns what one without text does, the count of tokens."""
        chunk, counted = json.loads(data), None
        for choice in chunk.get("choices") or ():
            self.facts += self._facts(choice)
        for delta in deltas_of(self.far.there, chunk, data):
            self.finish = delta.finish or self.finish
            if delta.reasoning or delta.content:
                self._put(replace(delta, finish=None, num_tokens=len(self.facts), num_thinking=self.num_thinking))
            elif delta.num_tokens:
                counted = delta
        return counted

    def _facts(self, choice: dict) -> list[TextFact]:
        """Of a chunk's tokens. Up to the tag that ends it, thinking is thinking."""
        said, found = choice.get("delta") or {}, []
        thinks = bool(said.get("reasoning") or said.get("reasoning_content"))
        if said.get("content") and not thinks:
            self.answering = True
        for row in (choice.get("logprobs") or {}).get("content") or ():
            top = tuple((bytes_of(other), float(other["logprob"])) for other in row.get("top_logprobs") or ())
            found.append(TextFact(bytes_of(row), float(row["logprob"]), top, not self.answering))
            self.answering = self.answering or row["token"] == END_THINK
        self.answering = self.answering or bool(said.get("content"))
        return found


def bytes_of(row: dict[str, Any]) -> bytes:
    """A token's bytes, which may be a part of a character."""
    return bytes(row["bytes"]) if row.get("bytes") is not None else str(row["token"]).encode("utf-8", "replace")


def characters(facts: Sequence[TextFact]) -> list[tuple[str, TextFact]]:
    """The tokens as text; those that only together are a character are one, told by the first."""
    found, waiting, first = [], b"", None
    for fact in facts:
        waiting, first = waiting + fact.data, first or fact
        try:
            text = waiting.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":
                continue
            text = waiting.decode("utf-8", "replace")
        found.append((text, first))
        waiting, first = b"", None
    return found
