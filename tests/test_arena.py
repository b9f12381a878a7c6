"""The blind arena: what is shown, what is written, and that it goes on where it stopped."""

import io
import json
from pathlib import Path

import pytest
from test_cli import fails
from test_ranking import run_of, write

from thinkling import cli
from thinkling.evaluate.ranking.votes import Vote, read_votes
from thinkling.serve.arena import matches, tally


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two runs on six problems; on the last one they wrote the same text."""
    made = []
    for name in ("secret-one", "secret-two"):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"id": f"p{n}", "question": f"{n} + 1?", "response": f"{name[-3:]} says \x1b[2J{n}", "status": ""}
                for n in range(5)]  # fmt: skip
        same = {"id": "p5", "question": "5 + 1?", "response": "6", "status": "correct"}
        made.append(write(folder / "samples.jsonl", [*rows, same]).parent)
    return made


def vote(
    runs: list[Path], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *flags: str
) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    cli.main(["arena", *map(str, runs), "--votes", str(runs[0].parent / "votes.jsonl"), *flags])
    return capsys.readouterr().out


def test_votes_are_written_for_whom_they_were_given(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shown = vote(runs, "a\nA\nnonsense\n b \ntie\nboth  bad\n", monkeypatch, capsys)
    asked, _, told = shown.rpartition("vote> ")
    assert "secret" not in asked and "secret-one" in told  # blind until the end
    assert "\x1b[2J" not in shown and asked.count("a or b is better") == 6  # once more after the nonsense
    assert "both responses were the same text: 1" in told
    votes = read_votes(runs[0].parent / "votes.jsonl")
    assert [v.winner for v in votes] == ["model_a", "model_a", "model_b", "tie", "both bad"]
    blocks = [block for block in shown.split("a or b is better") if " + 1?" in block]
    for v, block in zip(votes, blocks, strict=True):
        a, b = (f"{name[-3:]} says" for name in (v.model_a, v.model_b))
        assert block.index(a) < block.index(b) and f"{v.problem[1:]} + 1?" in block
        assert (v.length_a, v.source) == (14, "person")


def test_it_goes_on_where_it_stopped(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Quit, a skip, the end of the input, and a line that a kill left half written."""
    file = runs[0].parent / "votes.jsonl"
    vote(runs, "a\ns\nb\nq\n", monkeypatch, capsys)
    first = file.read_bytes()
    assert first.count(b"\n") == 2
    file.write_bytes(first + b'{"model_a": "se')
    shown = vote(runs, "t\nt\n", monkeypatch, capsys)
    assert file.read_bytes().startswith(first) and "1 of 4" in shown
    vote(runs, "x\nx\n", monkeypatch, capsys)
    votes = read_votes(file)
    assert len(votes) == len({v.problem for v in votes}) == 5
    assert "No vote was given this time" in vote(runs, "", monkeypatch, capsys)  # what is left is p5, the same text


def test_sides_and_order_are_random_and_the_same_again() -> None:
    found = matches(["x", "y", "z"], [f"p{n}" for n in range(200)], seed=1)
    assert found == matches(["z", "x", "y"], [f"p{n}" for n in range(200)], seed=1)
    assert len({(m.problem, frozenset((m.first, m.second))) for m in found}) == 600
    assert 250 < sum(m.first < m.second for m in found) < 350
    assert [m.problem for m in found] != [m.problem for m in matches(["x", "y", "z"], [f"p{n}" for n in range(200)], 2)]


def test_models_are_asked_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """A run's responses against those of a model, on the run's questions."""
    run = run_of(tmp_path / "run", {"7": "correct", "8": "correct"}, "What is 1 + {}?")
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    cli.main(["arena", str(run), "thinkling-base", "--max-tokens", "8", "--votes", str(tmp_path / "v.jsonl")])
    shown = capsys.readouterr().out
    assert "it is 7" in shown and "boxed" in shown
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert {name for row in rows for name in (row["model_a"], row["model_b"])} == {"run", "thinkling-base"}
    assert {row["problem"] for row in rows} == {"7", "8"}


def test_bad_input_is_one_line(runs: list[Path], capsys: pytest.CaptureFixture) -> None:
    bad = write(runs[0].parent / "bad.jsonl", [{"model_a": "x", "model_b": "y", "winner": "left"}])
    assert "needs at least two contestants" in fails(capsys, "arena", runs[0])
    assert "is named twice" in fails(capsys, "arena", runs[0], runs[0])
    assert "thinkling-base is named twice" in fails(capsys, "arena", "thinkling-base", "thinkling-base")
    assert "line 1: the winner is 'left'" in fails(capsys, "arena", *runs, "--votes", bad)
    assert "--temperature must be at least 0" in fails(capsys, "arena", *runs, "--temperature", -1)


def test_the_tally() -> None:
    votes = [Vote("x", "y", winner) for winner in ("model_a", "model_b", "model_a", "tie", "both bad")]
    assert tally(votes) == "x 2, y 1, 1 tie, 1 both bad"
