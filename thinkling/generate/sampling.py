"""How a completion is drawn: the sampling parameters of one request, and the seeds of many. Records without torch.

What the parameters do to logits is in distribution.py.
"""

import hashlib
from dataclasses import dataclass

from thinkling.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How to draw a completion.

    temperature: divides the logits; 0 is greedy (always the likeliest token).
    top_k: keep the k likeliest tokens (0 keeps all). top_p: then keep the smallest set with this much probability
    (Holtzman et al., arXiv:1904.09751). min_p: then drop tokens below this share of the likeliest's probability
    (arXiv:2407.01082). Each works on what the one before it left.
    max_tokens: the completion's length at most, in tokens.
    stop: strings that end the completion; the text is cut before them.
    max_thinking_tokens: close thinking when it is so long (thinking_budget.py), so that the answer has room; None never
    does.
    max_repeats: end a completion whose tail is one block of at most 64 tokens this many times over (0 never does).
    seed: where this request's random stream starts; any whole number.
    measure: also keep how sure the model was of each token (distribution.measure).
    min_confidence: end a completion once the mean confidence of its last `confidence_window` tokens falls below this
    (DeepConf online, arXiv:2508.15260); None never does.
    sampling_mask: also keep which tokens were left to draw from after top-k, top-p and min-p, so that a trainer can
    score on the same ones (the kept sampling mask of DeepSeek-V3.2, arXiv:2512.02556, section 3.1).
    presence_penalty, frequency_penalty: taken from the logit of a token that the completion holds, once and once per
    time (OpenAI's and vLLM's definition); 0 is off. repetition_penalty: divides a positive logit, and multiplies a
    negative one, of a token that prompt or completion holds (CTRL, arXiv:1909.05858, as in transformers); 1 is off.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    max_repeats: int = 0
    seed: int = 0
    measure: bool = False
    min_confidence: float | None = None
    confidence_window: int = 128
    sampling_mask: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    max_thinking_tokens: int | None = None

    def __post_init__(self) -> None:
        bounds = [
            (self.temperature >= 0, f"temperature must be 0 (greedy) or more, not {self.temperature}"),
            (self.top_k >= 0, f"top-k must be 0 (off) or more, not {self.top_k}"),
            (0 < self.top_p <= 1, f"top-p must be above 0 and at most 1 (off), not {self.top_p}"),
            (0 <= self.min_p <= 1, f"min-p must be between 0 (off) and 1, not {self.min_p}"),
            (self.max_tokens >= 1, f"max-tokens must be at least 1, not {self.max_tokens}"),
            (
                self.max_thinking_tokens is None or self.max_thinking_tokens >= 1,
                f"max-thinking-tokens must be at least 1, not {self.max_thinking_tokens}",
            ),
            (self.max_repeats == 0 or self.max_repeats >= 2, "max-repeats must be 0 (off) or at least 2"),
            (not isinstance(self.stop, str), "stop takes several strings: write stop=(text,) for one"),
            (all(self.stop), "a stop string must not be empty"),
            (isinstance(self.seed, int), f"a seed must be a whole number, not {self.seed}"),
            (self.confidence_window >= 1, f"confidence-window must be at least 1, not {self.confidence_window}"),
            (-2 <= self.presence_penalty <= 2, f"presence-penalty must be in [-2, 2], not {self.presence_penalty}"),
            (-2 <= self.frequency_penalty <= 2, f"frequency-penalty must be in [-2, 2], not {self.frequency_penalty}"),
            (
                0.1 <= self.repetition_penalty <= 9,
                f"repetition-penalty must be from 0.1 to 9, not {self.repetition_penalty}",
            ),
        ]
        for holds, message in bounds:
            if not holds:
                raise UserError(message)

    @property
    def truncates(self) -> bool:
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0

    @property
    def penalises(self) -> bool:
        return (self.presence_penalty, self.frequency_penalty, self.repetition_penalty) != (0, 0, 1)


def derive_seed(*parts: object) -> int:
    """A seed for one of many requests, the same on every machine: derive_seed(run_seed, problem_id, sample)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
