"""Muon: momentum whose every matrix is made nearly orthogonal before it is taken off (Jordan et al. 2024).

A gradient's matrix has a few large singular values and many small ones; orthogonalised, all directions count alike.
The same numbers as torch.optim.Muon on a GPU, where the products are of bfloat16. Elsewhere they are of float32: a CPU
that has no bfloat16 takes a hundred times as long for them. A matrix that is dealt out is made whole on every rank.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from thinkling.train.sharding import dealt_out_like, whole

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of Jordan's quintic: steepest at 0, it ends between 0.7 and 1.2, not at 1
NUM_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; lr counts sqrt(rows / columns) for tall matrices.

    params: matrices only.
    """

    def __init__(self, params: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.update(weight, group)

    def update(self, weight: Tensor, group: dict) -> None:
        state, gradient, momentum = self.state[weight], weight.grad, group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        rows, columns = weight.shape
        direction = dealt_out_like(orthogonalised(whole(gradient.lerp(mean, momentum))), weight)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(direction, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalised(matrix: Float[Tensor, "M N"]) -> Float[Tensor, "M N"]:
    """U S V^T with singular values S between about 0.7 and 1.2, where the matrix is U D V^T: Newton-Schulz, no SVD.

    Each pass puts every singular value s through a s + b s^3 + c s^5; singular vectors stay as they are.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if matrix.device.type == "cuda" else matrix.float()
    if matrix.shape[0] > matrix.shape[1]:  # the products below are of the shorter side
        x = x.T
    x = x / x.norm().clamp(min=1e-7)  # no singular value above 1
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
