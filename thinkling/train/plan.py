"""What a command needs of memory and of time on so many GPUs, before any of them is paid for: `thinkling plan`.

Memory is memory.py's, with what sharding.py deals out divided by the ranks. Time is arithmetic: operations over what a
GPU computes, bytes over what its memory and its links carry, each with a share that is really reached. These shares are
assumptions, and are printed. Left out: waiting for the slowest, grading, input and output, and a cluster's bad days.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import torch

from thinkling.model.cache import bytes_per_token
from thinkling.model.config import ModelConfig
from thinkling.train.memory import GIGA, PROMPT, Workload, activation_bytes, fixed_parts, moment_bytes, sizes_of

ROOM = 0.92  # of a GPU's memory, that may be planned: the rest is the framework's, and lies between allocations
TERA = 1e12


@dataclass(frozen=True)
class Machine:
    """A GPU, as its maker describes it. gb: of memory. tflops: in 16 bits, dense. gbs: GB/s of its memory; links: to
    the others of its machine; network: its share of the way to other machines; a machine has `size` of them."""

    gb: float
    tflops: float
    gbs: float
    links: float
    network: float
    size: int = 8


MACHINES = {
    "h100": Machine(80, 989, 3350, 450, 50),
    "h200": Machine(141, 989, 4800, 450, 50),
    "a100": Machine(80, 312, 2039, 300, 25),
    "rtx4090": Machine(24, 165, 1008, 16, 3),
}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of what the maker promises is reached."""

    learning: float = 0.35
    """Of the operations, forward and backward."""
    reading: float = 0.45
    """Of the operations, where given tokens are read: prompts, scoring."""
    drawing: float = 0.6
    """Of the memory's speed, while tokens are drawn."""
    telling: float = 0.7
    """Of the links' and the network's speed."""
    kernels: float = 50e-6
    """Seconds a layer for each drawn token, below which no GPU goes: starting kernels."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One step. tokens: of a completion, or an example, on the average; longest: of a step. prompt: its prompt's.
    num: completions or examples. draws: are they drawn first? learns: is something learnt? servers: GPUs that only
    draw; ranks: those that learn, and draw too where there are no servers. overlap: do servers draw the next ones
    meanwhile?"""

    num: int
    tokens: float
    longest: int
    prompt: int = PROMPT
    draws: bool = True
    learns: bool = True
    ranks: int = 1
    servers: int = 0
    overlap: bool = False


@dataclass(frozen=True)
class RunPlan:
    """parts: GB of one GPU that learns. tokens: of a pass. host: GB of rank 0's main memory while it saves. seconds: of
    one step, by what is done. overlap: is the drawing done while the rest is?"""

    parts: Mapping[str, float]
    tokens: int
    host: float
    seconds: Mapping[str, float]
    overlap: bool = False

    @property
    def gb(self) -> float:
        return sum(self.parts.values())

    @property
    def step(self) -> float:
        total = sum(self.seconds.values())
        return max(self.seconds["drawing"], total - self.seconds["drawing"]) if self.overlap else total


def plan_run(
    config: ModelConfig, dtype: torch.dtype, work: Workload, job: Job, machine: Machine, shares: Shares
) -> RunPlan:
    """Passes are made as small as they must be to fit, but not smaller than one completion."""
    parts, room = parts_of_rank(config, dtype, work, job), ROOM * machine.gb
    tokens = 0
    if job.learns:
        per_token = activation_bytes(config, dtype, work.recompute, bool(work.lora_rank), work.max_tokens)
        left = room - sum(parts.values()) + parts["key-value cache"]
        tokens = min(work.micro_batch_tokens, max(int(left * GIGA / per_token), work.max_tokens))
        parts |= {"activations of a pass": tokens * per_token / GIGA}
    row = (1 + work.num_copies) * work.max_length * bytes_per_token(config, dtype) / GIGA  # in each of the caches
    left = room - sum(parts.values()) + parts["key-value cache"]  # where not all fit, fewer answers are drawn at once
    parts["key-value cache"] = min(parts["key-value cache"], max(left, row))
    at_once = max(1, int((parts["key-value cache"] or work.max_rows * row) / row + 0.5))
    host = 14 * config.num_parameters() / GIGA if job.learns else 0.0
    seconds = seconds_of(config, dtype, work, job, machine, shares, tokens, at_once)
    return RunPlan(parts, tokens, host, seconds, job.overlap)


# --- memory ---


def parts_of_rank(config: ModelConfig, dtype: torch.dtype, work: Workload, job: Job) -> dict[str, float]:
    """GB of one GPU that learns, or of one that only draws where nothing learns; without activations."""
    ranks, here = job.ranks, job.draws and not job.servers
    work = replace(work, num_rollouts=ceil(job.num / ranks) if here else 0)
    alone = fixed_parts(work, config, dtype)
    if not job.learns:
        return {name: alone[name] for name in ("weights", "key-value cache")}
    if ranks == 1:
        return alone
    every, matrices, rest = sizes_of(work, config, dtype)
    trained = sum(p.numel() for p in matrices + rest)
    frozen = every - trained if not work.lora_rank else every
    root = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    layer = (config.num_parameters() - root) / config.num_hidden_layers
    size = dtype.itemsize
    return {
        "whole network, to draw and to save": every * size / GIGA,
        "shard of the weights": (4 * trained + size * frozen) / ranks / GIGA,
        "shard of the gradients": 4 * trained / ranks / GIGA,
        f"shard of {work.optimizer}'s state": moment_bytes(work.optimizer, matrices, rest) / ranks / GIGA,
        "layers put together": (2 * layer + root) * size / GIGA,
        "gradients on their way": 0.0 if work.lora_rank else max(layer, root) * (size + 4) / GIGA,
        **{name: alone[name] for name in ("reference model", "key-value cache", "logits of a chunk")},
    }


# --- time ---


def seconds_of(
    config: ModelConfig, dtype: torch.dtype, work: Workload, job: Job, machine: Machine, shares: Shares, tokens: int,
    at_once: int = 10**9,
) -> dict[str, float]:  # fmt: skip
    """Of one step. tokens: of one pass. at_once: answers that a GPU draws at a time, at most."""
    found = {}
    if job.draws:
        found["drawing"] = drawing(config, dtype, job, machine, shares, at_once)
    if not job.learns:
        return found
    operations = job.num * config.flops(round(job.prompt / 8 + job.tokens))  # a prompt is read once for its completions
    speed = job.ranks * machine.tflops * TERA
    if work.has_reference:
        found["scoring"] = operations / (speed * shares.reading)
    computing = (4 if work.recompute else 3) * operations / (speed * shares.learning)
    found["learning"] = max(computing, telling(config, dtype, work, job, machine, shares, tokens))
    weights = config.num_parameters()
    trained = weights if not work.lora_rank else 0
    found["optimizer"] = 28 * trained / job.ranks / (machine.gbs * GIGA * shares.drawing)
    if job.ranks > 1:
        found["optimizer"] += 4 * trained / bandwidth(job, machine, shares)
    if job.servers:
        found["pushing"] = weights * dtype.itemsize / (2 * GIGA)  # by a folder, 2 GB/s
    return found


def drawing(
    config: ModelConfig, dtype: torch.dtype, job: Job, machine: Machine, shares: Shares, at_once: int = 10**9
) -> float:
    """The longest answer decides how many passes there are, or all answers, where they take turns; each pass reads the
    weights, and what its rows have read."""
    every = ceil(job.num / (job.servers or job.ranks))
    rows = min(every, at_once)
    passes = max(job.longest, every * job.tokens / rows)
    moved = config.num_parameters() * dtype.itemsize + rows * (job.prompt + job.tokens / 2) * bytes_per_token(
        config, dtype
    )
    by_memory = moved / (machine.gbs * GIGA * shares.drawing)
    by_operations = rows * config.flops(1, int(job.prompt + job.tokens / 2)) / (machine.tflops * TERA * shares.reading)
    one = max(by_memory, by_operations, shares.kernels * config.num_hidden_layers)
    reading = every / 8 * config.flops(job.prompt) / (machine.tflops * TERA * shares.reading)
    return reading + passes * one


def telling(
    config: ModelConfig, dtype: torch.dtype, work: Workload, job: Job, machine: Machine, shares: Shares, tokens: int
) -> float:
    """Putting layers together, twice in each pass, and adding their gradients up: while the GPUs compute."""
    if job.ranks == 1:
        return 0.0
    passes = ceil(job.num * (job.prompt / 8 + job.tokens) / job.ranks / max(tokens, 1))
    trained = config.num_parameters() if not work.lora_rank else 0
    return passes * (2 * dtype.itemsize * config.num_parameters() + 4 * trained) / bandwidth(job, machine, shares)


def bandwidth(job: Job, machine: Machine, shares: Shares) -> float:
    """Bytes a second between the ranks."""
    way = machine.links if job.ranks <= machine.size else machine.network
    return way * GIGA * shares.telling
