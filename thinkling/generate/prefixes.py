"""What was read lately, so that a conversation's next turn need not be read from its start.

A finished request leaves its keys and values here; a prompt that begins like one of them reads only what is new. What
is longest unused goes first. Left out: prefixes shared in memory (each is a copy), and any use while weights change.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch

from thinkling.model.cache import KVCache, bytes_per_token
from thinkling.model.config import ModelConfig

SHORTEST = 16  # tokens: fewer are read again as fast as they are found


class Prefixes:
    """most: bytes that are kept at most. reused: tokens that did not have to be read, so far."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype, gb: float) -> None:
        self.config, self.device, self.dtype = config, device, dtype
        self.most = int(gb * 1e9)
        self.per_token = bytes_per_token(config, dtype)
        self.kept: OrderedDict[tuple[int, ...], KVCache] = OrderedDict()
        self.size = self.reused = 0  # size: tokens that are kept

    def keep(self, tokens: tuple[int, ...], cache: KVCache, row: int) -> None:
        """Keep what this row of a cache has read: these tokens."""
        if len(tokens) < SHORTEST or len(tokens) * self.per_token > self.most or tokens in self.kept:
            return
        for shorter in [own for own in self.kept if own == tokens[: len(own)]]:
            self._drop(shorter)
        while (self.size + len(tokens)) * self.per_token > self.most:
            self._drop(next(iter(self.kept)))
        copy = KVCache(self.config, 1, len(tokens), self.device, self.dtype)
        copy.copy_row(cache, row, 0, len(tokens))
        self.kept[tokens] = copy
        self.size += len(tokens)

    def _drop(self, tokens: tuple[int, ...]) -> None:
        del self.kept[tokens]
        self.size -= len(tokens)

    def longest(self, prompt: Sequence[int]) -> tuple[KVCache | None, int]:
        """The cache whose first tokens are the prompt's, and how many; at least one token is left to be read."""
        prompt = tuple(prompt)
        found = max(((shared(own, prompt), own) for own in self.kept), default=(0, ()))
        length = min(found[0], len(prompt) - 1)
        if length < SHORTEST:
            return None, 0
        self.kept.move_to_end(found[1])
        self.reused += length
        return self.kept[found[1]], length

    def clear(self) -> None:
        self.kept.clear()
        self.size = 0


def shared(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many tokens two sequences have in common from the start."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
