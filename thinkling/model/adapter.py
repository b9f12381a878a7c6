"""A LoRA adapter in PEFT's layout: adapter_config.json and adapter_model.safetensors, read and written.

Read, it is added to the weights it was trained for (`merge_adapter`), or kept apart to be trained on (train/lora.py).
Of a mixture each expert's matrices have their own, as PEFT has them where experts are modules; where transformers keeps
a layer's experts in two tensors, PEFT has a stack for each tensor, which is read too. Left out: what PEFT has beside
plain LoRA on the layers' matrices (DoRA, biases, embeddings).
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thinkling.errors import UserError
from thinkling.model.config_file import read_object
from thinkling.model.quantize import refuse_quantized
from thinkling.model.transformer import SparseMoE, Transformer
from thinkling.runs import write_json

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Adapter:
    """layers: by a module's name, (A, B) of shapes (rank, in) and (out, rank); W becomes W + scale B A."""

    scale: float
    layers: dict[str, Pair]


@dataclass(frozen=True)
class _Sizes:
    """What adapter_config.json says: rank and alpha of all matrices, and of some by (the end of) their names."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rooted: bool

    def rank_of(self, name: str) -> int:
        return self._own(self.ranks, name, self.rank)

    def scale_of(self, name: str) -> float:
        rank = self.rank_of(name)
        return self._own(self.alphas, name, self.alpha) / (math.sqrt(rank) if self.rooted else rank)

    @staticmethod
    def _own(pattern: Mapping, name: str, default: float) -> float:
        return next((value for end, value in pattern.items() if f".{name}".endswith(f".{end}")), default)


def read_adapter(folder: Path, network: Transformer) -> Adapter:
    """Where matrices have scales of their own, each B holds its share. Raises UserError naming the file and the key or
    tensor that does not fit this network."""
    path = Path(folder) / CONFIG
    config = read_object(path)
    if config.get("peft_type") != "LORA" or not _is_rank(config.get("r")) or not _is_alpha(config.get("lora_alpha")):
        raise UserError(f"{path}: not a LoRA adapter with peft_type 'LORA', r and lora_alpha")
    for key in ("use_dora", "fan_in_fan_out", "modules_to_save", "lora_bias", "layer_replication"):
        if config.get(key):
            raise UserError(f"{path}: {key} is set; thinkling reads plain LoRA only")
    if config.get("bias", "none") != "none":
        raise UserError(f"{path}: bias is {config['bias']!r}; thinkling reads adapters without")
    ranks, alphas = (_pattern(path, config, key) for key in ("rank_pattern", "alpha_pattern"))
    sizes = _Sizes(config["r"], config["lora_alpha"], ranks, alphas, bool(config.get("use_rslora")))
    scale, layers = sizes.scale_of(""), {}
    for own, name, (a, b) in _pairs(Path(folder) / WEIGHTS, network, sizes):
        share = sizes.scale_of(own) / scale
        layers[name] = a, b if share == 1 else b * share
    return Adapter(scale, layers)


def _is_rank(value: object) -> bool:
    return type(value) is int and value > 0


def _is_alpha(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


def _pattern(path: Path, config: Mapping, key: str) -> dict:
    """Values by the end of a name. PEFT takes regular expressions; read are plain names, with or without `.*\\.`."""
    found, fits = config.get(key) or {}, _is_rank if key == "rank_pattern" else _is_alpha
    if not isinstance(found, dict) or not all(map(fits, found.values())):
        raise UserError(f"{path}: {key} must hold a number above 0 for each name")
    ends = {name.removeprefix("^").removeprefix(r".*\."): value for name, value in found.items()}
    for name in ends:
        if not re.fullmatch(r"[\w.]+", name):
            raise UserError(f"{path}: {key} has {name[:60]!r}; thinkling reads plain names there")
    return ends


def _pairs(path: Path, network: Transformer, sizes: _Sizes) -> Iterator[tuple[str, str, Pair]]:
    """Of each matrix that the adapter changes: what the config knows it by, its name here, and its (A, B)."""
    modules = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear) and ".layers." in name}
    stacks = {f"{name}.experts": m for name, m in network.named_modules() if isinstance(m, SparseMoE)}
    for owner, parts in _stored(path).items():
        experts = re.sub(r"(\.base_layer)+$", "", owner)
        if owner not in modules and experts not in stacks:
            raise UserError(f"{path}: the tensor {owner[:100]} belongs to no matrix of this network's layers")
        if len(parts) < 2:
            raise UserError(f"{path}: {owner} has only one of lora_A and lora_B")
        a, b = parts["A"], parts["B"]
        if owner in modules:
            rank, module = sizes.rank_of(owner), modules[owner]
            _check(path, owner, (a, b), (rank, module.in_features), (module.out_features, rank))
            yield owner, owner, (a, b)
        else:
            yield from _of_experts(path, experts, (a, b), stacks[experts], sizes)


def _stored(path: Path) -> dict[str, dict[str, Tensor]]:
    """By the name of what it is added to, lora_A and lora_B."""
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: missing, truncated or not safetensors ({error})") from None
    found: dict[str, dict[str, Tensor]] = {}
    for name, weight in stored.items():
        owner, _, rest = name.removeprefix(PREFIX).rpartition(".lora_")
        part = rest.removesuffix(".weight").removesuffix(".default")
        if part not in ("A", "B"):
            raise UserError(f"{path}: the tensor {name[:100]} is no lora_A and no lora_B")
        found.setdefault(owner, {})[part] = weight
    if not found:
        raise UserError(f"{path}: holds no adapter")
    return found


def _check(path: Path, owner: str, found: Pair, *wanted: tuple[int, int]) -> None:
    for part, weight, shape in zip("AB", found, wanted, strict=True):
        if tuple(weight.shape) != shape:
            raise UserError(f"{path}: the tensor {owner}.lora_{part} has shape {tuple(weight.shape)}; this network and "
                            f"r ask for {shape}: it belongs to another model")  # fmt: skip


def _of_experts(
    path: Path, owner: str, stack: Pair, mixture: SparseMoE, sizes: _Sizes
) -> Iterator[tuple[str, str, Pair]]:
    """The stack of one of transformers' two tensors, (experts, 2 inner, D) or (experts, D, inner), apart. Its A has an
    expert's rows behind another's; in B the expert is what changes fastest. Gate and up share an A."""
    num, D, inner = len(mixture.experts), mixture.gate.in_features, mixture.experts[0].gate_proj.out_features
    down = tuple(stack[1].shape[:1]) == (D,) and tuple(stack[0].shape[1:]) == (inner,)
    own = f"{owner}.{'down_proj' if down else 'gate_up_proj'}"
    rank = sizes.rank_of(own)
    inputs, outputs = (inner, D) if down else (D, 2 * inner)
    _check(path, owner, stack, (num * rank, inputs), (outputs, num * rank))
    a, b = stack[0].view(num, rank, inputs), stack[1].view(outputs, rank, num)
    for i in range(num):
        leaves = {"down_proj": b[..., i]} if down else {"gate_proj": b[:inner, :, i], "up_proj": b[inner:, :, i]}
        for leaf, rows in leaves.items():
            yield own, f"{owner}.{i}.{leaf}", (a[i], rows)


@torch.no_grad()
def merge_adapter(network: Transformer, adapter: Adapter) -> None:
    """Add it to the weights, in float32 and rounded once."""
    refuse_quantized(network, "an adapter")
    for name, (a, b) in adapter.layers.items():
        weight = network.get_submodule(name).weight
        change = (b.float() @ a.float() * adapter.scale).to(weight.device)
        weight.copy_(weight.float() + change)


def write_adapter(folder: Path, adapter: Adapter, base: str) -> None:
    """base: the model that it was trained for, by the name or path that it was loaded from."""
    rank = max(len(a) for a, _ in adapter.layers.values())  # fewer are filled up with zeros
    leaves = sorted({name.rpartition(".")[2] for name in adapter.layers})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": rank,
        "lora_alpha": adapter.scale * rank, "target_modules": leaves, "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "use_rslora": False, "use_dora": False,
    }  # fmt: skip
    weights: Mapping[str, Tensor] = {
        f"{PREFIX}{name}.lora_{part}.weight": F.pad(weight.detach().cpu(), more).contiguous()
        for name, (a, b) in adapter.layers.items()
        for part, weight, more in (("A", a, (0, 0, 0, rank - len(a))), ("B", b, (0, rank - len(a))))
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    save_file(dict(weights), folder / WEIGHTS, metadata={"format": "pt"})
