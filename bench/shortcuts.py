"""What the suite `quantities` is like: lengths, steps, answers, and what shortcuts that read no sentence would score.

    python bench/shortcuts.py

No model is asked. An answer that comes too often, or a shortcut that is right too often, would be learnt instead.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, quantiles

import tyro

from thinkling.problem import Problem
from thinkling.tasks import quantities
from thinkling.tasks.builtin import problems

SHORTCUTS: dict[str, Callable[[list[int]], int]] = {
    "the first number": lambda n: n[0],
    "the last number": lambda n: n[-1],
    "the largest number": max,
    "the smallest number": min,
    "the sum of all": sum,
    "the sum of the last two": lambda n: sum(n[-2:]),
    "the sum of the first two": lambda n: sum(n[:2]),
    "the difference of the last two": lambda n: abs(n[-1] - n[-2 % len(n)]),
    "the largest less the smallest": lambda n: max(n) - min(n),
    "the product of the first two": lambda n: n[0] * n[-1 if len(n) < 2 else 1],
}


@dataclass(frozen=True)
class Settings:
    """Print the statistics."""

    num_problems: int = 3000


def numbers(question: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", question)] or [0]


def shortcut_shares(asked: list[Problem]) -> dict[str, float]:
    """How often each shortcut gives the reference; the most frequent answer is one of them."""
    shares = {
        name: mean(rule(numbers(p.question)) == int(p.reference) for p in asked) for name, rule in SHORTCUTS.items()
    }
    return shares | {"the most frequent answer": answer_shares(asked)[0][1]}


def answer_shares(asked: list[Problem]) -> list[tuple[str, float]]:
    """Answers and how often each comes, the most frequent first."""
    return [(answer, n / len(asked)) for answer, n in Counter(p.reference for p in asked).most_common()]


def main(settings: Settings) -> None:
    splits = {split: problems(split, settings.num_problems, suite="quantities") for split in quantities.SPLITS}
    print(f"| {settings.num_problems} problems of each | {' | '.join(splits)} |")
    print("|---|" + "---|" * len(splits))
    rows: dict[str, list[str]] = {
        "steps": [f"{min(steps(own))} to {max(steps(own))}, mean {mean(steps(own)):.1f}" for own in splits.values()],
        "sentences": [f"{mean(len(re.findall(r'[.?]', p.question)) for p in own):.1f}" for own in splits.values()],
        "characters of a question": [spread([len(p.question) for p in own]) for own in splits.values()],
        "characters of a solution": [spread([len(p.solution) for p in own]) for own in splits.values()],
        "different answers": [str(len(answer_shares(own))) for own in splits.values()],
    }
    shares = [shortcut_shares(own) for own in splits.values()]
    rows |= {name: [f"{own[name]:.1%}" for own in shares] for name in shares[0]}
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(row)} |")


def steps(asked: list[Problem]) -> list[int]:
    return [int(problem.kind.split("/")[1]) for problem in asked]


def spread(values: list[int]) -> str:
    cuts = quantiles(values, n=20)
    return f"{mean(values):.0f} (5% below {cuts[0]:.0f}, 5% above {cuts[-1]:.0f})"


if __name__ == "__main__":
    main(tyro.cli(Settings))
