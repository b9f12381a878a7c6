"""The network of a GGUF file: its config, and its tensors under a checkpoint's names, dequantized one at a time.

Block formats are the `gguf` package's: Q8_0, Q4, Q5 and the K-quants. Left out: formats of 1 to 3 bits with tables
(IQ).
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig, RopeScaling
from thinkling.model.config_file import config_of_object
from thinkling.model.gguf_file import FAMILY_OF, Gguf, GgufTensor

NAMES = {  # of a layer's tensors, by GGUF's
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj", "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
}  # fmt: skip
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
ROPE_FACTORS = "rope_freqs.weight"  # by what Llama 3's frequencies are divided
LLAMA3_CONTEXT = 8192


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
        scaling = RopeScaling("llama3", float(factors.max()), 1.0, 4.0, LLAMA3_CONTEXT)
        theta = float(file.of("rope.freq_base", 10_000.0))
        if not torch.allclose(llama3_divisors(scaling, theta, len(factors)), factors, rtol=1e-3):
            raise UserError(f"{file.path}: {ROPE_FACTORS} is not the RoPE scaling of Llama 3; not supported")
        return {"rope_type": "llama3", "factor": scaling.factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": LLAMA3_CONTEXT}  # fmt: skip
    if kind == "none":
        return None
    scaling = {"rope_type": kind, "factor": file.of("rope.scaling.factor")}
    original = file.of("rope.scaling.original_context_length")
    return scaling | ({"original_max_position_embeddings": original} if original else {})


def llama3_divisors(scaling: RopeScaling, theta: float, num: int) -> Tensor:
    """By what llama3 divides the frequency of each of `num` pairs of dimensions."""
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
    if place and place[2] in NAMES:
        own = f"model.layers.{place[1]}.{NAMES[place[2]]}.{place[3]}"
        if "{}" not in own:
            return [(None, own)]
        return [(part, own.format(part)) for part in range(min(tensor.shape[0], 10_000))]
    if top and top[1] in TOP:
        return [(None, f"{TOP[top[1]]}.{top[2]}")]
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


def pairs_together(weight: Tensor, heads: int) -> Tensor:
    """The way back, for whoever writes."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)
