"""What the settings of several commands share: names that flags may take, checks, and the flags of every model."""

from dataclasses import dataclass
from typing import Literal

from thinkling.errors import UserError

Split = Literal["train", "held-out", "unseen-templates"]
MethodName = Literal[
    "direct", "step-by-step", "self-consistency", "adaptive", "deepconf", "best-of-n", "refine", "budget-forcing",
    "wait", "beam", "dvts", "cot-decoding",
]  # fmt: skip
ScorerName = Literal[
    "heuristic", "mean-logprob", "sum-logprob", "answer-logprob", "self-certainty", "confidence-mean",
    "confidence-group", "confidence-bottom", "confidence-tail", "p-true", "reward-head", "judge",
]  # fmt: skip
Policy = Literal["lenient", "boxed-only"]
Template = Literal["plain", "step-by-step", "boxed", "few-shot", "chat", "chat-thinking", "none"]


def at_least(minimum: float, **values: float) -> None:
    for name, value in values.items():
        if value < minimum:
            raise UserError(f"--{name.replace('_', '-')} must be at least {minimum}, not {value}")


def above_zero(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    model: str = "thinkling-base"
    """A built-in model's name, a checkpoint's folder, or a Hub id: org/name or org/name@revision."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto (float32 on a CPU, bfloat16 on a GPU), float32, bfloat16 or float16."""
    max_rows: int = 128
    """Requests that are completed at the same time, at most."""
    max_length: int = 1024
    """Prompt and completion of one request, in tokens, at most."""
    cache_gb: float = 2.0
    """Memory for the key-value cache, in GB, at most; where max_rows do not fit, fewer requests run at once."""

    def __post_init__(self) -> None:
        at_least(1, max_rows=self.max_rows)
        at_least(2, max_length=self.max_length)
