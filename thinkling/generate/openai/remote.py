"""The calls of LanguageModel over HTTP, to any OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama, ...

A server has its own tokenizer and chat template, so a prompt is text, or the messages of a chat; in text that spells a
control token, it sees one. Its log-probabilities are as it defines them. vLLM gives those before temperature and
truncation: the same as LanguageModel's at temperature 0, or at 1 with nothing cut.

Left out: whatever needs the weights (hidden states), a look at each token as it is drawn (min_confidence, max_repeats),
and streaming.
"""

import math
import re
import warnings
from dataclasses import replace
from typing import Any

import httpx
from torch import Tensor

from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion
from thinkling.generate.distribution import CONFIDENCE_TOKENS
from thinkling.generate.model import NoLogprobs
from thinkling.generate.openai.connection import Connection, Refused
from thinkling.generate.openai.format import (
    Chat,
    Prompt,
    ServerToken,
    completion_of,
    count,
    last_tokens,
    reading,
    request_of,
    sampled_text,
    text_of,
    tokens_of,
)
from thinkling.generate.sampling import Sampling

# Fields that not every server takes. One that is refused is left out from then on, unless a request depends on it.
# The value: what the user should know then.
OPTIONAL = {
    "logprobs": "",
    "return_token_ids": "",
    "top_k": "the server's own top-k holds, if it has one",
    "min_p": "the server's own min-p holds, if it has one",
    "repetition_penalty": "the server's own repetition penalty holds, if it has one",
    "seed": "the same seed may give other samples",
    "chat_template_kwargs": "the server decides whether the model thinks first",
}


LOGPROBS = r"\b(top_)?log.?prob(s|abilities)\b"  # as servers say it


class RemoteModel:
    """A model on a server, which many callers can use at once.

    name: the model and where it is served.
    """

    def __init__(
        self, url: str, model: str, api_key: str | None = None, concurrency: int = 128, timeout: float = 120.0,
        retries: int = 4, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        """concurrency: requests under way at most. timeout: seconds for one answer. The rest: see Connection."""
        self._connection = Connection(url, model, api_key, concurrency, timeout, retries, transport)
        self._model = model
        self._where = f"the server at {self._connection.url}"
        self._refused: set[str] = set()
        self._length_field = "max_tokens"
        self.name = f"{model} at {self._connection.url}"

    # --- prompts and completions, put together ---

    def text_prompt(self, text: str) -> Prompt:
        return text

    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> Prompt:
        """Raises UserError for a prefill: servers differ in how they would go on behind it, if they can at all."""
        if prefill:
            raise UserError(f"{self._where} takes no beginning of a reply: load the weights, or leave prefill out")
        return Chat(tuple(messages), thinking)

    def extend(self, prompt: Prompt, completion: Completion, *texts: str) -> Prompt:
        """The prompt that goes on behind a completion: behind all that was sampled, or, if there are `texts`, behind
        its text (which ends before a stop string) and then these."""
        if isinstance(prompt, Chat):
            raise FatalError(f"{self._where} cannot go on behind the model's own words in a chat: use a text template")
        return prompt + (completion.text + "".join(texts) if texts else sampled_text(completion))

    def joined(self, *parts: Completion) -> Completion:
        """Completions that follow each other as one: of the first one's prompt, ending as the last one ends."""
        names = ("tokens", "logprobs", "confidence", "certainty", "margin", "pieces")
        rows: dict[str, tuple] = dict.fromkeys(names, ())
        for name in names:
            columns = [getattr(part, name) for part in parts]
            # One per token or none at all: what is not told of a part is not told of the whole.
            if all(len(own) == len(part.tokens) for own, part in zip(columns, parts, strict=True)):
                rows[name] = tuple(value for own in columns for value in own)
        text = "".join(map(sampled_text, parts[:-1])) + parts[-1].text
        return replace(parts[-1], prompt_tokens=parts[0].prompt_tokens, text=text,
                       seconds=sum(part.seconds for part in parts), **rows)  # fmt: skip

    def pieces(self, completion: Completion) -> list[bytes]:
        """The bytes of each of the completion's tokens."""
        if len(completion.pieces) != len(completion.tokens):
            raise UserError(f"{self._where} does not tell the tokens of a completion (no logprobs): load the weights")
        return [piece.encode() for piece in completion.pieces]

    # --- requests ---

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Complete one prompt.

        confidence and margin are taken over the tokens that the server tells of; certainty needs all, so it is ().
        """
        if sampling.min_confidence is not None or sampling.max_repeats or sampling.max_thinking_tokens is not None:
            raise FatalError(f"{self._where} cannot be told to watch its tokens for min-confidence, max-repeats or "
                            "max-thinking-tokens: leave them off, or load the weights")  # fmt: skip
        num_likeliest = CONFIDENCE_TOKENS if sampling.measure else 1
        answer, seconds = await self._ask(prompt, sampling, num_likeliest, needs_logprobs=sampling.measure)
        with reading(self._where):
            completion = completion_of(answer, sampling, seconds)
            if not completion.pieces and count(answer, "completion_tokens") is None:
                warnings.warn(f"{self._where} counts no tokens (no usage): their number is estimated, 4 bytes each",
                              stacklevel=2)  # fmt: skip
        return completion

    async def first_tokens(self, prompt: Prompt, num: int) -> list[Completion]:
        """The `num` likeliest ways to begin, as completions of one token each, the likeliest first; fewer if the
        server tells of fewer. Only of the likeliest is it known whether it ends the text (finish_reason "stop")."""
        sampling = Sampling(temperature=0.0, max_tokens=1, measure=True)
        num_likeliest = max(num, CONFIDENCE_TOKENS)
        answer, seconds = await self._ask(prompt, sampling, num_likeliest, needs_logprobs=True)
        with reading(self._where):
            drawn = completion_of(answer, sampling, seconds)
            other = replace(drawn, tokens=(-1,), finish_reason="length", stop_string=None, seconds=0.0)
            return [
                drawn if (text,) == drawn.pieces else replace(other, text=text, pieces=(text,), logprobs=(logprob,))
                for text, logprob in tokens_of(answer["choices"][0])[0].top[:num]
            ]

    async def logprob_of(self, prompt: Prompt, text: str) -> float:
        """The log-probability of `text` behind the prompt, in nats, at temperature 1.

        A token that holds the prompt's end and the text's start counts whole.
        """
        if isinstance(prompt, Chat):
            raise FatalError(f"{self._where} cannot score a given reply in a chat: use a text template")
        if not text:
            return 0.0
        logprobs = last_tokens(await self.read(prompt + text), text)
        if None in logprobs:
            raise NoLogprobs(f"{self._where} gives no log-probabilities for given text (`echo` on /completions): "
                             "use another server, vLLM for one, or load the weights")  # fmt: skip
        return math.fsum(logprobs)

    async def read(self, text: str) -> list[ServerToken]:
        """The tokens of a given text, each with its log-probability, as far as the server tells it."""
        sampling = Sampling(temperature=0.0, max_tokens=1)
        answer, _ = await self._ask(text, sampling, 1, needs_logprobs=True, echo=True)
        with reading(self._where):
            return tokens_of(answer["choices"][0])[: count(answer, "prompt_tokens")]

    async def hidden_states(self, prompt: Prompt, completion: Completion) -> Tensor:
        raise FatalError(f"{self._where} gives no hidden states: load the weights here, without a server")

    async def _ask(
        self, prompt: Prompt, sampling: Sampling, num_likeliest: int, needs_logprobs: bool, echo: bool = False
    ) -> tuple[dict[str, Any], float]:
        """The server's answer and its seconds."""
        path, fields = request_of(prompt, sampling, num_likeliest)
        fields |= {"model": self._model} | ({"echo": True} if echo else {})
        needed = {name for name in ("top_k", "min_p") if getattr(sampling, name)}
        needed |= {"repetition_penalty"} if sampling.repetition_penalty != 1 else set()
        needed |= {"logprobs"} if needs_logprobs else set()
        while True:
            body = {name: value for name, value in fields.items() if name not in self._refused - needed}
            body[self._length_field] = sampling.max_tokens
            try:
                answer, seconds = await self._connection.post(path, body)
                break
            except Refused as error:
                self._learn(str(error), body, needed)
        with reading(self._where):
            choice = answer["choices"][0]
            said = text_of(choice) or count(answer, "completion_tokens")
            if needs_logprobs and said and not tokens_of(choice):
                raise NoLogprobs(f"{self._where} gives no log-probabilities: use another server, or load the weights")
        return answer, seconds

    def _learn(self, message: str, body: dict[str, Any], needed: set[str]) -> None:
        """Leave out from now on what the server has refused; UserError if there is nothing that may be left out."""
        if "max_tokens" in body and re.search("max_completion_tokens.* instead", message):  # OpenAI's newer models
            self._length_field = "max_completion_tokens"
            return
        spelt = {name: LOGPROBS if name == "logprobs" else rf"\b{name}\b" for name in OPTIONAL if name in body}
        named = {name for name, spelling in spelt.items() if re.search(spelling, message, re.IGNORECASE)}
        if not named or named & needed:
            fix = f": do without {', '.join(sorted(named & needed))}, or load the weights" if named else ""
            if "context" in message.lower() or "max_model_len" in message:
                fix = ": shorten the prompt or lower max-tokens"
            kind = NoLogprobs if "logprobs" in named & needed else UserError
            raise kind(f"{self._where} refuses the request ({message}){fix}")
        for name in named - self._refused:
            if OPTIONAL[name]:
                warnings.warn(f"{self._where} refuses {name!r}: {OPTIONAL[name]}", stacklevel=2)
        self._refused |= named
