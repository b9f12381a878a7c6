"""A pass that reads one new token in each row of a cache, in few operations: what a GPU's engine replays.

The same network as transformer.py, put together of larger pieces: queries, keys and values are one product, gate and up
another; each takes its norm along, and writes where its result is wanted. Attention reads of each row what it holds, so
that the longest row does not slow down the others. A mixture's experts are left as they are. Left out: several tokens
of a row, training, layers of 8 bits, and adapters that are kept apart: those go through the network itself.
"""

from importlib.util import find_spec
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from thinkling.model.cache import KVCache
from thinkling.model.transformer import MLP, Attention, Transformer, joined, rope_table

LEAST_WIDTH = 16  # of a head: what the kernels' products want


def can_fuse(model: Transformer) -> bool:
    """Are its layers plain ones, on a GPU that Triton knows?"""
    E = model.config.head_dim
    if model.device.type != "cuda" or find_spec("triton") is None or E < LEAST_WIDTH or E & (E - 1):
        return False
    return all(is_plain(layer) for layer in products(model))


def products(model: Transformer) -> list[nn.Module]:
    """The layers that a pass puts together, in the network's order."""
    found: list[nn.Module] = []
    for layer in model.model.layers:
        own = layer.self_attn
        found += [own.q_proj, own.k_proj, own.v_proj, own.o_proj]
        if isinstance(layer.mlp, MLP):
            found += [layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj]
    return found


def is_plain(layer: nn.Module) -> bool:
    """Neither of 8 bits, nor with an adapter, nor sharded over ranks."""
    return type(layer) is nn.Linear and type(layer.weight.data) is Tensor


class DecodePass:
    """Called as `run(tokens, cache)` with tokens (B, 1) and a cache of B rows: the hidden states (B, D) behind them, as
    `model(tokens, cache)` gives them up to rounding. The caller then advances the cache.

    longest: tokens that a row can hold. ops: the module whose operations it is made of, decode_kernels or decode_ops.
    """

    def __init__(self, model: Transformer, longest: int, ops: ModuleType) -> None:
        self.model, self.ops = model, ops
        cos, sin = rope_table(torch.arange(longest, device=model.device)[None], model.config)
        half = model.config.head_dim // 2  # the other half turns by the same angles
        self.rope = tuple(table[0, 0, :, :half].to(model.dtype).contiguous() for table in (cos, sin))
        self.projections = [joined_projections(layer.self_attn) for layer in model.model.layers]
        self.gates = [joined([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight])
                      if isinstance(layer.mlp, MLP) else None for layer in model.model.layers]  # fmt: skip

    def __call__(self, tokens: Int[Tensor, "B 1"], cache: KVCache) -> Float[Tensor, "B D"]:
        model, ops, eps = self.model, self.ops, self.model.config.rms_norm_eps
        x = model.model.embed_tokens(tokens[:, 0])
        for number, layer in enumerate(model.model.layers):
            own, (weight, bias) = layer.self_attn, self.projections[number]
            keys, values = cache.keys[number], cache.values[number]
            norms = (own.q_norm.weight, own.k_norm.weight) if model.config.family.qk_norm else None
            qkv = ops.normed_product(x, layer.input_layernorm.weight, eps, weight, bias)
            q = ops.place(qkv, norms, eps, self.rope, cache.lengths, keys, values)
            x = ops.added_product(x, ops.attend(q, keys, values, cache.lengths), own.o_proj.weight)
            norm, gate = layer.post_attention_layernorm.weight, self.gates[number]
            if gate is None:
                x = x + layer.mlp(ops.normed(x, norm, eps)[:, None])[:, 0]
            else:
                x = ops.added_product(x, ops.gated(x, norm, eps, gate), layer.mlp.down_proj.weight)
        return ops.normed(x, model.model.norm.weight, eps)


def joined_projections(own: Attention) -> tuple[Tensor, Tensor | None]:
    """The weight (N, D), and the bias (N,) if the family has one, of queries, keys and values together."""
    layers = (own.q_proj, own.k_proj, own.v_proj)
    weight = joined([layer.weight for layer in layers])
    return weight, joined([layer.bias for layer in layers]) if own.q_proj.bias is not None else None
