"""What an engine is asked for, and what becomes of it: completions of prompts, the reading of given tokens; and what
that took."""

import time
from dataclasses import dataclass

from torch import Tensor

from thinkling.generate.completion import Completion
from thinkling.generate.scheduler import Request


@dataclass(frozen=True, eq=False)
class Reading:
    """Given tokens, to be read for their hidden states."""

    id: int
    tokens: tuple[int, ...]


Job = Request | Reading
Outcome = Completion | Tensor | BaseException  # of a request, of a reading, of what went wrong with either


class Meter:
    """Shares the engine's time among those it works for: what each request cost (a GPU may lag a little)."""

    def __init__(self) -> None:
        self.charged_until = 0.0  # time.perf_counter()

    def start(self) -> None:
        self.charged_until = time.perf_counter()

    def charge(self, requests: list[Request]) -> None:
        """The time since the last charge, among these."""
        now = time.perf_counter()
        for request in requests:
            request.seconds += (now - self.charged_until) / len(requests)
        self.charged_until = now
