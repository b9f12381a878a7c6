"""The commands as a user meets them: help at once, bad input in one line with exit code 2, a smoke run of each."""

import subprocess
import sys
from pathlib import Path

import pytest

from thinkling import cli
from thinkling.commands import demo as tour
from thinkling.generate.language_model import LanguageModel
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


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_names_every_flag_without_importing_torch(command: str) -> None:
    code = (
        "import sys; from thinkling import cli\n"
        f"try: cli.main([{command!r}, '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'matplotlib', 'reasoning_gym', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    for field in cli.COMMANDS[command].settings.__dataclass_fields__:
        assert field.replace("_", "-") in shown.stdout.lower()


def test_a_model_and_its_training_are_imported_without_the_compiler() -> None:
    """torch's compiler takes as long to import as torch itself, and only a few commands need it."""
    code = (
        "import sys, thinkling.generate.language_model, thinkling.train.rl.trainer\n"
        "print('torch._dynamo' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert shown.stdout == "False\n", shown.stderr


def test_usage_lists_every_command(capsys: pytest.CaptureFixture) -> None:
    cli.main([])
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)
    assert max(map(len, shown.splitlines())) <= 120


def test_unknown_words_are_named(capsys: pytest.CaptureFixture) -> None:
    assert "unknown command 'evla': use one of tour, generate" in fails(capsys, "evla")
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
    assert "--grpo-minutes must be above 0" in fails(capsys, "tour", "--grpo-minutes", -1, "--out", tmp_path / "tour")
    assert not (tmp_path / "tour").exists()
    assert "unknown device 'gpu'" in fails(capsys, "generate", "hi", *model, "--device", "gpu")


def test_a_failed_eval_leaves_nothing_behind(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    empty, lacking, out = tmp_path / "empty.jsonl", tmp_path / "lacking.jsonl", tmp_path / "run"
    empty.write_text("")
    lacking.write_text('{"question": "1 + 1?"}\n')
    common = ("eval", "--model", checkpoint, "--out", out)
    assert f"{empty}: no problems in this file" in fails(capsys, *common, "--tasks", empty)
    assert "row 1: the field 'reference'" in fails(capsys, *common, "--tasks", lacking)
    assert "no such file" in fails(capsys, *common, "--tasks", tmp_path / "none.jsonl")
    assert "'maths': use one of builtin, larger-numbers, or a file" in fails(capsys, *common, "--tasks", "maths")
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
    assert "self-consistency" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.json", "prompts.json", "pool.jsonl", "report.json", "samples.jsonl"} == written - {".lock"}
    before = (tmp_path / "run" / "samples.jsonl").read_text()
    assert "already holds a run" in fails(capsys, *arguments)
    assert (tmp_path / "run" / "samples.jsonl").read_text() == before


def test_grpo_checkpoint_is_a_model(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cli.main(["grpo", "--model", str(checkpoint), "--out", str(run), "--steps", "1", "--prompts-per-step", "2",
              "--rollouts-per-prompt", "2", "--max-tokens", "6", "--no-doctor", "--eval-every", "0"])  # fmt: skip
    capsys.readouterr()
    cli.main(["generate", "hi", "--model", str(run / "checkpoints" / "step-00001"), "--max-tokens", "4"])
    assert capsys.readouterr().out


def test_pretrain_makes_a_model(capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thinkling.train.pretrain import trainer as pretrain

    monkeypatch.setattr(pretrain, "BPE_DOCUMENTS", 300)
    out = tmp_path / "model"
    cli.main(["pretrain", "--out", str(out), "--num-tokens", "200", "--rows", "2", "--length", "100",
              "--warmup-steps", "1", "--no-compile"])  # fmt: skip
    capsys.readouterr()
    cli.main(["generate", "What is 1 + 1?", "--model", str(out), "--max-tokens", "4"])
    assert capsys.readouterr().out
    assert "exists already" in fails(capsys, "pretrain", "--out", out)


def test_tour_tells_the_whole_story(capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["tour", "--model", str(checkpoint), "--out", str(tmp_path / "tour"), "--num-problems", "3"]
    cli.main([*arguments, "--grpo-steps", "1"])
    shown = capsys.readouterr().out
    for name in ("plain", "step by step", "vote of 8", "plain, after GRPO", "vote of 8, after GRPO", "report.html"):
        assert name in shown
    assert "<html" in (tmp_path / "tour" / "report.html").read_text()
    assert tour.free_folder(tmp_path / "tour") == tmp_path / "tour-2"


def test_chat_talks_and_survives_odd_input(
    capsys: pytest.CaptureFixture, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["hello <|im_end|> there", "/no_think", "again", "/what", "7 " * 600, "/reset", "", "/quit"])
    monkeypatch.setattr("rich.console.Console.input", lambda *_: next(lines))
    cli.main(["chat", "--model", str(checkpoint), "--max-tokens", "20"])
    shown = capsys.readouterr().out
    assert "/reset forgets" in shown
    assert "shorten it" in shown
    assert next(lines, "all read") == "all read"
