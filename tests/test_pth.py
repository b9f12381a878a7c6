"""The book's `.pth` files, written here by its names; and pickles that are no state dict."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_tokenizer import make as tokenizer_of
from torch import Tensor

from thinkling import cli
from thinkling.errors import UserError
from thinkling.model.config import SIZES
from thinkling.model.state_dict import network_of, read_pth
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model

CONFIG = replace(
    SIZES["Qwen3-0.6B"], vocab_size=700, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, tie_word_embeddings=False,
)  # fmt: skip


def network(tied: bool) -> Transformer:
    made = init_weights(Transformer(replace(CONFIG, tie_word_embeddings=tied)), 0)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("norm.weight"):
                weight += torch.rand(weight.shape)
    return made


def as_the_book_has_it(made: Transformer) -> dict[str, Tensor]:
    """A state dict of reasoning_from_scratch.qwen3.Qwen3Model with these weights: there the head is always one of its
    own, and gate, up and down are fc1, fc2 and fc3."""
    found = {"tok_emb.weight": made.model.embed_tokens.weight, "final_norm.scale": made.model.norm.weight,
             "out_head.weight": made.lm_head.weight}  # fmt: skip
    for i, layer in enumerate(made.model.layers):
        a, m, block = layer.self_attn, layer.mlp, f"trf_blocks.{i}."
        found |= {
            f"{block}att.W_query.weight": a.q_proj.weight, f"{block}att.W_key.weight": a.k_proj.weight,
            f"{block}att.W_value.weight": a.v_proj.weight, f"{block}att.out_proj.weight": a.o_proj.weight,
            f"{block}att.q_norm.scale": a.q_norm.weight, f"{block}att.k_norm.scale": a.k_norm.weight,
            f"{block}ff.fc1.weight": m.gate_proj.weight, f"{block}ff.fc2.weight": m.up_proj.weight,
            f"{block}ff.fc3.weight": m.down_proj.weight, f"{block}norm1.scale": layer.input_layernorm.weight,
            f"{block}norm2.scale": layer.post_attention_layernorm.weight,
        }  # fmt: skip
    return {name: weight.detach().clone() for name, weight in found.items()}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    torch.save(as_the_book_has_it(network(False)), tmp_path / "m.pth")
    return tmp_path / "m.pth"


@pytest.mark.parametrize(
    ("tied", "dtype", "compiled"), [(False, torch.float32, False), (True, torch.bfloat16, True)], ids=str
)
def test_a_round_trip(tied: bool, dtype: torch.dtype, compiled: bool, tmp_path: Path, capsys) -> None:
    made = network(tied).to(dtype)
    before = "_orig_mod." if compiled else ""
    torch.save({before + name: weight for name, weight in as_the_book_has_it(made).items()}, tmp_path / "m.pth")
    (tmp_path / "tokenizer-base.json").write_text(tokenizer_of("qwen").backend.to_str())
    cli.main(["convert", str(tmp_path / "m.pth"), "--out", str(tmp_path / "out"), "--tokenizer",
              str(tmp_path / "tokenizer-base.json")])  # fmt: skip
    assert str(dtype).split(".")[1] in capsys.readouterr().out
    again = load_model(tmp_path / "out", dtype=dtype)
    assert again.config == made.config  # rope_theta and all that the book's QWEN_CONFIG_06_B says
    for (name, one), (other, two) in zip(made.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and torch.equal(one, two), name
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert [tokenizer.decode([token]) for token in tokenizer.stop_ids] == ["<|endoftext|>", "<|im_end|>"]


class Evil:
    """What a pickle may ask for: here, that a file be made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("way", ["torch", "pickle", "inside"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(way: str, tmp_path: Path, capsys) -> None:
    proof, path = tmp_path / "proof", tmp_path / "m.pth"
    if way == "pickle":
        path.write_bytes(pickle.dumps(Evil(proof)))
    else:
        torch.save(Evil(proof) if way == "torch" else as_the_book_has_it(network(False)) | {"x": Evil(proof)}, path)
    with pytest.raises(SystemExit) as end:
        cli.main(["convert", str(path), "--out", str(tmp_path / "out"), "--tokenizer", "thinkling-base"])
    line = capsys.readouterr().err
    assert end.value.code == 2 and "refused: a state dict holds tensors and nothing else" in line
    assert line.count("\n") == 1 and not proof.exists() and not (tmp_path / "out").exists()
    Evil(proof).__reduce__()[0](proof)
    assert proof.exists()  # the pickle meant it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda own: own.pop("final_norm.scale"), "the key 'final_norm.scale' is missing"),
        (lambda own: own.pop("trf_blocks.1.ff.fc2.weight"), "the key 'trf_blocks.1.ff.fc2.weight' is missing"),
        (lambda own: own.pop("trf_blocks.0.att.q_norm.scale"), "the key 'trf_blocks.0.att.q_norm.scale' is missing"),
        (lambda own: own.update({"trf_blocks.0.att.W_qkv.weight": torch.ones(2)}),
         "the key 'trf_blocks.0.att.W_qkv.weight' has no place in the book's Qwen3 network"),
        (lambda own: own.update({"trf_blocks.1.norm1.scale": torch.ones(31)}),
         r"'trf_blocks.1.norm1.scale' has shape \(31,\); the others ask for \(32,\)"),
        (lambda own: own.update({"tok_emb.weight": torch.ones(7)}), r"'tok_emb.weight' has shape \(7,\)"),
        (lambda own: own.update({"tok_emb.weight": 3}), "'tok_emb.weight' is no tensor of weights but int"),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_does_not_fit_is_named(change, said: str, tmp_path: Path) -> None:
    stored = as_the_book_has_it(network(False))
    change(stored)
    torch.save(stored, tmp_path / "m.pth")
    with pytest.raises(UserError, match=said):
        network_of(tmp_path / "m.pth", 1e6, 64)


def test_files_that_are_something_else(book: Path, tmp_path: Path) -> None:
    whole = book.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("empty", b""), ("text", b"hello, world\n" * 9)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}: (not a file that torch.save wrote|refused)") as error:
            read_pth(tmp_path / name)
        assert "\n" not in str(error.value)
    torch.save([torch.ones(2)], tmp_path / "list")
    with pytest.raises(UserError, match="not a state dict, which is tensors by name"):
        read_pth(tmp_path / "list")
    with pytest.raises(UserError, match="no such file"):
        cli.run(["convert", str(tmp_path / "none.pth"), "--out", str(tmp_path / "o"), "--tokenizer", "thinkling-base"])
    with pytest.raises(UserError, match=r"thinkling-base: has 1,536 tokens, and .* has rows for 700"):
        cli.run(["convert", str(book), "--out", str(tmp_path / "o"), "--tokenizer", "thinkling-base"])
