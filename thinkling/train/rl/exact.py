"""Prove a policy loss by enumeration: a policy so small that every group of completions can be listed.

Four tokens, of which one ends a completion, two tokens at most: 13 completions, 91 groups of two in any order. So an
expected gradient is a finite sum. It is compared with the one that the stated objective has in closed form,
`stated_gradient`, which is written in plain Python, from the papers, apart from terms.py: advantages too. Beside the
group that is drawn, each step has a second one, always the same, so that means over a group and over the step differ.
check_loss.py does this for any loss.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from thinkling.train.rl import terms
from thinkling.train.rl.loss import Denominators, LossInputs, TokenTensors, UserLoss, loss_of, rewards_after_kl
from thinkling.train.rl.objective import Objective

VOCABULARY, STOP, MAX_TOKENS, GROUP = 4, 0, 2, 2
TINY = 1e-6  # added to every deviation
# The step's other group: the two rewards and the length of each completion.
OTHERS = [([1.0, 0.3], 1), ([0.0, 0.9], 2)]


@dataclass(frozen=True)
class World:
    """One situation. theta, old, sampler, reference: (contexts, V) tables of logits of four policies.

    sign: only completions with advantages of this sign count; 0 for all. split: one micro-batch per completion.
    """

    name: str
    theta: Tensor
    old: Tensor
    sampler: Tensor
    reference: Tensor
    temperature: float = 1.0
    sign: int = 0
    split: bool = False


def completions() -> list[tuple[int, ...]]:
    """All that can be drawn: they end with STOP, or with their MAX_TOKENS-th token."""
    found = []
    for length in range(1, MAX_TOKENS + 1):
        for tokens in itertools.product(range(VOCABULARY), repeat=length):
            if STOP not in tokens[:-1] and (tokens[-1] == STOP or length == MAX_TOKENS):
                found.append(tokens)
    return found


CONTEXTS = [c for n in range(MAX_TOKENS) for c in itertools.product(range(1, VOCABULARY), repeat=n)]
DRAWN = completions()


def rewards_of(tokens: tuple[int, ...]) -> list[float]:
    """Two rewards that tell most completions apart, of different scales."""
    return [float(sum(tokens) % 3 == 1), 0.25 * len(tokens) + 0.1 * tokens[0]]


def worlds(seed: int = 0) -> list[World]:
    """The situations in which a loss must be right."""
    generator = torch.Generator().manual_seed(seed)

    def table(scale: float) -> Tensor:
        return scale * torch.randn(len(CONTEXTS), VOCABULARY, generator=generator, dtype=torch.float64)

    base, reference = table(0.7), table(0.7)
    moved = base + table(0.6)
    return [
        World("on policy", base, base, base, reference),
        World("off policy, A > 0", moved, base, base, reference, sign=1),
        World("off policy, A < 0", moved, base, base, reference, sign=-1),
        World("at temperature 0.6", moved, base, base, reference, temperature=0.6),
        World("in micro-batches", moved, base, base, reference, split=True),
        World("drawn by another sampler", moved, base, base + table(0.6), reference),
    ]


def log_probs(table: Tensor, tokens: tuple[int, ...], temperature: float) -> list[float]:
    """Of each token of a completion."""
    scores = (table / temperature).log_softmax(-1)
    return [float(scores[place, token]) for place, token in zip(contexts_of(tokens), tokens, strict=True)]


def contexts_of(tokens: tuple[int, ...]) -> list[int]:
    """Where in a table the logits of each token of a completion stand."""
    return [CONTEXTS.index(tokens[:t]) for t in range(len(tokens))]


@dataclass(frozen=True)
class ExactGroup:
    """One group of completions with its probability, and everything about it but the new policy.

    advantages: those of terms.py, which a loss gets. stated: those that it ought to get.
    """

    probability: float
    members: tuple[tuple[int, ...], ...]
    mask: Tensor
    tokens: Tensor
    contexts: Tensor
    old: Tensor
    sampled: Tensor
    reference: Tensor
    advantages: Tensor
    stated: list[float]


def groups_of(world: World, objective: Objective) -> list[ExactGroup]:
    """Every group that the sampler can draw, whatever the order of its members."""
    tables = {name: [log_probs(getattr(world, name), c, world.temperature) for c in DRAWN]
              for name in ("old", "sampler", "reference")}  # fmt: skip
    chosen = list(itertools.combinations_with_replacement(range(len(DRAWN)), GROUP))
    padded = {name: rows(values, torch.float64) for name, values in tables.items()}
    padded |= {"tokens": rows(DRAWN), "contexts": rows([contexts_of(c) for c in DRAWN])}
    padded["mask"] = rows([[True] * len(c) for c in DRAWN], torch.bool)
    padded = {name: values[torch.tensor(chosen)] for name, values in padded.items()}
    found = []
    for number, places in enumerate(chosen):
        members = tuple(DRAWN[place] for place in places)
        known = {name: values[number, :, : max(map(len, members))] for name, values in padded.items()}
        advantages = advantages_of(objective, members, known)
        stated = stated_advantages(
            objective, [(rewards_of(DRAWN[i]), tables["old"][i], tables["reference"][i]) for i in places]
        )
        if world.sign:
            advantages = torch.where(advantages * world.sign > 0, advantages, 0.0)
            stated = [a if a * world.sign > 0 else 0.0 for a in stated]
        orders = len(set(itertools.permutations(members)))
        probability = orders * math.exp(sum(sum(tables["sampler"][i]) for i in places))
        found.append(ExactGroup(probability, members, known["mask"], known["tokens"], known["contexts"], known["old"],
                                known["sampler"], known["reference"], advantages, stated))  # fmt: skip
    return found


def rows(values: Sequence[Sequence[float]], dtype: torch.dtype = torch.long) -> Tensor:
    """One row each, filled up with zeros to MAX_TOKENS."""
    return torch.tensor([[*row, *[0] * (MAX_TOKENS - len(row))] for row in values], dtype=dtype)


def advantages_of(objective: Objective, members: tuple[tuple[int, ...], ...], known: dict[str, Tensor]) -> Tensor:
    """Those of the drawn group, by terms.py, in a step with the other one."""
    rewards = torch.tensor([rewards_of(c) for c in members], dtype=torch.float64)
    rewards = rewards_after_kl(objective, rewards, known["old"], known["reference"], known["mask"])
    others = torch.tensor([own for own, _ in OTHERS], dtype=torch.float64)
    lengths = torch.tensor([*map(len, members), *(length for _, length in OTHERS)])
    owners = torch.tensor([0] * len(members) + [1] * len(OTHERS))
    return terms.advantages(objective.advantage, torch.cat([rewards, others]), owners, lengths)[: len(members)]


def gradient_of(loss: UserLoss, world: World, groups: list[ExactGroup]) -> Tensor:
    """The expected gradient of a loss with respect to the logits, (contexts, V): a sum over every group."""
    theta = world.theta.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for group in groups:
        rows = [slice(i, i + 1) for i in range(GROUP)] if world.split else [slice(None)]
        for part in rows:
            logits = theta[group.contexts[part]]
            scores = (logits / world.temperature).log_softmax(-1)
            batch = LossInputs(
                logprobs=scores.gather(-1, group.tokens[part][..., None])[..., 0], tokens=group.tokens[part],
                mask=group.mask[part], old=group.old[part], sampled=group.sampled[part],
                reference=group.reference[part], advantages=group.advantages[part], temperature=world.temperature,
                num_completions=GROUP, num_tokens=int(group.mask.sum()), max_tokens=MAX_TOKENS,
                make_logits=lambda logits=logits: logits,
            )  # fmt: skip
            total = total + group.probability * loss(batch)
    return torch.autograd.grad(total, theta, allow_unused=True, materialize_grads=True)[0]


def thinklings(objective: Objective) -> UserLoss:
    """Our own loss in the form that `gradient_of` takes."""

    def loss(batch: LossInputs) -> Tensor:
        scores = (batch.logits / batch.temperature).log_softmax(-1)
        logprobs = scores.gather(-1, batch.tokens[..., None]).squeeze(-1)
        rows = TokenTensors(logprobs, batch.old, batch.sampled, batch.reference, batch.advantages, batch.mask)
        return loss_of(objective, rows, Denominators(batch.num_completions, batch.num_tokens, batch.max_tokens)).value

    return loss


# --- the stated objective, once more, from the papers --------------------------------------------------------------


def stated_gradient(objective: Objective, world: World, groups: list[ExactGroup]) -> Tensor:
    """The expected gradient that the loss ought to have: for every token its coefficient times grad log p."""
    factors = torch.zeros_like(world.theta).tolist()  # of grad log p, for each token after each context
    new = {c: log_probs(world.theta, c, world.temperature) for c in DRAWN}
    for group in groups:
        num_tokens = sum(map(len, group.members))
        for row, c in enumerate(group.members):
            old, sampled = group.old[row].tolist(), group.sampled[row].tolist()
            reference, advantage = group.reference[row].tolist(), group.stated[row]
            weight = {"sequence": 1 / (GROUP * len(c)), "tokens": 1 / num_tokens,
                      "constant": 1 / (GROUP * MAX_TOKENS)}[objective.aggregation]  # fmt: skip
            for t, place in enumerate(contexts_of(c)):
                pull = coefficient(objective, advantage, new[c], old, sampled, t)
                pull -= objective.kl_coef * kl_coefficient(objective, new[c], old, reference, t)
                factors[place][c[t]] += group.probability * weight * pull
    pulls, soft = torch.tensor(factors, dtype=torch.float64), (world.theta / world.temperature).softmax(-1)
    return -(pulls - pulls.sum(-1, keepdim=True) * soft) / world.temperature


def stated_advantages(objective: Objective, members: list[tuple[list[float], list[float], list[float]]]) -> list[float]:
    """Of the drawn group's completions, each given by its rewards, its old and its reference log-probabilities."""
    parts = [list(rewards) for rewards, _, _ in members]
    if objective.kl == "k1-in-reward":
        for own, (_, old, reference) in zip(parts, members, strict=True):
            kl = sum(a - b for a, b in zip(old, reference, strict=True))
            own[:] = [part - objective.kl_coef * kl / len(own) for part in own]
    step = [parts, [own for own, _ in OTHERS]]
    lengths = [len(old) for _, old, _ in members] + [length for _, length in OTHERS]
    totals = [[sum(own) for own in group] for group in step]
    mine, every = totals[0], totals[0] + totals[1]
    centre = fmean(mine)
    if objective.advantage == "reward":
        return mine
    if objective.advantage == "mean":
        return [reward - centre for reward in mine]
    if objective.advantage == "std":
        return [(reward - centre) / (deviation(mine) + TINY) for reward in mine]
    if objective.advantage == "batch-std":
        return [(reward - centre) / (deviation(every) + TINY) for reward in mine]
    if objective.advantage == "leave-one-out":
        return [reward - fmean(mine[:i] + mine[i + 1 :]) for i, reward in enumerate(mine)]
    if objective.advantage == "whiten":
        tokens = [reward for reward, length in zip(every, lengths, strict=True) for _ in range(length)]
        return [(reward - fmean(tokens)) / (deviation(tokens) + TINY) for reward in mine]
    if objective.advantage == "max-rl":
        return [(reward - centre) / centre if centre > 0 else 0.0 for reward in mine]
    if objective.advantage == "gdpo":
        normalised = [[0.0] * len(group) for group in step]
        for group, own in zip(step, normalised, strict=True):
            for column in zip(*group, strict=True):
                for i, part in enumerate(column):
                    own[i] += (part - fmean(column)) / (deviation(column) + TINY)
        together = normalised[0] + normalised[1]
        return [(value - fmean(together)) / (deviation(together) + TINY) for value in normalised[0]]
    raise ValueError(f"no advantage '{objective.advantage}'")


def deviation(values: Sequence[float]) -> float:
    """Of a population: the root of the mean square."""
    return math.sqrt(fmean([(value - fmean(values)) ** 2 for value in values]))


def ratio_at(objective: Objective, new: list[float], old: list[float], t: int) -> float:
    changes = [a - b for a, b in zip(new, old[: len(new)], strict=True)]
    if objective.ratio == "token":
        return math.exp(changes[t])
    return math.exp(sum(changes) / (len(new) if objective.ratio == "sequence" else 1))


def coefficient(
    objective: Objective, advantage: float, new: list[float], old: list[float], sampled: list[float], t: int
) -> float:
    """What grad log p of token t is multiplied with, to ascend."""
    r = ratio_at(objective, new, old, t)
    flat = objective.ratio_cap is not None and r > objective.ratio_cap
    r = min(r, objective.ratio_cap or math.inf)
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    if objective.surrogate == "cispo":
        value = min(r, objective.clip_high) * advantage
    elif objective.surrogate == "sapo":
        tau = objective.sapo_positive if advantage > 0 else objective.sapo_negative
        gate = 1 / (1 + math.exp(-tau * (r - 1)))
        value = 0.0 if flat else 4 * gate * (1 - gate) * r * advantage
    else:
        cut = flat
        if objective.surrogate == "clip":
            cut |= r > high if advantage > 0 else r < low
        elif objective.surrogate == "clip-wrong-way":
            cut |= r > high
        if objective.dual_clip is not None and advantage < 0:
            cut |= r > objective.dual_clip
        value = 0.0 if cut else r * advantage
    sampler = math.exp(old[t] - sampled[t])
    if objective.correction == "tis":
        value *= min(sampler, objective.correction_high)
    elif objective.correction == "icepop":
        value *= sampler if objective.correction_low <= sampler <= objective.correction_high else 0.0
    if objective.sequence_mask is not None and advantage < 0:
        drift = sum(b - a for a, b in zip(new, sampled[: len(new)], strict=True)) / len(new)
        value *= drift <= objective.sequence_mask
    return value


def kl_coefficient(objective: Objective, new: list[float], old: list[float], reference: list[float], t: int) -> float:
    """The derivative of the KL term by log p of token t."""
    difference, r = new[t] - reference[t], ratio_at(objective, new, old, t)
    return {"none": 0.0, "k1-in-reward": 0.0, "k1": 1.0, "k2": difference, "k3": 1 - math.exp(-difference),
            "r*k1": r * (difference + 1), "r*k3": r * difference}[objective.kl]  # fmt: skip
