"""A server asked for what a trainer can learn from: token ids in, token ids and their log-probabilities out.

vLLM and `thinkling serve` tell both. What is not exactly that is refused, in a line that names the server. Left out:
text, chats and templates, which are made here by the trainer's own tokenizer (train/rl/servers.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.openai.connection import Connection, Lost, Refused
from thinkling.generate.openai.format import completion_of, finite, reading, request_of
from thinkling.generate.sampling import Sampling

RETRIES = 8  # while a server says that it is busy
TEXT = "/completions"


class Unanswerable(UserError):
    """The server does not take this request; no other would."""


@dataclass(frozen=True)
class Identity:
    """name: of the model there. owner: what kind of server it is, in its own word: vllm, thinkling."""

    name: str
    owner: str


class ExactServer:
    """One server. concurrency: requests under way at most. timeout: seconds for one answer, of any kind."""

    def __init__(
        self, url: str, api_key: str | None = None, concurrency: int = 128, timeout: float = 300.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self.connection = Connection(url, "", api_key, concurrency, timeout, RETRIES, transport, one_of_many=True)
        self.where = f"the server at {self.connection.url}"
        self.identity: Identity | None = None

    async def meet(self) -> Identity:
        """Which model it serves, and what it is. Raises Lost."""
        try:
            listed = await self.connection.beside("GET", f"{self.connection.api}/models")
            first = listed["data"][0]
            self.identity = Identity(str(first["id"]), str(first.get("owned_by")))
        except (Refused, LookupError, TypeError, AttributeError) as error:
            raise Lost(f"{self.where} lists no models ({error}): check the URL") from None
        return self.identity

    async def complete(
        self, prompt: Sequence[int], sampling: Sampling, max_tokens: int
    ) -> tuple[Completion, str | None]:
        """A completion without text, and what the server calls its weights, if it says so. Raises Lost where another
        server may answer, Unanswerable where none would."""
        _, fields = request_of("", sampling, 1)
        fields |= {
            "model": self.identity.name, "prompt": list(prompt), "max_tokens": max_tokens, "seed": sampling.seed,
        }  # fmt: skip
        answer, seconds = await self._post(fields)
        with reading(self.where):
            found = completion_of(answer, replace(sampling, stop=()), seconds)
            version = answer.get("system_fingerprint")
        self._check(prompt, found)
        return replace(found, prompt_tokens=tuple(prompt), pieces=()), version

    async def logprobs_of(self, tokens: Sequence[int]) -> list[float]:
        """The log-probability of each of these tokens behind those before it; of the first there is none."""
        fields = {"model": self.identity.name, "prompt": list(tokens), "max_tokens": 1, "temperature": 0.0}
        fields |= {"logprobs": 1, "echo": True}
        answer, _ = await self._post(fields)
        with reading(self.where):
            found = answer["choices"][0]["logprobs"]["token_logprobs"][1 : len(tokens)]
            found = [finite(own) for own in found]
        if len(found) != len(tokens) - 1 or None in found:
            raise Lost(f"{self.where} does not tell the log-probabilities of given tokens (echo on /v1/completions)")
        return found

    async def _post(self, fields: dict) -> tuple[dict, float]:
        try:
            return await self.connection.post(TEXT, fields)
        except Refused as error:
            raise Unanswerable(f"{self.where} refuses the request ({error})") from None

    def _check(self, prompt: Sequence[int], found: Completion) -> None:
        """Raises Lost for an answer that nothing can be learnt from."""
        if -1 in found.tokens or len(found.logprobs) != len(found.tokens) or not found.tokens:
            raise Lost(f"{self.where} does not tell each token's id and log-probability: use vLLM, or thinkling serve")
        if found.prompt_tokens and -1 not in found.prompt_tokens and found.prompt_tokens != tuple(prompt):
            raise Lost(f"{self.where} has read other tokens than it was given: its model has another tokenizer")
        if any(logprob > 1e-3 or math.isinf(logprob) for logprob in found.logprobs):
            raise Lost(f"{self.where} gives log-probabilities above 0")
