"""A network that lies on several ranks, a share of every tensor on each: torch's FSDP2, layer by layer.

Each rank keeps two networks. The one that samples, scores, measures and is saved is whole, in the run's dtype: the
model's own, with which no rank ever waits for another. The one that learns is dealt out: its shards are float32 and
with them the gradients and the optimizer's state; a layer is put together, in the run's dtype, while it is read, and
its gradients are added up over the ranks in float32. Behind every optimizer step the whole one gets the new weights.
Alone the two are the same network. Left out: tensor, pipeline and expert parallelism.
"""

import copy

import torch
from torch import Tensor

from thinkling import distributed
from thinkling.errors import UserError
from thinkling.model.transformer import Transformer


def learner(network: Transformer) -> Transformer:
    """The network that learns: this one itself, or a copy of it that is dealt out to the ranks. What is frozen keeps
    its dtype. Gradients are the sum over the ranks: whoever takes a share of a loss divides by the whole's number."""
    if not distributed.is_joined():
        return network
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    kind, dtype = network.device.type, network.dtype
    if kind not in ("cpu", "cuda"):
        raise UserError(f"several processes cannot train on {kind}: use --device cpu, or leave torchrun away")
    own = copy.deepcopy(network)
    mesh = init_device_mesh(kind, (distributed.world(),))
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for part in [*own.model.layers, own]:  # the last has what is left: embedding, final norm and head
        for weight in part.parameters():
            if weight.requires_grad and weight.dtype != torch.float32:
                weight.data = weight.data.float()
        fully_shard(part, mesh=mesh, mp_policy=policy, reshard_after_forward=part is not own)
        part.set_gradient_divide_factor(1.0)  # a sum, no mean
        part.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it adds up
    if any(own.config.is_sparse(layer) for layer in range(own.config.num_hidden_layers)):
        own.set_reduce_scatter_unused_params(True)  # an expert that only some ranks have used
    return own


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is dealt out; every rank must ask. Another one is itself."""
    return tensor.full_tensor() if is_dealt_out(tensor) else tensor


def dealt_out_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's share of a whole tensor that all ranks have, as `like` is dealt out; itself where that is not."""
    if not is_dealt_out(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    local = tensor.to(like.device)
    return distribute_tensor(local, like.device_mesh, like.placements, src_data_rank=None)


def is_dealt_out(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")
