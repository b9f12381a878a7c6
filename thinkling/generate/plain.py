"""Generation as it is explained on a blackboard: read everything again for every token. Slow, obvious, the oracle.

Every faster path in this package is tested against `generate`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from thinkling.errors import UserError
from thinkling.generate.sampling import Rules, Sampling, choose
from thinkling.model.qwen3 import Qwen3

LONGEST_BLOCK = 64  # tokens in a repeated block, at most


@dataclass(frozen=True)
class Completion:
    """What was sampled, and how likely each token was when it was drawn.

    tokens: the sampled ids, the stop id included. logprobs: one per token, in nats (see sampling.choose).
    finish_reason: "stop" (a stop id or string), "length" (out of tokens or context), or "repetition".
    text: the tokens as text, without the stop id; put on by language_model.py.
    """

    prompt_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: str
    text: str = ""

    @property
    def truncated(self) -> bool:
        return self.finish_reason != "stop"


def finish_reason(tokens: Sequence[int], sampling: Sampling, stop_ids: Collection[int], room: int) -> str | None:
    """Why a completion ends after these tokens, or None while it goes on. `room`: tokens that fit into the context."""
    if tokens[-1] in stop_ids:
        return "stop"
    if len(tokens) >= min(sampling.max_tokens, room):
        return "length"
    return "repetition" if sampling.max_repeats and repeats(tokens, sampling.max_repeats) else None


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


@torch.inference_mode()
def generate(model: Qwen3, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int]) -> Completion:
    """Complete one prompt without a cache."""
    context = model.config.max_position_embeddings
    check_prompt(prompt, context)
    rules = Rules([sampling], model.device)
    tokens: list[int] = []
    logprobs: list[float] = []
    for uniform in sampling.uniforms():
        hidden = model(torch.tensor([[*prompt, *tokens]], device=model.device))
        token, logprob = choose(model.logits(hidden[:, -1]), rules, torch.tensor([uniform], device=model.device))
        tokens.append(int(token))
        logprobs.append(float(logprob))
        reason = finish_reason(tokens, sampling, stop_ids, context - len(prompt))
        if reason:
            break
    return Completion(tuple(prompt), tuple(tokens), tuple(logprobs), reason)
