"""One of them is no plural, wherever a command counts something."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from thinkling import cli
from thinkling.errors import UserError, install
from thinkling.evaluate.result import Result
from thinkling.report import eval_report, scale_terminal, scale_words
from thinkling.scale.failures import Failure, refuse
from thinkling.verify.adversarial import lint
from thinkling.words import counted

ONE = Result(
    method="plain", num_problems=1, accuracy=1.0, low=0.2, high=1.0, tokens=3.0, truncated=0.0, correct=(True,)
)


def test_counted() -> None:
    assert [counted(num, "row") for num in (0, 1, 2, 12_345)] == ["0 rows", "1 row", "2 rows", "12,345 rows"]


def test_nobody_is_told_to_install_from_an_index() -> None:
    """The package is on none: what is missing comes from a checkout, and one function says how."""
    root = Path(__file__).parents[1]
    files = [*root.glob("thinkling/**/*.py"), *root.glob("guide/*.md"), *root.glob("docs/*.md")]
    assert [file for file in files if "thinkling[" in file.read_text()] == []
    wanted = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {extra for file in files for extra in re.findall(r"\binstall\('(\w+)'\)", file.read_text())}
    assert {"audit", "chat", "parquet"} <= asked <= set(wanted)
    assert install("chat").endswith("pip install -e '.[chat]'")


def test_one_row_and_one_reference(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"response": "2", "reference": "2"}) + "\n")
    cli.main(["grade", str(path)])
    assert "1 row; in brackets" in capsys.readouterr().out
    cli.main(["lint-data", str(path)])
    assert capsys.readouterr().out == "1 reference, and each verifies against itself\n"
    path.write_text(json.dumps({"reference": "3}{4"}) + "\n")
    with pytest.raises(SystemExit):
        cli.main(["lint-data", str(path)])
    assert "1 of 1 reference does not verify against itself" in capsys.readouterr().out


def test_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint, "lint_reward", lambda *_: [lint.Finding("pays", "gives 1", ("a",), ("2",))])
    with pytest.raises(SystemExit):
        cli.main(["lint-reward"])
    assert "1 finding in" in capsys.readouterr().out


def test_one_problem(capsys: pytest.CaptureFixture) -> None:
    console = Console(width=120)
    console.print(eval_report.table([ONE]))
    for part in scale_terminal.terminal([ONE]):
        console.print(part)
    shown = capsys.readouterr().out
    assert shown.count("1 problem; in brackets") == 2 and "1 problems" not in shown
    assert "Of 1 problem, " in scale_words.headline_html([ONE])
    assert "of 1 problem (" in eval_report.training_headline([ONE], ONE, ONE)[0]


@pytest.mark.parametrize(
    ("num", "more"), [(1, "too long (--on-error"), (2, "(1 more is like it)"), (3, "(2 more are like it)")]
)
def test_one_more(num: int, more: str) -> None:
    with pytest.raises(UserError) as error:
        refuse([Failure("a", "a?", row, "too long") for row in range(1, num + 1)], "a.jsonl")
    assert more in str(error.value)
