"""Answers as OpenAI's JSON has them: a chat's and a completion's, whole or in chunks.

Both are made from deltas: a whole answer is made from all of them, joined. Left out: /v1/responses (responses.py).
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thinkling.model.tokenizer import Tokenizer
from thinkling.serve.reply_parser import Delta, TokenFact

LOWEST_LOGPROB = -9999.0  # for minus infinity, as vLLM has it: JSON has no infinity


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def event(value: Any, name: str = "") -> bytes:
    """One server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encoded(value) + b"\n\n"


def finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB)


def usage(num_prompt: int, num_completion: int, num_thinking: int) -> dict:
    return {
        "prompt_tokens": num_prompt, "completion_tokens": num_completion, "total_tokens": num_prompt + num_completion,
        "completion_tokens_details": {"reasoning_tokens": num_thinking},
    }  # fmt: skip


@dataclass(frozen=True)
class TokenWords:
    """Tokens as text, for people and for programs."""

    tokenizer: Tokenizer

    def text(self, token: int) -> str:
        """The token's text; a part of a character as `bytes:\\xf0\\x9f`, as OpenAI's API has it."""
        raw = self.tokenizer.token_bytes(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)

    def width(self, fact: TokenFact) -> int:
        """Characters that begin with this token."""
        return sum(byte & 0xC0 != 0x80 for byte in self.tokenizer.token_bytes(fact.id))  # UTF-8's other bytes go on

    def of_chat(self, facts: Sequence[TokenFact]) -> list[dict]:
        return [
            self._entry(fact.id, fact.logprob) | {"top_logprobs": [self._entry(*pair) for pair in fact.top]}
            for fact in facts
        ]

    def _entry(self, token: int, logprob: float | None) -> dict:
        told = None if logprob is None else finite(logprob)
        return {"token": self.text(token), "logprob": told, "bytes": list(self.tokenizer.token_bytes(token))}

    def of_text(self, facts: Sequence[TokenFact], start: int) -> dict:
        """start: characters before the first of these tokens."""
        texts = [self.text(fact.id) for fact in facts]
        offsets = []
        for fact in facts:
            offsets.append(start)
            start += self.width(fact)
        return {
            "tokens": texts,
            "token_logprobs": [None if fact.logprob is None else finite(fact.logprob) for fact in facts],
            "top_logprobs": [self._top(fact) for fact in facts],
            "text_offset": offsets,
        }

    def _top(self, fact: TokenFact) -> dict | None:
        """The likeliest tokens, and the token itself."""
        if fact.logprob is None:
            return None
        return {self.text(token): finite(logprob) for token, logprob in [*fact.top, (fact.id, fact.logprob)]}

    def of_prompt(self, facts: Sequence[TokenFact]) -> list[dict | None]:
        """As vLLM's prompt_logprobs: by id."""
        return [
            None if fact.logprob is None else {
                str(token): {"logprob": finite(logprob), "decoded_token": self.text(token)}
                for token, logprob in [*fact.top, (fact.id, fact.logprob)]
            }
            for fact in facts
        ]  # fmt: skip


@dataclass
class Shape:
    """One answer's JSON. name: of the model. logprobs, ids: are they told? prompts: of each choice, its ids; scored: of
    each choice, its prompt's tokens scored, () for none. version: what the weights are called, None where they never
    change."""

    words: TokenWords
    name: str
    created: int
    logprobs: bool
    ids: bool
    prompts: Sequence[Sequence[int]]
    scored: Sequence[Sequence[TokenFact]] = ()
    version: str | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(12))

    whole_object, chunk_object, prefix = "", "", ""

    def head(self, kind: str) -> dict:
        head = {"id": f"{self.prefix}-{self.id}", "object": kind, "created": self.created, "model": self.name}
        return head if self.version is None else head | {"system_fingerprint": self.version}

    def whole(self, choices: Sequence[Delta], counted: dict) -> dict:
        rows = [self.choice(i, delta) for i, delta in enumerate(choices)]
        return self.head(self.whole_object) | {"choices": rows, "usage": counted} | self.about_prompt()

    def chunk(self, index: int, delta: Delta, first: bool) -> dict:
        rows = [self.chunk_choice(index, delta, first)]
        return self.head(self.chunk_object) | {"choices": rows} | (self.about_prompt() if first and not index else {})

    def last_chunk(self, counted: dict) -> dict:
        return self.head(self.chunk_object) | {"choices": [], "usage": counted}

    def about_prompt(self) -> dict:
        return {}

    def choice(self, index: int, delta: Delta) -> dict:
        raise NotImplementedError

    def chunk_choice(self, index: int, delta: Delta, first: bool) -> dict:
        raise NotImplementedError

    def token_ids(self, delta: Delta) -> dict:
        return {"token_ids": [fact.id for fact in delta.tokens]} if self.ids else {}


class ChatShape(Shape):
    whole_object, chunk_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def choice(self, index: int, delta: Delta) -> dict:
        thinking = delta.reasoning or None
        message = {"role": "assistant", "content": delta.content, "reasoning": thinking, "reasoning_content": thinking}
        return self._row(index, delta, {"message": message})

    def chunk_choice(self, index: int, delta: Delta, first: bool) -> dict:
        said: dict[str, str] = {"role": "assistant"} if first else {}
        if delta.content or (first and not delta.reasoning):
            said["content"] = delta.content
        if delta.reasoning:
            said |= {"reasoning": delta.reasoning, "reasoning_content": delta.reasoning}
        return self._row(index, delta, {"delta": said})

    def _row(self, index: int, delta: Delta, said: Mapping[str, dict]) -> dict:
        logprobs = {"content": self.words.of_chat(delta.tokens)} if self.logprobs else None
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": delta.finish, **self.token_ids(delta)}

    def about_prompt(self) -> dict:
        told: dict[str, Any] = {"prompt_token_ids": list(self.prompts[0])} if self.ids else {}
        return told | ({"prompt_logprobs": self.words.of_prompt(self.scored[0])} if self.scored else {})


@dataclass
class TextShape(Shape):
    """echo: does the text begin with the prompt, and the log-probabilities with `scored`? prompt_logprobs: of each
    choice, () for none. said: characters of each choice so far."""

    echo: bool = False
    prompt_logprobs: Sequence[Sequence[TokenFact]] = ()
    said: dict[int, int] = field(default_factory=dict)

    whole_object = chunk_object = "text_completion"
    prefix = "cmpl"

    def choice(self, index: int, delta: Delta) -> dict:
        return self.chunk_choice(index, delta, True)

    def chunk_choice(self, index: int, delta: Delta, first: bool) -> dict:
        text, facts = delta.content, delta.tokens
        if first and self.echo:
            text = self.words.tokenizer.decode(self.prompts[index]) + text
            facts = (*(self.scored[index] if self.scored else ()), *facts)
        start = 0 if first else self.said[index]
        logprobs = self.words.of_text(facts, start) if self.logprobs else None
        self.said[index] = start + sum(map(self.words.width, facts))
        row = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": delta.finish}
        if self.ids:
            row |= self.token_ids(delta) | ({"prompt_token_ids": list(self.prompts[index])} if first else {})
        if self.prompt_logprobs and first:
            row["prompt_logprobs"] = self.words.of_prompt(self.prompt_logprobs[index])
        return row
