"""/v1/responses: its input as a chat, and the answer as items with their events. Nothing is kept between requests.

The items are at most two: the thinking, and the message. The whole response is what the events have built.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from thinkling.serve.asks import ChatAsk, chat_of, clean
from thinkling.serve.refusals import bad
from thinkling.serve.reply_parser import Delta, TokenFact
from thinkling.serve.shapes import TokenWords

MESSAGE_KEYS = {"type", "role", "content", "id", "status", "phase"}
REASONING_KEYS = {"type", "summary", "content", "id", "status", "encrypted_content"}


def responses_ask(values: Mapping[str, Any]) -> ChatAsk:
    if values["input"] is None:
        raise bad("input", "is missing")
    messages = messages_of(values["input"])
    if values["instructions"] is not None:
        messages.insert(0, {"role": "system", "content": values["instructions"]})
    wanted = bool(values["include"])
    if values["top_logprobs"] is not None and not wanted:
        raise bad("top_logprobs", 'needs include: ["message.output_text.logprobs"]')
    return ChatAsk(
        chat=chat_of(clean(messages, "input"), None), parameters=values,
        length=("max_output_tokens", values["max_output_tokens"]), effort=(values["reasoning"] or {}).get("effort"),
        tell=(values["top_logprobs"] or 0) if wanted else None, told=wanted, drop=values["truncation"] == "auto",
    )  # fmt: skip


def messages_of(given: str | list[dict]) -> list[dict]:
    """Input items as messages: reasoning joins the assistant's message behind it."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict] = []
    thinking: str | None = None
    for i, item in enumerate(given):
        where, kind = f"input[{i}]", item.get("type", "message")
        if kind not in ("message", "reasoning"):
            raise bad(f"{where}.type", f"only messages and reasoning are read here, not {str(kind)[:40]!r}")
        for key, value in item.items():
            if key not in (MESSAGE_KEYS if kind == "message" else REASONING_KEYS):
                raise bad(f"{where}.{key[:60]}", "is not known")
            if key == "encrypted_content" and value is not None:
                raise bad(f"{where}.{key}", "cannot be read here")
        if kind == "reasoning":
            thinking = (thinking or "") + reasoning_text(item, where)
            continue
        role, content = item.get("role"), item.get("content")
        if role not in ("system", "developer", "user", "assistant"):
            raise bad(f"{where}.role", "must be one of system, developer, user, assistant")
        if not (isinstance(content, str) or (isinstance(content, list) and all(isinstance(p, dict) for p in content))):
            raise bad(f"{where}.content", "must be a text or a list of parts")
        message = {"role": role, "content": content}
        if role == "assistant" and thinking is not None:
            message["reasoning_content"], thinking = thinking, None
        messages.append(message)
    if thinking is not None:
        messages.append({"role": "assistant", "content": None, "reasoning_content": thinking})
    return messages


def reasoning_text(item: dict, where: str) -> str:
    parts = item.get("content") or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise bad(f"{where}.content", "must be a list of parts")
    for j, part in enumerate(parts):
        if part.get("type") != "reasoning_text" or not isinstance(part.get("text"), str):
            raise bad(f"{where}.content[{j}]", "must be a reasoning_text with its text")
    return "".join(part["text"] for part in parts)


@dataclass
class ResponseBuilder:
    """`push` deltas, then `finish`: each yields (event's name, event). response: as it stands."""

    words: TokenWords
    values: Mapping[str, Any]
    model: str
    created: int
    num_prompt: int
    num_events: int = 0
    items: list[dict] = field(default_factory=list)
    facts: list[TokenFact] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        values, told = self.values, ("instructions", "max_output_tokens", "temperature", "top_p", "truncation")
        effort = (values["reasoning"] or {}).get("effort")
        self.response = {
            "id": f"resp_{secrets.token_hex(12)}", "object": "response", "created_at": self.created,
            "status": "in_progress", "error": None, "incomplete_details": None, "model": self.model, "output": [],
            "parallel_tool_calls": False, "previous_response_id": None, "reasoning": {"effort": effort},
            "store": False, "text": {"format": {"type": "text"}}, "tool_choice": "none", "tools": [], "usage": None,
            "metadata": values["metadata"] or {}, **{name: values[name] for name in told},
        }  # fmt: skip

    def start(self) -> Iterator[tuple[str, dict]]:
        for name in ("created", "in_progress"):
            yield self._event(f"response.{name}", response=dict(self.response))

    def push(self, delta: Delta) -> Iterator[tuple[str, dict]]:
        answers = [fact for fact in delta.tokens if not fact.thinking]
        if delta.reasoning:
            yield from self._grow("reasoning", delta.reasoning, [])
        if delta.content:
            self.facts += answers
            yield from self._grow("message", delta.content, self.facts)
            self.facts = []
        else:
            self.facts += answers
        if delta.finish is not None:
            yield from self._finish(delta)

    def _grow(self, kind: str, text: str, facts: list[TokenFact]) -> Iterator[tuple[str, dict]]:
        if not self.items or self.items[-1]["type"] != kind:
            yield from self._close("completed")
            yield from self._open(kind)
        self.texts.append(text)
        where = self._where()
        if kind == "reasoning":
            yield self._event("response.reasoning_text.delta", **where, delta=text)
        else:
            logprobs = self.words.of_chat(facts)
            self.items[-1]["content"][0]["logprobs"] += logprobs
            yield self._event("response.output_text.delta", **where, delta=text, logprobs=logprobs)

    def _open(self, kind: str) -> Iterator[tuple[str, dict]]:
        self.texts = []
        number = secrets.token_hex(12)
        if kind == "reasoning":
            item = {"type": kind, "id": f"rs_{number}", "summary": [], "status": "in_progress"}
            part = {"type": "reasoning_text", "text": ""}
        else:
            item = {"type": kind, "id": f"msg_{number}", "role": "assistant", "status": "in_progress"}
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self.items.append(item | {"content": [part]})
        yield self._event("response.output_item.added", output_index=len(self.items) - 1, item=item | {"content": []})
        yield self._event("response.content_part.added", **self._where(), part=dict(part))

    def _close(self, status: str) -> Iterator[tuple[str, dict]]:
        if not self.items:
            return
        item, where = self.items[-1], self._where()
        part = item["content"][0]
        part["text"], item["status"] = "".join(self.texts), status
        if item["type"] == "reasoning":
            yield self._event("response.reasoning_text.done", **where, text=part["text"])
        else:
            yield self._event("response.output_text.done", **where, text=part["text"], logprobs=part["logprobs"])
        yield self._event("response.content_part.done", **where, part=part)
        yield self._event("response.output_item.done", output_index=len(self.items) - 1, item=item)

    def _finish(self, delta: Delta) -> Iterator[tuple[str, dict]]:
        whole = delta.finish == "stop"
        if whole and not any(item["type"] == "message" for item in self.items):
            yield from self._close("completed")
            yield from self._open("message")
        if self.facts and self.items and self.items[-1]["type"] == "message":
            self.items[-1]["content"][0]["logprobs"] += self.words.of_chat(self.facts)
        yield from self._close("completed" if whole else "incomplete")
        thought = {"reasoning_tokens": delta.num_thinking}
        self.response |= {
            "status": "completed" if whole else "incomplete", "output": self.items,
            "incomplete_details": None if whole else {"reason": "max_output_tokens"},
            "usage": {
                "input_tokens": self.num_prompt, "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": delta.num_tokens, "output_tokens_details": thought,
                "total_tokens": self.num_prompt + delta.num_tokens,
            },
        }  # fmt: skip
        name = "response.completed" if whole else "response.incomplete"
        yield self._event(name, response=self.response)

    def _where(self) -> dict:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1, "content_index": 0}

    def _event(self, kind: str, **more: Any) -> tuple[str, dict]:
        self.num_events += 1
        return kind, {"type": kind, "sequence_number": self.num_events - 1, **more}
