"""The rows of a file, each as a dict: JSON, JSON Lines, CSV (commas, semicolons or tabs) or Parquet.

What is wrong is one line that names the file, the place and the fix. Leaves out which column is which (columns.py).
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from thinkling.errors import UserError, install
from thinkling.runs import read_jsonl, why_not_read

LONGEST_CELL = 2**24  # characters; Python's own limit, 2^17, is less than some contexts have


def rows_of(path: Path) -> Iterator[dict]:
    """The rows of a file of a kind in READERS. Raises UserError naming the file, and what is wrong with it."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: give the file in it that ends in {' or '.join(READERS)}")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix not in READERS:
        raise UserError(f"{path}: give a file that ends in {' or '.join(READERS)}")
    return READERS[path.suffix](path)


def json_rows(path: Path) -> Iterator[dict]:
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


def csv_rows(path: Path) -> Iterator[dict]:
    """A table whose first line names the columns. An empty cell is None, every other one is text."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {why_not_read(error)}") from None
    first = text.split("\n", 1)[0]
    delimiter = max("\t;,", key=first.count)  # of several that are as frequent the first: a comma where there is none
    csv.field_size_limit(LONGEST_CELL)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter if delimiter in first else ",", strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{path}: its first line names the column {twice!r} twice: rename one of the two")
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(f"{path}, line {lines.line_num}: {len(row)} cells, but the first line names "
                                f"{len(header)}: put text that holds a {delimiter!r} or a line's end in double "
                                "quotes")  # fmt: skip
            yield {name: cell or None for name, cell in zip(header, row, strict=True)}
    except csv.Error as error:
        raise UserError(
            f"{path}, line {lines.line_num}: not CSV ({error}): look for a double quote that is never "
            "closed; one within a cell is written twice"
        ) from None


def parquet_rows(path: Path) -> Iterator[dict]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"{path}: Parquet is read by pyarrow, which is not installed: {install('parquet')}, or save "
                        "the file as .jsonl or .csv") from None  # fmt: skip
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise UserError(f"{path}: not a Parquet file that pyarrow reads ({str(error).splitlines()[0][:120]})") from None


READERS: dict[str, Callable[[Path], Iterator[dict]]] = {
    ".jsonl": read_jsonl, ".json": json_rows, ".csv": csv_rows, ".tsv": csv_rows, ".parquet": parquet_rows,
}  # fmt: skip
