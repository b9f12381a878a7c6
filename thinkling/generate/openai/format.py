"""The records of this package in OpenAI's JSON, and back: what is asked of a server, and what it answers.

Servers differ in what they add to that JSON and leave out of it; each such difference is named where it is met.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from thinkling.errors import UserError
from thinkling.generate.plain import Completion
from thinkling.generate.sampling import CONFIDENCE_TOKENS, Sampling


@dataclass(frozen=True)
class Chat:
    """The messages of a chat, oldest first; thinking: whether the model may think before it replies."""

    messages: tuple[dict, ...]
    thinking: bool


Prompt = str | Chat


@dataclass(frozen=True)
class ServerToken:
    """A token as a server tells of it. logprob: in nats, None for the first of a text. top: the likeliest in its place,
    likeliest first."""

    text: str
    logprob: float | None
    top: list[tuple[str, float]]


def request_of(prompt: Prompt, sampling: Sampling, num_likeliest: int) -> tuple[str, dict[str, Any]]:
    """The endpoint and the request's fields, but for model and length. num_likeliest: tokens to tell of, per place."""
    fields: dict[str, Any] = {"temperature": sampling.temperature, "return_token_ids": True}
    if sampling.temperature > 0:
        # What is off is said too: a server may have other defaults (vLLM takes top-k 20 from Qwen3's checkpoints).
        fields |= {"top_p": sampling.top_p, "top_k": sampling.top_k or -1, "min_p": sampling.min_p}
        fields["seed"] = sampling.seed % 2**31  # llama.cpp keeps 32 bits; numbers in JSON are exact to 53
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if isinstance(prompt, str):
        return "/completions", {"prompt": prompt, "logprobs": num_likeliest} | fields
    fields |= {"messages": list(prompt.messages), "chat_template_kwargs": {"enable_thinking": prompt.thinking}}
    if num_likeliest > 1:
        fields["top_logprobs"] = num_likeliest
    return "/chat/completions", {"logprobs": True} | fields


def completion_of(answer: dict[str, Any], sampling: Sampling, seconds: float) -> Completion:
    choice, usage = answer["choices"][0], answer["usage"]
    tokens = tokens_of(choice)
    pieces = tuple(token.text for token in tokens)
    text, stop_string = ended(text_of(choice), "".join(pieces), choice, sampling.stop)
    reason = choice["finish_reason"]
    if stop_string is not None or reason in ("eos", "eos_token", "stop_sequence"):
        reason = "stop"
    prompt_ids = choice.get("prompt_token_ids") or answer.get("prompt_token_ids")
    # One per token: a server may count the tokens of a stop string, and not give their log-probabilities.
    num_tokens = len(tokens) or usage["completion_tokens"]
    measured: dict[str, tuple[float, ...]] = {}
    if sampling.measure:
        measured = {"confidence": tuple(map(confidence, tokens)), "margin": tuple(map(margin, tokens))}
    return Completion(
        prompt_tokens=tuple(prompt_ids or [-1] * usage["prompt_tokens"]),
        tokens=tuple(choice.get("token_ids") or [-1] * num_tokens),
        logprobs=tuple(float(token.logprob) for token in tokens),
        finish_reason=reason if reason in ("stop", "repetition") else "length",
        text=text, stop_string=stop_string, pieces=pieces, seconds=seconds,
        **measured,
    )  # fmt: skip


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice; thinking that the server has taken out of a reply is put back in front of it."""
    if "text" in choice:
        return choice["text"] or ""
    message = choice["message"]
    content = message.get("content") or ""
    thinking = message.get("reasoning_content") or message.get("reasoning")
    if not thinking:
        return content
    thinking = "<think>\n" + thinking.strip("\n") + "\n"
    return f"{thinking}</think>\n\n{content}" if content else thinking


def ended(text: str, sampled: str, choice: dict[str, Any], stops: Sequence[str]) -> tuple[str, str | None]:
    """The text, cut before a stop string, and the stop string, as far as it can be known.

    sampled: the text of all tokens, which a server may give without a cut; "" if it tells of none.
    """
    for name in ("stop_reason", "matched_stop"):  # vLLM's name, and SGLang's; a number is a token that ends the text
        if choice.get(name) in stops:
            return text, choice[name]
    for whole in (text, sampled if sampled.startswith(text) else ""):
        places = [(whole.find(stop), stop) for stop in stops if stop in whole]
        if places:
            return text[: min(places)[0]], min(places)[1]
    return text, None


def sampled_text(completion: Completion) -> str:
    """All that was sampled, but for a token that ends the text: also a stop string, and the rest of its last token."""
    known = completion.text + (completion.stop_string or "")
    pieces = "".join(completion.pieces)
    return pieces if completion.stop_string is not None and pieces.startswith(known) else known


def tokens_of(choice: dict[str, Any]) -> list[ServerToken]:
    """The tokens of a choice, in whichever of the two forms they come; [] if the server tells of none."""
    told = choice.get("logprobs") or {}
    if told.get("content") is not None:  # of a chat; from llama.cpp and Ollama always
        return [
            ServerToken(entry["token"], entry["logprob"],
                  in_order((top["token"], top["logprob"]) for top in entry.get("top_logprobs") or []))
            for entry in told["content"]
        ]  # fmt: skip
    texts = told.get("tokens") or []
    tops = told.get("top_logprobs") or [None] * len(texts)
    return [
        ServerToken(text, logprob, in_order((top or {}).items()))
        for text, logprob, top in zip(texts, told.get("token_logprobs") or [], tops, strict=True)
    ]


def in_order(top: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(top, key=lambda pair: -pair[1])


def confidence(token: ServerToken) -> float:
    """Minus the mean log-probability of the 20 likeliest tokens, in nats (arXiv:2508.15260, equation 2)."""
    logprobs = [logprob for _, logprob in token.top[:CONFIDENCE_TOKENS]]
    return -math.fsum(logprobs) / len(logprobs)


def margin(token: ServerToken) -> float:
    """The likeliest token's probability minus the second's (arXiv:2402.10200)."""
    first, second = (math.exp(logprob) for _, logprob in token.top[:2])
    return first - second


def last_tokens(tokens: Sequence[ServerToken], text: str) -> list[float | None]:
    """The log-probabilities of the tokens that spell the end `text` of a longer text; [None] if they do not."""
    first, spelt = len(tokens), ""
    while first and (len(spelt) < len(text) or (spelt and not tokens[first - 1].text)):
        first -= 1
        spelt = tokens[first].text + spelt
    return [token.logprob for token in tokens[first:]] if spelt.endswith(text) else [None]


@contextmanager
def reading(where: str) -> Iterator[None]:
    """An answer that lacks what it must have is said to be the server's fault."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{where} gives an answer that is not as OpenAI's API has it ({error!r})") from error
