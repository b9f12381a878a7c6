"""config.json: nothing that shapes the network is guessed, and whatever cannot be meant is one line naming the key."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from transformers import AutoConfig

from thinkling.errors import UserError
from thinkling.model.config import FAMILIES, SIZES, ModelConfig, RopeScaling
from thinkling.model.config_file import config_json, read_config

TINY = ModelConfig(
    vocab_size=261, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=8,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rope_theta=500.0, rms_norm_eps=1e-5,
)  # fmt: skip
EXPERTS = replace(
    TINY, model_type="qwen3_moe", num_experts=12, num_experts_per_tok=3, moe_intermediate_size=24,
    decoder_sparse_step=2, mlp_only_layers=(0,),
)  # fmt: skip
OF_FAMILY = {kind: replace(EXPERTS if family.experts else TINY, model_type=kind) for kind, family in FAMILIES.items()}
SIZE_KEYS = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads"}  # fmt: skip


def stored(config: ModelConfig) -> dict:
    return json.loads(json.dumps(config_json(config, (1,), "float32")))


def read(folder: Path, content: dict | bytes) -> ModelConfig:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "config.json").write_bytes(raw)
    return read_config(folder)


def complaint(folder: Path, content: dict | bytes) -> str:
    with pytest.raises(UserError) as error:
        read(folder, content)
    said = str(error.value)
    assert "\n" not in said and said.startswith(f"{folder / 'config.json'}: ")
    return said.removeprefix(f"{folder / 'config.json'}: ")


@pytest.mark.parametrize("config", [*OF_FAMILY.values(), *SIZES.values()], ids=str)
def test_what_was_written_is_read(config: ModelConfig, tmp_path: Path) -> None:
    assert read(tmp_path, stored(config)) == config


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_missing_key_is_an_error_or_takes_the_familys_default(kind: str, tmp_path: Path) -> None:
    """Any key at all used to take Qwen3-0.6B's value, silently. transformers' config classes are the oracle."""
    whole = stored(OF_FAMILY[kind])
    required = set()
    for key in asdict(OF_FAMILY[kind]).keys() & whole.keys() - {"model_type"}:
        for content in ({k: v for k, v in whole.items() if k != key}, whole | {key: None}):
            (tmp_path / "config.json").write_text(json.dumps(content))
            try:
                ours = getattr(read_config(tmp_path), key)
            except UserError as error:
                assert str(error) == f"{tmp_path / 'config.json'}: the key '{key}' is missing"
                required.add(key)
                continue
            theirs = AutoConfig.for_model(kind, **{k: v for k, v in content.items() if k not in ("model_type", key)})
            found = getattr(theirs, key, None)
            if key == "rope_theta":
                found = theirs.rope_parameters["rope_theta"]
            if key == "head_dim" and found is None:
                found = whole["hidden_size"] // whole["num_attention_heads"]
            assert ours == (tuple(found) if isinstance(found, list) else found), key
    assert required == SIZE_KEYS - FAMILIES[kind].defaults.keys()


@pytest.mark.parametrize(
    "keys, theta, scaling",
    [
        ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 7e5}}, 7e5, None),
        ({"rope_theta": 3.0, "rope_parameters": {"rope_type": "default", "rope_theta": 7e5}}, 7e5, None),  # stale
        ({"rope_theta": 3.0, "rope_parameters": {"rope_type": "default", "rope_theta": None}}, 3.0, None),
        ({"rope_theta": 3.0, "rope_scaling": None}, 3.0, None),
        ({"rope_theta": None}, 10_000.0, None),
        ({"rope_theta": 3.0, "rope_scaling": {"type": "linear", "factor": 4}}, 3.0, RopeScaling("linear", 4)),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 9.0, "factor": 8.0, "low_freq_factor": 1.0,
                                 "high_freq_factor": 4.0, "original_max_position_embeddings": 64}},
            9.0, RopeScaling("llama3", 8.0, 1.0, 4.0, 64),
        ),
        (  # as Qwen3's cards write it; 0.1 ln 4 + 1
            {"rope_theta": 3.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                                                 "original_max_position_embeddings": 64}},
            3.0, RopeScaling("yarn", 4.0, 0.0, 0.0, 64, 1.1386294361119891),
        ),
    ],
)  # fmt: skip
def test_rope_is_read_as_transformers_reads_it(
    keys: dict, theta: float, scaling: RopeScaling | None, tmp_path: Path
) -> None:
    content = stored(TINY) | keys
    config = read(tmp_path, content)
    assert (config.rope_theta, config.rope_scaling) == (theta, scaling)
    theirs = AutoConfig.for_model("qwen3", **{k: v for k, v in content.items() if v is not None and k != "model_type"})
    if keys.get("rope_parameters", {"rope_theta": 0}).get("rope_theta", 0) is not None:  # where it fails on null
        assert theirs.rope_parameters["rope_theta"] == theta
    assert theirs.rope_parameters["rope_type"] == (scaling.rope_type if scaling else "default")
    assert read(tmp_path, stored(config)) == config


@pytest.mark.parametrize(
    "keys, said",
    [
        ({"rope_scaling": {"type": "longrope", "factor": 4.0}}, "RoPE with rope_type 'longrope' is not supported"),
        ({"rope_parameters": {"type": "dynamic", "factor": 4.0}}, "RoPE with rope_type 'dynamic' is not supported"),
        ({"rope_scaling": {"type": "yarn"}}, "RoPE with rope_type 'yarn' needs the key 'factor'"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "mscale": 1.0}}, "RoPE of type 'yarn' with mscale"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "truncate": False}}, "with truncate set to false"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 1, "beta_slow": 2}},
         "beta_slow 2 must be less than beta_fast 1"),
        ({"rope_scaling": {"type": "yarn"}, "rope_parameters": {"rope_type": "default"}}, "different kinds of RoPE"),
        ({"rope_scaling": {"type": "linear"}}, "RoPE with rope_type 'linear' needs the key 'factor'"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "factor must be a positive number, not nan"),
        ({"rope_scaling": [4]}, "rope_scaling must be one flat object, not [4]"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 3.0}}}, "rope_parameters must be one flat object"),
        ({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}},
         "low_freq_factor 4 must be less than high_freq_factor 1"),
        ({"partial_rotary_factor": 0.5}, "RoPE with partial_rotary_factor is not supported"),
        ({"rope_theta": float("nan")}, "rope_theta must be a positive number, not nan"),
        ({"rope_theta": float("inf")}, "rope_theta must be a positive number, not inf"),
        ({"rope_theta": "1e6"}, "rope_theta must be a positive number, not '1e6'"),
        ({"rms_norm_eps": -1e-6}, "rms_norm_eps must be a positive number, not -1e-06"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number from 1 to 1,000, not 1000000000"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number from 1"),
        ({"hidden_size": "32"}, "hidden_size must be a whole number from 1 to 1,000,000, not '32'"),
        ({"vocab_size": 261.0}, "vocab_size must be a whole number"),
        ({"num_attention_heads": True}, "num_attention_heads must be a whole number"),
        ({"max_position_embeddings": 10**30}, "max_position_embeddings must be a whole number"),
        ({"num_key_value_heads": 3}, "num_attention_heads 8 is no multiple of num_key_value_heads 3"),
        ({"head_dim": 7}, "head_dim 7 must be even"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false, not 'yes'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; thinkling computes 'silu'"),
        ({"attention_bias": True}, "attention_bias is set"),
        ({"use_sliding_window": True, "sliding_window": 64}, "use_sliding_window is set"),
        ({"model_type": "llama", "mlp_bias": True}, "mlp_bias is set"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types may hold nothing but 'full_attention'"),
        ({"quantization_config": {"quant_method": "fp8"}}, "the weights are quantised (fp8)"),
        ({"model_type": ["qwen3"]}, "model_type is ['qwen3']; thinkling reads 'qwen3', 'qwen3_moe', 'qwen2', "
         "'llama', 'mistral'"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": "gemma3_text", "hidden_activation": "gelu_pytorch_tanh"}, "model_type is 'gemma3_text'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(keys: dict, said: str, tmp_path: Path) -> None:
    assert said in complaint(tmp_path, stored(TINY) | keys)


@pytest.mark.parametrize(
    "keys, said",
    [
        ({"num_experts": 10**9}, "num_experts must be a whole number from 1 to 10,000, not 1000000000"),
        ({"num_experts_per_tok": 13}, "num_experts_per_tok 13 is more than num_experts 12"),
        ({"mlp_only_layers": "0"}, "mlp_only_layers must be a list of layers, not '0'"),
    ],
)
def test_experts_that_cannot_be_meant_are_refused(keys: dict, said: str, tmp_path: Path) -> None:
    assert said in complaint(tmp_path, stored(EXPERTS) | keys)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "not JSON (Expecting value, line 1)"),
        (b"[1]", "not a JSON object but a list"),
        (b"null", "not a JSON object but None"),
        (b'{"model_type": "qw', "not JSON (Unterminated string"),
        ('{"model_type": "qwen3"}'.encode("utf-16"), "not UTF-8 (at byte 0)"),
        (b'{"name": "\xe9"}', "not UTF-8 (at byte 10)"),
        (b"[" * 100_000, "not JSON that can be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_file_that_is_no_config(content: bytes, said: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, content).startswith(said)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + json.dumps(stored(TINY)).encode()) == TINY


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config.json: cannot be read \(Is a directory\)"):
        read_config(tmp_path)


@pytest.mark.parametrize("window, said", [(None, ""), (4096, ""), (127, "sliding_window is 127, less than"),
                                          ("wide", "sliding_window is 'wide'")])  # fmt: skip
def test_a_window_that_hides_nothing_is_welcome(window: object, said: str, tmp_path: Path) -> None:
    """Mistral's config.json asks for one of 4,096 where it says nothing, and for none where it says null."""
    content = stored(replace(TINY, model_type="mistral")) | {"sliding_window": window}
    if said:
        assert said in complaint(tmp_path, content)
    else:
        assert read(tmp_path, content).model_type == "mistral"
    del content["sliding_window"]
    read(tmp_path, content)
    assert "sliding_window is 4096, less than max_position_embeddings 8192" in complaint(
        tmp_path, content | {"max_position_embeddings": 8192}
    )


def test_experts_need_a_family_that_has_them() -> None:
    with pytest.raises(ValueError, match="num_experts=4 in a network of model_type 'qwen3'"):
        replace(TINY, num_experts=4)
