"""`thinkling lint-data`: is what we train on in order? Ends with exit code 1 where anything is found."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.commands.grade import short
from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.runs import numbered_rows
from thinkling.tasks.benchmarks import check_fields, verifier_from
from thinkling.tasks.rows import rows_of
from thinkling.verify.verifier import verifier_named
from thinkling.words import counted

FIELDS = ("reference", "answer")


@dataclass(frozen=True, kw_only=True)
class LintData:
    """Check that every reference answer in a file can be verified: that it is read, and equals itself.

    Lists those that do not; exit code 1 if there are any. What it lists is better dropped before training.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .jsonl, .csv or .parquet file, or a .json file that holds one array: MATH-500 and GSM8K as they are."""
    field: str | None = None
    """The field with the reference; without it reference, else answer. Of a GSM8K answer what follows ####."""


def main(settings: LintData) -> None:
    num = num_bad = 0
    for place, row in rows_with_places(settings.file):
        for reference in references_of(settings.file, place, row, settings.field):
            num += 1
            why = complaint(settings.file, place, row, reference)
            if why:
                num_bad += 1
                print(f"{settings.file}, {place}: {short(reference)}: {why}")
    if not num:
        raise UserError(f"{settings.file}: no references in this file")
    if num_bad:
        fail = "does not verify against itself" if num_bad == 1 else "do not verify against themselves"
        print(f"{num_bad} of {counted(num, 'reference')} {fail}")
        sys.exit(1)
    print(f"{counted(num, 'reference')}, and each verifies against itself")


def rows_with_places(path: Path) -> Iterator[tuple[str, dict]]:
    """Rows, and where each stands: its line in a .jsonl file, its place in a .json array."""
    if path.suffix == ".jsonl":
        return ((f"line {number}", row) for number, row in numbered_rows(path))
    return ((f"row {number}", row) for number, row in enumerate(rows_of(path), start=1))


def references_of(path: Path, place: str, row: dict, field: str | None) -> list[object]:
    """The row's references, of a GSM8K answer only what follows ####. Raises UserError where there is no such field."""
    fields = FIELDS if field is None else (field,)
    found = next((name for name in fields if name in row), None)
    if found is None:
        wanted = " or ".join(f"'{name}'" for name in fields)
        raise UserError(f"{path}, {place}: no field {wanted}; it has {sorted(row)}: name one with --field")
    values = row[found] if isinstance(row[found], list) and row[found] else [row[found]]
    return [value.rpartition("####")[2].strip() if isinstance(value, str) else value for value in values]


def complaint(path: Path, place: str, row: dict, reference: object) -> str | None:
    """Why a reference does not verify against itself, by the row's own verifier; None where it does."""
    where = f"{path}, {place}"
    try:
        check_fields(where, row | {"reference": reference})
    except UserError as error:
        return str(error).removeprefix(f"{where}: ")
    name = verifier_from(path, where, row.get("verifier") or "math")
    verifier = verifier_named(name)
    if reference is None and not verifier.needs_reference:
        reference = ""
    elif isinstance(reference, int | float) and not isinstance(reference, bool):
        reference = str(reference)
    if not isinstance(reference, str):
        return f"is no text but {type(reference).__name__}"
    if not reference.strip() and verifier.needs_reference:
        return "empty"
    question, metadata = str(row.get("question", "")), row.get("metadata") or {}
    return verifier.complaint(Problem(place, question, reference, verifier=name, metadata=metadata))
