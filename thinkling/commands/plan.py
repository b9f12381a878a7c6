"""`thinkling plan`: what a command needs on so many GPUs, of memory and of time, before it is started."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from thinkling.checks import above_zero, at_least, finite
from thinkling.errors import UserError
from thinkling.train.config import OptimizerName
from thinkling.words import counted

if TYPE_CHECKING:
    from thinkling.train.memory import Workload
    from thinkling.train.plan import Job, Machine

Planned = Literal["grpo", "sft", "distill", "pretrain", "eval"]
Gpu = Literal["h100", "h200", "a100", "rtx4090"]


@dataclass(frozen=True, kw_only=True)
class PlanShares:
    learning: float = 0.35
    """Assumed: the share of its operations that a GPU reaches in forward and backward passes."""
    reading: float = 0.45
    """Assumed: the same where given tokens are read."""
    drawing: float = 0.6
    """Assumed: the share of its memory's speed while it draws tokens."""
    telling: float = 0.7
    """Assumed: the share of the speed of links and network."""
    kernels: float = 50e-6
    """Assumed: seconds a layer takes at least for each drawn token."""

    def __post_init__(self) -> None:
        finite(self)
        above_zero(**asdict(self))


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """Estimate a command's memory and time on a number of GPUs: what fits, how it is dealt out, how long a step takes.

    Nothing is loaded or started; MODEL may be a mere size. Memory is counted; time is arithmetic, with the shares of a
    GPU's speed that are assumed printed beside it.

    Example: thinkling plan Qwen3-8B --gpus 8 --command grpo
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A size, such as Qwen3-8B, a built-in model, a folder, or a Hub id."""
    command: Planned = "grpo"
    """What is planned. distill: with a teacher of the model's own size."""
    gpus: int = 1
    """How many, over all machines; 8 make a machine."""
    gpu: Gpu = "h100"
    """Of which kind: its memory, speed and links, as its maker states them."""
    servers: int = 0
    """Of these GPUs, how many only draw rollouts (grpo --rollouts): the others then only learn."""
    overlap: bool = False
    """For grpo in one process: the next rollouts are drawn while these are learnt from."""
    max_stale: int = 1
    """With --overlap: so many batches ahead; each is a copy of the weights and a cache, but not with --servers."""
    prompts_per_step: int = 16
    """For grpo: problems of a step."""
    rollouts_per_prompt: int = 8
    """For grpo: answers to each."""
    batch_size: int = 64
    """For sft, distill and pretrain: examples, or rows, of a step. For eval: problems."""
    max_tokens: int = 384
    """Of an answer, or an example, at most."""
    mean_tokens: float | None = None
    """On the average; half of --max-tokens, if left out."""
    micro_batch_tokens: int = 4096
    """Tokens in one forward and backward pass at most; passes are made smaller where they do not fit."""
    optimizer: OptimizerName = "adamw"
    """adamw, adamw-8bit (one GPU only), or muon."""
    lora_rank: int = 0
    """Train adapters of this rank; 0 trains the weights."""
    recompute: bool = False
    """Keep less for the backward pass and compute it again."""
    steps: int = 100
    """Also say how long this many steps take."""
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    """Of the network; what learns is float32."""
    shares: Annotated[PlanShares, tyro.conf.arg(name="")] = field(default_factory=PlanShares)

    def __post_init__(self) -> None:
        finite(self)
        at_least(1, gpus=self.gpus, batch_size=self.batch_size, max_tokens=self.max_tokens, steps=self.steps)
        at_least(1, prompts_per_step=self.prompts_per_step, rollouts_per_prompt=self.rollouts_per_prompt)
        at_least(1, micro_batch_tokens=self.micro_batch_tokens)
        at_least(1, max_stale=self.max_stale)
        at_least(0, servers=self.servers, lora_rank=self.lora_rank)
        above_zero(mean_tokens=self.mean_tokens)
        if self.servers and (self.command != "grpo" or self.servers >= self.gpus):
            raise UserError(f"--servers {self.servers} is for grpo, and leaves a GPU of --gpus {self.gpus} to learn")
        if self.overlap and (self.command != "grpo" or self.gpus - self.servers > 1):
            raise UserError("--overlap is for grpo in one process: of --gpus all but one are --servers then")
        if self.max_stale > 1 and not self.overlap:
            raise UserError(f"--max-stale {self.max_stale} is for rollouts that are drawn ahead: add --overlap")
        if self.optimizer == "adamw-8bit" and self.gpus - self.servers > 1:
            raise UserError("--optimizer adamw-8bit is for one GPU: use adamw, whose state is dealt out, or muon")


def workload(settings: PlanSettings) -> Workload:
    from thinkling.train.memory import PROMPT, Workload

    return Workload(
        num_rollouts=num_of(settings), max_tokens=settings.max_tokens, max_length=settings.max_tokens + PROMPT,
        max_rows=256, cache_gb=float("inf"), micro_batch_tokens=settings.micro_batch_tokens,
        optimizer=settings.optimizer, lora_rank=settings.lora_rank, recompute=settings.recompute,
        has_reference=settings.command == "distill",
        num_copies=settings.max_stale if settings.overlap and not settings.servers else 0,
    )  # fmt: skip


def num_of(settings: PlanSettings) -> int:
    grpo = settings.prompts_per_step * settings.rollouts_per_prompt
    return grpo if settings.command == "grpo" else settings.batch_size


def job(settings: PlanSettings) -> Job:
    from thinkling.train.memory import PROMPT
    from thinkling.train.plan import Job

    return Job(
        num=num_of(settings), tokens=settings.mean_tokens or settings.max_tokens / 2, longest=settings.max_tokens,
        prompt=0 if settings.command == "pretrain" else PROMPT, draws=settings.command in ("grpo", "eval"),
        learns=settings.command != "eval", ranks=settings.gpus - settings.servers, servers=settings.servers,
        overlap=settings.overlap and settings.servers > 0,
    )  # fmt: skip


def layout(settings: PlanSettings, machine: Machine) -> str:
    """How the run lies on the GPUs, and how it is started."""
    ranks = settings.gpus - settings.servers
    words = "one process" if ranks == 1 else f"{ranks} ranks: each a whole network, and 1/{ranks} of what learns"
    if settings.command == "eval":
        words = f"{counted(settings.gpus, 'server')}: each a whole network, and its share of the problems"
    if settings.servers:
        words += f"; {counted(settings.servers, 'server')} for rollouts, each a whole network"
    if settings.gpus > machine.size:
        words += f"; on {counted(-(-settings.gpus // machine.size), 'machine')} of {machine.size}"
    return words


def main(settings: PlanSettings) -> None:
    import torch
    from rich.console import Console
    from rich.table import Table

    from thinkling.train import memory
    from thinkling.train.plan import MACHINES, ROOM, Shares, plan_run

    machine, config = MACHINES[settings.gpu], memory.config_of(settings.model)
    work, shares = workload(settings), Shares(**asdict(settings.shares))
    found = plan_run(config, getattr(torch, settings.dtype), work, job(settings), machine, shares)
    console = Console(highlight=False)
    console.print(f"{settings.command} {settings.model}, {settings.dtype}, {settings.gpus} x {settings.gpu}")
    table = Table("of one GPU", "GB", box=None)
    table.columns[1].justify = "right"
    for name, size in found.parts.items():
        if size >= 0.005:
            table.add_row(name, f"{size:.2f}")
    table.add_row("all together", f"{found.gb:.2f}")
    console.print(table)
    room = ROOM * machine.gb
    fits = found.gb <= room
    console.print(f"{'fits' if fits else 'does not fit'}: {size_of(found.gb)} of {size_of(room)} "
                  f"({ROOM:.0%} of {machine.gb:g}). {layout(settings, machine)}")  # fmt: skip
    if not fits:
        console.print(f"{memory.advice(work)}: --lora-rank divides what learns, more --gpus divide it too; the whole "
                      "network must fit into each.")  # fmt: skip
    if found.tokens:
        console.print(f"up to {found.tokens:,} tokens in one pass; rank 0 needs {size_of(found.host)} of main memory "
                      "to save")  # fmt: skip
    parts = ", ".join(f"{name} {seconds:.3g}" for name, seconds in found.seconds.items())
    total = settings.steps * found.step
    what = "step" if settings.command != "eval" else f"{counted(num_of(settings), 'problem')}"
    parts += "; drawing goes on meanwhile" if found.overlap else ""
    console.print(f"seconds of a {what}: {found.step:.3g} ({parts}); {settings.steps:,} take {duration(total)}")
    console.print("assumed: " + ", ".join(f"{name} {value:g}" for name, value in asdict(shares).items())
                  + f"; answers of {job(settings).tokens:g} tokens on the average, the longest of "
                  f"{settings.max_tokens}; nothing waits")  # fmt: skip


def size_of(gb: float) -> str:
    """To about two digits, for memory of any size: 115 GB, 1.9 GB, 48 MB."""
    if gb >= 0.9995:
        return f"{gb:.0f} GB" if gb >= 9.95 else f"{gb:.1f} GB"
    return f"{1000 * gb:.0f} MB" if gb >= 0.00995 else f"{1000 * gb:.1f} MB"


def duration(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"
