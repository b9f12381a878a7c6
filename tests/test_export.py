"""GGUF files that we write: what the format's own reader finds in them, and what ours makes of them again."""

import errno
import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from parity import make
from test_families import each_family
from test_gguf import ARCH_OF, TINY, config_of, tensors_of
from test_tokenizer import make as tokenizer_of
from tokenizers import Regex, pre_tokenizers

from thinkling import cli
from thinkling.commands import export
from thinkling.errors import UserError
from thinkling.model import gguf_writer
from thinkling.model.config import RopeScaling
from thinkling.model.gguf_tokenizer import SPLITS
from thinkling.model.gguf_vocabulary import cut_of, vocabulary
from thinkling.model.gguf_writer import write_gguf
from thinkling.model.modelfile import frame_of, modelfile
from thinkling.model.stored import config_at
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.weights import load_model, resolve, save_model
from thinkling.train.pretrain.corpus import documents

YARN = RopeScaling("yarn", 4.0, original_max_position_embeddings=64, attention_factor=0.1 * math.log(4.0) + 1)
ODD = ["It's Tom's 5th and he's got 'various' things: 'tis true, 'do 'sums 'last", "a\t5 \t 5\n 5\r\n 5 \n  5",
       "日本語 🙂 é ∑ 12", "½ ² 12½ x²", "  12  13   14", "$1,234.56 = 12%",
       "<think> 5</think> <|im_end|> 6"]  # fmt: skip


def keys_of(path: Path) -> dict[str, object]:
    """The metadata, by the format's own reader."""
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


# ------------------------------------------------------------------------------------------------------- the network


@each_family
@pytest.mark.parametrize("stored", ["F16", "Q8_0"])
def test_the_tensors_are_those_of_llama_cpps_converter(kind: str, stored: str, tmp_path: Path) -> None:
    """By name, order of rows and rounding; the converter's side is written in test_gguf.py."""
    model = make(config_of(kind), 0)
    config = replace(model.config, model_type="llama") if kind == "mistral" else model.config
    like = make(config, 0)
    write_gguf(tmp_path / "m.gguf", model, tokenizer_of("qwen"), stored, "m")
    reader, wanted = gguf.GGUFReader(tmp_path / "m.gguf"), tensors_of(like)
    assert {tensor.name for tensor in reader.tensors} == set(wanted)
    for tensor in reader.tensors:
        weight = wanted[tensor.name].detach().numpy()
        own = "F32" if weight.ndim == 1 or "ffn_gate_inp" in tensor.name else stored
        assert tensor.tensor_type.name == own, tensor.name
        raw = gguf.quantize(weight, gguf.GGMLQuantizationType[own])
        assert np.asarray(tensor.data).tobytes() == raw.tobytes(), tensor.name
    assert config_at(tmp_path / "m.gguf") == replace(config, norm_topk_prob=True)
    assert keys_of(tmp_path / "m.gguf")["general.architecture"] == ARCH_OF[config.model_type]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "scaling", [None, RopeScaling("linear", 4.0), RopeScaling("llama3", 8.0, 1.0, 4.0, 8192), YARN], ids=str
)
def test_rope_and_a_tied_head_come_back(scaling: RopeScaling | None, tied: bool, tmp_path: Path) -> None:
    model = make(replace(TINY, rope_scaling=scaling, tie_word_embeddings=tied), 0)
    write_gguf(tmp_path / "m.gguf", model, tokenizer_of("qwen"), "F16", "m")
    assert config_at(tmp_path / "m.gguf") == model.config
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        mine, again = model(tokens), load_model(tmp_path / "m.gguf")(tokens)
    torch.testing.assert_close(again, mine, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(rope_scaling=replace(YARN, attention_factor=1.0)), "other constants than YaRN's own"),
        (dict(rope_scaling=RopeScaling("llama3", 8.0, 1.0, 4.0, 4096)), "is not that of Llama 3"),
        (dict(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
              norm_topk_prob=False), "norm_topk_prob is false"),
        (dict(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
              mlp_only_layers=(0,)), "some layers have no experts"),
    ],
)  # fmt: skip
def test_what_llama_cpp_computes_otherwise_is_refused(changes: dict, said: str, tmp_path: Path) -> None:
    model = make(replace(TINY, **changes), 0)
    with pytest.raises(UserError, match=said):
        write_gguf(tmp_path / "m.gguf", model, tokenizer_of("qwen"), "F16", "m")
    assert not list(tmp_path.iterdir())


def test_what_f16_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = make(TINY, 0)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 70_000
    with pytest.raises(UserError, match=r"blk\.1\.ffn_up\.weight holds 70000, and F16 .* 65,504"):
        write_gguf(tmp_path / "m.gguf", model, tokenizer_of("qwen"), "F16", "m")


# ----------------------------------------------------------------------------------------------------- the tokenizer


def test_the_vocabulary_by_hand() -> None:
    tokenizer = tokenizer_of("qwen")
    keys = vocabulary(tokenizer, 608)
    special = {name: tokenizer.special_id(name) for name in ("<|endoftext|>", "<|im_end|>", "<think>", "</think>")}
    kinds, names = keys["tokenizer.ggml.token_type"], keys["tokenizer.ggml.tokens"]
    assert [kinds[special[name]] for name in special] == [3, 3, 4, 4]  # control, and user-defined
    assert kinds[names.index("Ġis")] == 1 and kinds[-1] == 5 and names[-1] == "[PAD607]"
    assert (keys["tokenizer.ggml.model"], keys["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert keys["tokenizer.ggml.eos_token_id"] == tokenizer.stop_ids[0] and not keys["tokenizer.ggml.add_bos_token"]
    assert "tokenizer.ggml.eot_token_id" not in keys  # llama.cpp knows the other stop token by its name
    assert keys["tokenizer.chat_template"] == tokenizer.template and "<|im_start|>" in tokenizer.template


@pytest.mark.parametrize("name", ["thinkling-base"])
def test_digits_with_the_space_before_them(name: str, tmp_path: Path) -> None:
    """No name of llama.cpp's says how the built-in models cut. What stands in for it was compared with a real llama.cpp
    (bench/llama_cpp.py); here, that our reader makes the same tokens of it."""
    tokenizer = Tokenizer.load(resolve(name))
    model = make(replace(TINY, vocab_size=1536), 0)
    write_gguf(tmp_path / "m.gguf", model, tokenizer, "F16", "m")
    keys = keys_of(tmp_path / "m.gguf")
    five = keys["tokenizer.ggml.tokens"].index(" 5")
    assert keys["tokenizer.ggml.pre"] == "qwen2" and keys["tokenizer.ggml.token_type"][five] == 4
    assert not {"Ġ 5", "Ġ 0"} & set(keys["tokenizer.ggml.merges"])
    again = Tokenizer.load(tmp_path / "m.gguf")
    texts = ["".join(text for text, _ in document) for document in islice(documents("export"), 60)]
    for text in [*texts, *ODD]:
        tokens = tokenizer.encode(text)
        assert again.encode(text) == tokens, text
        assert again.decode(tokens) == text.encode().decode()
    assert set(again.stop_ids) == set(tokenizer.stop_ids) and again.special_ids == tokenizer.special_ids
    assert five in tokenizer.encode(" 5")


def test_a_cut_that_llama_cpp_has_no_name_for_is_refused() -> None:
    stored = json.loads(tokenizer_of("qwen").backend.to_str())
    backend = tokenizers.Tokenizer.from_str(json.dumps(stored))
    assert cut_of(stored) == ("qwen2", False)
    for regex in (SPLITS["qwen2"].replace(r"\p{N}", r"\p{N}{1,2}"), r"\S+|\s+"):
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(regex), "isolated")
        with pytest.raises(UserError, match=r"in a way that llama.cpp has no name for \(tokenizer.ggml.pre\)"):
            cut_of(json.loads(backend.to_str()))
    with pytest.raises(UserError, match="no name for"):
        cut_of(stored | {"model": stored["model"] | {"ignore_merges": True}})
    with pytest.raises(UserError, match=r"changes text before it cuts it \(Lowercase\)"):
        cut_of(stored | {"normalizer": {"type": "Lowercase"}})


# ----------------------------------------------------------------------------------------------------- the Modelfile

CHATML = """FROM ./m.gguf
TEMPLATE \"\"\"{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system
{{ .Content }}<|im_end|>
{{ else if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
\"\"\"
PARAMETER stop "<|im_end|>"
PARAMETER stop "<|endoftext|>"
PARAMETER temperature 0.6
PARAMETER repeat_penalty 1.1
PARAMETER num_ctx 256
"""


def templated(template: str | None) -> Tokenizer:
    tokenizer = tokenizer_of("qwen")
    kept = {} if template is None else {"tokenizer_config.json": {"chat_template": template}}
    ends = [tokenizer.special_id(name) for name in ("<|im_end|>", "<|endoftext|>")]
    return Tokenizer(tokenizer.backend, tuple(ends), kept)


def test_a_modelfile_by_hand() -> None:
    sampling = {"temperature": 0.6, "repetition_penalty": 1.1}
    assert modelfile("m.gguf", templated(None), 256, sampling) == CHATML


def test_a_system_message_that_the_template_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ("{% for m in messages %}{% if loop.first and m.role != 'system' %}[Be kind.]\n{% endif %}"
            "{{ '[' + m.role + ']' + m.content + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}")  # fmt: skip
    frame = frame_of(templated(told))
    assert (frame.head, frame.behind, frame.reply) == ("[Be kind.]\n", "\n", "[assistant]")
    text = modelfile("m.gguf", templated(told), 8, {})
    assert '{{ if ne (index .Messages 0).Role "system" }}[Be kind.]\n{{ end }}{{ range' in text
    assert "PARAMETER temperature 0\n" in text
    numbered = told.replace("m.content", "loop.index|string + m.content")  # no words around messages
    assert frame_of(templated(numbered)) is None and "# No TEMPLATE" in modelfile("m", templated(numbered), 8, {})


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", make(replace(TINY, vocab_size=608), 0), tokenizer_of("qwen"))
    return tmp_path / "model"


def test_the_command_says_what_came_out(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "new" / "m.gguf"
    out.parent.mkdir()
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (out.parent / f".m.new-{killed.pid}.gguf").write_bytes(b"what an export that was killed has left")
    cli.main(["export", "--model", str(folder), "--gguf", str(out), "--kind", "Q8_0"])
    said = capsys.readouterr().out
    assert "logits, read back: they differ by at most 0." in said and "200 of 200 texts get the same" in said
    assert sorted(path.name for path in out.parent.iterdir()) == ["Modelfile", "m.gguf"]
    assert (out.parent / "Modelfile").read_text().startswith("FROM ./m.gguf\nTEMPLATE")
    assert keys_of(out)["general.file_type"] == 7 and keys_of(out)["general.name"] == "model"
    for again in (out, out.with_name("other.gguf")):  # the file is there; the Modelfile is
        with pytest.raises(SystemExit) as end:
            cli.main(["export", "--model", str(folder), "--gguf", str(again)])
        assert end.value.code == 2 and "already there, and it is not replaced" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["export", "--model", str(folder), "--gguf", str(tmp_path / "m.bin")])
    assert "end its name in .gguf" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_leaves_nothing_behind(
    number: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    def full(self: gguf.GGUFWriter, tensor: np.ndarray, *more: object) -> None:
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(SystemExit) as end:
        cli.main(["export", "--model", str(folder), "--gguf", str(tmp_path / "out" / "m.gguf")])
    line = capsys.readouterr().err
    assert end.value.code == 2 and "m.gguf: as the system says it" in line and line.count("\n") == 1
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_says_another_model_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the rows of Llama's queries left in a checkpoint's order, the file would look well and be nonsense."""
    monkeypatch.setattr(gguf_writer, "pairs_together", lambda weight, heads: weight)
    with pytest.raises(UserError, match=r"read back from GGUF, its logits differ by .* nothing was written"):
        export.main(export.Export(model=str(folder), gguf=tmp_path / "m.gguf"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
