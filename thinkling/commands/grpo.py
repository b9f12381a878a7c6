"""`thinkling grpo`: train a model with verifiable rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import at_least
from thinkling.commands.grpo_records import rollout_config, update_config, workload
from thinkling.commands.options import OnError
from thinkling.commands.rollout_servers import RolloutServerSettings, servers_of
from thinkling.commands.training import (
    TrainingSettings,
    keeper,
    lora_config,
    opened,
    optimizer_config,
    refuse_after_collapse,
    run_config,
    show_plan,
    tell_end,
    validation_config,
)
from thinkling.errors import UserError
from thinkling.scale.prompts import Template
from thinkling.train.rl.objective import PRESETS, Kl, Objective, PresetName, Truncated
from thinkling.train.rl.rewards import reward_weights
from thinkling.words import counted

if TYPE_CHECKING:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.problem import Problem
    from thinkling.train.rl.curriculum import Curriculum
    from thinkling.train.rl.guard.preflight import Findings
    from thinkling.train.rl.guard.validation import Validation
    from thinkling.train.rl.loss import UserLoss
    from thinkling.train.rl.metrics import StepMetrics


LIMITS = ("steps", "minutes")  # how long a run goes on: one that is raised resumes a finished run


@dataclass(frozen=True, kw_only=True)
class Grpo(TrainingSettings):
    """Train a model with verifiable rewards: GRPO and its relatives, Dr. GRPO by default.

    Each step asks prompts-per-step problems, draws rollouts-per-prompt answers to each, rewards the right ones with 1,
    and makes the answers that beat their siblings likelier. --model OUT is then the trained model, and
    --model OUT/checkpoints/best the one that did best on held-out problems. thinkling microscope OUT shows what
    happened.
    """

    out: Path
    """The run's folder. A run that was interrupted resumes; so does a finished one, with more steps or minutes."""
    steps: int = 60
    """Batches of rollouts, each with one optimizer step (or --updates-per-batch of them)."""
    tasks: tuple[str, ...] = ("quantities",)
    """quantities (each of a new structure), longer-quantities (8 to 10 steps instead of 2 to 7), builtin,
    larger-numbers (arithmetic unlike what the built-in model has read), gym:FAMILY, or a file, as for thinkling eval.
    Several take turns."""
    on_error: OnError = "stop"
    """What happens to a file's problem whose question is longer than --max-length: stop ends the run before any work,
    and names it; skip never asks it, and lists it in OUT/failed.json."""
    prompts_per_step: int = 16
    """Problems that one step asks."""
    rollouts_per_prompt: int = 8
    """Answers that it draws to each of them."""
    template: Template = "plain"
    """How the question is put; plain lets the model find out that thinking pays."""
    max_tokens: int = 384
    """Length of one rollout at most, in tokens; a longer one is cut and earns nothing."""
    temperature: float = 1.0
    """Rollouts are drawn, and their log-probabilities computed, at this temperature."""
    top_p: float = 1.0
    """Draw only from the likeliest tokens with this much probability; training scores on the same tokens that were left
    to draw from, here and below."""
    top_k: int = 0
    """Draw only from the k likeliest tokens; 0 keeps all."""
    min_p: float = 0.0
    """Never draw a token below this share of the likeliest one's probability."""
    reward: tuple[str, ...] = ("correct",)
    """Its parts, each NAME or NAME=WEIGHT: correct, partial, format, conditional-format, length, overlong; for
    control arms random, format-only; and FILE.py:FUNCTION, called as function(problem, response), which gives a number
    from 0 to 1."""
    process_reward: float = 0.0
    """Also credit each equation that a completion states, at its own tokens, for whether it holds: the weight of it."""
    dynamic_sampling: int = 0
    """Ask up to this many times more to replace groups whose rewards are all alike (DAPO)."""
    curriculum: bool = False
    """Prefer kinds of problems that the model gets right about half of the time, as measured so far."""
    overlap: bool = False
    """Draw the next steps' rollouts while this one's are learnt from: off policy by --max-stale steps, corrected
    (TIS)."""
    max_stale: int = 1
    """With --overlap: how many batches to begin ahead. More helps where drawing sometimes takes longer than learning
    and sometimes not; each costs a copy of the weights and a cache, but not with --rollouts."""
    servers: Annotated[RolloutServerSettings, tyro.conf.arg(name="")] = field(default_factory=RolloutServerSettings)
    lr: float = 3e-4
    """AdamW's learning rate. The default suits the 6M built-in model; use 1e-6 for Qwen3-0.6B and larger."""
    preset: PresetName = "dr-grpo"
    """The objective: thinkling explain-objective --preset NAME prints its formula. The next five change it."""
    clip_low: float | None = None
    """The ratio to the old policy is clipped to [1 - clip_low, 1 + clip_high]."""
    clip_high: float | None = None
    """Its upper end; see --clip-low."""
    kl: Kl | None = None
    """Stay close to the model that training began with: which estimator of the KL divergence, and where."""
    kl_coef: float | None = None
    """The weight of the KL term."""
    truncated: Truncated | None = None
    """What becomes of completions that were cut off: counted teaches that they earn nothing; dropped leaves them out of
    the loss and of its denominators; masked leaves them in the denominators."""
    loss: str = ""
    """A loss of your own in place of the objective's: FILE.py:FUNCTION or MODULE:FUNCTION, as thinkling check-loss
    takes it. Advantages stay the preset's."""
    updates_per_batch: int = 1
    """Optimizer steps on one batch of rollouts, each on its share of the prompts; later ones are off policy."""
    eval_every: int = 50
    """Measure held-out accuracy before the first step, each time this many steps are done, and at the end; 0 never
    does."""
    held_out: str | None = None
    """What it is measured on: a suite or a file, like --tasks, with no question of those. Without it, a share of the
    tasks themselves that training never asks: of a suite its held-out split; of a file at most a tenth of its
    questions, chosen by their hash."""
    eval_problems: int = 64
    """How many problems it is measured on."""
    eval_samples: int = 8
    """Answers to each of them, drawn as the rollouts are; pass@1 is their mean, pass@8 the share solved at all."""
    preflight: bool = True
    """Before training, ask 32 problems, or all there are, and refuse a run that cannot learn anything."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps, prompts_per_step=self.prompts_per_step, max_tokens=self.max_tokens)
        at_least(1, max_stale=self.max_stale)
        if self.max_stale > 1 and not self.overlap:
            raise UserError(f"--max-stale {self.max_stale} is for rollouts that are drawn ahead: add --overlap")
        at_least(2, rollouts_per_prompt=self.rollouts_per_prompt)
        at_least(1, updates_per_batch=self.updates_per_batch, eval_samples=self.eval_samples)
        at_least(2, eval_problems=self.eval_problems)
        if not self.tasks:
            raise UserError("--tasks needs at least one suite or file: quantities, for example")
        at_least(0, process_reward=self.process_reward, dynamic_sampling=self.dynamic_sampling)
        if not (0 < self.top_p <= 1 and 0 <= self.min_p <= 1 and self.top_k >= 0):
            raise UserError(f"--top-p {self.top_p} must lie above 0 and be at most 1, --min-p {self.min_p} between 0 "
                            f"and 1, and --top-k {self.top_k} be 0 or more")  # fmt: skip
        if self.updates_per_batch > self.prompts_per_step:
            raise UserError(f"--updates-per-batch {self.updates_per_batch} needs as many prompts: raise "
                            f"--prompts-per-step above {self.prompts_per_step}, or lower it")  # fmt: skip
        _ = self.objective, self.reward_weights  # what cannot be is refused here
        self.servers.check_sampling(self.temperature, truncates=self.top_p < 1 or self.top_k > 0 or self.min_p > 0)
        if self.temperature <= 0:
            raise UserError("--temperature must be above 0: greedy rollouts are all alike and teach nothing")

    @property
    def objective(self) -> Objective:
        """The preset's, with what the flags change. Rollouts that overlap, or are of servers, need a correction: TIS,
        if it has none."""
        own = {name: getattr(self, name) for name in ("clip_low", "clip_high", "kl", "kl_coef", "truncated")}
        found = replace(PRESETS[self.preset].objective, **{name: v for name, v in own.items() if v is not None})
        differs = self.overlap or bool(self.servers.urls)
        return replace(found, correction="tis") if differs and found.correction == "none" else found

    @property
    def reward_weights(self) -> dict[str, float]:
        """The parts of the reward, and what each counts."""
        return reward_weights(self.reward)


# --- the run ---


def train(
    settings: Grpo,
    model: LanguageModel | None = None,
    show: Callable[[StepMetrics | Validation | Findings], None] | None = None,
) -> Path:
    """Run `thinkling grpo`; returns the folder of the last checkpoint, or of the last good one if the watchdog stopped
    the run (then the weights in memory are the later ones). `show` sees every step's metrics, and what is measured in
    between.

    A run that was interrupted resumes from its last checkpoint, and on a CPU in float32 ends with the same bits as one
    that was not. So does a finished run with more steps, or more minutes, but for what the number of steps decides: the
    schedule, and rollouts that overlap. The steps before it are shown again.
    """
    from thinkling.commands.load import language_model
    from thinkling.runs import FINISHED, check_run
    from thinkling.train.rl.check_loss import loss_named
    from thinkling.train.rl.curriculum import Curriculum, unaskable
    from thinkling.train.rl.guard.validation import problems_of
    from thinkling.train.rl.rewards import part_named

    refuse_after_collapse(settings.out)  # what needs no model is said before one is loaded
    check_run(settings.out, settings, FINISHED, LIMITS)
    loss = loss_named(settings.loss) if settings.loss else None
    for name in settings.reward_weights:
        part_named(name)
    aside = problems_of(validation_config(settings), settings.tasks) if settings.eval_every else []
    without = frozenset(problem.question for problem in aside)
    curriculum = Curriculum(settings.tasks, settings.seed, settings.curriculum, without)
    model = model or language_model(settings)
    files = [*settings.tasks, *([settings.held_out] if settings.eval_every and settings.held_out else [])]
    failures = unaskable(model, files, settings.template, settings.on_error == "skip")
    if failures:
        gone = {failure.question for failure in failures}
        curriculum = Curriculum(settings.tasks, settings.seed, settings.curriculum, without | gone)
        aside = [problem for problem in aside if problem.question not in gone]
    with opened(settings.out, settings, LIMITS, failures):  # nothing is made where the problems cannot be read
        return run(settings, model, curriculum, aside, loss, show or (lambda shown: None))


def run(
    settings: Grpo, model: LanguageModel, curriculum: Curriculum, aside: list[Problem], loss: UserLoss | None,
    show: Callable[[object], None],
) -> Path:  # fmt: skip
    from thinkling.distributed import is_first
    from thinkling.model.weights import resolve
    from thinkling.runs import write_json
    from thinkling.train import memory
    from thinkling.train.rl.guard import watchdog
    from thinkling.train.rl.guard.preflight import examine
    from thinkling.train.rl.guard.validation import Validator
    from thinkling.train.rl.trainer import SAMPLES, Trainer
    from thinkling.train.run import Run

    if settings.memory_gb is not None:
        room = memory.plan(workload(settings), model.network.config, model.network.dtype)
        settings = replace(settings, micro_batch_tokens=room.tokens)
    rollout = rollout_config(settings)
    in_flight = settings.max_stale - 1  # pushes that a batch may live through
    servers = servers_of(settings.servers, settings.out, model, settings.max_rows, in_flight)
    trainer = Trainer(
        model, curriculum, settings.steps, rollout=rollout, objective=settings.objective,
        update=update_config(settings), optimizer=optimizer_config(settings), lora=lora_config(settings),
        loss=loss, servers=servers, keep=keeper(settings.out / SAMPLES),
    )  # fmt: skip
    measured = Validator(aside, validation_config(settings), rollout, model, servers)
    validator = measured if settings.eval_every else None
    run = Run(
        run_config(settings, settings.steps), trainer, validator=validator, window=watchdog.WINDOW,
        watch=watchdog.alarm if settings.watchdog else None, start=resolve(settings.model), show=show,
        tracked_config=settings,
    )  # fmt: skip
    if settings.preflight and run.step == 0:
        if servers:
            servers.push(0)
        findings = examine(rollout, settings.tasks, servers or model, curriculum.without)
        if is_first():
            write_json(settings.out / "preflight.json", findings)
        show(findings)
    if model.network.device.type != "cpu":
        trainer.updater.probe(settings.max_length)
    return run.go()


def main(settings: Grpo) -> Path | None:
    from rich.console import Console

    from thinkling.train.rl.live_table import LiveTable

    if settings.plan:
        prompts, length = counted(settings.prompts_per_step, "prompt"), counted(settings.max_tokens, "token")
        steps = f"{prompts} x {settings.rollouts_per_prompt} rollouts of at most {length}"
        show_plan(settings, workload(settings), steps)
        return None
    with LiveTable(settings.steps) as table:
        folder = train(settings, show=table)
    console = Console(highlight=False)
    tell_end(settings, settings.steps, folder, console)
    console.print(f"What it learnt from: thinkling microscope {settings.out}")
    return folder
