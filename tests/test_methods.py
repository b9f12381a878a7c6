"""Methods and evaluation: the vote by hand, the report's numbers, what a run leaves behind."""

import asyncio
import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from thinkling import cli
from thinkling.commands.eval import Eval, methods_of
from thinkling.errors import UserError
from thinkling.evaluate import run
from thinkling.evaluate.run import Sample, evaluate, summarise
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import Direct
from thinkling.scale.method import Answer
from thinkling.scale.prompts import Template, prompt_of, render
from thinkling.scale.vote import SelfConsistency, vote
from thinkling.tasks.benchmarks import load_problems
from thinkling.verify.math.grade import grade

PROBLEM = Problem("p", "1 + 1?", "2")


def said(text: str, *logprobs: float, finish: str = "stop") -> Completion:
    return Completion((1,), tuple(range(len(logprobs))), logprobs, finish, text)


# --- voting -------------------------------------------------------------------------------------------------------


def test_equal_values_are_one_vote() -> None:
    half = said(r"\boxed{0.5}", -1.0)
    others = [
        said(r"\boxed{7}", -0.1),
        said(r"\boxed{\frac12}", -9.0),
        said(r"\boxed{7}", -0.1),
        said(r"\boxed{1/2}", -9),
    ]
    assert vote(PROBLEM, [half, *others]) is half  # three votes beat two likelier ones


def test_a_tie_goes_to_the_likelier_group_then_to_the_first() -> None:
    a, b = said(r"\boxed{1}", -1.0, -1.0), said(r"\boxed{2}", -0.5, -1.0)
    assert vote(PROBLEM, [a, b]) is b
    c = said(r"\boxed{3}", -0.5, -1.0)
    assert vote(PROBLEM, [b, c]) is b
    assert vote(PROBLEM, [c, b]) is c


def test_no_answer_abstains() -> None:
    nothing, lone = said("I do not know", -0.1), said(r"\boxed{4}", -50.0)
    assert vote(PROBLEM, [nothing, nothing, lone]) is lone
    assert vote(PROBLEM, [nothing, nothing]) is None
    assert vote(PROBLEM, [lone]) is lone


def test_self_consistency_asks_often_and_answers_once(tiny: LanguageModel) -> None:
    method = SelfConsistency(Sampling(max_tokens=8), num_samples=5)
    answer = asyncio.run(method(tiny, Problem("p", "1 + 1?", "2")))
    assert len(answer.completions) == 5
    assert len({c.tokens for c in answer.completions}) > 1  # each sample has a seed of its own
    assert answer.text in [c.text for c in answer.completions]


# --- prompts ------------------------------------------------------------------------------------------------------


def test_templates_as_written() -> None:
    assert render("plain", "2 {x}?") == "Question: 2 {x}?\nAnswer:\n"
    assert render("step-by-step", "Why?") == "Question: Why?\nExplain step by step.\nAnswer:\n"
    assert render("boxed", "Why?").endswith("\\boxed{ANSWER}\n\nQuestion:\nWhy?\n\nAnswer:")
    assert render("none", "as it is") == "as it is"
    assert render("few-shot", "Why?").endswith("\\boxed{18}\n\nQuestion: Why?\nAnswer:\n")


def test_prompts_shows_what_the_model_gets(tiny: LanguageModel, capsys) -> None:
    cli.main(["prompts", "Is [bold] 2 {x}?"])
    shown = capsys.readouterr().out
    for name in get_args(Template):
        text = render(name, "Is [bold] 2 {x}?")
        assert text in shown
        assert tiny.tokenizer.decode(prompt_of(tiny, name, "Is [bold] 2 {x}?")) == text
        if name != "none":
            with pytest.raises(UserError, match="the question is empty"):
                prompt_of(tiny, name, " ")
    assert prompt_of(tiny, "none", " ")
    cli.main(["prompts", "Why?", "--template", "boxed"])
    assert capsys.readouterr().out.count("Why?") == 1


def test_chat_templates_open_or_close_the_thinking(tiny: LanguageModel) -> None:
    end = tiny.tokenizer.special_id("</think>")
    assert end in prompt_of(tiny, "chat", "hi")
    assert end not in prompt_of(tiny, "chat-thinking", "hi")


# --- evaluation ---------------------------------------------------------------------------------------------------


def test_report_by_hand() -> None:
    """Four problems: right, wrong, unparsed and cut off, right by a vote of two."""
    answers = [
        Answer(r"\boxed{1}", "1", (said(r"\boxed{1}", -1, -1),)),
        Answer(r"\boxed{5}", "5", (said(r"\boxed{5}", -1),)),
        Answer("and then", None, (said("and then", -1, -1, -1, finish="length"),)),
        Answer(r"\boxed{4}", "4", (said(r"\boxed{4}", -1, -1), said(r"\boxed{9}", -1, -1))),
    ]
    references = ["1", "2", "3", "4"]
    samples = [
        Sample(Problem(r, "q", r), answer, grade(answer.text, r)) for r, answer in zip(references, answers, strict=True)
    ]
    report = summarise("vote", samples, wall_seconds=2.0)
    assert (report.accuracy, sum(report.correct), report.num_problems) == (0.5, 2, 4)
    assert (report.unparsed, report.truncated) == (0.25, 0.2)  # of four problems; of five completions
    assert (report.tokens, report.wall_seconds) == (2.5, 2.0)
    low, high = report.low, report.high
    assert pytest.approx(low, abs=0.005) == 0.15  # Wilson, n = 4: (.5 + .48 -+ 1.96 sqrt(.0625 + .06)) / 1.96
    assert pytest.approx(high, abs=0.005) == 0.85


def test_evaluate_writes_every_response(tiny: LanguageModel, tmp_path: Path) -> None:
    problems = [Problem(f"p{i}", f"{i} + 1?", str(i + 1), "sum") for i in range(5)]
    report, samples = evaluate(tiny, Direct(Sampling(max_tokens=6)), problems, tmp_path)
    assert [s.problem.id for s in samples] == [p.id for p in problems]
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == [p.id for p in problems]
    assert {"question", "reference", "response", "status", "answer", "reason", "completions"} <= set(rows[0])
    stored = json.loads((tmp_path / "report.json").read_text())
    assert {"accuracy", "low", "high", "num_problems", "truncated", "tokens", "wall_seconds"} <= set(stored)
    assert 5 * stored["tokens"] == 5 * report.tokens == sum(c["num_tokens"] for row in rows for c in row["completions"])


def test_the_seconds_of_every_start_count(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes one second further at each look. After a restart only the last start was reported."""
    clock = count()
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    problems = [Problem(f"p{i}", f"{i} + 1?", str(i + 1), "sum") for i in range(4)]
    method = Direct(Sampling(max_tokens=4))

    async def dies(model: LanguageModel, problem: Problem) -> Answer:
        if problem.id == "p3":
            raise KeyError(problem.id)
        return await method(model, problem)

    with pytest.raises(KeyError):
        evaluate(tiny, dies, problems, tmp_path)
    with open(tmp_path / "seconds.jsonl", "w") as file:
        file.write('{"seconds": 100.0}\n{"sec')  # its last line cut short
    report, _ = evaluate(tiny, method, problems, tmp_path)
    assert report.wall_seconds == 100 + 4 + 1  # four answers and the end
    assert not (tmp_path / "seconds.jsonl").exists()
    assert evaluate(tiny, method, problems, tmp_path / "other")[0].wall_seconds == 5


def test_a_result_does_not_depend_on_the_other_problems(tiny: LanguageModel) -> None:
    problems = [Problem(f"p{i}", f"{i} + 1?", "0") for i in range(6)]
    method = Direct(Sampling(max_tokens=10))
    together = evaluate(tiny, method, problems)[1]
    alone = evaluate(tiny, method, problems[4:5])[1]
    assert alone[0].answer.completions[0].tokens == together[4].answer.completions[0].tokens


def test_methods_from_settings() -> None:
    def chosen(**changes: object) -> object:
        return methods_of(Eval(out=Path("x"), **changes))[0][0]

    assert chosen() == Direct(Sampling(temperature=0.0, max_tokens=384), "plain")
    assert chosen(method="step-by-step").template == "step-by-step"
    assert chosen(method="self-consistency") == SelfConsistency(Sampling(temperature=1.0, max_tokens=384), 8, "plain")
    assert chosen(method="self-consistency", template="step-by-step", num_samples=3).num_samples == 3
    assert chosen(template="few-shot").sampling.stop == ("\nQuestion:",)
    with pytest.raises(UserError, match="temperature 0 makes every sample alike"):
        chosen(method="self-consistency", temperature=0.0)


# --- problems from files ------------------------------------------------------------------------------------------


def test_files_of_the_common_kinds(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"question": "1+1?", "reference": "2"}\n\n{"question": "2+2?", "reference": 4}\n')
    assert [(p.question, p.reference) for p in load_problems(str(own), "train", 9)] == [("1+1?", "2"), ("2+2?", "4")]
    assert len(load_problems(str(own), "train", 1)) == 1
    gsm = tmp_path / "gsm.jsonl"
    gsm.write_text(json.dumps({"question": "How many?", "answer": "2 * 3 = <<2*3=6>>6\n#### 6"}))
    assert load_problems(str(gsm), "train", 1)[0].reference == "6"
    math = tmp_path / "math.json"
    math.write_text(json.dumps([{"problem": "Find $x$.", "answer": "\\frac12", "subject": "Algebra"}]))
    assert load_problems(str(math), "train", 1)[0].family == "Algebra"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "", "no problems in this file"),
        ("a.jsonl", '{"question": "x"}', r"row 1: the field 'reference' \(or 'answer'\) is missing"),
        ("a.jsonl", '{"question": "x", "reference": "1"}\n{"reference": "1"}', "row 2: the field 'question'"),
        ("a.jsonl", '{"question": ', "line 1: not JSON"),
        ("a.jsonl", "[1]", "expected a JSON object, found list"),
        ("a.json", '{"question": "x"}', "expected an array of objects"),
        ("a.txt", "q,a", "ends in .jsonl, .json, .csv, .tsv, .parquet"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_problems(str(tmp_path / name), "train", 9)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_problems(str(tmp_path / "none.jsonl"), "train", 9)
