"""Continuous batching: requests join the running batch when there is room and leave it when they are done.

Tokens in, tokens out; the engine knows nothing of text. Which requests run is the scheduler's question, which tensors
go in the runner's; a sample whose prompt is already being completed in another row copies what that row has read of it.
Where memory runs short, the newest requests make way, and later go on. One thread owns an engine (engine_thread.py).
"""

import itertools
from collections.abc import Callable, Collection, Hashable, Sequence

import torch

from thinkling.generate.completion import check_prompt, finish_reason
from thinkling.generate.distribution import BatchedSampling, uniforms
from thinkling.generate.drawing import Drawn, guessed_right, may_read_ahead, no_memory_for, not_finite_of, places_of
from thinkling.generate.jobs import Job, Meter, Outcome, Reading
from thinkling.generate.memory import memory_for
from thinkling.generate.prefixes import Prefixes
from thinkling.generate.runner import Prefill, Runner
from thinkling.generate.sampling import Sampling
from thinkling.generate.scheduler import Request, Scheduler
from thinkling.generate.thinking_budget import ThinkingBudget
from thinkling.model.cache import bytes_per_token
from thinkling.model.transformer import Transformer

BATCHED_TOKENS = {True: 512, False: 2048}  # of a step at most, on a CPU and elsewhere; a GPU reads more in as long


class Engine:
    """Completes many requests at once with one model.

    max_rows: requests in the batch at most. max_length: prompt and completion of one request at most, in tokens.
    cache_gb: memory for the key-value cache at most, in GB; where max_rows do not fit into it, fewer run at once.
    prefix_gb: so much of it, but at most half, keeps what was read, so that prompts which begin alike need not be read
    again; for weights that do not change. 0 keeps nothing.
    speculate: tokens that are guessed ahead at most, where what a request holds repeats (guesses.py).
    max_num_batched_tokens: that one step reads at most, prompts in chunks; None: see BATCHED_TOKENS.
    budget_of: makes the budget of a request's thinking of its prompt, sampling and room (thinking_budget.py).
    """

    def __init__(
        self,
        model: Transformer,
        stop_ids: Collection[int],
        max_rows: int = 128,
        max_length: int = 1024,
        cache_gb: float = 2.0,
        prefix_gb: float = 0.0,
        speculate: int = 0,
        max_num_batched_tokens: int | None = None,
        budget_of: Callable[[Sequence[int], Sampling, int], ThinkingBudget] | None = None,
    ) -> None:
        self.model = model
        self.stop_ids = frozenset(stop_ids)
        self.budget_of = budget_of
        self.max_length = min(max_length, model.config.max_position_embeddings)
        prefix_gb = min(prefix_gb, cache_gb / 2)
        token_bytes = bytes_per_token(model.config, model.dtype)
        memory = memory_for(token_bytes, max_rows, self.max_length, cache_gb - prefix_gb)
        self.max_rows = memory.most_rows
        self.scheduler = Scheduler(memory, max_num_batched_tokens or BATCHED_TOKENS[model.device.type == "cpu"])
        self.prefixes = Prefixes(model.config, model.device, model.dtype, prefix_gb) if prefix_gb else None
        self.speculate = speculate
        self.runner = Runner(model, memory, self.prefixes, speculate)
        self.readings: list[Reading] = []
        self.batch: BatchedSampling | None = None  # of the requests that decode; None when they have changed
        self.num_prefilled = 0  # tokens of prompts that this step has read
        self.meter, self.first_anew = Meter(), 0  # from which id on requests have read nothing with other weights
        self._numbers = itertools.count(1)

    # --- what is asked for; `request` and `reading` may be called from any thread ---

    def request(
        self, prompt: Sequence[int], sampling: Sampling, on_token: Callable[[int], object] | None = None,
        tell: int | None = None, client: Hashable = None,
    ) -> Request:  # fmt: skip
        """A request for `add`; the fields: see Request. Raises UserError if the prompt is empty or does not fit, or
        its thinking would leave no room for an answer."""
        check_prompt(prompt, self.max_length)
        bound = sampling.max_thinking_tokens is not None and self.budget_of is not None
        budget = self.budget_of(prompt, sampling, self.max_length - len(prompt)) if bound else None
        return Request(next(self._numbers), tuple(prompt), sampling, on_token, uniforms(sampling), tell, client, budget)

    def reading(self, tokens: Sequence[int]) -> Reading:
        """A reading for `add`; its outcome are the last layer's hidden states, (T, D)."""
        check_prompt(tokens, self.max_length + 1)
        return Reading(next(self._numbers), tuple(tokens))

    def add(self, *jobs: Job) -> None:
        for job in jobs:
            if isinstance(job, Reading):
                self.readings.append(job)
            else:
                self.scheduler.waiting.append(job)

    def submit(self, prompt: Sequence[int], sampling: Sampling, on_token: Callable[[int], object] | None = None) -> int:
        """Queue a request; returns its id. `on_token` sees each token as it is drawn; a true value ends the request."""
        request = self.request(prompt, sampling, on_token)
        self.add(request)
        return request.id

    @torch.inference_mode()
    def cancel(self, *ids: int) -> None:
        """Forget requests and readings, whether they wait or run."""
        self.readings = [reading for reading in self.readings if reading.id not in ids]
        for request in self.scheduler.forget(ids):
            self._remove(request)

    def clear(self) -> None:
        """Forget everything."""
        self.readings.clear()
        self.scheduler.clear()
        self.batch = None

    @torch.inference_mode()
    def weights_changed(self) -> None:
        """What was read with the old weights is of use to nobody but those who decode behind it; a prompt that is being
        read is read anew."""
        for request in reversed(self.scheduler.prefilling):
            self._remove(request)
            self.scheduler.waiting.put_back(request)
        self.scheduler.part_siblings()
        if self.prefixes is not None:
            self.prefixes.clear()
        self.first_anew = next(self._numbers)
        self.runner.look_at_weights()

    @property
    def running(self) -> list[Request]:
        return self.scheduler.running

    @property
    def busy(self) -> bool:
        return bool(self.running or self.scheduler.waiting or self.readings)

    # --- one step ---

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Outcome]]:
        """Read prompts, and draw the next token of every row, or several. Returns what has ended, as (id, outcome).

        What goes wrong with one request is its outcome. What goes wrong with the pass is raised, and then the engine is
        empty and can be used again.
        """
        try:
            ended = self._read_given()
            self.meter.start()
            self._admit()
            ended += self._prefill()
            ahead = self.scheduler.decoding and self._draw(ended)
            self._make_room()
            if self.scheduler.decoding and not ahead:
                self._decode()
            return ended
        except BaseException:
            self.clear()
            raise

    def _read_given(self) -> list[tuple[int, Outcome]]:
        """One pass over the longest readings, a short one where requests run; the rest waits until these states have
        been used, and so freed."""
        if not self.readings:
            return []
        self.readings.sort(key=lambda reading: len(reading.tokens))
        most = self.scheduler.budget if self.running else None
        found = self.runner.read([reading.tokens for reading in self.readings], most)
        self.readings, now = self.readings[: -len(found)], self.readings[-len(found) :]
        return [(reading.id, hidden) for reading, hidden in zip(now, found, strict=True)]

    def _admit(self) -> None:
        """Fill free rows from the queue."""
        if not self.running and self.scheduler.waiting:
            self.runner.look_at_weights()
        longest = self.scheduler.longest
        new = self.scheduler.admit()
        if new:
            self.runner.recut(self.scheduler.room, len(self.running) - len(new), longest)
        for request in new:  # who is told log-probabilities reads its whole prompt, so that they are the same each time
            whole = request.tell is not None or not request.reads_itself
            request.read = self.runner.open(request.row, request.prompt, whole)

    def _prefill(self) -> list[tuple[int, Outcome]]:
        """Read as much of the prompts as this step may. Returns what has failed."""
        shares, lost = self.scheduler.shares(), []
        reads = [Prefill(request.row, (*request.prompt, *request.tokens), len(request.prompt), request.read,
                         min(request.read + share, request.length)) for request, share in shares.items()]  # fmt: skip
        self.num_prefilled = sum(read.end - read.start for read in reads)
        failed = self.runner.prefill(reads)
        for request, read in zip(shares, reads, strict=True):
            request.read = read.end
            if request.row in failed:
                numbers = failed[request.row] == "numbers"
                request.error = not_finite_of(request, self.model.dtype) if numbers else no_memory_for(request)
                lost.append(request)
        for request in sorted(lost, key=lambda request: -request.row):  # so that none of them moves
            self._remove(request)
        self._begin()
        if shares:
            self.meter.charge(list(shares))
        return [(request.id, request.error) for request in lost]

    def _begin(self) -> None:
        """Whose prompt has been read, decodes from now on; and other samples of it, which copy what was read. They
        follow it, as their rows do, so that few rows change places."""

        def order(request: Request) -> tuple[int, int]:
            return (request if request.reads_itself else request.siblings[0]).row, -request.reads_itself

        for request in sorted(self.scheduler.prefilling, key=order):
            if not self.scheduler.is_read(request):
                continue
            if not request.reads_itself:
                self.runner.copy_prompt(request.siblings[0].row, request.row, len(request.prompt))
            if rows := self.scheduler.begin(request):
                self.runner.swap(rows, max(self.running[row].length for row in rows))
            self.batch = None

    def _draw(self, ended: list[tuple[int, Outcome]]) -> bool:
        """Draw the next token of every request that decodes, and as many more as its guesses were right. Adds to what
        has ended; were the tokens read, too?"""
        decoding = self.scheduler.decoding
        if self.batch is None:
            self.batch = BatchedSampling([request.sampling for request in decoding], self.model.device)
        counts, places = [1 + len(request.guesses) for request in decoding], places_of(decoding)
        batch = self.batch
        if len(places) > len(counts):
            batch = batch.rows(torch.tensor([place.request.row for place in places], device=self.model.device))
        drawn = Drawn(places, self.runner.logits(counts), batch, self.model.dtype)
        ahead = self.runner.reads_ahead and not self.speculate and self._read_ahead(drawn.on_device)
        drawn.wait()
        self.meter.charge(decoding)
        going = {place.request: number for number, place in enumerate(places) if not place.ahead}
        accepted, outcomes = [0] * len(counts), {}
        while going:
            drawn.take(going)
            outcomes |= {request: outcome for request in going if (outcome := self._outcome(request)) is not None}
            going = {request: place + 1 for request, place in going.items()
                     if request not in outcomes and guessed_right(request, accepted[request.row])}  # fmt: skip
            for request in going:
                accepted[request.row] += 1
        if any(accepted):
            self.runner.accept(accepted)
        for request in decoding:
            request.guesses = []
        ended += self._finish(outcomes)
        return ahead

    def _finish(self, outcomes: dict[Request, Outcome]) -> list[tuple[int, Outcome]]:
        """Take out the requests that have just drawn their last token, or cannot go on."""
        for request in sorted(outcomes, key=lambda request: -request.row):
            anew = request.id >= self.first_anew and not request.error
            if self.prefixes is not None and anew:  # all but the last token have been read
                self.prefixes.keep((*request.prompt, *request.tokens[:-1]), self.runner.cache, request.row)
            self._remove(request)
        return [(request.id, outcome) for request, outcome in outcomes.items()]

    def _outcome(self, request: Request) -> Outcome | None:
        if request.error:
            return request.error
        room, confidence = self.max_length - len(request.prompt), []
        if request.sampling.min_confidence is not None:
            confidence = [measured[0] for measured in request.measured[-request.sampling.confidence_window :]]
        reason = finish_reason(request.tokens, confidence, request.sampling, self.stop_ids, room)
        try:
            ends = request.on_token is not None and request.on_token(request.tokens[-1])
        except Exception as error:  # the caller's own code: it concerns this request alone
            return RuntimeError("on_token raised StopIteration") if isinstance(error, StopIteration) else error
        return request.completion("stop" if ends else reason) if ends or reason else None

    def _remove(self, request: Request) -> None:
        """Free a row by moving another one into its place."""
        self.runner.erase(request.row, None if request.error else request.length)
        for source, row in self.scheduler.remove(request):
            moved = self.running[row]
            self.runner.move(source, row, moved.length + len(moved.guesses))
        self.batch = None

    def _make_room(self) -> None:
        """For the new tokens. Where memory does not suffice, the newest requests wait again, and lose nothing."""
        while (request := self.scheduler.crowded_out()) is not None:
            self._remove(request)
            self.scheduler.waiting.put_back(request)
        self.runner.recut(self.scheduler.room, len(self.running), self.scheduler.longest)

    def _read_ahead(self, drawn: torch.Tensor) -> bool:
        """Feed every row what it has just drawn, if that needs no word of the program."""
        decoding, behind = self.scheduler.decoding, [request.read for request in self.scheduler.prefilling]
        if may := may_read_ahead(decoding, self.scheduler.longest, self.scheduler.room):
            self.runner.decode_drawn(drawn[:, None], 1 + max(request.length for request in decoding), behind)
        return may

    def _decode(self) -> None:
        """Feed every row the token it has just drawn, and guesses of those that may follow."""
        decoding, behind = self.scheduler.decoding, [request.read for request in self.scheduler.prefilling]
        longest = max(request.length for request in decoding)
        left = max(self.scheduler.budget - self.num_prefilled - len(decoding), 0)
        for request in decoding:
            request.guess(min(self.speculate, self.scheduler.room - longest, left // len(decoding)))
        self.runner.decode([[request.tokens[-1], *request.guesses] for request in decoding], longest, behind)
        self.meter.charge(decoding)
