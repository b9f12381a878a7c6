"""What everyone meets first: `from thinkling import ...`, `python -m thinkling`, help, the version, `thinkling env`."""

import subprocess
import sys
import textwrap

import pytest
import torch

import thinkling
from thinkling import cli
from thinkling.errors import UserError
from thinkling.model import prepacked
from thinkling.terminal import own_name


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_the_face_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, thinkling; before = 'torch' in sys.modules; from thinkling import Problem, load_problems\n"
        "print(before, 'torch' in sys.modules, thinkling.__version__)"
    )
    shown = python(code)
    assert shown.stdout == f"False False {thinkling.__version__}\n", shown.stderr


def test_every_public_name_is_there_and_no_other() -> None:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.verify.math.grade import grade

    assert thinkling.LanguageModel is LanguageModel
    assert thinkling.grade is grade
    assert set(thinkling.__all__) == set(thinkling.HOMES)
    assert set(dir(thinkling)) == {*thinkling.__all__, "__version__"}
    assert all(getattr(thinkling, name).__name__ == name for name in thinkling.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gradE': it has Completion, LanguageModel"):
        thinkling.gradE  # noqa: B018


def test_commands_to_paste_name_what_the_shell_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make demo` the shell knew no thinkling, and the demo said to type it."""
    for started, on_path, typed in (
        (".venv/bin/thinkling", None, ".venv/bin/thinkling"),
        (".venv/bin/thinkling", "/usr/bin/thinkling", "thinkling"),
        ("thinkling/__main__.py", None, "thinkling"),
    ):
        monkeypatch.setattr(sys, "argv", [started])
        monkeypatch.setattr("thinkling.terminal.shutil.which", lambda name, found=on_path: found)
        assert own_name() == typed


def test_the_docstrings_example_runs(capsys: pytest.CaptureFixture) -> None:
    example = textwrap.dedent(thinkling.__doc__.split("\n\n", 1)[1].rsplit("\n\n", 1)[0])
    exec(example, {})
    *text, score = capsys.readouterr().out.splitlines()
    assert "\\boxed{" in "".join(text)
    right, _, _, num = score.partition(" of ")[0], *score.partition(" of ")
    assert 4 <= int(right) <= int(num) == 8


def test_one_text_is_not_many_prompts(tiny: thinkling.LanguageModel) -> None:
    with pytest.raises(UserError, match=r"takes a list of prompts: write \[prompt\]"):
        tiny.complete_all("What is 1 + 1?", thinkling.Sampling())


def test_what_cannot_fit_is_refused_before_it_is_made_into_tokens(
    tiny: thinkling.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30 MB took 56 seconds to be refused."""
    monkeypatch.setattr(type(tiny.tokenizer), "encode", lambda *_: pytest.fail("made into tokens"))
    monkeypatch.setattr(type(tiny.tokenizer), "encode_chat", lambda *_, **__: pytest.fail("made into tokens"))
    with pytest.raises(UserError, match="the prompt is 30,000,000 characters long, but the context holds 512 tokens"):
        tiny.text_prompt("7" * 30_000_000)
    with pytest.raises(UserError, match="30,000,000 characters"):
        tiny.chat_prompt([{"role": "user", "content": "7" * 30_000_000}], False)


# The command line


def test_python_m_is_the_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "thinkling", "--version"], capture_output=True, text=True)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"thinkling {thinkling.__version__}\n", "")


def test_help_is_a_command_too(capsys: pytest.CaptureFixture) -> None:
    cli.main(["help"])
    usage = capsys.readouterr().out
    cli.main(["--help"])
    assert capsys.readouterr().out == usage
    assert "thinkling help COMMAND" in usage
    for words in (["help", "env"], ["env", "--help"]):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert not end.value.code
        assert "usage: thinkling env" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["help", "evla"])
    assert "unknown command 'evla'" in capsys.readouterr().err


def test_env_says_what_a_bug_report_needs(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    monkeypatch.setattr(prepacked, "can_prepack", lambda dtype: dtype == torch.float32)
    cli.main(["env"])
    shown = capsys.readouterr().out
    rows = dict(line.split(":", 1) for line in shown.splitlines())
    assert list(rows) == ["thinkling", "Python", "system", "machine", "threads", "torch", "device", "dtype", "products",
                          "compiler", "folders", "output", "libraries"]  # fmt: skip
    assert thinkling.__version__ in rows["thinkling"]
    assert "OMP_NUM_THREADS 3, OMP_WAIT_POLICY passive" in rows["threads"]
    assert rows["threads"].endswith("; with OMP_WAIT_POLICY=active training is faster where nothing else runs")
    assert "through weights in blocks in float32, from 512 wide on; int8 " in rows["products"]
    assert "tyro " in rows["libraries"]
    assert "hf_secret" not in shown
