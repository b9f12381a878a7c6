"""Muon against torch's, against the singular values that it promises, and by hand."""

import pytest
import torch
from torch import Tensor

from thinkling.train.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (8, 8)])
def test_the_same_weights_as_torchs(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps; torch's is made to compute in float32, too."""
    monkeypatch.setattr(Tensor, "bfloat16", lambda tensor: tensor.float().clone())
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(start.clone()) for start in [torch.randn(shape)] * 2)
    how = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    first, second = Muon([ours], **how), torch.optim.Muon([theirs], **how)
    for _ in range(10):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        first.step()
        second.step()
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_singular_values_are_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    left, _ = torch.linalg.qr(torch.randn(shape[0], 6))
    right, _ = torch.linalg.qr(torch.randn(shape[1], 6))
    values = torch.tensor([9.0, 5.0, 3.0, 2.0, 1.0, 0.5])
    found = orthogonalised(left @ values.diag() @ right.T)
    inner = left.T @ found @ right
    assert torch.allclose(inner, inner.diagonal().diag(), atol=1e-4)
    assert bool(((inner.diagonal() > 0.65) & (inner.diagonal() < 1.25)).all())


def test_one_number_by_hand() -> None:
    """A matrix of one number is 1 after the norm; five times through 3.4445 s - 4.775 s^3 + 2.0315 s^5."""
    s = 1.0
    for _ in range(5):
        s = 3.4445 * s - 4.775 * s**3 + 2.0315 * s**5
    weight = torch.nn.Parameter(torch.tensor([[2.0]]))
    weight.grad = torch.tensor([[-7.0]])
    Muon([weight], lr=0.5, momentum=0.9, weight_decay=0.2).step()
    assert weight.item() == pytest.approx(2 * (1 - 0.5 * 0.2) + 0.5 * s, rel=1e-5)
