"""GGUF files: written by the format's own package, read here; every way to lie in one is a line, and fast."""

import json
import random
import struct
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import gguf
import numpy as np
import pytest
import tokenizers
import torch
from parity import make
from test_families import each_family
from test_tokenizer import make as tokenizer_of

from thinkling import cli
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.config import FAMILIES, ModelConfig, RopeScaling
from thinkling.model.gguf_file import FAMILY_OF, read_gguf
from thinkling.model.gguf_network import halves_first, llama3_divisors
from thinkling.model.stored import config_at
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model, resolve, save_model

TINY = ModelConfig(
    vocab_size=608, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=32, max_position_embeddings=256, rope_theta=10_000.0, rms_norm_eps=1e-5,
    tie_word_embeddings=False, model_type="llama",
)  # fmt: skip
ARCH_OF = {family: arch for arch, family in FAMILY_OF.items()}
OURS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
}  # fmt: skip


def config_of(kind: str) -> ModelConfig:
    more = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32} if FAMILIES[kind].experts else {}
    return replace(TINY, model_type=kind, **more)


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """What llama.cpp's converter does to queries and keys of Llama."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def tensors_of(model: Transformer) -> dict[str, torch.Tensor]:
    """By GGUF's names, as llama.cpp's converter would write them."""
    config, found = model.config, {}
    stacks: dict[str, list[torch.Tensor]] = {}
    for name, weight in model.named_parameters():
        parts, leaf = name.removeprefix("model.").split("."), name.split(".")[-1]
        inner = ".".join(parts[2:-1])
        if parts[0] != "layers":
            top = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[parts[0]]
            found[f"{top}.{leaf}"] = weight
        elif ".experts." in inner:
            part = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"}[parts[-2]]
            stacks.setdefault(f"blk.{parts[1]}.{part}.weight", []).append(weight)
        else:
            if config.model_type == "llama" and inner in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = config.num_attention_heads if "q_proj" in inner else config.num_key_value_heads
                weight = permuted(weight, heads)
            found[f"blk.{parts[1]}.{OURS[inner]}.{leaf}"] = weight
    return found | {name: torch.stack(parts) for name, parts in stacks.items()}


def write(
    path: Path, model: Transformer, kind: str = "F32", pre: str = "qwen2", changes: dict | None = None
) -> dict[str, torch.Tensor]:
    """The model as a GGUF file, its matrices quantised; returns what the quantised tensors stand for."""
    config, tokenizer = model.config, tokenizer_of("own")
    arch = ARCH_OF[config.model_type]
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if config.num_experts:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    vocab = json.loads(tokenizer.backend.to_str())["model"]["vocab"]
    names = sorted(vocab, key=vocab.get)
    names += [f"[PAD{i}]" for i in range(len(names), config.vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    special = {token["content"]: token["special"] for token in json.loads(tokenizer.backend.to_str())["added_tokens"]}
    writer.add_token_types([{True: 3, False: 4}.get(special.get(name), 1) for name in names])
    merges = json.loads(tokenizer.backend.to_str())["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.stop_ids[0])
    writer.add_bos_token_id(tokenizer.stop_ids[1])
    writer.add_chat_template("{{ messages[0].content }}<|im_end|>")
    for key, value in (changes or {}).items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, bool: writer.add_bool,
               list: writer.add_array}  # fmt: skip
        add[type(value)](key, value)
    found = {}
    for name, weight in tensors_of(model).items():
        array = weight.detach().numpy()
        wanted = gguf.GGMLQuantizationType[kind if array.ndim > 1 else "F32"]
        raw = gguf.quantize(array, wanted) if wanted.name != "F32" else array
        found[name] = torch.from_numpy(np.array(gguf.dequantize(raw, wanted), np.float32))
        writer.add_tensor(name, raw, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found


@each_family
def test_a_model_comes_back_from_gguf(kind: str, tmp_path: Path) -> None:
    """The rows of Llama's queries and keys too, which GGUF has in another order."""
    if kind not in ARCH_OF:
        pytest.skip("GGUF calls it llama")
    model = make(config_of(kind), 0)
    write(tmp_path / "m.gguf", model)
    again = load_model(tmp_path / "m.gguf")
    assert again.config == replace(model.config, norm_topk_prob=True) == config_at(tmp_path / "m.gguf")
    for (name, one), (other, two) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert name == other and torch.equal(one, two), name


def test_halves_first_by_hand() -> None:
    """One head of width 6: pairs (0,1) (2,3) (4,5) of GGUF are rows (0,3) (1,4) (2,5) of a checkpoint."""
    assert halves_first(torch.arange(6)[:, None], 1)[:, 0].tolist() == [0, 2, 4, 1, 3, 5]
    assert halves_first(torch.arange(8), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_quantised_weights_are_what_the_package_says(kind: str, tmp_path: Path) -> None:
    model = make(TINY, 0)
    meant = write(tmp_path / "m.gguf", model, kind)
    again = load_model(tmp_path / "m.gguf")
    found = tensors_of(again)
    assert set(found) == set(meant)
    for name, weight in found.items():
        torch.testing.assert_close(weight, meant[name], atol=0, rtol=0)
    assert (again.lm_head.weight - model.lm_head.weight).abs().max() > 0


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"])
def test_k_quants_are_read_block_by_block(kind: str, tmp_path: Path) -> None:
    """The package has no quantiser for them, so the blocks are random bytes with small scales."""
    model = make(replace(TINY, hidden_size=256, intermediate_size=256), 0)
    wanted = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[wanted]
    writer, chance = gguf.GGUFWriter(tmp_path / "m.gguf", "llama"), np.random.default_rng(0)
    raw = chance.integers(0, 100, (256, 256 // block * size), dtype=np.uint8)  # no float16 of these is infinite
    writer.add_tensor("blk.0.ffn_up.weight", raw, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    from thinkling.model.gguf_network import stored_tensors

    shape, read = stored_tensors(read_gguf(tmp_path / "m.gguf"), model.config)["model.layers.0.mlp.up_proj.weight"]
    assert shape == (256, 256)
    torch.testing.assert_close(read(), torch.from_numpy(gguf.dequantize(raw, wanted)), atol=0, rtol=0)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3s_scaling_is_read_from_its_divisors(factor: float, tmp_path: Path) -> None:
    config = replace(TINY, rope_scaling=RopeScaling("llama3", factor, 1.0, 4.0, 8192), max_position_embeddings=9000)
    model = make(config, 0)
    divisors = llama3_divisors(config.rope_scaling, config.rope_theta, 16)
    own, tensors_of_model = tmp_path / "m.gguf", tensors_of
    globals()["tensors_of"] = lambda network: tensors_of_model(network) | {"rope_freqs.weight": divisors}
    try:
        write(own, model)
        assert config_at(own) == config and torch.equal(load_model(own).lm_head.weight, model.lm_head.weight)
        globals()["tensors_of"] = lambda network: tensors_of_model(network) | {"rope_freqs.weight": divisors.flip(0)}
        write(tmp_path / "other.gguf", model)
        with pytest.raises(UserError, match=r"rope_freqs.weight is not the RoPE scaling of Llama 3"):
            config_at(tmp_path / "other.gguf")
    finally:
        globals()["tensors_of"] = tensors_of_model


@pytest.mark.parametrize(
    "pre, words",
    [
        ("qwen2", "helloWorld| |1|2|3|4|5| don|'t"),
        ("deepseek-r1-qwen", "helloWorld| |1|2|3|4|5| don|'t"),
        ("llama-bpe", "helloWorld| |123|45| don|'t"),
        ("gpt-2", "helloWorld| 12345| don|'t"),
        ("smollm", "helloWorld| |1|2|3|4|5| don|'t"),
        ("tekken", "hello|World| |1|2|3|4|5| don|'t"),
    ],
)
def test_each_tokenizer_cuts_text_its_own_way(pre: str, words: str, tmp_path: Path) -> None:
    """By hand. It is what the merging of bytes cannot show in a vocabulary as small as ours."""
    write(tmp_path / "m.gguf", make(TINY, 0), pre=pre)
    cut = Tokenizer.load(tmp_path / "m.gguf").backend.pre_tokenizer.pre_tokenize_str("helloWorld 12345 don't")
    assert "|".join(word.replace("Ġ", " ") for word, _ in cut) == words


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "gpt-2", "smollm", "tekken"])
def test_the_tokenizer_comes_with_the_file(pre: str, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", make(TINY, 0), pre=pre)
    tokenizer = Tokenizer.load(tmp_path / "m.gguf")
    theirs = tokenizer_of("own")
    assert set(theirs.stop_ids) == set(tokenizer.stop_ids)
    for text in ("The quick brown fox asks: what is 12 + 34?", "日本語 🙂 é ∑", "a  b\n\nc<|im_end|>", "x1234567"):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text and not tokenizer.special_ids & set(tokens)
        if pre == "qwen2":
            assert tokens == theirs.encode(text)
        if pre == "smollm":
            digits = [tokenizer.decode([token]) for token in tokenizer.encode("1234")]
            assert digits == list("1234")
    assert tokenizer.first_ids == ((theirs.stop_ids[1],) if pre == "llama-bpe" else ())
    assert tokenizer.decode(tokenizer.encode_chat([{"role": "user", "content": "hi"}])) == "hi<|im_end|>"


@pytest.mark.parametrize("pre, whole", [("llama-bpe", True), ("tekken", True), ("qwen2", False), ("smollm", False)])
def test_a_word_that_is_a_token_stays_one_where_the_tokenizer_says_so(pre: str, whole: bool, tmp_path: Path) -> None:
    """Whatever the merges say: here only the first is left, which alone makes no word of three letters."""
    stored = json.loads(tokenizer_of("own").backend.to_str())["model"]
    first = stored["merges"][0] if isinstance(stored["merges"][0], str) else " ".join(stored["merges"][0])
    word = next(
        name for name in stored["vocab"] if name.isascii() and name.isalpha() and name.islower() and len(name) > 2
    )
    write(tmp_path / "m.gguf", make(TINY, 0), pre=pre, changes={"tokenizer.ggml.merges": [first]})
    assert (len(Tokenizer.load(tmp_path / "m.gguf").encode(word)) == 1) == whole


def test_a_first_token_stands_before_text_and_not_twice_in_a_chat(tmp_path: Path) -> None:
    model = make(TINY, 0)
    write(tmp_path / "m.gguf", model, pre="llama-bpe", changes={"tokenizer.ggml.add_bos_token": True})
    loaded = LanguageModel.load(str(tmp_path / "m.gguf"), max_rows=2, max_length=64)
    first = loaded.tokenizer.first_ids
    assert len(first) == 1
    assert loaded.text_prompt("hi") == [*first, *loaded.tokenizer.encode("hi")]
    assert first[0] not in loaded.chat_prompt([{"role": "user", "content": "hi"}], False)
    assert loaded.complete_all(["hi"], Sampling(0.0, max_tokens=3))[0].prompt_tokens[: len(first)] == first
    theirs = tokenizers.Tokenizer.from_str(loaded.tokenizer.backend.to_str())
    assert theirs.encode("hi").ids == loaded.text_prompt("hi")


def test_saved_again_as_safetensors(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", make(TINY, 0), "Q8_0")
    model, tokenizer = load_model(tmp_path / "m.gguf"), Tokenizer.load(tmp_path / "m.gguf")
    save_model(tmp_path / "folder", model, tokenizer)
    again = load_model(tmp_path / "folder")
    assert again.config == model.config and torch.equal(again.lm_head.weight, model.lm_head.weight)
    kept = Tokenizer.load(tmp_path / "folder")
    assert kept.encode_chat([{"role": "user", "content": "hi"}]) == tokenizer.encode_chat(
        [{"role": "user", "content": "hi"}]
    )


# ------------------------------------------------------------------------------------------------------- hostile files


def header(num_tensors: int, *keys: bytes, tensors: bytes = b"", version: int = 3) -> bytes:
    arch = key("general.architecture", 8, text("llama"))
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, len(keys) + 1) + arch + b"".join(keys) + tensors


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, dims: tuple[int, ...], kind: int = 0, start: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, start)


array = partial(struct.pack, "<IQ")
HUGE = 2**60


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "cannot be read"),
        (b"GGU", "cut off, or not GGUF"),
        (b"PK\x03\x04" * 10, "not a GGUF file"),
        (header(0, version=1), "GGUF of version 1"),
        (header(0)[:30], "cut off, or not GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), f"{HUGE:,} tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), f"{HUGE:,} keys"),
        (header(0, text("a")[:8]), "cut off"),
        (header(0, struct.pack("<Q", HUGE)), f"something of {HUGE:,} bytes"),
        (header(0, key("a", 9, array(4, HUGE))), f"{HUGE:,} values in one array"),
        (header(0, key("a", 9, array(4, 9_000_000))), "something of 36,000,000 bytes"),
        (header(0, key("a", 9, array(8, 9_000_000))), "cut off"),
        (header(0, key("a", 9, array(9, 1) * 50)), "an array of arrays"),
        (header(0, key("a", 77, b"")), "a value of the unknown type 77"),
        (header(0, key("a", 8, struct.pack("<Q", 2) + b"\xff\xfe")), "is not UTF-8"),
        (header(0, key("general.alignment", 4, struct.pack("<I", 0))), "general.alignment is 0"),
        (header(1, tensors=tensor("a", ())), "has 0 dimensions"),
        (header(1, tensors=tensor("a", (1,) * 5)), "has 5 dimensions"),
        (header(1, tensors=tensor("a", (HUGE,))), f"{HUGE:,} rows"),
        (header(1, tensors=tensor("a", (2**31, 2**31, 2**31, 2**31))), "a ends beyond the file"),
        (header(1, tensors=tensor("a", (32,), start=HUGE)), "a ends beyond the file"),
        (header(1, tensors=tensor("a", (31,), kind=8)), "rows of 31, no multiple of 32"),
        (header(1, tensors=tensor("a", (256,), kind=16)), "is stored as IQ2_XXS; thinkling reads F32, F16"),
        (header(1, tensors=tensor("a", (32,), kind=999)), "is stored as 999"),
        (header(2, tensors=tensor("a", (1,)) * 2) + bytes(99), "two tensors of one name"),
        (header(0).replace(b"llama", b"gemma"), "general.architecture is 'gemma'; thinkling reads llama, qwen2"),
        (header(0), "the key 'vocab_size' is missing"),
    ],
    ids=range(27),
)  # fmt: skip
def test_what_lies_is_one_line_and_fast(content: bytes, said: str, tmp_path: Path) -> None:
    """The package's own reader would go on for years where an array says that it has 2^60 numbers."""
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    started = time.perf_counter()
    with pytest.raises(UserError) as error:
        load_model(path)
    assert time.perf_counter() - started < 2
    assert said in str(error.value) and str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model is 'llama'"),
        ({"tokenizer.ggml.pre": "viking"}, "tokenizer.ggml.pre is 'viking'; thinkling knows qwen2"),
        ({"llama.attention.sliding_window": 64}, "attention.sliding_window is 64"),
        ({"llama.rope.dimension_count": 16}, "rope.dimension_count is 16, and the heads are 32 wide"),
        ({"llama.expert_count": 8}, "expert_count is 8"),
        ({"llama.rope.scaling.type": "longrope"}, "rope_type 'longrope' is not supported"),
        ({"llama.block_count": 900}, "num_hidden_layers in config.json is 900, but the weights hold 2"),
        ({"llama.attention.head_count": 0}, "num_attention_heads must be a whole number from 1"),
    ],
)
def test_what_thinkling_has_not_is_named(changes: dict, said: str, tmp_path: Path, monkeypatch) -> None:
    add = gguf.GGUFWriter.add_key_value

    def changed(self: gguf.GGUFWriter, name: str, value: object, *more: object, **named: object) -> None:
        add(self, name, changes.get(name, value), *more, **named)

    model = make(TINY, 0)
    monkeypatch.setattr(gguf.GGUFWriter, "add_key_value", changed)
    own = dict.fromkeys(
        ("tokenizer.ggml.model", "tokenizer.ggml.pre", "llama.block_count", "llama.attention.head_count")
    )
    write(tmp_path / "m.gguf", model, changes={name: value for name, value in changes.items() if name not in own})
    with pytest.raises(UserError) as error:
        load_model(tmp_path / "m.gguf")
        Tokenizer.load(tmp_path / "m.gguf")
    assert said in str(error.value)


@pytest.mark.long
def test_a_file_with_wrong_bytes_is_an_error_or_a_model(tmp_path: Path) -> None:
    """60 files with a few bytes changed in the header, or cut off: a UserError, or it loads; nothing else."""
    write(tmp_path / "m.gguf", make(TINY, 0), "Q8_0")
    whole, chance, refused = (tmp_path / "m.gguf").read_bytes(), random.Random(0), 0
    first = whole.index(b"tokenizer.ggml.token_type")
    for number in range(60):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 2, 5))):
            content[chance.randrange(first if number % 2 else len(whole) // 8)] = chance.randrange(256)
        if number % 5 == 0:
            content = content[: chance.randrange(len(content))]
        (tmp_path / "bad.gguf").write_bytes(content)
        try:
            load_model(tmp_path / "bad.gguf")
            Tokenizer.load(tmp_path / "bad.gguf")
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 15


def test_a_gguf_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path / "m.gguf", make(TINY, 0))
    assert resolve(str(tmp_path / "m.gguf")) == tmp_path / "m.gguf"
    cli.main(["generate", "hello", "--model", str(tmp_path / "m.gguf"), "--max-tokens", "3", "--max-length", "64"])
    assert capsys.readouterr().out
    (tmp_path / "t.jsonl").write_text("".join(f'{{"question": "{i}+1?", "reference": "2"}}\n' for i in range(4)))
    tiny = ["--model", str(tmp_path / "m.gguf"), "--tasks", str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "run")]
    cli.main(["grpo", *tiny, "--plan"])
    assert "m.gguf,float32" in "".join(capsys.readouterr().out.split())  # wrapped where the path is long
    cli.main(["grpo", *tiny, "--steps", "1", "--prompts-per-step", "2", "--rollouts-per-prompt", "2", "--max-tokens",
              "4", "--reward", "random", "--eval-every", "0", "--no-preflight", "--lora-rank", "2"])  # fmt: skip
    trained = load_model(resolve(str(tmp_path / "run")))
    before = dict(load_model(tmp_path / "m.gguf").named_parameters())
    changed = {name for name, weight in trained.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if ".layers." in name and before[name].ndim == 2}
    assert Tokenizer.load(resolve(str(tmp_path / "run"))).encode("hello") == tokenizer_of("own").encode("hello")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:-100])
    with pytest.raises(SystemExit) as end:
        cli.main(["generate", "hello", "--model", str(tmp_path / "cut.gguf")])
    assert end.value.code == 2 and "cut off: " in capsys.readouterr().err
