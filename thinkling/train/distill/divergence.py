"""How far a student's next-token distribution is from a teacher's: pure functions of log-probabilities, in nats.

P is the teacher's distribution, Q the student's. A row may be the whole vocabulary, or k tokens and one bin for all the
others (`with_tail`): a divergence between such coarser distributions is never above the whole one (data processing
inequality), and its gradient says nothing about how the tail is to be shared out; exact.py shows the bias.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Divergence = Literal["forward-kl", "reverse-kl", "jsd"]
FORMULAS = {
    "forward-kl": "KL(P || Q) = sum of P log(P / Q): the student must cover all that the teacher does",
    "reverse-kl": "KL(Q || P) = sum of Q log(Q / P): the student must do nothing that the teacher does not",
    "jsd": "beta KL(P || M) + (1 - beta) KL(Q || M), M = beta P + (1 - beta) Q (GKD, arXiv:2306.13649, eq. 1)",
}
SMALLEST = 1e-10  # probability that a tail counts at least, so that its logarithm exists


def divergence(
    kind: Divergence, teacher: Float[Tensor, "N K"], student: Float[Tensor, "N K"], beta: float = 0.5
) -> Float[Tensor, " N"]:
    """Of each row, from log-probabilities that add up to 1. beta: of jsd, strictly between 0 and 1."""
    if kind == "forward-kl":
        return kl(teacher, student)
    if kind == "reverse-kl":
        return kl(student, teacher)
    mixed = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * kl(teacher, mixed) + (1 - beta) * kl(student, mixed)


def kl(one: Float[Tensor, "N K"], other: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
    """sum of p (log p - log q); what has no probability adds nothing."""
    terms = one.exp() * (one - other)
    return torch.where(one == -math.inf, 0.0, terms).sum(-1)


def with_tail(logprobs: Float[Tensor, "N K"]) -> Float[Tensor, "N K1"]:
    """The log-probabilities of k tokens, and one column more: that of all the others together."""
    rest = -torch.expm1(logprobs.logsumexp(-1, keepdim=True))
    return torch.cat([logprobs, rest.clamp(min=SMALLEST).log()], dim=-1)


def coarse(logprobs: Float[Tensor, "N V"], ids: Int[Tensor, "N K"]) -> Float[Tensor, "N K1"]:
    """The whole distributions as these tokens' and one bin's."""
    return with_tail(logprobs.gather(-1, ids))
