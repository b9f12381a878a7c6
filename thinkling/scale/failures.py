"""Problems that cannot be measured: no answer could be right, or they are too long, or failed while they were asked.

The first two are checked before any work. Such a problem is never counted as wrong. It ends the run, which then names
it; or it is skipped, counted and listed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console

from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import check_prompt
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.problem import Problem
from thinkling.scale.prompts import CHATS, prompt_of, render
from thinkling.tasks.benchmarks import is_users
from thinkling.verify.verifier import verifier_of
from thinkling.words import counted


@dataclass(frozen=True)
class Failure:
    """id, question: the problem's. row: its place in the file or among the problems of the run, from 1. error: why, in
    a line."""

    id: str
    question: str
    row: int
    error: str

    def __str__(self) -> str:
        return f"row {self.row} ({self.id}): {self.error}"


def unusable(tasks: str, problems: Sequence[Problem]) -> list[Failure]:
    """Those that no answer could be right on: their verifier does not even take the reference for one; in order.

    Only a user's own rows are looked at; what is made here has its own tests.
    """
    if not is_users(tasks):
        return []
    found = []
    for row, problem in enumerate(problems, start=1):
        why = verifier_of(problem).complaint(problem)
        if why is not None:
            error = f"no answer can be right, for the reference {problem.reference[:40]!r}: {why}: correct it"
            found.append(Failure(problem.id, problem.question, row, error))
    return found


def too_long(model: Model, templates: Iterable[str], problems: Sequence[Problem]) -> list[Failure]:
    """The problems whose prompt, in one of these templates, does not fit into the context; in order.

    Of a model on a server nothing is known; it refuses what it cannot take.
    """
    if not isinstance(model, LanguageModel):
        return []
    found: dict[int, Failure] = {}
    for template in templates:
        for row, problem in enumerate(problems, start=1):
            # A token is a byte at least: most prompts need not be encoded. What a chat template adds is not known.
            if (
                template not in CHATS
                and len(render(template, problem.question).encode(errors="replace")) < model.engine.max_length
            ):
                continue
            try:
                check_prompt(prompt_of(model, template, problem.question), model.engine.max_length)
            except FatalError:  # a chat template that fails would fail for the others too
                raise
            except UserError as error:
                found.setdefault(row, Failure(problem.id, problem.question, row, f"{error}, or raise --max-length"))
    return [found[row] for row in sorted(found)]


def refuse(failures: Sequence[Failure], tasks: str) -> None:
    """Raises UserError with the first of these, if there are any."""
    if failures:
        more = {1: "", 2: " (1 more is like it)"}.get(len(failures), f" ({len(failures) - 1:,} more are like it)")
        raise UserError(f"{tasks}, {failures[0]}{more} (--on-error skip goes on without it)")


def tell(failures: Sequence[Failure], what: str, where: object, console: Console, kind: str = "problem") -> None:
    """How many were skipped, what became of them, why the first one was, and where all are listed."""
    if failures:
        line = f"{counted(len(failures), kind)} {what}: {failures[0]}. Listed in {where}"
        console.print(line, style="bold red", markup=False, highlight=False, soft_wrap=True)
