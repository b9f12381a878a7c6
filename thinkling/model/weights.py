"""Models found, loaded and saved: built in, a folder, a GGUF file, a name that is known, or a model of the Hub.

Tensors are read one at a time into a network without memory, so loading peaks at about the weights' own size. How they
are stored: stored.py. What is saved is safetensors in the Hub's layout, which transformers reads.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from thinkling.device import all_memory
from thinkling.errors import NotWritten, UserError
from thinkling.left_over import of_this_process, remove_left_over
from thinkling.model.config import ModelConfig
from thinkling.model.config_file import config_json, read_object
from thinkling.model.package_index import KNOWN, fetched
from thinkling.model.quantize import refuse_quantized
from thinkling.model.stored import Stored, config_at, is_gguf, stored_at
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.runs import FINISHED, refused_by_name, write_json

BUILTIN = Path(__file__).parent / "builtin"
HUB_FILES = ["*.json", "*.safetensors", "*.jinja"]


# --------------------------------------------------------------------------------------------------- finding a model


def builtin_names() -> list[str]:
    return sorted(path.parent.name for path in BUILTIN.glob("*/config.json"))


def resolve(name: str) -> Path:
    """The folder of a model, or its GGUF file: a built-in name, a local path, a name of package_index.py, or a Hub id
    `org/name` or `org/name@revision`.

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
        if is_gguf(folder):
            return folder
        raise UserError(f"{name}: a file; pass a .gguf file, or the folder that holds config.json and *.safetensors")
    if name in KNOWN:
        return fetched(name)
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w./-]+)?", name):
        return _download(name)
    known = ", ".join(builtin_names()) or "none"
    raise UserError(f"{name}: no such file or folder. Built-in models: {known}; fetched by name: {', '.join(KNOWN)}; a "
                    "Hub model is written org/name")  # fmt: skip


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
    """The network of a checkpoint's folder, or of a GGUF file, in eval mode, its weights converted to `dtype`.

    Every name, shape and size is compared with config.json, and with the memory, before anything is read. Raises
    UserError naming the file, the tensor and both shapes.
    """
    folder = Path(folder)
    config = config_at(folder)
    stored = stored_at(folder, config)
    _check_counts(folder, config, stored)
    with torch.device("meta"):
        model = Transformer(config)
    expected = {name: tuple(weight.shape) for name, weight in model.named_parameters(remove_duplicate=False)}
    head = stored.pop("lm_head.weight", None) if config.tie_word_embeddings else None
    if config.tie_word_embeddings:  # the head is the embedding, also where a checkpoint stores it twice
        expected.pop("lm_head.weight")
    _check_shapes(folder, stored, expected)
    _check_memory(folder, config, torch.device(device), dtype)
    for name, shape in expected.items():
        owner, _, leaf = name.rpartition(".")
        weight = torch.empty(shape, dtype=dtype, device=device)
        weight.copy_(stored[name].read())
        setattr(model.get_submodule(owner), leaf, nn.Parameter(weight))
    if config.tie_word_embeddings:
        _check_head(head, stored["model.embed_tokens.weight"])
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def _check_head(head: Stored | None, embedding: Stored) -> None:
    """A head beside a tied embedding must be the same: else one of the two would be dropped without a word."""
    if head is None:
        return
    kept = embedding.read()
    if not torch.equal(head.read().to(kept.dtype), kept):
        raise UserError(f"{head.path}: lm_head.weight differs from model.embed_tokens.weight, but tie_word_embeddings "
                        "in config.json is true: set it to false to use both, or remove the tensor")  # fmt: skip


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


def _check_shapes(folder: Path, stored: Mapping[str, Stored], expected: Mapping) -> None:
    of, where = ("metadata", "file") if is_gguf(folder) else ("config.json", "*.safetensors files")
    for name, tensor in stored.items():
        if name not in expected:
            raise UserError(f"{tensor.path}: the tensor {name} {tensor.shape} has no place in the network of its {of}")
        if tensor.shape != expected[name]:
            raise UserError(
                f"{tensor.path}: the tensor {name} has shape {tensor.shape}; {of} asks for {expected[name]}"
            )
    for name, shape in expected.items():
        if name not in stored:
            raise UserError(f"{folder}: the tensor {name} {shape} is missing from the {where}")


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
    return all_memory()


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
    replaced only if it is empty or holds a checkpoint (config.json and *.safetensors); otherwise UserError, as where
    the disk is full. What earlier saves to this place left, that were killed, is removed.
    """
    refuse_quantized(model, "a checkpoint")
    folder = Path(folder).expanduser().resolve()
    if folder.exists() and not _replaceable(folder):
        raise UserError(f"{folder}: not a checkpoint, so it is not replaced; choose another folder")
    dtype = dtype or model.dtype
    growing, old = of_this_process(folder, "new"), of_this_process(folder, "old")
    remove_left_over(folder, "new")
    try:
        with refused_by_name(folder):
            growing.mkdir(parents=True)
            write_json(growing / "config.json", config_json(model.config, tokenizer.stop_ids, str(dtype).split(".")[1]))
            tokenizer.save(growing)
            weights = dict(weights or model.named_parameters())  # names a tied head once
            _save_weights(growing, weights, max_shard_bytes, dtype)
            if folder.exists():
                folder.rename(old)
            growing.rename(folder)
    except SafetensorError as error:  # a full disk, as that library says it
        raise NotWritten(f"{folder}: cannot be written ({error}): make room there, or name another place") from None
    except NotWritten as error:
        raise NotWritten(str(error).replace(str(growing), str(folder))) from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    remove_left_over(folder, "old")  # not before: it may have been the only one


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
