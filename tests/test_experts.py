"""A mixture of experts by sorted segments, and by one grouped product, against the plain loop over experts."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_qwen3 import MOE
from torch import Tensor

from thinkling.model import transformer
from thinkling.model.transformer import SparseMoE, Transformer, init_weights
from thinkling.train.lora import add_adapters

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from experts import by_loop  # one expert after the other: which tokens are yours?


@pytest.fixture
def layer() -> SparseMoE:
    torch.manual_seed(3)
    made = SparseMoE(replace(MOE, norm_topk_prob=True, num_experts_per_tok=3))
    with torch.no_grad():
        made.gate.weight.mul_(20)  # so that some experts have many tokens, and others none
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (5, 40)])
def test_segments_are_the_plain_loop_to_the_last_bit(
    layer: SparseMoE, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    x = torch.randn(*shape, MOE.hidden_size).to(dtype)
    layer.to(dtype)
    assert torch.equal(layer(x), by_loop(layer, x))


def test_gradients_are_those_of_the_plain_loop(layer: SparseMoE) -> None:
    x = torch.randn(1, 2, MOE.hidden_size, requires_grad=True)
    found = []
    for way in (layer, lambda x: by_loop(layer, x)):
        layer.zero_grad()
        x.grad = None
        way(x).square().sum().backward()
        found.append([x.grad, *[weight.grad for weight in layer.parameters()]])
    assert any(grad is None for grad in found[0])  # of an expert that no token met
    for mine, theirs in zip(*found, strict=True):
        assert (mine is None) == (theirs is None)
        torch.testing.assert_close(mine, theirs)


def test_the_processor_asks_once_how_many_tokens_each_expert_has(
    layer: SparseMoE, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, own = [], Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: asked.append(tensor.shape) or own(tensor))
    layer(torch.randn(2, 20, MOE.hidden_size))
    assert asked == [(MOE.num_experts,)]


def test_a_grouped_product_is_the_same_and_sees_weights_that_change(
    layer: SparseMoE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch._grouped_mm on a CPU stands for the GPU's. Weights become views of a stack: who loads new ones loads them
    into it, and who moves the layer makes it be stacked again."""
    x = torch.randn(2, 9, MOE.hidden_size)
    monkeypatch.setattr(transformer, "can_group", lambda x: not torch.is_grad_enabled())
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), by_loop(layer, x))
        assert layer.stacks["up_proj"].shape == (MOE.num_experts, MOE.moe_intermediate_size, MOE.hidden_size)
    with torch.no_grad():
        layer.load_state_dict({name: weight * 2 for name, weight in layer.state_dict().items()})
        torch.testing.assert_close(layer(x), by_loop(layer, x))
        layer.bfloat16()  # moves them all
        near = dict(rtol=0.05, atol=0.05)
        torch.testing.assert_close(layer(x.bfloat16()), by_loop(layer, x.bfloat16()), **near)
        layer.experts[5].up_proj.weight.add_(1)
        torch.testing.assert_close(layer(x.bfloat16()), by_loop(layer, x.bfloat16()), **near)
    layer(x.bfloat16()).sum().backward()  # where gradients are wanted, by segments
    assert layer.gate.weight.grad is not None


def test_stacked_weights_are_saved_and_adapters_are_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    network = init_weights(Transformer(MOE), seed=1)
    tokens = torch.arange(12)[None]
    with torch.inference_mode():
        plain = network(tokens)
        monkeypatch.setattr(transformer, "can_group", lambda x: not torch.is_grad_enabled())
        torch.testing.assert_close(network(tokens), plain)
    weights = {name: weight for name, weight in network.state_dict().items() if "experts" in name}
    save_file(weights, tmp_path / "a.safetensors")
    assert all(torch.equal(weight, weights[name]) for name, weight in load_file(tmp_path / "a.safetensors").items())
    add_adapters(network, 2, 2.0, seed=0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".lora_" in name:
                weight.fill_(0.1)
    with torch.inference_mode():
        adapted = network(tokens)
        monkeypatch.setattr(transformer, "can_group", lambda x: False)
        assert torch.equal(network(tokens), adapted) and not torch.allclose(adapted, plain)
