"""Ten problems with four answers each, side by side: at once, with steps, reviewed and revised, after training.

    python bench/ten_problems.py --trained runs/accuracy/grpo --out docs/ten-problems.md

Writes Markdown to be read by a person. The problems are the first of the held-out ones, two of each number of steps.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro
from sides import machine

from thinkling.device import pick_device
from thinkling.evaluate.run import evaluate
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import Direct
from thinkling.scale.method import Method
from thinkling.scale.refine import Refine
from thinkling.tasks.builtin import problems

EACH = 2  # problems of each number of steps
GREEDY = Sampling(temperature=0.0, max_tokens=384)
HEAD = """# Ten problems, read side by side

`{command}` wrote this page ({machine}). Each problem is answered greedily: at once, with steps, by a
review of the first answer and a revision, and at once by the model that reinforcement learning has trained.
"""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Ten problems and their answers, as a page."""

    trained: str
    """The trained model: a run's folder, or a checkpoint."""
    model: str = "thinkling-base"
    out: Path = Path("docs/ten-problems.md")
    num_problems: int = 10


def chosen(num: int) -> list[Problem]:
    """Two of each number of steps, as they come."""
    seen: Counter[str] = Counter()
    found = []
    for problem in problems("held-out", 200, suite="quantities"):
        seen[problem.kind] += 1
        if seen[problem.kind] <= EACH:
            found.append(problem)
    return sorted(found, key=lambda problem: problem.kind)[:num]


def main(bench: Bench) -> None:
    asked = chosen(bench.num_problems)
    base, trained = LanguageModel.load(bench.model), LanguageModel.load(bench.trained)
    ways: list[tuple[str, LanguageModel, Method]] = [
        ("at once", base, Direct(GREEDY)), ("step by step", base, Direct(GREEDY, "step-by-step")),
        ("reviewed and revised", base, Refine(GREEDY)), ("after training", trained, Direct(GREEDY)),
    ]  # fmt: skip
    answers = [(name, evaluate(model, method, asked, None, name)[1]) for name, model, method in ways]
    command = f"python bench/ten_problems.py --trained {bench.trained}"
    parts = [HEAD.format(command=command, machine=machine(pick_device("auto")))]
    for i, problem in enumerate(asked):
        parts.append(f"## Problem {i + 1}\n\n{problem.question}\n\nThe answer is {problem.reference}.\n")
        for name, samples in answers:
            mark = "right" if samples[i].verdict.correct else "wrong"
            texts = [completion.text for completion in samples[i].answer.completions]
            called = ("The draft:\n\n", "Its review:\n\n", "The revision:\n\n") if len(texts) > 1 else ("",)
            shown = "\n\n".join(f"{what}```text\n{text.strip()}\n```" for what, text in zip(called, texts, strict=True))
            parts.append(f"**{name}**: {mark}\n\n{shown}\n")
    bench.out.write_text("\n".join(parts), encoding="utf-8")
    print(bench.out)


if __name__ == "__main__":
    main(tyro.cli(Bench))
