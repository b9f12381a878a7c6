"""What a GPU's engine records, run on a CPU by the written-out operations: the pass in few operations beside the
network itself, and reading a drawn token before the program has seen it beside the plain loop. The kernels that stand
for these operations on a GPU are compared with them by `python tests/triton_runs.py`."""

import copy
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_engine import STOP, far_from_uniform, requests, run
from torch import Tensor

from thinkling.generate import cuda_graph, runner
from thinkling.generate.cuda_graph import CudaGraphDecoder
from thinkling.generate.engine import Engine
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.generate.thinking_budget import ThinkingBudget
from thinkling.model import decode_ops, transformer
from thinkling.model.cache import KVCache
from thinkling.model.config import FAMILIES, ModelConfig, RopeScaling
from thinkling.model.decode_pass import DecodePass, is_plain, products
from thinkling.model.transformer import Transformer, init_weights, joined
from thinkling.train.lora import add_adapters

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return far_from_uniform()


def network_of(kind: str, heads: tuple[int, int], tied: bool, scaling: RopeScaling | None = None) -> Transformer:
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, mlp_only_layers=(0,))
    config = ModelConfig(
        vocab_size=40, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=heads[0],
        num_key_value_heads=heads[1], head_dim=16, max_position_embeddings=96, rope_theta=10_000.0,
        tie_word_embeddings=tied, rope_scaling=scaling, model_type=kind, **experts if FAMILIES[kind].experts else {},
    )  # fmt: skip
    network = init_weights(Transformer(config), seed=2).eval()
    with torch.no_grad():
        for weight in network.parameters():  # norms and biases, too
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())) / 5)
    return network


# --- the pass ---


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("heads", "tied"), [((4, 2), True), ((3, 3), False), ((6, 1), True)])
@torch.inference_mode()
def test_the_pass_says_what_the_network_says(kind: str, heads: tuple[int, int], tied: bool) -> None:
    """Three steps of three rows of unequal length, in a cache that has more rows and more room."""
    scaling = RopeScaling("yarn", 2.0, original_max_position_embeddings=32, attention_factor=1.1) if tied else None
    network = network_of(kind, heads, tied, scaling)
    caches = [KVCache(network.config, 5, 40, CPU, torch.float32) for _ in range(2)]
    for part, (keys, values) in enumerate(zip(caches[0].keys, caches[0].values, strict=True)):
        keys.normal_(generator=torch.Generator().manual_seed(part))
        values.normal_(generator=torch.Generator().manual_seed(9 + part))
        caches[1].keys[part].copy_(keys)
        caches[1].values[part].copy_(values)
    for cache in caches:
        cache.lengths[:3] = torch.tensor([0, 17, 30])
    fused = DecodePass(network, 40, decode_ops)
    for step in range(3):
        tokens = torch.tensor([[step], [7], [39]])
        parts = [cache.view(3, 38) for cache in caches]
        found, wanted = fused(tokens, parts[0]), network(tokens, parts[1])[:, 0]
        assert (found - wanted).abs().max() < 2e-5
        for part in parts:
            part.advance(1)
    for mine, theirs in zip(caches[0].memory, caches[1].memory, strict=True):
        assert (mine - theirs).abs().max() < 2e-5  # what was stored, and nothing else


def test_joined_weights_are_those_of_the_layers(tmp_path: Path) -> None:
    """A step of training changes them in place, a checkpoint has each, and a second pass joins nothing anew."""
    network = network_of("qwen2", (4, 2), tied=True)
    own, before = network.model.layers[1].self_attn, network.model.layers[1].self_attn.k_proj.weight.clone()
    fused = DecodePass(network, 40, decode_ops)
    weight, bias = fused.projections[1]
    assert torch.equal(own.k_proj.weight, before) and weight.shape == (128, 24) and bias.shape == (128,)
    with torch.no_grad():
        own.k_proj.weight.add_(1.0)
        own.v_proj.bias.add_(2.0)
    assert torch.equal(weight[64:96], before + 1.0) and torch.equal(bias[96:], own.v_proj.bias)
    again, _ = DecodePass(network, 40, decode_ops).projections[1]
    assert again.data_ptr() == weight.data_ptr() and torch.equal(again, weight)
    save_file(network.state_dict() | {"lm_head.weight": torch.zeros(1)}, tmp_path / "m.safetensors")
    assert torch.equal(load_file(tmp_path / "m.safetensors")["model.layers.1.self_attn.v_proj.bias"], bias[96:])


def test_neighbours_in_memory_that_are_not_in_order_are_joined_anew() -> None:
    whole = torch.nn.Parameter(torch.arange(12.0).view(6, 2))
    parts = [torch.nn.Parameter(whole.data[4:]), torch.nn.Parameter(whole.data[:4])]
    assert joined(parts).flatten().tolist() == [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]
    assert parts[1].flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_what_is_joined_in_inference_mode_can_still_be_trained() -> None:
    """An engine joins weights while it answers: they would be tensors of inference mode, of which there is no
    gradient."""
    network = network_of("qwen3_moe", (4, 2), tied=True)
    experts = network.model.layers[1].mlp
    with torch.inference_mode():
        DecodePass(network, 40, decode_ops)
        stack = experts.stacked("up_proj")
    assert experts.stacked("up_proj") is stack and stack.shape == (4, 24, 24)
    network(torch.tensor([[1, 2, 3]])).square().sum().backward()
    before = stack.clone()
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert not torch.equal(stack, before)
    assert torch.equal(stack[3], experts.experts[3].up_proj.weight)


def test_layers_that_are_not_plain_are_left_to_the_network() -> None:
    from thinkling.model.int8 import Int8Linear

    network = network_of("qwen3_moe", (4, 2), tied=True)
    assert len(products(network)) == 4 + 3 + 4 and all(
        map(is_plain, products(network))
    )  # the second layer's are experts
    assert not is_plain(Int8Linear(network.model.layers[0].self_attn.q_proj))
    add_adapters(network, 2, 4.0, seed=0)
    assert not any(map(is_plain, products(network)))


# --- the engine that replays it ---


def of_a_gpu(engine: Engine, fused: bool) -> Engine:
    """The engine as it is on a GPU, its passes by the written-out operations."""
    engine.runner.decoder = CudaGraphDecoder(engine.model, engine.runner.cache, engine.max_length)
    if fused:
        engine.runner.decoder.fused = DecodePass(engine.model, engine.max_length, decode_ops)
    engine.runner.reads_ahead = True
    engine.runner.weights_at = [weight.data_ptr() for weight in engine.model.parameters()]
    return engine


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("max_rows", "together", "cache"), [(1, 99, 1.0), (4, 2, 1.0), (64, 99, 1.0), (8, 99, 60e-6)])
def test_a_token_read_ahead_is_the_token_drawn(
    model: Transformer, fused: bool, max_rows: int, together: int, cache: float
) -> None:
    """With memory for 234 tokens rows are cut anew and requests make way, too."""
    jobs = requests(24, seed=max_rows)
    engine = of_a_gpu(Engine(model, STOP, max_rows=max_rows, max_length=96, cache_gb=cache), fused)
    read_ahead = 0
    decode = engine.runner.decode_drawn

    def counted(tokens: Tensor, *rest: object) -> None:
        nonlocal read_ahead
        read_ahead += 1
        decode(tokens, *rest)

    engine.runner.decode_drawn = counted
    found = run(engine, jobs, together)
    assert read_ahead > 20
    for (prompt, sampling), completion in zip(jobs, found, strict=True):
        alone = generate(model, prompt, sampling, STOP)
        assert (completion.tokens, completion.finish_reason) == (alone.tokens, alone.finish_reason)
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_samples_of_a_prompt_prefixes_penalties_and_ends_by_the_caller(model: Transformer) -> None:
    """What the program decides on while the next pass runs already: a row that ended holds one token too many."""
    prompt = [random.Random(1).randrange(61) for _ in range(40)]
    kinds = [dict(repetition_penalty=1.3), dict(frequency_penalty=0.5, presence_penalty=0.2), dict(), dict(top_p=0.7)]
    samplings = [Sampling(1.0, max_tokens=20, seed=i, **kind) for i, kind in enumerate(kinds)]
    engine = of_a_gpu(Engine(model, STOP, max_rows=3, max_length=96, prefix_gb=1.0, cache_gb=2.0), fused=True)
    for _ in range(2):  # the second time from what is kept
        seen: list[int] = []
        ids = [engine.submit(prompt, one) for one in samplings]
        ended = engine.submit(
            prompt, samplings[2], on_token=lambda token, seen=seen: seen.append(token) or len(seen) == 3
        )
        done = {}
        while engine.busy:
            done |= dict(engine.step())
        for number, sampling in zip(ids, samplings, strict=True):
            assert done[number].tokens == generate(model, prompt, sampling, STOP).tokens
        assert list(done[ended].tokens) == seen == list(generate(model, prompt, samplings[2], STOP).tokens[:3])


@pytest.mark.parametrize("between", [False, True])
def test_adapters_and_replaced_weights_are_read(
    model: Transformer, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    """A trainer puts adapters on a network that has an engine already: what the engine had made of it before answered
    without them. And what replaces a weight says so, or has no request run."""

    def twin(network: Transformer, max_length: int) -> DecodePass | None:
        return DecodePass(network, max_length, decode_ops) if all(map(is_plain, products(network))) else None

    monkeypatch.setattr(runner, "can_record", lambda network: True)
    monkeypatch.setattr(cuda_graph, "fused_pass", twin)
    network, prompt, sampling = copy.deepcopy(model), [1, 2, 3], Sampling(0.0, max_tokens=12)
    engine = Engine(network, (), max_rows=2, max_length=96)
    if between:
        (before,) = run(engine, [(prompt, sampling)], 1)
    own = network.model.layers[1].self_attn.v_proj
    own.weight.data = own.weight.data.flip(0).clone()
    (replaced,) = run(engine, [(prompt, sampling)], 1)
    assert replaced.tokens == generate(network, prompt, sampling, ()).tokens
    assert not between or replaced.tokens != before.tokens
    assert engine.runner.decoder.fused is not None
    engine.submit(prompt, sampling)  # in a row of its own, while the weights are replaced once more
    engine.step()
    own.weight.data = own.weight.data.flip(0).clone()
    engine.weights_changed()
    assert torch.equal(engine.runner.decoder.fused.projections[1][0][-len(own.weight) :], own.weight)
    engine.clear()
    add_adapters(network, 4, 64.0, seed=0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("lora_b"):
                weight.normal_(std=0.5, generator=torch.Generator().manual_seed(weight.numel()))
    (adapted,) = run(engine, [(prompt, sampling)], 1)
    assert adapted.tokens == generate(network, prompt, sampling, ()).tokens != replaced.tokens
    assert engine.runner.decoder.fused is None


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("cancelled", [False, True])
def test_what_is_read_behind_the_end_does_not_stay(
    model: Transformer, ahead: bool, fused: bool, cancelled: bool
) -> None:
    """A stop token whose keys are not finite is read ahead, though no pass of the plain loop reads it; or what was read
    last is cancelled before it is looked at. The next request in this row decodes beside these places."""
    network, prompts = copy.deepcopy(model), ([7, 8], [4, 4, 5], [1, 2, 3])
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    samplings = [Sampling(0.0, max_tokens=num) for num in (40, 6, 20)]
    wanted = [generate(network, *job, ()).tokens for job in zip(prompts, samplings, strict=True)]
    end = wanted[1][5]
    assert end not in (*wanted[0], *wanted[1][:5], *wanted[2])
    with torch.no_grad():
        network.model.embed_tokens.weight[end] = torch.nan
    engine = of_a_gpu(Engine(network, () if cancelled else (end,), max_rows=2, max_length=96), fused)
    engine.runner.reads_ahead = ahead
    samplings[1] = Sampling(0.0, max_tokens=7)
    ids, done = [engine.submit(*job) for job in zip(prompts[:2], samplings[:2], strict=True)], {}
    for _ in range(6):  # by then it has drawn what ends it, and perhaps read that
        done |= dict(engine.step())
    engine.cancel(ids[1])
    ids.append(engine.submit(prompts[2], samplings[2]))
    while engine.busy:
        done |= dict(engine.step())
    assert [done[ids[i]].tokens for i in (0, 2)] == [wanted[0], wanted[2]]
    assert (ids[1] in done) == (not cancelled)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("case", ["two prompts", "moved", "cut anew"])
def test_numbers_that_are_not_finite_stay_nowhere(model: Transformer, ahead: bool, case: str) -> None:
    """They had stayed where a row had been before another made room for it: in the second of two rows whose prompts
    failed in one step; where a row was that moved before its newest place was looked at; and in memory cut anew."""
    network, poison = copy.deepcopy(model), 59
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    with torch.no_grad():
        network.model.embed_tokens.weight[poison] = torch.nan
    engine = of_a_gpu(Engine(network, (), max_rows=3, max_length=96), fused=False)
    engine.runner.reads_ahead, done = ahead, {}
    if case == "two prompts":
        failing = [engine.submit([*range(9), poison, i], Sampling(max_tokens=5)) for i in (1, 2)]
        done |= dict(engine.step())
    else:
        first = engine.submit([7, 8], Sampling(0.0, max_tokens=90))
        failing = [engine.submit([4, 4, 5], Sampling(0.0, max_tokens=40))]  # it says the poison sixth
        for _ in range(6):
            done |= dict(engine.step())
        assert not done and engine.running[1].tokens[-1] == poison
        if case == "moved":
            engine.cancel(first)
        else:  # as when memory is short
            engine.scheduler.room = 24
            engine.runner.recut(24, 2, engine.scheduler.longest)
    jobs = [([1, 2, 3], Sampling(0.0, max_tokens=9)), ([2, 2], Sampling(0.0, max_tokens=9))]
    later = [engine.submit(*job) for job in jobs]
    for _ in range(12):
        done |= dict(engine.step())
    assert all("finite" in str(done[number]) for number in failing)
    assert [done[number].tokens for number in later] == [generate(model, *job, ()).tokens for job in jobs]
    assert all(held.isfinite().all() for held in engine.runner.cache.memory)


def test_a_prompt_that_is_not_finite_is_no_prefix(model: Transformer) -> None:
    """Its masked places made those before them not finite, too: whoever began alike was told so as well."""
    network, prompt = copy.deepcopy(model), [*range(40)]
    with torch.no_grad():
        network.model.embed_tokens.weight[59] = torch.nan
        network.lm_head.weight = model.lm_head.weight
    engine, done = Engine(network, (), max_rows=2, max_length=96, prefix_gb=1.0), {}
    sampling = Sampling(0.0, max_tokens=2)
    for tokens in ([*prompt, 59], prompt):
        number = engine.submit(tokens, sampling)
        while engine.busy:
            done |= dict(engine.step())
    assert done[number].tokens == generate(model, prompt, sampling, ()).tokens


def test_a_mixture_is_recorded_though_its_engine_is_made_where_gradients_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = network_of("qwen3_moe", (4, 2), tied=True)
    monkeypatch.setattr(Transformer, "device", torch.device("cuda"))
    monkeypatch.setattr(transformer, "can_group", lambda x: not torch.is_grad_enabled())  # on a GPU in bfloat16
    assert torch.is_grad_enabled() and cuda_graph.can_record(network)
    add_adapters(network, 2, 4.0, seed=0)
    assert not cuda_graph.can_record(network)


class Forcing(ThinkingBudget):
    """A budget that is spent by three tokens, and then wants 5 and 6."""

    soft = False

    def __init__(self) -> None:
        self.spent = 0

    def push(self, token: int) -> tuple[int, ...]:
        self.spent += 1
        return (5, 6) if self.spent == 3 else ()


def test_what_the_program_may_put_in_a_tokens_place_is_not_read_ahead(model: Transformer) -> None:
    engine = of_a_gpu(Engine(model, STOP, max_rows=2, max_length=96, budget_of=lambda *_: Forcing()), fused=False)
    number = engine.submit([1, 2, 3], Sampling(0.0, max_tokens=24, max_thinking_tokens=3))
    done = {}
    while engine.busy:
        done |= dict(engine.step())
    first = generate(model, [1, 2, 3], Sampling(0.0, max_tokens=3), ()).tokens
    rest = generate(model, [1, 2, 3, *first, 5, 6], Sampling(0.0, max_tokens=19), STOP)
    assert done[number].tokens == (*first, 5, 6, *rest.tokens)
