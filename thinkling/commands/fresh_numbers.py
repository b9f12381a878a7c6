"""`thinkling fresh-numbers`: is a model better on the numbers that it may have read than on new ones?"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thinkling.checks import at_least
from thinkling.commands.options import ModelSettings, Split
from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.scale.prompts import Template


@dataclass(frozen=True, kw_only=True)
class FreshNumbers(ModelSettings):
    """Ask the same kinds of problems twice, with numbers that training may hold and with fresh ones.

    Prints both accuracies and their gap, with intervals; a large gap means that answers were learnt by heart. It needs
    problems that are made on the spot.
    """

    tasks: str = "quantities"
    """quantities, builtin, larger-numbers, choice:SUITE or gym:FAMILY."""
    old_split: Split = "train"
    """Where the old numbers are from."""
    old_seed: str = "0"
    """The seed that made the old numbers: a number, or the name of the stream that training read, such as grpo/0 for a
    grpo run with --seed 0."""
    fresh_split: Split = "held-out"
    """Where the fresh numbers are from."""
    fresh_seed: str = "0"
    """The seed that makes the fresh numbers."""
    num_problems: int = 500
    """Of each."""
    template: Template = "step-by-step"
    """How the question is put."""
    max_tokens: int = 384
    """Length of one response at most."""
    temperature: float = 0.0
    """Divides the logits; 0 always takes the likeliest token."""
    seed: int = 0
    """Of what the model samples, at a temperature above 0."""
    out: Path | None = None
    """A folder for report.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_problems=self.num_problems, max_tokens=self.max_tokens)
        if (self.old_split, self.old_seed) == (self.fresh_split, self.fresh_seed):
            raise UserError("old and fresh numbers are the same: give another --fresh-split or --fresh-seed")


def made(tasks: str, split: str, seed: str, num: int) -> list[Problem]:
    """The first different problems of a source by its seed, which is a number or a stream's name."""
    from thinkling.tasks.benchmarks import distinct, problem_stream

    return distinct(problem_stream(tasks, split, int(seed) if seed.isdecimal() else seed), num)


def main(settings: FreshNumbers) -> None:
    from rich.console import Console

    from thinkling.commands.load import language_model
    from thinkling.evaluate.fresh_numbers import ask, gaps, unseen
    from thinkling.generate.sampling import Sampling
    from thinkling.report.gap_table import table, verdict
    from thinkling.runs import new_run, write_json
    from thinkling.scale.prompts import prompt_of
    from thinkling.tasks.benchmarks import is_users

    tasks, num = settings.tasks, settings.num_problems
    if is_users(tasks):
        raise UserError(f"--tasks {tasks} has the numbers that it has: name a suite that makes its problems, such as "
                        "builtin or gym:FAMILY; for a file see thinkling contamination")  # fmt: skip
    old = made(tasks, settings.old_split, settings.old_seed, num)
    fresh = unseen(old, made(tasks, settings.fresh_split, settings.fresh_seed, num))
    out = None if settings.out is None else new_run(settings.out, settings)
    model = language_model(settings)
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)

    def prompt(problem: Problem) -> Any:
        return prompt_of(model, settings.template, problem.question)

    found = gaps(ask(model, old, prompt, sampling, "old numbers"), ask(model, fresh, prompt, sampling, "fresh numbers"))
    console = Console()
    console.print(table(found))
    console.print(verdict(found[0]), markup=False, highlight=False)
    if out is not None:
        write_json(out / "report.json", [asdict(gap) for gap in found])
