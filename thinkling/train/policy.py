"""The policy-gradient loss, as small pure functions of plain tensors.

Letters:  G completions of one prompt,  B completions in a batch,  T tokens.
Every GRPO variant in the guide is a choice of arguments here, never a copy.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def group_advantages(rewards: Float[Tensor, " G"], divide_by_std: bool = False) -> Float[Tensor, " G"]:
    """How much better each completion did than its siblings (DeepSeekMath, arXiv:2402.03300, section 4.1).

    Equal rewards give exactly zero: such a group carries no signal, and rounding must not invent one.
    """
    if bool((rewards == rewards[0]).all()):
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean()
    if divide_by_std:  # GRPO as published; Dr. GRPO leaves it out (arXiv:2503.20783)
        centred = centred / (rewards.std(correction=0) + 1e-6)
    return centred


def clipped_objective(
    logprobs: Float[Tensor, "B T"],
    sampled_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, " B"],
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Float[Tensor, "B T"]:
    """PPO's pessimistic surrogate min(r A, clip(r) A), one value per token, for both signs of A.

    Schulman et al., arXiv:1707.06347, eq. 7.
    """
    ratio = (logprobs - sampled_logprobs).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    per_token = advantages[:, None]  # (B, 1): one advantage for the whole completion
    return torch.minimum(ratio * per_token, clipped * per_token)


def sum_over_constant(
    values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], num_completions: int, max_tokens: int
) -> Float[Tensor, ""]:
    """Sum over tokens, over a denominator that no completion's length can change (Dr. GRPO, arXiv:2503.20783).

    The denominator is that of the whole step, so micro-batches of any size add up to the step's value.
    """
    return (values * mask).sum() / (num_completions * max_tokens)
