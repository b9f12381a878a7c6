"""`thinkling reward-head`: train a head that says how likely an answer is right."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thinkling.checks import above_zero, at_least
from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError
from thinkling.scale.prompts import Template

if TYPE_CHECKING:
    from thinkling.train.reward_head import HeadConfig


@dataclass(frozen=True, kw_only=True)
class RewardHeadTraining(ModelSettings):
    """Train a head on the model's hidden states that says how likely a completion's answer is right.

    Samples answers to training problems, grades them, fits a logistic regression to some, and measures it on the rest.
    OUT/reward_head is the head; that folder, copied into the model's own, goes with it.
    """

    out: Path
    """The run's folder. A run that was interrupted resumes."""
    tasks: str = "quantities"
    """Where its problems come from, as for thinkling eval."""
    num_problems: int = 1000
    """How many training problems to ask."""
    validation_share: float = 0.25
    """The share of them that is kept aside to measure the head on."""
    num_samples: int = 8
    """Completions of each problem, for each template."""
    templates: tuple[Template, ...] = ("plain", "step-by-step")
    """The ways in which each problem is put."""
    temperature: float = 1.0
    """They are drawn at this temperature."""
    max_tokens: int = 384
    """Length of one completion at most, in tokens."""
    weight_decay: float = 0.1
    """Half this, times the squared length of the weights (of standardised features), is added to the mean loss."""
    max_iterations: int = 500
    """Of L-BFGS, which fits the head."""
    tolerance: float = 1e-6
    """L-BFGS ends where no part of the gradient is larger."""
    seed: int = 0
    """Of the problems and of the completions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(3, num_problems=self.num_problems)
        at_least(1, num_samples=self.num_samples, max_tokens=self.max_tokens, max_iterations=self.max_iterations)
        above_zero(temperature=self.temperature, weight_decay=self.weight_decay, tolerance=self.tolerance)
        if not 0 < self.validation_share < 1:
            raise UserError(f"--validation-share must lie between 0 and 1, not {self.validation_share}")
        if not self.templates:
            raise UserError("--templates needs at least one template")


def head_config(settings: RewardHeadTraining) -> "HeadConfig":
    from thinkling.generate.sampling import Sampling
    from thinkling.train.reward_head import HeadConfig

    return HeadConfig(
        templates=settings.templates, num_samples=settings.num_samples, validation_share=settings.validation_share,
        weight_decay=settings.weight_decay, max_iterations=settings.max_iterations, tolerance=settings.tolerance,
        sampling=Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed),
    )  # fmt: skip


def main(settings: RewardHeadTraining) -> Path:
    from rich.console import Console

    from thinkling.commands.load import language_model
    from thinkling.progress import Progress
    from thinkling.runs import alone_in, check_run, open_run
    from thinkling.scale.reward_head import FILE
    from thinkling.tasks.benchmarks import load_problems
    from thinkling.train import checkpoint
    from thinkling.train.config import RunConfig
    from thinkling.train.head_measure import table
    from thinkling.train.reward_head import MEASURED, CollectMetrics, Collector, train
    from thinkling.train.run import Run

    check_run(settings.out, settings, MEASURED)
    model = language_model(settings)
    asked = load_problems(settings.tasks, "train", settings.num_problems, settings.seed)
    collector = Collector(head_config(settings), model, asked)
    config = RunConfig(out=settings.out, steps=len(collector.steps), save_every=1)
    with alone_in(settings.out), Progress("asking", config.steps) as progress:

        def show(metrics: CollectMetrics) -> None:
            progress.advance(f"{metrics.template}, {metrics.right:.0%} right")

        out = open_run(settings.out, settings, MEASURED)
        checkpoint.sweep(out)
        Run(config, collector, show=show).go()
        measured = train(collector, out)
    console = Console()
    console.print(table(measured))
    console.print(f"The head: {out / FILE}", highlight=False, soft_wrap=True)
    return out / FILE
