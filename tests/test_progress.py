"""Long work says that it goes on where no terminal shows a bar; nothing that is printed fails on a plain terminal."""

import os
import subprocess
import sys
import threading

import pytest

from thinkling import progress
from thinkling.progress import Progress, duration, heartbeat, tracked
from thinkling.terminal import plain


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five minutes of pretrain in a pipe once printed nothing at all."""
    monkeypatch.setattr(progress, "INTERVAL", 0.001)
    said = threading.Event()
    words = Progress.words
    with Progress("counting", 4) as bar:
        bar.advance("half a loaf")
        bar.words = lambda: words(bar)
        said.wait(0.2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "counting  1/4  half a loaf  0:00:0" in shown.err
    assert all(line.startswith("counting") for line in shown.err.splitlines())
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture) -> None:
    assert list(tracked("abc", "spelling", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_nobody_reads_the_lines_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed pipe ends the lines, not the work, and prints no traceback of a thread."""
    monkeypatch.setattr(progress, "INTERVAL", 0.001)
    called = threading.Event()

    def closed(*_: object, **__: object) -> None:
        called.set()
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr(threading, "excepthook", lambda seen: pytest.fail(f"the thread died of {seen.exc_value}"))
    with heartbeat(lambda: "on and on"):
        assert called.wait(10)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 3725)] == ["0:00:00", "0:01:00", "1:02:05"]


def test_what_ascii_lacks_is_spelt() -> None:
    def spelt(text: str) -> str:
        return text.encode("ascii", "plain-for-this-test").decode()

    import codecs

    codecs.register_error("plain-for-this-test", plain)
    assert spelt("right ▁▅█") == "right _=#"
    assert spelt("12.0% → ⚠ 中") == "12.0% -> ! \\u4e2d"
    assert spelt("\ud83d") == "\\ud83d"  # half a surrogate pair, which UTF-8 has no way to write either


@pytest.mark.parametrize("code", [
    "from rich import print; print('▁▅█ 中 ⠋')",
    "from rich.table import Table; from rich import print; t = Table('a'); t.add_row('→ ✓'); print(t)",
])  # fmt: skip
def test_a_command_on_an_ascii_terminal(code: str) -> None:
    """The ▁ of a sparkline was a UnicodeEncodeError with LANG=C and PYTHONIOENCODING=ascii."""
    code = f"from thinkling.terminal import print_anywhere; print_anywhere(); {code}"
    env = os.environ | {"LANG": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
