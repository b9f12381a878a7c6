"""What an engine is asked for, and what becomes of it: completions of prompts, and the reading of given tokens."""

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
