"""A pass that reads one new token in each row of a cache, on a CPU, through a twin whose weights lie in blocks.

The same network as transformer.py, in fewer calls of torch: between two products of a few rows, a call takes as long as
the work that it does. What all layers need is worked out once; queries and keys are normalised and rotated together;
and rows that a product needs besides those that are there (prepacked.py) are added once. Left out: several tokens of a
row, adapters, and mixtures of experts: those go through the twin itself.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.model.cache import KVCache, attend_to_rows
from thinkling.model.decode_ops import normed
from thinkling.model.prepacked import FEWEST, PrepackedLinear
from thinkling.model.transformer import MLP, Attention, DecoderLayer, Transformer, rope_table


class DecodeBlocks:
    """Called as `run(tokens, cache)` with tokens (B, 1) and a cache of B rows: the hidden states (B, D) behind them, as
    `twin(tokens, cache)` gives them, to the last bit. The caller then advances the cache."""

    def __init__(self, twin: Transformer) -> None:
        self.twin = twin

    def __call__(self, tokens: Int[Tensor, "B 1"], cache: KVCache) -> Float[Tensor, "B D"]:
        decoder, positions = self.twin.model, cache.begin(tokens)
        cos, sin = (table[:, 0].to(self.twin.dtype) for table in rope_table(positions, self.twin.config))
        left, right = sin.chunk(2, dim=-1)
        rope = cos, torch.cat([-left, right], dim=-1)
        x = self.filled(decoder.embed_tokens(tokens[:, 0]))
        for layer in decoder.layers:
            x = self.layer(layer, x, rope, cache)
        return decoder.norm(x[: len(tokens)])

    def layer(self, layer: DecoderLayer, x: Tensor, rope: tuple[Tensor, Tensor], cache: KVCache) -> Tensor:
        own, mlp = layer.self_attn, layer.mlp
        seen = self.attend(own, layer.input_layernorm(x), rope, cache)
        x = own.o_proj.blocks.products(self.filled(seen)).add_(x)
        inner = mlp.gate_proj.blocks.products(layer.post_attention_layernorm(x))
        gate, up = inner.chunk(2, dim=-1)
        return mlp.down_proj.blocks.products(F.silu(gate).mul_(up)).add_(x)

    def attend(
        self, own: Attention, x: Float[Tensor, "N D"], rope: tuple[Tensor, Tensor], cache: KVCache
    ) -> Float[Tensor, "B HE"]:
        B, E, number = len(cache.lengths), own.head_dim, own.layer
        K = cache.keys[number].shape[1]
        heads = own.q_proj.blocks.products(x)[:B].view(B, -1, E)
        both, values = heads[:, :-K], heads[:, -K:]  # queries, and keys behind them
        H = both.shape[1] - K
        if self.twin.config.family.qk_norm:
            weights = own.q_norm.weight.expand(H, E), own.k_norm.weight.expand(K, E)
            both = normed(both, torch.cat(weights), self.twin.config.rms_norm_eps)
        left, right = both.chunk(2, dim=-1)
        both = both * rope[0] + torch.cat([right, left], dim=-1) * rope[1]
        keys, values = cache.append(number, both[:, H:, None], values[:, :, None])
        return attend_to_rows(both[:, :H].reshape(B, K, -1, E), keys, values, cache.visible).reshape(B, -1)

    def filled(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "N D"]:
        """At least so many rows as a product takes."""
        return F.pad(x, (0, 0, 0, FEWEST - len(x))) if len(x) < FEWEST else x


def can_decode_in_blocks(twin: Transformer) -> bool:
    """Are all products of its layers in blocks, and the layers what `layer` above takes them for: no experts?"""
    layers = twin.model.layers
    plain = all(type(layer) is DecoderLayer and type(layer.mlp) is MLP for layer in layers)
    if not plain or any(layer.mlp.activation is not F.silu for layer in layers):
        return False
    first = [own for layer in layers for own in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp.gate_proj,
                                                 layer.mlp.down_proj)]  # fmt: skip
    return all(isinstance(own, PrepackedLinear) for own in first)
