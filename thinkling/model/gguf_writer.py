"""A network and its tokenizer written as one GGUF file: the way back of gguf_network.py, by the `gguf` package.

Matrices in F16 or Q8_0, everything else in F32, as llama.cpp's own converter has it. Left out: other ways to quantise
(llama.cpp makes them of an F16 file), and networks that llama.cpp computes otherwise, which are refused.
"""

import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig, RopeScaling
from thinkling.model.gguf_file import FAMILY_OF
from thinkling.model.gguf_network import LLAMA3_CONTEXT, NAMES, ROPE_FACTORS, TOP, llama3_divisors, pairs_together
from thinkling.model.gguf_vocabulary import vocabulary
from thinkling.model.quantize import refuse_quantized
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.runs import refused_by_name

if TYPE_CHECKING:  # `thinkling --help` need not wait
    import gguf
    import numpy as np

Kind = Literal["F16", "Q8_0"]
ARCHITECTURES = {family: name for name, family in FAMILY_OF.items()} | {"mistral": "llama"}
_LARGEST = 65_504  # in F16
_FILE_TYPES = {"F16": 1, "Q8_0": 7}  # general.file_type


@dataclass(frozen=True)
class Piece:
    """One tensor to be. kind: how it is stored."""

    name: str
    shape: tuple[int, ...]
    kind: str
    read: Callable[[], Tensor]


def write_gguf(path: Path, network: Transformer, tokenizer: Tokenizer, kind: Kind, name: str) -> None:
    """name: what the file calls the model. Raises UserError for a model that GGUF cannot hold, before anything is
    written, and for a full disk; whoever asks removes what was begun."""
    import gguf
    import numpy as np

    logging.getLogger("gguf").setLevel(logging.WARNING)
    refuse_quantized(network, "export")
    config = network.config
    keys = config_keys(config) | vocabulary(tokenizer, config.vocab_size)
    pieces = list(pieces_of(network, kind))
    with refused_by_name(path):
        writer = gguf.GGUFWriter(path, ARCHITECTURES[config.model_type])
        with closing(writer):
            for key, value in {"general.name": name, "general.file_type": _FILE_TYPES[kind],
                               "general.quantization_version": 2, **keys}.items():  # fmt: skip
                add(writer, key, value)
            for piece in pieces:
                stored = gguf.GGMLQuantizationType[piece.kind]
                block, size = gguf.GGML_QUANT_SIZES[stored]
                num_bytes = math.prod(piece.shape) // block * size
                writer.add_tensor_info(piece.name, piece.shape, np.dtype(np.float32), num_bytes, stored)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for piece in pieces:  # one at a time in memory
                writer.write_tensor_data(gguf.quantize(whole(piece), gguf.GGMLQuantizationType[piece.kind]))
            for file in writer.fout:
                file.flush()
                os.fsync(file.fileno())


def whole(piece: Piece) -> "np.ndarray":
    """Its numbers in float32. Raises UserError for one that would become infinite."""
    weight = piece.read().detach().cpu().float()
    largest = float(weight.abs().max())
    if not largest <= (_LARGEST if piece.kind != "F32" else math.inf) or largest == math.inf:
        raise UserError(f"the tensor {piece.name} holds {largest:g}, and F16 (which Q8_0's steps are in, too) holds at "
                        f"most {_LARGEST:,}")  # fmt: skip
    return weight.contiguous().numpy()


def add(writer: "gguf.GGUFWriter", key: str, value: object) -> None:
    """One key of the metadata, in the type that readers expect of it."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


# ------------------------------------------------------------------------------------------------------ the network


def config_keys(config: ModelConfig) -> dict[str, int | float | str]:
    """Raises UserError for what llama.cpp computes otherwise."""
    if config.model_type not in ARCHITECTURES:
        raise UserError(
            f"model_type {config.model_type!r} has no architecture in GGUF; known: {', '.join(ARCHITECTURES)}"
        )
    found: dict[str, int | float | str] = {
        "vocab_size": config.vocab_size, "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size, "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size, "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads, "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim, "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(config.rope_theta), "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
    }  # fmt: skip
    if config.num_experts:
        if not config.norm_topk_prob:
            raise UserError("norm_topk_prob is false, and llama.cpp always normalises the chosen experts' weights")
        if not all(config.is_sparse(layer) for layer in range(config.num_hidden_layers)):
            raise UserError("some layers have no experts, which GGUF's qwen3moe cannot say")
        found |= {"expert_count": config.num_experts, "expert_used_count": config.num_experts_per_tok,
                  "expert_feed_forward_length": config.moe_intermediate_size}  # fmt: skip
    if config.rope_scaling is not None:
        found |= scaling_keys(config.rope_scaling)
    return {f"{ARCHITECTURES[config.model_type]}.{key}": value for key, value in found.items()}


def scaling_keys(scaling: RopeScaling) -> dict[str, int | float | str]:
    """Llama 3's scaling is a tensor and no key."""
    bounds = (scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_max_position_embeddings)
    if scaling.rope_type == "llama3":
        if bounds != (1.0, 4.0, LLAMA3_CONTEXT):
            raise UserError(f"RoPE of type 'llama3' with bounds {bounds} is not that of Llama 3, which alone GGUF "
                            "readers expect")  # fmt: skip
        return {}
    found: dict[str, int | float | str] = {"type": scaling.rope_type, "factor": float(scaling.factor)}
    if scaling.rope_type == "yarn":
        usual = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
        if abs(scaling.attention_factor - usual) > 1e-6 or (scaling.beta_fast, scaling.beta_slow) != (32.0, 1.0):
            raise UserError("RoPE of type 'yarn' with other constants than YaRN's own cannot be written as GGUF")
        found["original_context_length"] = scaling.original_max_position_embeddings
    return {f"rope.scaling.{key}": value for key, value in found.items()}


def pieces_of(network: Transformer, kind: Kind) -> Iterator[Piece]:
    """Every tensor by GGUF's name; a layer's experts are one."""
    config, owners = network.config, {own: name for name, own in (NAMES | TOP).items()}
    stacks: dict[str, list[Tensor]] = {}
    for name, weight in network.named_parameters():  # names a tied head once
        stem, _, leaf = name.rpartition(".")
        if not stem.startswith("model.layers."):
            yield piece_of(f"{owners[stem]}.{leaf}", weight, kind)
            continue
        layer, inner = stem.removeprefix("model.layers.").split(".", 1)
        parts = inner.split(".")
        if "experts" in parts:
            owner = owners[f"mlp.experts.{{}}.{parts[3]}"]
            stacks.setdefault(f"blk.{layer}.{owner}.{leaf}", []).append(weight)
        else:
            yield piece_of(f"blk.{layer}.{owners[inner]}.{leaf}", weight, kind, turned_heads(config, parts[-1]))
    for name, weights in stacks.items():
        shape = (len(weights), *weights[0].shape)
        yield Piece(name, shape, stored_as(shape, kind), lambda weights=weights: torch.stack(weights))
    if config.rope_scaling is not None and config.rope_scaling.rope_type == "llama3":
        divisors = llama3_divisors(config.rope_scaling, config.rope_theta, config.head_dim // 2)
        yield Piece(ROPE_FACTORS, tuple(divisors.shape), "F32", lambda: divisors)


def turned_heads(config: ModelConfig, leaf: str) -> int:
    """How many heads of a matrix have their rows in llama.cpp's order; 0: it stays as it is."""
    if ARCHITECTURES[config.model_type] != "llama":
        return 0
    return {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(leaf, 0)


def piece_of(name: str, weight: Tensor, kind: Kind, heads: int = 0) -> Piece:
    shape = tuple(weight.shape)
    chosen = "F32" if "ffn_gate_inp" in name else stored_as(shape, kind)  # the router is small, and decides
    return Piece(name, shape, chosen, lambda: pairs_together(weight.detach(), heads) if heads else weight)


def stored_as(shape: tuple[int, ...], kind: Kind) -> str:
    if len(shape) == 1:
        return "F32"
    return "F16" if shape[-1] % 32 else kind  # Q8_0 has blocks of 32
