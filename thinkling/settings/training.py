"""Settings of the commands that make models: grpo and what checks it, reward-head, pretrain, and the tour."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.errors import UserError
from thinkling.settings.base import ModelSettings, Template, above_zero, at_least
from thinkling.train.rl.objective import PRESETS, Kl, Objective, PresetName
from thinkling.train.rl.reward_names import reward_weights

TrackerName = Literal["tensorboard", "wandb", "trackio"]


@dataclass(frozen=True, kw_only=True)
class Grpo(ModelSettings):
    """Train a model with verifiable rewards: GRPO and its relatives, Dr. GRPO by default.

    Each step asks prompts-per-step problems, draws rollouts-per-prompt answers to each, rewards the right ones with 1,
    and makes the answers that beat their siblings likelier. Checkpoints in OUT/checkpoints load by their path;
    OUT/checkpoints/best is the one that did best on held-out problems. thinkling microscope OUT shows what happened.
    """

    out: Path
    """The run's folder; one that was interrupted goes on."""
    steps: int = 60
    """Batches of rollouts, each with one optimizer step (or --updates-per-batch of them)."""
    minutes: float | None = None
    """Stop after this many minutes, if the steps are not done by then."""
    tasks: tuple[str, ...] = ("builtin",)
    """builtin, larger-numbers (arithmetic that the built-in model has not read the like of), or a file: JSON lines with
    question and reference. Several take turns."""
    prompts_per_step: int = 16
    rollouts_per_prompt: int = 8
    template: Template = "plain"
    """How the question is put; plain lets the model find out that thinking pays."""
    max_tokens: int = 256
    """Length of one rollout at most, in tokens; a longer one is cut and earns nothing."""
    temperature: float = 1.0
    """Rollouts are drawn, and their log-probabilities computed, at this temperature."""
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    """Truncation of the rollouts' sampling; training scores on the same tokens that were left to draw from."""
    reward: tuple[str, ...] = ("correct",)
    """Its parts, each NAME or NAME=WEIGHT: correct, partial, format, conditional-format, length, overlong; and for
    control arms random, format-only."""
    process_reward: float = 0.0
    """Also credit each equation that a completion states, at its own tokens, for whether it holds: the weight of it."""
    mask_truncated: bool = False
    """Leave completions that were cut off out of the loss, instead of teaching that they were wrong."""
    dynamic_sampling: int = 0
    """Ask up to this many times more to replace groups whose rewards are all alike (DAPO)."""
    curriculum: bool = False
    """Prefer kinds of problems that the model gets right about half of the time, as measured so far."""
    overlap: bool = False
    """Draw the next step's rollouts while this one's are learnt from: off policy by one step, corrected (TIS)."""
    lr: float = 3e-4
    """AdamW's learning rate. The default suits the 3M built-in model; use 1e-6 for Qwen3-0.6B and larger."""
    optimizer: Literal["adamw", "adamw-8bit", "muon"] = "adamw"
    """adamw-8bit keeps its moments in 2 bytes a weight instead of 8; muon is for the matrices of the layers."""
    muon_lr: float = 1e-3
    """Muon's learning rate."""
    lora_rank: int = 0
    """Train adapters of this rank instead of the weights (LoRA); 0 trains the weights. A higher --lr suits it."""
    lora_alpha: float = 32.0
    """What the adapters add is multiplied by this, divided by the rank."""
    recompute: bool = False
    """Keep less for the backward pass and compute it again: less memory, more time."""
    lr_decay: float = 0.0
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    preset: PresetName = "dr-grpo"
    """The objective: thinkling explain-objective --preset NAME prints its formula. The next four change it."""
    clip_low: float | None = None
    clip_high: float | None = None
    """The ratio to the old policy is clipped to [1 - clip_low, 1 + clip_high]."""
    kl: Kl | None = None
    """Stay close to the model that training began with: which estimator of the KL divergence, and where."""
    kl_coef: float | None = None
    """The weight of the KL term."""
    updates_per_batch: int = 1
    """Optimizer steps on one batch of rollouts, each on its share of the prompts; later ones are off policy."""
    micro_batch_tokens: int = 4096
    """Tokens in one forward and backward pass, prompts included, at most."""
    memory_gb: float | None = None
    """Make passes so small that the run fits into this much memory, as estimated; see --plan."""
    plan: bool = False
    """Print what the run would need of memory, part by part, and end. MODEL may be a mere size, such as Qwen3-0.6B."""
    eval_every: int = 50
    """Measure held-out accuracy before the first step, after every so many, and at the end; 0 never does."""
    held_out: str = "builtin"
    """What it is measured on: like --tasks."""
    eval_problems: int = 64
    eval_samples: int = 8
    """Answers to each of them, drawn as the rollouts are; pass@1 is their mean, pass@8 the share solved at all."""
    doctor: bool = True
    """Before training, ask 32 problems, and refuse a run that cannot learn anything."""
    watchdog: bool = True
    """Stop a run that collapses, and go back to the last good checkpoint."""
    mirror: tuple[TrackerName, ...] = ()
    """Send the metrics there too; metrics.jsonl is always written."""
    save_every: int = 20
    """Save a checkpoint every so many steps; two are kept, and an interrupted run goes on from the last; 0 saves only
    at the end."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps, prompts_per_step=self.prompts_per_step, max_tokens=self.max_tokens)
        at_least(2, rollouts_per_prompt=self.rollouts_per_prompt)
        at_least(1, updates_per_batch=self.updates_per_batch, eval_samples=self.eval_samples)
        at_least(2, eval_problems=self.eval_problems)
        if not self.tasks:
            raise UserError("--tasks needs at least one of builtin, larger-numbers, or a file")
        at_least(0, lora_rank=self.lora_rank)
        at_least(0, dynamic_sampling=self.dynamic_sampling, eval_every=self.eval_every, save_every=self.save_every)
        if not (0 < self.top_p <= 1 and 0 <= self.min_p <= 1 and self.top_k >= 0):
            raise UserError(f"--top-p {self.top_p} must lie above 0 and be at most 1, --min-p {self.min_p} between 0 "
                            f"and 1, and --top-k {self.top_k} be 0 or more")  # fmt: skip
        above_zero(minutes=self.minutes, memory_gb=self.memory_gb)
        at_least(0, lr=self.lr, muon_lr=self.muon_lr)
        if not 0 <= self.lr_decay <= 1:
            raise UserError(f"--lr-decay is a share of the steps, between 0 and 1, not {self.lr_decay}")
        if self.updates_per_batch > self.prompts_per_step:
            raise UserError(f"--updates-per-batch {self.updates_per_batch} needs as many prompts: raise "
                            f"--prompts-per-step above {self.prompts_per_step}, or lower it")  # fmt: skip
        _ = self.objective, self.reward_weights  # what cannot be is refused here
        if self.temperature <= 0:
            raise UserError("--temperature must be above 0: greedy rollouts are all alike and teach nothing")

    @property
    def objective(self) -> Objective:
        """The preset's, with what the flags change. Rollouts that overlap need a correction: TIS, if it has none."""
        own = {name: getattr(self, name) for name in ("clip_low", "clip_high", "kl", "kl_coef")}
        found = replace(PRESETS[self.preset].objective, **{name: v for name, v in own.items() if v is not None})
        return replace(found, correction="tis") if self.overlap and found.correction == "none" else found

    @property
    def reward_weights(self) -> dict[str, float]:
        """The parts of the reward, and what each counts."""
        return reward_weights(self.reward)


@dataclass(frozen=True, kw_only=True)
class Microscope:
    """What a run of grpo learnt from, as one HTML page: its rollouts side by side, token by token.

    RUN is the folder that grpo's --out named; it may still be under way.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    out: Path | None = None
    """The file to write; RUN/microscope.html if it is left out."""
    max_groups: int = 400
    """Groups of rollouts in the page at most, of steps spread evenly over the run; about 10 KB each."""

    def __post_init__(self) -> None:
        at_least(2, max_groups=self.max_groups)


@dataclass(frozen=True, kw_only=True)
class ExplainObjective:
    """The formula that a preset of grpo optimises, its source, and where it differs from the paper."""

    preset: PresetName = "dr-grpo"


@dataclass(frozen=True, kw_only=True)
class CheckLoss:
    """Does a policy loss have the gradient that it ought to have? Proved by enumeration.

    FUNCTION is module:function or file.py:function. It takes a thinkling.train.rl.exact.Batch and returns what this
    micro-batch adds to the step's loss. Without FUNCTION thinkling's own loss is checked.
    """

    function: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FUNCTION")] = ""
    """The loss to check."""
    preset: PresetName = "dr-grpo"
    """What it ought to be."""


@dataclass(frozen=True, kw_only=True)
class RewardHeadTraining(ModelSettings):
    """Train a head on the model's hidden states that says how likely a completion's answer is right.

    Samples answers to training problems, grades them, fits a logistic regression to some, and measures it on the rest.
    OUT/reward_head is the head; that folder, copied into the model's own, goes with it.
    """

    out: Path
    """The run's folder; it must not hold a run yet."""
    num_problems: int = 1000
    """How many training problems to ask."""
    validation_share: float = 0.25
    """The share of them that is kept aside to measure the head on."""
    num_samples: int = 8
    """Completions of each problem, for each template."""
    templates: tuple[Template, ...] = ("plain", "step-by-step")
    """The ways in which each problem is put."""
    temperature: float = 1.0
    max_tokens: int = 256
    """Length of one completion at most, in tokens."""
    weight_decay: float = 0.1
    """Half this, times the squared length of the weights (of standardised features), is added to the mean loss."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(3, num_problems=self.num_problems)
        at_least(1, num_samples=self.num_samples, max_tokens=self.max_tokens)
        above_zero(temperature=self.temperature, weight_decay=self.weight_decay)
        if not 0 < self.validation_share < 1:
            raise UserError(f"--validation-share must lie between 0 and 1, not {self.validation_share}")
        if not self.templates:
            raise UserError("--templates needs at least one template")


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
    warmup_steps: int = 50
    decay_share: float = 0.4
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "bfloat16"
    """The network's dtype while it learns; the optimizer keeps float32 masters."""
    compile: bool = True
    """Compile the training step with torch.compile where a C++ compiler is at hand."""

    def __post_init__(self) -> None:
        at_least(1, num_tokens=self.num_tokens, rows=self.rows, warmup_steps=self.warmup_steps)
        at_least(64, length=self.length)
        at_least(0, lr=self.lr, muon_lr=self.muon_lr)


@dataclass(frozen=True, kw_only=True)
class Tour:
    """The whole story in one run, on the built-in model: ask, think, vote, train, see what changed.

    Ends with OUT/report.html. Takes a few minutes on two CPU cores.
    """

    out: Path = Path("runs/tour")
    """The run's folder; an earlier tour in it is kept beside, as tour-2, tour-3, ..."""
    model: str = "thinkling-base"
    """The base model to start from."""
    num_problems: int = 200
    """Held-out problems per measurement."""
    grpo_minutes: float = 3.5
    """How long to train, in minutes, at most."""
    grpo_steps: int = 60
    """How long to train, in steps, at most."""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        at_least(1, num_problems=self.num_problems, grpo_steps=self.grpo_steps)
        above_zero(grpo_minutes=self.grpo_minutes)  # said before anything is measured, not when training begins
