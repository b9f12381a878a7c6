"""A family is a row of flags: for each, the one decoder computes what transformers' own class does, in every path."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import SCALINGS, compare, drawn, make

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import score_packed
from thinkling.model.config import FAMILIES, ModelConfig, RopeScaling
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, rope_frequencies
from thinkling.model.weights import load_model, resolve
from thinkling.train.checkpoint import restore_model_state, save_model_state
from thinkling.train.config import OptimizerConfig
from thinkling.train.lora import adapters_off, add_adapters, merged
from thinkling.train.optim import Optimizer

each_family = pytest.mark.parametrize("kind", FAMILIES)
PROMPTS, COMPLETIONS = [list(range(9)), [5, 6, 7]], [[[1, 2, 3], [4, 5]], [[9, 8, 7, 6]]]


@pytest.mark.long
@each_family
def test_logits_gradients_and_texts_equal_transformers(kind: str) -> None:
    """Saved by us and read by both: whole, with a cache, in the engine, and packed for training."""

    @settings(max_examples=3)  # of each kind of RoPE
    @given(data=st.data())
    def check(scaling: RopeScaling | None, data: st.DataObject) -> None:
        row = compare(drawn(kind, lambda several: data.draw(st.sampled_from(several)), scaling))
        assert row.spread > 0.05  # not a comparison of zeros
        assert max(row.logits, row.cached) < 1e-4 and row.gradients < 1e-4
        assert row.same == row.texts

    for scaling in SCALINGS:
        check(scaling)


def config_of(kind: str) -> ModelConfig:
    return drawn(kind, lambda several: several[0], None)


def trained(network: Transformer, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        score_packed(network, PROMPTS, COMPLETIONS, 1.0)[0].mean().neg().backward()
        optimizer.step()


@each_family
def test_parameters_are_counted(kind: str) -> None:
    config = config_of(kind)
    named = dict(make(config, 0).named_parameters())
    assert config.num_parameters() == sum(weight.numel() for weight in named.values())
    assert sum(name.endswith("bias") for name in named) == (6 if kind == "qwen2" else 0)


@each_family
def test_adapters_begin_as_nothing_are_all_that_learns_and_merge(kind: str) -> None:
    """A layer's bias was dropped by its adapter."""
    network = make(config_of(kind), 0)
    tokens = torch.tensor([PROMPTS[0]])
    before = network(tokens)
    add_adapters(network, 4, 8.0, seed=0)
    assert torch.equal(network(tokens), before)
    optimizer = Optimizer(network, OptimizerConfig(name="adamw", lr=1e-2))
    trained(network, optimizer, 2)
    after = network(tokens)
    assert (after - before).abs().max() > 1e-2
    with adapters_off(network):
        assert torch.equal(network(tokens), before)
    whole = Transformer(network.config)
    whole.load_state_dict(merged(network), strict=not network.config.tie_word_embeddings)
    torch.testing.assert_close(whole(tokens), after, atol=1e-4, rtol=0)


@each_family
@pytest.mark.parametrize("name", ["adamw-8bit", "muon"])
def test_a_checkpoint_goes_on_bit_for_bit(kind: str, name: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(resolve("thinkling-base"))
    model = LanguageModel("ours", make(config_of(kind), 0), tokenizer, max_length=64)
    chosen = OptimizerConfig(name=name, lr=1e-3)
    optimizer = Optimizer(model.network, chosen)
    trained(model.network, optimizer, 2)
    save_model_state(tmp_path / "saved", model, optimizer)
    trained(model.network, optimizer, 1)
    again = LanguageModel("again", load_model(tmp_path / "saved"), tokenizer, max_length=64)
    resumed = Optimizer(again.network, chosen)
    restore_model_state(tmp_path / "saved", again, resumed)
    trained(again.network, resumed, 1)
    for (where, one), other in zip(model.network.named_parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other), where


HAND = ModelConfig(
    vocab_size=97, hidden_size=64, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=512, rope_theta=10_000.0, model_type="llama",
)  # fmt: skip


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: scaling.rope_type if scaling else "plain")
def test_scaled_positions_by_hand(scaling: RopeScaling | None) -> None:
    """Dimension pair i turns by 10,000^(-i/8) a token: 1, 0.316, 0.1, ... Over 64 tokens that is 10.2 turns, 3.22,
    1.02, 0.32: with llama3 the first is kept, the second blended by (3.22 - 1) / (6 - 1) = 0.444, the others slowed
    eightfold (the third but for (1.02 - 1) / 5 = 0.0037). With YaRN, 32 turns would be pair -0.99 and 1 turn pair 2.02,
    rounded to 0 and 3: pairs 0, 1, 2 are slowed by 0, 1/3, 2/3 of the way to a fourth, the others wholly."""
    found = rope_frequencies(replace(HAND, rope_scaling=scaling), torch.device("cpu"))
    plain = [10_000 ** (-i / 8) for i in range(8)]
    kept = {
        None: [1] * 8, "linear": [0] * 8, "llama3": [1, 0.44422, 0.003718, 0, 0, 0, 0, 0],
        "yarn": [1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0],
    }[scaling and scaling.rope_type]  # fmt: skip
    factor = scaling.factor if scaling else 1.0
    wanted = [f / factor + share * (f - f / factor) for f, share in zip(plain, kept, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
