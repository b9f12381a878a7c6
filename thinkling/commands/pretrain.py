"""`thinkling pretrain`: train a base model from nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.checks import at_least, finite
from thinkling.train.config import OptimizerConstants


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train a base model from nothing on generated mathematics: how thinkling-base was made.

    OUT becomes a checkpoint folder that generate, eval and grpo load by its path.
    """

    out: Path
    """The folder to write; it must not exist yet."""
    size: str = "thinkling-base"
    """The network's shape: a name from thinkling/model/config.py."""
    num_tokens: int = 30_000_000
    """How much text to read, in tokens."""
    rows: int = 32
    length: int = 320
    """One step reads rows x length tokens."""
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
        at_least(64, length=self.length)
        at_least(0, lr=self.lr, muon_lr=self.muon_lr, decay_share=self.decay_share)


def main(settings: Pretrain) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from thinkling.train.pretrain.trainer import PretrainMetrics, train

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns) as bar:
        task = bar.add_task("making text, training the tokenizer", total=None, state="")

        def show(metrics: PretrainMetrics, num_steps: int) -> None:
            speed = metrics.tokens / metrics.seconds
            state = f"step {metrics.step + 1}/{num_steps}  loss {metrics.loss:.3f}  {speed:,.0f} tokens/s"
            bar.update(task, description="pretraining", total=num_steps, completed=metrics.step + 1, state=state)

        out = train(settings, show)
    Console().print(f"The model: {out}. Try: thinkling generate --model {out} 'What is 12 + 34?'", highlight=False)
