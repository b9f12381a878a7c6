"""A completion, and why one ends: at a stop token, out of room, in a loop, or unsure.

Leaves out how it comes about: reference.py says that on a blackboard, engine.py fast.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling

LONGEST_BLOCK = 64  # tokens in a repeated block, at most


@dataclass(frozen=True)
class Completion:
    """What was sampled, and how likely each token was when it was drawn.

    tokens: the sampled ids, the stop id included; -1 for each that a server does not tell. logprobs: one per token, in
    nats (see distribution.choose); () if a server gives none.
    finish_reason: "stop" (a stop id or string), "length" (out of tokens or context), "repetition"; "confidence" or
    "budget" where a method ended it on purpose.
    text: the tokens as text, without the stop id and cut before a stop string; put on by language_model.py.
    stop_string: the one that ended it, if one did.
    confidence, certainty, margin: one per token where Sampling.measure asked (see distribution.measure), else ().
    sampling_mask: the ids that each token was drawn among, where Sampling.sampling_mask asked for them, else ().
    mask: of a trajectory (train/rl/trajectory.py), which tokens were sampled and not given; () where all were.
    pieces: each token's text, where only a server knows it. seconds: its share of the time that the engine was at work.
    version: of a rollout's weights, the optimizer steps behind them; None where nobody counts them.
    """

    prompt_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    text: str = ""
    stop_string: str | None = None
    confidence: tuple[float, ...] = ()
    certainty: tuple[float, ...] = ()
    margin: tuple[float, ...] = ()
    sampling_mask: tuple[tuple[int, ...], ...] = ()
    mask: tuple[bool, ...] = ()
    pieces: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    version: int | None = field(default=None, compare=False)

    @property
    def truncated(self) -> bool:
        """Was it cut off before it ended, and not on purpose?"""
        return self.finish_reason in ("length", "repetition")

    @property
    def num_sampled(self) -> int:
        return sum(self.mask) if self.mask else len(self.tokens)


def completion_of(row: dict) -> Completion:
    """The completion that `dataclasses.asdict` and JSON made this of."""
    return Completion(**{name: frozen(value) for name, value in row.items()})


def frozen(value: object) -> object:
    """Lists as tuples, all the way down."""
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def finish_reason(
    tokens: Sequence[int], confidence: Sequence[float], sampling: Sampling, stop_ids: Collection[int], room: int
) -> str | None:
    """Why a completion ends after these tokens, or None while it goes on. `room`: tokens that fit into the context.

    confidence: of each token; may be empty if the sampling sets no `min_confidence`.
    """
    if tokens[-1] in stop_ids:
        return "stop"
    if len(tokens) >= min(sampling.max_tokens, room):
        return "length"
    if sampling.max_repeats and repeats(tokens, sampling.max_repeats):
        return "repetition"
    window = sampling.confidence_window
    if sampling.min_confidence is not None and len(tokens) >= window:
        return "confidence" if sum(confidence[-window:]) / window < sampling.min_confidence else None
    return None


def repeats(tokens: Sequence[int], times: int) -> bool:
    """Does the sequence end in one block, of 1 to 64 tokens, `times` times over?"""
    for size in range(1, min(LONGEST_BLOCK, len(tokens) // times) + 1):
        tail = tokens[len(tokens) - size * times :]
        if tail[size:] == tail[:-size]:
            return True
    return False


def check_prompt(prompt: Sequence[int], context: int) -> None:
    if not prompt:
        raise UserError("the prompt is empty: give it at least one token")
    if len(prompt) >= context:
        raise UserError(f"the prompt is {len(prompt)} tokens long, but the context holds {context}: shorten the prompt")


def columns(measured: Sequence[Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Rows of `distribution.measure`, one per token, as the completion's three columns."""
    return dict(zip(("confidence", "certainty", "margin"), zip(*measured, strict=True), strict=False))
