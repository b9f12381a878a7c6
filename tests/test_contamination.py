"""Runs of words that a benchmark shares with training data; and old numbers beside fresh ones."""

import json
from itertools import product
from math import comb
from pathlib import Path

import pytest

from thinkling import cli
from thinkling.errors import UserError
from thinkling.evaluate.fresh_numbers import ask, gap_interval, gaps, unseen
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import save_model
from thinkling.problem import Problem
from thinkling.tasks.contamination import COMMON, documents_of, longest_run, overlaps, summary, words_of

ALPHABET = [f"w{i}" for i in range(40)]


def asking(*words: str, name: str = "p") -> Problem:
    return Problem(name, " ".join(words), "1")


def test_words_are_read_as_gpt_3s_authors_read_them() -> None:
    assert words_of("Don't stop:  $3.50, (x_1) — ÉTÉ!") == ["dont", "stop", "350", "x1", "été"]


def test_thirteen_words_are_dirty_and_twelve_are_not() -> None:
    question = asking(*ALPHABET[:20])
    for num, share in ((12, 0.0), (13, 13 / 20), (17, 17 / 20), (20, 1.0)):
        document = ["before", *ALPHABET[2 : 2 + num], "behind"] if num < 18 else ALPHABET[:20]
        (found,), num_documents, short = overlaps([question], [("file, row 1", " ".join(document).upper() + "!")])
        assert (found.share, num_documents, short) == (pytest.approx(share), 1, [])
        assert found.dirty == (num >= 13)
        if found.dirty:
            start = 2 if num < 18 else 0
            assert found.run == " ".join(ALPHABET[start : start + num]) and found.place == "file, row 1"


def test_shares_against_every_pair_of_places() -> None:
    """An oracle without runs or tables: a word is shared where some window around it stands in some document."""
    documents = [ALPHABET[:9], ALPHABET[5:25], [*ALPHABET[30:36], "x", *ALPHABET[36:]], ["w3", "w4", "w5"] * 4]
    question = [*ALPHABET[3:12], "y", *ALPHABET[30:40]]
    for size in (2, 3, 5, 8):
        windows = {tuple(d[i : i + size]) for d in documents for i in range(len(d) - size + 1)}
        covered = [any(tuple(question[i : i + size]) in windows for i in range(max(0, at - size + 1), at + 1)
                       if i + size <= len(question)) for at in range(len(question))]  # fmt: skip
        (found,), *_ = overlaps([asking(*question)], [("d", " ".join(d)) for d in documents], size)
        assert found.share == pytest.approx(sum(covered) / len(question))


def test_short_questions_are_looked_for_whole_or_not_judged() -> None:
    eight, seven = asking(*ALPHABET[:8], name="eight"), asking(*ALPHABET[:7], name="seven")
    found, _, short = overlaps([eight, seven], [("d", " ".join(ALPHABET))])
    assert [(one.id, one.share) for one in found] == [("eight", 1.0)] and short == ["seven"]
    found, *_ = overlaps([eight], [("d", " ".join(ALPHABET[:7]))])
    assert not found[0].dirty


def test_the_stem_counts_and_not_the_listing_of_options() -> None:
    problem = Problem("p", "long\nA. " + " ".join(ALPHABET[:13]), "A", verifier="choice",
                      metadata={"stem": " ".join(ALPHABET[20:34])})  # fmt: skip
    assert not overlaps([problem], [("d", " ".join(ALPHABET[:13]))])[0][0].dirty
    assert overlaps([problem], [("d", " ".join(ALPHABET[20:34]))])[0][0].share == 1.0


def test_common_phrases_are_told_apart() -> None:
    rows = [(f"d{i}", " ".join(ALPHABET[:13])) for i in range(COMMON + 1)]
    phrase, leak = asking(*ALPHABET[:14], name="phrase"), asking(*ALPHABET[20:34], name="leak")
    found, *_ = overlaps([phrase, leak], [*rows, ("leaked", " ".join(ALPHABET[20:34]))])
    assert [(one.dirty, one.common) for one in found] == [(True, True), (True, False)]
    assert [one.common for one in overlaps([phrase], rows[1:])[0]] == [False]
    told = summary(found)
    assert (told.num, told.dirty, told.common, told.at_least) == (2, 2, 1, {"20%": 2, "80%": 2, "100%": 1})


def test_the_longest_run() -> None:
    assert longest_run([3]) == (3, 1) and longest_run([1, 2, 5, 6, 7, 9]) == (5, 3)


def test_training_data_of_every_kind(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "id": 7}
    (tmp_path / "a.jsonl").write_text(json.dumps(chat) + "\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text("first\nline\n\n\nsecond\n")
    (tmp_path / "deep" / "c.csv").write_text("x,y\nthree,4\n")
    found = list(documents_of(tmp_path))
    assert [(place.rpartition("/")[2], text.split()) for place, text in found] == [
        ("a.jsonl, row 1", ["user", "one", "assistant", "two"]), ("b.txt, line 1", ["first", "line"]),
        ("b.txt, line 5", ["second"]), ("c.csv, row 1", ["three", "4"]),
    ]  # fmt: skip
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"none: no file in this folder ends in \.jsonl"):
        list(documents_of(tmp_path / "none"))
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match=r"bad\.txt: cannot be read: byte 1 is no UTF-8"):
        list(documents_of(tmp_path / "bad.txt"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    questions = [" ".join(ALPHABET[i : i + 14]) for i in (0, 20)]
    rows = [{"question": q, "answer": 1, "subject": s} for q, s in zip([*questions, "short"], "abb", strict=True)]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "training.txt").write_text(f"Some words, then {questions[0]} and more.\n")
    common = ["contamination", "--tasks", str(tmp_path / "tasks.jsonl"), "--training"]
    cli.main(
        [*common, str(tmp_path / "training.txt"), "builtin", "--num-training", "5", "--out", str(tmp_path / "run")]
    )
    out = " ".join(capsys.readouterr().out.split())
    assert "2 problems against 6 training documents" in out
    assert "1 (50.0% [9.5, 90.5]) share a run of 13 words" in out and "1 problem of fewer than 8 words" in out
    assert "by subject: a 1 of 1, b 0 of 1" in out and "training.txt, line 1: ... some words then w0" in out
    kept = [json.loads(line) for line in (tmp_path / "run" / "overlaps.jsonl").read_text().splitlines()]
    assert [one["share"] for one in kept] == [1.0, 0.0]
    for flags, why in (
        ([str(tmp_path / "no.txt")], "no.txt: no such file"),
        (["nowhere"], "unknown tasks 'nowhere'"),
        ([str(tmp_path / "nowhere")], "nowhere: no such file"),
        ([str(tmp_path / "training.txt"), "--words", "1"], "--words must be at least 2, not 1"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([*common, *flags])
        said = capsys.readouterr().err
        assert end.value.code == 2 and why in said and said.count("\n") == 1


# --- fresh numbers ----------------------------------------------------------------------------------------------------


def test_the_gaps_interval_is_newcombes() -> None:
    """His own example (1998, table II, a): 56 of 70 and 48 of 80 by method 10 is 0.0524 to 0.3339."""
    assert gap_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert gap_interval(0, 10, 0, 10) == pytest.approx((-0.2775, 0.2775), abs=5e-5)  # and h: 0 of 10, 0 of 10


@pytest.mark.parametrize(("p", "q", "m", "n"), [(0.8, 0.6, 30, 30), (0.5, 0.5, 20, 40), (0.95, 0.9, 40, 40)])
def test_the_gaps_interval_covers(p: float, q: float, m: int, n: int) -> None:
    """Exactly, over every outcome."""
    inside = 0.0
    for a, b in product(range(m + 1), range(n + 1)):
        low, high = gap_interval(a, m, b, n)
        if low <= p - q <= high:
            inside += comb(m, a) * p**a * (1 - p) ** (m - a) * comb(n, b) * q**b * (1 - q) ** (n - b)
    assert 0.93 < inside < 0.985


def test_a_model_that_knows_the_old_numbers_by_heart() -> None:
    old = [(Problem(f"o{i}", f"{i}?", "1", "f" if i % 2 else "g"), True, False) for i in range(40)]
    fresh = [(Problem(f"n{i}", f"{i + 100}?", "1", "f" if i % 2 else "g"), i % 2 == 0, False) for i in range(40)]
    whole, f, g = gaps(old, fresh)
    assert (whole.family, f.family, g.family) == ("", "f", "g")
    assert (whole.gap, f.gap, g.gap) == (0.5, 1.0, 0.0) and whole.low > 0 and g.low < 0 < g.high
    assert (whole.old.right, whole.fresh.right, whole.fresh.num) == (40, 20, 40)
    assert (whole.low, whole.high) == gap_interval(40, 40, 20, 40)
    assert (g.low, g.high) == pytest.approx(gap_interval(20, 20, 20, 20, 2.2414), abs=1e-4)  # of two, 97.5% each


def test_fresh_problems_are_fresh() -> None:
    old = [Problem("a", "1?", ""), Problem("b", "2?", "")]
    assert [p.question for p in unseen(old, [Problem("c", "2?", ""), Problem("d", "3?", "")])] == ["3?"]
    with pytest.raises(UserError, match="every fresh problem is among the old ones"):
        unseen(old, old)


def test_the_fresh_numbers_command(tiny: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = ask(tiny, [Problem("a", "1 + 1?", "2")], lambda p: tiny.text_prompt(p.question), Sampling(max_tokens=3), "")
    assert [(correct, cut) for _, correct, cut in rows] == [(False, True)]
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    common = ["fresh-numbers", "--model", str(tmp_path / "model"), "--num-problems", "4", "--max-tokens", "3"]
    cli.main([*common, "--tasks", "larger-numbers", "--out", str(tmp_path / "run")])
    out = " ".join(capsys.readouterr().out.split())
    assert "4 old problems, 4 fresh ones" in out and "No gap can be told" in out and "100.0% of the responses" in out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report[0]["old"]["num"] == report[0]["fresh"]["num"] == 4
    (tmp_path / "a.jsonl").write_text('{"question": "1?", "answer": 1}\n')
    for flags, why in (
        (["--tasks", str(tmp_path / "a.jsonl")], "a.jsonl has the numbers that it has"),
        (["--old-split", "held-out"], "old and fresh numbers are the same"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main([*common, *flags])
        said = capsys.readouterr().err
        assert end.value.code == 2 and why in said and said.count("\n") == 1
