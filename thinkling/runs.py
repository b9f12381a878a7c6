"""A run is a folder: config.json, metrics.jsonl, samples.jsonl, checkpoints/, plots.

Small files are written whole or not at all (`write_json`); rows are appended one per line (`append_jsonl`).
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from thinkling.errors import UserError

MAY_DIFFER = ("out", "on_error", "timeout")  # settings that change no result: a run may resume with others


def to_plain(value: object) -> object:
    """A dataclass or path as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def to_json(value: object, **layout: object) -> str:
    """As JSON that any reader takes: it has no NaN and no infinity, so null stands in their place."""
    try:
        return json.dumps(value, default=to_plain, ensure_ascii=False, allow_nan=False, **layout)
    except ValueError:
        read_back = json.loads(json.dumps(value, default=to_plain), parse_constant=lambda _: None)
        return json.dumps(read_back, ensure_ascii=False, allow_nan=False, **layout)


def write_text(path: Path, text: str) -> None:
    """Write the whole file or nothing: a temporary file in the same folder, flushed to disk, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: object) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


def append_jsonl(path: Path, rows: Iterable[object]) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(to_json(row) + "\n" for row in rows)


def read_jsonl(path: Path, required: tuple[str, ...] = ()) -> Iterator[dict]:
    """Yield the rows of a JSONL file; `required` names the fields that every row must have.

    Raises UserError naming the file, the line number and what is wrong with it.
    """
    return (row for _, row in numbered_rows(path, required))


def numbered_rows(path: Path, required: tuple[str, ...] = ()) -> Iterator[tuple[int, dict]]:
    """The same rows, each with the number of its line, from 1."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is a folder: name a file" if path.is_dir() else f"{path}: no such file")
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line  # the mark that Excel and Notepad write
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode())
            except json.JSONDecodeError as error:
                start = line.decode().strip()[:60]
                raise UserError(f"{path}, line {number}: not JSON ({error.msg}): {start}") from None
            except (ValueError, RecursionError) as error:  # no UTF-8, a number of a million digits, a million brackets
                raise UserError(f"{path}, line {number}: cannot be read: {str(error)[:80]}") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
            for field in required:
                if field not in row:
                    raise UserError(f"{path}, line {number}: the field '{field}' is missing; it has {sorted(row)}")
            yield number, row


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No second process may write to this run meanwhile. Raises UserError if one is at it already."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder}: another process is writing to this run: wait until it ends, or choose another "
                        "--out") from None  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def open_run(folder: Path, config: object, finished: str, limits: tuple[str, ...] = ()) -> Path:
    """`new_run`, or an unfinished one to resume: it has the same config.json and no file named `finished`.

    limits: settings that say how long the run goes on. One that is raised (None is without end) resumes a finished run
    too: its config.json is replaced, and its file `finished` is removed. Raises UserError naming what differs.
    """
    folder, path = Path(folder), Path(folder) / "config.json"
    if not path.exists():
        return new_run(folder, config)
    wanted, found = json.loads(to_json(config)), json.loads(path.read_text(encoding="utf-8"))
    raised = {name for name in limits if name in found and is_raised(found[name], wanted[name])}
    if (folder / finished).exists() and not raised:
        return new_run(folder, config)
    changed = [name for name in wanted if wanted[name] != found.get(name) and name not in {*MAY_DIFFER, *raised}]
    if changed:
        name = changed[0]
        raise UserError(f"{folder} holds an unfinished run with --{name.replace('_', '-')} {found.get(name)}, not "
                        f"{wanted[name]}: give the same flags to go on with it, or choose another --out")  # fmt: skip
    if raised:
        write_json(path, config)
        (folder / finished).unlink(missing_ok=True)
    return folder


def is_raised(was: float | None, now: float | None) -> bool:
    return was is not None and (now is None or now > was)


def new_run(folder: Path, config: object) -> Path:
    """Make the run's folder and write its config.json. An existing run is never overwritten."""
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise UserError(f"{folder} already holds a run: choose another --out, or remove it first")
    write_json(folder / "config.json", config)
    return folder
