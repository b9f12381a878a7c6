"""A LoRA adapter in PEFT's layout: adapter_config.json and adapter_model.safetensors, read and written.

Read, it is added to the weights it was trained for (`merge_adapter`), or kept apart to be trained on (train/lora.py).
Left out: what PEFT has beside plain LoRA on the layers' matrices (DoRA, biases, embeddings, ranks that differ).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thinkling.errors import UserError
from thinkling.model.config_file import read_object
from thinkling.model.transformer import Transformer
from thinkling.runs import write_json

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """layers: by a module's name, (A, B) of shapes (rank, in) and (out, rank); W becomes W + scale B A."""

    scale: float
    layers: dict[str, tuple[Tensor, Tensor]]


def read_adapter(folder: Path, network: Transformer) -> Adapter:
    """Raises UserError naming the file and the key or tensor that does not fit this network."""
    path = Path(folder) / CONFIG
    config = read_object(path)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or type(rank) is not int or type(alpha) not in (int, float) or rank < 1:
        raise UserError(f"{path}: not a LoRA adapter with peft_type 'LORA', r and lora_alpha")
    for key in ("use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias",
                "layer_replication", "target_parameters"):  # fmt: skip
        if config.get(key):
            raise UserError(f"{path}: {key} is set; thinkling reads plain LoRA only")
    if config.get("bias", "none") != "none":
        raise UserError(f"{path}: bias is {config['bias']!r}; thinkling reads adapters without")
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    return Adapter(scale, _layers(Path(folder) / WEIGHTS, network, rank))


def _layers(path: Path, network: Transformer, rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: missing, truncated or not safetensors ({error})") from None
    modules = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear) and ".layers." in name}
    found: dict[str, dict[str, Tensor]] = {}
    for name, weight in stored.items():
        owner, _, rest = name.removeprefix(PREFIX).rpartition(".lora_")
        part = rest.removesuffix(".weight").removesuffix(".default")
        if owner not in modules or part not in ("A", "B"):
            raise UserError(f"{path}: the tensor {name[:100]} belongs to no matrix of this network's layers")
        module = modules[owner]
        wanted = (rank, module.in_features) if part == "A" else (module.out_features, rank)
        if tuple(weight.shape) != wanted:
            raise UserError(f"{path}: the tensor {name} has shape {tuple(weight.shape)}; this network and r ask for "
                            f"{wanted}: it belongs to another model")  # fmt: skip
        found.setdefault(owner, {})[part] = weight
    for owner, parts in found.items():
        if len(parts) < 2:
            raise UserError(f"{path}: {owner} has only one of lora_A and lora_B")
    if not found:
        raise UserError(f"{path}: holds no adapter")
    return {owner: (parts["A"], parts["B"]) for owner, parts in found.items()}


@torch.no_grad()
def merge_adapter(network: Transformer, adapter: Adapter) -> None:
    """Add it to the weights, in float32 and rounded once."""
    for name, (a, b) in adapter.layers.items():
        weight = network.get_submodule(name).weight
        change = (b.float() @ a.float() * adapter.scale).to(weight.device)
        weight.copy_(weight.float() + change)


def write_adapter(folder: Path, adapter: Adapter, base: str) -> None:
    """base: the model that it was trained for, by the name or path that it was loaded from."""
    rank = next(iter(adapter.layers.values()))[0].shape[0]
    leaves = sorted({name.rpartition(".")[2] for name in adapter.layers})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank,
        "lora_alpha": adapter.scale * rank, "target_modules": leaves, "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "use_rslora": False, "use_dora": False,
    }  # fmt: skip
    weights: Mapping[str, Tensor] = {
        f"{PREFIX}{name}.lora_{part}.weight": weight.detach().cpu().contiguous()
        for name, pair in adapter.layers.items()
        for part, weight in zip("AB", pair, strict=True)
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    save_file(dict(weights), folder / WEIGHTS, metadata={"format": "pt"})
