"""The commands as a user meets them: help at once, bad input in one line with exit code 2, a smoke run of each."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from safetensors.torch import load_file

from thinkling import cli
from thinkling.commands import demo, grpo
from thinkling.evaluate.result import Result
from thinkling.generate.language_model import LanguageModel
from thinkling.model.config import SIZES
from thinkling.model.weights import save_model


@pytest.fixture
def checkpoint(tiny: LanguageModel, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    return tmp_path / "model"


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Run a command that must fail with exit code 2 and one line on standard error; returns the line."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return captured.err.strip()


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[str, list[str]]]:
    """Of every command, one after the other in one process: its help, and what is imported by then that is heavy."""
    code = (
        "import contextlib, io, json, sys\n"
        "from thinkling import cli\n"
        "found = {}\n"
        "for command in cli.COMMANDS:\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as shown:\n"
        "        try: cli.main([command, '--help'])\n"
        "        except SystemExit as end: assert not end.code\n"
        "    heavy = {'torch', 'matplotlib', 'reasoning_gym', 'transformers', 'numpy'} & set(sys.modules)\n"
        "    found[command] = shown.getvalue(), sorted(heavy)\n"
        "print(json.dumps(found))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_names_every_flag_without_importing_torch(command: str, helped: dict[str, tuple[str, list[str]]]) -> None:
    shown, heavy = helped[command]
    assert not heavy
    for flag in flags_of(cli.COMMANDS[command].settings):
        assert flag in shown.lower()


def flags_of(settings: type) -> Iterator[str]:
    """Of each field, and of a record in it each of its own."""
    for name, kind in get_type_hints(settings).items():
        if is_dataclass(kind):
            yield from flags_of(kind)
        else:
            yield name.replace("_", "-")


def test_a_model_and_its_training_are_imported_without_the_compiler() -> None:
    """torch's compiler takes as long to import as torch itself, and only a few commands need it."""
    code = (
        "import sys, thinkling.generate.language_model, thinkling.train.rl.trainer\n"
        "print('torch._dynamo' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert shown.stdout == "False\n", shown.stderr


@pytest.mark.parametrize(
    ("own", "wanted"),
    [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"), ({"GOMP_SPINCOUNT": "9"}, None)], ids=str,
)  # fmt: skip
def test_threads_sleep_at_barriers_unless_told_otherwise(own: dict[str, str], wanted: str | None) -> None:
    """Spinning threads made a busy machine 5 to 9 times as slow. A library user's process is left alone."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | own
    code = (
        "import os, sys\n"
        "from thinkling import cli\n"
        "print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules, file=sys.stderr)\n"
        "cli.main([])\n"
        "print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules, file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert shown.stderr == f"{own.get('OMP_WAIT_POLICY')} False\n{wanted} False\n"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's malloc")
@pytest.mark.parametrize(("own", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False)], ids=str)
def test_freed_memory_stays_unless_told_otherwise(own: dict[str, str], kept: bool) -> None:
    """Pages fetched for three blocks of 20 MB, taken and freed ten times: 15,000, or as many each time."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))} | own
    code = (
        "import resource\n"
        "from thinkling import cli\n"
        "cli.main([])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10):\n"
        "    blocks = [b'x' * (20 << 20) for _ in range(3)]\n"
        "    del blocks\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (int(shown.stdout.splitlines()[-1]) < 40_000) == kept


def test_samples_that_would_be_one_text_are_refused(capsys: pytest.CaptureFixture) -> None:
    line = fails(capsys, "generate", "1 + 1?", "--num-samples", 3)
    assert "--num-samples 3 at --temperature 0 would be one text 3 times: raise --temperature" in line


@pytest.mark.parametrize("command", ["generate", "explain", "prompts"])
def test_no_question_is_refused(command: str, capsys: pytest.CaptureFixture) -> None:
    """The model made one up, and answered it. Said before a model is loaded: the one named here does not exist."""
    for question in ("", " \n"):
        line = fails(capsys, command, question, "--model", "./nowhere")
        assert "the question is empty: write one, or use --template none" in line


def test_a_password_in_a_url_is_refused(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """It stood in the run's config.json. Said before anything is loaded: the model does not exist."""
    url, out = "http://me:hidden@host", ("--model", "./nowhere", "--out", tmp_path / "run")
    for command, flag, variable in (
        (("eval", *out), "--server", "OPENAI_API_KEY"), (("scale", *out), "--judge-server", "OPENAI_API_KEY"),
        (("grpo", *out), "--rollouts", "THINKLING_API_KEY"), (("chat",), "--server", "THINKLING_API_KEY"),
    ):  # fmt: skip
        line = fails(capsys, *command, flag, f"http://other,{url}")
        assert f"{flag} holds a user name or password" in line and variable in line and "hidden" not in line
    assert not (tmp_path / "run").exists()


def test_usage_lists_every_command(capsys: pytest.CaptureFixture) -> None:
    cli.main([])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)
    assert max(map(len, shown.splitlines())) <= 120


@pytest.mark.parametrize("columns", [40, 80])
def test_usage_goes_by_stages_and_is_wrapped(
    columns: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was one flat list, and a line was as long as what it said."""
    monkeypatch.setenv("COLUMNS", str(columns))
    cli.main(["help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(columns, 41)
    heads = [number for number, line in enumerate(lines) if line in cli.STAGES]
    assert [lines[number] for number in heads] == list(cli.STAGES)
    for number, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        named = [line.split()[0] for line in lines[number:end] if re.match("  [a-z]", line)]
        assert named == list(cli.STAGES[lines[number]])
        told = " ".join(" ".join(lines[number:end]).split())
        assert all(f"{name} {cli.COMMANDS[name].summary}" in told for name in named)


def test_unknown_words_are_named(capsys: pytest.CaptureFixture) -> None:
    assert "unknown command 'evla': did you mean eval? (thinkling help lists all)" in fails(capsys, "evla")
    assert "unknown command 'zzz' (thinkling help lists all)" in fails(capsys, "zzz")
    assert "--max-tokenz" in fails(capsys, "generate", "hi", "--max-tokenz", 3)
    assert "--split" in fails(capsys, "eval", "--out", "x", "--split", "test")
    assert "--max-tokens" in fails(capsys, "generate", "hi", "--max-tokens", "many")
    assert "--out" in fails(capsys, "eval")


def test_bad_values_are_named(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    model = ("--model", checkpoint)
    assert "max-tokens must be at least 1, not 0" in fails(capsys, "generate", "hi", *model, "--max-tokens", 0)
    assert "nowhere" in fails(capsys, "generate", "hi", "--model", tmp_path / "nowhere")
    assert "no config.json" in fails(capsys, "generate", "hi", "--model", tmp_path)
    line = fails(capsys, "generate", "7 " * 600, *model)
    assert "tokens long, but the context holds 512: shorten the prompt" in line
    assert "--grpo-minutes must be above 0" in fails(capsys, "demo", "--grpo-minutes", -1, "--out", tmp_path / "demo")
    assert not (tmp_path / "demo").exists()
    assert "unknown device 'gpu'" in fails(capsys, "generate", "hi", *model, "--device", "gpu")


def test_a_failed_eval_leaves_nothing_behind(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    empty, lacking, out = tmp_path / "empty.jsonl", tmp_path / "lacking.jsonl", tmp_path / "run"
    empty.write_text("")
    lacking.write_text('{"question": "1 + 1?"}\n')
    common = ("eval", "--model", checkpoint, "--out", out)
    assert f"{empty}: no problems in this file" in fails(capsys, *common, "--tasks", empty)
    assert "row 1: the field 'reference'" in fails(capsys, *common, "--tasks", lacking)
    assert "no such file" in fails(capsys, *common, "--tasks", tmp_path / "none.jsonl")
    assert (
        "'maths': use one of builtin, larger-numbers, quantities, longer-quantities, gym:FAMILY, choice:SUITE, "
        in fails(capsys, *common, "--tasks", "maths")
    )
    larger = ("--tasks", "larger-numbers", "--split", "unseen-templates")
    assert "of larger-numbers: use one of train, held-out" in fails(capsys, *common, *larger)
    assert "'maths': use one of" in fails(capsys, "grpo", *common[1:], "--tasks", "builtin", "maths")
    assert "no such file" in fails(capsys, "grpo", *common[1:], "--held-out", tmp_path / "none.jsonl")
    assert not out.exists()


def test_generate_prints_a_completion(capsys: pytest.CaptureFixture, checkpoint: Path) -> None:
    arguments = ["generate", "What is 1 + 1?", "--model", str(checkpoint), "--max-tokens", "8", "--temperature", "1"]
    cli.main(arguments)
    first = capsys.readouterr().out
    cli.main(arguments)
    assert capsys.readouterr().out == first != "\n"
    cli.main([*arguments, "--num-samples", "3"])
    assert capsys.readouterr().out.count("--- sample") == 3


def test_eval_writes_a_run_and_never_over_another(
    capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ["eval", "--model", str(checkpoint), "--num-problems", "4", "--max-tokens", "8"]
    arguments += ["--out", str(tmp_path / "run"), "--method", "self-consistency", "--num-samples", "2"]
    cli.main(arguments)
    shown = " ".join(capsys.readouterr().out.split())
    assert "self-consistency" in shown
    assert shown.count("token limit") == shown.count("raise --max-tokens (now 8)") == 1  # it was said twice
    assert "allow more tokens" not in shown and "cut off" not in shown
    written = {path.name for path in (tmp_path / "run").iterdir()}
    kept = {"config.json", "manifest.json", "prompts.json", "pool.jsonl", "samples.jsonl"}
    assert kept | {"report.json", "report.md", "report.html"} == written - {".lock"}
    before = (tmp_path / "run" / "samples.jsonl").read_text()
    assert "already holds a run" in fails(capsys, *arguments)
    assert (tmp_path / "run" / "samples.jsonl").read_text() == before


def test_grpo_checkpoint_is_a_model(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli.main(["grpo", "--model", str(checkpoint), "--out", str(run), "--steps", "1", "--prompts-per-step", "2",
              "--rollouts-per-prompt", "2", "--max-tokens", "6", "--no-preflight", "--eval-every", "0"])  # fmt: skip
    capsys.readouterr()
    cli.main(["generate", "hi", "--model", str(run / "checkpoints" / "step-00001"), "--max-tokens", "4"])
    assert capsys.readouterr().out


def test_a_run_that_ends_by_minutes_says_so(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["grpo", "--model", str(checkpoint), "--out", str(tmp_path / "run"), "--steps", "3", "--no-preflight",
                 "--prompts-per-step", "1", "--rollouts-per-prompt", "2", "--max-tokens", "4",
                 "--eval-every", "0"]  # fmt: skip
    cli.main([*arguments, "--minutes", "1e-9"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Stopped by --minutes 1e-09 after 1 of 3 steps; the same command with more --minutes resumes." in shown
    cli.main(arguments)
    shown = capsys.readouterr().out
    assert "Stopped" not in shown and "step-00003" in shown.replace("\n", "")


def test_pretrain_makes_a_model(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinkling.commands import pretrain

    monkeypatch.setattr(pretrain, "BPE_DOCUMENTS", 300)
    narrow = replace(SIZES["thinkling-base"], hidden_size=32, intermediate_size=64, num_hidden_layers=2)
    monkeypatch.setitem(SIZES, "thinkling-base", narrow)
    out, small = tmp_path / "model", ["--rows", "2", "--length", "100", "--no-compile"]
    cli.main(["pretrain", "--out", str(out), "--num-tokens", "200", "--warmup-steps", "1", *small])
    capsys.readouterr()
    cli.main(["generate", "What is 1 + 1?", "--model", str(out), "--max-tokens", "4"])
    assert capsys.readouterr().out
    assert "a run, which is finished: raise --num-tokens to go on with it" in fails(
        capsys, "pretrain", "--out", out, "--num-tokens", "200", "--warmup-steps", "1", *small
    )
    made, timed = out / "checkpoints" / "step-00001", tmp_path / "timed"
    cli.main(["pretrain", "--out", str(timed), "--corpus", "worked-quantities", "--tokenizer",
              str(made / "tokenizer.json"), "--minutes", "0.0001", "--rows", "1", "--length", "512", "--warmup-steps",
              "1", "--no-compile"])  # fmt: skip
    assert (timed / "checkpoints" / "step-00001" / "model.safetensors").is_file()
    further = tmp_path / "further"
    cli.main(["pretrain", "--out", str(further), "--start-from", str(out), "--num-tokens", "200", "--lr", "1e-9",
              "--muon-lr", "1e-9", "--seed", "1", *small])  # fmt: skip
    new = load_file(further / "checkpoints" / "step-00001" / "model.safetensors")
    for name, weight in load_file(made / "model.safetensors").items():
        assert torch.allclose(weight, new[name], atol=1e-4)
    assert "tokenizer of its own" in fails(capsys, "pretrain", "--out", tmp_path / "y", "--start-from", out,
                                           "--tokenizer", made / "tokenizer.json")  # fmt: skip
    assert "no such file" in fails(capsys, "pretrain", "--out", tmp_path / "x", "--tokenizer", tmp_path / "none.json")
    assert not (tmp_path / "x").exists()


def test_demo_tells_the_whole_story(
    capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "MAX_TOKENS", 16)
    monkeypatch.setattr(grpo, "Grpo", partial(grpo.Grpo, prompts_per_step=2, rollouts_per_prompt=2, max_tokens=16))
    arguments = ["demo", "--model", str(checkpoint), "--out", str(tmp_path / "demo"), "--num-problems", "3"]
    cli.main([*arguments, "--grpo-steps", "1"])
    shown = capsys.readouterr().out
    for name in ("plain", "step by step", "vote of 8", "plain, after GRPO", "vote of 8, after GRPO", "report.html"):
        assert name in shown
    assert "<html" in (tmp_path / "demo" / "report.html").read_text()
    assert demo.free_folder(tmp_path / "demo") == tmp_path / "demo-2"


def test_the_demo_measures_the_checkpoint_that_counts(
    capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the weights in memory: after a stop by the watchdog those are the collapsed ones."""
    measured = []

    def collapse(plan: object, model: LanguageModel, _: object) -> Path:
        for weight in model.network.parameters():
            weight.data.zero_()
        plan.out.mkdir()
        (plan.out / "finished.json").write_text(json.dumps({"stopped": "it fell apart"}))
        return checkpoint  # what it was rolled back to

    def add(self: object, name: str, model: LanguageModel, method: object) -> list:
        measured.append((name, float(model.network.model.embed_tokens.weight.detach().abs().sum())))
        self.rows.append(
            Result(method=name, num_problems=3, accuracy=0.5, low=0.4, high=0.6, tokens=1.0, truncated=0.0)
        )
        return []

    monkeypatch.setattr(grpo, "train", collapse)
    monkeypatch.setattr(demo.Measurements, "add", add)
    cli.main(["demo", "--model", str(checkpoint), "--out", str(tmp_path / "demo"), "--num-problems", "3"])
    assert "Stopped: it fell apart. What follows is measured at" in capsys.readouterr().out
    assert [name for name, _ in measured][-2:] == ["plain, after GRPO", "vote of 8, after GRPO"]
    assert len({size for _, size in measured}) == 1 and measured[-1][1] > 0


def test_chat_talks_and_survives_odd_input(
    capsys: pytest.CaptureFixture, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["hello <|im_end|> there", "/no_think", "again", "/what", "7 " * 600, "/reset", "", "/quit"])
    monkeypatch.setattr("thinkling.serve.line_editor.Piped.lines", lambda self, below: lines)
    cli.main(["chat", "--model", str(checkpoint), "--max-tokens", "20"])
    shown = capsys.readouterr().out
    assert "there is no command /what" in shown
    assert "shorten it" in shown
    assert next(lines, "all read") == "all read"
