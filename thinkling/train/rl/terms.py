"""The policy gradient in pure functions of plain tensors: advantages, ratios, surrogates, KL, corrections, weights.

Letters:  B completions (of several groups),  K rewards of each,  T tokens.
Each variant of GRPO is a choice among these (train/rl/objective.py); none is a copy of another. Everything here is to
be maximised. Nothing knows a model, a config or a file.

logprobs: of the policy that learns, with gradient. old: of the weights that the rollouts were drawn from. sampled: what
the sampler said when it drew them. All at the sampling temperature, all (B, T), of any value where the mask is false.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# --- advantages: how much better a completion did than could be expected -----------------------------------------

EPSILON = 1e-6


def group_mean(values: Float[Tensor, "B K"], groups: Int[Tensor, " B"]) -> Float[Tensor, "B K"]:
    """Of each completion's group; groups: a number for each, from 0."""
    sums = torch.zeros(int(groups.max()) + 1, values.shape[1], dtype=values.dtype, device=values.device)
    sums = sums.index_add(0, groups, values)
    return (sums / groups.bincount()[:, None])[groups]


def centred(values: Float[Tensor, "B K"], groups: Int[Tensor, " B"]) -> Float[Tensor, "B K"]:
    """Values less their group's mean; exactly zero where a group's are all equal: rounding must not invent a signal."""
    place = groups[:, None].expand_as(values)
    shape = int(groups.max()) + 1, values.shape[1]
    highest = values.new_full(shape, -torch.inf).scatter_reduce(0, place, values, "amax")
    lowest = values.new_full(shape, torch.inf).scatter_reduce(0, place, values, "amin")
    return torch.where((highest == lowest)[groups], 0.0, values - group_mean(values, groups))


def advantages(
    kind: str,
    rewards: Float[Tensor, "B K"],
    groups: Int[Tensor, " B"],
    lengths: Int[Tensor, " B"],
    weights: Float[Tensor, " K"] | None = None,
) -> Float[Tensor, " B"]:
    """Advantages of all completions of a step; the groups of a step belong in one call.

    kind: reward; mean (Dr. GRPO, arXiv:2503.20783); std (GRPO, arXiv:2402.03300; population deviation); batch-std
    (arXiv:2508.08221); leave-one-out (RLOO, arXiv:2402.14740); whiten, over the step's tokens (REINFORCE++,
    arXiv:2501.03262); max-rl (arXiv:2602.02710); gdpo, each reward by itself (arXiv:2601.05242).
    rewards: K parts of each completion. weights: of the parts, 1 each by default. lengths: in tokens.
    """
    weights = torch.ones(rewards.shape[1], dtype=rewards.dtype, device=rewards.device) if weights is None else weights
    if kind == "gdpo":
        parts = centred(rewards, groups)
        deviation = group_mean(parts**2, groups).sqrt()
        total = (parts / (deviation + EPSILON)) @ weights
        if bool((parts == 0).all()):
            return total
        return (total - total.mean()) / (total.std(correction=0) + EPSILON)
    total = (rewards @ weights)[:, None]
    if kind == "reward":
        return total[:, 0]
    if kind == "whiten":
        if bool((total == total[0]).all()):
            return torch.zeros_like(total[:, 0])
        every = total[:, 0].repeat_interleave(lengths)
        return (total[:, 0] - every.mean()) / (every.std(correction=0) + EPSILON)
    difference = centred(total, groups)
    if kind == "std":
        difference = difference / (group_mean(difference**2, groups).sqrt() + EPSILON)
    elif kind == "batch-std":
        difference = difference / (total.std(correction=0) + EPSILON)
    elif kind == "leave-one-out":
        size = groups.bincount()[groups][:, None]
        difference = difference * size / (size - 1)
    elif kind == "max-rl":
        mean = group_mean(total, groups)
        difference = torch.where(mean > 0, difference / mean.clamp(min=EPSILON), 0.0)
    elif kind != "mean":
        raise ValueError(f"no advantage '{kind}'")
    return difference[:, 0]


# --- ratios: how much likelier the new policy makes what was drawn -----------------------------------------------


def ratios(
    level: str, logprobs: Float[Tensor, "B T"], old: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """New probability over old. token: of each token. product: of the whole completion, at each of its tokens.

    sequence: the geometric mean over the completion (GSPO, arXiv:2507.18071, eq. 7), in the form GSPO-token: its value
    is the sequence's at every token, its gradient that token's own.
    """
    change = ((logprobs - old) * mask).clamp(-20, 20)
    if level == "token":
        return change.exp()
    if level == "product":  # its value at every token; each token carries its own share of the gradient
        whole = change.sum(-1, keepdim=True).clamp(-20, 20).detach().exp()
        return whole * (change - change.detach()).exp()
    if level == "sequence":
        whole = change.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
        return whole.detach().exp() * (change - change.detach()).exp()
    raise ValueError(f"no ratio '{level}'")


# --- surrogates: what each token adds to the objective -----------------------------------------------------------


def clip_surrogate(
    ratio: Float[Tensor, "B T"],
    advantage: Float[Tensor, "B T"],
    low: float,
    high: float,
    dual: float | None = None,
    wrong_way: bool = False,
) -> Float[Tensor, "B T"]:
    """PPO's pessimistic surrogate min(r A, clip(r) A) for both signs of A (arXiv:1707.06347, eq. 7).

    dual: for A < 0, never below dual x A (arXiv:1912.09729). wrong_way: the maximum for A < 0, a mistake of some
    public code: it goes on pushing down what is down already, and does not notice a bad token that became likelier.
    """
    plain, clipped = ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage
    value = torch.minimum(plain, clipped)
    if wrong_way:
        value = torch.where(advantage < 0, torch.maximum(plain, clipped), value)
    if dual is not None:
        value = torch.where(advantage < 0, torch.maximum(value, dual * advantage), value)
    return value


def cispo_surrogate(
    ratio: Float[Tensor, "B T"], advantage: Float[Tensor, "B T"], logprobs: Float[Tensor, "B T"], largest: float
) -> Float[Tensor, "B T"]:
    """sg(min(r, largest)) A log p: the weight is clipped, the gradient never vanishes (arXiv:2506.13585, eq. 4)."""
    return ratio.detach().clamp(max=largest) * advantage * logprobs


def sapo_surrogate(
    ratio: Float[Tensor, "B T"], advantage: Float[Tensor, "B T"], positive: float, negative: float
) -> Float[Tensor, "B T"]:
    """(4 / tau) sigmoid(tau (r - 1)) A: a soft gate instead of a clip, of slope A at r = 1 (arXiv:2511.20347)."""
    tau = torch.where(advantage > 0, positive, negative)
    return 4 / tau * torch.sigmoid(tau * (ratio - 1)) * advantage


# --- the distance to a reference model ---------------------------------------------------------------------------


def kl_terms(
    kind: str, logprobs: Float[Tensor, "B T"], reference: Float[Tensor, "B T"], ratio: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """An estimate of KL(policy || reference) at each token, as a term of the loss.

    Of the three (Schulman, "Approximating KL divergence"), only k2's gradient is that of the KL in expectation: k1's is
    zero, k3's is that of the KL turned round. Times the ratio, k1 and k3 are right (arXiv:2512.21852).
    """
    difference = (logprobs - reference).clamp(-20, 20)
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference**2 / 2
    if kind == "k3":
        return (-difference).exp() - 1 + difference
    if kind == "r*k1":
        return ratio * difference
    if kind == "r*k3":
        return ratio * ((-difference).exp() - 1 + difference)
    raise ValueError(f"no KL estimator '{kind}'")


# --- what was drawn by somebody else -----------------------------------------------------------------------------


def correction_weights(
    kind: str, old: Float[Tensor, "B T"], sampled: Float[Tensor, "B T"], low: float, high: float
) -> Float[Tensor, "B T"]:
    """Weights for tokens that the sampler drew with another probability than the trainer had; without gradient.

    tis: min(old / sampled, high), truncated importance sampling. icepop: the same ratio, but 0 outside [low, high]
    (arXiv:2510.18855). none: 1.
    """
    if kind == "none":
        return torch.ones_like(old)
    weight = (old - sampled).detach().clamp(-20, 20).exp()
    if kind == "tis":
        return weight.clamp(max=high)
    if kind == "icepop":
        return torch.where((weight >= low) & (weight <= high), weight, 0.0)
    raise ValueError(f"no correction '{kind}'")


def drifted(
    logprobs: Float[Tensor, "B T"],
    old: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    advantage: Float[Tensor, " B"],
    threshold: float,
) -> Bool[Tensor, " B"]:
    """Completions with A < 0 that the policy has left by more than `threshold` nats per token (arXiv:2512.02556)."""
    drift = ((old - logprobs.detach()) * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return (advantage < 0) & (drift > threshold)


# --- from tokens to one number -----------------------------------------------------------------------------------


def token_weights(
    aggregation: str, mask: Bool[Tensor, "B T"], num_completions: int, num_tokens: int, max_tokens: int
) -> Float[Tensor, "B T"]:
    """The weight of each token in the objective of the step; micro-batches of any size add up to the same.

    num_completions, num_tokens: of the whole step. sequence: 1 / (completions x own length). tokens: 1 / tokens.
    constant: 1 / (completions x max_tokens), so that no length can change a weight (Dr. GRPO).
    """
    if aggregation == "sequence":
        return mask / (mask.sum(-1, keepdim=True).clamp(min=1) * num_completions)
    if aggregation == "tokens":
        return mask / torch.tensor(float(num_tokens), device=mask.device)
    if aggregation == "constant":
        return mask / torch.tensor(float(num_completions * max_tokens), device=mask.device)
    raise ValueError(f"no aggregation '{aggregation}'")
