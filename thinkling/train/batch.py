"""Token lists -> padded tensors and masks. Masks go by position, never by a token's value."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from thinkling.generate.plain import Completion


def pad(
    completions: Sequence[Completion], device: torch.device
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Prompt and completion side by side, padded on the right: tokens, which of them were sampled, their logprobs."""
    longest = max(len(c.prompt_tokens) + len(c.tokens) for c in completions)
    tokens = torch.zeros(len(completions), longest, dtype=torch.long)
    mask = torch.zeros(len(completions), longest, dtype=torch.bool)
    logprobs = torch.zeros(len(completions), longest)
    for row, c in enumerate(completions):
        start, end = len(c.prompt_tokens), len(c.prompt_tokens) + len(c.tokens)
        tokens[row, :end] = torch.tensor([*c.prompt_tokens, *c.tokens])
        mask[row, start:end] = True
        logprobs[row, start:end] = torch.tensor(c.logprobs)
    return tokens.to(device), mask.to(device), logprobs.to(device)


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split rows into batches of at most `max_tokens`, padding included; rows of similar length go together.

    The longest come first, so that a lack of memory shows at once. A row longer than the budget gets its own batch.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
