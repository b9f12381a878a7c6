"""Token lists -> padded tensors and masks. Masks go by position, never by a token's value."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinkling.generate.completion import Completion


def pad(
    completions: Sequence[Completion], device: torch.device
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Completions without their prompts, padded on the right: tokens, which of them were sampled, their logprobs."""
    shape = len(completions), max(len(c.tokens) for c in completions)
    tokens = torch.zeros(shape, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    for row, c in enumerate(completions):
        tokens[row, : len(c.tokens)] = torch.tensor(c.tokens)
        mask[row, : len(c.tokens)] = torch.tensor(c.mask) if c.mask else True
    return tokens.to(device), mask.to(device), pad_values([c.logprobs for c in completions], device)


def pad_values(rows: Sequence[Sequence[float]], device: torch.device) -> Float[Tensor, "B T"]:
    """Numbers of each token, padded on the right with 0."""
    padded = torch.zeros(len(rows), max(map(len, rows)))
    for row, values in enumerate(rows):
        padded[row, : len(values)] = torch.tensor(values)
    return padded.to(device)


def pad_sampling_mask(completions: Sequence[Completion], device: torch.device) -> Int[Tensor, "B T K"] | None:
    """The ids that each token was drawn among, -1 where there are no more; None if the sampler cut nothing."""
    if not completions[0].sampling_mask:
        return None
    longest = max(len(c.tokens) for c in completions)
    widest = max(len(ids) for c in completions for ids in c.sampling_mask)
    padded = torch.full((len(completions), longest, widest), -1, dtype=torch.long)
    for row, c in enumerate(completions):
        for place, ids in enumerate(c.sampling_mask):
            padded[row, place, : len(ids)] = torch.tensor(ids)
    return padded.to(device)


def by_prompt(completions: Sequence[Completion]) -> tuple[list[Sequence[int]], list[list[Sequence[int]]]]:
    """Prompts, and the tokens of the completions of each; those of one prompt stand side by side."""
    groups = [list(own) for _, own in groupby(completions, key=lambda c: c.prompt_tokens)]
    return [own[0].prompt_tokens for own in groups], [[c.tokens for c in own] for own in groups]


def flat_mask(completions: Sequence[Completion]) -> list[bool]:
    """Which of all their tokens were sampled, one completion behind the other; [] where all were."""
    if not any(c.mask for c in completions):
        return []
    return [own for c in completions for own in c.mask or (True,) * len(c.tokens)]


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split rows into batches of at most `max_tokens`, padding included, of which never more than half is padding.

    The longest come first, so that a lack of memory shows at once. A row longer than the budget gets its own batch.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batches[-1][0]] if batches else 0
        if batches and (len(batches[-1]) + 1) * longest <= max_tokens and 2 * lengths[row] >= longest:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def packs(completions: Sequence[Completion], max_tokens: int) -> Iterator[list[int]]:
    """Which completions go through the model together, in order: as many as `max_tokens` allows, prompts counted.

    A prompt is read once in each pack for all of its completions that stand side by side. A completion longer than the
    limit is alone.
    """
    pack: list[int] = []
    size = 0
    for row, completion in enumerate(completions):
        known = bool(pack) and completions[pack[-1]].prompt_tokens == completion.prompt_tokens
        prompt = 0 if known else len(completion.prompt_tokens)
        if pack and size + prompt + len(completion.tokens) > max_tokens:
            yield pack
            pack, size, prompt = [], 0, len(completion.prompt_tokens)
        pack.append(row)
        size += prompt + len(completion.tokens)
    if pack:
        yield pack
