"""Optimizers from outside the model: which parameters go where, the schedule, clipping, float32 masters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from thinkling import distributed
from thinkling.errors import UserError
from thinkling.model.invariant import refuse_invariant
from thinkling.model.quantize import refuse_quantized
from thinkling.train.adam8bit import AdamW8bit
from thinkling.train.config import OptimizerConfig
from thinkling.train.muon import Muon
from thinkling.train.sharding import dealt_out_like, whole

ROUTER = ".mlp.gate.weight"  # of a mixture of experts; a dense layer's gate is gate_proj


def is_layer_matrix(name: str, weight: Tensor) -> bool:
    """Is this weight a matrix inside a layer? Muon and LoRA are for these. A mixture's router does not count as one: it
    is small, and whatever moves its scores a little sends tokens to other experts."""
    return ".layers." in name and weight.ndim == 2 and not name.endswith(ROUTER)


def after_no_finite_step(ever: bool) -> str:
    """What to do where the last steps were not finite. ever: was one before them?"""
    if ever:
        return "lower --lr, or use --dtype float32"
    return "no step ever was, so the weights of the model, or of its teacher, are damaged, or want --dtype float32"


class Optimizer:
    """AdamW, or Muon for the layers' matrices with AdamW for the rest, over float32 copies of the weights.

    A bfloat16 weight cannot hold a small update (it has 8 bits of mantissa), so the optimizer works on float32 masters
    and the model gets the rounded result. Where the model is float32 already, the masters are its own weights; those of
    a `learner` that lies on several ranks (sharding.py) are its shards, to which its passes bring the gradients.
    `summing` adds up the gradients of several passes in float32, too.
    Muon: muon.py. AdamW: arXiv:1711.05101, torch's; its moments of 8 bits: adam8bit.py.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig, learner: nn.Module | None = None) -> None:
        refuse_quantized(model, "training")
        refuse_invariant(model, "training")
        self.config, constants = config, config.constants
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.weights = [p for _, p in named]
        if learner is None or learner is model:
            self.masters = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for _, p in named]
        else:
            if config.name == "adamw-8bit":
                raise UserError("--optimizer adamw-8bit is for one process: its blocks of 256 values would depend on "
                                "how many there are. Use adamw, whose state is dealt out, or muon")  # fmt: skip
            dealt_out = dict(learner.named_parameters())
            self.masters = [dealt_out[name] for name, _ in named]
        masters = {name: master for (name, _), master in zip(named, self.masters, strict=True)}
        matrices = {n for n, p in named if config.name == "muon" and is_layer_matrix(n, p)}
        rest = [m for n, m in masters.items() if n not in matrices]
        how = {"lr": config.lr, "betas": constants.betas, "weight_decay": constants.weight_decay, "eps": constants.eps}
        on_gpu = self.masters[0].device.type == "cuda"  # the fused kernel copies no weights while it works
        self.parts = []
        if rest and config.name == "adamw-8bit":
            self.parts.append(AdamW8bit(rest, **how))
        elif rest:  # not with Muon on adapters, which all are matrices
            self.parts.append(torch.optim.AdamW(rest, **how, fused=on_gpu or None))
        if matrices:
            chosen = [m for n, m in masters.items() if n in matrices]
            more = {"momentum": constants.momentum, "weight_decay": constants.weight_decay}
            self.parts.append(Muon(chosen, lr=config.muon_lr, **more))
        for part in self.parts:
            for group in part.param_groups:
                group["base_lr"] = group["lr"]

    @contextmanager
    def summing(self) -> Iterator[None]:
        """Inside, every backward pass adds its gradient to the masters' at once: bfloat16 would lose more with each
        pass, and a whole second gradient would be held. Changes nothing where the model is float32."""
        owner = {id(weight): master for weight, master in zip(self.weights, self.masters, strict=True)}
        hooks = [
            weight.register_post_accumulate_grad_hook(lambda weight: hand_over(weight, owner[id(weight)]))
            for weight in self.weights
            if owner[id(weight)] is not weight
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> float:
        """One update at `scale` times the base learning rates. Returns the gradient's norm before clipping.

        A gradient that is not finite changes nothing: the step is skipped and the norm says so (nan or inf).
        """
        for weight, master in zip(self.weights, self.masters, strict=True):
            if master is not weight:
                hand_over(weight, master)
        norm = float(whole(nn.utils.clip_grad_norm_(self.masters, self.config.constants.clip_norm)))
        if norm < float("inf"):  # false for nan too
            for part in self.parts:
                for group in part.param_groups:
                    group["lr"] = group["base_lr"] * scale
                part.step()
            for weight, master in zip(self.weights, self.masters, strict=True):
                if master is not weight:
                    weight.copy_(whole(master))
        for tensor in self.weights + self.masters:
            tensor.grad = None
        return norm

    def state(self) -> tuple[dict[str, Tensor], list[list[dict]]]:
        """Everything needed to go on: tensors for a safetensors file, and the groups' plain values for JSON. It is the
        same on any number of ranks; every rank must ask, and rank 0 gets it."""
        pairs = zip(self.weights, self.masters, strict=True)
        tensors = {f"master.{i}": m for i, (w, m) in enumerate(pairs) if m is not w and w.dtype != torch.float32}
        plain = []
        for i, part in enumerate(self.parts):
            stored = part.state_dict()
            tensors |= {
                f"{i}.{p}.{key}": torch.as_tensor(value)
                for p, values in stored["state"].items()
                for key, value in values.items()
            }
            plain.append(stored["param_groups"])
        return gathered(tensors), plain

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], plain: list[list[dict]]) -> None:
        """Go on from there. The weights of the model are then as they were already."""
        if len(plain) != len(self.parts):
            raise UserError("the saved optimizer is of another kind than this run's: resume with the same settings")
        for i, (weight, master) in enumerate(zip(self.weights, self.masters, strict=True)):
            if master is not weight:
                master.copy_(dealt_out_like(tensors.get(f"master.{i}", weight), master))
        for i, part in enumerate(self.parts):
            owned = [weight for group in part.param_groups for weight in group["params"]]
            states: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                owner, _, rest = name.partition(".")
                if owner == str(i):
                    index, _, key = rest.partition(".")
                    states.setdefault(int(index), {})[key] = dealt_out_like(value, owned[int(index)])
            part.load_state_dict({"state": states, "param_groups": plain[i]})


def gathered(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors, put together one by one; rank 0 keeps them, off the device."""
    found = {}
    for name, tensor in tensors.items():
        put_together = whole(tensor)
        if distributed.is_first():
            found[name] = put_together.cpu() if put_together is not tensor else tensor
    return found


@torch.no_grad()
def hand_over(weight: Tensor, master: Tensor) -> None:
    """Add a weight's gradient to its master's, in float32, and forget it: one of the two is enough."""
    if weight.grad is None:
        return
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad += weight.grad
    weight.grad = None


def schedule(config: OptimizerConfig, step: int, num_steps: int) -> float:
    """The factor on the learning rates at `step` (from 0) of a run of `num_steps`."""
    return warmup_then_decay(step, num_steps, config.constants.warmup_steps, config.decay_share)


def warmup_then_decay(step: int, num_steps: int, warmup: int, decay_share: float) -> float:
    """Factor on the learning rate at `step` (from 0): linear warm-up, flat, linear decay to 0 over the last share."""
    decay_start = num_steps * (1 - decay_share)
    if step < warmup:
        return (step + 1) / warmup
    if step < decay_start:
        return 1.0
    return max(0.0, (num_steps - step) / max(1.0, num_steps - decay_start))
