"""What the reasoner is taught: right solutions alone, sums that hold, and rows that its chat template can write."""

import json
import re
import sys
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import chat_data
from chat_data import ChatData, Solved, counted_on, said_otherwise, story, sum_of_two

from thinkling.train.sft.records import load_records


def trace(question: str, solution: str, correct: bool) -> dict:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": solution}]
    return {"messages": turns, "correct": correct}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    rows = [
        trace("a?", "1 + 1 = 3\n\\boxed{3}", False), trace("a?", "1 + 1 = 2\n\\boxed{2}", True),
        trace("a?", "2 = 2\n\\boxed{2}", True), trace("b?", "\\boxed{5}", True),
        trace("c?", "8 / 2 = 4\n\\boxed{4}", True),
    ]  # fmt: skip
    path = tmp_path / "traces.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_first_right_solution_with_lines_counts(traces: Path) -> None:
    assert list(chat_data.solved(traces)) == [Solved("a?", "1 + 1 = 2", "2"), Solved("c?", "8 / 2 = 4", "4")]


def test_every_row_can_be_read_and_none_is_wrong(traces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two hundred problems: each reply has what its question asks for, thinking or none."""
    many = [Solved(f"{n}?", f"{n} + 0 = {n}", str(n)) for n in range(200)]
    monkeypatch.setattr(chat_data, "solved", lambda path: many)
    out = traces.with_name("out.jsonl")
    chat_data.main(ChatData(traces=(traces,), out=out))
    records = load_records(out)
    asked = {message["content"] for record in records for message in record.messages if message["role"] == "user"}
    assert {problem.question for problem in many} <= asked
    direct = [record for record in records if re.fullmatch(r"\d+\?", record.messages[-1]["content"])]
    assert all(f"\\boxed{{{record.messages[-1]['content'][:-1]}}}" in record.content for record in direct)
    assert 0.8 < sum(bool(record.thinking) for record in direct) / len(direct) < 1
    assert {reply for _, reply in chat_data.REPLIES.values()} <= {record.content for record in records}


def test_what_is_counted_on_with_an_answer_is_right() -> None:
    """The thinking is a sum that holds, and says what the question said."""
    words = {"more than": "+", "plus": "+", "twice": "*", "three times": "*", "times": "*", "minus": "-"}
    for seed in range(60):
        found = counted_on(Solved("a?", "x = 9", "9"), Random(seed))
        left, right = found.lines.split(" = ")
        assert eval(left) == int(right) and found.answer == right
        sign = next(sign for word, sign in words.items() if word in found.question)
        assert left.startswith(f"9 {sign} ")
        number = re.search(r"\d+", found.question)
        assert left.endswith(f" {number.group() if number else 2 if 'twice' in found.question else 3}")


def test_stories_hold() -> None:
    """The last line's value is the answer, each equation is right, and the numbers are those of the story."""
    for seed in range(200):
        found = story(Random(seed))
        sums = [line.split(" = ")[-2:] for line in found.lines.split("\n") if re.search(r"\d = \d", line)]
        assert all(eval(left) == int(right) for left, right in sums) and sums[-1][1] == found.answer
        assert int(found.answer) > 0
        told = set(re.findall(r"\d+", found.question))
        assert told <= set(re.findall(r"\d+", found.lines)) and re.match(r"\d+", sums[0][0])[0] in told
        asked = found.question.split(". ")[-1]
        assert ("Together" in found.lines) == (" they " in asked)


def test_sums_of_two_hold_and_are_asked_in_many_ways() -> None:
    """The lines put together the numbers that the question names, in the way that it names."""
    signs = {"plus": "+", "sum": "+", "Add": "+", "minus": "-", "from": "-", "times": "*", " x ": "*", "product": "*",
             "Multiply": "*", "divided": "/", "Divide": "/"}  # fmt: skip
    forms = set()
    for seed in range(400):
        found = sum_of_two(Random(seed))
        left, value = found.lines.split(" = ")
        assert eval(left) == int(value) == int(found.answer)
        numbers = re.findall(r"\d+", found.question)
        assert (numbers[::-1] if "from" in found.question else numbers) == left.split(" ")[::2]
        sign = next((sign for word, sign in signs.items() if word in found.question), None)
        assert left.split(" ")[1] == (sign or re.search(r"[-+*/x]", found.question.replace("x", "*"))[0])
        forms.add(re.sub(r"\d+", "N", found.question))
    assert len(forms) > 100


def test_half_of_the_sums_are_asked_otherwise_and_nothing_else_is() -> None:
    plain = Solved("What is 3 - 10 + 2?", "3 - 10 = -7\n-7 + 2 = -5", "-5")
    asked = [said_otherwise(plain, Random(seed)).question for seed in range(100)]
    assert 30 < asked.count(plain.question) < 70
    assert all("3 - 10 + 2" in question or "3-10+2" in question for question in asked)
    for question in (
        "What is 1/2 + 1/3? Give a fraction in lowest terms.",
        "What is the least common multiple of 2 and 3?",
    ):
        other = Solved(question, "x", "1")
        assert all(said_otherwise(other, Random(seed)) == other for seed in range(20))
