"""LoRA: train a small addition to each matrix of the layers, and leave the matrices as they are (arXiv:2106.09685).

W x becomes W x + (alpha / rank) B A x. B starts at zero, so nothing changes before the first step. What is trained, its
gradients and the optimizer's state are then a hundredth of the model's; and the model without its adapters is the
reference model, so a KL term needs no second one.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinkling.device import generator
from thinkling.model.adapter import Adapter
from thinkling.model.quantize import refuse_quantized
from thinkling.model.transformer import Transformer
from thinkling.train.optim import is_layer_matrix


class LoraLinear(nn.Linear):
    """A linear layer that keeps its weight, (out, in), and its bias frozen, and learns lora_a (rank, in) and lora_b
    (out, rank)."""

    def __init__(self, layer: nn.Linear, rank: int, alpha: float, random: torch.Generator) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight = layer.weight.requires_grad_(False)
        self.bias = None if layer.bias is None else layer.bias.requires_grad_(False)
        bound = math.sqrt(3 / layer.in_features)
        start = torch.empty(rank, layer.in_features).uniform_(-bound, bound, generator=random)
        device, dtype = layer.weight.device, layer.weight.dtype
        self.lora_a = nn.Parameter(start.to(device, dtype))
        self.lora_b = nn.Parameter(torch.zeros(layer.out_features, rank, device=device, dtype=dtype))
        self.scale, self.on = alpha / rank, True

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias)
        return out + F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scale if self.on else out


def add_adapters(network: Transformer, rank: int, alpha: float, seed: int) -> None:
    """Put adapters on every matrix of the decoder layers but a mixture's router, in place; freeze everything else."""
    refuse_quantized(network, "LoRA")
    network.requires_grad_(False)
    random = generator(seed)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and is_layer_matrix(f"{name}.weight", layer.weight):
            owner, _, leaf = name.rpartition(".")
            setattr(network.get_submodule(owner), leaf, LoraLinear(layer, rank, alpha, random))


def keep_adapter(network: Transformer, adapter: Adapter) -> None:
    """Put an adapter that was read (model/adapter.py) on its matrices, in place, to train it on; freeze the rest."""
    refuse_quantized(network, "LoRA")
    network.requires_grad_(False)
    for name, (a, b) in adapter.layers.items():
        owner, _, leaf = name.rpartition(".")
        layer = LoraLinear(network.get_submodule(name), len(a), adapter.scale * len(a), generator(0))
        with torch.no_grad():
            layer.lora_a.copy_(a)
            layer.lora_b.copy_(b)
        setattr(network.get_submodule(owner), leaf, layer)


def adapter_of(network: Transformer) -> Adapter | None:
    """The adapters as one record that can be written in PEFT's layout; None for a model without."""
    layers = {name: module for name, module in network.named_modules() if isinstance(module, LoraLinear)}
    if not layers:
        return None
    scale = next(iter(layers.values())).scale
    return Adapter(scale, {name: (module.lora_a, module.lora_b) for name, module in layers.items()})


def adapters(network: Transformer) -> dict[str, Tensor]:
    """The adapters' weights by name; {} for a model without."""
    return {name: weight for name, weight in network.named_parameters() if ".lora_" in name}


@contextmanager
def adapters_off(network: Transformer) -> Iterator[None]:
    """The model as it was before training. Changes nothing where there are no adapters."""
    layers = [module for module in network.modules() if isinstance(module, LoraLinear)]
    for layer in layers:
        layer.on = False
    try:
        yield
    finally:
        for layer in layers:
            layer.on = True


@torch.no_grad()
def merged(network: Transformer) -> dict[str, Tensor]:
    """Every weight under its name in a checkpoint, adapters added in float32 and rounded once."""
    weights = {name: weight for name, weight in network.named_parameters() if ".lora_" not in name}
    for name, module in network.named_modules():
        if isinstance(module, LoraLinear):
            change = module.lora_b.float() @ module.lora_a.float() * module.scale
            weights[f"{name}.weight"] = (module.weight.float() + change).to(module.weight.dtype)
    return weights
