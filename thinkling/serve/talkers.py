"""Whom a chat talks to: a model loaded here, or one on a server. Both give a reply as deltas.

Here, a reply is made of the server's own parts, without HTTP; so are votes. There, any OpenAI-compatible server will
do, but a vote needs one that offers methods as models, as `thinkling serve` does.
"""

import asyncio
import json
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
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
    """context: tokens that a conversation may have, None where that is not known. used: what the last one had."""

    name: str
    context: int | None
    used: int

    def reply(self, say: Say) -> Iterator[Delta]:
        """Raises UserError for what cannot be answered. Closed early, it gives up the reply."""


def asks(chat: Chat, sampling: Sampling, **more: Any) -> ChatAsk:
    """What a chat asks of the server's parts. more: fields of ChatAsk."""
    parameters = {name: getattr(sampling, name) for name in SAMPLING} | {"seed": sampling.seed}
    return ChatAsk(chat, parameters, ("--max-tokens", sampling.max_tokens), **more)


class Hosted:
    """A model in this process and the one way to it, for all that one event loop does. queue: replies that may wait."""

    def __init__(self, model: LanguageModel, queue: int = 0) -> None:
        self.model, self.name, self.context = model, model.name, model.engine.max_length
        self.served, self.desk = Served.of(model, "model", 0), Desk(model, queue, Metrics())

    async def begin(self, ask: ChatAsk, vote: int = 0, client: Hashable = None) -> tuple[Asked, Generation | MethodRun]:
        """What was asked for, and the reply as it grows; vote: samples that are voted among, 0 for one reply. client:
        see Desk. Raises ApiError or UserError for what cannot be answered."""
        asked = await chat_plans(ask, self.served, self.desk)
        if not vote:
            return asked, Generation(self.desk, asked.plans[0], client)
        recipe = self.served.method(f"model+vote@{vote}")
        room = self.context - ask.length[1]
        temperature = ask.parameters["temperature"] or None
        return asked, MethodRun(self.desk, recipe, ask.chat, asked.plans[0].sampling, temperature, room, client)


class Here:
    """A model in this process. One event loop of its own runs while a reply is waited for."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.name, self.context, self.used = model, model.name, model.engine.max_length, 0
        self.runner = asyncio.Runner()
        self.hosted = self.runner.run(self._hosted())

    async def _hosted(self) -> Hosted:
        return Hosted(self.model)

    def reply(self, say: Say) -> Iterator[Delta]:
        ask = asks(chat_of(list(say.messages), say.thinking), say.sampling)
        with told():
            asked, source = self.runner.run(self.hosted.begin(ask, say.vote))
        self.used = asked.num_prompt_tokens
        grown = follow([source])
        try:
            while True:
                for _, delta in self.runner.run(anext(grown)):
                    if not say.vote:
                        self.used = asked.num_prompt_tokens + delta.num_tokens
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
        self.name, self.used = name, 0
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(headers=headers, timeout=httpx.Timeout(600, connect=10))
        self.context = self._context()

    def _context(self) -> int | None:
        """The model's context, where the server tells it."""
        with self._asking(), self.http.stream("GET", f"{self.url}/models") as reply:
            listed = read_json(reply.read().decode("utf-8", "replace"))
            if reply.status_code != 200:
                raise self._failed("does not list its models", f"HTTP {reply.status_code}")
        rows = {row["id"]: row for row in listed["data"]}
        return rows.get(self.name, {}).get("max_model_len")

    def reply(self, say: Say) -> Iterator[Delta]:
        sampling = say.sampling
        body = {
            "model": self.name + (f"+vote@{say.vote}" if say.vote else ""), "messages": list(say.messages),
            "max_tokens": sampling.max_tokens, "seed": sampling.seed % 2**31, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        body |= {} if say.vote and not sampling.temperature else {"temperature": sampling.temperature}
        body |= {} if say.thinking else {"chat_template_kwargs": {"enable_thinking": False}}
        with self._asking(), self.http.stream("POST", f"{self.url}/chat/completions", json=body) as reply:
            if reply.status_code != 200:
                text = reply.read().decode("utf-8", "replace")
                raise self._failed("refuses", message_of(read_json(text), text))
            for line in reply.iter_lines():
                if line.startswith("data:") and line[5:].strip() != "[DONE]":
                    yield from self._deltas(line[5:])

    def _deltas(self, data: str) -> Iterator[Delta]:
        chunk = json.loads(data)
        if chunk.get("error"):
            raise self._failed("failed", message_of(chunk, data))
        counted = chunk.get("usage") or {}
        self.used = counted.get("total_tokens", self.used)
        for choice in chunk.get("choices", []):
            said = choice.get("delta") or {}
            thinking = said.get("reasoning") or said.get("reasoning_content") or ""
            yield Delta(thinking, said.get("content") or "", (), choice.get("finish_reason"))
        if counted:
            yield Delta(num_tokens=counted.get("completion_tokens", 0))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise self._failed("does not answer", str(error) or type(error).__name__) from None
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise self._failed("does not answer as OpenAI's API has it", repr(error)) from None

    def _failed(self, what: str, why: str) -> UserError:
        return UserError(
            f"the server at {self.url} {what} ({one_line(why)[:300]}): check the URL, the model and the token"
        )


@contextmanager
def told() -> Iterator[None]:
    """A refusal in the words of this program."""
    try:
        yield
    except ApiError as error:
        raise UserError(error.message.removeprefix("messages: ")) from None
