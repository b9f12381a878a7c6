"""A network with more layers that computes the same: where the training of a deeper model begins.

Each layer adds to the residual stream what `o_proj` and `down_proj` write. Where both are zero, a layer changes nothing
(Fixup, arXiv:1901.09321; zero-initialised blocks, arXiv:2401.02415), and its first gradients are theirs alone.
"""

from dataclasses import replace

import torch

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig
from thinkling.model.transformer import Transformer, init_weights


@torch.no_grad()
def deepened(start: Transformer, shape: ModelConfig, seed: int, wanted: str, given: str) -> Transformer:
    """`start` with layers behind its last until it has as many as `shape`: o_proj and down_proj zero, norms one, the
    rest drawn with `seed`. On its device, in its dtype; its logits are exactly those of `start`.

    wanted, given: what an error calls the two. Raises UserError where they differ in more than the number of layers, or
    `start` has more.
    """
    ours, theirs = vars(replace(shape, num_hidden_layers=0)), vars(replace(start.config, num_hidden_layers=0))
    differing = [f"{name} {theirs[name]}, not {value}" for name, value in ours.items() if value != theirs[name]]
    num_layers = start.config.num_hidden_layers
    if num_layers > shape.num_hidden_layers:
        differing.append(f"{num_layers} layers, more than {shape.num_hidden_layers}")
    if differing:
        raise UserError(f"{wanted} can only add layers to {given}, which has {'; '.join(differing)}")
    if num_layers == shape.num_hidden_layers:
        return start
    network = init_weights(Transformer(shape), seed)
    for name, weight in network.model.layers[num_layers:].named_parameters():  # a mixture has several down_proj
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.zero_()
    network.load_state_dict(start.state_dict(), strict=False)  # all that it has: their shapes are the same
    return network.to(start.device, start.dtype).train(start.training)
