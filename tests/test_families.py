"""A family is a row of flags: with rows for Qwen2 and Llama, the one decoder computes what transformers' classes do.

The rows stand here until their tokenizers are read too (a first token, a chat template of their own).
"""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from thinkling.model.cache import KVCache
from thinkling.model.config import FAMILIES, SIZES, Family, ModelConfig, RopeScaling
from thinkling.model.config_file import config_json, read_config
from thinkling.model.transformer import Transformer, init_weights, rope_frequencies
from thinkling.runs import write_json

DEFAULTS = FAMILIES["qwen3_moe"].defaults
ROWS = {
    "qwen2": Family("Qwen2ForCausalLM", DEFAULTS, qkv_bias=True),
    "llama": Family("LlamaForCausalLM", DEFAULTS | {"num_key_value_heads": None, "max_position_embeddings": 2048}),
}
TINY = dict(
    vocab_size=97, hidden_size=64, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=512, rope_theta=10_000.0,
)  # fmt: skip
# Wavelengths at theta 10,000 go from 6 to 20,000 tokens: what turns 6 times in 64 tokens or more stays,
# what turns once or less is slowed, and one that lies between is blended.
LLAMA3 = RopeScaling("llama3", 8.0, 1.0, 6.0, 64)
CASES = [("qwen2", None), ("llama", None), ("llama", RopeScaling("linear", 4.0)), ("llama", LLAMA3)]


@pytest.fixture(params=CASES, ids=["qwen2", "llama", "llama, linear", "llama, llama3"])
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    kind, scaling = request.param
    for name, row in ROWS.items():
        monkeypatch.setitem(FAMILIES, name, row)
    return ModelConfig(**TINY, model_type=kind, rope_scaling=scaling, tie_word_embeddings=kind == "qwen2")


def make(config: ModelConfig) -> Transformer:
    """Random weights, far from those at the start, biases too."""
    model = init_weights(Transformer(config), seed=0).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5) if weight.ndim > 1 else weight.copy_(0.5 + torch.rand(weight.shape, generator=random))
    return model


@torch.no_grad()
def test_logits_equal_transformers(config: ModelConfig) -> None:
    model = make(config)
    stored = {key: value for key, value in config_json(config, (0,), "float32").items() if key != "model_type"}
    theirs = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.model_type, **stored)).eval()
    theirs.load_state_dict(model.state_dict())
    tokens = torch.randint(97, (2, 200), generator=torch.Generator().manual_seed(0))
    wanted = theirs(tokens).logits
    assert wanted.std() > 0.1
    assert (model.logits(model(tokens)) - wanted).abs().max() < 1e-4


@torch.no_grad()
def test_cached_equals_uncached(config: ModelConfig) -> None:
    model = make(config)
    tokens = torch.randint(97, (2, 40), generator=torch.Generator().manual_seed(1))
    cache, found = KVCache(config, 2, 64, model.device, model.dtype), []
    for part in (tokens[:, :30], *tokens[:, 30:].split(1, dim=1)):
        found.append(model(part, cache))
        cache.advance(part.shape[1])
    torch.testing.assert_close(torch.cat(found, dim=1), model(tokens), atol=1e-4, rtol=0)


def test_parameters_are_counted_and_the_config_comes_back(config: ModelConfig, tmp_path: Path) -> None:
    model = init_weights(Transformer(config), seed=0)
    assert config.num_parameters() == sum(weight.numel() for weight in model.parameters())
    biases = [weight for name, weight in model.named_parameters() if name.endswith("bias")]
    assert len(biases) == (9 if config.model_type == "qwen2" else 0) and not any(b.any() for b in biases)
    write_json(tmp_path / "config.json", config_json(config, (0,), "float32"))
    assert read_config(tmp_path) == config


def test_scaled_positions_by_hand(config: ModelConfig) -> None:
    """Dimension pair i turns by 10,000^(-i/8) a token: 1, 0.316, 0.1, ... Over 64 tokens that is 10.2 turns, 3.22,
    1.02, 0.32: with llama3 the first is kept, the second blended by (3.22 - 1) / (6 - 1) = 0.444, the others slowed
    eightfold (the third but for (1.02 - 1) / 5 = 0.0037)."""
    found = rope_frequencies(config, torch.device("cpu"))
    plain = [10_000 ** (-i / 8) for i in range(8)]
    wanted = plain
    if config.rope_scaling and config.rope_scaling.rope_type == "linear":
        wanted = [f / 4 for f in plain]
    elif config.rope_scaling:
        shares = [1, 0.44422, 0.003718, 0, 0, 0, 0, 0]
        wanted = [f / 8 + share * (f - f / 8) for f, share in zip(plain, shares, strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_families_differ_by_flags_and_no_size_names_another() -> None:
    assert {config.model_type for config in SIZES.values()} == set(FAMILIES) == {"qwen3", "qwen3_moe"}
