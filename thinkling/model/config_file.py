"""A checkpoint's config.json, read and written.

Nothing that shapes the network is guessed: a key that is missing takes its family's documented default, or is an
error; and so is whatever thinkling has not, such as quantised weights or other kinds of RoPE.
"""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path

from thinkling.errors import UserError
from thinkling.model.config import FAMILIES, ModelConfig, RopeScaling

ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_MOE = ("num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step",
        "mlp_only_layers")  # fmt: skip
# The largest sizes that are believed: a few zeros too many are a line, not an hour or all of the memory.
_LIMITS = {
    "vocab_size": 10**7, "hidden_size": 10**6, "intermediate_size": 10**7, "num_hidden_layers": 1000,
    "num_attention_heads": 10**4, "num_key_value_heads": 10**4, "head_dim": 10**5, "max_position_embeddings": 10**9,
    "num_experts": 10**4, "num_experts_per_tok": 10**4, "moe_intermediate_size": 10**7, "decoder_sparse_step": 1000,
    "original_max_position_embeddings": 10**9,
}  # fmt: skip
_SCALING = {
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow"),
}
_POSITIVE = ("rope_theta", "rms_norm_eps", "factor", "low_freq_factor", "high_freq_factor", "attention_factor",
             "beta_fast", "beta_slow")  # fmt: skip


def read_config(folder: Path) -> ModelConfig:
    """The network that a checkpoint's config.json describes. Keys that do not shape it are ignored.

    Raises UserError naming the file and the key: one that is missing, senseless, or asks for what thinkling has not.
    """
    path = Path(folder) / "config.json"
    return config_of_object(path, read_object(path))


def config_of_object(path: Path, whole: dict) -> ModelConfig:
    """The same from the keys of a config.json, wherever they were found; `path` is named in complaints."""
    stored = {key: value for key, value in whole.items() if value is not None}
    kind = stored.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise UserError(f"{path}: model_type is {kind!r}; thinkling reads {', '.join(map(repr, FAMILIES))}")
    family = FAMILIES[kind]
    _refuse_the_unsupported(path, stored)
    if family.experts and "num_local_experts" in stored:  # what transformers 5 writes for num_experts
        stored.setdefault("num_experts", stored["num_local_experts"])
    stored = dict(family.defaults) | stored | _read_rope(path, stored)
    names = [f.name for f in fields(ModelConfig) if f.name not in ("rope_scaling", *(() if family.experts else _MOE))]
    for key in names:
        if key not in stored:
            raise UserError(f"{path}: the key '{key}' is missing")
        if stored[key] is not None:
            _check(path, key, stored[key])
    if stored["head_dim"] is None:
        stored["head_dim"] = stored["hidden_size"] // stored["num_attention_heads"]
    if stored["num_key_value_heads"] is None:
        stored["num_key_value_heads"] = stored["num_attention_heads"]
    if family.experts:
        stored["mlp_only_layers"] = tuple(stored["mlp_only_layers"])
    config = ModelConfig(**{key: stored[key] for key in [*names, "rope_scaling"]})
    _check_together(path, config)
    _check_window(path, whole.get("sliding_window", family.window) if family.window else None, config)
    return config


def read_object(path: Path) -> dict:
    """The object in a JSON file, UTF-8 with or without a byte order mark. Raises UserError naming the file."""
    try:
        stored = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:  # a number of a million digits, a million brackets
        raise UserError(f"{path}: not JSON that can be read ({str(error)[:80]})") from None
    if not isinstance(stored, dict):
        raise UserError(f"{path}: not a JSON object but {'a list' if isinstance(stored, list) else repr(stored)[:40]}")
    return stored


def read_text(path: Path) -> str:
    """A text file, UTF-8 with or without a byte order mark. Raises UserError naming the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path.parent}: no {path.name} in this folder, so it holds no checkpoint") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (at byte {error.start}); download it again, or save it as UTF-8") from None


def _check(path: Path, key: str, value: object) -> None:
    if key in _LIMITS:
        good, wanted = type(value) is int and 1 <= value <= _LIMITS[key], f"a whole number from 1 to {_LIMITS[key]:,}"
    elif key in _POSITIVE:
        good, wanted = type(value) in (int, float) and 0 < value <= 1e18, "a positive number"
    elif key in ("tie_word_embeddings", "norm_topk_prob"):
        good, wanted = isinstance(value, bool), "true or false"
    elif key == "mlp_only_layers":
        good, wanted = isinstance(value, list | tuple) and all(type(i) is int for i in value), "a list of layers"
    else:
        return
    if not good:
        raise UserError(f"{path}: {key} must be {wanted}, not {repr(value)[:40]}")


def _check_together(path: Path, config: ModelConfig) -> None:
    if config.num_attention_heads % config.num_key_value_heads:
        raise UserError(f"{path}: num_attention_heads {config.num_attention_heads} is no multiple of "
                        f"num_key_value_heads {config.num_key_value_heads}")  # fmt: skip
    if config.head_dim % 2 or not config.head_dim:
        raise UserError(f"{path}: head_dim {config.head_dim} must be even, since RoPE turns pairs of dimensions")
    if config.num_experts_per_tok > config.num_experts:
        raise UserError(f"{path}: num_experts_per_tok {config.num_experts_per_tok} is more than num_experts "
                        f"{config.num_experts}")  # fmt: skip


def _check_window(path: Path, window: object, config: ModelConfig) -> None:
    """A window at least as wide as the context hides nothing."""
    if window is not None and not (type(window) is int and window >= config.max_position_embeddings):
        raise UserError(f"{path}: sliding_window is {repr(window)[:40]}, less than max_position_embeddings "
                        f"{config.max_position_embeddings}; thinkling has no sliding windows")  # fmt: skip


def _refuse_the_unsupported(path: Path, stored: dict) -> None:
    quantised = stored.get("quantization_config")
    if quantised and _block_of(quantised) is None:
        method = quantised.get("quant_method", "a method") if isinstance(quantised, dict) else quantised
        raise UserError(f"{path}: the weights are quantised ({method}), which thinkling does not read: take the "
                        "checkpoint in bfloat16, often the same name without its ending")  # fmt: skip
    for key in ("attention_bias", "mlp_bias", "use_sliding_window"):
        if stored.get(key):
            raise UserError(f"{path}: {key} is set; thinkling has not got it, nor have the published models")
    if stored.get("hidden_act", "silu") != "silu":
        raise UserError(f"{path}: hidden_act is {stored['hidden_act']!r}; thinkling computes 'silu'")
    kinds = stored.get("layer_types", [])
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise UserError(f"{path}: layer_types may hold nothing but 'full_attention'; thinkling has no other attention")


def fp8_block(folder: Path) -> tuple[int, int] | None:
    """How many rows and columns of a weight share a scale, where the checkpoint is of FP8 with block scales."""
    return _block_of(read_object(folder / "config.json").get("quantization_config"))


def _block_of(quantised: object) -> tuple[int, int] | None:
    if not isinstance(quantised, dict) or quantised.get("quant_method") != "fp8":
        return None
    block = quantised.get("weight_block_size")
    good = isinstance(block, list) and len(block) == 2 and all(type(n) is int and 0 < n <= 10**6 for n in block)
    return tuple(block) if good and quantised.get("fmt", "e4m3") == "e4m3" else None


def _read_rope(path: Path, stored: dict) -> dict:
    """rope_scaling, and rope_theta if it is given. transformers 5 keeps both in rope_parameters; where an older key has
    been left behind beside it, rope_parameters holds, as it does there."""
    found, kinds = {"partial_rotary_factor": stored.get("partial_rotary_factor", 1)}, set()
    for name in ("rope_scaling", "rope_parameters"):
        given = stored.get(name, {})
        if not isinstance(given, dict) or any(isinstance(value, dict) for value in given.values()):
            raise UserError(f"{path}: {name} must be one flat object, not {repr(given)[:60]}")
        found |= {key: value for key, value in given.items() if value is not None}
        if given:
            kinds.add(str(given.get("rope_type") or given.get("type") or "default"))
    kind = kinds.pop() if kinds else "default"
    if kinds:
        raise UserError(f"{path}: rope_scaling and rope_parameters ask for different kinds of RoPE; remove one of them")
    if kind not in ROPE_TYPES or found["partial_rotary_factor"] != 1:
        what = "partial_rotary_factor" if kind in ROPE_TYPES else f"rope_type {kind!r}"
        raise UserError(f"{path}: RoPE with {what} is not supported; thinkling has {', '.join(ROPE_TYPES)}")
    theta = {"rope_theta": found["rope_theta"]} if "rope_theta" in found else {}
    if kind == "default":
        return theta | {"rope_scaling": None}
    keys = _SCALING[kind]
    found.setdefault("original_max_position_embeddings", stored.get("max_position_embeddings"))
    if kind == "yarn":
        found = _yarn_defaults(path, found)
    for key in keys:
        if found.get(key) is None:
            raise UserError(f"{path}: RoPE with rope_type {kind!r} needs the key '{key}'")
        _check(path, key, found[key])
    if kind == "llama3" and found["low_freq_factor"] >= found["high_freq_factor"]:
        raise UserError(f"{path}: low_freq_factor {found['low_freq_factor']} must be less than high_freq_factor "
                        f"{found['high_freq_factor']}")  # fmt: skip
    if kind == "yarn" and found["beta_slow"] >= found["beta_fast"]:
        raise UserError(f"{path}: beta_slow {found['beta_slow']} must be less than beta_fast {found['beta_fast']}")
    return theta | {"rope_scaling": RopeScaling(kind, **{key: found[key] for key in keys})}


def _yarn_defaults(path: Path, found: dict) -> dict:
    """What YaRN's keys may leave out, and what is made of the factor: 0.1 ln(factor) + 1 (arXiv:2309.00071, eq. 22)."""
    for key in ("mscale", "mscale_all_dim"):
        if key in found:
            raise UserError(f"{path}: RoPE of type 'yarn' with {key} is not supported; nor have the families here it")
    if found.get("truncate", True) is not True:
        raise UserError(f"{path}: RoPE of type 'yarn' with truncate set to false is not supported")
    found = {"beta_fast": 32.0, "beta_slow": 1.0} | found
    if "attention_factor" not in found and type(found.get("factor")) in (int, float) and found["factor"] > 0:
        found["attention_factor"] = 0.1 * math.log(found["factor"]) + 1.0 if found["factor"] > 1 else 1.0
    return found


def config_json(config: ModelConfig, stop_ids: tuple[int, ...], dtype: str) -> dict:
    """What `transformers` and everyone else expects to find in config.json."""
    stored = asdict(config) | {"mlp_only_layers": list(config.mlp_only_layers)}
    scaling = stored.pop("rope_scaling")
    if scaling:
        kind = scaling["rope_type"]
        stored["rope_scaling"] = {"rope_type": kind} | {key: scaling[key] for key in _SCALING[kind]}
    if config.family.window:
        stored["sliding_window"] = None
    unused = () if config.family.experts else _MOE
    return {key: value for key, value in stored.items() if key not in (*unused, "model_type")} | {
        "architectures": [config.family.architecture],
        "model_type": config.model_type,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": dtype,
        "torch_dtype": dtype,
        "eos_token_id": stop_ids[0] if len(stop_ids) == 1 else list(stop_ids),
    }
