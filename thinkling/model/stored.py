"""The tensors that a checkpoint stores, by name: each one's shape, and a function that reads it. Nothing is read yet.

Safetensors, whole or sharded; FP8 with block scales (as Qwen publishes it) becomes plain numbers on the way; GGUF.
Left out: pickled weights, which can run code, and every other way to quantise.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig
from thinkling.model.config_file import fp8_block, read_config, read_object
from thinkling.model.gguf_file import read_gguf
from thinkling.model.gguf_network import gguf_config, stored_tensors

FP8, SCALE = "F8_E4M3", "_scale_inv"


@dataclass(frozen=True)
class Stored:
    path: Path
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf"


def config_at(path: Path) -> ModelConfig:
    """The network of a checkpoint's folder or of a GGUF file."""
    return gguf_config(read_gguf(path)) if is_gguf(path) else read_config(path)


def stored_at(path: Path, config: ModelConfig) -> dict[str, Stored]:
    """Every tensor of a checkpoint's folder or of a GGUF file, by the checkpoint's own names."""
    if is_gguf(path):
        found = stored_tensors(read_gguf(path), config)
        return {name: Stored(path, shape, read) for name, (shape, read) in found.items()}
    whole: dict[str, Stored] = {}
    kinds: dict[str, str] = {}
    for shard in shard_paths(path):
        for name, (shape, kind) in _header(shard).items():
            whole[name], kinds[name] = Stored(shard, shape, _reader(shard, name)), kind
    return _plain(path, whole, kinds)


def _plain(folder: Path, stored: dict[str, Stored], kinds: dict[str, str]) -> dict[str, Stored]:
    """The tensors that a network has, those of FP8 with their scales multiplied in."""
    found = {}
    for name, tensor in stored.items():
        if kinds[name] == FP8 and f"{name}{SCALE}" in stored and (block := fp8_block(folder)):
            found[name] = Stored(tensor.path, tensor.shape, _scaled(folder, name, stored, block))
        elif kinds[name] not in ("F64", "F32", "F16", "BF16"):
            raise UserError(f"{tensor.path}: the tensor {name} is stored as {kinds[name]}: quantised weights, which "
                            "thinkling does not read; take the checkpoint in bfloat16")  # fmt: skip
        elif not (name.endswith(SCALE) and kinds.get(name.removesuffix(SCALE)) == FP8):
            found[name] = tensor
    return found


def _scaled(folder: Path, name: str, stored: dict[str, Stored], block: tuple[int, int]) -> Callable[[], Tensor]:
    weight, scale = stored[name], stored[f"{name}{SCALE}"]
    wanted = tuple(-(-size // step) for size, step in zip(weight.shape, block, strict=False))
    if len(weight.shape) != 2 or scale.shape != wanted:
        raise UserError(f"{scale.path}: the tensor {name}{SCALE} has shape {scale.shape}; blocks of {block} over "
                        f"{weight.shape} ask for {wanted}")  # fmt: skip
    return lambda: dequantized(weight.read(), scale.read(), block)


def dequantized(weight: Tensor, scale: Tensor, block: tuple[int, int]) -> Tensor:
    """Each block of the weight times its scale, in float32, one row of blocks at a time."""
    wide = torch.empty(weight.shape, dtype=torch.float32)
    for i, row in enumerate(scale.float()):
        part = slice(i * block[0], (i + 1) * block[0])
        wide[part] = weight[part].float() * row.repeat_interleave(block[1])[: weight.shape[1]]
    return wide


def _reader(path: Path, name: str) -> Callable[[], Tensor]:
    def read() -> Tensor:
        with safe_open(path, framework="pt") as file:  # once a tensor: closing gives back the pages it read
            return file.get_tensor(name)

    return read


def _header(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Of each tensor in a safetensors file, its shape and how it is stored."""
    if not os.access(path, os.R_OK):  # the library would say that there is no such file
        raise UserError(f"{path}: cannot be read (Permission denied)")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, no dict
            return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or not safetensors ({error}); download or save it again") from None


def shard_paths(folder: Path) -> list[Path]:
    """The safetensors files that make up a checkpoint: one, or those that its index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weight_map = read_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
            raise UserError(f"{index}: not an index with a weight_map of file names; download it again")
        names = sorted(set(weight_map.values()))
        for name in names:
            if not re.fullmatch(r"[\w.-]+\.safetensors", name):
                raise UserError(f"{index}: {name!r} is not the name of a safetensors file beside it")
            if not (folder / name).is_file():
                raise UserError(f"{folder / name}: missing, though {index.name} names it; download it again")
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    pickled = sorted(path for ending in ("*.bin", "*.pth", "*.pt") for path in folder.glob(ending))
    if pickled:
        raise UserError(f"{pickled[0]}: pickled weights can run code, so convert them to safetensors first")
    raise UserError(f"{folder}: no model.safetensors and no model.safetensors.index.json in this folder")
