"""`thinkling arena`: a person votes, blind, on the responses of two models or runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import at_least, finite
from thinkling.commands.options import ModelSettings, Split
from thinkling.errors import UserError
from thinkling.scale.prompts import Template

if TYPE_CHECKING:
    from thinkling.evaluate.ranking.votes import Response
    from thinkling.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Vote, blind, on which of two responses is better.

    `thinkling rank VOTES` makes a leaderboard of the votes. CONTESTANTS are two or more: the folder of an eval run,
    whose responses are shown, or a model (its name or folder), which is asked now. Questions come from the runs, or
    from --tasks where there is none. Keys: a, b, t (tie), x (both bad), s (skip), q (quit). Each vote is kept at once;
    the same command goes on where it stopped.
    """

    contestants: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CONTESTANT...")]
    """Folders of eval runs, or models."""
    votes: Path = Path("votes.jsonl")
    """The file of votes: they are added to it."""
    tasks: str = "quantities"
    """Where questions come from if no contestant is a run; see thinkling eval."""
    split: Split = "held-out"
    """Of the built-in problems."""
    num_problems: int | None = None
    """How many problems, from the start; without it all that the runs share, or 50."""
    template: Template = "plain"
    """How a question is put to a model."""
    temperature: float = 0.0
    """For the models that are asked now."""
    max_tokens: int = 384
    """Length of a model's response at most, in tokens."""
    max_length: int = 1024
    """Prompt and response together, in tokens, at most."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto (float32 on a CPU, bfloat16 on a GPU), float32, bfloat16 or float16."""
    seed: int = 0
    """Of the order of the questions, of the sides, and of what models sample."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(0, temperature=self.temperature)
        at_least(1, max_tokens=self.max_tokens)
        at_least(2, max_length=self.max_length)
        if self.num_problems is not None:
            at_least(1, num_problems=self.num_problems)


def main(settings: Arena) -> None:
    from rich.console import Console

    from thinkling.evaluate.ranking.votes import in_common, is_run, named_runs
    from thinkling.problem import Problem
    from thinkling.serve.arena import hold, matches, tally, voted
    from thinkling.tasks.benchmarks import load_problems
    from thinkling.words import counted

    if len(settings.contestants) < 2:
        raise UserError("an arena needs at least two contestants: folders of eval runs, or models")
    folders = [Path(name) for name in settings.contestants if is_run(Path(name))]
    runs, names = (named_runs(folders) if folders else {}), []
    labels = iter(runs)
    for name in settings.contestants:
        names.append(next(labels) if is_run(Path(name)) else name)
    if len(set(names)) < len(names):
        raise UserError(
            f"{next(n for n in names if names.count(n) > 1)} is named twice: a contestant cannot meet itself"
        )
    if runs:
        first = next(iter(runs.values()))
        problems = [Problem(shared, first[shared][0].question, "") for shared in in_common(runs)]
        problems = problems[: settings.num_problems]
    else:
        problems = load_problems(settings.tasks, settings.split, settings.num_problems or 50)
    known = {problem.id: problem for problem in problems}
    ask = {name: asked_now(settings, name) for name in names if name not in runs}
    done = voted(settings.votes)
    left = [match for match in matches(names, list(known), settings.seed)
            if (match.problem, frozenset((match.first, match.second))) not in done]  # fmt: skip
    console = Console(highlight=False)
    if not left:
        raise UserError(f"{settings.votes} has a vote on every question: take more --num-problems, or another --votes")
    votes = hold(left, lambda name, match: runs[name][match.problem][0] if name in runs
                 else ask[name](known[match.problem]), settings.votes, console)  # fmt: skip
    now = f"{counted(len(votes), 'vote')} this time: {tally(votes)}." if votes else "No vote was given this time."
    console.print(now, markup=False)
    if votes or done:
        console.print(f"What all votes say: thinkling rank {settings.votes}", markup=False, soft_wrap=True)


def asked_now(settings: Arena, name: str) -> "Callable[[Problem], Response]":
    """What this model answers, loaded at the first question."""
    from functools import cache

    from thinkling.anywhere import run_anywhere
    from thinkling.commands.load import language_model
    from thinkling.evaluate.ranking.votes import Response
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.direct import Direct
    from thinkling.tasks.benchmarks import Problem

    where = {"device": settings.device, "dtype": settings.dtype, "max_length": settings.max_length}
    model = language_model(ModelSettings(model=name, **where))
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    method = Direct(sampling, settings.template)

    @cache
    def answer(problem: Problem) -> Response:
        text = run_anywhere(method(model, problem)).text
        return Response(problem.id, problem.question, text, "")

    return answer
