"""What a method may ask of a model: `Model`. LanguageModel (here), RemoteModel (over a server) and
CachedModel (from a file) have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from thinkling.errors import FatalError
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling

if TYPE_CHECKING:
    from torch import Tensor

Prompt = str | Sequence[int]


@runtime_checkable
class Model(Protocol):
    """What a method may ask of a model. A prompt is whatever the model's own calls return for one.

    `LanguageModel` documents each call.
    """

    name: str

    def text_prompt(self, text: str) -> Any: ...
    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> Any: ...
    def extend(self, prompt: Any, completion: Completion, *texts: str) -> Any: ...
    def joined(self, *parts: Completion) -> Completion: ...
    def pieces(self, completion: Completion) -> list[bytes]: ...
    async def complete(self, prompt: Any, sampling: Sampling) -> Completion: ...
    async def first_tokens(self, prompt: Any, num: int) -> list[Completion]: ...
    async def logprob_of(self, prompt: Any, text: str) -> float: ...
    async def hidden_states(self, prompt: Any, completion: Completion) -> Tensor: ...


class Forwarding:
    """A Model in front of another, `model`: what it does not answer itself goes there as it is."""

    model: Model

    async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
        return await self.model.complete(prompt, sampling)

    def text_prompt(self, text: str) -> Any:
        return self.model.text_prompt(text)

    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> Any:
        return self.model.chat_prompt(messages, thinking, prefill)

    def extend(self, prompt: Any, completion: Completion, *texts: str) -> Any:
        return self.model.extend(prompt, completion, *texts)

    def joined(self, *parts: Completion) -> Completion:
        return self.model.joined(*parts)

    def pieces(self, completion: Completion) -> list[bytes]:
        return self.model.pieces(completion)

    async def first_tokens(self, prompt: Any, num: int) -> list[Completion]:
        return await self.model.first_tokens(prompt, num)

    async def logprob_of(self, prompt: Any, text: str) -> float:
        return await self.model.logprob_of(prompt, text)

    async def hidden_states(self, prompt: Any, completion: Completion) -> Tensor:
        return await self.model.hidden_states(prompt, completion)


class NoLogprobs(FatalError):
    """The server gives no log-probabilities, and what was asked of it needs them."""
