"""A GGUF file: its metadata, its network's config and its tensors, dequantized one at a time.

The header is read here, since the `gguf` package's own reader trusts it: a length that is a lie makes it loop for
years. Every length is compared with the file's size before it is believed. Block formats are the package's: Q8_0, Q4,
Q5 and the K-quants. Left out: formats of 1 to 3 bits with tables (IQ), writing.
"""

import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig, RopeScaling
from thinkling.model.config_file import config_of_object

if TYPE_CHECKING:
    pass

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
FAMILY_OF = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3moe": "qwen3_moe"}
MOST = 100_000  # of keys, and of tensors
LONGEST_ARRAY = 10_000_000
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj", "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
}  # fmt: skip
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ROPE_FACTORS = "rope_freqs.weight"  # by what Llama 3's frequencies are divided


@dataclass(frozen=True)
class GgufTensor:
    """shape: as torch has it, rows first. start: its first byte in the file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True)
class Gguf:
    path: Path
    metadata: dict[str, object]
    tensors: dict[str, GgufTensor]

    def of(self, key: str, default: object = None) -> object:
        """A key of the architecture's own, such as llama.block_count."""
        found = self.metadata.get(f"{self.metadata['general.architecture']}.{key}", default)
        return round_trip(found) if isinstance(found, float) else found


def round_trip(value: float) -> float:
    """The shortest decimal that the same float32 stands for: 1e-5, not 9.999999747e-6."""
    if not abs(value) < 3e38:  # no float32, or none that is finite
        return value
    shortest = (float(f"{value:.{digits}g}") for digits in range(1, 9))
    return next((short for short in shortest if struct.pack("<f", short) == struct.pack("<f", value)), value)


class _Header:
    """The file's bytes from the start on. Whatever would lie beyond its end is an error that says so."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.place = path, data, 0

    def take(self, num_bytes: int) -> bytes:
        if num_bytes > len(self.data) - self.place:
            raise UserError(f"{self.path}: cut off, or not GGUF: something of {num_bytes:,} bytes begins at byte "
                            f"{self.place:,} of {len(self.data):,}; download it again")  # fmt: skip
        self.place += num_bytes
        return self.data[self.place - num_bytes : self.place]

    def number(self, code: str) -> int | float | bool:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self, most: int, what: str) -> int:
        found = self.number("Q")
        if found > most:
            raise UserError(f"{self.path}: not a GGUF file that can be meant: {found:,} {what}")
        return found

    def text(self) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise UserError(f"{self.path}: the text before byte {self.place:,} is not UTF-8") from None

    def value(self, kind: int) -> object:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise UserError(f"{self.path}: a value of the unknown type {kind} at byte {self.place:,}")
        inner, num = self.number("I"), self.count(LONGEST_ARRAY, "values in one array")
        if inner in _SCALARS:
            code = f"<{num}{_SCALARS[inner]}"
            return list(struct.unpack(code, self.take(struct.calcsize(code))))
        if inner != _STRING:
            raise UserError(f"{self.path}: an array of arrays at byte {self.place:,}, which no model needs")
        return [self.text() for _ in range(num)]


def read_gguf(path: Path) -> Gguf:
    """Everything but the weights. Raises UserError for a file that is cut off, or not of a kind that is known."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(path, _Header(path, data))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        why = "it is empty" if isinstance(error, ValueError) else error
        raise UserError(f"{path}: cannot be read ({why})") from None


def _parse(path: Path, header: _Header) -> Gguf:
    if header.take(4) != b"GGUF":
        raise UserError(f"{path}: not a GGUF file")
    if (version := header.number("I")) not in (2, 3):
        raise UserError(f"{path}: GGUF of version {version}; thinkling reads 2 and 3")
    num_tensors, num_keys = header.count(MOST, "tensors"), header.count(MOST, "keys")
    metadata: dict[str, object] = {}
    for _ in range(num_keys):
        key = header.text()
        metadata[key] = header.value(header.number("I"))
    if metadata.get("general.architecture") not in FAMILY_OF:
        raise UserError(f"{path}: general.architecture is {repr(metadata.get('general.architecture'))[:40]}; thinkling "
                        f"reads {', '.join(FAMILY_OF)}")  # fmt: skip
    found = [_tensor(path, header) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20:
        raise UserError(f"{path}: general.alignment is {repr(alignment)[:40]}")
    base = -(-header.place // alignment) * alignment
    tensors = {}
    for name, tensor in found:
        if base + tensor.start + tensor.num_bytes > len(header.data):
            raise UserError(f"{path}: cut off: {name[:80]} ends beyond the file; download it again")
        tensors[name] = GgufTensor(tensor.kind, tensor.shape, base + tensor.start, tensor.num_bytes)
    if len(tensors) < len(found):
        raise UserError(f"{path}: two tensors of one name")
    return Gguf(path, metadata, tensors)


def _tensor(path: Path, header: _Header) -> tuple[str, GgufTensor]:
    """One line of the table of tensors; the start is still counted from where they begin."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # here: `thinkling --help` need not wait

    name, num_dims = header.text(), header.number("I")
    if not 1 <= num_dims <= 4:
        raise UserError(f"{path}: the tensor {name[:80]} has {num_dims} dimensions")
    shape = tuple(reversed([header.count(2**31, "rows") for _ in range(num_dims)]))
    number, start = header.number("I"), header.number("Q")
    known = {kind.value: kind for kind in GGMLQuantizationType}
    if number not in known or known[number].name not in KINDS:
        kind = known[number].name if number in known else number
        raise UserError(f"{path}: the tensor {name[:80]} is stored as {kind}; thinkling reads {', '.join(KINDS)}")
    block, size = GGML_QUANT_SIZES[known[number]]
    if shape[-1] % block:
        raise UserError(f"{path}: the tensor {name[:80]} has rows of {shape[-1]}, no multiple of {block}")
    elements = 1
    for length in shape:
        elements *= length
    return name, GgufTensor(known[number].name, shape, start, elements // block * size)


# ------------------------------------------------------------------------------------------------------------ config


def gguf_config(file: Gguf) -> ModelConfig:
    """The network that the metadata describes, checked as a config.json is."""
    family = FAMILY_OF[str(file.metadata["general.architecture"])]
    heads, width = file.of("attention.head_count"), file.of("embedding_length")
    head_dim = file.of("attention.key_length")
    if head_dim is None and type(heads) is int and type(width) is int and heads > 0:
        head_dim = width // heads
    for key, wanted in (("attention.value_length", head_dim), ("rope.dimension_count", head_dim)):
        if file.of(key, wanted) != wanted:
            raise UserError(f"{file.path}: {key} is {file.of(key)}, and the heads are {head_dim} wide; not supported")
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    context = file.of("context_length")
    stored = {
        "model_type": family, "num_attention_heads": heads, "hidden_size": width, "head_dim": head_dim,
        "vocab_size": file.of("vocab_size") or (len(tokens) if isinstance(tokens, list) else None),
        "intermediate_size": file.of("feed_forward_length"), "num_hidden_layers": file.of("block_count"),
        "num_key_value_heads": file.of("attention.head_count_kv", heads), "max_position_embeddings": context,
        "rope_theta": file.of("rope.freq_base", 10_000.0), "rope_scaling": _scaling(file),
        "rms_norm_eps": file.of("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
    }  # fmt: skip
    window = file.of("attention.sliding_window")
    if window and context and window < context:
        raise UserError(f"{file.path}: attention.sliding_window is {window}; thinkling has no sliding windows")
    if family == "qwen3_moe":
        stored |= {
            "num_experts": file.of("expert_count"), "num_experts_per_tok": file.of("expert_used_count"),
            "moe_intermediate_size": file.of("expert_feed_forward_length"), "norm_topk_prob": True,
            "intermediate_size": file.of("feed_forward_length") or file.of("expert_feed_forward_length"),
        }  # fmt: skip
    elif file.of("expert_count"):
        raise UserError(
            f"{file.path}: expert_count is {file.of('expert_count')}; of this family thinkling has no experts"
        )
    return config_of_object(file.path, stored)


def _scaling(file: Gguf) -> dict | None:
    """rope_scaling as config.json has it. Llama 3's is told by a tensor of divisors only."""
    kind = file.of("rope.scaling.type", "none")
    if ROPE_FACTORS in file.tensors:
        factors = tensor_of(file, ROPE_FACTORS)
        scaling = RopeScaling("llama3", float(factors.max()), 1.0, 4.0, 8192)
        if not torch.allclose(llama3_divisors(scaling, file, len(factors)), factors, rtol=1e-3):
            raise UserError(f"{file.path}: {ROPE_FACTORS} is not the RoPE scaling of Llama 3; not supported")
        return {"rope_type": "llama3", "factor": scaling.factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192}  # fmt: skip
    if kind == "none":
        return None
    scaling = {"rope_type": kind, "factor": file.of("rope.scaling.factor")}
    original = file.of("rope.scaling.original_context_length")
    return scaling | ({"original_max_position_embeddings": original} if original else {})


def llama3_divisors(scaling: RopeScaling, file: Gguf, num: int) -> Tensor:
    """By what llama3 divides the frequency of each pair of dimensions."""
    theta = float(file.of("rope.freq_base", 10_000.0))
    frequencies = theta ** -(torch.arange(num) / num)
    turns = frequencies * scaling.original_max_position_embeddings / (2 * torch.pi)
    kept = ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0, 1)
    return 1 / (kept + (1 - kept) / scaling.factor)


# ----------------------------------------------------------------------------------------------------------- tensors


def tensor_of(file: Gguf, name: str, part: int | None = None) -> Tensor:
    """A tensor in float32; of a stack of experts, one part."""
    import numpy as np
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    tensor = file.tensors[name]
    rows, num_bytes, start = tensor.shape, tensor.num_bytes, tensor.start
    if part is not None:
        rows, num_bytes = rows[1:], num_bytes // rows[0]
        start += part * num_bytes
    raw: np.ndarray = np.fromfile(file.path, np.uint8, num_bytes, offset=start)
    if len(raw) < num_bytes:
        raise UserError(f"{file.path}: cut off while {name} was read")
    lines = num_bytes // (rows[0] if len(rows) > 1 else 1)
    values = dequantize(raw.reshape(-1, lines), GGMLQuantizationType[tensor.kind])
    return torch.from_numpy(np.array(values, dtype=np.float32)).view(rows)


def stored_tensors(file: Gguf, config: ModelConfig) -> dict[str, tuple[tuple[int, ...], Callable[[], Tensor]]]:
    """By the names of a checkpoint: the shape, and a function that reads the weights."""
    found: dict[str, tuple[tuple[int, ...], Callable[[], Tensor]]] = {}
    for name, tensor in file.tensors.items():
        if name == ROPE_FACTORS:
            continue
        for part, own in _own_names(file, name, tensor):
            shape = tensor.shape if part is None else tensor.shape[1:]
            found[own] = shape, _reader(file, name, part, config)
    return found


def _own_names(file: Gguf, name: str, tensor: GgufTensor) -> list[tuple[int | None, str]]:
    """The checkpoint's names of one tensor; a stack of experts has one for each part."""
    place = re.fullmatch(r"blk\.(\d{1,4})\.(\w+)\.(weight|bias)", name)
    top = re.fullmatch(r"(\w+)\.(weight)", name)
    if place and place[2] in _NAMES:
        own = f"model.layers.{place[1]}.{_NAMES[place[2]]}.{place[3]}"
        if "{}" not in own:
            return [(None, own)]
        return [(part, own.format(part)) for part in range(min(tensor.shape[0], 10_000))]
    if top and top[1] in _TOP:
        return [(None, f"{_TOP[top[1]]}.{top[2]}")]
    raise UserError(f"{file.path}: the tensor {name[:80]} has no place in the networks that thinkling knows")


def _reader(file: Gguf, name: str, part: int | None, config: ModelConfig) -> Callable[[], Tensor]:
    turned = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    heads = turned.get(name.split(".")[2], 0) if name.startswith("blk.") and name.count(".") == 3 else 0
    if file.metadata["general.architecture"] != "llama" or not heads:
        return lambda: tensor_of(file, name, part)
    return lambda: halves_first(tensor_of(file, name, part), heads)


def halves_first(weight: Tensor, heads: int) -> Tensor:
    """llama.cpp turns neighbouring dimensions of a head together, a checkpoint dimension i with i + E/2: queries and
    keys of GGUF's llama have their rows in the former order."""
    pairs = weight.view(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)
