"""What a base model is told before it learns anything: its shape, its text, how long it reads. Without torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.checks import above_zero, at_least, finite
from thinkling.errors import UserError
from thinkling.train.config import OptimizerConstants


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How `thinkling pretrain` trains; the flags of the same names."""

    out: Path
    """The folder to write; it must not exist yet."""
    size: str = "thinkling-base"
    """The network's shape: a name from thinkling/model/config.py."""
    corpus: Literal["templates", "reasoning"] = "templates"
    """What to read: word problems of known templates and arithmetic, or mostly problems over random quantities, and
    reviews of drafts."""
    tokenizer: Path | None = None
    """A tokenizer.json to use; without it one is trained on the corpus first."""
    start_from: Path | None = None
    """A checkpoint folder to start from, with its size and tokenizer; take another seed than it had, for other text."""
    num_tokens: int = 30_000_000
    """How much text to read, in tokens."""
    minutes: float | None = None
    """Read for so long instead, however much that is; the schedule goes by the share of the time."""
    snapshot_minutes: float | None = None
    """Save the model as it is, in OUT-snapshot, every so many minutes."""
    workers: int = 1
    """Processes that make text; a GPU needs 8 to 16. Another number gives other text."""
    rows: int = 32
    length: int = 320
    """One step reads rows x length tokens."""
    short_length: int | None = None
    """Most steps read as many tokens in rows of this length instead: most documents then stand alone, with none before
    them in which the same names mean something else."""
    muon_lr: float = 0.02
    """Muon's learning rate, for the matrices of the layers."""
    lr: float = 3e-3
    """AdamW's learning rate, for everything else."""
    constants: Annotated[OptimizerConstants, tyro.conf.arg(name="")] = field(
        default_factory=lambda: OptimizerConstants(warmup_steps=50)
    )
    decay_share: float = 0.4
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "bfloat16"
    """The network's dtype while it learns; the optimizer keeps float32 masters."""
    compile: bool = True
    """Compile the training step with torch.compile where a C++ compiler is at hand."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(1, num_tokens=self.num_tokens, rows=self.rows, warmup_steps=self.constants.warmup_steps)
        at_least(1, workers=self.workers)
        at_least(64, length=self.length, short_length=self.short_length or self.length)
        at_least(0, lr=self.lr, muon_lr=self.muon_lr, decay_share=self.decay_share)
        if self.start_from is not None and self.tokenizer is not None:
            raise UserError("--start-from has a tokenizer of its own: leave --tokenizer out")
        above_zero(minutes=self.minutes, snapshot_minutes=self.snapshot_minutes)
