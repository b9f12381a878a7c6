"""Weights in and out: safetensors in the Hub's layout, whole or sharded, from a local folder or the Hub.

Tensors are read one at a time into a network without memory, so loading peaks at about the weights' own size. Left
out: pickled weights, which can run code, and checkpoints whose weights are quantised.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from thinkling.errors import UserError
from thinkling.model.config import config_json, read_config
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.runs import write_json

BUILTIN = Path(__file__).parent / "builtin"
HUB_FILES = ["*.json", "*.safetensors", "merges.txt"]


# --------------------------------------------------------------------------------------------------- finding a model


def builtin_names() -> list[str]:
    return sorted(path.parent.name for path in BUILTIN.glob("*/config.json"))


def resolve(name: str) -> Path:
    """The folder of a model: a built-in name, a local folder, or a Hub id `org/name` or `org/name@revision`.

    A Hub model is downloaded once and then read from the Hub's own cache. Raises UserError if there is no such model.
    """
    if name in builtin_names():
        return BUILTIN / name
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{name}: a file; pass the folder that holds config.json and *.safetensors")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?", name):
        return _download(name)
    known = ", ".join(builtin_names()) or "none"
    raise UserError(f"{name}: no such folder. Built-in models: {known}; a Hub model is written org/name")


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # here, so that nothing offline pays for it

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES))
    except Exception as error:  # the network fails in as many ways as there are layers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{name}: no such folder here, and the Hub did not give it ({reason}). Check the name and the connection, "
            "or pass a local folder"
        ) from None


# ----------------------------------------------------------------------------------------------------------- loading


def load_model(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
    """The network of a checkpoint's folder, in eval mode, its weights converted to `dtype`.

    Every name and shape is compared with config.json before anything is read. Raises UserError naming the file, the
    tensor and both shapes.
    """
    folder = Path(folder)
    config = read_config(folder)
    with torch.device("meta"):
        model = Transformer(config)
    expected = {name: tuple(weight.shape) for name, weight in model.named_parameters(remove_duplicate=False)}
    file_of = {}
    for path in shard_paths(folder):
        for name, shape in _stored_shapes(path).items():
            if name not in expected:
                raise UserError(f"{path}: the tensor {name} {shape} has no place in the network of its config.json")
            if shape != expected[name]:
                raise UserError(f"{path}: the tensor {name} has shape {shape}; config.json asks for {expected[name]}")
            file_of[name] = path
    if config.tie_word_embeddings:  # the head is the embedding, also where a checkpoint stores it twice
        expected.pop("lm_head.weight")
    for name, shape in expected.items():
        if name not in file_of:
            raise UserError(f"{folder}: the tensor {name} {shape} is missing from the *.safetensors files")
        owner, _, leaf = name.rpartition(".")
        weight = torch.empty(shape, dtype=dtype, device=device)
        with safe_open(file_of[name], framework="pt") as file:  # once a tensor: closing gives back the pages it read
            weight.copy_(file.get_tensor(name))
        setattr(model.get_submodule(owner), leaf, nn.Parameter(weight))
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def shard_paths(folder: Path) -> list[Path]:
    """The safetensors files that make up a checkpoint: one, or those that its index names."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{index}: not an index with a weight_map ({error!r}); download it again") from None
        for name in names:
            if not re.fullmatch(r"[\w.-]+\.safetensors", str(name)):
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


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118, no dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or not safetensors ({error}); download or save it again") from None


# ------------------------------------------------------------------------------------------------------------ saving


def save_model(
    folder: Path,
    model: Transformer,
    tokenizer: Tokenizer,
    max_shard_bytes: int = 5_000_000_000,
    dtype: torch.dtype | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint that `load_model` and `transformers` read; in `dtype`, or as the weights are.

    weights: by name, instead of the model's own parameters.

    The folder is written beside its place and then renamed, so it is whole or absent. A folder already there is
    replaced only if it is empty or holds a checkpoint (config.json and *.safetensors); otherwise UserError.
    """
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and not _replaceable(folder):
        raise UserError(f"{folder}: not a checkpoint, so it is not replaced; choose another folder")
    dtype = dtype or model.dtype
    growing, old = (folder.with_name(f".{folder.name}.{kind}-{os.getpid()}") for kind in ("new", "old"))
    growing.mkdir(parents=True)
    try:
        write_json(growing / "config.json", config_json(model.config, tokenizer.stop_ids, str(dtype).split(".")[1]))
        tokenizer.save(growing)
        weights = dict(weights or model.named_parameters())  # names a tied head once
        _save_weights(growing, weights, max_shard_bytes, dtype)
        if folder.exists():
            folder.rename(old)
        growing.rename(folder)
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _replaceable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    holds_checkpoint = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return holds_checkpoint or not any(folder.iterdir())


def _save_weights(folder: Path, weights: dict[str, Tensor], max_shard_bytes: int, dtype: torch.dtype) -> None:
    shards, num_bytes = [[]], 0
    for name, weight in weights.items():
        size = weight.numel() * dtype.itemsize
        if shards[-1] and num_bytes + size > max_shard_bytes:
            shards.append([])
            num_bytes = 0
        shards[-1].append(name)
        num_bytes += size
    weight_map = {}
    for i, names in enumerate(shards, start=1):
        file_name = "model.safetensors" if len(shards) == 1 else f"model-{i:05}-of-{len(shards):05}.safetensors"
        shard = {name: weights[name].detach().to("cpu", dtype).contiguous() for name in names}
        save_file(shard, folder / file_name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file_name)
    if len(shards) > 1:
        total = sum(weight.numel() * dtype.itemsize for weight in weights.values())
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)
