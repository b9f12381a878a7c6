"""What goes wrong around a command, and what people type: each is one line that names the culprit and the fix."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_cli import fails

from thinkling import cli, runs
from thinkling.commands.eval import Eval
from thinkling.commands.grpo import LIMITS, Grpo
from thinkling.device import pick_device
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.tasks.benchmarks import load_problems


def thinkling(*words: str, **settings: object) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    given = {"stdout": subprocess.PIPE} | settings
    return subprocess.run([sys.executable, "-m", "thinkling", *words], stderr=subprocess.PIPE, timeout=120, **given)


# Numbers that are none, and sizes that no machine has


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("generate hi --temperature nan", "--temperature must be a finite number, not nan"),
        ("generate hi --num-samples 100000 --temperature 1", "--num-samples must be at most 10,000, not 100,000"),
        ("generate hi --max-tokens 1000000000", "--max-tokens must be at most 10,000,000, not 1,000,000,000"),
        ("generate hi --seed 99999999999999999999", "--seed must be at most 9,223,372,036,854,775,807"),
        ("generate hi --device meta", "unknown device 'meta': use auto, cpu, cuda, cuda:N or mps"),
        ("eval --out x --num-problems 1000000000", "--num-problems must be at most 1,000,000, not 1,000,000,000"),
        ("scale --out x --budgets 4 100000000", "--budgets must be at most 10,000, not 100,000,000"),
        ("grpo --out x --lr nan", "--lr must be a finite number, not nan"),
        ("grpo --out x --lr -1", "--lr must be at least 0, not -1.0"),
        ("pretrain --out x --muon-lr inf", "--muon-lr must be a finite number, not inf"),
        ("demo --out x --grpo-minutes nan", "--grpo-minutes must be a finite number, not nan"),
        ("lint-reward x:y --time-limit nan", "--time-limit must be a finite number, not nan"),
    ],
)
def test_numbers(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str,
                 line: str) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert line in fails(capsys, *words.split())
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device("cuda:1").index == 1
    with pytest.raises(UserError, match="device 'cuda:2' was asked for, but torch sees 2 CUDA GPUs here"):
        pick_device("cuda:2")


# Where a run is to be written


@pytest.mark.parametrize("command", ["eval", "scale", "grpo", "reward-head", "pretrain", "demo"])
def test_out_must_be_able_to_be_a_folder(capsys: pytest.CaptureFixture, tmp_path: Path, command: str) -> None:
    """Said before torch is imported and a model loaded: the model named here does not exist."""
    (tmp_path / "file").write_text("mine")
    model = () if command == "pretrain" else ("--model", tmp_path / "nowhere")
    assert "file is a file: name a folder" in fails(capsys, command, "--out", tmp_path / "file", *model)
    line = fails(capsys, command, "--out", tmp_path / "file" / "run", *model)
    assert f"{tmp_path / 'file'} is a file, where a folder is needed: name another --out" in line
    assert (tmp_path / "file").read_text() == "mine"
    assert "--out is empty, or the current folder" in fails(capsys, command, "--out", "", *model)


def test_out_must_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.check_place(tmp_path / "a" / "b", folder=True)
    runs.check_place(tmp_path / "a.html", folder=False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match=rf"{tmp_path} cannot be written to \(read-only, or not yours\)"):
        runs.check_place(tmp_path / "a" / "b", folder=True)
    with pytest.raises(UserError, match="is a folder: name a file"):
        runs.check_place(tmp_path, folder=False)


@pytest.mark.parametrize(("code", "fix"), [(errno.ENOSPC, "make room there"), (errno.EROFS, "can be written to")])
def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fix: str) -> None:
    """One line, and no config.json.tmp is left over."""
    path = tmp_path / "run" / "config.json"

    def refuses(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(UserError, match=f"{path}: {os.strerror(code)}: .*{fix}"):
        runs.write_json(path, {"a": 1})
    assert list((tmp_path / "run").iterdir()) == []


def test_only_what_the_system_refuses_becomes_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setitem(cli.COMMANDS, "env", replace(cli.COMMANDS["env"], main=broken))
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main(["env"])


def test_a_row_that_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(UserError, match="/dev/full: No space left on device: make room there"):
        runs.append_jsonl(Path("/dev/full"), [{"a": 1}])


@pytest.mark.parametrize("finished", ["report.json", "metrics.jsonl"])
def test_a_run_of_another_command_is_named(
    capsys: pytest.CaptureFixture, tmp_path: Path, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before the model is loaded; `scale` once wrote its own settings over another command's."""
    monkeypatch.setattr(LanguageModel, "load", lambda *_: pytest.fail("the model is loaded first"))
    runs.new_run(tmp_path / "grpo", Grpo(out=tmp_path / "grpo"))
    (tmp_path / "grpo" / finished).write_text("")
    before = (tmp_path / "grpo" / "config.json").read_bytes()
    for command in ("eval", "scale"):
        line = fails(capsys, command, "--out", tmp_path / "grpo", "--num-problems", 2)
        assert "grpo holds another command's run, or a checkpoint (its config.json has 'minutes')" in line
    assert (tmp_path / "grpo" / "config.json").read_bytes() == before
    runs.new_run(tmp_path / "eval", Eval(out=tmp_path / "eval"))
    assert "eval holds another command's run" in fails(capsys, "grpo", "--out", tmp_path / "eval")


def test_a_finished_run_is_said_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LanguageModel, "load", lambda *_: pytest.fail("the model is loaded first"))
    runs.new_run(tmp_path / "eval", Eval(out=tmp_path / "eval"))
    (tmp_path / "eval" / "report.json").write_text("{}")
    assert "already holds a run, which is finished" in fails(capsys, "eval", "--out", tmp_path / "eval")


def test_a_finished_run_says_which_limit_takes_it_further(tmp_path: Path) -> None:
    def refusal(**settings: object) -> str:
        chosen = Grpo(out=tmp_path / str(len(settings)), **settings)
        runs.new_run(chosen.out, chosen)
        (chosen.out / "finished.json").write_text("{}")
        with pytest.raises(UserError, match="already holds a run, which is finished") as error:
            runs.check_run(chosen.out, chosen, "finished.json", LIMITS)
        return str(error.value).partition("finished: ")[2]

    assert refusal() == "raise --steps to go on with it, choose another --out, or remove it first"
    assert refusal(minutes=5.0) == (
        "raise --steps or --minutes to go on with it, choose another --out, or remove it first"
    )


@pytest.mark.parametrize(("content", "said"), [("[1]", "found list"), ('{"a":', "cannot be read"),
                                               ("{}", "lacks model, tasks")])  # fmt: skip
def test_broken_runs(capsys: pytest.CaptureFixture, tmp_path: Path, content: str, said: str) -> None:
    for name in ("config.json", "pool.jsonl", "samples.jsonl"):
        (tmp_path / name).write_text(content if name == "config.json" else "")
    assert said in fails(capsys, "scorers", tmp_path)
    if content != "{}":
        assert said in fails(capsys, "microscope", tmp_path)
        assert said in fails(capsys, "eval", "--out", tmp_path)


# A terminal, a pipe, a hurry


@pytest.mark.parametrize("words", ["--help", "eval --help", "prompts"])
def test_a_reader_that_goes_away(words: str) -> None:
    """As in `thinkling --help | head -1`: no traceback, not even after the end. What rich prints (prompts) ended with
    1."""
    read, write = os.pipe()
    os.close(read)
    ended = thinkling(*words.split(), stdout=write)
    os.close(write)
    assert ended.stderr == b""
    assert ended.returncode == 141


def test_a_full_output(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "rows.jsonl").write_text('{"response": "2", "reference": "2"}\n')
    with open("/dev/full", "wb") as full:
        ended = thinkling("grade", str(tmp_path / "rows.jsonl"), stdout=full)
    assert b"thinkling: standard output: No space left on device: make room there" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == 2


@pytest.mark.parametrize("words", ["grade rows.jsonl --verbose", "eval --help", "prompts --nope"])
def test_an_ascii_terminal(words: str, tmp_path: Path) -> None:
    """What it cannot show is escaped; tyro draws its panel with other characters there."""
    (tmp_path / "rows.jsonl").write_text('{"response": "√2", "reference": "√2"}\n', encoding="utf-8")
    ascii_only = os.environ | {"LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "ascii"}
    ended = thinkling(*words.split(), env=ascii_only, cwd=tmp_path)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode == (2 if "nope" in words else 0)
    assert (rb'"response": "\u221a2"' in ended.stdout) == ("grade" in words)
    if "nope" in words:
        assert ended.stderr == b"thinkling: there is no flag --nope (see thinkling prompts --help)\n"


def test_stopped_says_that_the_same_command_goes_on(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(settings: object) -> None:
        if settings.out == tmp_path / "begun":
            runs.new_run(settings.out, settings)
        raise KeyboardInterrupt

    for name in ("eval", "reward-head"):
        monkeypatch.setitem(cli.COMMANDS, name, replace(cli.COMMANDS[name], main=interrupted))
    said = {}
    for command, name in (("eval", "begun"), ("eval", "early"), ("reward-head", "other")):
        with pytest.raises(SystemExit) as end:
            cli.main([command, "--out", str(tmp_path / name)])
        assert end.value.code == 130
        said[name] = capsys.readouterr().err.strip()
    assert said == {"begun": "stopped; the same command resumes from here", "early": "stopped", "other": "stopped"}


# A user's own loss


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "def loss(batch):\n    return undefined",
            "raised NameError in {file}, line 2: name 'undefined'",
        ),
        ("def loss(batch):\n    raise SystemExit(3)", "raised SystemExit in {file}, line 2: 3"),
        ("def loss(batch):\n    return None", "returned NoneType: let it return the loss"),
        ("def loss(batch):\n    return batch.logits", "returned a tensor of shape (2, 1, 4): let it return the loss"),
        ("def loss(batch):\n    return batch.logits.detach().sum()", "returned a loss without a gradient"),
        ("raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
        ("def loss(:", "cannot be imported (SyntaxError: invalid syntax"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
    ],
)
def test_a_loss_that_is_none(capsys: pytest.CaptureFixture, tmp_path: Path, body: str, said: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(body)
    assert said.format(file=file) in fails(capsys, "check-loss", f"{file}:loss")


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        ('[{"question": "café?", "reference": "1"}]'.encode("latin-1"), "is no UTF-8.*save it as UTF-8"),
        (b"[" * 100_000, "brackets within brackets, too many levels: make it flatter"),
        (
            b'[{"question": "a", "reference": ' + b"9" * 5000 + b"}]",
            "more digits than Python reads: write it in quotes",
        ),
    ],
    ids=["latin-1", "deep", "long"],
)
def test_what_json_cannot_read_has_a_fix(tmp_path: Path, content: bytes, fix: str) -> None:
    """The message was Python's own, and named none."""
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=fix):
            load_problems(str(tmp_path / name))
    with pytest.raises(UserError, match=fix):
        runs.read_object(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"question": "a"}', r"found dict: put \[ \] around the rows"),
        ('[{"question": "a", "reference": "1"}, "b"]', "its element 2 is str: write"),
        ("3", "found int"),
    ],
)
def test_what_an_array_of_objects_is_not_is_named(tmp_path: Path, content: str, found: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=f"a.json: expected an array of objects,.*{found}"):
        load_problems(str(tmp_path / "a.json"))


def test_json_that_a_run_holds_is_an_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert runs.read_object(tmp_path / "a.json") == {"a": 1}
