"""The next tokens of many requests from the logits of one pass: drawn at once, and then taken, place by place.

A place is behind all that a request holds, and perhaps behind some guesses (guesses.py). Left out: whether a request
has ended with what it took (engine.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thinkling.device import to_device, to_host
from thinkling.errors import UserError
from thinkling.generate.distribution import BatchedSampling, choose, measure, not_finite, penalise, sampling_masks, tell
from thinkling.generate.scheduler import Request, Told
from thinkling.generate.thinking_budget import LIKELY


@dataclass(frozen=True)
class Place:
    """ahead: how many of the request's guesses stand between what it holds and this place."""

    request: Request
    ahead: int


def places_of(running: Sequence[Request]) -> list[Place]:
    """All places at which the requests may draw, request by request."""
    return [Place(request, ahead) for request in running for ahead in range(1 + len(request.guesses))]


def guessed_right(request: Request, place: int) -> bool:
    """Was the token that it has just taken the guess at this place, and may the next one be drawn?"""
    return place < len(request.guesses) and request.tokens[-1] == request.guesses[place] and not request.forced


def may_read_ahead(decoding: Sequence[Request], longest: int, room: int) -> bool:
    """May the tokens just drawn be read before the program has seen them? Not where it might put others in their place;
    where rows, `room` long, of which the longest holds so many tokens, must be cut anew; or where all are the last."""
    free = not any(request.budget is not None or request.forced or request.guesses for request in decoding)
    last = all(len(request.tokens) + 1 == request.sampling.max_tokens for request in decoding)
    return free and not last and longest < room


def not_finite_of(request: Request, dtype: torch.dtype) -> UserError:
    return not_finite(f"request {request.id}", len(request.tokens) + 1, dtype)


def no_memory_for(request: Request) -> UserError:
    held = f"request {request.id}: no memory is left to read its {len(request.prompt):,} tokens"
    return UserError(f"{held}: lower --cache-gb, or shorten the prompt")


class Drawn:
    """A token for each place. raw: its logits, one row per place, as the model gave them. batch: the sampling of each
    place's request. on_device: the tokens (N,), at once; `tokens` and `logprobs` are here after `wait`."""

    def __init__(self, places: Sequence[Place], raw: Tensor, batch: BatchedSampling, dtype: torch.dtype) -> None:
        self.raw, self.dtype = raw, dtype
        prompts = [place.request.prompt for place in places]
        completions = [[*place.request.tokens, *place.request.guesses[: place.ahead]] for place in places]
        logits = penalise(raw, batch, prompts, completions)
        uniforms = to_device([place.request.uniform(place.ahead) for place in places], raw.device)
        self.on_device, logprobs = choose(logits, batch, uniforms)
        self._arriving = to_host(self.on_device, logprobs)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.measured = measure(raw).tolist() if batch.measures else None
        self.masks = sampling_masks(logits, batch) if batch.keeps else None

    def wait(self) -> None:
        """Until the tokens are here, but not for what the device was told to do since."""
        self.tokens, self.logprobs = self._arriving()

    def take(self, going: dict[Request, int]) -> None:
        """Each of these requests takes the token that was drawn at its place, or one that is forced upon it."""
        for request, place in going.items():
            self._close_softly(request, place)
            if request.forced:
                self.tokens[place] = request.forced.popleft()
                self.logprobs[place] = tell(self.raw[place : place + 1], self.tokens[place : place + 1], 0)[0][0]
            token, logprob = self.tokens[place], self.logprobs[place]
            if math.isnan(logprob):
                request.error = not_finite_of(request, self.dtype)
            request.take(token, logprob)
            if self.measured is not None:
                request.measured.append(self.measured[place])
            if self.masks is not None and request.sampling.sampling_mask:
                request.sampling_mask.append(self.masks[place])
        self._tell({request: place for request, place in going.items() if request.tell is not None})

    def _close_softly(self, request: Request, place: int) -> None:
        """Where the thinking may end, and `</think>` is likely, it is what comes next."""
        budget = request.budget
        may_close = budget is not None and budget.soft and not request.forced
        if may_close and self.raw[place].float().log_softmax(-1)[budget.end] >= LIKELY:
            request.forced.append(budget.end)

    def _tell(self, going: dict[Request, int]) -> None:
        """Keep how likely each new token was, where that is asked."""
        if going:
            places = list(going.values())
            most = max(request.tell for request in going)
            found = tell(self.raw[places], [self.tokens[place] for place in places], most)
            for request, (logprob, top) in zip(going, found, strict=True):
                request.told.append(Told(logprob, tuple(top[: request.tell])))
