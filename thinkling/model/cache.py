"""The key-value cache: what attention needs to remember of the tokens already read.

Preallocated, one length per row, passed in to forward; position lives here and never on the model, so two users of one
model cannot disturb each other. Rows fill from the left: row b's token t stands at `keys[layer][b, :, t]`.
"""

import torch
from torch import Tensor

from thinkling.model.config import ModelConfig


def bytes_per_token(config: ModelConfig, dtype: torch.dtype) -> int:
    """What one token of one row takes, over all layers: 2 KB in the built-in model, 112 KB in Qwen3-0.6B (bfloat16)."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * dtype.itemsize


class KVCache:
    """Room for `num_rows` sequences of up to `max_length` tokens.

    keys, values: one (rows, K, max_length, E) tensor per layer.
    lengths: (rows,) int64, how many tokens each row holds.
    """

    def __init__(
        self, config: ModelConfig, num_rows: int, max_length: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        shape = (num_rows, config.num_key_value_heads, max_length, config.head_dim)
        layers = range(config.num_hidden_layers)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in layers]
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)
        self.max_length = max_length

    @property
    def num_rows(self) -> int:
        return self.keys[0].shape[0]

    def view(self, num_rows: int, max_length: int) -> "KVCache":
        """The first rows and positions, sharing this cache's memory: what one forward pass works on.

        The view's lengths are shared too, so `advance` on the view moves this cache on.
        """
        part = object.__new__(KVCache)
        part.keys = [k[:num_rows, :, :max_length] for k in self.keys]
        part.values = [v[:num_rows, :, :max_length] for v in self.values]
        part.lengths = self.lengths[:num_rows]
        part.max_length = max_length
        return part

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (rows, K, T, E) behind each row's tokens; return all that the layer now holds.

        Lengths move on once per forward pass (`advance`), after every layer has stored.
        """
        T = keys.shape[2]
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        places = self.lengths[:, None] + torch.arange(T, device=keys.device)
        self.keys[layer][rows, :, places] = keys.transpose(1, 2)
        self.values[layer][rows, :, places] = values.transpose(1, 2)
        return self.keys[layer], self.values[layer]

    def advance(self, num_tokens: int | Tensor) -> None:
        """Each row has read this many more tokens: one number, or (rows,) where rows were padded on the right."""
        self.lengths += num_tokens

    def copy_row(self, source: "KVCache", source_row: int, row: int, length: int) -> None:
        """Make `row` hold the first `length` tokens of another cache's row, or of another row of this cache."""
        for mine, theirs in zip(self.keys + self.values, source.keys + source.values, strict=True):
            mine[row, :, :length] = theirs[source_row, :, :length]
        self.lengths[row] = length


class PromptCache:
    """The keys and values of one prompt, gradients included, so that its completions can be scored without reading it
    once for each of them.

    `prompt` is None while the prompt itself is read, as one row of `num_tokens`; then the cache of that pass, which
    `num_rows` completions of `num_tokens` each attend to. Nothing is preallocated: this is for one pass with autograd.
    """

    def __init__(self, prompt: "PromptCache | None", num_rows: int, num_tokens: int, device: torch.device) -> None:
        before = prompt.max_length if prompt is not None else 0
        self.prompt = prompt
        self.lengths = torch.full((num_rows,), before, device=device)
        self.max_length = before + num_tokens
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All that (rows, K, T, E) of new tokens may attend to: the prompt's keys and values, then their own."""
        if self.prompt is not None:
            rows = keys.shape[0]
            keys = torch.cat([self.prompt.keys[layer].expand(rows, -1, -1, -1), keys], dim=2)
            values = torch.cat([self.prompt.values[layer].expand(rows, -1, -1, -1), values], dim=2)
        if len(self.keys) == layer:  # not when a backward pass reads the layer again (recompute)
            self.keys.append(keys)
            self.values.append(values)
        return keys, values
