"""The twin that answers on a CPU, beside the network that it is a twin of: products in blocks say the same, and what
they have copied follows the weights, however these change."""

import copy
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import Mock

import pytest
import torch
from test_decode_pass import network_of
from test_engine import STOP, far_from_uniform, requests, run
from torch import nn

from thinkling.generate.engine import Engine
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.model import prepacked
from thinkling.model.cache import KVCache
from thinkling.model.config import FAMILIES
from thinkling.model.decode_blocks import DecodeBlocks, can_decode_in_blocks
from thinkling.model.invariant import make_invariant
from thinkling.model.prepacked import PrepackedLinear, can_prepack, prepacked_twin
from thinkling.model.quantize import quantize
from thinkling.model.transformer import Transformer
from thinkling.train.config import OptimizerConfig
from thinkling.train.lora import adapters_off, add_adapters
from thinkling.train.optim import Optimizer

pytestmark = pytest.mark.skipif(not can_prepack(torch.float32), reason="this processor or torch has no such products")


@pytest.fixture(autouse=True)
def small_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepacked, "SMALL", 1)


def in_blocks(network: nn.Module) -> set[str]:
    return {name for name, layer in network.named_modules() if isinstance(layer, PrepackedLinear)}


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_the_twin_says_what_the_network_says(kind: str, tied: bool) -> None:
    """Biases, experts, a head that is the embedding; one row, rows of unequal length, and none."""
    network = network_of(kind, (4, 2), tied)
    twin = prepacked_twin(network)
    for shape in ((1, 1), (3, 7), (2, 60)):
        tokens = torch.randint(40, shape, generator=torch.Generator().manual_seed(shape[1]))
        torch.testing.assert_close(twin.logits(twin(tokens)), network.logits(network(tokens)), atol=2e-4, rtol=1e-4)
    assert twin.logits(torch.zeros(0, 24)).shape == (0, 40)
    states = torch.randn(5, 48)[:, ::2]  # every second number
    torch.testing.assert_close(twin.logits(states), network.logits(states))


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if not FAMILIES[kind].experts])
@pytest.mark.parametrize("rows", [1, 3, 6, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_the_pass_in_few_calls_says_what_the_twin_says(kind: str, rows: int, dtype: torch.dtype) -> None:
    """Three steps of rows of unequal length, in a cache that has more rows and more room. The same bits, and the same
    in the cache."""
    if not can_prepack(dtype):
        pytest.skip("no instructions for it")
    with torch.inference_mode(False):
        network = network_of(kind, (6, 2), True).to(dtype)
        for number, own in enumerate(own for own in network.parameters() if own.ndim == 1):  # norms that are not equal
            own.data.normal_(generator=torch.Generator().manual_seed(number))
        twin = prepacked_twin(network)
    assert can_decode_in_blocks(twin)
    caches = [KVCache(twin.config, rows + 2, 40, torch.device("cpu"), dtype) for _ in range(2)]
    for cache in caches:
        for number, held in enumerate((*cache.keys, *cache.values)):
            held.normal_(generator=torch.Generator().manual_seed(number))
        cache.lengths[:rows] = torch.arange(rows) * 2
    run = DecodeBlocks(twin)
    for step in range(3):
        tokens = (torch.arange(rows)[:, None] * 7 + step) % 40
        parts = [cache.view(rows, 38) for cache in caches]
        assert torch.equal(run(tokens, parts[0]), twin(tokens, parts[1])[:, 0])
        for part in parts:
            part.advance(1)
    for mine, theirs in zip(caches[0].memory, caches[1].memory, strict=True):
        assert torch.equal(mine, theirs)


def test_which_twins_decode_in_few_calls() -> None:
    assert not can_decode_in_blocks(prepacked_twin(network_of("qwen3_moe", (4, 2), True)))
    for leaf in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"):
        twin = prepacked_twin(network_of("qwen3", (4, 2), True))
        twin.model.layers[1].set_submodule(leaf, nn.Linear(4, 4))
        assert not can_decode_in_blocks(twin), leaf


def test_every_product_is_in_blocks_and_nothing_else_is_another() -> None:
    network = network_of("qwen3", (4, 2), True)
    twin, names = prepacked_twin(network), {name for name, own in network.named_modules() if type(own) is nn.Linear}
    assert in_blocks(twin) == names
    assert not in_blocks(network)
    assert len(names) == 15
    kept = {id(own) for own in network.parameters()}
    assert {id(own) for own in twin.parameters()} < kept
    assert twin.model.layers[0].self_attn.q_proj.blocks is twin.model.layers[0].self_attn.v_proj.blocks
    mixture = prepacked_twin(network_of("qwen3_moe", (4, 2), True))
    assert type(mixture.model.layers[1].mlp.gate) is nn.Linear  # the router
    assert "model.layers.1.mlp.experts.3.down_proj" in in_blocks(mixture)


def test_what_has_no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    network = far_from_uniform()
    assert prepacked_twin(network) is not None
    copied = sum(layer.weight.nbytes for layer in network.modules() if type(layer) is nn.Linear)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for cores, free, there in ((2, 2 * copied, True), (2, 2 * copied - 1, False), (1, 2 * copied, True),
                               (8, 8 * copied, True), (8, 8 * copied - 1, False)):  # one of four processes  # fmt: skip
        monkeypatch.setattr(prepacked, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(prepacked, "free_memory", lambda free=free: free)
        assert (prepacked_twin(network) is not None) is there
    monkeypatch.undo()
    assert prepacked_twin(network) is None  # it is narrow
    monkeypatch.setattr(prepacked, "SMALL", 1)
    assert prepacked_twin(copy.deepcopy(network).half()) is None
    with torch.inference_mode():
        assert prepacked_twin(far_from_uniform()) is None  # nobody could tell that it has changed
    for change in (make_invariant, quantize):
        changed = network_of("qwen3", (4, 2), False)
        change(changed)
        assert prepacked_twin(changed) is None


def test_products_that_are_wrong_here_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no public part of torch: another version may want other arguments."""

    def wants_more(*_: object) -> None:
        raise TypeError("missing an argument")

    whole = prepacked.Blocks.products
    for other in (wants_more, lambda self, x: whole(self, x) + 1):
        monkeypatch.setattr(prepacked.Blocks, "products", other)
        can_prepack.cache_clear()
        assert not can_prepack(torch.float32)
    monkeypatch.undo()
    can_prepack.cache_clear()
    assert can_prepack(torch.float32)


@pytest.mark.parametrize("more", [{}, {"speculate": 3}, {"prefix_gb": 0.001, "max_num_batched_tokens": 16}])
def test_the_engine_answers_with_it_as_the_plain_loop_does(more: dict) -> None:
    """Prompts of all lengths beside each other; with guesses, from what was read before, in chunks."""
    model, jobs = far_from_uniform(), requests(30, seed=3)
    engine = Engine(model, STOP, max_rows=5, max_length=96, **more)
    assert in_blocks(engine.runner.network)
    assert engine.runner.decode_blocks is not None
    for (prompt, sampling), found in zip(jobs, run(engine, jobs, together=3), strict=True):
        alone = generate(model, prompt, sampling, STOP)
        assert found.tokens == alone.tokens
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def by_optimizer(network: Transformer) -> None:
    network(torch.arange(20)[None]).square().mean().backward()
    Optimizer(network, OptimizerConfig(lr=0.3)).step()


def by_data(network: Transformer) -> None:
    """Which torch does not count."""
    own = network.model.layers[0].mlp.up_proj.weight
    own.data.mul_(-1.0)


def by_state(network: Transformer) -> None:
    network.load_state_dict({name: own.flip(0) for name, own in network.state_dict().items()})


def by_another_tensor(network: Transformer) -> None:
    own = network.model.layers[1].self_attn.o_proj
    own.weight.data = own.weight.data.flip(0).clone()


def by_another_layer(network: Transformer) -> None:
    own = network.model.layers[1].self_attn
    own.v_proj = copy.deepcopy(own.k_proj)


def by_adapters(network: Transformer) -> None:
    add_adapters(network, 4, 64.0, seed=0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("lora_b"):
                weight.normal_(std=0.5, generator=torch.Generator().manual_seed(weight.numel()))


CHANGES = [by_optimizer, by_data, by_state, by_another_tensor, by_another_layer, by_adapters]


@pytest.mark.parametrize("change", CHANGES)
def test_what_it_has_copied_follows_the_weights(change: Callable[[Transformer], None]) -> None:
    network, prompt, sampling = far_from_uniform(), [1, 2, 3], Sampling(0.0, max_tokens=20)
    engine = Engine(network, (), max_rows=2, max_length=96)
    (before,) = run(engine, [(prompt, sampling)], 1)
    change(network)
    (after,) = run(engine, [(prompt, sampling)], 1)
    assert after.tokens == generate(network, prompt, sampling, ()).tokens != before.tokens
    assert in_blocks(engine.runner.network)


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_a_reading_sees_what_has_changed(change: Callable[[Transformer], None]) -> None:
    network, tokens = far_from_uniform(), list(range(12))
    engine = Engine(network, (), max_rows=2, max_length=96)
    with torch.enable_grad():
        change(network)
    engine.add(engine.reading(tokens))
    ((_, hidden),) = engine.step()
    torch.testing.assert_close(hidden, network(torch.tensor([tokens]))[0], atol=1e-4, rtol=1e-4)


def test_weights_that_change_under_a_request() -> None:
    """It goes on with the new ones, as --overlap wants it."""
    network = far_from_uniform()
    engine = Engine(network, (), max_rows=2, max_length=96)
    engine.submit([1, 2, 3], Sampling(0.0, max_tokens=20))
    engine.step()
    by_data(network)
    engine.weights_changed()
    states = torch.randn(4, 32)
    own = engine.runner.network.model.layers[0].mlp
    torch.testing.assert_close(own.up_proj(states), network.model.layers[0].mlp.up_proj(states))


def test_what_has_not_changed_is_not_copied_again() -> None:
    engine = Engine(far_from_uniform(), (), max_rows=2, max_length=96)
    blocks = engine.runner.network.model.layers[0].self_attn.q_proj.blocks
    first = blocks.packed
    run(engine, requests(3, seed=1), together=1)
    assert blocks.packed is first


@torch.no_grad()
def test_adapters_are_off_in_the_twin_where_they_are_in_the_network() -> None:
    network, tokens = far_from_uniform(), list(range(12))
    by_adapters(network)
    engine = Engine(network, (), max_rows=2, max_length=96)
    found = []
    for where in (nullcontext(), adapters_off(network), nullcontext()):
        with where:
            engine.add(engine.reading(tokens))
            found.append(dict(engine.step()).popitem()[1])
            torch.testing.assert_close(found[-1], network(torch.tensor([tokens]))[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("place", ["model.layers.1", "model.layers.0.mlp", "model.layers.1.mlp.up_proj", "model.norm"])
def test_what_hooks_change_is_changed(place: str) -> None:
    """No pass goes by them, nor by a `forward` of a module's own, whether they come before the engine or later; without
    them the twin is there again."""
    network, prompt, sampling = far_from_uniform(), [1, 2, 3], Sampling(0.0, max_tokens=20)
    later = Engine(network, (), max_rows=2, max_length=96)
    hook = network.get_submodule(place).register_forward_hook(lambda module, given, out: out.flip(-1))
    before = Engine(network, (), max_rows=2, max_length=96)
    wanted = generate(network, prompt, sampling, ()).tokens
    for engine in (later, before):
        assert run(engine, [(prompt, sampling)], 1)[0].tokens == wanted
    hook.remove()
    layer = network.get_submodule(place)
    layer.forward = lambda *given: type(layer).forward(layer, *given).flip(-1)
    assert run(later, [(prompt, sampling)], 1)[0].tokens == wanted
    del layer.forward
    assert run(later, [(prompt, sampling)], 1)[0].tokens == generate(network, prompt, sampling, ()).tokens != wanted
    assert later.runner.twin is not None


def test_another_activation_is_the_twins_too() -> None:
    network, prompt, sampling = far_from_uniform(), [1, 2, 3], Sampling(0.0, max_tokens=20)
    network.model.layers[0].mlp.activation = torch.tanh
    engine = Engine(network, (), max_rows=2, max_length=96)
    assert run(engine, [(prompt, sampling)], 1)[0].tokens == generate(network, prompt, sampling, ()).tokens


def test_the_old_twin_has_gone_when_a_new_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else there would be room for three times the matrices, or no twin."""
    network = far_from_uniform()
    engine = Engine(network, (), max_rows=2, max_length=96)
    old, there = weakref.ref(engine.runner.twin.lm_head.blocks), []
    monkeypatch.setattr(prepacked, "free_memory", lambda: there.append(old() is not None) or 1e9)
    by_another_tensor(network)
    engine.weights_changed()
    assert there == [False]


@pytest.mark.parametrize("change", [by_data, by_another_tensor])
def test_without_memory_for_blocks_the_network_answers(
    change: Callable[[Transformer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, job = far_from_uniform(), ([1, 2, 3], Sampling(0.0, max_tokens=20))
    engine, limit = Engine(network, (), max_rows=2, max_length=96), "DefaultCPUAllocator: can't allocate memory"
    change(network)
    for error in (limit, "something else"):
        monkeypatch.setattr(prepacked.torch, "cat", Mock(side_effect=RuntimeError(error)))
        if error == limit:
            engine.runner.look_at_weights()
            assert engine.runner.twin is engine.runner.decode_blocks is None
            assert Engine(network, (), max_rows=2, max_length=96).runner.network is network
        else:
            with pytest.raises(RuntimeError, match=error):
                Engine(network, (), max_rows=2, max_length=96)
    monkeypatch.undo()
    assert run(engine, [job], 1)[0].tokens == generate(network, *job, ()).tokens
