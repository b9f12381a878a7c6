"""What was read lately, in blocks, so that prompts that begin alike need not be read from their start.

A block is 16 tokens in their place behind all that came before them, and is stored once, however many prompts, samples
or turns of a conversation begin with it: a block is looked up by its tokens and the block it follows. What is longest
unused goes first. A row reads blocks by copying them. Left out: any use while weights change.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch

from thinkling.model.cache import KVCache, bytes_per_token, zeros
from thinkling.model.config import ModelConfig

BLOCK = 16  # tokens

Key = tuple[int, tuple[int, ...]]  # the number of the block before, 0 for none; and the tokens


class Prefixes:
    """num_blocks: that there is memory for. kept: of each block its place in memory and its number, which is never
    given again; the longest unused first. reused: tokens that did not have to be read, so far."""

    def __init__(self, config: ModelConfig, device: torch.device, dtype: torch.dtype, gb: float) -> None:
        self.num_blocks = int(gb * 1e9 / (bytes_per_token(config, dtype) * BLOCK))
        shape = (self.num_blocks, config.num_key_value_heads, BLOCK, config.head_dim)
        self.memory = [zeros(shape, device, dtype) for _ in range(2 * config.num_hidden_layers)]
        self.kept: OrderedDict[Key, tuple[int, int]] = OrderedDict()
        self.free = list(range(self.num_blocks))
        self.numbered = self.reused = 0

    def keep(self, tokens: Sequence[int], cache: KVCache, row: int) -> None:
        """Keep what this row of a cache has read: these tokens, as far as they fill blocks."""
        keys: dict[Key, None] = {}  # in use now, and so behind all others in `kept`
        before = 0
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            key = (before, tuple(tokens[start : start + BLOCK]))
            if key in self.kept:
                self.kept.move_to_end(key)
            else:
                place = self._place(keys)
                if place is None:
                    break
                for mine, theirs in zip(self.memory, cache.keys + cache.values, strict=True):
                    mine[place] = theirs[row, :, start : start + BLOCK]
                self.numbered += 1
                self.kept[key] = place, self.numbered
            keys[key] = None
            before = self.kept[key][1]
        self._use(list(keys))

    def _place(self, in_use: Collection[Key]) -> int | None:
        """Room for one more block, if need be that of the longest unused; None if all others are in use now."""
        if self.free:
            return self.free.pop()
        oldest = next(iter(self.kept), None)
        return None if oldest is None or oldest in in_use else self.kept.pop(oldest)[0]

    def _use(self, keys: Sequence[Key]) -> None:
        """The last first: a block is of no use without those before it, so it must not outlive them."""
        for key in reversed(keys):
            self.kept.move_to_end(key)

    def find(self, prompt: Sequence[int]) -> list[int]:
        """The places of the blocks that the prompt begins with; at least one token is left to be read."""
        keys, before = [], 0
        for start in range(0, len(prompt) - BLOCK, BLOCK):
            key = (before, tuple(prompt[start : start + BLOCK]))
            if key not in self.kept:
                break
            keys.append(key)
            before = self.kept[key][1]
        self._use(keys)
        self.reused += len(keys) * BLOCK
        return [self.kept[key][0] for key in keys]

    def read(self, places: list[int], cache: KVCache, row: int) -> None:
        """Make the row of a cache hold these blocks."""
        length = len(places) * BLOCK
        for mine, theirs in zip(self.memory, cache.keys + cache.values, strict=True):
            theirs[row, :, :length] = mine[places].transpose(0, 1).flatten(1, 2)
        cache.lengths[row] = length

    def clear(self) -> None:
        self.kept.clear()
        self.free = list(range(self.num_blocks))
