"""What revising did: how many answers each round fixed, and how many it broke, with examples of both.

An accuracy before and after hides that: ten fixed and ten broken look like nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from thinkling.evaluate.run import Sample
from thinkling.evaluate.stats import paired_p_value
from thinkling.verify.verifier import verify


@dataclass(frozen=True)
class Change:
    """One problem whose verdict a round changed: the response before and after it."""

    sample: Sample
    before: str
    after: str


@dataclass(frozen=True)
class Round:
    """What one round did. fixed: wrong before, right after; broken: the other way round. Unread counts as wrong."""

    number: int
    fixed: tuple[Change, ...]
    broken: tuple[Change, ...]

    @property
    def p_value(self) -> float:
        """Of the exact McNemar test between before and after."""
        return paired_p_value(len(self.broken), len(self.fixed))


def changes(samples: Sequence[Sample]) -> list[Round]:
    """The rounds of a method that revises; [] for any other. Every sample must have as many rounds."""
    histories = [[verify(s.problem, text).correct for text in s.answer.rounds] for s in samples]
    rounds = []
    for number in range(1, len(histories[0])):
        changed = [
            (history[number], Change(s, s.answer.rounds[number - 1], s.answer.rounds[number]))
            for s, history in zip(samples, histories, strict=True)
            if history[number] != history[number - 1]
        ]
        fixed, broken = (tuple(c for right, c in changed if right is wanted) for wanted in (True, False))
        rounds.append(Round(number, fixed, broken))
    return rounds


def in_words(found: Round) -> str:
    return (
        f"round {found.number}: {len(found.fixed)} wrong -> right, {len(found.broken)} right -> wrong "
        f"(exact McNemar p = {found.p_value:.2g})"
    )


def tell(console: Console, rounds: Sequence[Round], examples: int = 1) -> None:
    """Each round in a line, and this many examples of each kind."""
    for found in rounds:
        console.print(in_words(found), highlight=False)
    for kind, changed in (("wrong -> right", [c for r in rounds for c in r.fixed]),
                          ("right -> wrong", [c for r in rounds for c in r.broken])):  # fmt: skip
        for change in changed[:examples]:
            console.rule(f"{kind}: {change.sample.problem.reference} is right", align="left", style="dim")
            console.print(change.sample.problem.question, markup=False, highlight=False)
            for title, text in (("before", change.before), ("after", change.after)):
                console.print(f"[dim]{title}[/]")
                console.print(text, markup=False, highlight=False)
