"""A network's twin for answering on a CPU, whose products read their weights in the order in which the CPU takes them.

A checkpoint holds a matrix row by row, and so torch hands it to its libraries. For a few rows of states most of a
product's time goes into reading the matrix, and in that order reading is slow. oneDNN, which torch brings along, puts a
matrix into blocks once, and then reads it in half of the time or less (bench/products.py). The twin has the network's
own parameters, and its own modules where these have none inside, but for its products: they hold such blocks, which are
copies; queries, keys and values are one product, gate and up another. Left out: training, adapters, weights of 8 bits,
routers, networks so narrow that caches hold their weights, and those into whose passes hooks look.
"""

import contextlib
import copy
import platform
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from thinkling.device import free_memory, out_of_memory, usable_cores
from thinkling.model.config import ModelConfig
from thinkling.model.tiles import has_bfloat16_instructions
from thinkling.model.transformer import MLP, Attention, Transformer
from thinkling.threads import SMALL

TOGETHER = {Attention: (("q_proj", "k_proj", "v_proj"), ("o_proj",)),
            MLP: (("gate_proj", "up_proj"), ("down_proj",)), Transformer: (("lm_head",),)}  # fmt: skip
FEWEST = 4  # rows of a product: so many are read faster than one, and each gets the bits that it gets in a crowd
PROBES = 64  # numbers of a weight that are looked at, to see whether it has changed


def prepacked_twin(network: Transformer) -> Transformer | None:
    """None where it would be of no use or would pass by hooks, and where a second copy of the matrices would take more
    than half of this process's share of the memory that is free, or finds none."""
    if network.device.type != "cpu" or not is_worth_blocks(network.config, network.dtype):
        return None
    found = [layer for owner, names in places(network) for layer in layers_of(owner, names)]
    hooked = any(more for _, more in kinds(network))
    sharing = max(1, usable_cores() // torch.get_num_threads())  # who takes so few of the cores may be one of several
    if hooked or not found or 2 * sum(layer.weight.nbytes for layer in found) > free_memory() // sharing:
        return None
    leaves = [layer for layer in network.modules() if not list(layer.children())]  # also adapters, on or off
    twin = copy.deepcopy(network, {id(own): own for own in (*network.parameters(), *network.buffers(), *leaves)})
    try:
        for owner, names in places(twin):
            if layers := layers_of(owner, names):
                blocks = Blocks(layers)
                for number, name in enumerate(names):
                    setattr(owner, name, PrepackedLinear(blocks, number))
    except RuntimeError as error:
        if out_of_memory(error):
            return None
        raise
    return twin


def kinds(network: nn.Module) -> list[tuple[type, bool]]:
    """Of all modules, and whether they do more than their kind, by hooks or a `forward` of their own: with others the
    network says something else."""
    return [(type(layer), bool(layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer)))
            for layer in network.modules()]  # fmt: skip


def is_worth_blocks(config: ModelConfig, dtype: torch.dtype) -> bool:
    return config.hidden_size >= SMALL and can_prepack(dtype)


@cache
def can_prepack(dtype: torch.dtype) -> bool:
    """Has this torch such products for this processor, are they fast, and right? They are no public part of torch."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    known = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
    fast = dtype == torch.float32 or (dtype == torch.bfloat16 and has_bfloat16_instructions())
    if not (known and fast and platform.machine() in ("x86_64", "AMD64")):
        return False
    with torch.inference_mode(False), torch.no_grad():
        layer, x = nn.Linear(3, 2, device="meta"), torch.tensor([[1.0, 2.0, 3.0]], dtype=dtype)
        layer.weight = nn.Parameter(torch.tensor([[1.0, 10.0, 100.0], [2.0, 0.0, -1.0]], dtype=dtype))
        layer.bias = nn.Parameter(torch.tensor([0.5, -0.5], dtype=dtype))
        with contextlib.suppress(RuntimeError, TypeError):
            return Blocks([layer]).products(x).tolist() == [[322.0 if dtype == torch.bfloat16 else 321.5, -1.5]]
    return False


def places(network: Transformer) -> list[tuple[nn.Module, tuple[str, ...]]]:
    """Who owns products, and the names of those that read the same states."""
    owners = [owner for owner in network.modules() if type(owner) in TOGETHER]
    return [(owner, names) for owner in owners for names in TOGETHER[type(owner)]]


def layers_of(owner: nn.Module, names: Sequence[str]) -> list[nn.Linear]:
    """The layers of these names, if all are plain ones; else none. Of an inference tensor nobody can tell that it has
    changed."""
    layers = [getattr(owner, name) for name in names]
    plain = all(type(layer) is nn.Linear and type(layer.weight.data) is Tensor for layer in layers)
    return layers if plain and not any(layer.weight.is_inference() for layer in layers) else []


class Blocks:
    """The weights of layers that read the same states, in blocks: (out of all, in). A copy, which `renew` makes again
    if they have changed."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.layers, self.sizes, self.seen = layers, [len(layer.weight) for layer in layers], []
        self.renew()

    @torch.no_grad()
    def renew(self) -> None:
        biases = [layer.bias for layer in self.layers if layer.bias is not None]
        now = [mark(own) for own in (*(layer.weight for layer in self.layers), *biases)]
        if now != self.seen:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(torch.cat([layer.weight for layer in self.layers]))
            self.bias = torch.cat(biases) if biases else None
            self.seen = now

    def products(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        """What all layers make of x, side by side."""
        flat = x.reshape(-1, x.shape[-1])
        filled = F.pad(flat, (0, 0, 0, FEWEST - len(flat))) if len(flat) < FEWEST else flat
        out = torch.ops.mkldnn._linear_pointwise(filled, self.packed, self.bias, "none", [], "")
        return out[: len(flat)].view(*x.shape[:-1], out.shape[-1])


def mark(weight: Tensor) -> tuple:
    """What is another when a weight has changed: its place, torch's count of changes, and, since not every way of
    changing counts, some of its numbers."""
    some = weight.detach().flatten()[:: max(1, weight.numel() // PROBES)]
    return weight.data_ptr(), weight._version, some.tolist()


class PrepackedLinear(nn.Module):
    """One of the layers whose weights `blocks` holds."""

    def __init__(self, blocks: Blocks, number: int) -> None:
        super().__init__()
        self.blocks, self.number = blocks, number

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        return self.together(x)[self.number]

    def together(self, x: Float[Tensor, "... D"]) -> list[Tensor]:
        """What each of the layers that share the blocks makes of x."""
        return list(self.blocks.products(x).split(self.blocks.sizes, dim=-1))


def renew(twin: Transformer) -> bool:
    """Make anew what is a copy of weights that have changed. Did memory suffice? Else the twin is of no use."""
    try:
        for layer in twin.modules():
            if isinstance(layer, PrepackedLinear) and layer.number == 0:
                layer.blocks.renew()
    except RuntimeError as error:
        if out_of_memory(error):
            return False
        raise
    return True
