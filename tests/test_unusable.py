"""References that no answer could match: named before a model is loaded, or skipped, counted and listed."""

import json
from pathlib import Path

import pytest
from test_cli import fails

from thinkling import cli
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import save_model
from thinkling.scale import failures
from thinkling.tasks.benchmarks import load_problems

ROWS = [
    {"question": "1 + 1?", "reference": "2"},
    {"question": "3 / 4?", "reference": "3}{4"},
    {"question": "Which?", "reference": "Paris", "verifier": "choice"},
    {"question": "5 + 5?", "reference": "10"},
]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("command", ["eval", "scale"])
def test_the_row_is_named_before_the_model_is_loaded(
    command: str, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a row was graded as wrong, whatever was answered; lint-data and preflight saw it, these two did not."""
    monkeypatch.setattr(LanguageModel, "load", lambda *_: pytest.fail("the model is loaded first"))
    line = fails(capsys, command, "--tasks", tasks, "--out", tmp_path / "out")
    assert f"{tasks}, row 2 (mixed/" in line
    assert "): no answer can be right, for the reference '3}{4': not read as mathematics or words: " in line
    assert line.endswith(": correct it (1 more is like it) (--on-error skip goes on without it)")
    assert not (tmp_path / "out").exists()
    tasks.write_text("".join(json.dumps(row) + "\n" for row in ROWS[1:3]))
    line = fails(capsys, command, "--tasks", tasks, "--out", tmp_path / "out", "--on-error", "skip")
    assert f"{tasks}: none of 2 problems can be measured; row 1 (mixed/" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["eval", "scale"])
def test_they_are_skipped_counted_and_listed(
    command: str, tasks: Path, tmp_path: Path, tiny: LanguageModel, capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("thinkling.report.scale_page.write_pngs", lambda *_: None)
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    with tasks.open("a") as file:  # a row behind them that fails for another reason keeps its number
        file.write(json.dumps({"question": "7 " * 3000, "reference": "7"}) + "\n")
    out = tmp_path / "out"
    more = () if command == "eval" else ("--methods", "direct", "self-consistency=1,2")
    cli.main([command, "--tasks", str(tasks), "--out", str(out), "--model", str(tmp_path / "model"), "--max-tokens",
              "4", "--on-error", "skip", *more])  # fmt: skip
    assert "3 problems left out of every number above: row 2 " in capsys.readouterr().out
    written = json.loads((out / ("report.json" if command == "eval" else "table.json")).read_text())
    assert [failure["row"] for failure in written["failed"]] == [2, 3, 5]
    assert "no answer can be right" in written["failed"][1]["error"] and "tokens long" in written["failed"][2]["error"]
    if command == "eval":
        assert written["num_problems"] == 2
        rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
        failed = sorted(row["question"][:6] for row in rows if row["status"] == "failed")
        assert failed == ["3 / 4?", "7 7 7 ", "Which?"]
    else:
        assert {point["num_problems"] for point in written["points"]} == {2}


def test_rows_of_a_function_are_looked_at_and_what_is_made_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"def tasks(split, seed):\n    return iter({ROWS!r})\n")
    source = f"{path}:tasks"
    assert [failure.row for failure in failures.unusable(source, load_problems(source))] == [2, 3]
    monkeypatch.setattr(failures, "verifier_of", lambda _: pytest.fail("it was looked at"))
    assert failures.unusable("builtin", load_problems("builtin", num_problems=3)) == []
