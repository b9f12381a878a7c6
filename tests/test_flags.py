"""Flags: what help says of them in a narrow window, and what is said of one that there is not."""

from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Literal, get_type_hints

import pytest
import tyro
from test_cli import fails

from thinkling import cli, flags
from thinkling.errors import UserError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    """How fast."""


@dataclass(frozen=True, kw_only=True)
class Base:
    size: int = 3
    """Of the parent, and long enough that the source's line ends before the terminal's does: it goes on
    (in the next line of the source), and that break is not the window's."""


@dataclass(frozen=True, kw_only=True)
class Settings(Base):
    """What all this is for, in a sentence that is longer than a narrow window is wide.

    And a second paragraph.
    """

    out: str
    """Where to."""
    kind: Literal["one", "two"] | None = None
    some: tuple[Literal["a", "b"], ...] = ()
    """Some of them."""
    label: str = ""
    """Their name."""
    fast: bool = False
    inner: Annotated[Inner, tyro.conf.arg(name="")] = field(default_factory=Inner)


def parsed(*words: str) -> Settings:
    return flags.parse(Settings, "try", words)


def test_flags_make_the_settings() -> None:
    assert parsed("--out", "x") == Settings(out="x")
    words = ("--out", "x", "--size", "4", "--kind", "two", "--some", "a", "b", "--fast", "--rate", "0.25")
    assert parsed(*words) == Settings(size=4, out="x", kind="two", some=("a", "b"), fast=True, inner=Inner(0.25))


def test_help_is_wrapped_for_the_window(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept the line breaks of the source, and what the command does was one line of any length."""
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert not end.value.code
    lines = [line.strip(" │") for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 60
    assert lines[2:6] == ["What all this is for, in a sentence that is longer than a", "narrow window is wide.", "",
                          "And a second paragraph."]  # fmt: skip
    told = " ".join(lines)
    assert (
        "Of the parent, and long enough that the source's line ends before the terminal's does: it goes on (in" in told
    )
    own = lines[next(i for i, line in enumerate(lines) if "Of the parent" in line) :]
    assert all(len(line) > 25 for line in own[:4]), own[:4]  # none of them is the rest of the source's line
    assert "How fast. (default: 0.5)" in " ".join(lines)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--out x --sise 4", "there is no flag --sise: did you mean --size?"),
        ("--out x --sise=4", "there is no flag --sise: did you mean --size?"),
        ("--uot x", "there is no flag --uot: did you mean --out?"),
        ("--out x --no-fats", "there is no flag --no-fats: did you mean --no-fast?"),
        ("--out x --raet 1", "there is no flag --raet: did you mean --rate?"),
        ("--out x -size 4", "there is no flag -size: did you mean --size?"),
        ("--out x --zzz", "there is no flag --zzz"),
        ("--out x --kind three", "--kind cannot be 'three': use one of one, two"),
        ("--out x two", "'two' belongs to no flag: did you mean --kind two?"),
        ("--out x more", "'more' belongs to no flag"),
        ("--out x more words", "'more' belongs to no flag: a text of several words needs quotes"),
        ("--size 4", "try needs --out"),
        ("--out x --size many", "--size must be a whole number, not 'many'"),
        ("--out x --rate fast", "--rate must be a number, not 'fast'"),
        ("--size 4 --out", "--out needs a value"),
        ("--out x --some a c", "--some cannot be 'c': use one of a, b"),
    ],
)
def test_what_cannot_be_is_one_line(words: str, line: str) -> None:
    """It was followed by the help of every flag that looked alike; and None stood among the choices."""
    with pytest.raises(UserError) as error:
        parsed(*words.split())
    assert str(error.value) == f"{line} (see thinkling try --help)"


def test_a_value_that_cannot_be_is_said_without_help() -> None:
    with pytest.raises(UserError) as error:
        parsed("--out", "x", "--size", "many")
    assert "--size" in str(error.value) and "Of the parent" not in str(error.value)


def helped(settings: type) -> Iterator[tuple[str, str | None]]:
    """Each flag with its help, from under the field or from the field's own conf; those of a record in it too."""
    for name, kind in get_type_hints(settings, include_extras=True).items():
        if is_dataclass(get_type_hints(settings)[name]):
            yield from helped(get_type_hints(settings)[name])
        else:
            own = [conf.help for conf in getattr(kind, "__metadata__", ()) if getattr(conf, "help", None)]
            yield name, own[0] if own else flags.help_of(settings, name)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_flag_of_every_command_is_explained(command: str) -> None:
    assert [name for name, told in helped(cli.COMMANDS[command].settings) if not told] == []


def test_defaults_that_are_empty_are_said_in_a_word(capsys: pytest.CaptureFixture) -> None:
    """They were `(default: )`, and `(default: .)` of a file that need not be given."""
    with pytest.raises(SystemExit):
        parsed("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "Some of them. (default: none)" in told and "Their name. (default: none)" in told
    assert "Where to. (required)" in told and "(default: )" not in told
    cli_help = " ".join(line.strip(" │") for line in help_text(capsys, "distill", "--help").splitlines())
    assert "soft and strong-to-weak: the replies, as for thinkling sft. (default: None)" in cli_help
    assert "two or more. (required)" in help_text(capsys, "compare", "--help")


def help_text(capsys: pytest.CaptureFixture, *words: str) -> str:
    with pytest.raises(SystemExit):
        cli.main(list(words))
    return capsys.readouterr().out


def test_the_commands_say_it_so(capsys: pytest.CaptureFixture) -> None:
    line = fails(capsys, "eval", "--out", "x", "--num_sample", 3)
    assert line == "thinkling: there is no flag --num-sample: did you mean --num-samples? (see thinkling eval --help)"
    line = fails(capsys, "prompts", "--template", "nope")
    assert "--template cannot be 'nope': use one of plain, step-by-step, boxed" in line and "None" not in line
