"""Weights in and out: safetensors in the Hub's layout, whole or sharded, from a local folder or the Hub.

Tensors are read one at a time into a network without memory, so loading peaks at about the weights' own size. Left
out: pickled weights, which can run code, and checkpoints whose weights are quantised.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from thinkling.errors import UserError
from thinkling.model.config import ModelConfig
from thinkling.model.config_file import config_json, read_config, read_object
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.runs import FINISHED, write_json

BUILTIN = Path(__file__).parent / "builtin"
HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]


# --------------------------------------------------------------------------------------------------- finding a model


def builtin_names() -> list[str]:
    return sorted(path.parent.name for path in BUILTIN.glob("*/config.json"))


def resolve(name: str) -> Path:
    """The folder of a model: a built-in name, a local folder, or a Hub id `org/name` or `org/name@revision`.

    A training run's folder stands for the checkpoint that it ended with. A Hub model is downloaded once and then read
    from the Hub's own cache. Raises UserError if there is no such model.
    """
    if name in builtin_names():
        return BUILTIN / name
    try:
        folder = Path(name).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, no such home, a NUL
        raise UserError(f"{name[:60]!r}: no path to a model ({str(error)[:80]})") from None
    if is_folder:
        return trained(folder)
    if exists:
        raise UserError(f"{name}: a file; pass the folder that holds config.json and *.safetensors")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?", name):
        return _download(name)
    known = ", ".join(builtin_names()) or "none"
    raise UserError(f"{name}: no such folder. Built-in models: {known}; a Hub model is written org/name")


def trained(folder: Path) -> Path:
    """The checkpoint that counts, if this is the folder of a training run; else the folder itself. Raises UserError
    where the run is not finished."""
    if (folder / FINISHED).exists():
        checkpoint = Path(str(read_object(folder / FINISHED).get("checkpoint")))
        moved = folder / "checkpoints" / checkpoint.name
        return moved if moved.is_dir() else checkpoint
    if (folder / "checkpoints").is_dir():
        raise UserError(f"{folder}: a training run that is not finished: run its command again to resume it, or name "
                        f"one of {folder / 'checkpoints'}")  # fmt: skip
    return folder


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

    Every name, shape and size is compared with config.json, and with the memory, before anything is read. Raises
    UserError naming the file, the tensor and both shapes.
    """
    folder = Path(folder)
    config = read_config(folder)
    file_of, shapes = {}, {}
    for path in shard_paths(folder):
        for name, shape in _stored_shapes(path).items():
            file_of[name], shapes[name] = path, shape
    _check_counts(folder, config, shapes)
    with torch.device("meta"):
        model = Transformer(config)
    expected = {name: tuple(weight.shape) for name, weight in model.named_parameters(remove_duplicate=False)}
    if config.tie_word_embeddings:  # the head is the embedding, also where a checkpoint stores it twice
        shapes.pop("lm_head.weight", None)
        expected.pop("lm_head.weight")
    _check_shapes(folder, file_of, shapes, expected)
    _check_memory(folder, config, torch.device(device), dtype)
    for name, shape in expected.items():
        owner, _, leaf = name.rpartition(".")
        weight = torch.empty(shape, dtype=dtype, device=device)
        weight.copy_(_read(file_of[name], name))
        setattr(model.get_submodule(owner), leaf, nn.Parameter(weight))
    if config.tie_word_embeddings:
        _check_head(file_of)
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def _read(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:  # once a tensor: closing gives back the pages it read
        return file.get_tensor(name)


def _check_head(file_of: Mapping[str, Path]) -> None:
    """A head beside a tied embedding must be the same: else one of the two would be dropped without a word."""
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    if head not in file_of:
        return
    kept = _read(file_of[embedding], embedding)
    if not torch.equal(_read(file_of[head], head).to(kept.dtype), kept):
        raise UserError(f"{file_of[head]}: {head} differs from {embedding}, but tie_word_embeddings in config.json is "
                        "true: set it to false to use both, or remove the tensor")  # fmt: skip


def _check_counts(folder: Path, config: ModelConfig, names: Iterable[str]) -> None:
    """No more layers or experts than there are weights for: before a network of that size is built."""
    sparse = any(config.is_sparse(layer) for layer in range(config.num_hidden_layers))
    for key, wanted, pattern in (
        ("num_hidden_layers", config.num_hidden_layers, r"model\.layers\.(\d{1,9})\."),
        ("num_experts", config.num_experts if sparse else 0, r".*\.experts\.(\d{1,9})\."),
    ):
        stored = max((int(found[1]) + 1 for name in names if (found := re.match(pattern, name))), default=0)
        if wanted > stored:
            raise UserError(f"{folder}: {key} in config.json is {wanted:,}, but the weights hold {stored:,}")


def _check_shapes(folder: Path, file_of: Mapping[str, Path], stored: Mapping, expected: Mapping) -> None:
    for name, shape in stored.items():
        if name not in expected:
            raise UserError(
                f"{file_of[name]}: the tensor {name} {shape} has no place in the network of its config.json"
            )
        if shape != expected[name]:
            raise UserError(
                f"{file_of[name]}: the tensor {name} has shape {shape}; config.json asks for {expected[name]}"
            )
    for name, shape in expected.items():
        if name not in stored:
            raise UserError(f"{folder}: the tensor {name} {shape} is missing from the *.safetensors files")


def _check_memory(folder: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
    """The weights alone must fit into what the device has; else a system may end the process without a word."""
    needed, there = config.num_parameters() * dtype.itemsize, device_memory(device)
    if needed > there:
        raise UserError(f"{folder}: the weights need {needed / 1e9:.1f} GB in {str(dtype).split('.')[1]}, and {device} "
                        f"has {there / 1e9:.1f} GB: choose a smaller model, or --dtype bfloat16")  # fmt: skip


def device_memory(device: torch.device) -> int:
    """Bytes of memory, used or not; an Apple GPU shares the machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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


def _stored_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if not os.access(path, os.R_OK):  # the library would say that there is no such file
        raise UserError(f"{path}: cannot be read (Permission denied)")
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, no dict
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: truncated or not safetensors ({error}); download or save it again") from None
    for name, kind in kinds.items():
        if kind not in ("F64", "F32", "F16", "BF16"):
            raise UserError(f"{path}: the tensor {name} is stored as {kind}: quantised weights, which thinkling does "
                            "not read; take the checkpoint in bfloat16")  # fmt: skip
    return shapes


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
