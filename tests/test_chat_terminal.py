"""The chat in the terminal: replies wrapped by words as they stream, a greeting, and lines through a pipe."""

import io
import os
import signal
import sys
from io import StringIO

import pexpect
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
    """A pseudo-terminal: several lines, a command, a reply that is stopped, a line brought back, and the end."""
    code = (
        "import time\n"
        "from thinkling.generate.sampling import Sampling; from thinkling.serve import chat\n"
        "from thinkling.serve.reply_parser import Delta\n"
        "class Talker:\n"
        "    name, context, used, can_think = 'thinkling-base', 1024, 24, True\n"
        "    def reply(self, say):\n"
        "        said = say.messages[-1]['content']\n"
        "        yield Delta('hm', repr(said))\n"
        "        while said == 'for ever': time.sleep(0.05); yield Delta(content=' on')\n"
        "chat.talk(Talker(), Sampling(max_tokens=9), True, None)\n"
        "print('over')"
    )
    env = os.environ | {"TERM": "xterm"}
    child = pexpect.spawn(
        sys.executable, ["-c", code], env=env, encoding="utf-8", timeout=120, dimensions=(30, 100),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where pytest runs in the background
    )  # fmt: skip
    shown = child.logfile_read = StringIO()

    def at_the_prompt(below: str = "tokens left") -> None:
        """As terminals do, say where the cursor is: the line below is shown when that is known."""
        child.expect_exact("\x1b[6n")
        child.send("\x1b[5;1R")
        child.expect_exact(below)

    at_the_prompt()
    child.send("first\x1b\rsecond\r")  # Alt+Enter between them
    child.expect_exact(r"'first\nsecond'")
    child.expect_exact("1,000 of 1,024 left")
    at_the_prompt()
    child.send("/vote 8\r")
    at_the_prompt("vote of 8")
    child.send("for ever\r")
    child.expect_exact("on on on")
    child.send("\x03")
    child.expect_exact("stopped")
    at_the_prompt()
    child.send("\x1b[A")  # brought back
    child.expect_exact("for ever")
    child.send("\x03")  # cleared
    at_the_prompt()
    child.send("\x04")
    child.expect_exact("over")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "small mathematics problems and nothing else" in " ".join(shown.getvalue().split())
