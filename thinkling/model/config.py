"""The shape of a Qwen3 network: a frozen ModelConfig, and the published sizes as data.

Field names are those of a checkpoint's own `config.json`, so reading one needs no table.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from thinkling.errors import UserError


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int = 151_936
    hidden_size: int = 1024
    intermediate_size: int = 3072
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    max_position_embeddings: int = 40_960
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    # Mixture of experts; num_experts = 0 means a dense network.
    num_experts: int = 0
    num_experts_per_tok: int = 8
    moe_intermediate_size: int = 768
    norm_topk_prob: bool = True
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()

    @property
    def model_type(self) -> str:
        return "qwen3_moe" if self.num_experts else "qwen3"

    def is_sparse(self, layer: int) -> bool:
        """Does this layer hold experts instead of one MLP?"""
        chosen = layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0
        return self.num_experts > 0 and chosen

    def num_parameters(self) -> int:
        """Counted by formula, so that a 235B model needs no memory to be counted."""
        D, E = self.hidden_size, self.head_dim
        attention = 2 * D * E * (self.num_attention_heads + self.num_key_value_heads) + 2 * E
        dense = 3 * D * self.intermediate_size
        sparse = self.num_experts * (D + 3 * D * self.moe_intermediate_size)
        layers = sum(
            attention + 2 * D + (sparse if self.is_sparse(i) else dense) for i in range(self.num_hidden_layers)
        )
        embeddings = self.vocab_size * D * (1 if self.tie_word_embeddings else 2)
        return embeddings + layers + D

    def flops(self, num_tokens: int, start: int = 0) -> float:
        """Floating-point operations of reading `num_tokens` tokens behind `start` others: two for each weight that a
        token meets, the head's included, and four per key that a head looks at (q k and the sum of values)."""
        D, E, layers = self.hidden_size, self.head_dim, range(self.num_hidden_layers)
        attention = 2 * D * E * (self.num_attention_heads + self.num_key_value_heads)
        met = sum(
            self.num_experts_per_tok * 3 * D * self.moe_intermediate_size + self.num_experts * D
            if self.is_sparse(layer) else 3 * D * self.intermediate_size
            for layer in layers
        )  # fmt: skip
        weights = len(layers) * attention + met + self.vocab_size * D
        keys = num_tokens * start + num_tokens * (num_tokens + 1) / 2
        return 2.0 * weights * num_tokens + 4.0 * len(layers) * self.num_attention_heads * E * keys


_BASE = ModelConfig()
SIZES: dict[str, ModelConfig] = {
    "Qwen3-0.6B": _BASE,
    "Qwen3-1.7B": replace(_BASE, hidden_size=2048, intermediate_size=6144),
    "Qwen3-4B": replace(
        _BASE, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32
    ),
    "Qwen3-8B": replace(
        _BASE, hidden_size=4096, intermediate_size=12_288, num_hidden_layers=36, num_attention_heads=32,
        tie_word_embeddings=False,
    ),
    "Qwen3-14B": replace(
        _BASE, hidden_size=5120, intermediate_size=17_408, num_hidden_layers=40, num_attention_heads=40,
        tie_word_embeddings=False,
    ),
    "Qwen3-32B": replace(
        _BASE, hidden_size=5120, intermediate_size=25_600, num_hidden_layers=64, num_attention_heads=64,
        tie_word_embeddings=False,
    ),
    "Qwen3-30B-A3B": replace(
        _BASE, hidden_size=2048, intermediate_size=6144, num_hidden_layers=48, num_attention_heads=32,
        num_key_value_heads=4, tie_word_embeddings=False, num_experts=128, moe_intermediate_size=768,
    ),
    "Qwen3-235B-A22B": replace(
        _BASE, hidden_size=4096, intermediate_size=12_288, num_hidden_layers=94, num_attention_heads=64,
        num_key_value_heads=4, tie_word_embeddings=False, num_experts=128, moe_intermediate_size=1536,
    ),
    "thinkling-base": ModelConfig(
        vocab_size=1024, hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=1, head_dim=64, max_position_embeddings=1024, rope_theta=10_000.0,
    ),
}  # fmt: skip


def read_config(folder: Path) -> ModelConfig:
    """Read a checkpoint's config.json. Keys that do not shape the network are ignored; the architecture is checked."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no config.json in this folder, so it holds no checkpoint")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error.msg}, line {error.lineno})") from None
    kind = stored.get("model_type")
    if kind not in ("qwen3", "qwen3_moe"):
        raise UserError(f"{path}: model_type is {kind!r}; thinkling reads 'qwen3' and 'qwen3_moe'")
    if kind == "qwen3":
        stored["num_experts"] = 0
    elif "num_local_experts" in stored:  # what transformers 5 writes for num_experts
        stored.setdefault("num_experts", stored["num_local_experts"])
    rope = stored.get("rope_parameters") or {}  # transformers 5 keeps theta here; earlier ones at the top level
    stored.setdefault("rope_theta", rope.get("rope_theta", ModelConfig.rope_theta))
    scaling = stored.get("rope_scaling") or {}
    if {rope.get("rope_type", "default"), scaling.get("rope_type", scaling.get("type", "default"))} != {"default"}:
        raise UserError(f"{path}: rope scaling {scaling or rope} is not supported; remove it to use plain RoPE")
    if stored.get("attention_bias") or stored.get("use_sliding_window"):
        raise UserError(f"{path}: attention_bias and use_sliding_window are not part of Qwen3 as published")
    known = {field.name for field in fields(ModelConfig)}
    missing = [k for k in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads") if k not in stored]
    if missing:
        raise UserError(f"{path}: the key '{missing[0]}' is missing")
    values = {key: value for key, value in stored.items() if key in known and value is not None}
    values["mlp_only_layers"] = tuple(values.get("mlp_only_layers", ()))
    return ModelConfig(**values)


def config_json(config: ModelConfig, stop_ids: tuple[int, ...], dtype: str) -> dict:
    """What `transformers` and everyone else expects to find in config.json."""
    stored = asdict(config) | {"mlp_only_layers": list(config.mlp_only_layers)}
    if not config.num_experts:
        moe = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step",
               "mlp_only_layers")  # fmt: skip
        stored = {key: value for key, value in stored.items() if key not in moe}
    architecture = "Qwen3MoeForCausalLM" if config.num_experts else "Qwen3ForCausalLM"
    return stored | {
        "architectures": [architecture],
        "model_type": config.model_type,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": dtype,
        "torch_dtype": dtype,
        "eos_token_id": stop_ids[0] if len(stop_ids) == 1 else list(stop_ids),
    }
