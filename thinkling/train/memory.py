"""What a training run needs of memory, part by part, before it starts: `thinkling grpo --plan`.

Weights, optimizer and key-value cache follow from the shapes. What autograd keeps per token is counted on the network
itself: one layer of it, with made-up weights, reads a short batch on the CPU, and every saved tensor is added up. Left
out: the framework itself, memory that lies between allocations, and on a GPU the kernels' workspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from thinkling.errors import UserError
from thinkling.generate.score import CHUNK_ELEMENTS, score_packed
from thinkling.model.cache import bytes_per_token
from thinkling.model.config import SIZES, ModelConfig
from thinkling.model.prepacked import is_worth_blocks
from thinkling.model.stored import config_at
from thinkling.model.transformer import Transformer
from thinkling.model.weights import resolve
from thinkling.train.adam8bit import BLOCK, SMALLEST
from thinkling.train.config import OptimizerName
from thinkling.train.lora import add_adapters
from thinkling.train.optim import is_layer_matrix

PROMPT = 128  # tokens of a prompt, where nothing is known of the problems
GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run does, as far as memory is concerned.

    num_rollouts: of a step; 0 where given replies are learnt. max_tokens: of a completion; max_length: with its prompt.
    max_rows, cache_gb: the engine's.
    micro_batch_tokens: of a pass at most; memory_gb: what all must fit into, or None. lora_rank: 0 without adapters.
    has_reference: is there a second network to compare with? num_copies: of the network, each with a cache of its own,
    which draw ahead. on_cpu: does the engine answer on a CPU, through copies of the matrices (model/prepacked.py)?
    """

    num_rollouts: int
    max_tokens: int
    max_length: int
    max_rows: int
    cache_gb: float
    micro_batch_tokens: int
    memory_gb: float | None = None
    optimizer: OptimizerName = "adamw"
    lora_rank: int = 0
    recompute: bool = False
    has_reference: bool = False
    num_copies: int = 0
    on_cpu: bool = False


@dataclass(frozen=True)
class Plan:
    """parts: GB by name. tokens: in one forward and backward pass."""

    parts: Mapping[str, float]
    tokens: int

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def plan(work: Workload, config: ModelConfig, dtype: torch.dtype) -> Plan:
    """The parts, and the largest micro-batch that --memory-gb leaves room for.

    Raises UserError if not even one completion of max_tokens fits.
    """
    fixed = fixed_parts(work, config, dtype)
    per_token = activation_bytes(config, dtype, work.recompute, bool(work.lora_rank), work.max_tokens)
    wanted = work.micro_batch_tokens
    if work.memory_gb is not None:
        room = work.memory_gb - sum(fixed.values())
        wanted = min(wanted, int(room * GIGA / per_token))
        if wanted < work.max_tokens:
            least = sum(fixed.values()) + work.max_tokens * per_token / GIGA
            raise UserError(f"--memory-gb {work.memory_gb} is too little: one completion of {work.max_tokens} "
                            f"tokens needs {least:.2f} GB. {advice(work)}")  # fmt: skip
    return Plan(fixed | {"activations of a pass": wanted * per_token / GIGA}, wanted)


def fixed_parts(work: Workload, config: ModelConfig, dtype: torch.dtype) -> dict[str, float]:
    """What does not depend on the micro-batch, in GB."""
    every, matrices, rest = sizes_of(work, config, dtype)
    sizes = [p.numel() for p in matrices + rest]
    trained = sum(sizes)
    rows = min(work.max_rows, work.num_rollouts)
    cache = min(work.cache_gb, rows * work.max_length * bytes_per_token(config, dtype) / GIGA)
    reference = work.has_reference
    in_blocks = work.on_cpu and not work.lora_rank and is_worth_blocks(config, dtype)
    exact = dtype == torch.float32
    handed_over = 0 if exact else max(sizes) * dtype.itemsize  # one weight's gradient, on its way to its master's
    return {
        "weights": every * dtype.itemsize / GIGA,
        "gradients": (trained * 4 + handed_over) / GIGA,
        "float32 masters": 0.0 if exact else trained * 4 / GIGA,
        f"{work.optimizer}'s state": moment_bytes(work.optimizer, matrices, rest) / GIGA,
        "reference model": reference * every * dtype.itemsize / GIGA,
        "copies that draw ahead": work.num_copies * every * dtype.itemsize / GIGA,
        "weights in blocks": (1 + work.num_copies) * in_blocks * every * dtype.itemsize / GIGA,
        "key-value cache": (1 + work.num_copies) * cache,
        "logits of a chunk": 4 * min(CHUNK_ELEMENTS, work.micro_batch_tokens * config.vocab_size) * 4 / GIGA,
    }


def sizes_of(work: Workload, config: ModelConfig, dtype: torch.dtype) -> tuple[int, list[Tensor], list[Tensor]]:
    """How many weights there are, and the shapes of what is trained: matrices of the layers, or their adapters, and the
    rest. The tensors have no memory."""
    with torch.device("meta"):
        network = unfilled(config, dtype)
        named = dict(network.named_parameters())
        every = sum(p.numel() for p in named.values())
        matrices = [p for name, p in named.items() if is_layer_matrix(name, p)]
        if work.lora_rank:
            rank = work.lora_rank
            matrices = [torch.empty(shape) for p in matrices for shape in ((rank, p.shape[1]), (p.shape[0], rank))]
            rest = []
        else:
            rest = [p for name, p in named.items() if not is_layer_matrix(name, p)]
    return every, matrices, rest


def moment_bytes(optimizer: str, matrices: Sequence[Tensor], rest: Sequence[Tensor]) -> int:
    """Of the optimizer's moments. Muon has one in float32 of each of the layers' matrices and leaves the rest to AdamW,
    which has two; in 8 bits they are a byte each, with a scale for each block."""

    def of(num: int, is_matrix: bool) -> int:
        if optimizer == "muon" and is_matrix:
            return 4 * num
        if optimizer == "adamw-8bit" and num >= SMALLEST:
            return 2 * -(-num // BLOCK) * (BLOCK + 4)
        return 8 * num

    return sum(of(p.numel(), True) for p in matrices) + sum(of(p.numel(), False) for p in rest)


def activation_bytes(config: ModelConfig, dtype: torch.dtype, recompute: bool, lora: bool, max_tokens: int) -> float:
    """Bytes per token of a completion that autograd keeps until the backward pass, over all layers.

    With recompute one layer is whole at a time, and of the others only what goes in.
    """
    return counted_bytes(config, dtype, recompute, lora, min(max_tokens, 512))


@cache
def counted_bytes(config: ModelConfig, dtype: torch.dtype, recompute: bool, lora: bool, length: int) -> float:
    one, two = (saved_bytes(config, dtype, layers, False, lora, length) / length for layers in (1, 2))
    layer, rest = two - one, 2 * one - two
    if not recompute:
        return rest + config.num_hidden_layers * layer
    one, two = (saved_bytes(config, dtype, layers, True, lora, length) / length for layers in (1, 2))
    return rest + config.num_hidden_layers * (two - one) + layer


class Unfilled(TorchFunctionMode):
    """Weights as the allocator gives them: memory that nobody has touched costs neither time nor room."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def unfilled(config: ModelConfig, dtype: torch.dtype) -> Transformer:
    """A network of this dtype, to be counted and not to be used."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with Unfilled():
            return Transformer(config)
    finally:
        torch.set_default_dtype(before)


class Unmultiplied(TorchDispatchMode):
    """Products and attention of the right shape with nothing in them: what autograd keeps is the same, and costs no
    time."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            return args[0].new_empty(args[0].shape[0], args[1].shape[1])
        if func is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default:
            B, H, T, E = args[0].shape
            sums = args[0].new_empty(B, T, H, dtype=torch.float32)
            return args[0].new_empty(B, T, H, E).transpose(1, 2), sums.transpose(1, 2)
        return func(*args, **(kwargs or {}))


def saved_bytes(config: ModelConfig, dtype: torch.dtype, layers: int, recompute: bool, lora: bool, length: int) -> int:
    """What one pass over one completion keeps, without the head: counted, on a network of so many layers."""
    cut = replace(config, num_hidden_layers=layers, vocab_size=8, tie_word_embeddings=True)
    network = unfilled(cut, dtype)
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


def probe(network: Transformer, prompt: int, completions: Sequence[int], recompute: bool) -> None:
    """One forward and backward pass over completions of these lengths, for nothing: what does not fit into memory shows
    now, and not when the first long ones come. Raises UserError."""
    tokens = [[0] * length for length in completions]
    try:
        logprobs, _ = score_packed(network, [[0] * prompt], [tokens], 1.0, recompute=recompute)
        logprobs.sum().backward()
    except torch.OutOfMemoryError:
        raise UserError(
            f"{len(tokens)} completions of {max(completions)} tokens do not fit into this device's memory: set "
            "--memory-gb to what it has, or use --recompute; --plan says what needs how much"
        ) from None
    finally:
        network.zero_grad(set_to_none=True)


def config_of(model: str) -> ModelConfig:
    """A size by its name, without any weights, or a checkpoint's."""
    if model in SIZES:
        return SIZES[model]
    try:
        return config_at(resolve(model))
    except UserError as error:
        if "/" in model:
            raise
        raise UserError(f"{error}. Sizes known by name: {', '.join(SIZES)}") from None


def advice(work: Workload) -> str:
    """What has not been tried yet, the cheapest first."""
    steps = [
        (not work.recompute, "--recompute"),
        (work.optimizer == "adamw" and not work.lora_rank, "--optimizer adamw-8bit"),
        (not work.lora_rank, "--lora-rank 16"),
        (work.max_tokens > 64, "a smaller --max-tokens" if work.num_rollouts else "a smaller --micro-batch-tokens"),
        (work.cache_gb > 0.5, "a smaller --cache-gb"),
        (work.num_copies > 0, "no --overlap"),
    ]
    return f"Try {', '.join(name for wanted, name in steps if wanted)}, or allow more"
