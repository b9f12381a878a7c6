"""With --batch-invariant a request gets the same bits alone, in a crowd, in chunks, shared, preempted and speculated;
in float32 and in bfloat16, dense and of experts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_engine import STOP, requests, run

from thinkling.cli import parse
from thinkling.commands.load import language_model
from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError
from thinkling.evaluate.manifest import model_facts
from thinkling.generate.engine import Engine
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.reference import generate
from thinkling.model import tiles
from thinkling.model.config import ModelConfig
from thinkling.model.invariant import make_invariant
from thinkling.model.tiles import TiledLinear, attend_by_blocks
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model
from thinkling.train.config import OptimizerConfig
from thinkling.train.optim import Optimizer

CONFIG = ModelConfig(
    vocab_size=61, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=96, rope_theta=10_000.0,
)  # fmt: skip
EXPERTS = replace(CONFIG, model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
WAYS = {
    "alone": dict(max_rows=1),
    "crowd": dict(max_rows=6),
    "chunked": dict(max_rows=5, max_num_batched_tokens=9),
    "preempted": dict(max_rows=6, cache_gb=150 * 256 / 1e9),
    "shared": dict(max_rows=4, prefix_gb=1e-4),
    "speculated": dict(max_rows=4, speculate=4),
}


def made(config: ModelConfig, dtype: torch.dtype) -> Transformer:
    network = init_weights(Transformer(config), seed=1).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(12)
    return network.to(dtype)


@pytest.mark.parametrize(("config", "dtype", "rows"), [(CONFIG, torch.float32, 16), (CONFIG, torch.bfloat16, 1),
                                                       (EXPERTS, torch.float32, 16)])  # fmt: skip
def test_the_same_bits_in_any_company(
    config: ModelConfig,
    dtype: torch.dtype,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "rows_of", lambda dtype: rows)
    network = made(config, dtype)
    make_invariant(network)
    common = list(range(20))
    jobs = [(common + prompt if i % 3 == 0 else prompt, replace(sampling, measure=True, max_tokens=6))
            for i, (prompt, sampling) in enumerate(requests(6, seed=3))]  # fmt: skip
    wanted = run(Engine(network, STOP, max_length=96, **WAYS["alone"]), jobs, 3)
    assert sum(len(one.tokens) for one in wanted) > 20
    for way, how in WAYS.items():
        found = run(Engine(network, STOP, max_length=96, **how), jobs, 3)
        assert [one.tokens for one in found] == [one.tokens for one in wanted], way
        assert [one.logprobs for one in found] == [one.logprobs for one in wanted], way
        assert [one.confidence for one in found] == [one.confidence for one in wanted], way


def test_it_says_what_the_plain_loop_says() -> None:
    plain, network = (made(CONFIG, torch.float32) for _ in range(2))
    make_invariant(network)
    jobs = requests(6, seed=2)
    for (prompt, sampling), found in zip(
        jobs, run(Engine(network, STOP, max_rows=3, max_length=96), jobs, 3), strict=True
    ):
        alone = generate(plain, prompt, sampling, STOP)
        assert found.tokens == alone.tokens and found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_given_tokens_get_the_same_bits_whatever_is_read_with_them() -> None:
    network = made(CONFIG, torch.float32)
    make_invariant(network)
    engine, texts = Engine(network, (), max_length=96), [[5, 6, 7, 8], list(range(50)), [9] * 7]
    jobs = [engine.reading(text) for text in texts]
    engine.add(*jobs)
    together = dict(engine.step())
    for job in jobs:
        again = engine.reading(job.tokens)
        engine.add(again)
        assert torch.equal(dict(engine.step())[again.id], together[job.id])


@pytest.mark.parametrize(("tokens", "seen"), [(1, 1), (1, 64), (3, 65), (9, 150)])
def test_attention_by_blocks_is_attention(tokens: int, seen: int) -> None:
    torch.manual_seed(tokens)
    q, k, v = torch.randn(2, 6, tokens, 8), torch.randn(2, 3, seen, 8), torch.randn(2, 3, seen, 8)
    q[0] *= 60  # scores whose exponential is no number
    lengths = torch.tensor([seen - tokens, max(seen - tokens - 5, 0)])
    visible = torch.arange(seen) <= (lengths[:, None] + torch.arange(tokens))[:, None, :, None]
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
    torch.testing.assert_close(attend_by_blocks(q, k, v, visible), wanted.transpose(1, 2).flatten(2))


def test_a_product_has_always_as_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, seen = torch.nn.Linear(5, 3), []
    own = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, *more: seen.append(len(x)) or own(x, *more))
    x = torch.randn(2, 17, 5)
    torch.testing.assert_close(TiledLinear(layer)(x), layer(x))
    assert seen[:-1] == [16, 16, 16]


def test_the_flag(tiny: LanguageModel, tmp_path: Path) -> None:
    network = init_weights(Transformer(replace(tiny.network.config, intermediate_size=64)), seed=1)
    save_model(tmp_path / "m", network, tiny.tokenizer)
    loaded = language_model(ModelSettings(model=str(tmp_path / "m"), device="cpu", batch_invariant=True))
    assert loaded.network.batch_invariant and isinstance(loaded.network.lm_head, TiledLinear)
    assert model_facts(loaded, None)["batch_invariant"] and loaded.engine.runner.cache.by_blocks
    save_model(tmp_path / "again", loaded.network, tiny.tokenizer)  # names and weights are the same
    with pytest.raises(UserError, match="training: this network is batch-invariant, and only answers"):
        Optimizer(loaded.network, OptimizerConfig())
    with pytest.raises(UserError, match="an MLP of this network is 48 wide, no multiple of 32"):
        make_invariant(Transformer(replace(CONFIG, intermediate_size=48)))
    with pytest.raises(UserError, match="--batch-invariant is for a CPU, not meta"):
        make_invariant(Transformer(CONFIG).to("meta"))


@pytest.mark.parametrize(("command", "why"), [
    (["grpo", "--out", "x", "--batch-invariant"], "--batch-invariant is for answering, and would make training slow"),
    (["eval", "--out", "x", "--server", "http://a:1", "--batch-invariant"], "--batch-invariant has no meaning with"),
    (["chat", "--server", "http://a:1", "--batch-invariant"], "--batch-invariant has no meaning with"),
])  # fmt: skip
def test_where_the_flag_has_no_meaning(command: list[str], why: str) -> None:
    with pytest.raises(UserError, match=why):
        parse(command[0], command[1:])
