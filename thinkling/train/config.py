"""What every kind of training run is told: how long it goes on, and how weights are updated. Records without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TrackerName = Literal["tensorboard", "wandb", "trackio"]
OptimizerName = Literal["adamw", "adamw-8bit", "muon"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run in its folder `out`.

    steps: how many. minutes: of training, over all starts; it ends at the first step behind them. save_every: steps
    between two checkpoints; 0 saves only at the end. trackers: where the metrics go besides metrics.jsonl.
    """

    out: Path
    steps: int
    minutes: float | None = None
    save_every: int = 20
    trackers: tuple[TrackerName, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes an update: every constant of it.

    name: adamw, adamw-8bit (moments of 8 bits), or muon for the matrices of the layers with AdamW for the rest. lr:
    AdamW's learning rate; muon_lr and muon_momentum: Muon's. betas, eps, weight_decay: AdamW's (arXiv:1711.05101).
    clip_norm: the gradient's norm at most. warmup_steps: linear, from 1 / warmup_steps of the rate. decay_share: of the
    steps, at the end, over which the rate falls to zero.
    """

    name: OptimizerName = "adamw"
    lr: float = 3e-4
    muon_lr: float = 1e-3
    muon_momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-10
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    warmup_steps: int = 0
    decay_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Adapters to train instead of the weights (arXiv:2106.09685): their rank, and alpha / rank scales what they add.
    seed: of their start."""

    rank: int
    alpha: float = 32.0
    seed: int = 0
