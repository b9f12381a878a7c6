"""What every kind of training run is told: how long it goes on, and how weights are updated. Records without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thinkling.checks import at_least, finite
from thinkling.errors import UserError

TrackerName = Literal["tensorboard", "wandb", "trackio"]
OptimizerName = Literal["adamw", "adamw-8bit", "muon"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run in its folder `out`.

    steps: how many; None as many as there is time for. minutes: of training, over all starts; it ends at the first step
    behind them. save_every: steps between two checkpoints; 0 saves only at the end. trackers: where the metrics go
    besides metrics.jsonl.
    """

    out: Path
    steps: int | None
    minutes: float | None = None
    save_every: int = 20
    trackers: tuple[TrackerName, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OptimizerConstants:
    """Constants of AdamW (arXiv:1711.05101), Muon (Jordan et al. 2024), clipping and warm-up: the one home of each."""

    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of the first and the second moment."""
    eps: float = 1e-10
    """What AdamW adds to its divisor."""
    weight_decay: float = 0.0
    """Decoupled, of AdamW and Muon."""
    momentum: float = 0.95
    """Muon's."""
    clip_norm: float = 1.0
    """A gradient with a larger norm is scaled down to it."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises to its full value."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(0, eps=self.eps, weight_decay=self.weight_decay, clip_norm=self.clip_norm)
        at_least(0, warmup_steps=self.warmup_steps)
        if not all(0 <= decay < 1 for decay in (*self.betas, self.momentum)):
            raise UserError(f"--betas {self.betas} and --momentum {self.momentum} must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes an update.

    name: adamw, adamw-8bit (moments of 8 bits), or muon for the matrices of the layers with AdamW for the rest. lr,
    muon_lr: their learning rates. decay_share: of the steps, at the end, over which the rates fall to zero.
    """

    name: OptimizerName = "adamw"
    lr: float = 3e-4
    muon_lr: float = 1e-3
    decay_share: float = 0.0
    constants: OptimizerConstants = OptimizerConstants()


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Adapters to train instead of the weights (arXiv:2106.09685): their rank, and alpha / rank scales what they add.
    seed: of their start."""

    rank: int
    alpha: float = 32.0
    seed: int = 0
