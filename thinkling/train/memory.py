"""What a training run needs of memory, part by part, before it starts: `thinkling grpo --plan`.

Weights, optimizer and key-value cache follow from the shapes. What autograd keeps per token is counted on the network
itself: one layer of it, with made-up weights, reads a short batch on the CPU, and every saved tensor is added up. Left
out: the framework itself, memory that lies between allocations, and on a GPU the kernels' workspace.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from thinkling.device import pick_device, pick_dtype
from thinkling.errors import UserError
from thinkling.generate.score import CHUNK_ELEMENTS, score_packed
from thinkling.model.cache import bytes_per_token
from thinkling.model.config import SIZES, ModelConfig, read_config
from thinkling.model.transformer import Transformer
from thinkling.model.weights import resolve
from thinkling.settings import Grpo
from thinkling.train.lora import add_adapters

PROMPT = 128  # tokens of a prompt, where nothing is known of the problems
GIGA = 1e9


@dataclass(frozen=True)
class Plan:
    """parts: GB by name. tokens: in one forward and backward pass."""

    parts: Mapping[str, float]
    tokens: int

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def plan(settings: Grpo, config: ModelConfig, dtype: torch.dtype) -> Plan:
    """The parts, and the largest micro-batch that --memory-gb leaves room for.

    Raises UserError if not even one completion of max_tokens fits.
    """
    fixed = fixed_parts(settings, config, dtype)
    per_token = activation_bytes(config, dtype, settings.recompute, bool(settings.lora_rank), settings.max_tokens)
    wanted = settings.micro_batch_tokens
    if settings.memory_gb is not None:
        room = settings.memory_gb - sum(fixed.values())
        wanted = min(wanted, int(room * GIGA / per_token))
        if wanted < settings.max_tokens:
            least = sum(fixed.values()) + settings.max_tokens * per_token / GIGA
            raise UserError(f"--memory-gb {settings.memory_gb} is too little: one completion of {settings.max_tokens} "
                            f"tokens needs {least:.2f} GB. {advice(settings)}")  # fmt: skip
    return Plan(fixed | {"activations of a pass": wanted * per_token / GIGA}, wanted)


def fixed_parts(settings: Grpo, config: ModelConfig, dtype: torch.dtype) -> dict[str, float]:
    """What does not depend on the micro-batch, in GB."""
    with torch.device("meta"):
        network = Transformer(config).to(dtype)
        if settings.lora_rank:
            matrices = [p.shape for n, p in network.named_parameters() if ".layers." in n and p.ndim == 2]
            trained = sum(settings.lora_rank * sum(shape) for shape in matrices)
        else:
            trained = sum(p.numel() for p in network.parameters())
    every = sum(p.numel() for p in network.parameters())
    moments = {"adamw": 8, "adamw-8bit": 2, "muon": 4}[settings.optimizer]
    rows = min(settings.max_rows, settings.prompts_per_step * settings.rollouts_per_prompt)
    cache = min(settings.cache_gb, rows * settings.max_length * bytes_per_token(config, dtype) / GIGA)
    reference = settings.objective.needs_reference and not settings.lora_rank
    masters = 0 if dtype == torch.float32 else 4
    return {
        "weights": every * dtype.itemsize / GIGA,
        "gradients": trained * 4 / GIGA,
        "float32 masters": trained * masters / GIGA,
        f"{settings.optimizer}'s state": trained * moments / GIGA,
        "reference model": reference * every * dtype.itemsize / GIGA,
        "key-value cache": cache,
        "logits of a chunk": 4 * min(CHUNK_ELEMENTS, settings.micro_batch_tokens * config.vocab_size) * 4 / GIGA,
    }


@cache
def activation_bytes(config: ModelConfig, dtype: torch.dtype, recompute: bool, lora: bool, max_tokens: int) -> float:
    """Bytes per token of a completion that autograd keeps until the backward pass, over all layers.

    With recompute one layer is whole at a time, and of the others only what goes in.
    """
    length = min(max_tokens, 512)
    one, two = (saved_bytes(config, dtype, layers, False, lora, length) / length for layers in (1, 2))
    layer, rest = two - one, 2 * one - two
    if not recompute:
        return rest + config.num_hidden_layers * layer
    one, two = (saved_bytes(config, dtype, layers, True, lora, length) / length for layers in (1, 2))
    return rest + config.num_hidden_layers * (two - one) + layer


class Unmultiplied(TorchDispatchMode):
    """Matrix products of the right shape with nothing in them: what autograd keeps is the same, and costs no time."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            return args[0].new_empty(args[0].shape[0], args[1].shape[1])
        return func(*args, **(kwargs or {}))


def saved_bytes(config: ModelConfig, dtype: torch.dtype, layers: int, recompute: bool, lora: bool, length: int) -> int:
    """What one pass over one completion keeps, without the head: counted, on a network of so many layers."""
    cut = replace(config, num_hidden_layers=layers, vocab_size=8, tie_word_embeddings=True)
    network = Transformer(cut).to(dtype)
    if lora:
        add_adapters(network, 8, 8.0, seed=0)
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    with Unmultiplied(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        score_packed(network, [[0] * PROMPT], [[[0] * length]], 1.0, recompute=recompute)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def config_of(model: str) -> ModelConfig:
    """A size by its name, without any weights, or a checkpoint's."""
    return SIZES[model] if model in SIZES else read_config(resolve(model))


def advice(settings: Grpo) -> str:
    """What has not been tried yet, the cheapest first."""
    steps = [
        (not settings.recompute, "--recompute"),
        (settings.optimizer == "adamw" and not settings.lora_rank, "--optimizer adamw-8bit"),
        (not settings.lora_rank, "--lora-rank 16"),
        (settings.max_tokens > 64, "a smaller --max-tokens"),
        (settings.cache_gb > 0.5, "a smaller --cache-gb"),
    ]
    return f"Try {', '.join(name for wanted, name in steps if wanted)}, or allow more"


def show(settings: Grpo) -> None:
    """Print the plan, and whether it fits."""
    config, device = config_of(settings.model), pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    found = plan(settings, config, dtype)
    table = Table("part", "GB", box=None, title=f"{settings.model}, {str(dtype).split('.')[1]}", title_justify="left")
    table.columns[1].justify = "right"
    for name, size in found.parts.items():
        if size:
            table.add_row(name, f"{size:.2f}")
    table.add_row("all together", f"{found.total:.2f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{settings.prompts_per_step} prompts x {settings.rollouts_per_prompt} rollouts of at most "
                  f"{settings.max_tokens} tokens; up to {found.tokens:,} tokens in one pass")  # fmt: skip
    if settings.memory_gb is None:
        console.print(f"No limit was set (--memory-gb). {advice(settings)}, if that is too much.")
