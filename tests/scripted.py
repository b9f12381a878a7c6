"""A model that says what it is told to, and remembers what it was asked: prompts are text, so tests can read them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import render_chat


def said(text: str, *logprobs: float, finish: str = "stop", **more: object) -> Completion:
    """A completion with these log-probabilities, one per token."""
    return Completion((1,), tuple(range(len(logprobs))), logprobs, finish, text, **more)


def boxed(answer: object, *logprobs: float, **more: object) -> Completion:
    """A completion that answers this in a box; None answers nothing."""
    return said("hm, well" if answer is None else rf"\boxed{{{answer}}}", *logprobs, **more)


class Scripted:
    """`script`: the completions, one after the other, or a function from the prompt's text and the sampling to one.

    beliefs: what `logprob_of` says of a text, and `begins`: what `first_tokens` returns.
    """

    name = "scripted"

    def __init__(
        self,
        *script: Completion | Callable[[str, Sampling], Completion],
        beliefs: dict[str, float] | None = None,
        begins: tuple[Completion, ...] = (),
    ) -> None:
        self.script, self.beliefs, self.begins = list(script), beliefs or {}, begins
        self.asked: list[tuple[str, Sampling]] = []

    def text_prompt(self, text: str) -> str:
        return text

    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> str:
        return render_chat(messages, enable_thinking=thinking) + prefill

    def extend(self, prompt: str, completion: Completion, *texts: str) -> str:
        return prompt + completion.text + ("".join(texts) if texts else completion.stop_string or "")

    def joined(self, *parts: Completion) -> Completion:
        names = ("tokens", "logprobs", "confidence", "certainty", "margin", "pieces")
        rows = {name: tuple(value for part in parts for value in getattr(part, name)) for name in names}
        text = "".join(part.text + (part.stop_string or "") for part in parts[:-1]) + parts[-1].text
        return replace(parts[-1], text=text, **rows)

    def pieces(self, completion: Completion) -> list[bytes]:
        return [piece.encode() for piece in completion.pieces]

    async def complete(self, prompt: str, sampling: Sampling) -> Completion:
        self.asked.append((prompt, sampling))
        await asyncio.sleep(0)  # a real one takes its time, too
        turn = self.script[0] if len(self.script) == 1 and callable(self.script[0]) else self.script.pop(0)
        return turn(prompt, sampling) if callable(turn) else turn

    async def first_tokens(self, prompt: str, num: int) -> list[Completion]:
        return list(self.begins[:num])

    async def logprob_of(self, prompt: str, text: str) -> float:
        self.asked.append((prompt + text, Sampling()))
        return self.beliefs[text]

    async def hidden_states(self, prompt: str, completion: Completion) -> Tensor:
        raise NotImplementedError
