"""A network made batch-invariant, in place, for answering on a CPU: what it says does not depend on who else is asked.

Its products and its attention then go in pieces of one size (tiles.py); norms, rotations and the softmax of the logits
take each token for itself anyway. Left out: training, which `refuse_invariant` refuses, and GPUs.
"""

import torch
from torch import nn

from thinkling.errors import UserError
from thinkling.model.tiles import TiledLinear, silu_by_parts
from thinkling.model.transformer import MLP, Transformer

FULL = 32  # numbers: rows of a multiple of it leave no processor register half empty, which is computed in another way


@torch.no_grad()
def make_invariant(network: Transformer) -> None:
    """Raises UserError where it cannot be done."""
    config = network.config
    if network.device.type != "cpu":
        raise UserError(f"--batch-invariant is for a CPU, not {network.device.type}: leave it out, or add --device cpu")
    for width in (config.intermediate_size, config.moe_intermediate_size):
        if width % FULL:
            raise UserError(f"--batch-invariant: an MLP of this network is {width} wide, no multiple of {FULL}: leave "
                            "it out")  # fmt: skip
    network.batch_invariant = True
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear):
            network.set_submodule(name, TiledLinear(layer))
        elif isinstance(layer, MLP):
            layer.activation = silu_by_parts


def refuse_invariant(network: nn.Module, what: str) -> None:
    """Raises UserError where a network is only to answer."""
    if getattr(network, "batch_invariant", False):
        raise UserError(f"{what}: this network is batch-invariant, and only answers: leave out --batch-invariant")
