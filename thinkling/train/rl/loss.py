"""From an objective's choices to the loss of a micro-batch, and the same objective as a formula in words.

The functions are those of terms.py. Every denominator belongs to the whole step (`Denominators`), so that how a step
is split into micro-batches changes the memory it takes and nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinkling.train.rl import terms
from thinkling.train.rl.objective import Objective


@dataclass(frozen=True)
class Denominators:
    """Of a whole optimizer step: completions, their sampled tokens, and the most that one request may sample."""

    num_completions: int
    num_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class TokenTensors:
    """Completions as the loss sees them: log-probabilities at the sampling temperature, in nats; see terms.py.

    advantages: (B,), one for a whole completion. credits: more of it for some of its tokens.
    """

    logprobs: Float[Tensor, "B T"]
    old: Float[Tensor, "B T"]
    sampled: Float[Tensor, "B T"]
    reference: Float[Tensor, "B T"] | None
    advantages: Float[Tensor, " B"]
    mask: Bool[Tensor, "B T"]
    credits: Float[Tensor, "B T"] | None = None


@dataclass(frozen=True)
class Loss:
    """value: to be minimised; the micro-batches' values add up to the step's. Of each token, without gradient:

    clipped: has the clip cut off its gradient? kl: what the estimator says. ratio: new policy over old.
    """

    value: Float[Tensor, ""]
    clipped: Bool[Tensor, "B T"]
    kl: Float[Tensor, "B T"]
    ratio: Float[Tensor, "B T"]


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """What a loss of your own gets to see of one micro-batch; B completions, T tokens, V vocabulary.

    logprobs: (B, T) of the tokens, in nats, with gradient, at the sampling temperature and among those that were left
    to draw from. old, sampled, reference: the same of the policy before the step's updates, of the sampler, and of the
    reference model (None in a run without --kl), without gradient. advantages: (B,). mask: of sampled tokens; no
    others may count. The last three numbers are those of the whole step, by which a loss must divide. Its value is to
    be minimised; what it returns for the micro-batches of a step is added up.
    """

    logprobs: Float[Tensor, "B T"]
    tokens: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    old: Float[Tensor, "B T"]
    sampled: Float[Tensor, "B T"]
    reference: Float[Tensor, "B T"] | None
    advantages: Float[Tensor, " B"]
    temperature: float
    num_completions: int
    num_tokens: int
    max_tokens: int
    make_logits: Callable[[], Float[Tensor, "B T V"]] = field(repr=False)

    @property
    def logits(self) -> Float[Tensor, "B T V"]:
        """As the network gives them, before the temperature, with gradient. Made when asked for: they take 4 V bytes a
        token, more than all the rest."""
        return self.make_logits()


UserLoss = Callable[[LossInputs], Tensor]


def rewards_after_kl(
    objective: Objective,
    rewards: Float[Tensor, "B K"],
    old: Float[Tensor, "B T"],
    reference: Float[Tensor, "B T"] | None,
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, "B K"]:
    """The rewards, less kl_coef times log(old / reference) of the completion where the KL stands in the reward."""
    if objective.kl != "k1-in-reward":
        return rewards
    penalty = objective.kl_coef * ((old - reference) * mask).sum(-1)
    return rewards - penalty[:, None] / rewards.shape[1]


def loss_of(objective: Objective, rows: TokenTensors, totals: Denominators) -> Loss:
    """What this micro-batch adds to the loss of the step."""
    mask, advantage = rows.mask, rows.advantages[:, None].expand(rows.mask.shape)
    if rows.credits is not None:
        advantage = advantage + rows.credits
    logprobs = torch.where(mask, rows.logprobs, 0.0)
    old, sampled = (torch.where(mask, values, 0.0) for values in (rows.old, rows.sampled))
    ratio = terms.ratios(objective.ratio, logprobs, old, mask)
    if objective.ratio_cap is not None:
        ratio = ratio.clamp(max=objective.ratio_cap)
    value, clipped = surrogate(objective, ratio, advantage, logprobs)
    weight = terms.correction_weights(
        objective.correction, old, sampled, objective.correction_low, objective.correction_high
    )
    if objective.sequence_mask is not None:
        away = terms.drifted(logprobs, sampled, mask, rows.advantages, objective.sequence_mask)
        weight = weight * ~away[:, None]
    value = value * weight
    kl = torch.zeros_like(value)
    if objective.kl not in ("none", "k1-in-reward"):
        reference = torch.where(mask, rows.reference, 0.0)
        kl = terms.kl_terms(objective.kl, logprobs, reference, ratio) * mask
        value = value - objective.kl_coef * kl
    weights = terms.token_weights(
        objective.aggregation, mask, totals.num_completions, totals.num_tokens, totals.max_tokens
    )
    return Loss(-(value * weights).sum(), clipped & mask, kl.detach(), ratio.detach())


def surrogate(objective: Objective, ratio: Tensor, advantage: Tensor, logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """What each token adds, (B, T), and where the clip has cut off its gradient."""
    if objective.surrogate in ("clip", "clip-wrong-way"):
        wrong_way = objective.surrogate == "clip-wrong-way"
        low, high = objective.clip_low, objective.clip_high
        value = terms.clip_surrogate(ratio, advantage, low, high, objective.dual_clip, wrong_way)
        outside = (ratio < 1 - low) | (ratio > 1 + high)
        return value, outside & (value != ratio * advantage)
    if objective.surrogate == "cispo":
        return terms.cispo_surrogate(ratio, advantage, logprobs, objective.clip_high), ratio > objective.clip_high
    if objective.surrogate == "sapo":
        value = terms.sapo_surrogate(ratio, advantage, objective.sapo_positive, objective.sapo_negative)
        return value, torch.zeros_like(ratio, dtype=torch.bool)
    return ratio * advantage, torch.zeros_like(ratio, dtype=torch.bool)


# --- in words ----------------------------------------------------------------------------------------------------

ADVANTAGES = {
    "reward": "A = R",
    "mean": "A = R - mean of the group",
    "std": "A = (R - mean of the group) / population deviation of the group",
    "batch-std": "A = (R - mean of the group) / population deviation of all rewards of the step",
    "leave-one-out": "A = R - mean of the group's other completions",
    "whiten": "A = (R - mean) / deviation, both over all tokens of the step",
    "max-rl": "A = (R - mean of the group) / mean of the group; 0 where nobody is right",
    "gdpo": "A = each reward normalised within its group, added up, normalised over the step",
}
RATIOS = {
    "token": "r = new / old probability of each token",
    "sequence": "r = (new / old probability of the completion) ^ (1 / its length)",
    "product": "r = new / old probability of the whole completion",
}
AGGREGATIONS = {
    "sequence": "mean over a completion's tokens, then over the step's completions",
    "tokens": "mean over all tokens of the step",
    "constant": "sum over tokens / (completions of the step x max_tokens)",
}
TRUNCATED = {
    "counted": "completions that were cut off count like all others",
    "dropped": "completions that were cut off are left out, of these numbers of completions and tokens too",
    "masked": "completions that were cut off add nothing, but are among these numbers of completions and tokens",
}
KL_GRADIENTS = {
    "k1": "k1 = log(p / p_ref) in the loss: its expected gradient on policy is 0, it only adds noise",
    "k2": "k2 = log(p / p_ref)^2 / 2 in the loss: its expected gradient on policy is that of KL(p || p_ref)",
    "k3": "k3 = p_ref / p - 1 + log(p / p_ref) in the loss: its expected gradient on policy is that of KL(p_ref || p)",
    "r*k1": "r log(p / p_ref) in the loss: its expected gradient is that of KL(p || p_ref)",
    "r*k3": "r (p_ref / p - 1 + log(p / p_ref)) in the loss: its expected gradient is that of KL(p || p_ref)",
    "k1-in-reward": "log(p / p_ref), summed over the completion, comes off the reward: the gradient of KL(p || p_ref)",
}


def in_words(objective: Objective) -> list[str]:
    """The objective that will be maximised, a line for each part."""
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    surrogates = {
        "none": "r A",
        "clip": f"min(r A, clip(r, {low:g}, {high:g}) A)",
        "clip-wrong-way": f"A > 0: min(r A, clip(r, {low:g}, {high:g}) A); A < 0: max of the two (a mistake)",
        "cispo": f"stop-gradient(min(r, {objective.clip_high:g})) A log p",
        "sapo": f"(4 / tau) sigmoid(tau (r - 1)) A, tau = {objective.sapo_positive:g} for A > 0, "
                f"{objective.sapo_negative:g} for A < 0",
    }  # fmt: skip
    lines = [ADVANTAGES[objective.advantage], RATIOS[objective.ratio]]
    if objective.ratio_cap is not None:
        lines.append(f"r counts at most {objective.ratio_cap:g}")
    lines.append(f"each token: {surrogates[objective.surrogate]}")
    if objective.dual_clip is not None:
        lines.append(f"for A < 0 never below {objective.dual_clip:g} A")
    if objective.correction == "tis":
        lines.append(f"times min(old / sampler's probability, {objective.correction_high:g})")
    elif objective.correction == "icepop":
        lines.append(f"times old / sampler's probability, 0 outside [{objective.correction_low:g}, "
                     f"{objective.correction_high:g}]")  # fmt: skip
    if objective.sequence_mask is not None:
        lines.append(f"0 for completions with A < 0 that drifted more than {objective.sequence_mask:g} nats per token")
    if objective.kl != "none":
        lines.append(f"less {objective.kl_coef:g} x KL: {KL_GRADIENTS[objective.kl]}")
    return [*lines, AGGREGATIONS[objective.aggregation], TRUNCATED[objective.truncated]]
