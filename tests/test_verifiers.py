"""Verifiers: by name, one file each, and nobody judges without asking the problem's own."""

import asyncio
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from scripted import Scripted, said
from test_architecture import imports, modules

import thinkling.verify
from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.scale.scorers import heuristic
from thinkling.scale.vote import elected, groups
from thinkling.tasks.benchmarks import load_problems
from thinkling.train.rl.guard.preflight import references_not_recognised
from thinkling.train.rl.rewards import GradedGroup, partial
from thinkling.verify import gym
from thinkling.verify import math as math_verifier
from thinkling.verify.math.grade import grade
from thinkling.verify.verifier import Verdict, verifier_named, verifier_of, verify

OPEN = (  # what others may import of verify/: the protocol, the child process, and what tries rewards and data
    "thinkling.verify.verifier", "thinkling.isolated", "thinkling.verify.adversarial",
    "thinkling.verify.adversarial.hostile", "thinkling.verify.adversarial.lint", "thinkling.verify.adversarial.audit",
)  # fmt: skip


def test_nobody_outside_judges_by_mathematics_directly() -> None:
    files = modules()
    for module, path in files.items():
        if module != "thinkling.verify" and not module.startswith("thinkling.verify."):
            for target in imports(path):
                if target.startswith("thinkling.verify.") and target in files:
                    assert target in OPEN, f"{module} imports {target}: ask verifier_of(problem)"


# --- the protocol -----------------------------------------------------------------------------------------------------


def test_mathematics_is_the_default() -> None:
    problem = Problem("p", "1/2 + 0?", "0.5")
    assert problem.verifier == "math"
    for response in (r"\boxed{1/2}", "the answer is 1/2", r"\boxed{3}", ""):
        for policy in ("lenient", "strict"):
            assert verify(problem, response, policy) == grade(response, "0.5", policy)
    assert verifier_of(problem) is verifier_named("math")
    assert verifier_of(problem).extract("the answer is 7.") == "7"
    assert verifier_of(problem).extract("the answer is 7.", "strict") is None
    assert verifier_of(problem).same_answer("0.5", "1/2")


@pytest.mark.parametrize(
    "name", ["", "maths", "math:x", "choice:x", "lint", "verifier", "../gym:x", "gym:no_such", "os.path"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UserError, match=r"verifier|family"):
        verifier_named(name)


def test_a_verdict_has_a_score() -> None:
    assert Verdict("correct", "7", "").score == 1.0 and Verdict("unparsed", None, "").score == 0.0
    half = Verdict("incorrect", "7", "", score=0.5)
    assert not half.correct and Verdict(**json.loads(json.dumps(asdict(half)))) == half
    for status, score in (("correct", 0.5), ("incorrect", 1.0), ("incorrect", -0.1), ("incorrect", float("nan"))):
        with pytest.raises(UserError, match="a verdict's score"):
            Verdict(status, None, "", score=score)


@pytest.mark.parametrize(
    ("response", "reference", "what"),
    [(None, "2", "response"), ("2", 2, "reference"), ("2", ["2", 2], "reference"), (b"2", "2", "response")],
)
def test_public_functions_check_what_they_are_given(response: object, reference: object, what: str) -> None:
    with pytest.raises(UserError, match=f"the {what} must be a string, not (NoneType|int|bytes)"):
        grade(response, reference)
    if isinstance(reference, str):
        with pytest.raises(UserError, match="the response must be a string"):
            verify(Problem("p", "?", reference), response)


def test_rewards_pay_no_decimal_but_the_right_one() -> None:
    """Reference 42.0 paid 41.95, 0.5 paid 0.4996, and 16.4 paid 16.404. And a box earns no rounding at all."""
    for answer, reference in (("41.95", "42.0"), ("0.4996", "0.5"), ("16.404", "16.4")):
        problem = Problem("p", "?", reference)
        assert not verify(problem, f"\\boxed{{{answer}}}", "strict").correct
        assert not verify(problem, f"\\boxed{{{answer}}}").correct
        assert verify(problem, f"\\boxed{{{reference}0}}", "strict").correct
    third = Problem("p", "?", "0.333")
    said_so = GradedGroup(
        third, [said("The answer is 1/3."), said("The answer is 0.333.")], [verify(third, "", "strict")] * 2, 9
    )
    assert partial(said_so) == [0.0, 1.0]
    assert verify(third, r"\boxed{1/3}").correct and not verify(third, r"\boxed{1/3}", "strict").correct


# --- multiple choice --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        (r"So \boxed{B}.", "B"), (r"\boxed{(b)}", "B"), (r"\boxed{\text{B}}", "B"), (r"\boxed{B. Paris}", "B"),
        (r"\boxed{Option C}", "C"), ("The answer is (C).", "C"), ("Answer: D", "D"), ("B", "B"),
        ("(C) since it is so.", "C"),        ("**B.** Paris, because it is the capital of France", "B"),
        (r"\boxed{Paris}", None), ("A man walks.", None), (r"\boxed{B, C}", None), (r"\boxed{(B) (C)}", None),
        (r"\boxed{B. or C.}", None),
        (r"\boxed{B. C}", None), (r"\boxed{(B) 5, (C) 6}", None), (r"\boxed{B, and (C)}", None),
        (r"\boxed{D. A and C}", "D"),
        (r"\boxed{B, Paris}", "B"), (r"\boxed{(B) P(A)}", "B"), (r"\boxed{A. Vitamin C}", "A"),
        ("<think>\\boxed{A}", None), (r"<think>\boxed{A}</think>D", "D"), ("", None),
    ],
)  # fmt: skip
def test_the_letter(response: str, letter: str | None) -> None:
    choice = verifier_named("choice")
    assert choice.extract(response) == letter
    assert choice.extract(response, "strict") == (letter if "boxed" in response and "think" not in response else None)


def test_choice_verdicts() -> None:
    problem = Problem("p", "Capital of France? (A) Rome (B) Paris", "(B)", verifier="choice")
    assert verify(problem, r"\boxed{b}") == Verdict("correct", "B", "B is right")
    assert verify(problem, r"\boxed{A}").reason == "A is not B"
    assert verify(problem, "no idea").status == "unparsed"
    assert verifier_of(problem).complaint(problem) is None
    unfit = Problem("p", "?", "Paris", verifier="choice")
    assert verify(unfit, "A").status == "unparsed" and references_not_recognised([unfit, problem]) == ["Paris"]


# --- reasoning-gym ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def countdown() -> Problem:
    return Problem(
        "c", "Calculate 24 using all of these numbers: 2, 3, 4.", "2*3*4", verifier="gym:countdown",
        metadata={"numbers": [2, 3, 4], "target": 24},
    )  # fmt: skip


def test_countdown_by_hand(countdown: Problem) -> None:
    """Its checker: 1 for the target from all the numbers, 0.05 for another use of numbers, 0.01 for what is no sum."""
    right = verify(countdown, r"I think \boxed{4*(2*3)}")
    assert right == Verdict("correct", "4*(2*3)", "gym:countdown scores it 1", score=1.0)
    assert verify(countdown, "so <answer>3*2*4</answer>", "strict").correct
    assert verify(countdown, r"\boxed{24}").score == 0.05 and not verify(countdown, r"\boxed{24}").correct
    assert verify(countdown, r"\boxed{two}").score == 0.01
    assert verify(countdown, "I do not know what to say here, it is too hard.").status == "unparsed"
    assert verifier_of(countdown).complaint(countdown) is None


def test_what_the_answer_does_it_does_in_a_child(
    countdown: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """countdown's checker evaluates the answer as Python."""
    monkeypatch.setattr(gym.checkers(), "limit_s", 1.0)
    hangs = verify(countdown, r"\boxed{9**9**9**9}")
    assert hangs.status == "unparsed" and "gym:countdown gave no score: still running after 1 s" in hangs.reason
    gym.checkers().limit_s = 60.0
    harm = tmp_path / "harm"
    assert not verify(countdown, rf"\boxed{{open('{harm}', 'w')}}").correct
    assert not harm.exists()


# --- a function of the user's -----------------------------------------------------------------------------------------

JUDGE = """
import os, sys, time
from thinkling.verify.verifier import Verdict

def judge(problem, response):
    what = response.split()[-1]
    if what == "hang": time.sleep(60)
    if what == "leave": os._exit(3)
    if what == "exit": sys.exit()
    if what == "raise": raise KeyError("oh")
    return {"yes": True, "no": False, "half": 0.5, "one": 1, "nothing": None, "text": "1", "two": 2.0,
            "nan": float("nan"), "same": problem.reference in response,
            "verdict": Verdict("correct", "seen", problem.metadata.get("why", ""))}[what]

def other(problem, response):
    return response.startswith("x")
"""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Problem]:
    path = tmp_path_factory.mktemp("user") / "mine.py"
    path.write_text(JUDGE)
    yield Problem("p1", "?", "42", verifier=f"{path}:judge", metadata={"why": "well"})


def test_a_function_judges(judge: Problem) -> None:
    assert verify(judge, "yes").correct and verify(judge, "one").score == 1.0
    assert verify(judge, "no").status == "incorrect" and verify(judge, "42 same").correct
    half = verify(judge, r"\boxed{7} half")
    assert (half.status, half.score, half.answer) == ("incorrect", 0.5, "7")
    assert verify(judge, "verdict") == Verdict("correct", "seen", "well")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("raise", "KeyError: 'oh'"), ("nothing", "it returned None, not a bool, a number from 0 to 1 or a Verdict"),
        ("text", "it returned '1', not a bool"), ("two", "it returned 2, not a number from 0 to 1"),
        ("nan", "it returned nan, not"), ("exit", "SystemExit"), ("leave", "the process ended with exit code 3"),
        ("hang", "still running after 0.5 s"),
    ],
)  # fmt: skip
def test_a_function_that_fails_is_named(
    judge: Problem, response: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = verifier_of(judge).verify.args[2]
    monkeypatch.setattr(child, "limit_s", 0.5 if response == "hang" else 60.0)
    with pytest.raises(UserError) as error:
        verify(judge, response)
    line = str(error.value)
    assert line.startswith(f"{judge.verifier} failed on problem p1: ") and why in line and "\n" not in line
    monkeypatch.setattr(child, "limit_s", 60.0)
    assert verify(judge, "yes").correct  # and the next one is judged


def test_from_eight_threads(judge: Problem) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: verify(judge, f"{number} same").correct, range(40, 48)))
    assert found == [number == 42 for number in range(40, 48)]


@pytest.mark.parametrize(
    ("name", "why"), [("none.py:judge", "there is no file"), ("mine.py:nobody", "there is no nobody in")]
)
def test_a_function_that_is_not_there(judge: Problem, name: str, why: str) -> None:
    folder = Path(judge.verifier).parent
    with pytest.raises(UserError, match="the verifier .*" if "mine" in name else why) as error:
        verifier_named(str(folder / name))
    assert why in str(error.value) and name in str(error.value)


# --- a new kind is one new file ---------------------------------------------------------------------------------------

SHOUT = """
from functools import partial
from thinkling.verify.verifier import Verdict, Verifier

def verifier(mark):
    return Verifier(partial(verify, mark), lambda text, mode="lenient": text.strip() or None,
                    lambda a, b: a.casefold() == b.casefold(), lambda problem: None, needs_reference=False)

def verify(mark, problem, response, mode="lenient"):
    return Verdict("correct" if response.endswith(mark) else "incorrect", response, f"wants {mark}")
"""


def test_a_new_kind_of_verifier_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shout.py").write_text(SHOUT)
    monkeypatch.setattr(thinkling.verify, "__path__", [*thinkling.verify.__path__, str(tmp_path)])
    (tmp_path / "tasks.jsonl").write_text('{"question": "Say it!", "verifier": "shout:!"}\n')
    (problem,) = load_problems(str(tmp_path / "tasks.jsonl"))
    try:
        assert verify(problem, "Yes!").correct and not verify(problem, "Yes").correct
        yes, again, no = said("Yes!", -1.0), said("YES!", -1.0), said("no", -0.1)
        assert groups(problem, [yes, no, again]) == [[yes, again], [no]]
        assert elected(problem, [yes, no, again]).final == "Yes!"
    finally:
        sys.modules.pop("thinkling.verify.shout", None)


def test_scorers_ask_the_problem() -> None:
    letter = Problem("p", "?", "B", verifier="choice")
    drawn = [asyncio.run(heuristic(Scripted(), letter, said(text))) for text in (r"\boxed{B}", r"\boxed{7}")]
    assert drawn[0] > 3 > drawn[1]


def test_an_answer_that_samples_share_is_judged_once() -> None:
    """By its text, its reference and the rules: nothing else of a response matters once its answer is found."""
    problem = Problem("p", "?", "5")
    before = math_verifier.judged.cache_info()
    said = [verify(problem, text, rules).status for rules in ("lenient", "strict")
            for text in (r"so \boxed{five}", r"or else \boxed{five}")]  # fmt: skip
    after = math_verifier.judged.cache_info()
    assert said[:2] == ["correct", "correct"] and said[2] == said[3] != "correct"
    assert (after.misses - before.misses, after.hits - before.hits) == (2, 2)
