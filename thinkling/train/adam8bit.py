"""AdamW with its two moments in 8 bits each: 2 bytes per weight instead of 8 (Dettmers et al., arXiv:2110.02861).

Each block of 256 values keeps its largest magnitude in float32 and the others as codes. It differs from the paper in
the codes: powers (c / 127)^3 and (c / 255)^4 of the largest value, instead of a dynamic tree. Like it, they are finest
near zero. Tensors of fewer than 4,096 values keep float32 moments. A million values are decoded at a time.
"""

import torch
from torch import Tensor

BLOCK = 256
SMALLEST = 4096
CHUNK = 4096  # blocks decoded at a time
CODES = {"mean": (127, 3), "square": (255, 4)}  # the moments: largest code, and the power


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
        state, gradient = self.state[weight], weight.grad
        step = int(state.get("step", torch.tensor(0.0))) + 1
        if step == 1:
            state |= zeros(weight)
        state["step"] = torch.tensor(float(step))
        if weight.numel() < SMALLEST:
            adamw(weight, gradient.float(), state["mean"], state["square"], step, group)
            return
        for start in range(0, len(state["mean_codes"]), CHUNK):
            rows, values = slice(start, start + CHUNK), slice(start * BLOCK, (start + CHUNK) * BLOCK)
            part = weight.view(-1)[values]
            mean, square = (
                decode(state[f"{name}_codes"][rows], state[f"{name}_scale"][rows], *how, part.shape)
                for name, how in CODES.items()
            )
            adamw(part, gradient.reshape(-1)[values].float(), mean, square, step, group)
            for (name, how), moment in zip(CODES.items(), (mean, square), strict=True):
                state[f"{name}_codes"][rows], state[f"{name}_scale"][rows] = encode(moment, *how)

    def load_state_dict(self, state_dict: dict) -> None:
        """As usual; but codes come back as what they were, which the base class makes floats of."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            for name, (most, _) in CODES.items():
                if f"{name}_codes" in state:
                    state[f"{name}_codes"] = state[f"{name}_codes"].to(dtype_of(most))


def zeros(weight: Tensor) -> dict[str, Tensor]:
    """Moments of a weight before its first step: whole for a small one, else codes (blocks, BLOCK) and scales."""
    if weight.numel() < SMALLEST:
        return {name: torch.zeros_like(weight, dtype=torch.float32) for name in ("mean", "square")}
    blocks, device = -(-weight.numel() // BLOCK), weight.device
    found = {f"{name}_scale": torch.zeros(blocks, 1, device=device) for name in CODES}
    for name, (most, _) in CODES.items():
        found[f"{name}_codes"] = torch.zeros(blocks, BLOCK, dtype=dtype_of(most), device=device)
    return found


def dtype_of(most: int) -> torch.dtype:
    """Codes up to 255 have no sign."""
    return torch.uint8 if most == 255 else torch.int8


def adamw(weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, group: dict) -> None:
    """One update (arXiv:1711.05101, algorithm 2), in place, of the moments too."""
    first, second = group["betas"]
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    divisor = (square.sqrt() / (1 - second**step) ** 0.5).add_(group["eps"])
    weight.addcdiv_(mean, divisor, value=-group["lr"] / (1 - first**step))


def encode(values: Tensor, most: int, power: int) -> tuple[Tensor, Tensor]:
    """Codes (blocks, BLOCK), and the largest magnitude of each block, (blocks, 1).

    A square (unsigned, most = 255) is rounded up, so that nothing is ever divided by less than it should be.
    """
    flat = torch.nn.functional.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scale = flat.abs().amax(-1, keepdim=True)
    share = (flat.abs() / scale.clamp(min=torch.finfo(torch.float32).tiny)) ** (1 / power) * most
    codes = share.ceil() if most == 255 else share.round() * flat.sign()
    return codes.clamp(-most, most).to(dtype_of(most)), scale


def decode(codes: Tensor, scale: Tensor, most: int, power: int, shape: torch.Size) -> Tensor:
    values = codes.float() / most
    return (values.abs() ** power * values.sign() * scale).flatten()[: shape.numel()].view(shape)
