"""What the commands that train a model's weights share: flags, the records made of them, and what --plan prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from thinkling.checks import above_zero, at_least
from thinkling.commands.options import ModelSettings, OnError
from thinkling.errors import UserError
from thinkling.train.config import (
    LoraConfig,
    OptimizerConfig,
    OptimizerConstants,
    OptimizerName,
    RunConfig,
    TrackerName,
)
from thinkling.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from thinkling.scale.failures import Failure
    from thinkling.train.memory import Workload
    from thinkling.train.rl.config import ValidationConfig

SKIPPED = "failed.json"  # what --on-error skip has left out


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(ModelSettings):
    out: Path
    """The run's folder. A run that was interrupted resumes."""
    minutes: float | None = None
    """Stop after this many minutes, if the steps are not done by then. A larger number resumes the run."""
    on_error: OnError = "stop"
    """What happens to an example that cannot be used: stop ends the run before any work, and names it; skip leaves it
    out, and lists it in OUT/failed.json."""
    lr: float = 3e-4
    """AdamW's learning rate."""
    optimizer: OptimizerName = "adamw"
    """adamw-8bit keeps its moments in 2 bytes a weight instead of 8; muon is for the matrices of the layers."""
    muon_lr: float = 1e-3
    """Muon's learning rate."""
    constants: Annotated[OptimizerConstants, tyro.conf.arg(name="")] = field(default_factory=OptimizerConstants)
    lora_rank: int = 0
    """Train adapters of this rank instead of the weights (LoRA); 0 trains the weights. A higher --lr suits it."""
    lora_alpha: float = 32.0
    """What the adapters add is multiplied by this, divided by the rank."""
    recompute: bool = False
    """Keep less for the backward pass and compute it again: less memory, more time."""
    lr_decay: float = 0.0
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    micro_batch_tokens: int = 4096
    """Tokens in one forward and backward pass, prompts included, at most."""
    memory_gb: float | None = None
    """Make passes so small that the run fits into this much memory, as estimated; see --plan."""
    plan: bool = False
    """Print what the run would need of memory, part by part, and end. MODEL may be a mere size, such as Qwen3-0.6B."""
    eval_every: int = 50
    """Measure on what is held out before the first step, each time this many steps are done, and at the end; 0 never
    does."""
    watchdog: bool = True
    """Stop a run that collapses, and roll back to the last good checkpoint."""
    trackers: tuple[TrackerName, ...] = ()
    """Send the metrics there too; metrics.jsonl is always written."""
    save_every: int = 20
    """Steps between two checkpoints; an interrupted run resumes from the last. Two are kept, four where the watchdog
    may need an older one. 0 saves only at the end."""
    seed: int = 0
    """Of the order of what is learnt, and of all that is drawn at random."""
    wait_minutes: float = 30.0
    """Started by torchrun: how long one process waits for another before all end with an error."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quantize is not None:
            raise UserError("--quantize is for answering, and whole numbers cannot be trained: leave it out")
        if self.batch_invariant:
            raise UserError("--batch-invariant is for answering, and would make training slow: leave it out")
        at_least(0, lora_rank=self.lora_rank, lr=self.lr, muon_lr=self.muon_lr)
        at_least(0, eval_every=self.eval_every, save_every=self.save_every)
        above_zero(minutes=self.minutes, memory_gb=self.memory_gb, wait_minutes=self.wait_minutes)
        if not 0 <= self.lr_decay <= 1:
            raise UserError(f"--lr-decay is a share of the steps, between 0 and 1, not {self.lr_decay}")


def optimizer_config(settings: TrainingSettings) -> OptimizerConfig:
    return OptimizerConfig(
        name=settings.optimizer,
        lr=settings.lr,
        muon_lr=settings.muon_lr,
        decay_share=settings.lr_decay,
        constants=settings.constants,
    )


def run_config(settings: Any, steps: int | None) -> RunConfig:
    """settings: of any command that trains. steps: None in a run that ends by time alone."""
    return RunConfig(out=settings.out, steps=steps, minutes=settings.minutes, save_every=settings.save_every,
                     trackers=settings.trackers)  # fmt: skip


def validation_config(settings: Any) -> ValidationConfig:
    """settings: of a command that measures accuracy on what is held out."""
    from thinkling.train.rl.config import ValidationConfig

    return ValidationConfig(tasks=settings.held_out, every=settings.eval_every, num_problems=settings.eval_problems,
                            num_samples=settings.eval_samples)  # fmt: skip


def lora_config(settings: TrainingSettings) -> LoraConfig | None:
    if not settings.lora_rank:
        return None
    return LoraConfig(rank=settings.lora_rank, alpha=settings.lora_alpha, seed=settings.seed)


def show_plan(settings: TrainingSettings, work: Workload, steps: str) -> None:
    """Print what the run would need of memory, and whether it fits. steps: what one takes, in words."""
    from rich.console import Console
    from rich.table import Table

    from thinkling.device import pick_device, pick_dtype
    from thinkling.train import memory

    config, device = memory.config_of(settings.model), pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    found = memory.plan(work, config, dtype)
    table = Table("part", "GB", box=None, title=f"{settings.model}, {str(dtype).split('.')[1]}", title_justify="left")
    table.columns[1].justify = "right"
    for name, size in found.parts.items():
        if size:
            table.add_row(name, f"{size:.2f}")
    table.add_row("all together", f"{found.total:.2f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{steps}; up to {found.tokens:,} tokens in one pass")
    if settings.memory_gb is None:
        console.print(f"No limit was set (--memory-gb). {memory.advice(work)}, if that is too much.")


def refuse_after_collapse(out: Path) -> None:
    """A run that the watchdog stopped does not go on: its last weights are the collapsed ones."""
    from thinkling.runs import FINISHED, read_object

    if (out / FINISHED).exists():
        finished = read_object(out / FINISHED)
        if finished["stopped"]:
            raise UserError(f"{out} already holds a run, which was stopped after "
                            f"{counted(finished['steps'], 'step')}: {finished['stopped']}. Choose another --out, with "
                            f"--model {finished['checkpoint']}")  # fmt: skip


@contextmanager
def opened(out: Path, config: object, limits: tuple[str, ...], failures: Sequence[Failure] = ()) -> Iterator[None]:
    """A run's folder, made or opened to go on with, and nobody else's meanwhile; of several ranks rank 0 does it, and
    the others wait. config, limits: see runs.check_run. failures: what the run leaves out."""
    from thinkling.distributed import barrier, is_first
    from thinkling.runs import FINISHED, alone_in, open_run, write_json
    from thinkling.train import checkpoint

    with alone_in(out) if is_first() else nullcontext():
        if is_first():
            checkpoint.sweep(open_run(out, config, FINISHED, limits))
            if failures:
                write_json(out / SKIPPED, failures)
        barrier()
        yield


def keeper(path: Path) -> Callable[[Iterable[object]], None]:
    """What adds rows to a file of the run; of several ranks rank 0 does."""
    from thinkling.distributed import is_first
    from thinkling.runs import append_jsonl

    return lambda rows: append_jsonl(path, rows) if is_first() else None


def tell_end(
    settings: TrainingSettings, steps: int, folder: Path, console: Console, *, left_out: str = "were never asked",
    kind: str = "problem",
) -> None:  # fmt: skip
    """How a run of `steps` steps ended, where its model is, and what it left out: each a `kind` that the `left_out`
    words are said of. Raises UserError where the watchdog stopped it."""
    from thinkling.runs import FINISHED, read_object
    from thinkling.scale.failures import Failure, tell

    finished = read_object(settings.out / FINISHED)
    if finished["stopped"]:
        raise UserError(f"stopped after {counted(finished['steps'], 'step')}: {finished['stopped']}. The last good "
                        f"weights: {folder}")  # fmt: skip
    if finished["steps"] < steps:
        console.print(f"\nStopped by --minutes {settings.minutes:g} after {finished['steps']} of {steps} steps; the "
                      "same command with more --minutes resumes.")  # fmt: skip
    console.print(f"\nThe trained model: {folder}")
    if (settings.out / SKIPPED).exists():
        skipped = json.loads((settings.out / SKIPPED).read_text(encoding="utf-8"))
        tell([Failure(**row) for row in skipped], left_out, settings.out / SKIPPED, console, kind)
    if finished["best"] and finished["best"]["step"] != finished["steps"]:
        console.print(f"The best on held-out {kind}s, after {counted(finished['best']['step'], 'step')}: "
                      f"{settings.out / 'checkpoints' / 'best'}")  # fmt: skip
