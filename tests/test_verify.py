"""grade(): verdicts and their reasons, hostile text, threads and processes, and two real benchmarks."""

import asyncio
import functools
import itertools
import json
import random
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkling.verify.math.expressions.tree import Number, Unread, Words
from thinkling.verify.math.grade import Verdict, grade, same_answer, why_unreadable
from thinkling.verify.math.latex import MAX_CHARACTERS, parse

DATA = Path(__file__).parents[2] / "shared" / "data"


def boxed(answer: str) -> str:
    return rf"So the result is \boxed{{{answer}}}."


# Verdicts


def test_verdicts_say_why():
    box = "the last \\boxed{}"
    assert grade(r"\boxed{3/4}", "4/3") == Verdict("incorrect", "3/4", "3/4 is not 4/3", box, "3/4")
    assert grade("#### 18", "18.0") == Verdict("correct", "18", "18 equals 18.0", "####", "18")
    cut_off = grade("<think>12", "12")
    why = "no final answer: the thinking was never closed"
    assert cut_off == Verdict("unparsed", None, why, why, None)
    assert (
        grade(boxed("[0, 1]"), "[0,1)").reason
        == "[0, 1] is not [0,1): the interval is closed at 1, the reference is open"
    )
    assert grade(boxed("7, 8"), "7").reason == "7, 8 is not 7: 2 answers, the reference has one"


@pytest.mark.parametrize(
    "response, reference, reason",
    [
        ("#### 18", "  ", "the reference is empty"), ("", "", "no final answer"), ("", "5", "no final answer"),
        (boxed("1" * 2001), "1", "the answer is 2,001 characters long, past 2,000"), (boxed(r"\text{}"), "1", "the answer is empty"),
        (boxed("1"), "1" * 2001, "the reference is 2,001 characters long, past 2,000"),
        (boxed("(" * 100 + ")" * 100), "1", "was not read as mathematics: nested more than 30 deep"),
        (boxed("__import__('os').getpid()"), "1", "was not read as mathematics: the word 'import'"),
        (boxed("9^{9^9} + 1"), "9^{9^9}", "past a bound: the values are too close to tell apart"), (boxed("5"), [], "there is no reference"),
    ],
)  # fmt: skip
def test_unparsed_says_why(response, reference, reason):
    verdict = grade(response, reference)
    assert verdict.status == "unparsed" and not verdict.correct and reason in verdict.reason


def test_reasons_are_one_short_line():
    for answer in ("x\n" * 400, "x" * 1000, "1 + " * 300 + "1", "\x1b[31m" * 50):
        reason = grade(boxed(answer), "1").reason
        assert len(reason) < 200 and reason.isprintable()


def test_text_is_compared_as_text_and_only_with_text():
    assert grade(boxed(r"\text{East}"), "east").correct
    assert grade(boxed("seat"), "east").status == "incorrect"
    assert grade(boxed("five"), "5", "strict").status == "incorrect"
    assert grade(boxed(r"\foo{a} \to b"), r"\foo{a}\to b").correct  # unread on both sides: as text
    assert grade(boxed(r"\foo{A} \to b"), r"\foo{a}\to b").status == "incorrect"


def test_any_of_several_references_is_right_and_alternatives_are_never_an_answer():
    assert grade(boxed("1/2"), ["0.25", "0.5"]).correct
    assert grade(boxed("1/3"), ["0.25", "0.5"]).status == "incorrect"
    assert not grade(boxed("7 or 8"), ["7", "8"]).correct
    assert not grade(r"\boxed{7} or \boxed{8}", ["7", "8"]).correct
    assert grade(boxed("x = 7 or x = 8"), "8, 7").correct


def test_the_policy_decides_what_counts_as_an_answer():
    assert grade("The answer is 5.", "5").correct
    assert grade("The answer is 5.", "5", mode="strict").status == "unparsed"
    assert grade("The answer is 4, so \\boxed{5}", "5", mode="strict").correct


def test_a_reference_that_cannot_be_judged_against_is_known():
    assert why_unreadable("1/2") is why_unreadable("east") is None
    assert why_unreadable(" ") == "empty" and "unknown command" in why_unreadable(r"\foo{1}")


def test_votes():
    assert same_answer("0.5", r"\frac12") and same_answer("x", "x") and not same_answer("0.333", "1/3")
    long = "1" * (MAX_CHARACTERS + 1)
    assert same_answer(long, long) and not same_answer(long, long + "1") and not same_answer("", " ")


def test_a_missing_sign_makes_equality_intransitive_as_documented():
    assert same_answer("0.5", "50%") and same_answer("50%", "50") and not same_answer("0.5", "50")


# Hostile text

pieces = st.sampled_from([
    *r"0123456789+-/.,%$^_(){}[]|\ xeE!°=<>:;'&", r"\frac", r"\sqrt", r"\text{", r"\boxed{", r"\,", " cm", "<think>", r"\pm", r"\cup",
    r"\sin", r"\log_", r"\infty", r"\begin{pmatrix}", r"\end{pmatrix}", r"\\", "or", "x \\le ", r"\{", r"\}", r"\binom", "9^9^",
])  # fmt: skip
answers = st.one_of(st.text(), st.lists(pieces, max_size=25).map("".join))


@given(answers, answers)
def test_symmetric_reflexive_and_never_raises(a, b):
    assert same_answer(a, a)
    assert same_answer(a, b) == same_answer(b, a)
    assert grade(a, b).status in ("correct", "incorrect", "unparsed")
    assert grade(boxed(a), a).status in ("correct", "unparsed") or grade(boxed(a), a).answer != a.strip()


HOSTILE = [
    "9^{9^9}", "9^9^9", "5^{5^{5^5}}", "(10^9)!", "10^{999999999}", r"1 \times 10^{-999999999}", "9" * 5000, "0." + "3" * 900,
    "(" * 5000, "{" * 5000, "[" * 900, r"\frac" * 200, r"\frac{" * 160 + "1", r"\text{" * 160, "-" * 901 + "1", "9!!!!!!", "3" + "!" * 900,
    "__import__('os').getpid()", "open('/etc/passwd').read()", "exec('x=1')", "lambda: 1", "().__class__.__bases__",
    "1\x00", "\x00", "\ud800", "1" + " " * 900 + "x", "1 " * 450, "1,000" * 190, "$" * 900, "1/" * 400, "a^{" * 300, "x\\", "{}{1}",
    r"\sin(9^{9^9})", r"\sqrt[999999999]{2}", r"\log_{1} 5", r"\binom{10^9}{5 \cdot 10^8}", r"(10^{300})! / (10^{300})!", "2^{2^{2^{2^{2^{2}}}}}",
    r"\gcd(10^{5000}, 10^{5001})", r"\cup".join(["(0,1)"] * 100), "+".join(["x!"] * 200), "1,2," * 400 + "3", r"\pm" * 300 + "1",
    r"\begin{vmatrix}" + r"\\".join(["&".join("1" * 9)] * 9) + r"\end{vmatrix}", r"e^{e^{e^{e^{e^{e}}}}}", r"\tan 90^\circ", "0^{0}", "1/0",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_answers_are_never_correct(text):
    for response in (text, boxed(text), f"The answer is {text}", f"#### {text}"):
        assert not grade(response, "1").correct
    assert grade(boxed("1"), text).status in ("incorrect", "unparsed")
    assert grade(boxed(text), text).status in ("correct", "unparsed")


armed, events = False, []


def watch(event: str, _arguments: tuple) -> None:
    """An audit hook cannot be removed, so it listens only while armed."""
    if armed:
        events.append(event)


def test_grading_opens_imports_and_runs_nothing():
    global armed
    sys.addaudithook(watch)
    for text in HOSTILE:  # what mpmath prepares when it is first used, it prepares here
        grade(boxed(text), "1")
    try:
        armed = True
        eval("1")
        seen_by_eval = events.copy()
        events.clear()
        for text in HOSTILE:
            grade(boxed(text), "1")
            grade(boxed("1"), text)
            same_answer(text, r"\sqrt{2}")
        seen_by_grading = events.copy()
    finally:
        armed = False
        events.clear()
    assert "exec" in seen_by_eval  # the hook does listen
    assert seen_by_grading == []


# From anywhere

JOBS = [(boxed(rf"\sqrt{{{n * n * 2}}}"), rf"{n + (n % 3 == 0)}\sqrt2") for n in range(1, 126)]
EXPECTED = ["incorrect" if n % 3 == 0 else "correct" for n in range(1, 126)]


def judge(job: tuple[str, str]) -> str:
    return grade(*job).status


def test_a_thousand_answers_from_eight_threads():
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(judge, JOBS * 8)) == EXPECTED * 8


def test_from_asyncio_and_from_processes():
    async def many() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(judge, job) for job in JOBS))

    assert asyncio.run(many()) == EXPECTED
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(judge, JOBS, chunksize=25)) == EXPECTED


# Real references


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text is read once: reading is pure, and these tests compare the same few references again and again."""
    monkeypatch.setattr("thinkling.verify.math.grade.parse", functools.cache(parse))


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_file(), reason=f"needs {name} beside the project, in shared/data")


@pytest.mark.usefixtures("read_once")
@needs("gsm8k_test.jsonl")
def test_every_third_gsm8k_reference_is_a_number_equal_to_itself():
    rows = [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 1319
    for row in rows[::3]:
        reference = row["answer"].rpartition("####")[2].strip()
        assert isinstance(parse(reference), Number)
        assert grade(row["answer"], reference).correct
        plain = reference.replace(",", "")  # in brackets a comma separates: (2,125) is a point
        spellings = (reference, f"${reference}$", rf"\left({plain}\right)", f" {reference} .", rf"\text{{{reference}}}")
        for spelled in spellings:
            assert grade(boxed(spelled), reference).correct, spelled
        assert not grade(boxed(reference + "1"), reference).correct


@pytest.fixture(scope="module")
def math500() -> list[dict]:
    rows = json.loads((DATA / "math500_test.json").read_text(encoding="utf-8"))
    assert len(rows) == 500
    return rows


@pytest.mark.usefixtures("read_once")
@needs("math500_test.json")
def test_every_math500_reference_is_read_and_equals_itself_in_every_dress(math500):
    for row in math500:
        reference = row["answer"]
        assert not isinstance(parse(reference), Unread), reference
        dressed = [
            reference,
            f"${reference}$",
            rf"\({reference}\)",
            f"{reference}.",
            f"  {reference}  ",
            rf"\[ {reference} \]",
        ]
        dressed += [reference.replace(r"\frac", r"\dfrac"), reference.replace(r"\dfrac", r"\tfrac")]
        if not isinstance(parse(reference), Words):
            dressed += [
                reference.replace("(", r"\left( ").replace(")", r" \right)") if r"\left" not in reference else reference
            ]
            dressed += [
                reference.replace(",", ", ")
                if r"\!" not in reference and not isinstance(parse(reference), Number)
                else reference
            ]
        for spelled in dict.fromkeys(dressed):
            assert same_answer(spelled, reference) and same_answer(reference, spelled), spelled
            assert grade(boxed(spelled), reference).correct, spelled


@pytest.mark.usefixtures("read_once")
@needs("math500_test.json")
def test_of_all_pairs_of_math500_references_only_true_coincidences_are_equal(math500):
    """Of 5,000 pairs drawn at random, and of those that are known to be equal."""
    references = sorted({row["answer"] for row in math500})
    coincidences = {
        (r"10,\!080", "10080"), (r"2 \sqrt{5}", r"2\sqrt{5}"), (r"\frac14", r"\frac{1}{4}"), ("-2,1", "1,-2"),  # spelling, order
        ("5", "x=5"),  # one of the two names its variable
        ("30", r"30^\circ"), ("36", r"36^\circ"), ("90", r"90^\circ"), ("120", r"120^\circ"),  # one has no unit
        ("36", r"\$36"), ("15", r"15\mbox{ cm}^2"),
        (r"180^\circ", r"\pi"),  # the same angle
    }  # fmt: skip
    pairs = random.Random(0).sample(list(itertools.combinations(references, 2)), 5_000)
    assert {(a, b) for a, b in {*pairs, *coincidences} if same_answer(a, b)} == coincidences


@needs("math500_test.json")
def test_every_math500_solution_is_graded_correct_and_wrong_when_its_box_is_cut_off(math500):
    for row in math500:
        assert grade(row["solution"], row["answer"], mode="strict").correct, row["answer"]
        cut_off = row["solution"][: row["solution"].rindex("boxed{") + len("boxed{")]
        assert not grade(cut_off, row["answer"], mode="strict").correct
