"""Continuous batching: requests join the running batch when there is room and leave it when they are done.

Tokens in, tokens out; the engine knows nothing of text. Each step: admit, draw one token for every row, retire the
finished rows, read the drawn tokens. Rows in use are always the cache's first ones, so no step gathers memory; and a
sample whose prompt is already being completed in another row copies what that row has read of it.

Left out: paging, chunked prefill of one long prompt, speculative decoding.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.graphs import CudaGraphDecoder, can_record
from thinkling.generate.plain import Completion, check_prompt, columns, finish_reason
from thinkling.generate.sampling import BatchedSampling, Sampling, choose, measure, support
from thinkling.model.cache import KVCache, bytes_per_token
from thinkling.model.transformer import Transformer

PREFILL_TOKENS = 8192  # padded tokens that one prefill pass reads, at most (or one prompt)


def rows_that_fit(model: Transformer, max_length: int, cache_gb: float) -> int:
    """How many rows of `max_length` tokens a key-value cache of `cache_gb` GB holds."""
    row_gb = bytes_per_token(model.config, model.dtype) * max_length / 1e9
    if row_gb > cache_gb:
        raise UserError(f"one request of {max_length:,} tokens needs {row_gb:.1f} GB of key-value cache, but only "
                        f"{cache_gb} GB are allowed: raise --cache-gb or lower --max-length")  # fmt: skip
    return int(cache_gb / row_gb)


@dataclass
class Row:
    """One request on its way: what it asked for, and what it has so far."""

    request_id: int
    prompt: tuple[int, ...]
    sampling: Sampling
    on_token: Callable[[int], object] | None
    uniforms: list[float]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    measured: list[list[float]] = field(default_factory=list)  # a row of sampling.measure per token
    kept: list[tuple[int, ...]] = field(default_factory=list)  # the ids that each token was drawn among
    seconds: float = 0.0
    prompt_hidden: Tensor | None = None  # (D,) the hidden state behind the prompt, for siblings that join later

    def completion(self, reason: str) -> Completion:
        measured = columns(self.measured) if self.sampling.measure else {}
        tokens, logprobs = tuple(self.tokens), tuple(self.logprobs)
        return Completion(
            self.prompt, tokens, logprobs, reason, kept=tuple(self.kept), seconds=self.seconds, **measured
        )


class Engine:
    """Completes many requests at once with one model.

    max_rows: requests in the batch at most. max_length: prompt and completion of one request at most, in tokens.
    cache_gb: memory for the key-value cache at most, in GB; where max_rows do not fit into it, fewer rows run at once.
    """

    def __init__(
        self,
        model: Transformer,
        stop_ids: Collection[int],
        max_rows: int = 128,
        max_length: int = 1024,
        cache_gb: float = 2.0,
    ) -> None:
        self.model = model
        self.stop_ids = frozenset(stop_ids)
        self.max_length = min(max_length, model.config.max_position_embeddings)
        self.max_rows = min(max_rows, rows_that_fit(model, self.max_length, cache_gb))
        self.cache = KVCache(model.config, self.max_rows, self.max_length, model.device, model.dtype)
        # The hidden state from which each row's next token is drawn.
        self.hidden = torch.zeros(self.max_rows, model.config.hidden_size, device=model.device, dtype=model.dtype)
        self.replay = CudaGraphDecoder(model, self.cache) if can_record(model) else None
        self.rows: list[Row] = []
        self.waiting: deque[Row] = deque()
        self.rules: BatchedSampling | None = None  # of the rows as they stand; None when they have changed
        self.num_requests = 0
        self.charged_until = 0.0  # time.perf_counter() up to which the engine's work has been charged to rows

    def submit(self, prompt: Sequence[int], sampling: Sampling, on_token: Callable[[int], object] | None = None) -> int:
        """Queue a request; returns its id. `on_token` sees each token as it is drawn; a true value ends the request."""
        check_prompt(prompt, self.max_length)
        self.num_requests += 1
        self.waiting.append(Row(self.num_requests, tuple(prompt), sampling, on_token, sampling.uniforms()))
        return self.num_requests

    def cancel(self, request_id: int) -> None:
        """Forget a request, whether it waits or runs."""
        self.waiting = deque(row for row in self.waiting if row.request_id != request_id)
        for place, row in enumerate(self.rows):
            if row.request_id == request_id:
                self._remove(place)
                return

    @property
    def busy(self) -> bool:
        return bool(self.rows or self.waiting)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Completion]]:
        """Draw one token for every row. Returns the requests that finished, as (id, completion)."""
        self.charged_until = time.perf_counter()
        self._charge(self._admit())
        if not self.rows:
            return []
        self._draw()
        self._charge(self.rows)
        finished = self._retire()
        if self.rows:
            self._read()
            self._charge(self.rows)
        return finished

    def _charge(self, rows: list[Row]) -> None:
        """Share the time since the last charge among these rows: what each request cost (a GPU may lag a little)."""
        now = time.perf_counter()
        for row in rows:
            row.seconds += (now - self.charged_until) / len(rows)
        self.charged_until = now

    def _admit(self) -> list[Row]:
        """Fill free rows from the queue, in order; returns the new ones.

        Prompts that no running row has read yet are prefilled together.
        """
        first_new = len(self.rows)
        source = {row.prompt: place for place, row in enumerate(self.rows)}
        unread: list[int] = []
        while self.waiting and len(self.rows) < self.max_rows:
            row, place = self.waiting.popleft(), len(self.rows)
            self.rows.append(row)
            if row.prompt not in source:
                source[row.prompt] = place
                unread.append(place)
        if len(self.rows) > first_new:
            self.rules = None
        self._prefill(unread)
        for place in range(first_new, len(self.rows)):
            origin = source[self.rows[place].prompt]
            if origin != place:
                self._copy(origin, place)
        return self.rows[first_new:]

    def _prefill(self, places: list[int]) -> None:
        """Read the prompts of these rows, in passes of similar length, padded on the right."""
        places = sorted(places, key=lambda place: len(self.rows[place].prompt))
        while places:
            longest = len(self.rows[places[-1]].prompt)
            count = max(1, PREFILL_TOKENS // longest)
            now, places = places[-count:], places[:-count]
            prompts = [self.rows[place].prompt for place in now]
            padded = torch.tensor([[*p, *[0] * (longest - len(p))] for p in prompts], device=self.model.device)
            lengths = torch.tensor([len(p) for p in prompts], device=self.model.device)
            scratch = KVCache(self.model.config, len(now), longest, self.model.device, self.model.dtype)
            hidden = self.model(padded, scratch)
            scratch.advance(lengths)
            for i, place in enumerate(now):
                self.cache.copy_row(scratch, i, place, len(prompts[i]))
                self.hidden[place] = hidden[i, len(prompts[i]) - 1]
                self.rows[place].prompt_hidden = self.hidden[place].clone()

    def _copy(self, origin: int, place: int) -> None:
        """A sample of a prompt that another row has read: take over that row's prompt, not what it said since."""
        sibling, row = self.rows[origin], self.rows[place]
        self.cache.copy_row(self.cache, origin, place, len(row.prompt))
        row.prompt_hidden = sibling.prompt_hidden
        self.hidden[place] = row.prompt_hidden

    def _draw(self) -> None:
        if self.rules is None:
            self.rules = BatchedSampling([row.sampling for row in self.rows], self.model.device)
        uniforms = torch.tensor([row.uniforms[len(row.tokens)] for row in self.rows], device=self.model.device)
        logits = self.model.logits(self.hidden[: len(self.rows)])
        tokens, logprobs = choose(logits, self.rules, uniforms)
        for row, token, logprob in zip(self.rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
        if self.rules.measures:
            for row, measured in zip(self.rows, measure(logits).tolist(), strict=True):
                row.measured.append(measured)
        if self.rules.keeps:
            for row, ids in zip(self.rows, support(logits, self.rules), strict=True):
                if row.sampling.keep_support:
                    row.kept.append(ids)

    def _retire(self) -> list[tuple[int, Completion]]:
        finished = []
        for place in reversed(range(len(self.rows))):
            row = self.rows[place]
            room = self.max_length - len(row.prompt)
            watched = row.sampling.min_confidence is not None
            confidence = (
                [measured[0] for measured in row.measured[-row.sampling.confidence_window :]] if watched else []
            )
            reason = finish_reason(row.tokens, confidence, row.sampling, self.stop_ids, room)
            if row.on_token is not None and row.on_token(row.tokens[-1]):
                reason = "stop"
            if reason:
                finished.append((row.request_id, row.completion(reason)))
                self._remove(place)
        return finished[::-1]

    def _remove(self, place: int) -> None:
        """Free a row by moving the last one into its place."""
        last = len(self.rows) - 1
        if place != last:
            self.cache.copy_row(self.cache, last, place, int(self.cache.lengths[last]))
            self.hidden[place] = self.hidden[last]
            self.rows[place] = self.rows[last]
        self.rows.pop()
        self.rules = None

    def _read(self) -> None:
        """Feed every row the token it has just drawn."""
        tokens = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self.model.device)
        longest = max(len(row.prompt) + len(row.tokens) for row in self.rows)
        part = self.cache.view(len(self.rows), longest)
        read = self.replay(tokens, longest) if self.replay else self.model(tokens, part)[:, 0]
        self.hidden[: len(self.rows)] = read
        part.advance(1)
