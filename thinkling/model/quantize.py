"""A network's matrices made 8-bit integers, in place: a quarter of float32's memory, for answering on a CPU (int8.py).

Norms and biases stay as they are; the embedding and the head count as matrices. Left out: mixtures of experts, and all
that would change the weights or store them, which `refuse_quantized` refuses.
"""

from typing import Literal

import torch
from torch import nn

from thinkling.errors import UserError
from thinkling.model.int8 import Int8Embedding, Int8Linear, parts
from thinkling.model.transformer import Transformer

Quantization = Literal["int8"]


@torch.no_grad()
def quantize(network: Transformer) -> None:
    """One layer after the other, so that no more than the float weights are ever held. Raises UserError where it cannot
    be done."""
    if network.config.num_experts:
        raise UserError("--quantize int8 is for dense networks, and this one is a mixture of experts: leave it out")
    if network.device.type != "cpu":
        raise UserError(f"--quantize int8 is for a CPU, not {network.device.type}: leave it out, or add --device cpu")
    refuse_quantized(network, "--quantize")
    if any(".lora_" in name for name, _ in network.named_parameters()):
        raise UserError("--quantize: this network has adapters: merge them first")
    tied = network.lm_head.weight is network.model.embed_tokens.weight
    network.lm_head = head = Int8Linear(network.lm_head)
    table = (head.weight, head.scale) if tied else parts(network.model.embed_tokens.weight)
    network.model.embed_tokens = Int8Embedding(*table, network.dtype)
    layers = network.model.layers
    for name in [name for name, layer in layers.named_modules() if isinstance(layer, nn.Linear)]:
        layers.set_submodule(name, Int8Linear(layers.get_submodule(name)))
    network.requires_grad_(False)


def is_quantized(network: nn.Module) -> bool:
    return any(isinstance(layer, Int8Linear) for layer in network.modules())


def refuse_quantized(network: nn.Module, what: str) -> None:
    """Raises UserError where the weights are whole numbers, which cannot be changed a little."""
    if is_quantized(network):
        raise UserError(f"{what}: this model's weights are int8, which only answer: load it without --quantize")


def weight_bytes(network: nn.Module) -> int:
    """What the weights take in memory."""
    return sum(weight.nbytes for weight in network.parameters())
