"""`thinkling grade`, `lint-data` and `lint-reward`: what they print, write and return, and what they refuse."""

import json
from pathlib import Path

import pytest

from thinkling import cli
from thinkling.commands.grade import kind_of
from thinkling.verify.adversarial import audit

DATA = Path(__file__).parents[2] / "shared" / "data"

ROWS = [
    {"response": r"So \boxed{0.5}.", "reference": "1/2", "id": 7},
    {"response": "The answer is 8.", "reference": ["7", "8"]},
    {"response": r"\boxed{(0,1]}", "reference": "[0,1)"},
    {"response": "<think>It may be 5", "reference": "5", "note": "zwölf"},
]


def write(path: Path, rows: list[object], gap: str = "\n") -> Path:
    path.write_text(gap.join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, str, str]:
    """A command's exit code, standard output and standard error."""
    try:
        cli.main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out and err.count("\n") == 1, err
    return err


# grade


def test_grade_adds_verdicts_to_the_rows(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path, out = write(tmp_path / "rows.jsonl", ROWS), tmp_path / "new" / "graded.jsonl"
    code, summary, _ = run(capsys, "grade", path, "--out", out)
    graded = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert [row["status"] for row in graded] == ["correct", "correct", "incorrect", "unparsed"]
    assert [row["answer"] for row in graded] == ["0.5", "8", "(0,1]", None]
    for row, before in zip(graded, ROWS, strict=True):
        assert before.items() <= row.items()
        assert set(row) - set(before) == {"status", "answer", "reason", "rule"}
    assert "the interval is open at 0" in graded[2]["reason"] and "never closed" in graded[3]["reason"]
    assert "zwölf" in out.read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["graded.jsonl"]
    # Worked by hand: 2 of 4, z = 1.96: centre 1/2, half = z * sqrt(1/16 + z² / 64) / (1 + z² / 4) = 0.35
    assert "correct          2   50.0%  [15.0%, 85.0%]" in summary
    assert "incorrect        1   25.0%" in summary and "unparsed         1   25.0%" in summary
    assert "2  the last \\boxed{}" in summary and "1  the answer is ..." in summary
    assert "1  no final answer: the thinking was never closed" in summary


def test_grade_prints_rows_apart_from_the_summary(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    code, out, err = run(capsys, "grade", path, "--strict", "--verbose")
    statuses = [json.loads(line)["status"] for line in out.splitlines()]
    assert (code, statuses) == (0, ["correct", "unparsed", "incorrect", "unparsed"])
    assert "correct          1   25.0%" in err


def test_grade_shows_the_first_that_failed(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """It printed every row, before the summary."""
    rows = [{"response": rf"\boxed{{{number}}}", "reference": "0"} for number in range(9)]
    code, out, err = run(capsys, "grade", write(tmp_path / "rows.jsonl", rows))
    assert (code, err) == (0, "") and '"response"' not in out
    shown = out.partition("not correct, the first 5 (--verbose prints every row):\n")[2].splitlines()
    assert shown == [f'  line {number + 1}, reference "0": {number} is not 0' for number in range(1, 6)]
    out = run(capsys, "grade", write(tmp_path / "right.jsonl", rows[:1]))[1]
    assert "correct          1  100.0%" in out and "not correct" not in out


def test_grade_over_its_own_input_and_half_a_surrogate_pair(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"response": "\\boxed{\ud800}", "reference": "1", "status": "old"}])
    assert run(capsys, "grade", path, "--out", path)[0] == 0
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert row["response"] == "\\boxed{\ud800}" and row["status"] == "unparsed"


@pytest.mark.parametrize(
    "bad, complaint",
    [
        ({"response": "1"}, "the field 'reference' is missing; it has ['response']"),
        ({"reference": "1"}, "the field 'response' is missing"),
        ({"response": None, "reference": "1"}, "the field 'response' must be a string, not null"),
        ({"response": "1", "reference": 7}, "the field 'reference' must be a string or a list of strings, not int 7"),
        ({"response": "1", "reference": ["1", 2]}, "must be a string or a list of strings, not list"),
        ({"response": "1", "reference": []}, "the field 'reference' is empty"),
        ({"response": "1", "reference": ""}, "the field 'reference' is empty"),
        ([1, 2], "expected a JSON object, found list"),
    ],
)
def test_grade_names_the_bad_line(capsys: pytest.CaptureFixture, tmp_path: Path, bad: object, complaint: str) -> None:
    path, out = write(tmp_path / "rows.jsonl", [ROWS[0], bad], gap="\n\n"), tmp_path / "out.jsonl"
    line = refused(capsys, "grade", path, "--out", out)
    assert f"{path}, line 3: " in line and complaint in line
    assert not out.exists()


def test_grade_refuses_other_files(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert "no such file" in refused(capsys, "grade", path)
    path.write_text("\n")
    assert "no rows in this file" in refused(capsys, "grade", path)
    path.write_bytes(b'{"response": "\xff"}')
    assert "cannot be read" in refused(capsys, "grade", path)
    path.write_text('{"response": "1", "reference": ' + "[" * 100_000)
    assert "cannot be read" in refused(capsys, "grade", path)
    write(path, ROWS)
    assert "is a folder: name a file" in refused(capsys, "grade", path, "--out", tmp_path)
    assert "two sets of rules" in refused(capsys, "grade", path, "--strict", "--lenient")


def test_reasons_are_counted_without_the_answers_they_quote() -> None:
    assert kind_of("3/4 is not 4/3") == "another value"
    assert kind_of("(0,1] is not [0,1): the interval is open at 0") == "the interval is open at 0"
    assert kind_of("a: b was not read as mathematics: the word 'import'") == "not mathematics: the word 'import'"
    assert kind_of("no final answer: no \\boxed{}") == "no final answer: no \\boxed{}"


# grade --audit


def test_audit_prints_where_math_verify_disagrees(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """Math-Verify#14: 1/2004! and 1/2006! are equal to it."""
    rows = [
        {"response": r"\boxed{42}", "reference": "42"},
        {"response": r"\boxed{1/2004!}", "reference": "1/2006!"},
        {"response": r"\boxed{7}", "reference": ["8", "9"]},
        {"response": r"<think>\boxed{42}</think>\boxed{1/2}", "reference": ["1/3", "0.5"]},
    ]
    path = write(tmp_path / "rows.jsonl", rows)
    code, out, _ = run(capsys, "grade", path, "--audit", "math-verify")
    assert code == 0
    shown = out[out.index("\nline ") + 1 :].splitlines()
    assert shown[0].startswith("line 2: answer ") and "reference" in shown[0]
    assert shown[1].startswith("  ours: incorrect (")
    assert shown[2] == "  Math-Verify: correct"
    assert shown[3:] == ["Math-Verify disagrees on 1 of 4 rows, and gave no verdict on 0"]


def test_audit_survives_what_hangs_math_verify(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LIMIT", 2.0)
    hangs = {"response": r"\boxed{9^{9^9}}", "reference": r"\frac{1}{2004!}"}
    rows = [hangs, {"response": r"\boxed{1}", "reference": "1"}]
    code, out, _ = run(capsys, "grade", write(tmp_path / "rows.jsonl", rows), "--audit", "math-verify")
    assert code == 0
    assert "Math-Verify: no verdict: still running after 2 s" in out
    assert "Math-Verify disagrees on 0 of 2 rows, and gave no verdict on 1" in out


def test_audit_without_math_verify_says_how_to_get_it(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = write(tmp_path / "rows.jsonl", ROWS)
    assert "pip install -e '.[audit]'" in refused(capsys, "grade", path, "--audit", "math-verify")


# lint-data


def test_lint_data_lists_what_does_not_verify(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    rows = [
        {"reference": "1/2"}, {"reference": "  "}, {"reference": r"\foo{1}"}, {"reference": None},
        {"reference": ["7", "", "8"]}, {"reference": "Paris"}, {"reference": 7}, {"reference": []},
        {"reference": "1" * 5000}, {"reference": True},
    ]  # fmt: skip
    path = write(tmp_path / "data.jsonl", rows, gap="\n\n")
    code, out, _ = run(capsys, "lint-data", path)
    *lines, total = out.splitlines()
    assert code == 1
    assert [line.split(": ")[0] for line in lines] == [f"{path}, line {n}" for n in (3, 5, 7, 9, 15, 17, 19)]
    assert lines[0].endswith('"": empty')
    assert "not read as mathematics or words: " in lines[1] and r"\\foo{1}" in lines[1]
    assert lines[2].endswith("null: is no text but NoneType")
    assert lines[3].endswith('"": empty')
    assert "characters long" in lines[5] and max(map(len, lines)) < 250
    assert total == "7 of 12 references do not verify against themselves"


def test_lint_data_takes_the_field_it_is_told(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    rows = [{"answer": "It is 3 + 4.\n#### 7", "gold": ""}, {"reference": "5", "answer": ""}]
    path = write(tmp_path / "data.jsonl", rows)
    assert run(capsys, "lint-data", path)[:2] == (0, "2 references, and each verifies against itself\n")
    line = refused(capsys, "lint-data", path, "--field", "golden")
    assert f"{path}, line 1: no field 'golden'; it has ['answer', 'gold']: name one with --field" in line
    path = write(tmp_path / "data.jsonl", [{"gold": ""}])
    assert run(capsys, "lint-data", path, "--field", "gold")[0] == 1
    assert "no field 'reference' or 'answer'" in refused(capsys, "lint-data", path)


def test_lint_data_reads_a_json_array(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"answer": r"\frac{1}{2}"}, {"answer": ""}]))
    code, out, _ = run(capsys, "lint-data", path)
    assert code == 1 and out.startswith(f'{path}, row 2: "": empty\n')
    path.write_text("[]")
    assert "no references in this file" in refused(capsys, "lint-data", path)
    assert "no such file" in refused(capsys, "lint-data", tmp_path / "none.jsonl")


@pytest.mark.parametrize("name, num", [("math500_test.json", 500), ("gsm8k_test.jsonl", 1319)])
def test_the_benchmarks_are_clean(capsys: pytest.CaptureFixture, name: str, num: int) -> None:
    if not (DATA / name).is_file():
        pytest.skip(f"needs {name} beside the project, in shared/data")
    code, out, _ = run(capsys, "lint-data", DATA / name)
    assert (code, out) == (0, f"{num:,} references, and each verifies against itself\n")


# lint-reward


def test_lint_reward_is_clean_on_our_own(capsys: pytest.CaptureFixture) -> None:
    code, out, _ = run(capsys, "lint-reward", "--time-limit", 30)
    assert code == 0, out
    assert out.startswith("thinkling.verify.adversarial.lint:reward is clean: ")


def test_lint_reward_prints_findings_by_kind(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def score(response, reference): return 1.0 if reference in response else 0.0\n")
    code, out, _ = run(capsys, "lint-reward", f"{path}:score", "--time-limit", 10)
    lines = out.splitlines()
    assert code == 1
    assert lines[0] == "pays (a hostile completion earns more than a wrong answer):"
    assert "  1, where a wrong answer earns 0, on 'reference quoted: not', reference '42' and 5 more" in lines
    assert lines[-1].startswith(f"{len(lines) - 2} findings in {path}:score")


def test_lint_reward_refuses_what_it_cannot_run(capsys: pytest.CaptureFixture) -> None:
    assert "No module named 'nowhere'" in refused(capsys, "lint-reward", "nowhere:reward")
    assert "--time-limit must be above 0" in refused(capsys, "lint-reward", "--time-limit", 0)
