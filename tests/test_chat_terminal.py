"""The chat in the terminal: replies wrapped by words as they stream, a greeting, and lines through a pipe."""

import io
import os
import pty
import select
import subprocess
import sys
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from thinkling.commands.chat import Chat, main
from thinkling.serve import chat
from thinkling.serve.wrapping import WrappedStream


def streamed(pieces: list[str], width: int, terminal: bool = True) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=terminal, color_system=None)
    stream = WrappedStream(console)
    for piece in pieces:
        stream.write(piece)
    stream.end()
    return console.file.getvalue()


def test_words_are_wrapped_though_they_come_in_pieces() -> None:
    assert (
        streamed(["The ans", "wer to it", " is forty-t", "wo.\n\nDone"], 12)
        == "The answer\nto it is\nforty-two.\n\nDone\n"
    )
    assert streamed(["  indented", "  twice"], 20) == "  indented  twice\n"
    assert streamed(["x" * 25, " y"], 10) == "x" * 25 + " y\n"  # longer than the line: the terminal breaks it
    assert streamed(["\u4e2d\u6587" * 3], 8) == "\u4e2d\u6587\u4e2d\u6587\n\u4e2d\u6587\n"  # two cells each
    assert streamed(["one two three"], 5, terminal=False) == "one two three\n"  # a pipe gets what the model said


@given(st.text(st.sampled_from("ab \n"), max_size=60), st.integers(1, 5), st.integers(6, 20))
def test_wrapping_changes_nothing_but_spaces(text: str, size: int, width: int) -> None:
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    shown = streamed(pieces, width)
    assert shown.split() == text.split()
    words = text.split()
    if all(len(word) < width for word in words):
        assert all(len(line.rstrip()) <= width for line in shown.splitlines())


def test_the_greeting_says_what_can_be_asked() -> None:
    assert "small mathematics problems and nothing else" in chat.greeting("thinkling-base")
    assert chat.greeting("Qwen/Qwen3-0.6B") == "This is Qwen/Qwen3-0.6B."


def test_lines_through_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Each line is a message; only replies go out, and nothing of prompt_toolkit is needed."""
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 2 + 3?\n\n/reset\nWhat is 4 + 4?\n"))
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    main(Chat(max_tokens=8))
    shown = capsys.readouterr().out
    assert "you>" not in shown and "knows" not in shown
    assert len(shown.strip().splitlines()) >= 2


def test_typed_in_a_terminal() -> None:
    """A pseudo-terminal: the greeting, a prompt, arrow keys bring back the line before, Ctrl+D ends."""
    code = (
        "from thinkling.generate.sampling import Sampling; from thinkling.serve import chat\n"
        "class Model:\n"
        "    name, engine = 'thinkling-base', type('Engine', (), {'max_length': 1024})\n"
        "chat.Conversation.prompt = lambda *a: []\n"
        "chat.reply = lambda model, prompt, sampling, console: console.print('a reply') or 'a reply'\n"
        "chat.talk(Model, Sampling(), True)\n"
        "print('over')"
    )
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    child = subprocess.Popen([sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, env=env)
    os.close(slave)
    shown, seen = "", 0
    reply = ("a reply", b"")
    said = [("you>", b"hello\r"), reply, ("you>", b"\x1b[A\r"), reply, ("you>", b"\x04"), ("over", b"")]
    for awaited, keys in said:
        while awaited not in shown[seen:]:
            assert select.select([master], [], [], 60)[0], f"{awaited!r} never came after {shown!r}"
            shown += os.read(master, 4096).decode(errors="replace")
        seen = shown.index(awaited, seen) + len(awaited)
        os.write(master, keys)
    assert child.wait(30) == 0
    os.close(master)
    assert "small mathematics problems and nothing else" in " ".join(shown.split())
    assert shown.count("hello") >= 2  # typed once, and brought back
