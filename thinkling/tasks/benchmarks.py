"""Problems from the built-in suites or from a file: the one way in for `--tasks`.

A file is JSON Lines, or one JSON array. A row has `question` and `reference`; the names that MATH-500 and GSM8K use,
`problem` and `answer`, are understood too, and of a GSM8K answer the part behind `####` is the reference.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.runs import read_jsonl
from thinkling.tasks import builtin


def load_problems(tasks: str, split: str, num_problems: int, seed: int = 0) -> list[Problem]:
    """The first `num_problems` problems of a split of a built-in suite, or of a file named by its path."""
    if tasks in builtin.SUITES:
        return builtin.problems(split, num_problems, seed, tasks)
    path = Path(tasks)
    if path.suffix not in (".json", ".jsonl"):
        raise UserError(f"unknown tasks '{tasks}': use one of {', '.join(builtin.SUITES)}, or a file that ends in "
                        ".jsonl or .json")  # fmt: skip
    found = [problem_of(path, i, row) for i, row in enumerate(islice(rows_of(path), num_problems), start=1)]
    if not found:
        raise UserError(f"{path}: no problems in this file")
    return found


def rows_of(path: Path) -> Iterator[dict]:
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error.msg}, line {error.lineno})") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: expected an array of objects")
    return iter(rows)


def problem_of(path: Path, number: int, row: dict) -> Problem:
    question, reference = row.get("question", row.get("problem")), row.get("reference", row.get("answer"))
    for field, alias, value in (("question", "problem", question), ("reference", "answer", reference)):
        if not isinstance(value, str | int | float) or not str(value).strip():
            raise UserError(f"{path}, row {number}: the field '{field}' (or '{alias}') is missing or empty")
    question, reference = str(question), str(reference)
    if "####" in reference:
        reference = reference.rsplit("####", 1)[1].strip()
    digest = hashlib.sha256(question.encode()).hexdigest()[:12]
    return Problem(f"{path.stem}/{digest}", question, reference, family=str(row.get("subject", path.stem)))
