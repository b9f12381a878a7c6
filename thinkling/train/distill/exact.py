"""Prove distillation losses by enumeration, on the policy of rl/exact.py: four tokens, two at most, 13 completions.

The expected gradient of a loss is a finite sum over what is drawn. What it ought to be is the gradient of a divergence
that is written here in plain Python, from its definition, and differentiated numerically: no code is shared.

- On the teacher's samples, -log p and the forward KL of each token both have the gradient of KL(P || Q) of whole
  completions.
- On the student's samples, a divergence of each token has the gradient of its mean over the states that the student
  visits, these held fixed. Sampled tokens with credits log p_teacher - log p_student have that of the reverse KL; with
  credits for all that follows, that of KL(Q || P) of whole completions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from thinkling.train.distill.soft import SoftConfig, soft_loss
from thinkling.train.rl.exact import CONTEXTS, DRAWN, VOCABULARY, log_probs
from thinkling.train.rl.loss import Denominators, TokenTensors, loss_of
from thinkling.train.rl.objective import Objective

# Of sampled tokens: credit times log p, without a clip.
CREDITS = Objective(advantage="mean", surrogate="none", aggregation="tokens")
TokenSum = Callable[[Tensor, tuple[int, ...]], Tensor]  # logits (T, V) behind a completion's contexts, tokens -> a sum


def tables(seed: int = 0) -> tuple[Tensor, Tensor]:
    """The logits of a teacher and of a student, (contexts, V)."""
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(len(CONTEXTS), VOCABULARY, generator=random, dtype=torch.float64) for _ in range(2))


def expected_gradient(loss: TokenSum, student: Tensor, sampler: Tensor, temperature: float = 1.0) -> Tensor:
    """Of the loss's sum over a completion's tokens, by the student's logits; completions are drawn by `sampler`."""
    theta, total = student.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
    for tokens in DRAWN:
        probability = math.exp(sum(log_probs(sampler, tokens, temperature)))
        total = total + probability * loss(theta[places(tokens)], tokens)
    return torch.autograd.grad(total, theta)[0]


def places(tokens: tuple[int, ...]) -> list[int]:
    return [CONTEXTS.index(tokens[:t]) for t in range(len(tokens))]


# --- the losses, as training has them -----------------------------------------------------------------------------


def hard() -> TokenSum:
    """-log p of the tokens themselves: SFT."""
    return lambda logits, tokens: -logits.log_softmax(-1)[range(len(tokens)), list(tokens)].sum()


def soft(teacher: Tensor, config: SoftConfig) -> TokenSum:
    """The divergence of each token's whole distribution from the teacher's."""

    def loss(logits: Tensor, tokens: tuple[int, ...]) -> Tensor:
        theirs = (teacher[places(tokens)] / config.temperature).log_softmax(-1)
        return soft_loss(config, theirs, (logits / config.temperature).log_softmax(-1)).sum()

    return loss


def sampled(teacher: Tensor, student: Tensor, discount: float = 0.0, temperature: float = 1.0) -> TokenSum:
    """Credits of the sampled tokens, in the policy-gradient loss. student: what sampled them."""
    from thinkling.generate.completion import Completion
    from thinkling.train.distill.on_policy import credits_of

    def loss(logits: Tensor, tokens: tuple[int, ...]) -> Tensor:
        mine, theirs = (log_probs(table, tokens, temperature) for table in (student, teacher))
        credits = credits_of(Completion((), tokens, tuple(mine), "stop"), theirs, 1.0, discount)
        new = (logits / temperature).log_softmax(-1)[range(len(tokens)), list(tokens)][None]
        old, mask = torch.tensor([mine], dtype=torch.float64), torch.ones(1, len(tokens), dtype=torch.bool)
        rows = TokenTensors(new, old, old, None, torch.zeros(1, dtype=torch.float64), mask,
                            torch.tensor([credits], dtype=torch.float64))  # fmt: skip
        return loss_of(CREDITS, rows, Denominators(1, 1, 1)).value  # over one token: the sum

    return loss


# --- what they ought to be, from the definitions ------------------------------------------------------------------


def numeric_gradient(value: Callable[[Tensor], float], student: Tensor, step: float = 1e-5) -> Tensor:
    """By central differences."""
    found = torch.zeros_like(student)
    for place in range(student.numel()):
        change = torch.zeros_like(student)
        change.view(-1)[place] = step
        found.view(-1)[place] = (value(student + change) - value(student - change)) / (2 * step)
    return found


def sequence_kl(one: Tensor, other: Tensor, temperature: float = 1.0) -> float:
    """KL between the distributions of whole completions."""
    total = 0.0
    for tokens in DRAWN:
        p, q = (sum(log_probs(table, tokens, temperature)) for table in (one, other))
        total += math.exp(p) * (p - q)
    return total


def visits(table: Tensor, temperature: float = 1.0) -> dict[tuple[int, ...], float]:
    """How often each context is one that a token is drawn behind."""
    found = dict.fromkeys(CONTEXTS, 0.0)
    for tokens in DRAWN:
        for t in range(len(tokens)):
            found[tokens[:t]] += math.exp(sum(log_probs(table, tokens, temperature)))
    return found


def over_states(
    config: SoftConfig, teacher: Tensor, student: Tensor, often: Mapping[tuple[int, ...], float],
    kept: Mapping[tuple[int, ...], list[int]] | None = None,
) -> float:  # fmt: skip
    """The divergence of each context's next-token distributions, weighted by how often it is visited. kept: of each
    context, the tokens that are compared, one bin for the others; None for all."""
    total = 0.0
    for place, context in enumerate(CONTEXTS):
        p, q = (softmax([v / config.temperature for v in table[place].tolist()]) for table in (teacher, student))
        if kept is not None:
            p, q = (binned(own, kept[context]) for own in (p, q))
        total += often[context] * config.temperature**2 * of_two(config, p, q)
    return total


def of_two(config: SoftConfig, p: list[float], q: list[float]) -> float:
    def kl(one: list[float], other: list[float]) -> float:
        return sum(a * math.log(a / b) for a, b in zip(one, other, strict=True) if a > 0)

    if config.divergence == "forward-kl":
        return kl(p, q)
    if config.divergence == "reverse-kl":
        return kl(q, p)
    middle = [config.beta * a + (1 - config.beta) * b for a, b in zip(p, q, strict=True)]
    return config.beta * kl(p, middle) + (1 - config.beta) * kl(q, middle)


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def binned(probabilities: list[float], kept: list[int]) -> list[float]:
    rest = 1 - sum(probabilities[token] for token in kept)
    return [*(probabilities[token] for token in kept), max(rest, 0.0)]


def likeliest(table: Tensor, num: int) -> dict[tuple[int, ...], list[int]]:
    """Of each context the tokens with the largest logits."""
    return {context: sorted(range(VOCABULARY), key=lambda token: -table[place][token])[:num]
            for place, context in enumerate(CONTEXTS)}  # fmt: skip


# --- what top-k costs ---------------------------------------------------------------------------------------------


def top_k_bias(config: SoftConfig, teacher: Tensor, student: Tensor) -> float:
    """How far the expected gradient with `config.top_k` tokens and a tail is from the one with all, as a share of the
    latter's length, on the student's samples."""
    some, every = (
        expected_gradient(soft(teacher, own), student, student) for own in (config, replace(config, top_k=0))
    )
    return float((some - every).norm() / every.norm())
