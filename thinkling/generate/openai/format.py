"""The records of this package in OpenAI's JSON, and back: what is asked of a server, and what it answers.

Servers differ in what they add to that JSON and leave out of it; each such difference is named where it is met.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.distribution import CONFIDENCE_TOKENS
from thinkling.generate.sampling import Sampling


@dataclass(frozen=True)
class Chat:
    """The messages of a chat, oldest first; thinking: whether the model may think before it replies."""

    messages: tuple[dict, ...]
    thinking: bool


Prompt = str | Chat

STOPPED = ("stop", "eos", "eos_token", "stop_sequence", "end_turn")  # finish reasons of an answer that came to its end
CUT = ("length", "max_tokens", "model_length", "", None)
MOST_TOKENS = 2**22  # that an answer may say it has: more than any context holds
LOWEST_LOGPROB = -9999.0  # for minus infinity, as vLLM has it: JSON has no infinity


class NoAnswer(Exception):
    """The server gave up in the middle, or withholds what the model said."""


@dataclass(frozen=True)
class ServerToken:
    """A token as a server tells of it. logprob: in nats, None for the first of a text. top: the likeliest in its place,
    likeliest first."""

    text: str
    logprob: float | None
    top: list[tuple[str, float]]


def request_of(prompt: Prompt, sampling: Sampling, num_likeliest: int) -> tuple[str, dict[str, Any]]:
    """The endpoint and the request's fields, but for model and length. num_likeliest: tokens to be told, per place."""
    # What is off is said too: a server may have other defaults. vLLM takes them from the checkpoint: Qwen2.5's have a
    # repetition penalty of 1.05, greedy or not, and Qwen3's a top-k of 20.
    fields: dict[str, Any] = {"temperature": sampling.temperature, "return_token_ids": True,
                              "repetition_penalty": sampling.repetition_penalty}  # fmt: skip
    if sampling.temperature > 0:
        fields |= {"top_p": sampling.top_p, "top_k": sampling.top_k or -1, "min_p": sampling.min_p}
        fields["seed"] = sampling.seed % 2**31  # llama.cpp keeps 32 bits; numbers in JSON are exact to 53
    if sampling.presence_penalty or sampling.frequency_penalty:
        fields |= {"presence_penalty": sampling.presence_penalty, "frequency_penalty": sampling.frequency_penalty}
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    if isinstance(prompt, str):
        return "/completions", {"prompt": prompt, "logprobs": num_likeliest} | fields
    fields |= {"messages": list(prompt.messages), "chat_template_kwargs": {"enable_thinking": prompt.thinking}}
    if num_likeliest > 1:
        fields["top_logprobs"] = num_likeliest
    return "/chat/completions", {"logprobs": True} | fields


def completion_of(answer: dict[str, Any], sampling: Sampling, seconds: float) -> Completion:
    """The first choice as a completion. Log-probabilities that are null or NaN are not told: all of them are ().

    A server that counts no tokens (no `usage`), and tells none, is taken to have sampled one for every four bytes.
    """
    choice = answer["choices"][0]
    tokens = tokens_of(choice)
    pieces = tuple(token.text for token in tokens)
    text, stop_string = ended(text_of(choice), "".join(pieces), choice, sampling.stop)
    reason = "stop" if stop_string is not None else finish_reason_of(choice)
    prompt_ids = choice.get("prompt_token_ids") or answer.get("prompt_token_ids")
    # One per token: a server may count the tokens of a stop string, and not give their log-probabilities.
    num_tokens = len(tokens) or count(answer, "completion_tokens")
    if num_tokens is None:
        num_tokens = sampling.max_tokens if reason == "length" else math.ceil(len(text.encode()) / 4)
    logprobs = tuple(token.logprob for token in tokens)
    measured: dict[str, tuple[float, ...]] = {}
    if sampling.measure:
        if None in logprobs:
            raise ValueError("a token's log-probability is null or NaN")
        measured = {"confidence": tuple(map(confidence, tokens)), "margin": tuple(map(margin, tokens))}
    return Completion(
        prompt_tokens=token_ids(prompt_ids, count(answer, "prompt_tokens") or 0),
        tokens=token_ids(choice.get("token_ids"), num_tokens),
        logprobs=() if None in logprobs else logprobs,
        finish_reason=reason, text=text, stop_string=stop_string, pieces=pieces, seconds=seconds,
        **measured,
    )  # fmt: skip


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice; thinking that the server has taken out of a reply is put back in front of it."""
    if "text" in choice:
        return joined_parts(choice["text"], "text")
    message = choice["message"]
    content = joined_parts(message.get("content"), "text")
    thinking = joined_parts(message.get("reasoning_content") or message.get("reasoning"), "text")
    thinking = thinking or joined_parts(message.get("content"), "thinking")
    if not thinking:
        return content
    thinking = "<think>\n" + thinking.strip("\n") + "\n"
    return f"{thinking}</think>\n\n{content}" if content else thinking


def joined_parts(content: Any, kind: str) -> str:
    """A text that may come in parts: of a list, the parts of this kind. Mistral has its thinking there, too."""
    if content is None or isinstance(content, str):
        return (content or "") if kind == "text" else ""
    if not isinstance(content, list):
        raise TypeError(f"content must be a text or a list of parts, not {type(content).__name__}")
    parts = [{"type": "text", "text": part} if isinstance(part, str) else part for part in content]
    chosen = [part[kind] for part in parts if part.get("type") in (kind, f"output_{kind}")]
    return "".join(part if isinstance(part, str) else joined_parts(part, "text") for part in chosen)


def finish_reason_of(choice: dict[str, Any]) -> str:
    """Completion's word for the server's. Raises NoAnswer where there is nothing to grade, as with content_filter."""
    reason = choice["finish_reason"]
    if reason in STOPPED:
        return "stop"
    if reason in CUT:
        return "length"
    if reason == "repetition":
        return reason
    raise NoAnswer(f"ended the answer with finish_reason {str(reason)[:60]!r}: it cannot be graded")


def token_ids(given: list[int] | None, num: int) -> tuple[int, ...]:
    """The ids as the server tells them; -1 for each of `num` tokens if it does not."""
    if not given:
        return (-1,) * num
    if any(type(number) is not int for number in given):
        raise ValueError("a token's id is no whole number")
    return tuple(given)


def count(answer: dict[str, Any], name: str) -> int | None:
    """A number of tokens in `usage`; None if the server gives none."""
    number = (answer.get("usage") or {}).get(name)
    if number is None or (isinstance(number, int | float) and 0 <= number <= MOST_TOKENS and number == int(number)):
        return number if number is None else int(number)
    raise ValueError(f"{name} is {str(number)[:40]}")


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
            ServerToken(entry["token"], finite(entry["logprob"]),
                  in_order((top["token"], top["logprob"]) for top in entry.get("top_logprobs") or []))
            for entry in told["content"]
        ]  # fmt: skip
    texts = told.get("tokens") or []
    tops = told.get("top_logprobs") or [None] * len(texts)
    return [
        ServerToken(text, finite(logprob), in_order((top or {}).items()))
        for text, logprob, top in zip(texts, told.get("token_logprobs") or [], tops, strict=True)
    ]


def in_order(top: Iterable[tuple[str, float | None]]) -> list[tuple[str, float]]:
    """The likeliest first; one whose log-probability is not told is left out."""
    told = [(text, finite(logprob)) for text, logprob in top]
    return sorted([pair for pair in told if pair[1] is not None], key=lambda pair: -pair[1])


def finite(logprob: float | None) -> float | None:
    """The log-probability; None if it is null, NaN or plus infinity, so that no such number ever reaches a file."""
    if logprob is None or math.isnan(logprob) or logprob == math.inf:
        return None
    return max(float(logprob), LOWEST_LOGPROB)


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
    """An answer that lacks what it must have, or is none, is said to be the server's fault."""
    try:
        yield
    except NoAnswer as error:
        raise UserError(f"{where} {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{where} gives an answer that is not as OpenAI's API has it ({error!r})") from error
