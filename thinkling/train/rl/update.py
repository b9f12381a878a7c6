"""One batch of rollouts -> the optimizer steps on it: what must be known before, the loss, and what it was like.

How rollouts are split into passes through the model changes the memory that a step takes, not its result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import fmean

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import score_packed
from thinkling.model.transformer import Transformer
from thinkling.settings import Grpo
from thinkling.train.batch import pad, pad_kept, pad_values
from thinkling.train.lora import adapters_off
from thinkling.train.optim import Optimizer
from thinkling.train.rl.loss import Denominators, TokenTensors, loss_of, rewards_after_kl
from thinkling.train.rl.process_reward import credits
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.terms import advantages

Groups = list[list[Rollout]]


@dataclass(frozen=True)
class TokenStats:
    """A completion as its last update saw it, token by token: for the microscope (thinkling microscope).

    entropy: of the distribution that the token was drawn from, in nats. ratio: new policy over old. clipped: places of
    the tokens whose gradient the clip has cut off.
    """

    entropy: tuple[float, ...]
    ratio: tuple[float, ...]
    clipped: tuple[int, ...]


@dataclass
class StepTotals:
    """What the passes of a step add up to, over the tokens trained on."""

    entropy: float = 0.0
    clipped: float = 0.0
    kl: float = 0.0
    mismatch: float = 0.0
    mismatch_max: float = 0.0
    weight: float = 0.0  # old policy over sampler
    weight_squared: float = 0.0
    num_tokens: int = 0
    looks: dict[tuple[int, int], TokenStats] = field(default_factory=dict)  # of rollout (group, place in it)


def prepare(settings: Grpo, model: LanguageModel, groups: Groups, reference: Transformer | None = None) -> Groups:
    """The same rollouts with what the objective needs to know before the first update, and their advantages."""
    objective = settings.objective
    if settings.updates_per_batch > 1 or settings.overlap or objective.kl == "k1-in-reward":
        groups = [scored(settings, model.network, group, "old") for group in groups]
    if reference is not None:
        with adapters_off(reference):
            groups = [scored(settings, reference, group, "reference") for group in groups]
    rollouts = [rollout for group in groups for rollout in group]
    rewards = torch.tensor([[r.reward] for r in rollouts])
    weights = None
    if objective.advantage == "gdpo" and len(settings.reward_weights) > 1:
        rewards = torch.tensor([r.parts for r in rollouts])
        weights = torch.tensor(list(settings.reward_weights.values()))
    lengths = torch.tensor([len(r.completion.tokens) for r in rollouts])
    if objective.kl == "k1-in-reward":
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        old, known = (pad_values([getattr(r, name) for r in rollouts], rewards.device) for name in ("old", "reference"))
        rewards = rewards_after_kl(objective, rewards, old, known, mask)
    owners = torch.tensor([i for i, group in enumerate(groups) for _ in group])
    found = iter(advantages(objective.advantage, rewards, owners, lengths, weights).tolist())
    groups = [[replace(rollout, advantage=next(found)) for rollout in group] for group in groups]
    return [credited(settings, model, group) for group in groups] if settings.process_reward else groups


def credited(settings: Grpo, model: LanguageModel, group: list[Rollout]) -> list[Rollout]:
    """The group with the credits of its equations."""
    completions = [rollout.completion for rollout in group]
    found = credits([c.text for c in completions], [model.pieces(c) for c in completions], settings.process_reward)
    return [replace(rollout, credits=own) for rollout, own in zip(group, found, strict=True)]


@torch.no_grad()
def scored(settings: Grpo, network: Transformer, group: list[Rollout], name: str) -> list[Rollout]:
    """The group with the log-probabilities that this network gives its tokens, as the field `name`."""
    found = list(group)
    for keys in packs(settings, {0: group}, {0: range(len(group))}):
        mask, _, logprobs, _ = read(settings, network, [group[place] for _, place in keys])
        for (_, place), values, own in zip(keys, logprobs.tolist(), mask.sum(-1).tolist(), strict=True):
            found[place] = replace(group[place], **{name: tuple(values[:own])})
    return found


def read(settings: Grpo, network: Transformer, rollouts: Sequence[Rollout]) -> tuple[Tensor, ...]:
    """Completions through the network, those of one prompt side by side: (B, T) each, the mask, the log-probabilities
    as the sampler and as this network have them, and the network's entropy."""
    completions = [rollout.completion for rollout in rollouts]
    _, mask, sampled = pad(completions, network.device)
    kept = pad_kept(completions, network.device)
    groups = [list(own) for _, own in groupby(completions, key=lambda c: c.prompt_tokens)]
    logprobs, entropy = score_packed(
        network, [own[0].prompt_tokens for own in groups], [[c.tokens for c in own] for own in groups],
        settings.temperature, None if kept is None else kept[mask], settings.recompute,
    )  # fmt: skip
    zeros = torch.zeros(mask.shape, device=network.device)
    return mask, sampled, zeros.masked_scatter(mask, logprobs), zeros.masked_scatter(mask, entropy)


def update(
    settings: Grpo, model: LanguageModel, optimizer: Optimizer, groups: Groups, scale: float = 1.0
) -> tuple[dict[str, float], dict[tuple[int, int], TokenStats]]:
    """The optimizer steps on a batch of rollouts: their groups are dealt out to as many shares. scale: of the learning
    rate.

    Returns what StepMetrics has of it, and how each rollout that was trained on looked.
    """
    sums, norms = StepTotals(), []
    for i in range(settings.updates_per_batch):
        share = dict(list(enumerate(groups))[i :: settings.updates_per_batch])
        norms.append(take_step(settings, model.network, optimizer, share, sums, scale))
    num = max(1, sums.num_tokens)
    learnt = {name: getattr(sums, name) / num for name in ("entropy", "clipped", "kl", "mismatch")}
    ess = sums.weight**2 / (num * sums.weight_squared) if sums.weight_squared else 1.0
    return learnt | {"mismatch_max": sums.mismatch_max, "ess": ess, "grad_norm": fmean(norms)}, sums.looks


def take_step(
    settings: Grpo,
    network: Transformer,
    optimizer: Optimizer,
    groups: dict[int, list[Rollout]],
    sums: StepTotals,
    scale: float,
) -> float:
    """One optimizer step on all these rollouts, added to `sums`; returns the gradient's norm (0: nothing to learn)."""
    lengths = [len(r.completion.tokens) for group in groups.values() for r in group]
    totals = Denominators(len(lengths), sum(lengths), settings.max_tokens)
    before = sums.num_tokens
    for keys in passes(settings, groups):
        take_pass(settings, network, [groups[number][place] for number, place in keys], totals, sums, keys)
    return optimizer.step(scale) if sums.num_tokens > before else 0.0


def take_pass(
    settings: Grpo,
    network: Transformer,
    rollouts: list[Rollout],
    totals: Denominators,
    sums: StepTotals,
    keys: list[tuple[int, int]],
) -> None:
    """Forward and backward of a micro-batch: its gradient is added to the weights', the rest to `sums`."""
    device = network.device
    mask, sampled, logprobs, entropy = read(settings, network, rollouts)
    old = pad_values([r.old for r in rollouts], device) if rollouts[0].old else logprobs.detach()
    reference = pad_values([r.reference for r in rollouts], device) if rollouts[0].reference else None
    advantage = torch.tensor([r.advantage for r in rollouts], device=device)
    extra = pad_values([r.credits or (0.0,) * len(r.completion.tokens) for r in rollouts], device)
    loss = loss_of(settings.objective, TokenTensors(logprobs, old, sampled, reference, advantage, mask, extra), totals)
    loss.value.backward()
    difference = (old - sampled)[mask]
    weight = difference.clamp(-20, 20).exp()
    sums.entropy += float(entropy.sum())
    sums.clipped += float(loss.clipped.sum())
    sums.kl += float(loss.kl.sum())
    sums.mismatch += float(difference.abs().sum())
    sums.mismatch_max = max(sums.mismatch_max, float(difference.abs().max()))
    sums.weight += float(weight.sum())
    sums.weight_squared += float((weight**2).sum())
    sums.num_tokens += int(mask.sum())
    columns = (entropy.tolist(), loss.ratio.tolist(), loss.clipped.tolist(), mask.sum(-1).tolist())
    for key, h, r, c, n in zip(keys, *columns, strict=True):
        sums.looks[key] = TokenStats(tuple(h[:n]), tuple(r[:n]), tuple(i for i in range(n) if c[i]))


def probe(settings: Grpo, network: Transformer) -> None:
    """The largest pass that this run can come to, forward and backward, for nothing: what does not fit into memory
    shows now, and not when the first long answers come. Raises UserError.
    """
    rows = max(1, min(settings.rollouts_per_prompt, settings.micro_batch_tokens // settings.max_tokens))
    prompt, tokens = [0] * max(1, settings.max_length - settings.max_tokens), [[0] * settings.max_tokens] * rows
    try:
        logprobs, _ = score_packed(network, [prompt], [tokens], 1.0, recompute=settings.recompute)
        logprobs.sum().backward()
    except torch.OutOfMemoryError:
        raise UserError(
            f"{rows} rollouts of {settings.max_tokens} tokens do not fit into this device's memory: set --memory-gb to "
            "what it has, or use --recompute; --plan says what needs how much"
        ) from None
    finally:
        network.zero_grad(set_to_none=True)


def passes(settings: Grpo, groups: dict[int, list[Rollout]]) -> Iterator[list[tuple[int, int]]]:
    """Rollouts that go through the model together: (number of the group, place in it).

    Without a KL term in the loss a rollout with advantage zero and no credits adds nothing to the gradient: it is left
    out here, but not of the denominators. So are completions that were cut off, where the settings mask them.
    """
    every = settings.objective.kl not in ("none", "k1-in-reward")
    useful = {
        number: [
            place
            for place, rollout in enumerate(group)
            if (every or rollout.advantage != 0 or any(rollout.credits))
            and not (settings.mask_truncated and rollout.completion.truncated)
        ]
        for number, group in groups.items()
    }
    return packs(settings, groups, useful)


def packs(
    settings: Grpo, groups: dict[int, list[Rollout]], chosen: Mapping[int, Sequence[int]]
) -> Iterator[list[tuple[int, int]]]:
    """The chosen places of each group, in order, as many together as --micro-batch-tokens allows, prompts counted.

    A prompt is read once in each pack that has completions of it. A rollout longer than the limit is alone.
    """
    pack: list[tuple[int, int]] = []
    size = 0
    for number, places in chosen.items():
        for place in places:
            completion = groups[number][place].completion
            prompt = 0 if pack and pack[-1][0] == number else len(completion.prompt_tokens)
            if pack and size + prompt + len(completion.tokens) > settings.micro_batch_tokens:
                yield pack
                pack, size, prompt = [], 0, len(completion.prompt_tokens)
            pack.append((number, place))
            size += prompt + len(completion.tokens)
    if pack:
        yield pack
