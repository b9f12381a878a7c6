"""AdamW with its two moments in 8 bits each: 2 bytes per weight instead of 8 (Dettmers et al., arXiv:2110.02861).

Each block of 256 values keeps its largest magnitude in float32 and the others as codes. It differs from the paper in
the codes: powers (c / 127)^3 and (c / 255)^4 of the largest value, instead of a dynamic tree. Like it, they are finest
near zero. Tensors of fewer than 4,096 values keep float32 moments. One weight is decoded at a time.
"""

import torch
from torch import Tensor

BLOCK = 256
SMALLEST = 4096


class AdamW8bit(torch.optim.Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101), like torch.optim.AdamW but for the rounding of its state."""

    def __init__(
        self, params: list[Tensor], lr: float, betas: tuple[float, float], weight_decay: float, eps: float
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay, eps=eps))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.update(weight, group)

    def update(self, weight: Tensor, group: dict) -> None:
        state, gradient = self.state[weight], weight.grad.float()
        mean, square = self.moments(weight)
        first, second = group["betas"]
        step = int(state.get("step", torch.tensor(0.0))) + 1
        state["step"] = torch.tensor(float(step))
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        divisor = (square.sqrt() / (1 - second**step) ** 0.5).add_(group["eps"])
        weight.addcdiv_(mean, divisor, value=-group["lr"] / (1 - first**step))
        if weight.numel() < SMALLEST:
            state["mean"], state["square"] = mean, square
        else:
            state["mean_codes"], state["mean_scale"] = encode(mean, 127, 3)
            state["square_codes"], state["square_scale"] = encode(square, 255, 4)

    def moments(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        state = self.state[weight]
        if "mean" in state:
            return state["mean"], state["square"]
        if "mean_codes" not in state:
            return torch.zeros_like(weight, dtype=torch.float32), torch.zeros_like(weight, dtype=torch.float32)
        mean = decode(state["mean_codes"], state["mean_scale"], 127, 3, weight.shape)
        return mean, decode(state["square_codes"], state["square_scale"], 255, 4, weight.shape)

    def load_state_dict(self, state_dict: dict) -> None:
        """As usual; but codes come back as what they were, which the base class makes floats of."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for name, dtype in (("mean_codes", torch.int8), ("square_codes", torch.uint8)):
                if name in state:
                    state[name] = state[name].to(dtype)


def encode(values: Tensor, most: int, power: int) -> tuple[Tensor, Tensor]:
    """Codes (blocks, BLOCK), and the largest magnitude of each block, (blocks, 1).

    A square (unsigned, most = 255) is rounded up, so that nothing is ever divided by less than it should be.
    """
    flat = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scale = flat.abs().amax(-1, keepdim=True)
    share = (flat.abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)) ** (1 / power) * most
    if most == 255:
        return share.ceil().clamp(max=most).to(torch.uint8), scale
    return (share.round().clamp(max=most) * flat.sign()).to(torch.int8), scale


def decode(codes: Tensor, scale: Tensor, most: int, power: int, shape: torch.Size) -> Tensor:
    values = codes.float() / most
    return (values.abs() ** power * values.sign() * scale).flatten()[: shape.numel()].view(shape)
