"""The operations of a pass that reads one new token per row, each written out in torch: what decode_kernels.py does in
one kernel each, and is tested against. decode_pass.py puts them together.

Letters as in transformer.py; B rows, N and I what comes out of a product, L the longest row that a cache can hold.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def normed(x: Float[Tensor, "... D"], norm: Float[Tensor, "... D"], eps: float) -> Float[Tensor, "... D"]:
    """RMSNorm, the mean square in float32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * norm


def normed_product(
    x: Float[Tensor, "B D"], norm: Float[Tensor, " D"], eps: float, weight: Float[Tensor, "N D"],
    bias: Float[Tensor, " N"] | None,
) -> Float[Tensor, "B N"]:  # fmt: skip
    return F.linear(normed(x, norm, eps), weight, bias)


def gated(
    x: Float[Tensor, "B D"], norm: Float[Tensor, " D"], eps: float, weight: Float[Tensor, "I2 D"]
) -> Float[Tensor, "B I"]:
    """SwiGLU's inner states; the rows of `weight` are the gate's, and then those of `up`."""
    gate, up = normed_product(x, norm, eps, weight, None).chunk(2, dim=-1)
    return F.silu(gate) * up


def added_product(
    x: Float[Tensor, "B D"], inner: Float[Tensor, "B N"], weight: Float[Tensor, "D N"]
) -> Float[Tensor, "B D"]:
    """x + inner @ weight.T"""
    return torch.addmm(x, inner, weight.T)


def place(
    qkv: Float[Tensor, "B N"], norms: tuple[Tensor, Tensor] | None, eps: float, rope: tuple[Tensor, Tensor],
    lengths: Int[Tensor, " B"], keys: Float[Tensor, "B K L E"], values: Float[Tensor, "B K L E"],
) -> Float[Tensor, "B H E"]:  # fmt: skip
    """Store each row's new key and value behind the `lengths` that it holds; returns its queries. norms: those of
    queries and keys. rope: cosines and sines by position, (positions, E / 2) each."""
    (B, K, _, E), rows = keys.shape, torch.arange(len(qkv), device=qkv.device)
    heads = qkv.view(B, -1, E)
    q, k, v = heads.split([heads.shape[1] - 2 * K, K, K], dim=1)
    if norms is not None:
        q, k = (normed(own, norm, eps) for own, norm in zip((q, k), norms, strict=True))
    cos, sin = (table[lengths][:, None] for table in rope)
    keys[rows, :, lengths], values[rows, :, lengths] = rotated(k, cos, sin), v
    return rotated(q, cos, sin)


def rotated(x: Float[Tensor, "B H E"], cos: Float[Tensor, "B 1 E2"], sin: Float[Tensor, "B 1 E2"]) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def attend(
    q: Float[Tensor, "B H E"], keys: Float[Tensor, "B K L E"], values: Float[Tensor, "B K L E"],
    lengths: Int[Tensor, " B"],
) -> Float[Tensor, "B HE"]:  # fmt: skip
    """Each row's queries attend to the `lengths` tokens that it held, and to the new one behind them. What stands
    behind these may be no numbers."""
    B, K, L, E = keys.shape
    visible = torch.arange(L, device=q.device) <= lengths[:, None, None, None]
    keys, values = (held.masked_fill(~visible.mT, 0.0) for held in (keys, values))
    return F.scaled_dot_product_attention(q.view(B, K, -1, E), keys, values, attn_mask=visible).reshape(B, -1)
