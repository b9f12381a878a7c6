"""`thinkling contamination`: which problems of a benchmark stand in training data? Needs no model."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from thinkling.checks import at_least
from thinkling.commands.options import Split
from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Find the problems of a benchmark that training data hold: runs of 13 words that both share.

    Prints the share of such problems with its interval, and examples; with --out also a line for every problem. For
    problems that are made on the spot, see also `thinkling fresh-numbers`.
    """

    tasks: str
    """The benchmark: a name such as math500, a file, or any other source that eval takes."""
    training: tuple[str, ...]
    """The training data: files (.jsonl, .json, .csv, .parquet, .txt, .md), folders of them, or sources such as builtin,
    whose training problems are made."""
    columns: tuple[str, ...] = ()
    """Which column of the benchmark's file is which, as question=Problem; the others are guessed, and the guesses
    printed."""
    split: Split = "held-out"
    """Of the benchmark, where it has splits."""
    num_problems: int | None = None
    """How many problems of the benchmark. Default: all of a file or a benchmark, else 500."""
    num_training: int = 10_000
    """How many problems are made of a source without end."""
    words: int = 13
    """Words of a run that counts as shared."""
    examples: int = 3
    """How many are shown, those first of which most is shared."""
    out: Path | None = None
    """A folder for overlaps.jsonl (every problem) and report.json."""

    def __post_init__(self) -> None:
        at_least(1, num_training=self.num_training)
        at_least(2, words=self.words)
        at_least(0, examples=self.examples)
        if not self.training:
            raise UserError("--training names no data: give files or folders")


def main(settings: Contamination) -> None:
    from rich.console import Console

    from thinkling.report.contamination_text import lines
    from thinkling.runs import new_run, write_json, write_jsonl
    from thinkling.tasks.benchmarks import load_problems
    from thinkling.tasks.contamination import by_family, overlaps, summary

    problems = load_problems(settings.tasks, settings.split, settings.num_problems, columns=settings.columns)
    out = None if settings.out is None else new_run(settings.out, settings)
    found, num_documents, short = overlaps(problems, documents(settings), settings.words)
    if not found:
        raise UserError(f"{settings.tasks}: all of its {len(short):,} questions are too short to tell: lower --words")
    console = Console()
    told, families = summary(found), by_family(problems, found)
    sizes = (num_documents, len(short), settings.words, settings.examples, console.width)
    for line in lines(settings.tasks, found, told, families, *sizes):
        console.print(line, markup=False, highlight=False)
    if out is not None:
        write_jsonl(out / "overlaps.jsonl", found)
        write_json(out / "report.json", asdict(told) | {"documents": num_documents, "too_short": short})
        console.print(f"Every problem: {out / 'overlaps.jsonl'}", markup=False, highlight=False)


def documents(settings: Contamination) -> Iterator[tuple[str, str]]:
    """Every training document, from files and from sources that make them."""
    from thinkling.progress import tracked
    from thinkling.tasks.benchmarks import is_file, load_problems
    from thinkling.tasks.contamination import documents_of

    for source in settings.training:
        path = "/" in source and ":" not in source  # FILE.py:FUNCTION is none
        if path or Path(source).exists() or is_file(source) or Path(source).suffix in (".txt", ".md"):
            yield from documents_of(Path(source))
            continue
        made = load_problems(source, "train", settings.num_training)
        for number, problem in enumerate(tracked(made, source, len(made)), start=1):
            yield f"{source}, problem {number}", f"{problem.question}\n{problem.solution}"
