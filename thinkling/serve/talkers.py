"""Whom a chat talks to: a model loaded here, or one on a server. Both give a reply as deltas.

Here, a reply is made of the server's own parts, without HTTP; so are votes. There, any OpenAI-compatible server will
do, but a vote needs one that offers methods as models, as `thinkling serve` does.
"""

import asyncio
import json
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.openai.connection import authorization, shown
from thinkling.generate.openai.reply import message_of, one_line, read_json
from thinkling.generate.sampling import Sampling
from thinkling.serve.asks import SAMPLING, Asked, ChatAsk, chat_of, chat_plans
from thinkling.serve.context import Chat
from thinkling.serve.desk import Desk, Generation, follow
from thinkling.serve.methods import MethodRun
from thinkling.serve.metrics import Metrics
from thinkling.serve.refusals import ApiError
from thinkling.serve.reply_parser import Delta
from thinkling.serve.served import Served


@dataclass(frozen=True)
class Say:
    """What a reply is asked for. vote: samples that are voted among, 0 for one reply."""

    messages: tuple[dict, ...]
    sampling: Sampling
    thinking: bool = True
    vote: int = 0


class Talker(Protocol):
    """context: tokens that a conversation may have, None where that is not known. used: what the last one had.
    can_think: is there anything that --thinking could switch? A server does not say, so it may be."""

    name: str
    context: int | None
    used: int
    can_think: bool

    def reply(self, say: Say) -> Iterator[Delta]:
        """Raises UserError for what cannot be answered. Closed early, it gives up the reply."""


def asks(chat: Chat, sampling: Sampling, **more: Any) -> ChatAsk:
    """What a chat asks of the server's parts. more: fields of ChatAsk."""
    parameters = {name: getattr(sampling, name) for name in SAMPLING} | {"seed": sampling.seed}
    return ChatAsk(chat, parameters, ("--max-tokens", sampling.max_tokens), **more)


class Hosted:
    """A model in this process and the one way to it, for all that one event loop does. queue: replies that may wait.
    Its like on a server: far.Far."""

    def __init__(self, model: LanguageModel, queue: int = 0) -> None:
        self.model, self.name, self.context = model, model.name, model.engine.max_length
        self.served, self.desk = Served.of(model, "model", 0), Desk(model, queue, Metrics())

    @contextmanager
    def room(self, num: int, client: Hashable) -> Iterator[None]:
        """Places for so many replies at once; client: see Desk. Raises ApiError where there are none."""
        self.desk.take(num, client)
        try:
            yield
        finally:
            self.desk.give_back(num, self.desk.pace, client)

    async def begin(
        self, chat: Chat, sampling: Sampling, vote: int = 0, client: Hashable = None, **more: Any
    ) -> "Begun":
        """The reply as it grows. vote: samples that are voted among, 0 for one reply. client: see Desk. more: fields of
        ChatAsk. Raises ApiError or UserError for what cannot be answered."""
        ask = asks(chat, sampling, **more)
        asked = await chat_plans(ask, self.served, self.desk)
        if not vote:
            return Begun(Generation(self.desk, asked.plans[0], client), asked)
        recipe = self.served.method(f"model+vote@{vote}")
        room = self.context - ask.length[1]
        temperature = ask.parameters["temperature"] or None
        run = MethodRun(self.desk, recipe, chat, asked.plans[0].sampling, temperature, room, client)
        return Begun(run, asked)


@dataclass(frozen=True)
class Begun:
    """A reply under way here, and what was asked for."""

    source: Generation | MethodRun
    asked: Asked


class Here:
    """A model in this process. One event loop of its own runs while a reply is waited for."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.name, self.context, self.used = model, model.name, model.engine.max_length, 0
        self.can_think = model.tokenizer.can_think
        self.runner = asyncio.Runner()
        self.hosted = self.runner.run(self._hosted())

    async def _hosted(self) -> Hosted:
        return Hosted(self.model)

    def reply(self, say: Say) -> Iterator[Delta]:
        chat = chat_of(list(say.messages), say.thinking)
        with told():
            begun = self.runner.run(self.hosted.begin(chat, say.sampling, say.vote))
        self.used = begun.asked.num_prompt_tokens
        grown = follow([begun.source])
        try:
            while True:
                for _, delta in self.runner.run(anext(grown)):
                    if not say.vote:
                        self.used = begun.asked.num_prompt_tokens + delta.num_tokens
                    yield delta
        except StopAsyncIteration:
            return
        except ApiError as error:
            raise UserError(error.message) from None
        finally:
            self.runner.run(grown.aclose())


class There:
    """A model on a server. url: of the API; a bare host's is /v1. key: the token that it wants, "" for none."""

    def __init__(self, url: str, name: str, key: str = "") -> None:
        url = url.rstrip("/")
        self.url = url if httpx.URL(url).path not in ("", "/") else f"{url}/v1"
        self.name, self.used, self.can_think = name, 0, True
        self.headers = authorization(key)
        self.timeout = httpx.Timeout(600, connect=10)
        self.http = httpx.Client(headers=self.headers, timeout=self.timeout)
        self.context = self._context()

    def _context(self) -> int | None:
        """The model's context, where the server tells it."""
        with self.asking(), self.http.stream("GET", f"{self.url}/models") as reply:
            listed = read_json(reply.read().decode("utf-8", "replace"))
            if reply.status_code != 200:
                raise self.failed("does not list its models", f"HTTP {reply.status_code}")
        rows = {row["id"]: row for row in listed["data"]}
        return rows.get(self.name, {}).get("max_model_len")

    def reply(self, say: Say) -> Iterator[Delta]:
        body = body_of(self.name, say.messages, say.sampling, say.vote, say.thinking)
        with self.asking(), self.http.stream("POST", f"{self.url}/chat/completions", json=body) as reply:
            if reply.status_code != 200:
                text = reply.read().decode("utf-8", "replace")
                raise self.failed("refuses", message_of(read_json(text), text))
            for line in reply.iter_lines():
                if (data := data_of(line)) is not None:
                    chunk = json.loads(data)
                    self.used = (chunk.get("usage") or {}).get("total_tokens", self.used)
                    yield from deltas_of(self, chunk, data)

    @contextmanager
    def asking(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise self.failed("does not answer", str(error) or type(error).__name__) from None
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise self.failed("does not answer as OpenAI's API has it", repr(error)) from None

    def failed(self, what: str, why: str) -> UserError:
        return UserError(
            f"the server at {shown(self.url)} {what} ({one_line(why)[:300]}): check the URL, the model and the token"
        )


def body_of(name: str, messages: Sequence[dict], sampling: Sampling, vote: int, thinking: bool) -> dict:
    """What a server is asked for, with no parameter that changes nothing: not every server knows them all."""
    body = {
        "model": name + (f"+vote@{vote}" if vote else ""), "messages": list(messages),
        "max_tokens": sampling.max_tokens, "seed": sampling.seed % 2**31, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    body |= {} if vote and not sampling.temperature else {"temperature": sampling.temperature}
    neutral = Sampling()
    given = {key: getattr(sampling, key) for key in SAMPLING if key != "temperature"}
    body |= {key: value for key, value in given.items() if value != getattr(neutral, key)}
    return body | ({} if thinking else {"chat_template_kwargs": {"enable_thinking": False}})


def data_of(line: str) -> str | None:
    """What a line of a stream of events says; None where it is no event, or only says that the stream ends."""
    data = line.removeprefix("data:")
    return None if data == line or data.strip() == "[DONE]" else data


def deltas_of(there: There, chunk: dict, data: str) -> Iterator[Delta]:
    """What a chunk of a stream says; the counts come last. Raises UserError for an error in it."""
    if chunk.get("error"):
        raise there.failed("failed", message_of(chunk, data))
    for choice in chunk.get("choices") or ():
        said = choice.get("delta") or {}
        thinking = said.get("reasoning") or said.get("reasoning_content") or ""
        yield Delta(thinking, said.get("content") or "", (), choice.get("finish_reason"))
    if counted := chunk.get("usage"):
        yield Delta(num_tokens=counted.get("completion_tokens", 0))


@contextmanager
def told() -> Iterator[None]:
    """A refusal in the words of this program."""
    try:
        yield
    except ApiError as error:
        raise UserError(error.message.removeprefix("messages: ")) from None
