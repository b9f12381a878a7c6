"""`thinkling distill`: train a student on a teacher's distributions, over its traces or over the student's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thinkling.checks import at_least
from thinkling.commands import sft
from thinkling.commands.sft import Sft
from thinkling.commands.training import (
    keeper,
    lora_config,
    opened,
    optimizer_config,
    refuse_after_collapse,
    run_config,
    tell_end,
    validation_config,
)
from thinkling.errors import UserError

if TYPE_CHECKING:
    from thinkling.generate.completion import Completion
    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.distill.soft import SoftConfig, SoftLoss
    from thinkling.train.rl.config import RolloutConfig
    from thinkling.train.rl.metrics import StepMetrics
    from thinkling.train.rl.update import Credit

LIMITS = ("epochs", "steps", "minutes")
SELF = "self"


@dataclass(frozen=True, kw_only=True)
class Distill(Sft):
    """Train a student (--model) on a teacher's distributions, over given replies or its own rollouts.

    soft compares the two at each token of --data. on-policy lets the student answer --tasks, and the teacher score each
    token of the answers. strong-to-weak is both, one after the other (Qwen3's recipe): OUT/soft, then OUT/on-policy.
    Student and teacher must have one vocabulary; thinkling distill-data and sft need none.
    """

    max_rows: int = 128
    """Answers that are drawn at the same time, at most: rollouts (on-policy), and those to --held-out."""
    cache_gb: float = 2.0
    """Memory for the key-value cache while they are drawn, in GB, at most."""
    teacher: str
    """The teacher, as --model; self for the student itself as it begins, with the solution in its prompt (on-policy,
    --score sampled)."""
    method: Literal["soft", "on-policy", "strong-to-weak"] = "on-policy"
    """What the two are compared on, see above."""
    data: Path | None = None
    """soft and strong-to-weak: the replies, as for thinkling sft."""
    divergence: Literal["forward-kl", "reverse-kl", "jsd"] | None = None
    """Between the two distributions. Default: forward-kl for soft, reverse-kl on policy."""
    beta: float = 0.5
    """Of jsd: 0 would be the forward KL, 1 the reverse."""
    soft_temperature: float = 1.0
    """soft: both distributions are taken at this temperature. On policy it is --temperature, that of sampling."""
    top_k: int = 0
    """Compare this many tokens, and one bin for all others; 0 compares all. soft takes the teacher's likeliest, which
    it is asked for once; on policy they are the student's."""
    score: Literal["sampled", "full"] = "sampled"
    """on-policy: the teacher scores the sampled tokens alone, or (full) all that the student might have said there, or
    its --top-k."""
    discount: float = 0.0
    """--score sampled: how much of what follows a token is credited to it; 0 nothing, 1 all."""
    task_reward: float = 0.0
    """on-policy: also reward right answers with this, as grpo does."""
    tasks: tuple[str, ...] = ("quantities",)
    """on-policy: what the student is asked."""
    steps: int = 60
    """on-policy: batches of rollouts, each with one optimizer step."""
    prompts_per_step: int = 16
    """Problems that one step asks."""
    rollouts_per_prompt: int = 4
    """Answers that it draws to each of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps, prompts_per_step=self.prompts_per_step)
        at_least(2, rollouts_per_prompt=self.rollouts_per_prompt)
        if self.plan or self.memory_gb is not None:
            raise UserError("--plan and --memory-gb know nothing of teachers: see thinkling sft --plan, add the "
                            "teacher's weights, and set --micro-batch-tokens")  # fmt: skip
        at_least(0, top_k=self.top_k, task_reward=self.task_reward)
        if not (0 < self.beta < 1 and 0 <= self.discount <= 1 and self.soft_temperature > 0):
            raise UserError(f"--beta {self.beta} must lie between 0 and 1 (there it is forward-kl or reverse-kl), "
                            f"--discount {self.discount} from 0 to 1, --soft-temperature {self.soft_temperature} above "
                            "0")  # fmt: skip
        if self.method != "on-policy" and self.data is None:
            raise UserError(f"--method {self.method} learns replies that are given: name their file with --data")
        if self.score == "sampled" and self.method != "soft" and (self.divergence or "reverse-kl") != "reverse-kl":
            raise UserError(f"--score sampled descends the reverse KL, not {self.divergence}: use --score full")
        if self.teacher == SELF and (self.method, self.score) != ("on-policy", "sampled"):
            raise UserError("--teacher self needs --method on-policy and --score sampled: it reads another prompt than "
                            "the student")  # fmt: skip


# --- from flags to the records that training takes ---


def soft_config(settings: Distill, on_policy: bool) -> SoftConfig:
    from thinkling.train.distill.soft import SoftConfig

    kind = settings.divergence or ("reverse-kl" if on_policy else "forward-kl")
    return SoftConfig(
        divergence=kind, beta=settings.beta, top_k=settings.top_k, of="student" if on_policy else "teacher",
        temperature=settings.temperature if on_policy else settings.soft_temperature,
    )  # fmt: skip


def rollout_config(settings: Distill) -> RolloutConfig:
    from thinkling.generate.sampling import Sampling
    from thinkling.train.rl.config import RolloutConfig

    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    return RolloutConfig(
        prompts_per_step=settings.prompts_per_step, rollouts_per_prompt=settings.rollouts_per_prompt,
        template=settings.template, sampling=sampling, rewards={"correct": settings.task_reward},
    )  # fmt: skip


def load_teacher(settings: Distill, student: LanguageModel) -> LanguageModel:
    """The teacher on the student's device, frozen. Raises UserError where their vocabularies differ."""
    import copy

    from thinkling.commands.load import language_model
    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.distill.soft import check_vocabularies

    if settings.teacher == SELF:
        teacher = LanguageModel(SELF, copy.deepcopy(student.network), student.tokenizer, **student.limits)
    else:
        teacher = language_model(replace(settings, model=settings.teacher, adapter=None))
        check_vocabularies(student, teacher)
    teacher.network.requires_grad_(False).eval()
    return teacher


# --- the runs ---


def train(
    settings: Distill, model: LanguageModel | None = None, show: Callable[[object], None] | None = None,
    teacher: LanguageModel | None = None,
) -> Path:  # fmt: skip
    """Run `thinkling distill`; returns the folder of the last checkpoint. `show` sees what is measured."""
    from thinkling.commands.load import language_model
    from thinkling.distributed import broadcast

    if settings.method == "strong-to-weak":
        soft = replace(settings, method="soft", out=settings.out / "soft")
        begun = last_of(soft.out) if broadcast(is_over(soft.out)) else train(soft, model, show, teacher)
        later = replace(settings, method="on-policy", out=settings.out / "on-policy", model=str(begun))
        return train(later, model, show, teacher)
    if settings.method == "soft":
        return sft.train(
            replies(settings), model, show, lambda student, examples: soft_loss(settings, student, examples, teacher),
            told=settings,
        )  # fmt: skip
    return on_policy(settings, model or language_model(settings), show or (lambda shown: None), teacher)


def replies(settings: Distill) -> Sft:
    """The flags that sft takes."""
    return Sft(**{own.name: getattr(settings, own.name) for own in fields(Sft)})


def is_over(out: Path) -> bool:
    from thinkling.runs import FINISHED

    return (out / FINISHED).exists()


def last_of(out: Path) -> Path:
    from thinkling.runs import FINISHED, read_object

    return Path(read_object(out / FINISHED)["checkpoint"])


def soft_loss(
    settings: Distill, student: LanguageModel, examples: list[Completion], teacher: LanguageModel | None
) -> SoftLoss:
    from thinkling.train.distill.soft import SoftLoss

    teacher = teacher or load_teacher(settings, student)
    loss = SoftLoss(teacher.network, soft_config(settings, on_policy=False))
    common = min(student.network.config.vocab_size, teacher.network.config.vocab_size)
    loss.remember(examples, common, settings.micro_batch_tokens)
    return loss


def on_policy(
    settings: Distill, model: LanguageModel, show: Callable[[object], None], teacher: LanguageModel | None
) -> Path:
    from thinkling.model.weights import resolve
    from thinkling.runs import FINISHED, check_run
    from thinkling.train.rl.config import UpdateConfig
    from thinkling.train.rl.curriculum import Curriculum, unaskable
    from thinkling.train.rl.guard import watchdog
    from thinkling.train.rl.guard.validation import Validator, problems_of
    from thinkling.train.rl.objective import Objective
    from thinkling.train.rl.trainer import SAMPLES, Trainer
    from thinkling.train.run import Run

    refuse_after_collapse(settings.out)
    check_run(settings.out, settings, FINISHED, LIMITS)
    aside = problems_of(validation_config(settings), settings.tasks) if settings.eval_every else []
    failures = unaskable(model, settings.tasks, settings.template, settings.on_error == "skip")
    gone = {problem.question for problem in aside} | {failure.question for failure in failures}
    curriculum = Curriculum(settings.tasks, settings.seed, False, frozenset(gone))
    teacher = teacher or load_teacher(settings, model)
    with opened(settings.out, settings, LIMITS, failures):
        rollout = rollout_config(settings)
        trainer = Trainer(
            model, curriculum, settings.steps, rollout=rollout,
            objective=Objective(advantage="mean", surrogate="none", aggregation="tokens"),
            update=UpdateConfig(micro_batch_tokens=settings.micro_batch_tokens, recompute=settings.recompute),
            optimizer=optimizer_config(settings), lora=lora_config(settings),
            keep=keeper(settings.out / SAMPLES), **scored_by(settings, model, teacher),
        )  # fmt: skip
        validator = Validator(aside, validation_config(settings), rollout, model) if settings.eval_every else None
        return Run(
            run_config(settings, settings.steps), trainer, validator=validator,
            watch=alarm if settings.watchdog else None, window=watchdog.WINDOW, start=resolve(settings.model),
            show=show, tracked_config=settings,
        ).go()  # fmt: skip


def alarm(rows: Sequence[StepMetrics]) -> str | None:
    """grpo's watch, but for rewards that are all alike: credits need none."""
    from thinkling.train.rl.guard import watchdog

    return watchdog.alarm([replace(row, signal=1.0) for row in rows])


def scored_by(settings: Distill, model: LanguageModel, teacher: LanguageModel) -> dict[str, Credit | SoftLoss]:
    """How the teacher's opinion reaches the update."""
    from thinkling.train.distill.on_policy import hinted, teacher_credits
    from thinkling.train.distill.soft import SoftLoss

    if settings.score == "full":
        return {"token_loss": SoftLoss(teacher.network, soft_config(settings, on_policy=True))}
    more = {"view": hinted(model, settings.template)} if settings.teacher == SELF else {}
    return {
        "credit": teacher_credits(
            teacher.network, settings.temperature, discount=settings.discount,
            micro_batch_tokens=settings.micro_batch_tokens, **more,
        )
    }  # fmt: skip


def main(settings: Distill) -> Path | None:
    from rich.console import Console

    from thinkling.progress import Progress
    from thinkling.train.rl.guard.validation import Validation
    from thinkling.train.rl.metrics import StepMetrics

    console = Console(highlight=False)
    with Progress("reading both models") as progress:
        tell_soft = sft.teller(replies(settings), progress, console)

        def show(shown: object) -> None:
            if isinstance(shown, StepMetrics):
                apart = f"{shown.kl:.2f} nats a token from the teacher  " if shown.kl is not None else ""
                note = f"{apart}{shown.right:.0%} right  {shown.length:.0f} tokens long"
                progress.update(shown.step + 1, note, total=settings.steps, label="training on policy, steps")
            elif isinstance(shown, Validation):
                console.print(f"after {shown.step} steps: {shown.pass_1:.1%} right of held-out problems")
            else:
                tell_soft(shown)

        folder = train(settings, show=show)
    out = settings.out / "on-policy" if settings.method == "strong-to-weak" else settings.out
    tell_end(replace(settings, out=out), progress.total or 0, folder, console)
    return folder
