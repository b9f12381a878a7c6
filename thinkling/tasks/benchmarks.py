"""Problems from anywhere, by a source's name: the one way in for `--tasks`.

A source is a built-in suite, KIND:ARGUMENT (the module KIND of this folder: gym:countdown), a file of rows, or
FILE.py:FUNCTION, called as function(split, seed), which yields rows; a seed is a number or text, as random.Random takes
it. So a new kind of task is one new file.

A file is JSON Lines, or one JSON array. A row has `question` and `reference`; the names that MATH-500 and GSM8K use,
`problem` and `answer`, are understood too, and of a GSM8K answer the part behind `####` is the reference. It may have
`verifier` (math without it) and `metadata`, which the verifier reads; a FILE.py that it names may lie beside the file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path

from thinkling.errors import UserError
from thinkling.isolated import load
from thinkling.problem import Problem
from thinkling.runs import read_jsonl, why_not_read
from thinkling.tasks import builtin
from thinkling.verify.verifier import verifier_named

FIELDS = ("question", "problem", "reference", "answer", "subject", "solution", "metadata")
DEFAULT = 500  # problems of a source without end
MAX_REPEATS = 10_000  # questions in a row that have come before: then a source has no more


def load_problems(
    source: str = "builtin", split: str = "held-out", num_problems: int | None = None, seed: int = 0
) -> list[Problem]:
    """The first different problems of a source, `num_problems` at most; without a number all of a file, else 500.

    split and seed choose among the problems that are made on the spot; a file has no splits. Same arguments, same
    problems. Raises UserError where there is no such source, split or problem, or a verifier that cannot be had.
    """
    check_number(num_problems)
    if is_file(source):
        path = Path(source)
        found = [problem_of(path, i, row) for i, row in enumerate(islice(rows_of(path), num_problems), start=1)]
        if not found:
            raise UserError(f"{path}: no problems in this file")
        return found
    num = num_problems or DEFAULT
    builtin.check_size(num)
    found = distinct(problem_stream(source, split, seed), num)
    if not found:
        raise UserError(f"{source}: no problems in this source")
    return found


def is_file(source: str) -> bool:
    """Is the source a file of rows, which has an end and no splits?"""
    return Path(source).suffix in (".json", ".jsonl")


def is_users(source: str) -> bool:
    """Are the rows a user's own, of a file or a function, and not made by a suite or a family?"""
    return is_file(source) or source.rpartition(":")[0].endswith(".py")


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
    file, _, function = source.rpartition(":")
    if file.endswith(".py"):
        return user_stream(Path(file), function, split, seed)
    kind, _, argument = source.partition(":")
    module = f"{__package__}.{kind}"
    make = getattr(import_module(module), "problems_of", None) if kind.isidentifier() and find_spec(module) else None
    if make is None:
        what = f"{source} is a folder" if Path(source).is_dir() else f"unknown tasks '{source}'"
        raise UserError(f"{what}: use one of {', '.join(builtin.SUITES)}, gym:FAMILY, a file that ends in .jsonl or "
                        ".json, or FILE.py:FUNCTION")  # fmt: skip
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


def rows_of(path: Path) -> Iterator[dict]:
    """The rows of a .jsonl or .json file. Raises UserError naming the file, and what is wrong with it."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the .jsonl or .json file in it")
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error.msg}, line {error.lineno})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read: {why_not_read(error)}") from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected an array of objects, found {type(rows).__name__}: put [ ] around the rows")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}: expected an array of objects, but its element {number} is {type(row).__name__}: "
                            'write {"question": ..., "reference": ...}')  # fmt: skip
    return iter(rows)


def problem_of(path: Path, number: int, row: dict) -> Problem:
    """A row as a problem. Raises UserError naming the file, the row and the field that is wrong."""
    if not isinstance(row, dict):
        raise UserError(f"{path}, row {number}: expected an object with question and reference, not {row!r:.60}")
    where = f"{path}, row {number}"
    check_fields(where, row)
    verifier = verifier_from(path, where, row)
    question = text_of(where, row, "question", "problem")
    reference = text_of(where, row, "reference", "answer", verifier_named(verifier).needs_reference)
    if "####" in reference:
        reference = reference.rsplit("####", 1)[1].strip()
    metadata = row.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise UserError(f"{where}: the field 'metadata' must be an object, not {metadata!r:.60}")
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    return Problem(f"{path.stem}/{digest}", question, reference, family=str(row.get("subject", path.stem)),
                   solution=str(row.get("solution", "")), verifier=verifier, metadata=metadata)  # fmt: skip


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


def text_of(where: str, row: dict, field: str, alias: str, needed: bool = True) -> str:
    value = row.get(field, row.get(alias))
    if value is None and not needed:
        return ""
    if not isinstance(value, str | int | float) or (needed and not str(value).strip()):
        raise UserError(f"{where}: the field '{field}' (or '{alias}') is missing or empty")
    return str(value)


def verifier_from(path: Path, where: str, row: dict) -> str:
    """The name of the row's verifier, which exists."""
    name = row.get("verifier") or "math"
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
