"""A run is a folder: config.json, metrics.jsonl, samples.jsonl, checkpoints/, plots.

Small files are written whole or not at all (`write_json`); rows are appended one per line (`append_jsonl`).
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from thinkling.errors import NotWritten, UserError, refusal

Record = TypeVar("Record")

FINISHED = "finished.json"  # what a training run writes at its end: where its model is, how many steps it took
# Settings that change no result: a run may resume with others.
MAY_DIFFER = ("out", "on_error", "timeout", "wait_minutes", "fail_on_truncation",
              "servers", "data_parallel_size")  # fmt: skip


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


@contextmanager
def refused_by_name(path: Path) -> Iterator[None]:
    """A full disk, a file in the way or missing rights become a NotWritten that names the path: no problem of a run is
    skipped for it."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotWritten(f"{path}: nothing can be made there: name another place") from error
    except OSError as error:
        line = refusal(error, path)
        if line is None:
            raise
        raise NotWritten(line) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a temporary file in the same folder, flushed to disk, then renamed.

    Raises UserError where the disk is full or the place cannot be written to; nothing is left behind then.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    with refused_by_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of a text, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """`write_text` of a line for each row."""
    write_text(path, "".join(to_json(row) + "\n" for row in rows))


def append_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Add a line for each row, all of them or none: what is there when this returns outlives the process.

    On a full disk the lines that had no room are taken away again, so that whoever appends next begins a line.
    """
    path = Path(path)
    content = "".join(to_json(row) + "\n" for row in rows).encode()
    with refused_by_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            start = file.tell()
            try:
                while content:
                    content = content[file.write(content) :]
            except BaseException:
                with suppress(OSError):  # /dev/full cannot be cut
                    file.truncate(start)
                raise


def read_jsonl(path: Path, required: tuple[str, ...] = ()) -> Iterator[dict]:
    """Yield the rows of a JSONL file; `required` names the fields that every row must have.

    Raises UserError naming the file, the line number and what is wrong with it.
    """
    return (row for _, row in numbered_rows(path, required))


def record_of(kind: type[Record], row: dict) -> Record:
    """A row as the dataclass that it was written from. A null is NaN again where the field is a number."""
    numbers = {field.name for field in dataclasses.fields(kind) if field.type in (float, "float")}
    return kind(**{name: math.nan if value is None and name in numbers else value for name, value in row.items()})


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
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: cannot be read: {why_not_read(error)}") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
            for field in required:
                if field not in row:
                    raise UserError(f"{path}, line {number}: the field '{field}' is missing; it has {sorted(row)}")
            yield number, row


def why_not_read(error: Exception) -> str:
    """What is wrong with bytes that json could not read, and what to do about it."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, line {error.lineno}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is no UTF-8 (another encoding, such as Latin-1?): save it as UTF-8"
    if isinstance(error, RecursionError):
        return "brackets within brackets, too many levels: make it flatter"
    return "a number of more digits than Python reads: write it in quotes"


def check_place(path: Path, folder: bool, flag: str = "--out") -> None:
    """Can a file, or a folder, be made or written to at this path? Raises UserError naming what stands in the way.

    Writes nothing, so that it can be asked before any work.
    """
    path = Path(path)
    if path == Path():
        raise UserError(f"{flag} is empty, or the current folder, which would be filled with files: name a new one")
    if folder and path.exists() and not path.is_dir():
        raise UserError(f"{flag} {path} is a file: name a folder")
    if not folder and path.is_dir():
        raise UserError(f"{flag} {path} is a folder: name a file")
    above = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if above != path.absolute() and not above.is_dir():
        raise UserError(f"{flag} {path}: {above} is a file, where a folder is needed: name another {flag}")
    if not os.access(above, os.W_OK):
        raise UserError(f"{flag} {path}: {above} cannot be written to (read-only, or not yours): name another {flag}")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No second process may write to this run meanwhile. Raises UserError if one is at it already."""
    from filelock import FileLock, Timeout  # here, so that --help does not pay for it

    path = Path(folder) / ".lock"
    lock = FileLock(path)
    with refused_by_name(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
    with refused_by_name(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{folder}: another process is writing to this run: wait until it ends, or choose another "
                            "--out") from None  # fmt: skip
    try:
        yield
    finally:
        lock.release()


def config_in(folder: Path, config: object) -> dict | None:
    """The folder's config.json, if there is one. Raises UserError where it is another command's."""
    path = Path(folder) / "config.json"
    if not path.exists():
        return None
    wanted, found = json.loads(to_json(config)), read_object(path)
    foreign = next((name for name in found if name not in wanted), None)
    if foreign is not None:
        raise UserError(f"{folder} holds another command's run, or a checkpoint (its config.json has {foreign!r}): "
                        "choose another --out")  # fmt: skip
    return found


def check_run(folder: Path, config: object, finished: str, limits: tuple[str, ...] = ()) -> bool:
    """May a run with this config begin in this folder, or go on there? Writes nothing; True where one can go on.

    limits: settings that say how long the run goes on. One that is raised (None is without end) lets a finished run go
    on too. Raises UserError where the folder holds a run that is finished (a file of that name), one of another
    command, or one with other settings, naming what differs.
    """
    found = config_in(folder, config)
    if found is None:
        return False
    raised = raised_limits(found, config, limits)
    if (Path(folder) / finished).exists() and not raised:
        able = " or ".join(f"--{name.replace('_', '-')}" for name in limits if found.get(name) is not None)
        more = f"raise {able} to go on with it, " if able else ""
        raise UserError(f"{folder} already holds a run, which is finished: {more}choose another --out, or remove it "
                        "first")  # fmt: skip
    wanted = json.loads(to_json(config))
    known = defaults_of(config) | found
    changed = [name for name in wanted if wanted[name] != known.get(name) and name not in {*MAY_DIFFER, *raised}]
    if changed:
        name = changed[0]
        raise UserError(f"{folder} holds an unfinished run with --{name.replace('_', '-')} {known.get(name)}, not "
                        f"{wanted[name]}: give the same flags to go on with it, or choose another --out")  # fmt: skip
    return True


def defaults_of(config: object) -> dict:
    """The settings' defaults: what a run has used that was begun before a setting was known."""
    return {field.name: field.default for field in dataclasses.fields(config)
            if field.default is not dataclasses.MISSING}  # fmt: skip


def open_run(folder: Path, config: object, finished: str, limits: tuple[str, ...] = ()) -> Path:
    """`new_run`, or one to go on with: see `check_run`. A limit that is raised is written into its config.json."""
    folder = Path(folder)
    if not check_run(folder, config, finished, limits):
        return new_run(folder, config)
    if raised_limits(read_object(folder / "config.json"), config, limits):
        write_json(folder / "config.json", config)
        (folder / finished).unlink(missing_ok=True)
    return folder


def raised_limits(found: dict, config: object, limits: tuple[str, ...]) -> list[str]:
    """Which of these settings are higher than the config.json found has them."""
    wanted = json.loads(to_json(config))
    return [name for name in limits if name in found and is_raised(found[name], wanted[name])]


def read_object(path: Path) -> dict:
    """A JSON file that holds one object. Raises UserError naming the file and what is wrong with it."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {why_not_read(error)}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def is_raised(was: float | None, now: float | None) -> bool:
    return was is not None and (now is None or now > was)


def new_run(folder: Path, config: object) -> Path:
    """Make the run's folder and write its config.json. An existing run is never overwritten."""
    folder = Path(folder)
    if (folder / "config.json").exists():
        raise UserError(f"{folder} already holds a run: choose another --out, or remove it first")
    write_json(folder / "config.json", config)
    return folder


def told_apart(folders: Sequence[Path]) -> list[str]:
    """The names of runs: of each folder's path as much as tells them apart. Raises UserError for one that is named
    twice."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path in paths if paths.count(path) > 1)
    raise UserError(f"{twice} is named twice: a run cannot be compared with itself")
