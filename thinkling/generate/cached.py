"""Ask a model once, and answer from a file ever after.

A `CachedModel` takes the same calls as the model behind it. What was asked before, with the same prompt and sampling,
is read back; the rest is asked and written down at once. So many methods can be measured on one pool of samples, each
as if it ran alone, and a run that was interrupted resumes. Every completion of a model that is loaded here is measured
(Sampling.measure), so that any scorer can be tried on the pool later; of a server, which may give no log-probabilities,
only those that must be.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from thinkling.errors import UserError
from thinkling.generate.completion import Completion, finish_reason
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Forwarding, Model
from thinkling.generate.sampling import Sampling
from thinkling.runs import append_jsonl, read_jsonl

COLUMNS = ("logprobs", "confidence", "certainty", "margin")
NOT_WATCHED = {"min_confidence": None, "confidence_window": Sampling.confidence_window}


class CachedModel(Forwarding):
    """`model` behind the pool of answers in `path`, a JSON Lines file that is made if it is not there.

    num_asked: how many answers the model had to give since this object was made. Raises UserError if the pool was drawn
    from another model.
    """

    def __init__(self, model: Model, path: Path) -> None:
        self.model, self.path, self.name = model, Path(path), model.name
        self.num_asked = 0
        self._known: dict[str, Any] = {}
        self._under_way: dict[str, asyncio.Future] = {}
        source = {"model": model.name, "weights": fingerprint(model)}
        if self.path.exists():
            drop_half_line(self.path)
        if not self.path.exists() or self.path.stat().st_size == 0:  # killed in its first line
            append_jsonl(self.path, [source])
        for number, row in enumerate(read_jsonl(self.path)):
            if number == 0 and row != source:
                raise UserError(f"{self.path}: these samples are of {row.get('model')}, with other weights or another "
                                f"name than {model.name}: choose another --out")  # fmt: skip
            if number:
                self._known[row.pop("key")] = row

    async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
        measured = replace(sampling, measure=True)
        key = key_of("complete", prompt, measured)
        if not (sampling.measure or key in self._known or isinstance(self.model, LanguageModel)):
            measured, key = sampling, key_of("complete", prompt, sampling)
        if sampling.min_confidence is not None and key not in self._known:
            free = key_of("complete", prompt, replace(measured, **NOT_WATCHED))
            if isinstance(self._known.get(free), Completion) and isinstance(self.model, LanguageModel):
                return cut_where_unsure(self._known[free], sampling, self.model)
        await self._answer(key, lambda: self._complete(prompt, measured))
        if isinstance(self._known[key], dict):  # a row of the file; from now on one completion, the same each time
            self._known[key] = completion_of(self._known[key], prompt)
        return self._known[key]

    async def _complete(self, prompt: Any, sampling: Sampling) -> dict:
        return row_of(await self.model.complete(prompt, sampling))

    async def logprob_of(self, prompt: Any, text: str) -> float:
        async def ask() -> dict:
            return {"logprob": await self.model.logprob_of(prompt, text)}

        return (await self._answer(key_of("logprob", prompt, text), ask))["logprob"]

    async def _answer(self, key: str, ask: Callable[[], Awaitable[dict]]) -> Any:
        """What is known under this key, or else what `ask` returns, written down. Asked twice at once, it asks once."""
        if key in self._known:
            return self._known[key]
        if key in self._under_way:
            return await self._under_way[key]
        future = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            row = await ask()
        except BaseException as error:
            future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            future.cancelled() or future.exception()  # seen: nobody else may be waiting
            raise
        finally:
            del self._under_way[key]
        append_jsonl(self.path, [{"key": key, **row}])
        self.num_asked += 1
        self._known[key] = row
        future.set_result(row)
        return row


def key_of(*question: object) -> str:
    return hashlib.sha256(repr(question).encode()).hexdigest()[:24]


def row_of(completion: Completion) -> dict:
    """A completion as a line of the pool: numbers in six digits, what is empty left out."""
    row = {name: [float(f"{value:.6g}") for value in getattr(completion, name)] for name in COLUMNS}
    row |= {"tokens": completion.tokens, "pieces": completion.pieces, "stop_string": completion.stop_string}
    row = {name: value for name, value in row.items() if value}
    return row | {"num_prompt_tokens": len(completion.prompt_tokens), "finish_reason": completion.finish_reason,
                  "text": completion.text, "seconds": float(f"{completion.seconds:.6g}")}  # fmt: skip


def completion_of(row: dict, prompt: Any) -> Completion:
    """The completion that `row_of` wrote, of this prompt."""
    known = isinstance(prompt, list | tuple)
    tokens = tuple(prompt) if known else (-1,) * row["num_prompt_tokens"]
    columns = {name: tuple(row.get(name, ())) for name in (*COLUMNS, "tokens", "pieces")}
    return Completion(tokens, finish_reason=row["finish_reason"], text=row["text"], stop_string=row.get("stop_string"),
                      seconds=row["seconds"], **columns)  # fmt: skip


def cut_where_unsure(whole: Completion, sampling: Sampling, model: LanguageModel) -> Completion:
    """What a trace that is watched would have been, from the same one unwatched: its first tokens, and their cost."""
    for end in range(sampling.confidence_window, len(whole.tokens)):
        tokens, confidence = whole.tokens[:end], whole.confidence[:end]
        if finish_reason(tokens, confidence, sampling, (), len(whole.tokens) + 1) == "confidence":
            columns = {name: getattr(whole, name)[:end] for name in COLUMNS}
            return replace(whole, tokens=tokens, finish_reason="confidence", text=model.text_of(tokens),
                           stop_string=None, seconds=whole.seconds * end / len(whole.tokens), **columns)  # fmt: skip
    return whole


def drop_half_line(path: Path) -> None:
    """Cut off a last line that an interruption left half written."""
    text = path.read_bytes()
    if text and not text.endswith(b"\n"):
        with open(path, "r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def fingerprint(model: Model) -> str:
    """Tells weights apart: a hash of the first values of every parameter; "" for a model on a server."""
    if not isinstance(model, LanguageModel):
        return ""
    digest = hashlib.sha256()
    for name, weight in model.network.named_parameters():
        values = weight.detach().flatten()[:256].to("cpu", torch.float32)
        digest.update(name.encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]
