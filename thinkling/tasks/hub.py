"""A published benchmark's files: fetched from the Hub once, then read from the cache, each time by their hashes.

The first download writes lock.json beside the files: the repository's commit and the sha256 of each file. Ever after
nothing else is read: neither a changed file nor another commit passes for the benchmark that was measured before. The
folder may be copied to a machine without a network. Nothing is fetched unasked.
"""

import hashlib
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from filelock import FileLock

from thinkling.errors import UserError
from thinkling.model.package_index import cache_folder, hub_answers
from thinkling.runs import read_object, write_json
from thinkling.tasks.published import BENCHMARKS, Published

LOCK = "lock.json"


@dataclass
class Lock:
    """What the first download of a benchmark found: which commit of which repository, and each file's sha256."""

    repo: str
    revision: str
    sha256: dict[str, str] = field(default_factory=dict)


def is_published(source: str) -> bool:
    """Is it a benchmark's name, or NAME@REVISION?"""
    return source.partition("@")[0] in BENCHMARKS


def known(source: str) -> Published:
    return BENCHMARKS[source.partition("@")[0]]


def home_of(source: str) -> Path:
    return cache_folder() / "benchmarks" / source.replace("/", "-")


def lock_of(source: str) -> Lock | None:
    """What is in the cache of this benchmark, if anything."""
    path = home_of(source) / LOCK
    if not path.is_file():
        return None
    try:
        return Lock(**read_object(path))
    except TypeError:
        raise UserError(f"{path}: not as thinkling wrote it: remove its folder, to fetch the benchmark anew") from None


def files_of(source: str, split: str) -> list[Path]:
    """The files of a benchmark's split, whose hashes are those of the first download; fetched now if they are not here.

    Raises UserError where there is no such split, no way to fetch it, or a file that has changed.
    """
    wanted = known(source)
    if split not in wanted.splits:
        raise UserError(f"{source} has no split '{split}': it is a test, with the split {' or '.join(wanted.splits)}")
    pattern, home = wanted.splits[split], home_of(source)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            lock = lock_of(source)
            if lock is None or not matching(lock.sha256, pattern):
                lock = _fetch(source, pattern, lock)
    except OSError as error:
        raise UserError(f"{home}: {source} cannot be kept there ({error}): make room, or name another folder in "
                        "THINKLING_CACHE") from None  # fmt: skip
    names = matching(lock.sha256, pattern)
    for name in names:
        _check(home / name, lock.sha256[name], source)
    return [home / name for name in names]


def matching(names: object, pattern: str) -> list[str]:
    return sorted(name for name in names if fnmatch(name, pattern))


def _fetch(source: str, pattern: str, lock: Lock | None) -> Lock:
    """Fetch the files of a pattern and add them to the lock, which is written last: a killed download counts for
    nothing."""
    wanted, home = known(source), home_of(source)
    if not hub_answers():
        raise UserError(f"{source} is not in {home}, and no Hub answers: run `thinkling tasks {source}` where there is "
                        "a network, and copy that folder here; or give a file of your own as --tasks FILE")  # fmt: skip
    growing = home / ".fetching"
    shutil.rmtree(growing, ignore_errors=True)
    try:
        found = _from_hub(source, wanted, pattern, lock, growing)
        for name, sha256 in found.sha256.items():
            if sha256 != wanted.sha256.get(name, sha256):
                raise UserError(f"{source}: the sha256 of {name} is {sha256}, not {wanted.sha256[name]}, as published: "
                                "it is not used")  # fmt: skip
        for name in matching(found.sha256, pattern):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(growing / name, home / name)
        write_json(home / LOCK, asdict(found))
        return found
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _from_hub(source: str, wanted: Published, pattern: str, lock: Lock | None, growing: Path) -> Lock:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError

    asked = lock.revision if lock else source.partition("@")[2] or wanted.revision or "main"
    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        revision = api.dataset_info(wanted.repo, revision=asked).sha
        there = api.list_repo_files(wanted.repo, repo_type="dataset", revision=revision)
        names = matching(there, pattern)
        if not names:
            raise UserError(
                f"{source}: {wanted.repo} at {revision} has no file like {pattern}, but {', '.join(there)[:200]}"
            )
        print(f"fetching {', '.join(names)} of {wanted.repo} at {revision} into {home_of(source)}", file=sys.stderr)
        for name in names:
            api.hf_hub_download(wanted.repo, name, repo_type="dataset", revision=revision, local_dir=growing)
    except UserError:
        raise
    except GatedRepoError:
        raise UserError(f"{source}: the authors of {wanted.repo} ask you to accept their terms: do so on its page of "
                        "the Hub, log in with `hf auth login`, and ask again") from None  # fmt: skip
    except Exception as error:  # the network fails in as many ways as there are layers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{source}: the Hub did not give {wanted.repo} at {asked} ({reason[:200]}): check the name and "
                        "the connection, or give a file of your own as --tasks FILE") from None  # fmt: skip
    fresh = {name: _sha256(growing / name) for name in names}
    return Lock(wanted.repo, revision, (lock.sha256 if lock else {}) | fresh)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, sha256: str, source: str) -> None:
    found = _sha256(path) if path.is_file() else "missing"
    if found != sha256:
        raise UserError(f"{path}: its sha256 is {found}, not {sha256}, as when {source} was first fetched: remove "
                        f"{home_of(source)} to fetch it anew, and say so where you compare results")  # fmt: skip
