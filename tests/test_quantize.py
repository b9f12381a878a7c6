"""Weights of 8 bits: numbers worked by hand, the float network as oracle, and rows that do not see each other."""

import asyncio
import copy
import io
import json
import math
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

from thinkling.cli import parse
from thinkling.commands.load import language_model
from thinkling.commands.options import ModelSettings
from thinkling.commands.quantize_report import main as quantize_report
from thinkling.errors import UserError
from thinkling.evaluate import quantization
from thinkling.evaluate.manifest import model_facts
from thinkling.evaluate.quantization import compared, cost, distances
from thinkling.generate import score
from thinkling.generate.completion import Completion
from thinkling.generate.engine import Engine
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.model import int8
from thinkling.model.adapter import Adapter, merge_adapter
from thinkling.model.cache import KVCache
from thinkling.model.config import ModelConfig
from thinkling.model.gguf_writer import write_gguf
from thinkling.model.int8 import Int8Linear, quantized, sums, sums_by_float
from thinkling.model.quantize import is_quantized, quantize, weight_bytes
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model
from thinkling.report.quantization_table import table, verdict
from thinkling.tasks.builtin import problems
from thinkling.train.config import OptimizerConfig
from thinkling.train.lora import add_adapters
from thinkling.train.optim import Optimizer

SHAPES = {
    "qwen3": dict(model_type="qwen3", tie_word_embeddings=True),
    "qwen2": dict(model_type="qwen2", tie_word_embeddings=True),  # its projections have biases
    "llama": dict(model_type="llama", tie_word_embeddings=False),
}


def network(family: str = "qwen3", **more: object) -> Transformer:
    shape = dict(
        vocab_size=131, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=96, rope_theta=10_000.0,
    )  # fmt: skip
    made = init_weights(Transformer(ModelConfig(**shape | SHAPES.get(family, {}) | more)), seed=1).eval()
    with torch.no_grad():  # far from uniform, and biases that are not zero
        for name, weight in made.named_parameters():
            if weight.ndim == 2:
                weight.mul_(8)
            elif name.endswith("bias"):
                weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(len(name)))
    return made


def halves(family: str = "qwen3") -> tuple[Transformer, Transformer]:
    """The same network in float32 and in int8."""
    plain = network(family)
    small = copy.deepcopy(plain)
    quantize(small)
    return plain, small


def test_a_row_is_whole_numbers_times_a_scale() -> None:
    """The largest of (2.54, 1.286, -0.03) is 127 steps of 0.02: 1.286 is 64.3 steps, -0.03 is -1.5 (to even: -2)."""
    numbers, scale = quantized(torch.tensor([[2.54, 1.286, -0.03], [0.0, 0.0, 0.0], [0.0, -5.0, 5.0]]))
    assert numbers.tolist() == [[127, 64, -2], [0, 0, 0], [0, -127, 127]]
    assert scale.flatten().tolist() == pytest.approx([0.02, 0.0, 5 / 127])


def test_a_layer_by_hand() -> None:
    """(127 * 127 + 64 * -64) * 0.01 * 0.02 = 12,033 * 0.0002 = 2.4066, where floats give 2.40662; then the bias."""
    layer = nn.Linear(2, 2)
    layer.weight.data, layer.bias.data = torch.tensor([[1.27, -0.637], [0.0, 0.0]]), torch.tensor([0.0, 3.0])
    assert Int8Linear(layer)(torch.tensor([2.54, 1.286])).tolist() == pytest.approx([2.4066, 3.0], rel=1e-6)


@given(
    st.integers(1, 5), st.sampled_from([1, 7, 1040, 1041, 4001]), st.integers(1, 9), st.booleans(), st.integers(0, 99)
)
def test_sums_are_exact_either_way(rows: int, width: int, outputs: int, extreme: bool, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    x, weight = (torch.randint(-127, 128, (n, width), generator=random, dtype=torch.int8) for n in (rows, outputs))
    if extreme:  # every partial sum nearly as far from zero as it can be
        x, weight = 127 - x.abs() % 4, weight.abs() % 4 - 127
    exact = x.long() @ weight.long().T
    assert sums_by_float(x, weight).equal(exact.float())
    for able in (True, False):  # where a CPU is not, its product is slow, not wrong
        with mock.patch.object(int8, "has_int8_instructions", lambda able=able: able):
            assert sums(x, weight).equal(exact.float())


def test_sums_take_the_way_that_the_cpu_is_fast_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.full((2, 3), 5, dtype=torch.int8), torch.full((4, 3), 2, dtype=torch.int8)
    taken = []
    monkeypatch.setattr(int8, "sums_by_float", lambda x, weight: taken.append("float") or sums_by_float(x, weight))
    for able in (True, False):
        monkeypatch.setattr(int8, "has_int8_instructions", lambda able=able: able)
        assert sums(x, weight).equal(torch.full((2, 4), 30.0))
    assert taken == ["float"]


def test_a_large_matrix_is_multiplied_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "BLOCK", 30)  # three rows of ten
    x, weight = torch.arange(20).view(2, 10).to(torch.int8), torch.arange(-40, 40).view(8, 10).to(torch.int8)
    assert sums_by_float(x, weight).equal((x.long() @ weight.long().T).float())


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.integers(1, 40))
def test_a_layer_is_off_by_half_a_step_at_most(seed: int, size: float, width: int) -> None:
    """Each input is off by half of its row's step, each weight by half of its own: |sum| adds up what that can do."""
    random = torch.Generator().manual_seed(seed)
    layer, x = nn.Linear(width, 3, bias=False), torch.randn(4, width, generator=random) * size
    layer.weight.data = torch.randn(3, width, generator=random)
    small = Int8Linear(layer)
    step_x, step_w = x.abs().amax(-1)[:, None] / 127, layer.weight.abs().amax(-1) / 127
    bound = (
        step_x / 2 * layer.weight.abs().sum(-1) + x.abs().sum(-1)[:, None] * step_w / 2 + width * step_x * step_w / 4
    )
    assert ((small(x) - layer(x)).abs() <= bound * 1.0001).all()


def test_a_row_does_not_depend_on_its_batch() -> None:
    layer, x = Int8Linear(nn.Linear(48, 131)), torch.randn(33, 48, generator=torch.Generator().manual_seed(0))
    x[7] *= 1000  # a neighbour that is much larger
    together = layer(x)
    assert together.equal(torch.cat([layer(row[None]) for row in x]))
    assert together.equal(torch.cat([layer(part) for part in x.split([1, 2, 30])]))
    assert together.equal(layer(x.view(3, 11, 48)).view(33, 131))


@pytest.mark.parametrize("family", SHAPES)
def test_logits_stay_near_those_in_float(family: str) -> None:
    plain, small = halves(family)
    tokens = torch.randint(131, (3, 40), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        wanted, found = (each.logits(each(tokens)) for each in (plain, small))
    assert 0 < (found - wanted).abs().mean() < 0.03 * wanted.std()
    kept = [name for name, layer in small.named_modules() if isinstance(layer, nn.Linear | nn.Embedding)]
    assert not kept and weight_bytes(small) < 0.3 * weight_bytes(plain)
    assert (small.dtype, small.device) == (plain.dtype, plain.device)
    tied = small.lm_head.weight is small.model.embed_tokens.weight
    assert tied == plain.config.tie_word_embeddings


def states(model: Transformer, tokens: Tensor, parts: list[int]) -> Tensor:
    """The hidden states of a row that is read in parts, each behind the others."""
    cache, found = KVCache(model.config, 1, tokens.shape[1], model.device, model.dtype), []
    with torch.inference_mode():
        for part in tokens.split(parts, dim=1):
            found.append(model(part, cache))
            cache.advance(part.shape[1])
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("parts", [[60], [1] * 60, [16, 44], [31, 1, 28]])
def test_a_prompt_in_parts_is_the_prompt(parts: list[int]) -> None:
    _, small = halves()
    tokens = torch.randint(131, (1, 60), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        whole = small(tokens)
    assert (states(small, tokens, parts) - whole).abs().max() < 0.01 * whole.std()


@pytest.mark.parametrize("family", SHAPES)
def test_the_engine_says_what_the_plain_loop_says(family: str) -> None:
    _, small = halves(family)
    engine = Engine(small, (3,), max_rows=5, max_length=96)
    jobs = [([5 + i, 9, 40][: 1 + i % 3] * (1 + 7 * (i % 2)), Sampling(0.8 * (i % 3), max_tokens=12, seed=i))
            for i in range(9)]  # fmt: skip
    ids, done = [engine.submit(*job) for job in jobs], {}
    while engine.busy:
        done |= dict(engine.step())
    for number, (prompt, sampling) in zip(ids, jobs, strict=True):
        alone = generate(small, prompt, sampling, (3,))
        assert done[number].tokens == alone.tokens
        assert done[number].logprobs == pytest.approx(alone.logprobs, abs=1e-2)


def test_what_is_read_is_scored_by_the_same_weights(tiny: LanguageModel) -> None:
    quantize(tiny.network)
    prompt = tiny.text_prompt("Question: what?")
    (completion,) = tiny.complete_all([prompt], Sampling(temperature=0.0, max_tokens=1))
    (first,) = asyncio.run(tiny.first_tokens(prompt, 1))
    assert first.tokens == completion.tokens
    text = tiny.tokenizer.decode([completion.tokens[0]])
    if tiny.tokenizer.encode(text) == list(completion.tokens):
        assert asyncio.run(tiny.logprob_of(prompt, text)) == pytest.approx(completion.logprobs[0], abs=1e-4)


def test_the_flag_quantizes_what_is_loaded(tiny: LanguageModel, tmp_path: Path) -> None:
    save_model(tmp_path / "m", tiny.network, tiny.tokenizer)
    loaded = language_model(ModelSettings(model=str(tmp_path / "m"), device="cpu", quantize="int8"))
    assert is_quantized(loaded.network)
    facts = [model_facts(model, None) for model in (loaded, language_model(ModelSettings(model=str(tmp_path / "m"))))]
    assert (facts[0]["quantize"], facts[0]["dtype"]) == ("int8", "float32") and "quantize" not in facts[1]


REFUSED = {
    "LoRA": lambda model, folder: add_adapters(model.network, 2, 4.0, seed=0),
    "training": lambda model, folder: Optimizer(model.network, OptimizerConfig()),
    "an adapter": lambda model, folder: merge_adapter(model.network, Adapter(1.0, {})),
    "a checkpoint": lambda model, folder: save_model(folder / "m", model.network, model.tokenizer),
    "export": lambda model, folder: write_gguf(folder / "m.gguf", model.network, model.tokenizer, "f16", "m"),
    "--quantize": lambda model, folder: quantize(model.network),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_change_or_store_the_weights_is_refused(what: str, tiny: LanguageModel, tmp_path: Path) -> None:
    quantize(tiny.network)
    with pytest.raises(UserError, match=f"^{what}: this model's weights are int8, which only answer"):
        REFUSED[what](tiny, tmp_path)
    assert not list(tmp_path.iterdir())


def test_networks_that_cannot_be_quantized() -> None:
    sparse = network("qwen3_moe", model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=8)
    with pytest.raises(UserError, match="this one is a mixture of experts"):
        quantize(sparse)
    with pytest.raises(UserError, match="is for a CPU, not meta"):
        quantize(network().to("meta"))
    learning = network()
    add_adapters(learning, 2, 4.0, seed=0)
    with pytest.raises(UserError, match="has adapters: merge them first"):
        quantize(learning)


@pytest.mark.parametrize(
    ("command", "flags", "complaint"),
    [
        ("grpo", ["--out", "x"], "cannot be trained"),
        ("eval", ["--out", "x", "--server", "http://localhost:1"], "no meaning with --server"),
        ("chat", ["--server", "http://localhost:1"], "no meaning with --server"),
    ],
)
def test_flags_that_do_not_go_together(command: str, flags: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse(command, [*flags, "--quantize", "int8"])


def test_distance_of_two_distributions_by_hand() -> None:
    """KL((1/2, 1/2) || (1/4, 3/4)) = ln 2 - ln(3) / 2 = 0.1438 nats; of a row from itself 0."""
    plain, small = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log(), torch.tensor([[0.25, 0.75], [0.9, 0.1]]).log()
    kl, same = compared(plain + 3, small).T.tolist()  # logits may be off by a constant
    assert kl == pytest.approx([math.log(2) - math.log(3) / 2, 0.0], abs=1e-6)
    assert same == [0.0, 1.0]


def test_distances_are_those_of_reading_each_response_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, small = halves()
    own = [Completion((5, 6), (7, 8, 9), (0.0,) * 3, "stop"), Completion((1,), (2,), (0.0,), "stop"),
           Completion((1, 2, 3), (4, 5), (0.0,) * 2, "stop")]  # fmt: skip
    monkeypatch.setattr(quantization, "READ_AT_ONCE", 2)
    monkeypatch.setattr(score, "CHUNK_ELEMENTS", 131 * 2)  # two tokens' logits at a time
    found = list(distances(plain, small, own))
    for completion, (kl, same) in zip(own, found, strict=True):
        row, start = torch.tensor([[*completion.prompt_tokens, *completion.tokens]]), len(completion.prompt_tokens)
        with torch.inference_mode():
            p, q = (n.logits(n(row))[0, start - 1 : -1].double().log_softmax(-1) for n in (plain, small))
        assert kl == pytest.approx((p.exp() * (p - q)).sum(-1).mean().item(), rel=0.05, abs=1e-6) and kl > 1e-5
        assert same == pytest.approx((p.argmax(-1) == q.argmax(-1)).float().mean().item())


def test_cost_counts_what_each_got_right(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five problems the plain weights get 1, 2, 3 right and int8 3, 4: it wins one and loses two."""
    small = LanguageModel("small", copy.deepcopy(tiny.network), tiny.tokenizer, max_rows=4, max_length=512)
    quantize(small.network)
    judged = iter([*(True, True, True, False, False), *(False, False, True, True, False)])
    monkeypatch.setattr(quantization, "verify", lambda problem, text: SimpleNamespace(correct=next(judged)))
    monkeypatch.setattr(quantization, "AT_ONCE", 2)
    found = cost(tiny, small, problems("held-out", 5), "plain", Sampling(temperature=0.0, max_tokens=4))
    assert (found.plain.accuracy.mean, found.small.accuracy.mean, found.difference.mean) == (0.6, 0.4, -0.2)
    assert (found.only_plain, found.only_small, found.p) == (2, 1, 1.0)
    assert found.difference.low < -0.2 < found.difference.high
    assert (found.plain.bytes, found.small.bytes) == (weight_bytes(tiny.network), weight_bytes(small.network))
    assert 0 < found.slowest <= found.speed <= found.fastest
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(table(found, "float32"))
    text = shown.export_text()
    assert "-20.0 points [" in text and "KL per token" in text and f"{found.speed:.2f} times" in text
    lines = verdict(found, fast=False)
    assert lines[0].startswith("No difference in accuracy can be told")
    assert "2 of the problems are right only without int8, 1 only with it" in lines[0]
    assert "no instructions for int8" in lines[1] and len(verdict(found, fast=True)) == len(lines) - 1


def test_the_command_writes_what_it_shows(tiny: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_model(tmp_path / "m", tiny.network, tiny.tokenizer)
    flags = ["--num-problems", "3", "--max-tokens", "5", "--device", "cpu", "--out", str(tmp_path / "out")]
    quantize_report(parse("quantize-report", [str(tmp_path / "m"), *flags]))
    said, kept = capsys.readouterr().out, json.loads((tmp_path / "out" / "report.json").read_text())
    assert "int8" in said and f"{kept['divergence']['mean']:.4f} nats" in said
    assert kept["num_problems"] == 3 and kept["small"]["bytes"] < kept["plain"]["bytes"]
    with pytest.raises(UserError, match="at least 2"):
        parse("quantize-report", ["m", "--num-problems", "1"])
