"""The network: logits equal to transformers' own Qwen3, cached equal to uncached, parameters counted right."""

from dataclasses import replace

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from thinkling.model.cache import KVCache
from thinkling.model.config import SIZES, ModelConfig
from thinkling.model.config_file import config_json
from thinkling.model.transformer import Transformer, init_weights

DENSE = ModelConfig(
    vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rope_theta=10_000.0,
)  # fmt: skip
MOE = replace(DENSE, model_type="qwen3_moe", num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24)
CONFIGS = {
    "groups of 1": replace(DENSE, num_key_value_heads=4),
    "groups of 2, untied": replace(DENSE, tie_word_embeddings=False),
    "groups of 4": replace(DENSE, num_key_value_heads=1, rope_theta=1_000_000.0, rms_norm_eps=1e-5),
    "head width other than D / H": replace(DENSE, head_dim=12),
    "experts": MOE,
    "experts, not renormalised, untied": replace(MOE, norm_topk_prob=False, tie_word_embeddings=False),
    "experts every second layer": replace(MOE, decoder_sparse_step=2),
    "experts but for two layers": replace(MOE, mlp_only_layers=(0, 2)),
}
all_configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def make(config: ModelConfig, seed: int = 0) -> Transformer:
    """Random weights, larger than at initialisation and with uneven norms, so that a wrong formula shows."""
    model = init_weights(Transformer(config), seed).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5) if weight.ndim > 1 else weight.copy_(0.5 + torch.rand(weight.shape, generator=random))
    return model


def peer(model: Transformer) -> torch.nn.Module:
    """transformers' network with the same weights, its experts stacked the way transformers 5 keeps them."""
    config = model.config
    stored = config_json(config, (0,), "float32")
    network = (
        Qwen3MoeForCausalLM(Qwen3MoeConfig(**stored, experts_implementation="eager"))
        if config.num_experts
        else Qwen3ForCausalLM(Qwen3Config(**stored))
    )
    weights = dict(model.state_dict())
    for i in range(config.num_hidden_layers):
        if not config.is_sparse(i):
            continue
        experts = [
            {
                part: weights.pop(f"model.layers.{i}.mlp.experts.{n}.{part}_proj.weight")
                for part in ("gate", "up", "down")
            }
            for n in range(config.num_experts)
        ]
        stacked = f"model.layers.{i}.mlp.experts"
        weights[f"{stacked}.gate_up_proj"] = torch.stack([torch.cat([e["gate"], e["up"]]) for e in experts])
        weights[f"{stacked}.down_proj"] = torch.stack([e["down"] for e in experts])
    network.load_state_dict(weights)
    return network.eval()


@all_configs
@torch.no_grad()
def test_logits_equal_transformers(config: ModelConfig) -> None:
    for seed in range(2):
        model = make(config, seed)
        tokens = torch.randint(config.vocab_size, (2, 23), generator=torch.Generator().manual_seed(seed))
        ours, theirs = model.logits(model(tokens)), peer(model)(tokens).logits
        assert theirs.std() > 0.1  # not a comparison of zeros
        assert (ours - theirs).abs().max() < 1e-4


@all_configs
@torch.no_grad()
def test_cached_equals_uncached(config: ModelConfig) -> None:
    """Two chunks of prefill, the second padded on the right to three lengths, then single tokens."""
    model = make(config)
    num_rows, first, lengths, num_single = 3, 5, torch.tensor([7, 1, 4]), 4
    random = torch.Generator().manual_seed(1)
    rows = [torch.randint(config.vocab_size, (first + int(n) + num_single,), generator=random) for n in lengths]
    expected = [model(row[None])[0] for row in rows]

    cache = KVCache(config, num_rows, 32, model.device, model.dtype)
    out = model(torch.stack([row[:first] for row in rows]), cache)
    cache.advance(first)
    for b in range(num_rows):
        torch.testing.assert_close(out[b], expected[b][:first], atol=1e-4, rtol=0)

    padded = torch.full((num_rows, int(lengths.max())), 96)
    for b, n in enumerate(lengths.tolist()):
        padded[b, :n] = rows[b][first : first + n]
    out = model(padded, cache)
    cache.advance(lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(out[b, :n], expected[b][first : first + n], atol=1e-4, rtol=0)

    for step in range(num_single):
        out = model(torch.stack([row[len(row) - num_single + step, None] for row in rows]), cache)
        cache.advance(1)
        for b, row in enumerate(rows):
            torch.testing.assert_close(out[b, 0], expected[b][len(row) - num_single + step], atol=1e-4, rtol=0)
    assert cache.lengths.tolist() == [16, 10, 13]


@torch.no_grad()
def test_a_view_and_a_copied_row_go_on_as_the_whole_cache_would() -> None:
    model = make(DENSE)
    tokens = torch.randint(97, (1, 9), generator=torch.Generator().manual_seed(2))
    expected = model(tokens)[:, -1]
    cache = KVCache(DENSE, 4, 32, model.device, model.dtype)
    part = cache.view(1, 16)
    model(tokens[:, :8], part)
    part.advance(8)
    other = KVCache(DENSE, 2, 20, model.device, model.dtype)
    other.copy_row(cache, 0, 1, length=8)
    assert cache.lengths.tolist() == [8, 0, 0, 0] and other.lengths.tolist() == [0, 8]
    out = model(tokens[:, 8:].expand(2, 1), other)
    torch.testing.assert_close(out[1], expected, atol=1e-4, rtol=0)

    other.copy_row(other, 1, 0, length=6)  # within one cache, and only a beginning
    other.lengths[1] = 6
    out = model(tokens[:, 6:].expand(2, 3), other)
    torch.testing.assert_close(out[0, -1:], expected, atol=1e-4, rtol=0)


@all_configs
def test_parameters_are_counted_right(config: ModelConfig) -> None:
    assert config.num_parameters() == sum(weight.numel() for weight in Transformer(config).parameters())


# From the technical reports and the model cards: billions in all.
PUBLISHED = {
    "Qwen3-0.6B": 0.6, "Qwen3-1.7B": 1.7, "Qwen3-4B": 4.0, "Qwen3-8B": 8.2, "Qwen3-14B": 14.8, "Qwen3-32B": 32.8,
    "Qwen3-30B-A3B": 30.5, "Qwen3-235B-A22B": 235.0, "Qwen2.5-0.5B": 0.49, "Qwen2.5-1.5B": 1.54, "Qwen2.5-3B": 3.09,
    "Qwen2.5-7B": 7.61, "Qwen2.5-14B": 14.7, "Qwen2.5-32B": 32.5, "Qwen2.5-72B": 72.7, "Llama-3.2-1B": 1.23,
    "Llama-3.2-3B": 3.21, "Llama-3.1-8B": 8.03, "Llama-3.1-70B": 70.6, "SmolLM2-135M": 0.135, "SmolLM2-360M": 0.362,
    "SmolLM2-1.7B": 1.71, "Mistral-Nemo-12B": 12.2,
}  # fmt: skip


@pytest.mark.parametrize("name, billions", PUBLISHED.items())
def test_published_sizes(name: str, billions: float) -> None:
    assert SIZES[name].num_parameters() / 1e9 == pytest.approx(billions, rel=0.02)


def test_every_published_size_is_checked_and_the_built_in_ones_are_small() -> None:
    assert set(SIZES) - set(PUBLISHED) == {"thinkling-base", "thinkling-nano", "thinkling-teacher"}
    assert 2 * SIZES["thinkling-teacher"].num_parameters() <= 16e6  # bytes in bfloat16
    assert 5e6 < SIZES["thinkling-base"].num_parameters() <= 6e6
    assert 0.9e6 < SIZES["thinkling-nano"].num_parameters() <= 1.2e6
