"""Problems from anywhere, by a source's name: the one way in for `--tasks`.

A source is a built-in suite, KIND:ARGUMENT (the module KIND of this folder: gym:countdown, choice:builtin), a benchmark
by name (math500, or math500@REVISION; see published.py), a file of rows (see rows.py), or FILE.py:FUNCTION, called as
function(split, seed), which yields rows; a seed is a number or text, as random.Random takes it. So a new kind of task
is one new file.

A row has `question` and `reference`, by these names or others (columns.py); of a GSM8K answer the part behind `####` is
the reference. With `options` it is multiple choice (options.py). It may have `verifier` (math without it) and
`metadata`, which the verifier reads; a FILE.py that it names may lie beside the file.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

from thinkling.errors import UserError
from thinkling.isolated import load
from thinkling.problem import Problem
from thinkling.tasks import builtin
from thinkling.tasks.columns import Columns, as_json, named_by
from thinkling.tasks.hub import files_of, is_published, known
from thinkling.tasks.options import from_row, shuffled, with_options
from thinkling.tasks.published import BENCHMARKS
from thinkling.tasks.rows import READERS, rows_of
from thinkling.verify.verifier import verifier_named
from thinkling.words import counted

FIELDS = ("question", "problem", "reference", "answer", "subject", "solution", "metadata", "options", "choices")
DEFAULT = 500  # problems of a source without end
MAX_REPEATS = 10_000  # questions in a row that have come before: then a source has no more


def load_problems(
    source: str = "quantities", split: str = "held-out", num_problems: int | None = None, seed: int = 0,
    columns: Sequence[str] = (), shuffle: int | None = None,
) -> list[Problem]:  # fmt: skip
    """The first different problems of a source, `num_problems` at most; without a number all of a file, else 500.

    split and seed choose among the problems that are made on the spot; a file has no splits. columns: which column of a
    file is which, as "question=Problem"; the others are guessed, and a guess is told on standard error. shuffle: a seed
    for another order of each problem's options. Same arguments, same problems. Raises UserError where there is no such
    source, split or problem, or a verifier that cannot be had.
    """
    check_number(num_problems)
    if is_file(source):
        path = Path(source)
        found = without_repeats(path, named_by(columns), num_problems)
        if not found:
            raise UserError(f"{path}: no problems in this file")
    elif columns:
        raise UserError(f"--columns has no meaning for {source}, whose columns are known: it is for files")
    elif is_published(source):
        found = list(islice(published(source, split), num_problems))
    else:
        num = num_problems or DEFAULT
        builtin.check_size(num)
        found = distinct(problem_stream(source, split, seed), num)
        if not found:
            raise UserError(f"{source}: no problems in this source")
    return found if shuffle is None else [shuffled(problem, shuffle) for problem in found]


def is_file(source: str) -> bool:
    """Is the source a file of rows, which has an end and no splits?"""
    return Path(source).suffix in READERS


def is_users(source: str) -> bool:
    """Are the rows others' own, of a file, a benchmark or a function, and not made by a suite or a family?"""
    return is_file(source) or is_published(source) or source.rpartition(":")[0].endswith(".py")


def without_repeats(path: Path, chosen: Mapping[str, str], num: int | None) -> list[Problem]:
    """The first `num` problems of a file, each once. Raises UserError where one has two references."""
    columns, seen, repeats = Columns(chosen), dict[str, tuple[int, Problem]](), 0
    for number, row in enumerate(rows_of(path), start=1):
        problem = problem_of(path, number, row, columns)
        first, before = seen.setdefault(problem.question, (number, problem))
        if before.reference != problem.reference:
            twice = f"{problem.reference[:40]!r}, not {before.reference[:40]!r}"
            raise UserError(f"{path}, row {number}: asks what row {first} asks, but its reference is {twice}: remove "
                            "one of them")  # fmt: skip
        repeats += first != number
        if len(seen) == num:
            break
    told = [columns.told(), f"{counted(repeats, 'repeated row')} left out" if repeats else ""]
    if any(told):
        print(f"{path}: {', '.join(filter(None, told))}", file=sys.stderr)
    return [problem for _, problem in seen.values()]


def published(source: str, split: str) -> Iterator[Problem]:
    """The problems of a benchmark, all of them: a question that it asks twice counts twice, by an id of its own."""
    columns, times = Columns(known(source).columns), Counter[str]()
    name = source.partition("@")[0]
    for path in files_of(source, split):
        for number, row in enumerate(rows_of(path), start=1):
            problem = problem_of(path, number, row, columns, name)
            times[problem.id] += 1
            if times[problem.id] > 1:
                problem = replace(problem, id=f"{problem.id}-{times[problem.id]}")
            yield shuffled(problem, 0) if known(source).shuffle else problem


def check_number(num_problems: object) -> None:
    if num_problems is not None and (not isinstance(num_problems, int) or num_problems < 1):
        raise UserError(f"the number of problems must be a whole number of at least 1, not {num_problems!r}")


def distinct(problems: Iterable[Problem], num: int) -> list[Problem]:
    """The first `num` with different questions, or as many as there are."""
    seen: dict[str, Problem] = {}
    repeats = 0
    for problem in problems:
        repeats = repeats + 1 if problem.question in seen else 0
        seen.setdefault(problem.question, problem)
        if len(seen) == num or repeats > MAX_REPEATS:
            break
    return list(seen.values())


def problem_stream(source: str, split: str, seed: int | str) -> Iterator[Problem]:
    """The problems of a source that makes them, most often without end. Raises UserError at once where there is none.

    An integer seed is that of `load_problems`; text is a stream of its own.
    """
    named = f"problems/{seed}" if isinstance(seed, int) else seed
    if source in builtin.SUITES:
        return builtin.stream(split, named, source)
    if is_published(source):
        files_of(source, split)  # raises at once
        return published(source, split)
    file, _, function = source.rpartition(":")
    if file.endswith(".py"):
        return user_stream(Path(file), function, split, seed)
    kind, _, argument = source.partition(":")
    module = f"{__package__}.{kind}"
    make = getattr(import_module(module), "problems_of", None) if kind.isidentifier() and find_spec(module) else None
    if make is None:
        what = f"{source} is a folder" if Path(source).is_dir() else f"unknown tasks '{source}'"
        raise UserError(
            f"{what}: use one of {', '.join(builtin.SUITES)}, gym:FAMILY, choice:SUITE, a benchmark "
            f"({', '.join(BENCHMARKS)}), a file that ends in {', '.join(READERS)}, or FILE.py:FUNCTION"
        )
    return make(argument, split, named)


def user_stream(path: Path, function: str, split: str, seed: int | str) -> Iterator[Problem]:
    """What function(split, seed) of a user's file yields, row by row."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    rows = user_rows(path, function, split, seed)
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path}:{function} yields no rows for the split {split}")
    return (problem_of(path, i, row) for i, row in enumerate(chain([first], rows), start=1))


def user_rows(path: Path, function: str, split: str, seed: int | str) -> Iterator[dict]:
    try:
        yield from load(f"{path}:{function}")(split, seed)
    except Exception as error:  # whatever it is, the function is its home
        raise UserError(f"{path}:{function}(split, seed) makes no tasks: {type(error).__name__}: {error}") from error


# Rows


def problem_of(path: Path, number: int, row: dict, columns: Columns | None = None, name: str = "") -> Problem:
    """A row as a problem. Raises UserError naming the file, the row and the field that is wrong.

    name: what its id begins with; without it the file's own.
    """
    if not isinstance(row, dict):
        raise UserError(f"{path}, row {number}: expected an object with question and reference, not {row!r:.60}")
    where, columns, name = f"{path}, row {number}", columns or Columns(), name or path.stem
    columns.check(row, where)
    check_fields(where, row)
    choice = from_row(where, row, columns)
    verifier = verifier_from(path, where, columns.of(row, "verifier") or ("choice" if choice else "math"))
    question = text_of(where, columns.of(row, "question"), "question", "problem")
    needed = not choice and verifier_named(verifier).needs_reference
    reference = text_of(where, columns.of(row, "reference"), "reference", "answer", needed)
    if "####" in reference:
        reference = reference.rsplit("####", 1)[1].strip()
    metadata = as_json(columns.of(row, "metadata")) or {}
    if not isinstance(metadata, dict):
        raise UserError(f"{where}: the field 'metadata' must be an object, not {metadata!r:.60}")
    level = columns.of(row, "level")
    metadata = metadata if level is None else {"level": level} | metadata
    digest = hashlib.sha256("\n".join([question, *sorted(choice[0] if choice else ())]).encode()).hexdigest()[:12]
    subject, solution = (str(columns.of(row, role) or "") for role in ("subject", "solution"))
    problem = Problem(f"{name}/{digest}", question, reference, subject or name, solution, "", verifier, metadata)
    return problem if choice is None else replace(with_options(problem, *choice), verifier=verifier)


def check_fields(where: str, row: dict) -> None:
    """Raises UserError where a field that is read holds what no other file could be written with."""
    for field in FIELDS:
        try:
            json.dumps(row.get(field), ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise UserError(f"{where}: the field '{field}' holds half a surrogate pair, which is no character: remove "
                            "it") from None  # fmt: skip
        except ValueError:
            raise UserError(f"{where}: the field '{field}' holds NaN or an infinity, which is no answer: write what it "
                            "should be, in quotes") from None  # fmt: skip
        except TypeError as error:
            raise UserError(f"{where}: the field '{field}' holds what JSON has not: {error}") from None


def text_of(where: str, value: object, field: str, alias: str, needed: bool = True) -> str:
    if value is None and not needed:
        return ""
    if not isinstance(value, str | int | float) or (needed and not str(value).strip()):
        raise UserError(f"{where}: the field '{field}' (or '{alias}') is missing or empty")
    return str(value)


def verifier_from(path: Path, where: str, name: object) -> str:
    """The name of the row's verifier, which exists."""
    if not isinstance(name, str):
        raise UserError(f"{where}: the field 'verifier' must be a name, not {name!r:.60}")
    file, _, function = name.rpartition(":")
    if file.endswith(".py") and not Path(file).is_file() and (path.parent / file).is_file():
        name = f"{path.parent / file}:{function}"
    try:
        verifier_named(name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return name
