"""One batch of rollouts -> the optimizer steps on it: what must be known before, the loss, and what it was like.

How rollouts are split into passes through the model changes the memory that a step takes, not its result; nor does how
many ranks there are: each scores and learns a share of the rollouts, and divides by the numbers of all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from thinkling.distributed import all_gather, in_shares, same_number, share
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import packed_states, score_packed
from thinkling.model.transformer import Transformer
from thinkling.train.batch import by_prompt, flat_mask, packs, pad, pad_sampling_mask, pad_values
from thinkling.train.lora import adapters_off
from thinkling.train.memory import probe
from thinkling.train.optim import Optimizer
from thinkling.train.rl.config import RolloutConfig, UpdateConfig
from thinkling.train.rl.loss import Denominators, LossInputs, TokenTensors, UserLoss, loss_of, rewards_after_kl
from thinkling.train.rl.objective import Objective
from thinkling.train.rl.process_reward import trajectory_credits
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.terms import advantages
from thinkling.train.rl.totals import StepTotals, TokenStats

Groups = list[list[Rollout]]
TokenLoss = Callable[[Transformer, Sequence[Completion], bool], Tensor]
Credit = Callable[[Sequence[Rollout]], list[tuple[float, ...]]]


class Updater:
    """Takes optimizer steps on batches of rollouts.

    model: what is trained, by `optimizer`. objective: what for. rollout, config: how the rollouts were drawn, and how
    they are dealt out to passes and steps. reference: the network that a KL term compares with; with adapters it is the
    model's own, read without them. loss: one of the user's own, in place of the objective's; the advantages, and what
    the metrics say of clip and KL, stay the objective's. token_loss: called with the network, completions and
    `recompute`, gives something to be minimised besides, added up over their sampled tokens. credit: gives credits of
    the tokens of a group's rollouts, on top of their advantages; none of these is normalised. learner: the network that
    learns, where it is not the model's own (sharding.py).
    """

    def __init__(
        self,
        model: LanguageModel,
        optimizer: Optimizer,
        objective: Objective,
        rollout: RolloutConfig,
        config: UpdateConfig,
        reference: Transformer | None = None,
        loss: UserLoss | None = None,
        token_loss: TokenLoss | None = None,
        credit: Credit | None = None,
        learner: Transformer | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.network = learner or model.network
        self.objective, self.rollout, self.config, self.reference = objective, rollout, config, reference
        self.loss, self.token_loss, self.credit = loss, token_loss, credit
        # With nothing but a token_loss the policy's own loss is zero: it is measured, not differentiated. The settings
        # alone decide, so that all ranks go the same way.
        signals = (loss, credit, reference, config.process_reward, *rollout.rewards.values())
        self.only_token_loss = token_loss is not None and not any(signals)

    # --- before the first update ---

    def prepare(self, groups: Groups) -> Groups:
        """The same rollouts with what the objective needs to know before the first update, and their advantages."""
        objective, weights = self.objective, self.rollout.rewards
        if self.config.updates_per_batch > 1 or self.rollout.overlap or objective.kl == "k1-in-reward":
            groups = self.all_scored(self.model.network, groups, "old")
        if self.reference is not None:
            with adapters_off(self.reference):
                groups = self.all_scored(self.reference, groups, "reference")
        rollouts = [rollout for group in groups for rollout in group]
        rewards, shares = torch.tensor([[r.reward] for r in rollouts]), None
        if objective.advantage == "gdpo" and len(weights) > 1:
            rewards = torch.tensor([r.parts for r in rollouts])
            shares = torch.tensor(list(weights.values()))
        lengths = torch.tensor([r.completion.num_sampled for r in rollouts])
        if objective.kl == "k1-in-reward":
            _, mask, _ = pad([r.completion for r in rollouts], rewards.device)
            old, known = (pad_values([getattr(r, n) for r in rollouts], rewards.device) for n in ("old", "reference"))
            rewards = rewards_after_kl(objective, rewards, old, known, mask)
        owners = torch.tensor([i for i, group in enumerate(groups) for _ in group])
        found = iter(advantages(objective.advantage, rewards, owners, lengths, shares).tolist())
        groups = [[replace(rollout, advantage=next(found)) for rollout in group] for group in groups]
        if not (self.config.process_reward or self.credit):
            return groups
        return in_shares(groups, lambda some, first: [self.credited(group) for group in some])

    def credited(self, group: list[Rollout]) -> list[Rollout]:
        """The group with the credits of its tokens: of the equations that it states, and those of `credit`."""
        completions = [r.completion for r in group]
        found = [()] * len(group)
        if self.config.process_reward:
            found = trajectory_credits(self.model, completions, self.config.process_reward)
        if self.credit is not None:
            pairs = zip(found, self.credit(group), strict=True)
            found = [tuple(map(sum, zip(one, other, strict=True))) if one else other for one, other in pairs]
        return [replace(rollout, credits=own) for rollout, own in zip(group, found, strict=True)]

    def all_scored(self, network: Transformer, groups: Groups, name: str) -> Groups:
        return in_shares(groups, lambda some, first: [self.scored(network, group, name) for group in some])

    @torch.no_grad()
    def scored(self, network: Transformer, group: list[Rollout], name: str) -> list[Rollout]:
        """The group with the log-probabilities that this network gives its tokens, as the field `name`."""
        found = list(group)
        for keys in self.packs({0: group}, [(0, place) for place in range(len(group))]):
            _, _, logprobs, _ = self.read(network, [group[place] for _, place in keys])
            for (_, place), values in zip(keys, logprobs.tolist(), strict=True):
                own = len(group[place].completion.tokens)
                found[place] = replace(group[place], **{name: tuple(values[:own])})
        return found

    def read(self, network: Transformer, rollouts: Sequence[Rollout]) -> tuple[Tensor, ...]:
        """Completions through the network, those of one prompt side by side: (B, T) each, the mask of what was sampled,
        the log-probabilities as the sampler and as this network have them, and the network's entropy."""
        completions = [rollout.completion for rollout in rollouts]
        _, mask, sampled = pad(completions, network.device)
        kept = pad_sampling_mask(completions, network.device)
        logprobs, entropy = score_packed(
            network, *by_prompt(completions), self.rollout.sampling.temperature, None if kept is None else kept[mask],
            self.config.recompute, flat_mask(completions),
        )  # fmt: skip
        zeros = torch.zeros(mask.shape, device=network.device)
        return mask, sampled, zeros.masked_scatter(mask, logprobs), zeros.masked_scatter(mask, entropy)

    # --- the updates ---

    def update(
        self, groups: Groups, scale: float = 1.0
    ) -> tuple[dict[str, float | None], dict[tuple[int, int], TokenStats]]:
        """The optimizer steps on a batch of rollouts: their groups are dealt out to as many shares. scale: of the
        learning rate.

        Returns what StepMetrics has of it, and how each rollout that was trained on looked.
        """
        totals, norms, num_shares = StepTotals(), [], self.config.updates_per_batch
        for i in range(num_shares):
            norms.append(self.take_step(dict(list(enumerate(groups))[i::num_shares]), totals, scale))
        totals.merge(all_gather(totals))
        return totals.means() | {"grad_norm": fmean(norms)}, totals.token_stats

    def take_step(self, groups: dict[int, list[Rollout]], totals: StepTotals, scale: float) -> float:
        """One optimizer step on all these rollouts, added to `totals`; returns the gradient's norm (0: nothing to
        learn)."""
        gone = self.objective.truncated == "dropped"
        counted = [r for group in groups.values() for r in group if not (gone and r.completion.truncated)]
        lengths = [rollout.completion.num_sampled for rollout in counted]
        denominators = Denominators(len(lengths), sum(lengths), self.rollout.sampling.max_tokens)
        before = totals.num_tokens
        with self.optimizer.summing():
            for keys, counts in same_number(list(self.passes(groups)), spare=shortest(groups)):
                rollouts = [groups[number][place] for number, place in keys]
                self.take_pass(rollouts, denominators, totals if counts else None, keys)
        return self.optimizer.step(scale) if any(all_gather(totals.num_tokens > before)) else 0.0

    def take_pass(
        self, rollouts: list[Rollout], denominators: Denominators, totals: StepTotals | None,
        keys: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        """Forward and backward of a micro-batch: its gradient is added to the weights', the rest to `totals`; where
        those are None the pass is made for the other ranks' sake, and adds nothing."""
        device = self.network.device
        with torch.set_grad_enabled(not self.only_token_loss):
            mask, sampled, logprobs, entropy = self.read(self.network, rollouts)
        old = pad_values([r.old for r in rollouts], device) if rollouts[0].old else logprobs.detach()
        reference = pad_values([r.reference for r in rollouts], device) if rollouts[0].reference else None
        advantage = torch.tensor([r.advantage for r in rollouts], device=device)
        extra = pad_values([r.credits or (0.0,) * len(r.completion.tokens) for r in rollouts], device)
        tensors = TokenTensors(logprobs, old, sampled, reference, advantage, mask, extra)
        loss = loss_of(self.objective, tensors, denominators)
        value = loss.value if self.loss is None else self.loss(self.inputs(rollouts, tensors, denominators))
        if self.token_loss is not None:
            completions = [rollout.completion for rollout in rollouts]
            more = self.token_loss(self.network, completions, self.config.recompute)
            value = value + more / denominators.num_tokens
        if totals is None:
            (value * 0).backward()
            return
        value.backward()
        if self.token_loss is not None:
            totals.kl += float(more.detach())
        if self.credit is not None:
            totals.kl -= float(extra[mask].sum())
        totals.add(mask, entropy, old - sampled, loss, keys, [len(r.completion.tokens) for r in rollouts])

    def inputs(self, rollouts: list[Rollout], tensors: TokenTensors, denominators: Denominators) -> LossInputs:
        """A micro-batch as a user's own loss sees it."""
        completions, device = [rollout.completion for rollout in rollouts], self.network.device

        def make_logits() -> Tensor:
            behind, _ = packed_states(
                self.network, *by_prompt(completions), self.config.recompute, flat_mask(completions)
            )
            found = self.network.logits(behind).float()
            return torch.zeros(*tensors.mask.shape, found.shape[-1], device=device).masked_scatter(
                tensors.mask[..., None], found
            )

        return LossInputs(
            logprobs=tensors.logprobs, tokens=pad(completions, device)[0], mask=tensors.mask, old=tensors.old,
            sampled=tensors.sampled, reference=tensors.reference, advantages=tensors.advantages,
            temperature=self.rollout.sampling.temperature, num_completions=denominators.num_completions,
            num_tokens=denominators.num_tokens, max_tokens=denominators.max_tokens, make_logits=make_logits,
        )  # fmt: skip

    def passes(self, groups: dict[int, list[Rollout]]) -> Iterator[list[tuple[int, int]]]:
        """Rollouts of this rank's share that go through the model together: (number of the group, place in it).

        Without a KL term in the loss a rollout with advantage zero and no credits adds nothing to the gradient: it is
        left out here, but not of the denominators. So are completions that were cut off, unless they count.
        """
        every = self.objective.kl not in ("none", "k1-in-reward") or self.token_loss is not None
        useful = {
            number: [
                place
                for place, rollout in enumerate(group)
                if (every or rollout.advantage != 0 or any(rollout.credits))
                and not (rollout.completion.truncated and self.objective.truncated != "counted")
            ]
            for number, group in groups.items()
        }
        keys = [(number, place) for number, places in useful.items() for place in places]
        lengths = [len(groups[number][place].completion.tokens) for number, place in keys]
        return self.packs(groups, keys[share([1 + length for length in lengths])])

    def packs(
        self, groups: Mapping[int, list[Rollout]], keys: Sequence[tuple[int, int]]
    ) -> Iterator[list[tuple[int, int]]]:
        """These rollouts, in order, as many together as `micro_batch_tokens` allows (batch.packs)."""
        completions = [groups[number][place].completion for number, place in keys]
        return ([keys[row] for row in rows] for rows in packs(completions, self.config.micro_batch_tokens))

    # --- before the first step ---

    def probe(self, max_length: int) -> None:
        """The largest pass that this run can come to, forward and backward, for nothing: what does not fit into memory
        shows now, and not when the first long answers come. max_length: of a prompt and its completion. Raises
        UserError.
        """
        longest = self.rollout.sampling.max_tokens
        rows = max(1, min(self.rollout.rollouts_per_prompt, self.config.micro_batch_tokens // longest))
        probe(self.network, max(1, max_length - longest), [longest] * rows, self.config.recompute)


def shortest(groups: Mapping[int, list[Rollout]]) -> list[tuple[int, int]]:
    """What costs least to read: the one rollout with the fewest tokens."""
    places = [(number, place) for number, group in groups.items() for place in range(len(group))]
    return [min(places, key=lambda key: len(groups[key[0]][key[1]].completion.tokens))] if places else []
