"""`thinkling sft`: train a model on replies that are given: hard distillation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thinkling.checks import above_zero, at_least
from thinkling.commands.training import (
    TrainingSettings,
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
from thinkling.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from thinkling.generate.completion import Completion
    from thinkling.generate.language_model import LanguageModel
    from thinkling.progress import Progress
    from thinkling.train.memory import Workload
    from thinkling.train.rl.guard.validation import Validator
    from thinkling.train.sft.config import SftConfig
    from thinkling.train.sft.records import Record
    from thinkling.train.sft.trainer import SftMetrics, TokenLoss
    from thinkling.train.sft.validation import Pairs, SftValidation

LIMITS = ("epochs", "minutes")  # one that is raised resumes a finished run


@dataclass(frozen=True, kw_only=True)
class Sft(TrainingSettings):
    """Train a model on given replies (supervised fine-tuning), such as those of a stronger model.

    Learnt are the reply's tokens and its stop token, exactly those that the model must later sample behind the same
    prompt: thinkling data show FILE colours them. --model OUT is then the trained model, and --model
    OUT/checkpoints/best the one that did best on what is held out.
    """

    max_rows: int = 128
    """With --held-out: answers that are drawn at the same time, at most."""
    cache_gb: float = 2.0
    """With --held-out: memory for the key-value cache while they are drawn, in GB, at most."""
    out: Path
    """The run's folder. A run that was interrupted resumes; so does a finished one, with more epochs or minutes."""
    data: Path
    """A .jsonl or .json file. Its rows have messages (the chat format; thinking in reasoning_content or in <think>
    tags), or question and response, or are those of Raschka's book."""
    template: Template = "plain"
    """How the question is put, as later for thinkling eval. chat-thinking asks with thinking where a record has some,
    and without where it has none; chat leaves all thinking out; the others hold one question, and thinking stays in its
    tags."""
    epochs: int = 2
    """How often each example is read."""
    batch_size: int = 64
    """Examples of one optimizer step; the loss is the mean over all of their trained tokens."""
    lr: float = 1e-3
    """AdamW's learning rate. The default suits the 6M built-in model; use 1e-5 for Qwen3-0.6B and larger."""
    validation_records: int = 256
    """How many records are kept aside to measure the loss on; at most those of a tenth of all questions."""
    held_out: str | None = None
    """Measure accuracy too, on this suite or file of problems (as thinkling eval --tasks): none may be a question of
    the data. Without it the loss alone is measured."""
    eval_problems: int = 64
    """How many problems accuracy is measured on."""
    eval_samples: int = 4
    """Answers to each of them; pass@1 is their mean."""
    temperature: float = 1.0
    """These answers are drawn at this temperature."""
    max_tokens: int = 384
    """Length of one of these answers at most, in tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, epochs=self.epochs, batch_size=self.batch_size, validation_records=self.validation_records)
        at_least(1, eval_samples=self.eval_samples, max_tokens=self.max_tokens)
        at_least(2, eval_problems=self.eval_problems)
        above_zero(temperature=self.temperature)


# --- from flags to the records that training takes ---


def sft_config(settings: Sft) -> SftConfig:
    from thinkling.train.sft.config import SftConfig

    return SftConfig(
        epochs=settings.epochs, batch_size=settings.batch_size, micro_batch_tokens=settings.micro_batch_tokens,
        recompute=settings.recompute, seed=settings.seed,
    )  # fmt: skip


def workload(settings: Sft) -> Workload:
    """The run as far as memory is concerned: nothing is drawn but held-out answers, so there is no key-value cache."""
    from thinkling.device import pick_device
    from thinkling.train.memory import Workload

    return Workload(
        num_rollouts=0, max_tokens=min(settings.max_length, settings.micro_batch_tokens),
        max_length=settings.max_length, max_rows=settings.max_rows, cache_gb=0.0,
        micro_batch_tokens=settings.micro_batch_tokens, memory_gb=settings.memory_gb, optimizer=settings.optimizer,
        lora_rank=settings.lora_rank, recompute=settings.recompute, on_cpu=pick_device(settings.device).type == "cpu",
    )  # fmt: skip


# --- the run ---


def train(
    settings: Sft, model: LanguageModel | None = None,
    show: Callable[[SftMetrics | SftValidation], None] | None = None,
    loss_for: Callable[[LanguageModel, list[Completion]], TokenLoss] | None = None, told: object = None,
) -> Path:  # fmt: skip
    """Run `thinkling sft`; returns the folder of the last checkpoint, or of the last good one if the watchdog stopped
    the run. `show` sees every step's metrics, and what is measured in between. loss_for: makes another loss than
    -log p, for this model and these examples. told: what config.json holds, where that is not the settings.

    A run that was interrupted resumes from its last checkpoint, and on a CPU in float32 ends with the same bits as one
    that was not.
    """
    from thinkling.commands.load import language_model
    from thinkling.runs import FINISHED, check_run
    from thinkling.train.sft.encode import examples_of
    from thinkling.train.sft.records import load_records

    refuse_after_collapse(settings.out)  # what needs no model is said before one is loaded
    told = told or settings
    check_run(settings.out, told, FINISHED, LIMITS)
    records = load_records(settings.data)
    problems = held_out_problems(settings, records)
    model = model or language_model(settings)
    pairs, failures = examples_of(model, records, settings.template)
    if failures and settings.on_error == "stop":
        more = f" ({len(failures) - 1:,} more cannot)" if len(failures) > 1 else ""
        raise UserError(f"{settings.data}, row {failures[0].row} cannot be learnt: {failures[0].error}{more} "
                        "(--on-error skip goes on without)")  # fmt: skip
    if not pairs:
        raise UserError(f"{settings.data}: none of {counted(len(records), 'record')} can be learnt; {failures[0]}")
    with opened(settings.out, told, LIMITS, failures):
        loss = loss_for(model, [example for _, example in pairs]) if loss_for else None
        return run(settings, model, pairs, problems, show or (lambda shown: None), loss, told)


def held_out_problems(settings: Sft, records: list[Record]) -> list:
    """The problems that accuracy is measured on. Raises UserError where one is a question of the data."""
    from thinkling.tasks.benchmarks import load_problems
    from thinkling.train.rl.guard.validation import SEED

    if settings.held_out is None or not settings.eval_every:
        return []
    found = load_problems(settings.held_out, "held-out", settings.eval_problems, SEED)
    known = {message["content"] for record in records for message in record.messages}
    both = sorted(problem.question for problem in found if problem.question in known)
    if both:
        raise UserError(f"--data {settings.data} and --held-out {settings.held_out} have "
                        f"{counted(len(both), 'question')} in common, such as '{both[0][:60]}': name another file, or "
                        "remove them from the data")  # fmt: skip
    return found


def run(
    settings: Sft, model: LanguageModel, pairs: Pairs, problems: list, show: Callable[[object], None],
    loss: TokenLoss | None, told: object,
) -> Path:  # fmt: skip
    from thinkling.model.weights import resolve
    from thinkling.train import memory
    from thinkling.train.run import Run
    from thinkling.train.sft import trainer as sft
    from thinkling.train.sft.validation import Validator, kept_aside

    if settings.memory_gb is not None:
        room = memory.plan(workload(settings), model.network.config, model.network.dtype)
        settings = replace(settings, micro_batch_tokens=room.tokens)
    validator = None
    if settings.eval_every:
        pairs, aside = kept_aside(pairs, settings.validation_records)
        accuracy = accuracy_validator(settings, model, problems) if problems else None
        kept = [example for _, example in aside]
        validator = Validator(model, kept, settings.eval_every, settings.micro_batch_tokens, accuracy, loss)
    examples = [example for _, example in pairs]
    trainer = sft.Trainer(
        model, examples, sft_config(settings), optimizer_config(settings), lora_config(settings), loss
    )
    if model.network.device.type != "cpu":
        trainer.probe()
    return Run(
        run_config(settings, trainer.num_steps), trainer, validator=validator,
        watch=sft.alarm if settings.watchdog else None, window=sft.WINDOW, start=resolve(settings.model), show=show,
        tracked_config=told,
    ).go()  # fmt: skip


def accuracy_validator(settings: Sft, model: LanguageModel, problems: list) -> Validator:
    from thinkling.generate.sampling import Sampling
    from thinkling.train.rl.config import RolloutConfig
    from thinkling.train.rl.guard.validation import Validator

    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    return Validator(
        problems, validation_config(settings), RolloutConfig(template=settings.template, sampling=sampling), model
    )


def main(settings: Sft) -> Path | None:
    from rich.console import Console

    from thinkling.progress import Progress

    if settings.plan:
        examples = f"{counted(settings.batch_size, 'example')} of at most {counted(settings.max_length, 'token')}"
        show_plan(settings, workload(settings), examples)
        return None
    console = Console(highlight=False)
    with Progress("reading the data") as progress:
        folder = train(settings, show=teller(settings, progress, console))
    tell_end(settings, progress.total or 0, folder, console, left_out="left out of training", kind="record")
    return folder


def teller(settings: Sft, progress: Progress, console: Console) -> Callable[[SftMetrics | SftValidation], None]:
    """What shows a step, and prints what was measured."""
    from thinkling.report.tables import interval
    from thinkling.train.sft.trainer import SftMetrics

    def show(shown: SftMetrics | SftValidation) -> None:
        if isinstance(shown, SftMetrics):
            steps = round((shown.step + 1) / shown.epoch) * settings.epochs
            note = f"epoch {shown.epoch:.2f}  loss {shown.loss:.3f}  {shown.read / shown.seconds:,.0f} tokens/s"
            progress.update(shown.step + 1, note, total=steps, label="training, steps")
            return
        records = counted(shown.num_records, "record")
        said = f"after {counted(shown.step, 'step')}: loss {shown.loss:.3f} on {records}"
        if shown.accuracy:
            low_high = interval(*shown.accuracy.pass_1_interval)
            said += f"; {shown.accuracy.pass_1:.1%} right {low_high} of held-out problems"
        console.print(said, soft_wrap=True)

    return show
