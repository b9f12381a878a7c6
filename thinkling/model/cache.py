"""What attention reads. The network asks one of four, and need not know which: where the tokens of a pass stand
(`begin`), and what their queries find in each layer (`attend`).

NoCache: whole rows, each token sees itself and those before it. KVCache: the same behind what each row has read in
earlier passes. The other two are what training reads (packed.py). Position lives here and never on the model, so two
users of one model cannot disturb each other.
"""

from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thinkling.model.config import ModelConfig
from thinkling.model.tiles import attend_by_blocks

ROWS_TO_WRITE_OUT = 16  # from so many rows on, decoding on a CPU writes attention out


def bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """What one token of one row takes, over all layers: 2 KB in the built-in model, 112 KB in Qwen3-0.6B (bfloat16)."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * dtype.itemsize


class NoCache:
    """Nothing was read before, and nothing is kept: every row starts at position 0."""

    def begin(self, tokens: Tensor) -> Tensor:
        """The positions (B, T) of a pass over `tokens` (B, T)."""
        return from_the_start(tokens)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal attention of (B, H, T, E) over (B, K, T, E), as (B, T, H E)."""
        return heads_joined(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True))


def zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """As torch.zeros, which on a CPU writes to all of it: here the operating system gives zeros where one first reads
    or writes. A cache of 2 GB is there at once, and takes what is used of it."""
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    size, line = prod(shape) * dtype.itemsize, 64  # a line of the processor's cache, at which torch lets tensors begin
    memory = torch.from_numpy(np.zeros(size + line, np.uint8))
    start = -memory.data_ptr() % line
    return memory[start : start + size].view(dtype).view(shape)


class KVCache:
    """Room for `num_rows` sequences of up to `max_length` tokens, preallocated. Rows fill from the left: row b's token
    t stands at `keys[layer][b, :, t]`.

    num_tokens: memory for so many tokens, where that is less than all these rows need: as many rows as fit are there,
    and `recut` makes them longer or shorter. by_blocks: attend in pieces of one size (tiles.py).
    keys, values: one (rows, K, max_length, E) tensor per layer.
    lengths: (rows,) int64, how many tokens each row holds.
    positions: (rows, T), where the tokens of the pass under way stand, and so where they are stored.
    visible: (rows, 1, T, max_length), which places each of them sees.
    """

    def __init__(
        self, config: ModelConfig, num_rows: int, max_length: int, device: torch.device, dtype: torch.dtype,
        num_tokens: int | None = None, by_blocks: bool = False,
    ) -> None:  # fmt: skip
        self.by_blocks = by_blocks
        num_tokens = num_rows * max_length if num_tokens is None else num_tokens
        shape = (num_tokens * config.num_key_value_heads, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.num_heads, self.num_tokens = config.num_key_value_heads, num_tokens
        self.keys = [zeros(shape, device, dtype) for _ in layers]
        self.values = [zeros(shape, device, dtype) for _ in layers]
        self.memory = self.keys + self.values
        self._cut(min(num_rows, num_tokens // max_length), max_length)
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
        self.positions: Tensor | None = None
        self.visible: Tensor | None = None

    def _cut(self, num_rows: int, max_length: int) -> None:
        """Cut the memory into rows."""
        K, layers = self.num_heads, len(self.keys)
        rows = [flat[: num_rows * K * max_length].view(num_rows, K, max_length, -1) for flat in self.memory]
        self.keys, self.values, self.max_length = rows[:layers], rows[layers:], max_length

    def recut(self, num_rows: int, max_length: int, num_used: int, longest: int) -> None:
        """Cut the same memory into rows of another length. The first `num_used` rows keep what they hold, at most
        `longest` tokens."""
        before, longest = self.keys + self.values, min(longest, self.max_length, max_length)
        self._cut(num_rows, max_length)
        for mine, theirs in zip(self.keys + self.values, before, strict=True):
            held = theirs[:num_used, :, :longest]
            kept = held.clone()  # else they would overlap
            held.zero_()  # what is not finite must not stay behind (Runner.erase)
            mine[:num_used, :, :longest] = kept

    @property
    def num_rows(self) -> int:
        return self.keys[0].shape[0]

    def view(self, num_rows: int, max_length: int, first: int = 0) -> "KVCache":
        """Some rows and the first positions, sharing this cache's memory: what one forward pass works on.

        The view's lengths are shared too, so `advance` on the view moves this cache on.
        """
        part = object.__new__(KVCache)
        rows = slice(first, first + num_rows)
        part.keys = [k[rows, :, :max_length] for k in self.keys]
        part.values = [v[rows, :, :max_length] for v in self.values]
        part.lengths = self.lengths[rows]
        part.max_length, part.by_blocks = max_length, self.by_blocks
        part.positions = part.visible = None
        return part

    def begin(self, tokens: Tensor) -> Tensor:
        """The positions (B, T) of a pass over `tokens` (B, T), which follow what each row holds. What they see, namely
        themselves and what came before, is worked out here, once for all layers."""
        self.positions = from_the_start(tokens) + self.lengths[:, None]
        places = torch.arange(self.max_length, device=tokens.device)
        self.visible = places <= self.positions[:, None, :, None]
        return self.positions

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Store keys and values (B, K, T, E) in this layer, then attend with (B, H, T, E) to all it holds: (B, T, H E).

        Rows padded on the right are fine: no earlier token sees the padding, and the row's next token overwrites it.
        """
        B, T, K, E = q.shape[0], q.shape[2], k.shape[1], k.shape[3]
        k, v = self.append(layer, k, v)
        if self.by_blocks:
            return attend_by_blocks(q, k, v, self.visible)
        if T == 1:
            # The heads that share a key-value head stand side by side as "positions" of one attention call, so keys and
            # values are read once and never repeated in memory.
            return attend_to_rows(q.view(B, K, -1, E), k, v, self.visible).reshape(B, 1, -1)
        if q.is_cuda:  # with a mask, its kernel that writes no weights out takes no groups
            k, v = (x.repeat_interleave(q.shape[1] // K, dim=1) for x in (k, v))
        return heads_joined(F.scaled_dot_product_attention(q, k, v, attn_mask=self.visible, enable_gqa=True))

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (rows, K, T, E) behind each row's tokens; return all that the layer now holds.

        Lengths move on once per forward pass (`advance`), after every layer has stored.
        """
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        self.keys[layer][rows, :, self.positions] = keys.transpose(1, 2)
        self.values[layer][rows, :, self.positions] = values.transpose(1, 2)
        return self.keys[layer], self.values[layer]

    def advance(self, num_tokens: int | Tensor) -> None:
        """Each row has read this many more tokens: one number, or (rows,) where rows were padded on the right."""
        self.lengths += num_tokens

    def copy_row(self, source: "KVCache", source_row: int, row: int, length: int, start: int = 0) -> None:
        """Make `row` hold the first `length` tokens of another cache's row, or of another row of this cache. It holds
        the first `start` of them already."""
        for mine, theirs in zip(self.keys + self.values, source.keys + source.values, strict=True):
            mine[row, :, start:length] = theirs[source_row, :, start:length]
        self.lengths[row] = length

    def swap_rows(self, one: int, other: int, length: int) -> None:
        """Two rows change places, with their first `length` tokens."""
        for held in self.keys + self.values:
            kept = held[one, :, :length].clone()
            held[one, :, :length] = held[other, :, :length]
            held[other, :, :length] = kept
        self.lengths[[one, other]] = self.lengths[[other, one]]


def from_the_start(tokens: Tensor) -> Tensor:
    """0, 1, 2, ... along each row of (B, T)."""
    B, T = tokens.shape
    return torch.arange(T, device=tokens.device).expand(B, T)


def attend_to_rows(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """Attention of (B, K, heads of a group, E) over (B, K, S, E), for one new token per row.

    Written out, it is up to 1.7 times as fast as the fused form for many rows on a CPU in float32, and the same to
    rounding.
    """
    if q.device.type != "cpu" or q.dtype != torch.float32 or q.shape[0] < ROWS_TO_WRITE_OUT:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return weights.masked_fill(~visible, float("-inf")).softmax(-1) @ v


def heads_joined(out: Tensor) -> Tensor:
    """(B, H, T, E) as (B, T, H E)."""
    return out.transpose(1, 2).flatten(2)
