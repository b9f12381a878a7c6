"""A teacher's traces: asked once, verified, filtered, counted, written for sft to read."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from scripted import Scripted, said

from thinkling.commands import distill_data
from thinkling.commands.distill_data import DistillData
from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.train.distill import teacher
from thinkling.train.distill.filters import FilterConfig, Stage, balanced, contaminated, filtered, level_of, shortest
from thinkling.train.distill.teacher import Paced, Trace, cost_of
from thinkling.train.sft.records import load_records
from thinkling.verify.verifier import Verdict

RIGHT, WRONG = Verdict("correct", "4", ""), Verdict("incorrect", "5", "")


def trace(
    text: str = "4", name: str = "p", tokens: int = 3, right: bool = True, rate: float = 1.0, question: str = "",
    finish: str = "stop",
) -> Trace:  # fmt: skip
    completion = Completion((1,) * 5, (7,) * tokens, (), finish, text, seconds=0.5)
    problem = Problem(f"p/{name}", question or f"question {name}", "4")
    return Trace(problem, completion, RIGHT if right else WRONG, rate)


def texts(traces: Sequence[Trace]) -> str:
    return " ".join(t.response for t in traces)


# --- filters ------------------------------------------------------------------------------------------------------


def test_each_filter_by_hand() -> None:
    """Every stage removes one, and says of which level it was."""
    bad = [
        trace("a", "bench", question="one two three four five six seven eight nine ten eleven twelve thirteen 14"),
        trace("b", finish="length", rate=0.75),
        trace("<think>c", rate=0.5),
        trace(" ", rate=0.25),
        trace("d", right=False, rate=0.25),
        trace("E  x", rate=0.5), trace("e x", rate=0.5),
        trace("f", tokens=9, rate=0.25), trace("g", tokens=1),
    ]  # fmt: skip
    bench = Problem("b", "so: One, two three four FIVE six seven eight nine ten eleven twelve thirteen!", "1")
    kept, stages = filtered([bad[:4], bad[4:]], FilterConfig(min_tokens=2, max_tokens=8), [bench])
    assert texts(kept) == "E  x"
    assert [(stage.name, stage.total) for stage in stages] == [
        ("asked", 9), ("not in a benchmark", 8), ("not cut off", 7), ("think tags well formed", 5), ("right", 4),
        ("no duplicate", 3), ("length", 1),
    ]  # fmt: skip
    assert stages[0].left == {"always": 2, "mostly": 4, "seldom": 3, "never": 0}
    assert stages[-1].left == {"always": 0, "mostly": 1, "seldom": 0, "never": 0}
    assert texts(filtered([bad[4:5]], FilterConfig(correct=False))[0]) == "d"


def test_the_levels_by_hand() -> None:
    rates = [1.0, 0.99, 0.5, 0.49, 0.125, 0.0]
    assert [level_of(rate) for rate in rates] == ["always", "mostly", "mostly", "seldom", "seldom", "never"]


def test_the_shortest_of_each_problem() -> None:
    rows = [trace("a", "1", 5), trace("b", "1", 3), trace("c", "2", 9), trace("d", "1", 3)]
    assert texts(shortest(rows)) == "b c"
    kept, stages = filtered([rows], FilterConfig(choose="shortest"))
    assert (texts(kept), stages[-1].name) == ("b c", "shortest of each problem")


def test_balanced_takes_of_every_level_what_it_has() -> None:
    """Eight easy ones of four problems, two hard ones: of six both hard ones, and one of each easy problem first."""
    easy = [trace(f"{i}{j}", str(i), rate=1.0) for i in range(4) for j in "ab"]
    hard = [trace("x", "x", rate=0.25), trace("y", "y", rate=0.25)]
    assert texts(balanced([*easy, *hard], 6)) == "0a 1a 2a 3a x y"
    assert len(balanced([*easy, *hard], 8)) == 8
    kept, stages = filtered([easy, hard], FilterConfig(num_traces=6))
    left = {"always": 4, "mostly": 0, "seldom": 2, "never": 0}
    assert (len(kept), stages[-1]) == (6, Stage("balanced by difficulty", left))


def test_what_a_benchmark_has() -> None:
    """Thirteen words in a row, or the same short question; other numbers or signs are another question."""
    many = [f"w{i}" for i in range(20)]
    asked = {
        "copied": "x " + " ".join(f"{word.upper()}," for word in many[5:18]),
        "apart": "x " + " ".join(many[5:17]) + " y",
        "same": "what is  2 + 2?", "minus": "What is 2 - 2?", "longer": "What is 2 + 2 + 2?",
    }  # fmt: skip
    problems = [Problem(name, question, "4") for name, question in asked.items()]
    bench = [Problem("b", " ".join(many), "1"), Problem("c", "What is 2 + 2?", "4")]
    assert contaminated(problems, bench) == {"copied", "same"}


# --- asking -------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, **changes: object) -> DistillData:
    tasks = tmp_path / "tasks.jsonl"
    rows = [{"question": f"{i} + 1?", "reference": str(i + 1)} for i in range(3)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DistillData(**(dict(out=tmp_path / "traces.jsonl", tasks=(str(tasks),), num_samples=2) | changes))


def thinker(prompt: str, sampling: Sampling) -> Completion:
    """Right on 0 + 1 and 1 + 1, on the latter with an even seed only; on 2 + 1 never."""
    num = int(prompt.removeprefix("Question: ")[0])
    answer = num + 1 if num == 0 or (num == 1 and sampling.seed % 2) else 9
    return said(rf"<think>{num} {sampling.seed % 7}</think>\boxed{{{answer}}}", -0.5, -0.5)


def test_what_is_written_can_be_learnt_and_is_asked_once(tmp_path: Path) -> None:
    model = Scripted(thinker)
    stages, cost, failures = distill_data.make(settings(tmp_path), model)
    assert (cost.requests, cost.sampled_tokens, failures) == (6, 12, [])
    assert len(model.asked) == len({sampling.seed for _, sampling in model.asked}) == 6
    found = load_records(tmp_path / "traces.jsonl")
    right = [record for record in found if record.question == "0 + 1?"]
    assert right[0].thinking.startswith("0 ")
    assert (right[0].content, right[0].problem.reference) == (r"\boxed{1}", "1")
    assert all(record.question != "2 + 1?" for record in found)
    row = json.loads((tmp_path / "traces.jsonl").read_text().splitlines()[0])
    assert (row["correct"], row["teacher"], row["num_tokens"], row["pass_rate"]) == (True, "scripted", 2, 1.0)
    before = (tmp_path / "traces.jsonl").read_bytes()
    again = Scripted(thinker)
    stages, _, _ = distill_data.make(settings(tmp_path), again)
    assert again.asked == []
    assert (tmp_path / "traces.jsonl").read_bytes() == before
    distill_data.make(settings(tmp_path, keep="all"), again)
    assert any(record.question == "2 + 1?" for record in load_records(tmp_path / "traces.jsonl"))
    report = json.loads((tmp_path / "traces.report.json").read_text())
    assert report["asked_now"] == 0
    assert report["stages"][0] == {"name": "asked", "left": {**stages[0].left}}


def test_an_interruption_costs_only_what_was_under_way(tmp_path: Path) -> None:
    def dies(prompt: str, sampling: Sampling) -> Completion:
        if "2 + 1" in prompt:
            raise FatalError("the server is gone")
        return thinker(prompt, sampling)

    with pytest.raises(FatalError):
        distill_data.make(settings(tmp_path), Scripted(dies))
    assert not (tmp_path / "traces.jsonl").exists()
    model = Scripted(thinker)
    distill_data.make(settings(tmp_path), model)
    assert {prompt for prompt, _ in model.asked} == {"Question: 2 + 1?\nAnswer:\n"}


def test_where_nothing_can_be_written_nobody_is_asked(tmp_path: Path) -> None:
    """All solutions were asked for first."""
    (tmp_path / "folder").mkdir()
    model = Scripted(thinker)
    with pytest.raises(UserError, match=r"--out .*folder is a folder: name a file"):
        distill_data.make(settings(tmp_path, out=tmp_path / "folder"), model)
    assert model.asked == []


def test_a_problem_that_fails_is_named_or_skipped(tmp_path: Path) -> None:
    def refuses(prompt: str, sampling: Sampling) -> Completion:
        if "1 + 1" in prompt:
            raise UserError("too long")
        return thinker(prompt, sampling)

    with pytest.raises(UserError, match=r"asking the teacher, row 2 \(tasks/.*too long \(--on-error skip"):
        distill_data.make(settings(tmp_path), Scripted(refuses))
    _, cost, failures = distill_data.make(settings(tmp_path, on_error="skip"), Scripted(refuses))
    assert (cost.requests, [failure.row for failure in failures]) == (4, [2])


def test_nothing_that_passes_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 6 solutions passes the filters \(asked: 6, .* length: 0\)"):
        distill_data.make(settings(tmp_path, min_tokens=99), Scripted(thinker))
    assert not (tmp_path / "traces.jsonl").exists()


def test_the_price_by_hand() -> None:
    """Five tokens read and three written, twice, at 2 and 10 a million."""
    found = cost_of([trace(), trace()], (2.0, 10.0))
    assert (found.prompt_tokens, found.sampled_tokens, found.seconds) == (10, 6, 1.0)
    assert found.price == pytest.approx((10 * 2 + 6 * 10) / 1e6)


def test_paced_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty a minute: turns at 0, 2 and 4 seconds; after a pause at once."""
    clock, waited = [100.0], []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(teacher.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(teacher.asyncio, "sleep", sleep)
    paced = Paced(Scripted(lambda *_: said("4")), 30)
    paced._model.complete = lambda *_: asyncio.wait_for(value(), 1)

    async def value() -> Completion:
        return said("4")

    async def ask() -> None:
        for _ in range(3):
            await paced.complete("q", Sampling())
        clock[0] = 200.0
        await paced.complete("q", Sampling())

    asyncio.run(ask())
    assert waited == [2.0, 4.0]
    assert paced.name == "scripted"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(temperature=0.0), "the same solution each time"),
        (dict(requests_per_minute=5.0), "no meaning without --server"),
        (dict(tasks=()), "--tasks needs at least one"),
        (dict(max_reply=0), "--max-reply must be at least 1"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(tmp_path, **changes)
