"""Weights: saved and loaded bit for bit, exchanged with transformers both ways, and every broken folder named."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import tokenizers
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

from thinkling.errors import UserError
from thinkling.model import weights
from thinkling.model.config import ModelConfig
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import builtin_names, load_model, resolve, save_model

TIED = ModelConfig(
    vocab_size=261, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=128, rope_theta=10_000.0,
)  # fmt: skip
UNTIED = replace(TIED, tie_word_embeddings=False)
MOE = replace(
    TIED, model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, decoder_sparse_step=2
)
CONFIGS = {"tied": TIED, "untied": UNTIED, "experts": MOE, "experts, untied": replace(MOE, tie_word_embeddings=False)}
all_configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
TOKENS = torch.arange(24).view(2, 12) * 7 % 261


def make_tokenizer() -> Tokenizer:
    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = tokenizers.Tokenizer(models.BPE(vocab, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return Tokenizer(backend, (258, 256))


def make(config: ModelConfig, dtype: torch.dtype = torch.float32) -> Transformer:
    model = init_weights(Transformer(config), seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5)
    return model.to(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "saved", make(TIED), make_tokenizer())
    return tmp_path / "saved"


def same_bits(one: Transformer, other: Transformer) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


# -------------------------------------------------------------------------------------------------------- round trips


@all_configs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000, 1])
def test_round_trip_is_bit_identical(config: ModelConfig, dtype, max_shard_bytes: int, tmp_path: Path) -> None:
    model = make(config, dtype)
    save_model(tmp_path / "m", model, make_tokenizer(), max_shard_bytes)
    again = load_model(tmp_path / "m", dtype=dtype)
    assert again.config == config and same_bits(model, again)
    assert not again.training and all(weight.requires_grad for weight in again.parameters())
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == config.tie_word_embeddings
    assert Tokenizer.load(tmp_path / "m").stop_ids == (258, 256)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]  # no temporary folder left


def test_shards_follow_the_hub_layout(tmp_path: Path) -> None:
    model = make(TIED)
    save_model(tmp_path / "m", model, make_tokenizer(), max_shard_bytes=40_000)
    index = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    paths = sorted((tmp_path / "m").glob("*.safetensors"))
    assert [path.name for path in paths] == [
        f"model-{i:05}-of-{len(paths):05}.safetensors" for i in range(1, len(paths) + 1)
    ]
    assert len(paths) > 1 and index["metadata"]["total_size"] == 4 * TIED.num_parameters()
    stored = {name: path.name for path in paths for name in load_file(path)}
    assert stored == index["weight_map"]
    assert "lm_head.weight" not in stored  # tied: stored once
    for path in paths:
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt"}
        assert sum(t.nbytes for t in load_file(path).values()) <= 40_000


def test_saving_and_loading_in_another_dtype(tmp_path: Path) -> None:
    model = make(TIED)
    save_model(tmp_path / "m", model, make_tokenizer(), dtype=torch.bfloat16)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {t.dtype for t in load_file(tmp_path / "m" / "model.safetensors").values()} == {torch.bfloat16}
    assert same_bits(load_model(tmp_path / "m"), make(TIED).bfloat16().float())
    assert model.dtype == torch.float32  # the model itself is left as it was


# ------------------------------------------------------------------------------------------------------- transformers


@all_configs
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000])
@torch.no_grad()
def test_transformers_loads_what_was_saved(config: ModelConfig, max_shard_bytes: int, tmp_path: Path) -> None:
    model = make(config)
    save_model(tmp_path, model, make_tokenizer(), max_shard_bytes)
    theirs, report = AutoModelForCausalLM.from_pretrained(
        tmp_path, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    assert theirs.config.tie_word_embeddings == config.tie_word_embeddings
    assert theirs.generation_config.eos_token_id == [258, 256]
    logits = theirs(TOKENS).logits
    assert logits.std() > 0.1
    assert (model.logits(model(TOKENS)) - logits).abs().max() < 1e-4


@all_configs
@torch.no_grad()
def test_what_transformers_saves_loads(config: ModelConfig, tmp_path: Path) -> None:
    model = make(config)
    save_model(tmp_path / "ours", model, make_tokenizer())
    AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs", max_shard_size="40KB")
    again = load_model(tmp_path / "theirs")
    assert again.config == config and same_bits(model, again)


def test_a_tied_checkpoint_may_store_its_head_too(folder: Path) -> None:
    path = folder / "model.safetensors"
    stored = load_file(path)
    save_file(stored | {"lm_head.weight": stored["model.embed_tokens.weight"].clone()}, path)
    model = load_model(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight and same_bits(model, make(TIED))


def test_a_tied_checkpoint_may_store_its_head_in_another_format(folder: Path) -> None:
    path = folder / "model.safetensors"
    stored = load_file(path)
    embedding = stored["model.embed_tokens.weight"].bfloat16()
    save_file(stored | {"model.embed_tokens.weight": embedding.float(), "lm_head.weight": embedding}, path)
    assert torch.equal(load_model(folder).lm_head.weight, embedding.float())


def test_experts_that_no_layer_has_need_no_weights(tmp_path: Path) -> None:
    config = replace(MOE, mlp_only_layers=(0, 1))
    save_model(tmp_path / "m", make(config), make_tokenizer())
    assert load_model(tmp_path / "m").config == config


def test_a_tied_checkpoint_with_another_head_is_refused(folder: Path) -> None:
    """The head was dropped without a word, and every logit was wrong."""
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"lm_head.weight": torch.ones(261, 32)}, path)
    assert complaint(folder) == (
        f"{path}: lm_head.weight differs from model.embed_tokens.weight, but tie_word_embeddings in config.json is "
        "true: set it to false to use both, or remove the tensor"
    )
    rewrite(folder, tie_word_embeddings=False)
    assert torch.equal(load_model(folder).lm_head.weight, torch.ones(261, 32))


# ----------------------------------------------------------------------------------------------------- broken folders


def rewrite(folder: Path, **changes) -> None:
    """Change keys of config.json."""
    stored = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(stored | changes))


def edit(folder: Path, **changes) -> None:
    """Rewrite model.safetensors with some tensors replaced; None removes one. "." is written "__" in names."""
    stored = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        name = name.replace("__", ".")
        stored = {k: v for k, v in stored.items() if k != name} | ({} if tensor is None else {name: tensor})
    save_file(stored, folder / "model.safetensors")


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_tensor(folder: Path) -> None:
    edit(folder, model__layers__1__self_attn__q_norm__weight=None)
    assert complaint(folder) == (
        f"{folder}: the tensor model.layers.1.self_attn.q_norm.weight (16,) is missing from the *.safetensors files"
    )


def test_missing_untied_head(folder: Path) -> None:
    rewrite(folder, tie_word_embeddings=False)
    assert "lm_head.weight (261, 32) is missing" in complaint(folder)


def test_unexpected_tensor(folder: Path) -> None:
    edit(folder, model__layers__2__mlp__up_proj__weight=torch.zeros(48, 32))
    said = complaint(folder)
    assert said.startswith(
        f"{folder / 'model.safetensors'}: the tensor model.layers.2.mlp.up_proj.weight (48, 32) has no"
    )


def test_wrong_shape(folder: Path) -> None:
    edit(folder, model__layers__0__self_attn__k_proj__weight=torch.zeros(16, 32))
    assert complaint(folder) == (
        f"{folder / 'model.safetensors'}: the tensor model.layers.0.self_attn.k_proj.weight has shape (16, 32); "
        "config.json asks for (32, 32)"
    )


@pytest.mark.parametrize("num_bytes", [0, 5, 200, 100_000])
def test_truncated_file(folder: Path, num_bytes: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:num_bytes])
    assert complaint(folder).startswith(f"{path}: truncated or not safetensors")


def test_corrupt_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(b"PK\x03\x04 not safetensors at all" * 100)
    assert complaint(folder).startswith(f"{path}: truncated or not safetensors")


def test_missing_shard(tmp_path: Path) -> None:
    save_model(tmp_path, make(TIED), make_tokenizer(), max_shard_bytes=40_000)
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    gone.unlink()
    assert complaint(tmp_path).startswith(f"{gone}: missing, though model.safetensors.index.json names it")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/model.safetensors", "a\\b.safetensors", "weights.bin"])
def test_index_that_points_elsewhere(folder: Path, name) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    assert complaint(folder) == f"{index}: {name!r} is not the name of a safetensors file beside it"


@pytest.mark.parametrize(
    "content, said",
    [("", "not JSON"), ("[]", "not a JSON object but a list"), ("{}", "not an index with a weight_map"),
     ('{"weight_map": 3}', "not an index"), ('{"weight_map": {"a": []}}', "not an index"),
     ('{"weight_map": {"a": 7}}', "not an index")],
)  # fmt: skip
def test_broken_index(folder: Path, content: str, said: str) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(content)
    assert complaint(folder).startswith(f"{index}: {said}")


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert complaint(folder).startswith(f"{folder}: no model.safetensors")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickled_weights_are_not_read(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    assert complaint(folder).startswith(f"{folder / name}: pickled weights can run code")
    assert "safetensors" in complaint(folder)


@pytest.mark.parametrize("dtype, name", [(torch.float8_e4m3fn, "F8_E4M3"), (torch.int8, "I8")])
def test_quantised_weights_say_so(folder: Path, dtype: torch.dtype, name: str) -> None:
    edit(folder, model__layers__0__mlp__up_proj__weight=torch.zeros(48, 32).to(dtype))
    assert complaint(folder) == (
        f"{folder / 'model.safetensors'}: the tensor model.layers.0.mlp.up_proj.weight is stored as {name}: quantised "
        "weights, which thinkling does not read; take the checkpoint in bfloat16"
    )


def test_sizes_are_compared_with_the_weights_before_a_network_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "Transformer", lambda config: pytest.fail("a network was built"))
    rewrite(folder, num_hidden_layers=900)
    assert complaint(folder) == f"{folder}: num_hidden_layers in config.json is 900, but the weights hold 2"
    rewrite(folder, num_hidden_layers=2, model_type="qwen3_moe", num_experts=9000, num_experts_per_tok=1)
    assert complaint(folder) == f"{folder}: num_experts in config.json is 9,000, but the weights hold 0"


def test_weights_larger_than_the_memory_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 4 * TIED.num_parameters()
    monkeypatch.setattr(weights, "device_memory", lambda device: needed)
    load_model(folder)
    monkeypatch.setattr(weights, "device_memory", lambda device: needed - 1)
    assert complaint(folder).startswith(f"{folder}: the weights need 0.0 GB in float32, and cpu has 0.0 GB")
    load_model(folder, dtype=torch.bfloat16)


def test_a_file_without_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert complaint(folder) == f"{folder / 'model.safetensors'}: cannot be read (Permission denied)"


def test_no_config(tmp_path: Path) -> None:
    assert complaint(tmp_path) == f"{tmp_path}: no config.json in this folder, so it holds no checkpoint"


# ------------------------------------------------------------------------------------------------- replacing a folder


def test_a_checkpoint_or_an_empty_folder_is_replaced(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"left from an earlier save")
    save_model(folder, make(UNTIED), make_tokenizer())
    assert load_model(folder).config == UNTIED
    assert sorted(path.name for path in folder.glob("*.safetensors")) == ["model.safetensors"]
    (folder.parent / "empty").mkdir()
    save_model(folder.parent / "empty", make(TIED), make_tokenizer())
    assert sorted(path.name for path in folder.parent.iterdir()) == ["empty", "saved"]


@pytest.mark.parametrize("files", [["thesis.tex"], ["config.json", "metrics.jsonl"], ["model.safetensors"]])
def test_anything_else_is_not_replaced(tmp_path: Path, files: list[str]) -> None:
    """A run's folder, too, has a config.json; saving a model there must not wipe the run."""
    (tmp_path / "mine").mkdir()
    for name in files:
        (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(UserError, match="not a checkpoint, so it is not replaced"):
        save_model(tmp_path / "mine", make(TIED), make_tokenizer())
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == files


def test_a_failed_save_leaves_the_old_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **kwargs) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(folder, make(UNTIED), make_tokenizer())
    with pytest.raises(OSError, match="disk full"):
        save_model(folder.parent / "new", make(UNTIED), make_tokenizer())
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]
    assert same_bits(load_model(folder), make(TIED))


def test_what_killed_saves_left_is_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else: not what a process that runs is writing, nor what belongs to another place."""
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    gone, home = killed.pid, folder.parent
    kept = {f".saved.new-{os.getppid()}", f".other.new-{gone}", f".saved.new-{gone}.gguf", f".saved.mine-{gone}"}
    for name in (*kept, f".saved.new-{gone}", f".saved.old-{gone}"):
        (home / name).mkdir()
        (home / name / "config.json").write_text("{}")
    with monkeypatch.context() as failing:
        failing.setattr(weights, "save_file", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save_model(folder, make(UNTIED), make_tokenizer())
    assert {path.name for path in home.iterdir()} == kept | {"saved", f".saved.old-{gone}"}
    save_model(folder, make(UNTIED), make_tokenizer())
    assert {path.name for path in home.iterdir()} == kept | {"saved"}


# -------------------------------------------------------------------------------------------------------- resolving


def test_resolve_local_and_built_in(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(str(folder)) == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/saved") == folder
    monkeypatch.setattr(weights, "BUILTIN", tmp_path)
    (tmp_path / "no-checkpoint").mkdir()
    assert builtin_names() == ["saved"] and resolve("saved") == folder


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "/no/such", "../x", "a/b/c", "org/", "org/name@"])
def test_resolve_names_what_there_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args, **kwargs) -> None:
        raise AssertionError("this is no Hub id")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    (tmp_path / "builtin" / "thinkling-x").mkdir(parents=True)
    (tmp_path / "builtin" / "thinkling-x" / "config.json").touch()
    monkeypatch.setattr(weights, "BUILTIN", tmp_path / "builtin")
    said = "no such file or folder. Built-in models: thinkling-x; fetched by name: smollm2-135m; a Hub model is written"
    with pytest.raises(UserError, match=said):
        resolve(name)


@pytest.mark.parametrize("name", ["a" * 5000, "~no-such-user/model"])
def test_resolve_what_is_no_path(name: str) -> None:
    with pytest.raises(UserError, match="no path to a model"):
        resolve(name)


def test_resolve_a_file(folder: Path) -> None:
    with pytest.raises(UserError, match=r"a file; pass a .gguf file, or the folder"):
        resolve(str(folder / "config.json"))


def test_resolve_asks_the_hub_for_safe_files_at_a_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        assert not any(pattern.endswith((".bin", ".pth", ".pt", ".py", "*")) for pattern in allow_patterns)
        return "/cache"

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve("Qwen/Qwen3-0.6B") == resolve("Qwen/Qwen3-0.6B@c1899de") == Path("/cache")
    assert asked == [("Qwen/Qwen3-0.6B", None), ("Qwen/Qwen3-0.6B", "c1899de")]


def test_resolve_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **kwargs) -> None:
        raise ConnectionError("name resolution failed\nmore lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError) as error:
        resolve("org/name")
    assert str(error.value) == (
        "org/name: no such folder here, and the Hub did not give it (name resolution failed). Check the name and the "
        "connection, or pass a local folder"
    )
