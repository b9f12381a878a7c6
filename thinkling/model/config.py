"""The shape of a decoder: a frozen ModelConfig, the families as rows of flags, and the published sizes as data.

Field names are those of a checkpoint's own `config.json`, so reading one (config_file.py) needs no table of
names. A family is no class: the one decoder reads its flags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Family:
    """What sets one family's decoder apart from the others'.

    architecture: its class in transformers.
    defaults: what its config.json may leave out, as transformers' config class has it. None follows from other keys: a
    head_dim is D / H then, and there are as many key-value heads as heads.
    qk_norm: queries and keys are normalised. qkv_bias: the projections to queries, keys and values have biases.
    experts: some layers are mixtures. window: where config.json says nothing, attention is to this many tokens; None
    for families that have no such default.
    """

    architecture: str
    defaults: Mapping[str, object]
    qk_norm: bool = False
    qkv_bias: bool = False
    experts: bool = False
    window: int | None = None


_DEFAULTS = {"head_dim": None, "max_position_embeddings": 32_768, "rope_theta": 10_000.0, "rms_norm_eps": 1e-6,
             "tie_word_embeddings": False}  # fmt: skip
_EXPERT_DEFAULTS = {"moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": False,
                    "decoder_sparse_step": 1, "mlp_only_layers": ()}  # fmt: skip
FAMILIES: dict[str, Family] = {
    "qwen3": Family("Qwen3ForCausalLM", _DEFAULTS | {"head_dim": 128}, qk_norm=True),
    "qwen3_moe": Family("Qwen3MoeForCausalLM", _DEFAULTS | _EXPERT_DEFAULTS, qk_norm=True, experts=True),
    "qwen2": Family("Qwen2ForCausalLM", _DEFAULTS, qkv_bias=True),
    "llama": Family("LlamaForCausalLM", _DEFAULTS | {"num_key_value_heads": None, "max_position_embeddings": 2048}),
    "mistral": Family("MistralForCausalLM", _DEFAULTS | {"num_key_value_heads": 8, "max_position_embeddings": 131_072},
                      window=4096),
}  # fmt: skip


@dataclass(frozen=True)
class RopeScaling:
    """Positions turned more slowly, for contexts longer than those of the first training.

    rope_type: "linear" slows every frequency by `factor` (arXiv:2306.15595); "llama3" only those that turn less than
    `low_freq_factor` times within the original context, and blends up to `high_freq_factor` turns (arXiv:2407.21783);
    "yarn" those that turn less than `beta_slow` times, blends up to `beta_fast` turns, dimension by dimension, and
    multiplies queries and keys by `attention_factor` each (arXiv:2309.00071).
    """

    rope_type: str
    factor: float
    low_freq_factor: float = 0.0
    high_freq_factor: float = 0.0
    original_max_position_embeddings: int = 0
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = True
    # Mixture of experts; num_experts = 0 means a dense network.
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = True
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()
    rope_scaling: RopeScaling | None = None
    model_type: str = "qwen3"

    def __post_init__(self) -> None:
        if self.family.experts != (self.num_experts > 0):
            raise ValueError(f"num_experts={self.num_experts} in a network of model_type {self.model_type!r}")

    @property
    def family(self) -> Family:
        return FAMILIES[self.model_type]

    def is_sparse(self, layer: int) -> bool:
        """Does this layer hold experts instead of one MLP?"""
        chosen = layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0
        return self.num_experts > 0 and chosen

    def num_parameters(self) -> int:
        """Counted by formula, so that a 235B model needs no memory to be counted."""
        D, H, K, E = self.hidden_size, self.num_attention_heads, self.num_key_value_heads, self.head_dim
        attention = 2 * D * E * (H + K) + self.family.qk_norm * 2 * E + self.family.qkv_bias * E * (H + 2 * K)
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


_BASE = ModelConfig(
    vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=40_960,
)  # fmt: skip
_QWEN2 = replace(_BASE, model_type="qwen2", head_dim=128, max_position_embeddings=32_768)
_LLAMA = ModelConfig(
    model_type="llama", vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, head_dim=128, max_position_embeddings=131_072, rope_theta=500_000.0,
    rms_norm_eps=1e-5, tie_word_embeddings=False, rope_scaling=RopeScaling("llama3", 8.0, 1.0, 4.0, 8192),
)  # fmt: skip
_SMALLER_LLAMA = replace(
    _LLAMA, intermediate_size=8192, tie_word_embeddings=True, rope_scaling=RopeScaling("llama3", 32.0, 1.0, 4.0, 8192)
)
_SMOLLM2 = replace(
    _LLAMA, vocab_size=49_152, head_dim=64, max_position_embeddings=8192, rope_theta=100_000.0,
    tie_word_embeddings=True, rope_scaling=None,
)  # fmt: skip
_EXPERTS = replace(
    _BASE, model_type="qwen3_moe", num_key_value_heads=4, tie_word_embeddings=False, num_experts=128,
    num_experts_per_tok=8,
)  # fmt: skip
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
        _EXPERTS, hidden_size=2048, intermediate_size=6144, num_hidden_layers=48, num_attention_heads=32,
        moe_intermediate_size=768,
    ),
    "Qwen3-235B-A22B": replace(
        _EXPERTS, hidden_size=4096, intermediate_size=12_288, num_hidden_layers=94, num_attention_heads=64,
        moe_intermediate_size=1536,
    ),
    "Qwen2.5-0.5B": replace(
        _QWEN2, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, head_dim=64,
    ),
    "Qwen2.5-1.5B": replace(
        _QWEN2, hidden_size=1536, intermediate_size=8960, num_attention_heads=12, num_key_value_heads=2
    ),
    "Qwen2.5-3B": replace(
        _QWEN2, hidden_size=2048, intermediate_size=11_008, num_hidden_layers=36, num_key_value_heads=2
    ),
    "Qwen2.5-7B": replace(
        _QWEN2, vocab_size=152_064, hidden_size=3584, intermediate_size=18_944, num_attention_heads=28,
        num_key_value_heads=4, tie_word_embeddings=False,
    ),
    "Qwen2.5-14B": replace(
        _QWEN2, vocab_size=152_064, hidden_size=5120, intermediate_size=13_824, num_hidden_layers=48,
        num_attention_heads=40, tie_word_embeddings=False,
    ),
    "Qwen2.5-32B": replace(
        _QWEN2, vocab_size=152_064, hidden_size=5120, intermediate_size=27_648, num_hidden_layers=64,
        num_attention_heads=40, tie_word_embeddings=False,
    ),
    "Qwen2.5-72B": replace(
        _QWEN2, vocab_size=152_064, hidden_size=8192, intermediate_size=29_568, num_hidden_layers=80,
        num_attention_heads=64, tie_word_embeddings=False,
    ),
    "Llama-3.2-1B": replace(_SMALLER_LLAMA, hidden_size=2048, num_hidden_layers=16, head_dim=64),
    "Llama-3.2-3B": replace(_SMALLER_LLAMA, hidden_size=3072, num_hidden_layers=28, num_attention_heads=24),
    "Llama-3.1-8B": _LLAMA,
    "Llama-3.1-70B": replace(
        _LLAMA, hidden_size=8192, intermediate_size=28_672, num_hidden_layers=80, num_attention_heads=64
    ),
    "SmolLM2-135M": replace(
        _SMOLLM2, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3,
    ),
    "SmolLM2-360M": replace(
        _SMOLLM2, hidden_size=960, intermediate_size=2560, num_attention_heads=15, num_key_value_heads=5
    ),
    "SmolLM2-1.7B": replace(
        _SMOLLM2, hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_key_value_heads=32,
        rope_theta=130_000.0,
    ),
    "Mistral-Nemo-12B": replace(
        _LLAMA, model_type="mistral", vocab_size=131_072, hidden_size=5120, num_hidden_layers=40, rope_theta=1e6,
        rope_scaling=None,
    ),
    # Deep for its width: every layer is one more thing that can be looked up in what has been read.
    "thinkling-base": ModelConfig(
        vocab_size=1536, hidden_size=256, intermediate_size=640, num_hidden_layers=8, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=1024, rope_theta=10_000.0,
    ),
    # thinkling-base with three more layers: 15.9 MB in bfloat16.
    "thinkling-teacher": ModelConfig(
        vocab_size=1536, hidden_size=256, intermediate_size=640, num_hidden_layers=11, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=1024, rope_theta=10_000.0,
    ),
    # Narrow, so that the embeddings are a fifth of it; deep enough to look up, compute and copy.
    "thinkling-nano": ModelConfig(
        vocab_size=1536, hidden_size=128, intermediate_size=256, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=1024, rope_theta=10_000.0,
    ),
}  # fmt: skip
