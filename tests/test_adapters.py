"""Adapters in PEFT's layout, exchanged with peft both ways; and FP8 checkpoints, whose blocks have scales."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from parity import loaded_by_transformers, make
from safetensors.torch import load_file, save_file
from test_families import COMPLETIONS, PROMPTS, config_of, trained

from thinkling import cli
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import score_packed
from thinkling.model.adapter import Adapter, merge_adapter, read_adapter, write_adapter
from thinkling.model.stored import dequantized
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model, resolve, save_model
from thinkling.train.checkpoint import save_model_state
from thinkling.train.config import OptimizerConfig
from thinkling.train.lora import adapter_of, add_adapters, keep_adapter, merged
from thinkling.train.optim import Optimizer

TOKENS = torch.tensor([PROMPTS[0] * 3])
KINDS = pytest.mark.parametrize("kind", ["qwen3", "qwen2", "llama", "qwen3_moe"])
STACKS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]  # in which transformers keeps experts


def with_adapters(kind: str) -> Transformer:
    network = make(config_of(kind), 0)
    add_adapters(network, 4, 6.0, seed=0)
    trained(network, Optimizer(network, OptimizerConfig(lr=1e-2)), 2)
    return network


@pytest.mark.long
@KINDS
def test_peft_loads_what_was_trained(kind: str, tmp_path: Path) -> None:
    from peft import PeftModel

    network = with_adapters(kind)
    tokenizer = Tokenizer.load(resolve("thinkling-base"))
    model = LanguageModel("base", network, tokenizer, max_length=64)
    save_model_state(tmp_path / "c", model, Optimizer(network, OptimizerConfig()))
    theirs = PeftModel.from_pretrained(loaded_by_transformers(make(config_of(kind), 0)), tmp_path / "c" / "adapter")
    with torch.no_grad():
        wanted = network.logits(network(TOKENS))
        assert (theirs(TOKENS).logits - wanted).abs().max() < 1e-4
        base = make(config_of(kind), 0)
        assert (base.logits(base(TOKENS)) - wanted).abs().max() > 1e-2


@pytest.mark.long
@KINDS
def test_what_peft_saves_is_added_to_the_weights_or_kept(kind: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    base = make(config_of(kind), 0)
    matrices = ["q_proj", "v_proj", "up_proj"]
    how = {"r": 3, "lora_alpha": 5, "use_rslora": kind in ("llama", "qwen3_moe"), "target_modules": matrices}
    if kind == "qwen3_moe":
        how |= {"target_modules": ["q_proj"], "target_parameters": STACKS}
    theirs = get_peft_model(loaded_by_transformers(base), LoraConfig(**how))
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3, generator=chance)
    theirs.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = theirs.eval()(TOKENS).logits
        adapter = read_adapter(tmp_path, base)
        kept = make(config_of(kind), 0)
        keep_adapter(kept, adapter)
        assert (kept.logits(kept(TOKENS)) - wanted).abs().max() < 1e-4
        merge_adapter(base, adapter)
        assert (base.logits(base(TOKENS)) - wanted).abs().max() < 1e-4
    score_packed(kept, PROMPTS, COMPLETIONS, 1.0)[0].sum().backward()
    assert {name for name, p in kept.named_parameters() if p.grad is not None} == {
        name for name in dict(kept.named_parameters()) if ".lora_" in name
    }


def test_experts_come_back_from_peft_with_the_ranks_it_gives_them(tmp_path: Path) -> None:
    """Loaded, peft keeps gate and up in one stack of twice the rank, and says so in patterns when it saves it again."""
    from peft import PeftModel

    network = with_adapters("qwen3_moe")
    write_adapter(tmp_path / "ours", adapter_of(network), "base")
    theirs = PeftModel.from_pretrained(loaded_by_transformers(make(config_of("qwen3_moe"), 0)), tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())["rank_pattern"]
    adapter = read_adapter(tmp_path / "theirs", network)
    assert {len(a) for name, (a, _) in adapter.layers.items() if "gate_proj" in name} == {8}
    write_adapter(tmp_path / "again", adapter, "base")
    for read in (adapter, read_adapter(tmp_path / "again", network)):
        base = make(config_of("qwen3_moe"), 0)
        merge_adapter(base, read)
        for name, weight in merged(network).items():
            torch.testing.assert_close(base.get_parameter(name), weight, atol=1e-5, rtol=0)


def test_an_alpha_of_some_matrices_by_the_end_of_their_names(tmp_path: Path) -> None:
    network = with_adapters("llama")  # rank 4, alpha 6
    write_adapter(tmp_path, adapter_of(network), "base")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    own = {"alpha_pattern": {r".*\.q_proj": 12, "0.self_attn.v_proj": 3.0}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | own))
    found = read_adapter(tmp_path, network)
    for name, (_, b) in adapter_of(network).layers.items():
        times = 2.0 if name.endswith("q_proj") else 0.5 if name.endswith("layers.0.self_attn.v_proj") else 1.0
        assert torch.equal(found.scale * found.layers[name][1], 1.5 * times * b), name


def test_an_adapter_comes_back_and_by_the_command_line(
    tiny_tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    network, tokenizer = with_adapters("qwen2"), tiny_tokenizer
    write_adapter(tmp_path / "adapter", adapter_of(network), "base")
    save_model(tmp_path / "base", make(config_of("qwen2"), 0), tokenizer)
    model = LanguageModel.load(str(tmp_path / "base"), adapter=tmp_path / "adapter", max_length=64)
    for name, weight in merged(network).items():
        torch.testing.assert_close(model.network.get_parameter(name), weight, atol=1e-6, rtol=0)
    cli.main(["generate", "a", "--model", str(tmp_path / "base"), "--adapter", str(tmp_path / "adapter"),
              "--max-tokens", "2", "--max-length", "64"])  # fmt: skip
    with pytest.raises(SystemExit) as end:
        cli.main(["generate", "a", "--model", str(tmp_path / "base"), "--adapter", str(tmp_path)])
    assert end.value.code == 2 and "no adapter_config.json in this folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"peft_type": "PREFIX_TUNING"}, "not a LoRA adapter"),
        ({"r": 0}, "not a LoRA adapter"),
        ({"use_dora": True}, "use_dora is set"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save is set"),
        ({"rank_pattern": {"q_proj": 2}}, "q_proj.lora_A has shape (4, 48); this network and r ask for (2, 48)"),
        ({"rank_pattern": {"(q|k)_proj": 2}}, "rank_pattern has '(q|k)_proj'; thinkling reads plain names there"),
        ({"alpha_pattern": {"q_proj": "much"}}, "alpha_pattern must hold a number above 0 for each name"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"r": 3}, "this network and r ask for (3, 40): it belongs to another model"),
    ],
)
def test_adapters_that_do_not_fit(changes: dict, said: str, tmp_path: Path) -> None:
    network = with_adapters("llama")
    write_adapter(tmp_path, adapter_of(network), "base")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UserError) as error:
        read_adapter(tmp_path, make(config_of("llama"), 0))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_adapters_of_other_matrices(tmp_path: Path) -> None:
    base, a, b = make(config_of("llama"), 0), torch.ones(2, 48), torch.ones(1024, 2)
    write_adapter(tmp_path, Adapter(1.0, {"lm_head": (a, b)}), "base")
    with pytest.raises(UserError, match="belongs to no matrix of this network's layers"):
        read_adapter(tmp_path, base)
    name = "model.layers.0.self_attn.o_proj"
    save_file({f"base_model.model.{name}.lora_A.weight": torch.ones(2, base.get_submodule(name).in_features)},
              tmp_path / "adapter_model.safetensors")  # fmt: skip
    with pytest.raises(UserError, match="has only one of lora_A and lora_B"):
        read_adapter(tmp_path, base)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="missing, truncated or not safetensors"):
        read_adapter(tmp_path, base)


# ------------------------------------------------------------------------------------------------------------------ FP8


def fp8(folder: Path, block: list[int]) -> dict[str, torch.Tensor]:
    """Make a checkpoint's layer matrices FP8 with block scales, as Qwen's are; returns what they stand for."""
    stored, meant = load_file(folder / "model.safetensors"), {}
    for name, weight in list(stored.items()):
        if ".layers." not in name or weight.ndim < 2:
            continue
        rows, columns = (range(0, size, step) for size, step in zip(weight.shape, block, strict=True))
        scale, codes = torch.zeros(len(rows), len(columns)), torch.zeros(weight.shape, dtype=torch.float8_e4m3fn)
        meant[name] = torch.zeros_like(weight)
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                part = (slice(r, r + block[0]), slice(c, c + block[1]))
                scale[i, j] = weight[part].abs().max() / 448
                codes[part] = (weight[part] / scale[i, j]).to(torch.float8_e4m3fn)
                meant[name][part] = codes[part].float() * scale[i, j]
        stored |= {name: codes, f"{name}_scale_inv": scale}
    save_file(stored, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    quantised = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": block}
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    return meant


@pytest.mark.parametrize("kind", ["qwen3", "qwen3_moe"])
def test_fp8_is_plain_numbers_once_loaded(kind: str, tmp_path: Path) -> None:
    model, tokenizer = make(replace(config_of(kind), hidden_size=80), 0), Tokenizer.load(resolve("thinkling-base"))
    save_model(tmp_path / "m", model, tokenizer)
    meant = fp8(tmp_path / "m", [32, 16])
    again = load_model(tmp_path / "m")
    for name, weight in again.named_parameters():
        assert torch.equal(weight, meant.get(name, model.get_parameter(name))), name
    save_model(tmp_path / "again", again, tokenizer)
    assert "quantization_config" not in json.loads((tmp_path / "again" / "config.json").read_text())


def test_blocks_by_hand() -> None:
    """3 by 3 in blocks of 2: the scales 1, 10, 100, 1000 of the corners; the last blocks are cut."""
    found = dequantized(torch.ones(3, 3), torch.tensor([[1.0, 10.0], [100.0, 1000.0]]), (2, 2))
    assert found.tolist() == [[1, 1, 10], [1, 1, 10], [100, 100, 1000]]


def test_fp8_that_does_not_fit(tmp_path: Path) -> None:
    save_model(tmp_path / "m", make(config_of("qwen3"), 0), Tokenizer.load(resolve("thinkling-base")))
    fp8(tmp_path / "m", [32, 16])
    config = json.loads((tmp_path / "m" / "config.json").read_text())

    def complaint(quantised: dict) -> str:
        (tmp_path / "m" / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
        with pytest.raises(UserError) as error:
            load_model(tmp_path / "m")
        return str(error.value)

    own = config["quantization_config"]
    assert "ask for" in complaint(own | {"weight_block_size": [16, 16]})
    for other in ({"quant_method": "gptq"}, own | {"weight_block_size": None}, own | {"weight_block_size": [0, 1]}):
        assert "the weights are quantised" in complaint(other)
    shutil.rmtree(tmp_path / "m")
