"""`thinkling choice`: multiple choice, asked in several ways on the same problems.

A command of its own beside eval: log-probabilities need no method, sampling or scorer, and all ways share one table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thinkling.checks import at_least
from thinkling.commands.options import ServerSettings, Split
from thinkling.errors import UserError
from thinkling.evaluate.choice_ways import FORMS, WAYS

if TYPE_CHECKING:
    from thinkling.problem import Problem

WayName = Literal[*WAYS]
FormName = Literal[*FORMS]


@dataclass(frozen=True, kw_only=True)
class Choice(ServerSettings):
    """Ask multiple choice in several ways: letters in responses, how likely letters and answers are.

    Prints what each way gets right, beside what blind guessing would; with --out also writes every choice with its
    scores. A --server must score given text (echo on /completions, as thinkling serve and vLLM do).
    """

    tasks: str = "choice:builtin"
    """Multiple choice: choice:SUITE (of a built-in suite), mmlu, mmlu-pro, gpqa-diamond, or a file with a column
    options (or A, B, C, D), such as .jsonl, .csv or .parquet."""
    columns: tuple[str, ...] = ()
    """Which column of a file is which, as question=Problem options=Answers; the others are guessed, and the guesses
    printed."""
    split: Split = "held-out"
    """Of the built-in problems."""
    num_problems: int | None = None
    """How many problems, from the start. Default: all of a file or a benchmark, else 500."""
    shuffle_options: int | None = None
    """A seed: each problem's options in another order. Default: as they stand."""
    ways: tuple[WayName, ...] = tuple(WAYS)
    """Which ways: response (the letter that a response ends with), letter (its log-probability), answer-sum,
    answer-per-token, answer-per-byte (the log-probability of the answer's words), pmi (minus what it is without the
    question)."""
    form: FormName = "plain"
    """How the answer is written: plain is Answer: B, boxed is \\boxed{B}."""
    chat: bool = False
    """By the model's chat template, thinking switched off."""
    thinking: bool = False
    """By the model's chat template; the model thinks first, and its letter is looked at behind the thinking."""
    shots: int = 0
    """Answered examples before each question: of a benchmark's own, of the training split, or a file's first rows,
    which are then not asked."""
    max_tokens: int = 384
    """Length of a response at most, its thinking included."""
    temperature: float = 0.0
    """Of the responses."""
    seed: int = 0
    """Of which built-in problems are asked, with which --shots, and of what is sampled."""
    out: Path | None = None
    """A folder for choices.jsonl (every choice with its scores) and report.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, max_tokens=self.max_tokens)
        at_least(0, shots=self.shots)
        if not self.ways:
            raise UserError(f"--ways names none: give some of {', '.join(WAYS)}")


def load(settings: Choice) -> tuple[list[Problem], tuple[Problem, ...]]:
    """The problems, and the examples that are answered before them."""
    from thinkling.tasks.benchmarks import is_file, load_problems
    from thinkling.tasks.hub import is_published, known

    tasks, num, shots = settings.tasks, settings.num_problems, settings.shots
    finite = is_file(tasks) or is_published(tasks)
    if not shots or not finite or (is_published(tasks) and "shots" in known(tasks).splits):
        problems = load_problems(tasks, settings.split, num, settings.seed, settings.columns, settings.shuffle_options)
        examples = [] if not shots else load_problems(tasks, "shots" if finite else "train", None if finite else shots,
                                                      settings.seed)  # fmt: skip
        return problems, tuple(examples)
    found = load_problems(tasks, settings.split, num and num + shots, settings.seed, settings.columns,
                          settings.shuffle_options)  # fmt: skip
    if len(found) <= shots:
        raise UserError(f"{tasks}: {len(found)} problems, of which {shots} are examples: lower --shots")
    return found[shots:], tuple(found[:shots])


def main(settings: Choice) -> None:
    from rich.console import Console

    from thinkling.commands.load import model_of
    from thinkling.evaluate.choice_ways import Asking
    from thinkling.evaluate.multiple_choice import ask, guess_band, outcome
    from thinkling.generate.sampling import Sampling
    from thinkling.report.choice_table import remarks, table
    from thinkling.runs import new_run, write_json, write_jsonl
    from thinkling.tasks.options import options_of

    problems, examples = load(settings)
    nums_options = [len(options_of(problem)) for problem in problems]
    band = guess_band(nums_options)
    out = None if settings.out is None else new_run(settings.out, settings)
    model = model_of(settings)
    asking = Asking(settings.form, settings.chat, settings.thinking, settings.shots, examples)
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    choices = ask(model, problems, settings.ways, asking, sampling)
    found = [outcome(way, choices) for way in settings.ways]
    console = Console()
    console.print(table(found, band, max(nums_options)))
    for line in remarks(found, problems, settings.max_tokens):
        console.print(line, markup=False, highlight=False)
    if out is not None:
        options = {problem.id: options_of(problem) for problem in problems}
        write_jsonl(out / "choices.jsonl", [asdict(one) | {"options": options[one.id]} for one in choices])
        write_json(out / "report.json", {"guessing": band, "ways": found})
        console.print(f"Every choice: {out / 'choices.jsonl'}")
