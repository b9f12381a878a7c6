"""Layers with weights of 8 bits, for answering on a CPU: a row of a matrix is whole numbers from -127 to 127 times one
scale, and so is a token on its way in.

The products are summed as whole numbers, which no order of adding changes: what a token becomes does not depend on the
tokens beside it. Left out: training, zero points (rows are symmetric), groups within a row. Source: the per-channel
weights and dynamic per-token activations of LLM.int8 (arXiv:2208.07339), without its outliers.
"""

from functools import cache

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

MOST = 127  # -128 is left out, so that every number has its opposite
EXACT = 2**24 // MOST**2  # products of two such numbers whose sum float32 holds exactly, whatever they are: 1,040
BLOCK = 2**18  # weights that are float32 at a time, where a CPU has no instructions for int8: 1 MB, which caches hold


def quantized(x: Float[Tensor, "N D"]) -> tuple[Int8[Tensor, "N D"], Float[Tensor, "N 1"]]:
    """Each row as whole numbers and a scale: the largest becomes 127 or -127, the others round to the nearest."""
    wide = x.float()
    scale = wide.abs().amax(-1, keepdim=True) / MOST
    return (wide / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8), scale


@cache
def has_int8_instructions() -> bool:
    """Does this CPU multiply 8-bit numbers fast? Without, torch's own product takes several times what float32 does."""
    known = getattr(torch.cpu, "get_capabilities", dict)()  # of an older torch nothing is known
    return any(known.get(name, False) for name in ("avx512_vnni", "amx_int8"))


def sums(x: Int8[Tensor, "N D"], weight: Int8[Tensor, "V D"]) -> Float[Tensor, "N V"]:
    """x @ weight.T, summed exactly as whole numbers, and then the nearest float32; either way the same bits. Of rows of
    one number torch's own product writes nothing on such CPUs (seen in 2.13)."""
    fast = has_int8_instructions() and x.shape[-1] > 1
    return torch._int_mm(x, weight.T).float() if fast else sums_by_float(x, weight)


def sums_by_float(x: Int8[Tensor, "N D"], weight: Int8[Tensor, "V D"]) -> Float[Tensor, "N V"]:
    """The same by products of float32, of so few numbers at a time that these are exact too. The weights stay 8 bits in
    memory; a block of them at a time is made float32, which takes about as long as if all had been."""
    (N, D), V = x.shape, len(weight)
    wide, out = x.float(), torch.empty(N, V)
    rows = max(1, BLOCK // D)
    for start in range(0, V, rows):
        block = weight[start : start + rows].float()
        if D <= EXACT:
            torch.mm(wide, block.T, out=out[:, start : start + rows])
            continue
        pairs = zip(wide.split(EXACT, dim=1), block.split(EXACT, dim=1), strict=True)
        out[:, start : start + rows] = sum((a @ b.T).double() for a, b in pairs)
    return out


def parts(weight: Tensor) -> tuple[nn.Parameter, nn.Parameter]:
    """A matrix as its whole numbers, (rows, columns), and a scale for each row."""
    numbers, scale = quantized(weight.detach())
    return nn.Parameter(numbers, requires_grad=False), nn.Parameter(scale.squeeze(-1), requires_grad=False)


class Int8Linear(nn.Module):
    """A linear layer of 8-bit weights (out, in), with a scale for each row."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.scale = parts(layer.weight)
        self.bias = layer.bias

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        (out,) = projections(x, self)
        return out

    def of_numbers(self, numbers: Int8[Tensor, "N D"], scale: Float[Tensor, "N 1"]) -> Float[Tensor, "N V"]:
        """The layer's output, in float32, for rows that are quantized already."""
        out = sums(numbers, self.weight).mul_(scale).mul_(self.scale)
        return out if self.bias is None else out.add_(self.bias)


class Int8Embedding(nn.Module):
    """A table of 8-bit rows, one for each token and a scale for each row: the head's own, where the two are tied.
    What it gives is of `dtype`."""

    def __init__(self, weight: nn.Parameter, scale: nn.Parameter, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight, self.scale, self.dtype = weight, scale, dtype

    def forward(self, tokens: Tensor) -> Tensor:
        return (self.weight[tokens].float() * self.scale[tokens][..., None]).to(self.dtype)


def projections(x: Float[Tensor, "... D"], *layers: nn.Module) -> list[Tensor]:
    """What each of several layers makes of x, which is quantized once for all of them; layers that are one product
    (prepacked.py) are asked together."""
    if hasattr(layers[0], "together"):
        return layers[0].together(x)
    if not isinstance(layers[0], Int8Linear):
        return [layer(x) for layer in layers]
    numbers, scale = quantized(x.reshape(-1, x.shape[-1]))
    return [layer.of_numbers(numbers, scale).to(x.dtype).view(*x.shape[:-1], -1) for layer in layers]
