"""Products and attention in pieces of one size: so a token gets the same bits, whatever stands beside it in the batch.

A product of matrices is added up in an order that depends on how many rows there are, so a token's last bits depend on
its company, and where two tokens are nearly equally likely, so does the text. Here each product is of so many rows, no
more and no fewer (the last are padded with zeros), and attention goes through blocks of so many queries and places, in
order. The order of adding is then the same for a token alone, in a crowd, in a chunk, or read again ("Defeating
Nondeterminism in LLM Inference", thinkingmachines.ai, 2025). Left out: GPUs.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

ROWS = 16  # of a product
QUERIES, PLACES = 8, 64  # tokens that ask, and that are seen, in one block of attention
AT_ONCE = 2**15  # numbers that torch leaves to one thread


def has_bfloat16_instructions() -> bool:
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def rows_of(dtype: torch.dtype) -> int:
    """Rows of a product. A CPU without instructions for 16 bits gains nothing by several of them: there it is 1."""
    return ROWS if dtype == torch.float32 or has_bfloat16_instructions() else 1


class TiledLinear(nn.Module):
    """A linear layer that multiplies so many rows at a time."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias, self.rows = layer.weight, layer.bias, rows_of(layer.weight.dtype)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        flat = x.reshape(-1, x.shape[-1])
        tiles = padded(flat, self.rows).split(self.rows)
        out = torch.cat([F.linear(tile, self.weight, self.bias) for tile in tiles])[: len(flat)]
        return out.view(*x.shape[:-1], -1)


def padded(x: Float[Tensor, "N D"], multiple: int) -> Float[Tensor, "N2 D"]:
    missing = -len(x) % multiple
    return F.pad(x, (0, 0, 0, missing)) if missing else x


def silu_by_parts(x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
    """So few rows at a time that no thread begins in the middle of a register."""
    flat = x.reshape(-1, x.shape[-1])
    return torch.cat([F.silu(part) for part in flat.split(max(1, AT_ONCE // x.shape[-1]))]).view_as(x)


def attend_by_blocks(
    q: Float[Tensor, "B H T E"], k: Float[Tensor, "B K S E"], v: Float[Tensor, "B K S E"],
    visible: Bool[Tensor, "B 1 T S"],
) -> Float[Tensor, "B T HE"]:  # fmt: skip
    """Attention in float32, block by block. Blocks behind all that a token sees add zeros, which change nothing."""
    (B, H, T, E), (K, S) = q.shape, k.shape[1:3]
    N, heads = -(-T // QUERIES), H // K * QUERIES
    q = F.pad(q.float() * E**-0.5, (0, 0, 0, N * QUERIES - T))
    q = q.view(B, K, H // K, N, QUERIES, E).permute(0, 3, 1, 2, 4, 5).reshape(B * N, K, heads, E)
    seen = F.pad(visible, (0, -S % PLACES, 0, N * QUERIES - T)).view(B * N, 1, 1, QUERIES, -1)

    def block(x: Tensor, start: int) -> Tensor:
        part = x[:, :, start : start + PLACES].float()
        part = F.pad(part, (0, 0, 0, PLACES - part.shape[2]))
        return part[:, None].expand(B, N, K, PLACES, E).reshape(B * N, K, PLACES, E)

    scores = []
    for start in range(0, S, PLACES):
        own = (q @ block(k, start).mT).view(B * N, K, -1, QUERIES, PLACES)
        scores.append(own.masked_fill(~seen[..., start : start + PLACES], float("-inf")).view(B * N, K, heads, PLACES))
    highest = (
        torch.stack([own.amax(-1, keepdim=True) for own in scores]).amax(0).clamp(min=-1e30)
    )  # padding sees nothing
    total, out = 0.0, 0.0
    for number, own in enumerate(scores):
        weights = (own - highest).exp()
        total = total + weights.sum(-1, keepdim=True)
        out = out + weights @ block(v, number * PLACES)
    out = (out / total).view(B, N, K, H // K, QUERIES, E).permute(0, 1, 4, 2, 3, 5)
    return out.reshape(B, N * QUERIES, H * E)[:, :T].to(v.dtype)
