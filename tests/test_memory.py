"""What saves memory changes nothing else: 8-bit moments, recomputed layers, adapters; and the plan of a run's needs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import rl_steps
import torch

from thinkling import cli
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.commands.rollout_servers import RolloutServerSettings
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import score_packed
from thinkling.model import prepacked
from thinkling.model.config import SIZES, ModelConfig
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model
from thinkling.train import checkpoint, memory
from thinkling.train.adam8bit import AdamW8bit, decode, encode
from thinkling.train.lora import LoraLinear, adapters, adapters_off, add_adapters, merged
from thinkling.train.optim import Optimizer
from thinkling.train.rl import sampler

MIXTURE = ModelConfig(
    model_type="qwen3_moe",
    vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=1, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
    max_position_embeddings=512,
)  # fmt: skip

# --- moments in 8 bits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "power"), [(127, 3), (255, 4)])
def test_codes_by_hand_and_their_error(most: int, power: int) -> None:
    values = torch.tensor([1.0, 0.0, 1e-3, 0.5]) * 7
    codes, scale = encode(values, most, power)
    assert scale.tolist() == [[7.0]]
    assert codes.shape == (1, 256)
    assert codes[0, :2].tolist() == [most, 0]
    found = decode(codes, scale, most, power, values.shape)
    assert found[0] == 7 and found[1] == 0
    torch.manual_seed(0)
    many = torch.rand(5000) if most == 255 else torch.randn(5000)
    codes, scale = encode(many, most, power)
    again = decode(codes, scale, most, power, many.shape)
    large = many.abs() > 0.1
    assert ((again - many).abs() / many.abs())[large].max() < 0.06
    if most == 255:
        assert (again >= many * (1 - 1e-5)).all()  # a square is never made smaller
    else:
        assert (again.sign() == many.sign())[large].all()


def test_a_step_is_adamws_but_for_rounding() -> None:
    torch.manual_seed(0)
    start, options = torch.randn(80, 64), dict(lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1, eps=1e-10)
    mine, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    eight, plain = AdamW8bit([mine], **options), torch.optim.AdamW([theirs], **options)
    for step in range(10):
        mine.grad = theirs.grad = torch.randn(80, 64) + 1
        eight.step()
        plain.step()
        far = (mine - theirs).abs().max() / (theirs - start).abs().mean()
        assert far < (1e-5 if step == 0 else 0.2)  # the first step has no state that was rounded
    assert eight.state[mine]["mean_codes"].dtype == torch.int8
    kept = sum(value.numel() * value.element_size() for value in eight.state[mine].values())
    assert kept < 2.1 * start.numel()


def test_small_weights_keep_their_moments_whole() -> None:
    mine, theirs = (torch.ones(10, requires_grad=True) for _ in range(2))
    options = dict(lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0, eps=1e-10)
    eight, plain = AdamW8bit([mine], **options), torch.optim.AdamW([theirs], **options)
    for step in range(5):
        mine.grad = theirs.grad = torch.arange(10.0) - step
        eight.step()
        plain.step()
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_eight_bit_state_goes_on_exactly() -> None:
    def run(steps: list[int], model: torch.nn.Module, optimizer: Optimizer) -> None:
        for seed in steps:
            torch.manual_seed(seed)
            model.weight.grad = torch.randn(80, 64)
            optimizer.step()

    torch.manual_seed(9)
    start = torch.randn(80, 64)
    models = [torch.nn.Linear(64, 80, bias=False) for _ in range(2)]
    for model in models:
        model.weight.data.copy_(start)
    straight, first = (rl_steps.adam(model, 1e-2, name="adamw-8bit") for model in models)
    run([1, 2, 3], models[0], straight)
    run([1, 2], models[1], first)
    tensors, plain = first.state()
    second = rl_steps.adam(models[1], 1e-2, name="adamw-8bit")
    second.load_state({k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(plain)))
    assert second.parts[0].state[models[1].weight]["mean_codes"].dtype == torch.int8  # floats take four times as much
    run([3], models[1], second)
    assert torch.equal(models[0].weight, models[1].weight)


def test_a_gradient_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the optimizer works on float32 masters, the bfloat16 gradient goes as its copy comes."""
    model, seen = torch.nn.Linear(4, 4, bias=False).to(torch.bfloat16), []
    original = torch.nn.utils.clip_grad_norm_

    def watched(masters: list, *rest: object) -> torch.Tensor:
        seen.append((model.weight.grad is None, masters[0].grad is not None))
        return original(masters, *rest)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    model.weight.grad = torch.ones_like(model.weight)
    rl_steps.adam(model, 1e-3).step()
    assert seen == [(True, True)]


# --- layers that are computed again -------------------------------------------------------------------------------


def test_recomputing_changes_the_memory_and_nothing_else(tiny_network: Transformer) -> None:
    prompts, completions = [[*range(7)], [3]], [[[*range(8)], [*range(5)]], [[*range(9)]]]
    results = []
    for recompute in (False, True):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.nbytes) or t, lambda t: t):
            logprobs, _ = score_packed(tiny_network, prompts, completions, 0.9, recompute=recompute)
        gradients = torch.autograd.grad(logprobs.sum(), list(tiny_network.parameters()))
        results.append((logprobs, gradients, sum(sizes)))
    (plain, expected, many), (again, gradients, few) = results
    assert torch.equal(plain, again)
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))
    assert few < 0.6 * many


# --- adapters -----------------------------------------------------------------------------------------------------


def with_adapters(network: Transformer) -> Transformer:
    own = Transformer(network.config)
    own.load_state_dict(network.state_dict())
    add_adapters(own, rank=4, alpha=8.0, seed=0)
    return own


def test_adapters_begin_as_nothing_and_are_all_that_learns(tiny_network: Transformer) -> None:
    own, tokens = with_adapters(tiny_network), torch.arange(12)[None]
    assert torch.equal(own(tokens), tiny_network(tokens))
    layers = tiny_network.config.num_hidden_layers
    assert len(adapters(own)) == layers * 7 * 2  # q, k, v, o, gate, up, down
    assert {n for n, p in own.named_parameters() if p.requires_grad} == set(adapters(own))
    own(tokens).square().sum().backward()
    assert all(p.grad is not None for n, p in own.named_parameters() if n.endswith("lora_b"))
    assert all(p.grad is None for n, p in own.named_parameters() if ".lora_" not in n)


def test_adapters_by_hand() -> None:
    """W = (1 2), A = (3 4), B = 5, alpha / rank = 2: at x = (1, 1) that is 3 + 2 * 5 * 7 = 73."""
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2.0]])
    own = LoraLinear(layer, rank=1, alpha=2.0, random=torch.Generator())
    own.lora_a.data, own.lora_b.data = torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0]])
    assert own(torch.ones(1, 2)).item() == 73
    own.on = False
    assert own(torch.ones(1, 2)).item() == 3


def test_merged_weights_say_the_same(tiny_network: Transformer) -> None:
    own, tokens = with_adapters(tiny_network), torch.arange(12)[None]
    torch.manual_seed(0)
    for weight in adapters(own).values():
        weight.data = torch.randn_like(weight) * 0.05
    whole = Transformer(tiny_network.config)
    whole.load_state_dict(merged(own), strict=False)
    assert set(merged(own)) == dict(tiny_network.named_parameters()).keys()
    assert torch.allclose(whole(tokens), own(tokens), atol=1e-4)
    assert not torch.allclose(tiny_network(tokens), own(tokens), atol=1e-2)
    with adapters_off(own):
        assert torch.equal(own(tokens), tiny_network(tokens))
    assert torch.allclose(whole(tokens), own(tokens), atol=1e-4)


def plan(out: Path, **changes: object) -> Grpo:
    small = dict(out=out, steps=4, prompts_per_step=2, rollouts_per_prompt=4, max_tokens=10, lr=1e-2, save_every=2,
                 preflight=False, eval_every=0)  # fmt: skip
    return Grpo(**(small | changes))


@pytest.fixture
def some_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    original = sampler.roll_out

    def rewarded(*arguments: object) -> list:
        return [[replace(r, reward=float(sum(r.completion.tokens) % 2)) for r in g] for g in original(*arguments)]

    monkeypatch.setattr(sampler, "roll_out", rewarded)


class Killed(Exception):
    pass


@pytest.mark.usefixtures("some_are_right")
@pytest.mark.parametrize(
    "extra",
    [dict(lora_rank=4), dict(lora_rank=4, preset="grpo"), dict(lora_rank=4, overlap=True), dict(optimizer="adamw-8bit"),
     dict(optimizer="muon"), dict(recompute=True)],
    ids=str,
)  # fmt: skip
def test_a_run_that_died_ends_with_the_same_bits(
    tiny_network: Transformer, tiny: LanguageModel, tmp_path: Path, extra: dict
) -> None:
    start = {name: weight.clone() for name, weight in tiny_network.state_dict().items()}

    def model() -> LanguageModel:
        network = Transformer(tiny_network.config)
        network.load_state_dict(start)
        return LanguageModel("tiny", network, tiny.tokenizer, max_rows=8, max_length=512)

    def die(metrics: object) -> None:
        if metrics.step == 2:
            raise Killed

    grpo.train(plan(tmp_path / "whole", **extra), model())
    with pytest.raises(Killed):
        grpo.train(plan(tmp_path / "broken", **extra), model(), die)
    grpo.train(plan(tmp_path / "broken", **extra), model())
    folders = [tmp_path / side / "checkpoints" / "step-00004" for side in ("whole", "broken")]
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        whole, broken = (folder / name for folder in folders)
        assert whole.read_bytes() == broken.read_bytes()
    trained = load_model(folders[0])
    changed = {n for n, p in trained.named_parameters() if not torch.equal(p, start[n])}
    if "lora_rank" in extra:
        assert changed == {n for n in start if ".layers." in n and "proj" in n}
    else:
        assert len(changed) > len(start) / 2
    assert checkpoint.latest(tmp_path / "broken").step == 4


def test_the_reference_of_adapters_is_the_model_without_them(
    tiny_network: Transformer, tiny: LanguageModel, tmp_path: Path
) -> None:
    settings = plan(tmp_path / "run", preset="grpo", lora_rank=4)
    model = LanguageModel("tiny", with_adapters(tiny_network), tiny.tokenizer, max_rows=8, max_length=512)
    groups, _ = rl_steps.gather(settings, model, sampler.Curriculum(("builtin",), 0, False), 0)
    for weight in adapters(model.network).values():
        weight.data += 0.05
    (rollout, *_), *_ = rl_steps.prepare(settings, model, groups, model.network)
    (known, *_), *_ = rl_steps.prepare(settings, model, groups, tiny_network)
    assert rollout.reference == known.reference
    (drifted,) = rl_steps.scored(settings, model, [rollout], "old")
    assert drifted.old != pytest.approx(known.reference, abs=1e-3)


# --- the plan -----------------------------------------------------------------------------------------------------


def test_parts_by_hand(tmp_path: Path) -> None:
    """Qwen3-0.6B has 596,049,920 weights: in bfloat16 2 bytes each, 4 for the master, 4 its gradient, 8 for AdamW."""
    weights = 0.59604992
    found = rl_steps.fixed_parts(plan(tmp_path), SIZES["Qwen3-0.6B"], torch.bfloat16)
    assert found["weights"] == pytest.approx(2 * weights)
    assert found["float32 masters"] == pytest.approx(4 * weights)
    embedding = 151_936 * 1024 / 1e9  # the largest weight: its gradient in bfloat16 is there beside the sum of them all
    assert found["gradients"] == pytest.approx(4 * weights + 2 * embedding)
    assert found["adamw's state"] == pytest.approx(8 * weights)
    assert found["reference model"] == 0
    assert found["key-value cache"] == pytest.approx(8 * 1024 * 2 * 28 * 8 * 128 * 2 / 1e9)  # rows, length, k and v ...
    found = rl_steps.fixed_parts(plan(tmp_path, preset="grpo"), SIZES["Qwen3-0.6B"], torch.float32)
    assert found["reference model"] == pytest.approx(4 * weights)
    assert found["float32 masters"] == 0
    ahead = plan(tmp_path, overlap=True, max_stale=3)  # the model and three copies, each of them with a cache
    found = rl_steps.fixed_parts(ahead, SIZES["Qwen3-0.6B"], torch.bfloat16)
    assert found["copies that draw ahead"] == pytest.approx(3 * 2 * weights)
    assert found["key-value cache"] == pytest.approx(4 * 8 * 1024 * 2 * 28 * 8 * 128 * 2 / 1e9)
    asking = replace(ahead, servers=RolloutServerSettings(rollouts="http://a"))
    assert rl_steps.fixed_parts(asking, SIZES["Qwen3-0.6B"], torch.bfloat16)["copies that draw ahead"] == 0
    small = rl_steps.fixed_parts(plan(tmp_path, lora_rank=16, preset="grpo"), SIZES["Qwen3-0.6B"], torch.bfloat16)
    per_layer = (1024 + 2048) + 2 * (1024 + 1024) + (2048 + 1024) + 3 * (1024 + 3072)
    assert small["adamw's state"] == pytest.approx(8 * 16 * 28 * per_layer / 1e9)
    assert small["reference model"] == 0


def test_the_engines_copy_of_the_matrices_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of float32 a weight, for each engine; none of a narrow network, beside adapters, or on a GPU."""
    monkeypatch.setattr(prepacked, "can_prepack", lambda dtype: dtype == torch.float32)
    large, name = SIZES["Qwen3-0.6B"], "weights in blocks"
    ahead = plan(tmp_path, overlap=True, max_stale=2, device="cpu")
    assert rl_steps.fixed_parts(ahead, large, torch.float32)[name] == pytest.approx(3 * 4 * 0.59604992)
    for settings, config, dtype in (
        (ahead, large, torch.bfloat16),
        (ahead, replace(large, hidden_size=256), torch.float32),
        (replace(ahead, lora_rank=8), large, torch.float32),
    ):
        assert rl_steps.fixed_parts(settings, config, dtype)[name] == 0
    on_gpu = replace(rl_steps.workload(ahead), on_cpu=False)
    assert memory.fixed_parts(on_gpu, large, torch.float32)[name] == 0


def test_muon_has_one_moment_of_the_layers_and_adamw_two_of_the_rest(tmp_path: Path) -> None:
    """At 0.6B the embedding and the norms take 8 bytes a value, the layers' matrices 4: 3.01 GB, not 2.38."""
    found = rl_steps.fixed_parts(plan(tmp_path, optimizer="muon"), SIZES["Qwen3-0.6B"], torch.bfloat16)
    matrices = 28 * (2 * 1024 * 2048 + 2 * 1024 * 1024 + 3 * 1024 * 3072)
    assert found["muon's state"] == pytest.approx((4 * matrices + 8 * (596_049_920 - matrices)) / 1e9)
    assert found["muon's state"] == pytest.approx(3.01, abs=0.005)


@pytest.mark.parametrize("network", ["dense", "mixture", "adapters"])
@pytest.mark.parametrize("name", ["adamw", "adamw-8bit", "muon"])
def test_the_state_is_as_large_as_planned(tiny_network: Transformer, tmp_path: Path, name: str, network: str) -> None:
    """Counted on the optimizer itself, after a step."""
    model = Transformer(MIXTURE if network == "mixture" else tiny_network.config)
    settings = plan(tmp_path, optimizer=name, lora_rank=4 if network == "adapters" else 0)
    planned = rl_steps.fixed_parts(settings, model.config, torch.float32)[f"{name}'s state"] * 1e9
    optimizer = rl_steps.optimizer_of(settings, model)
    for weight in optimizer.weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    tensors = (t for part in optimizer.parts for state in part.state.values() for t in state.values())
    assert round(planned) == sum(t.nbytes for t in tensors if t.numel() > 1)


def test_the_copies_that_draw_ahead_are_as_large_as_planned(tiny: LanguageModel, tmp_path: Path) -> None:
    settings = plan(tmp_path, overlap=True, max_stale=2)
    copies = rl_steps.sampler_of(settings, tiny, sampler.Curriculum(("builtin",), 0, False)).copies
    planned = rl_steps.fixed_parts(settings, tiny.network.config, torch.float32)["copies that draw ahead"] * 1e9
    assert round(planned) == sum(weight.nbytes for own in copies for weight in own.network.parameters())


def test_the_router_is_left_to_adamw(tmp_path: Path) -> None:
    """Muon and LoRA once took it in as one more matrix of the layers."""
    model = Transformer(MIXTURE)
    routers = [weight for name, weight in model.named_parameters() if name.endswith("mlp.gate.weight")]
    assert len(routers) == MIXTURE.num_hidden_layers
    adam, muon = (part.param_groups[0]["params"] for part in rl_steps.adam(model, 1e-3, name="muon").parts)
    assert all(any(router is weight for weight in adam) for router in routers)
    assert not any(router is weight for router in routers for weight in muon)
    assert len(muon) == 2 * (4 + 3 * MIXTURE.num_experts)
    add_adapters(model, 4, 8.0, seed=0)
    assert not [name for name in adapters(model) if ".mlp.gate." in name]
    assert len(adapters(model)) == 2 * len(muon)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_activations_are_what_a_whole_network_keeps(recompute: bool, lora: bool) -> None:
    """Counted from one and two layers; compared with four, of the built-in model's shape."""
    config = replace(SIZES["thinkling-base"], vocab_size=8, num_hidden_layers=4)
    whole = memory.saved_bytes(config, torch.float32, 4, recompute, lora, 96) / 96
    found = memory.activation_bytes(config, torch.float32, recompute, lora, 96)
    if recompute:  # and one layer more: while it is computed again, it is there whole
        full = [memory.saved_bytes(config, torch.float32, n, False, lora, 96) / 96 for n in (1, 2)]
        whole += full[1] - full[0]
    assert found == pytest.approx(whole, rel=0.05)


def test_passes_are_made_to_fit(tmp_path: Path) -> None:
    config = SIZES["thinkling-base"]
    roomy = rl_steps.plan(plan(tmp_path, memory_gb=50.0), config, torch.float32)
    assert roomy.tokens == 4096
    fixed = sum(rl_steps.fixed_parts(plan(tmp_path), config, torch.float32).values())
    tight = rl_steps.plan(plan(tmp_path, memory_gb=fixed + 0.05), config, torch.float32)
    per_token = memory.activation_bytes(config, torch.float32, False, False, 10)
    assert tight.tokens == int(0.05e9 / per_token)
    with pytest.raises(
        UserError, match=r"--memory-gb 0\.01 is too little: one completion of 10 tokens.*Try --recompute"
    ):
        rl_steps.plan(plan(tmp_path, memory_gb=0.01), config, torch.float32)


def test_the_largest_pass_is_tried_first_and_leaves_nothing(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, seen = plan(tmp_path, rollouts_per_prompt=6, micro_batch_tokens=45, max_length=64), []
    original = memory.score_packed

    def watched(network: Transformer, prompts: list, completions: list, *rest: object, **more: object) -> tuple:
        seen.append((len(prompts[0]), len(completions[0]), len(completions[0][0])))
        return original(network, prompts, completions, *rest, **more)

    monkeypatch.setattr(memory, "score_packed", watched)
    before = {name: weight.clone() for name, weight in tiny.network.state_dict().items()}
    rl_steps.updater(settings, tiny).probe(settings.max_length)
    assert seen == [(54, 4, 10)]  # 4 x 10 tokens are the most that 45 allow
    assert all(weight.grad is None for weight in tiny.network.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in tiny.network.state_dict().items())

    def too_large(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "score_packed", too_large)
    with pytest.raises(UserError, match=r"4 completions of 10 tokens do not fit.*--memory-gb"):
        rl_steps.updater(settings, tiny).probe(settings.max_length)


def test_the_plan_is_printed_and_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cli.main(["grpo", "--out", str(tmp_path / "run"), "--plan", "--model", "Qwen3-0.6B", "--dtype", "bfloat16",
              "--max-tokens", "64"])  # fmt: skip
    text = capsys.readouterr().out
    assert "weights" in text and "1.19" in text and "all together" in text
    assert "Try --recompute, --optimizer adamw-8bit" in text.replace("\n", " ")
    assert not (tmp_path / "run").exists()
