"""The verifier: worked cases, the field's known wrong verdicts, properties, hostile input, and two real benchmarks."""

import itertools
import json
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkling.verify.equal import equal
from thinkling.verify.extract import extract, extract_boxed
from thinkling.verify.grade import Verdict, grade, same_answer
from thinkling.verify.latex import MAX_CHARACTERS, Number, Text, parse

DATA = Path(__file__).parents[2] / "shared" / "data"


def boxed(answer: str) -> str:
    return rf"So the result is \boxed{{{answer}}}."


# Extraction


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"\boxed{12}", "12"),
        (r"First \boxed{1}, no: \boxed{2}.", "2"),
        (r"\boxed {\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"Put it in \boxed. Here: \boxed{7}. That was \boxed.", "7"),
        (r"The answer is 3, so \boxed{4}", "4"),
        ("The answer is 12.", "12"),
        ("The answer is 3.5. I hope it is correct.", "3.5"),
        ("the answer is 1\nno, the Answer is: 2\nDone", "2"),
        ("**Final answer:** $\\frac12$\n", "$\\frac12$"),
        ("The final answer is **5**.", "5"),
        ("16 - 7 = 9\n#### 1,234\n", "1,234"),
        ("#### 1\n#### 2", "2"),
        ("<think>\\boxed{1}</think>\nThe answer is 2.", "2"),
        ("so \\boxed{1}</think> \\boxed{2}", "2"),
        ("<think>a</think> x <think>\\boxed{3}</think>\\boxed{4}", "4"),
        (r"It was \boxed{3}, then \boxed{4 #### 5", "5"),
    ],
)
def test_extract_finds_the_last_claim(response, answer):
    assert extract(response).answer == answer


@pytest.mark.parametrize(
    "response, why",
    [
        ("", "no \\boxed{}, no stated answer"),
        ("It may be 12", "no \\boxed{}, no stated answer"),
        ("##### Notes on 12", "no \\boxed{}, no stated answer"),
        (r"\boxed{}", "the boxed answer is empty"),
        (r"The answer is 3. \boxed{ }", "the boxed answer is empty"),
        ("The answer is:", "the stated answer is empty"),
        (r"\boxed{3} and then \boxed{\frac{1}{2}", "never closed"),
        (r"The answer is 3, \boxed{3", "never closed"),
        (r"\boxed{1\}", "never closed"),
        (r"<think>it is \boxed{12}", "the thinking was never closed"),
        (r"<think>a</think>\boxed{1}<think>wait", "the thinking was never closed"),
        (r"<think>\boxed{12}</think>", "no \\boxed{}, no stated answer"),
    ],
)
def test_extract_says_why_there_is_no_answer(response, why):
    extraction = extract(response)
    assert extraction.answer is None
    assert why in extraction.rule
    assert grade(response, "12").status == "unparsed"


def test_extract_boxed_alone():
    assert extract_boxed(r"\boxed{a{b}c} d") == "a{b}c"
    assert extract_boxed(r"\boxed{1} \boxed{2") is None
    assert extract_boxed("none") is None


# Values


@pytest.mark.parametrize(
    "text, value",
    [
        ("12", 12), ("-3", -3), ("−3", -3), ("- 3", -3), ("+5", 5), ("007", 7), ("13.", 13),
        ("3.50", Fraction(7, 2)), (".5", Fraction(1, 2)), ("-0.25", Fraction(-1, 4)),
        ("3/4", Fraction(3, 4)), ("-3 / 4", Fraction(-3, 4)), ("3/-4", Fraction(-3, 4)), ("1.5/2", Fraction(3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)), (r"\dfrac{3}{4}", Fraction(3, 4)), (r"\tfrac34", Fraction(3, 4)),
        (r"\frac12", Fraction(1, 2)), (r"\frac 34", Fraction(3, 4)), (r"\frac9{19}", Fraction(9, 19)),
        (r"-\frac{1}{2}", Fraction(-1, 2)), (r"\frac{-1}{2}", Fraction(-1, 2)), (r"\frac{ 1 }{ 2 }", Fraction(1, 2)),
        (r"1\frac{4}{5}", Fraction(9, 5)), (r"137 \frac{1}{2}", Fraction(275, 2)), ("1 4/5", Fraction(9, 5)),
        (r"-1\frac12", Fraction(-3, 2)),
        ("1,234", 1234), ("1{,}234", 1234), (r"1\,234", 1234), (r"10,\!080", 10080),
        ("1,234,567.5", Fraction(2469135, 2)),
        (r"11,\! 111,\! 111,\! 100", 11111111100),
        ("$12$", 12), (r"\(12\)", 12), (r"\left(12\right)", None), (r"$\frac{1}{2}$", Fraction(1, 2)),
        (r"\text{13}", 13), (r"\textbf{ 13 }", 13), ("2^{10}", 1024), ("10^{-3}", Fraction(1, 1000)), ("-2^2", -4),
        (r"3 \times 10^8", 300000000), (r"1.5 \cdot 10^{2}", 150),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert parse(text) == (Text("(12)") if value is None else Number(Fraction(value)))


@pytest.mark.parametrize(
    "text, value, unit",
    [
        (r"12 \text{ cm}", 12, "cm"), ("12 cm", 12, "cm"), (r"15\mbox{ cm}^2", 15, "cm^2"),
        (r"15\,\text{cm}^{2}", 15, "cm^2"),
        (r"5\text{ m}", 5, "m"), (r"5 \text{m/s}", 5, "m per s"), ("60 miles per hour.", 60, "mile per hour"),
        ("18 eggs", 18, "egg"), (r"106^\circ", 106, "°"), (r"106^{\circ}", 106, "°"), ("106°", 106, "°"),
        (r"\frac{270}7\text{ degrees}", Fraction(270, 7), "°"), ("50%", Fraction(1, 2), "%"),
        (r"$50 \%$", Fraction(1, 2), "%"),
        ("50 percent", Fraction(1, 2), "%"), (r"\$12", 12, "$"), ("$12", 12, "$"),
        (r"-\$1,234.50", Fraction(-2469, 2), "$"),
        (r"$\$18.90$", Fraction(189, 10), "$"), ("12 dollars", 12, "$"),
        (r"5.4 \text{ cents}", Fraction(27, 5), "cent"),
    ],
)  # fmt: skip
def test_units(text, value, unit):
    assert parse(text) == Number(Fraction(value), unit)


@pytest.mark.parametrize(
    "text",
    ["1,2", "12,34", "0,123", "1,2345", "1, 234", "--3", "+-3", "-$-3", "1/0", r"\frac{1}{0}", "1 1/0",
    r"2\frac{9}{5}",
     r"\frac123", "1.2.3", "7 or 8", "12 or more", "5 million", r"5\text{ million}", "3 halves", "2 dozen", "5 times",
     "2k", "2 k", "3 x", "2 xy", "12 pi", r"12\pi", r"3\mathrm{e}", r"3\mathrm{i}", "5!", "5x", "0^0", "0^{-1}",
     "1e3",
     "0.333...", r"0.\overline{3}", "9^{9^9}", "9^{9999}", "9^{99999999999}", "1/2^{99}", "9" * 301, "4343_6", "٣",
     "½",
     "50%%", "$5%", "one", "(5)", "5 squared", "5 or", r"5 \text{ or more}", r"12^\circ\text{C}"],
)  # fmt: skip
def test_what_is_not_a_number_stays_text(text):
    assert isinstance(parse(text), Text)


@pytest.mark.parametrize("text", ["", " ", ".", "$$", r"\text{ }", r"\,", "x" * (MAX_CHARACTERS + 1)])
def test_nothing_to_read(text):
    assert parse(text) is None


# Equality

EQUAL = [
    ("0.5", "1/2"), (r"\frac12", "0.50"), (r"1\frac{4}{5}", "9/5"), (r"\text{13}", "13"), ("1,234", "1234"),
    ("12 cm", "12"), (r"12 \text{ cm}", "12 cm"), (r"\$12", "12"), ("12 dollars", "$12"), ("36°", r"36^\circ"),
    ("50%", "0.5"), ("50%", "1/2"), ("50%", "50"), ("50%", r"50\%"), ("0.5%", "1/200"), ("mile", r"\text{ Mile }"),
    (r"\text{(B)}", "b"), ("(-1, 6)", "(-1,6)"), (r"\left(3,\frac{\pi}{2}\right)", r"( 3, \dfrac{\pi}{2} )"),
    ("2 + 7i", "2+7i"), (r"x^{2}", "x^2"), (r"2 \sqrt{5}", r"2\sqrt{5}"), ("at  least", "At least"),
]  # fmt: skip

# Pairs that other graders are known to call equal (Math-Verify issues 14, 41 and 60 among them), and some of our own.
UNEQUAL = [
    ("1/2004!", "1/2006!"), ("1/2^{99}", "1/2^{98}"), ("1-1/e", "1+1/e"),
    (r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}"),
    ("(2^{2005}+1)/(3*2^{2006})", "1/(3*2^{2006})"), (r"1,2,\ldots,n", r"1,3,5,\ldots,2n-1"), ("4", r"4\sqrt(2)"),
    ("3x-y+13=0", "3x+4y+14=0"), ("(0,1]", "[0,1)"), ("(1,2)", "(2,1)"), ("5", "4, 5, 6"), ("1", "9^{9^9}"),
    ("1", "(10^9)!"), ("1", "5^{5^{5^5}}"), ("4/5", r"1\frac{4}{5}"), ("3/4", "4/3"), ("7", "7 or 8"),
    ("seat", "east"),
    ("50", "0.5"), ("50%", "5"), ("0.5%", "50"), ("12 cm", "12 m"), ("$5", "5 cents"), ("5%", r"\$5"),
    ("5", "5 million"),
    ("12", "1,2"), ("1.5", "1,5"), ("5", "five"), ("-5", "5"), ("14/5", "1 4/5"), (r"\Pi", r"\pi"),
    ("x^{12}", "x^{1}2"),
    ("0.333", "1/3"), ("a b", "ab"), ("1000000000000000000001", "1000000000000000000000"),
]  # fmt: skip


@pytest.mark.parametrize("a, b", EQUAL)
def test_equal(a, b):
    assert same_answer(a, b) and same_answer(b, a)
    assert grade(boxed(a), b).correct and grade(boxed(b), a).correct


@pytest.mark.parametrize("a, b", UNEQUAL)
def test_unequal(a, b):
    assert not same_answer(a, b) and not same_answer(b, a)
    assert grade(boxed(a), b).status == grade(boxed(b), a).status == "incorrect"


def test_a_number_never_equals_a_text():
    assert not equal(Number(Fraction(5)), Text("5"))


def test_a_missing_sign_makes_equality_intransitive_as_documented():
    assert same_answer("0.5", "50%") and same_answer("50%", "50") and not same_answer("0.5", "50")


# Verdicts


def test_verdicts_say_why():
    assert grade(r"\boxed{3/4}", "4/3") == Verdict("incorrect", "3/4", "3/4 is not 4/3")
    assert grade("#### 18", "18.0") == Verdict("correct", "18", "18 equals 18.0")
    cut_off = grade("<think>12", "12")
    assert cut_off == Verdict("unparsed", None, "no final answer: the thinking was never closed")
    assert grade("#### 18", "  ").reason == "the reference is empty"
    assert grade("", "").status == "unparsed"
    assert grade(boxed("1" * 1001), "1").reason == "the answer is 1,001 characters long, past 1,000"
    assert grade(boxed(r"\text{}"), "1").reason == "the answer is empty"
    assert len(grade(boxed("x\n" * 400), "1").reason) < 100 and "\n" not in grade(boxed("x\ny"), "1").reason


# Properties

fractions = st.fractions(max_denominator=10**6).filter(lambda value: abs(value) < 10**9)


def spellings(value: Fraction) -> list[str]:
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    texts = [f"{sign}{top}/{bottom}", rf"{sign}\frac{{{top}}}{{{bottom}}}", rf"\dfrac{{{sign}{top}}}{{{bottom}}}"]
    texts += [f"${sign}{top} / {bottom}$", f"−{top}/{bottom}" if sign else f"+{top}/{bottom}"]
    if top > bottom > 1:
        texts += [
            rf"{sign}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}",
            f"{sign}{top // bottom} {top % bottom}/{bottom}",
        ]
    if bottom == 1:
        texts += [
            f"{sign}{top}",
            f"{sign}{top:,}",
            f"{sign}{top:,}".replace(",", r"\,"),
            f"{sign}{top}.0",
            rf"\text{{{sign}{top}}}",
        ]
    return texts


@given(fractions, fractions)
def test_a_fraction_equals_itself_in_every_spelling_and_no_other(value, other):
    for a, b in itertools.product(spellings(value), spellings(value)):
        assert same_answer(a, b), (a, b)
    for a, b in itertools.product(spellings(value), spellings(other)):
        assert same_answer(a, b) == (value == other), (a, b)


pieces = st.sampled_from(
    [*r"0123456789+-/.,%$^_(){}[]\ xeE!°", r"\frac", r"\text{", r"\boxed{", r"\,", " cm", "<think>"]
)
answers = st.one_of(st.text(), st.lists(pieces, max_size=25).map("".join))


@given(answers, answers)
def test_symmetric_reflexive_and_never_raises(a, b):
    assert same_answer(a, a)
    assert same_answer(a, b) == same_answer(b, a)
    assert grade(a, b).status in ("correct", "incorrect", "unparsed")
    value, extracted = parse(a), extract(boxed(a)).answer
    if value is not None and extracted == a.strip():
        assert grade(boxed(a), a).correct


# Hostile text

HOSTILE = [
    "9^{9^9}", "9^9^9", "5^{5^{5^5}}", "(10^9)!", "10^{999999999}", r"1 \times 10^{-999999999}", "9" * 5000,
    "0." + "3" * 900,
    "(" * 5000, "{" * 5000, "[" * 900, r"\frac" * 200, r"\frac{" * 160 + "1", r"\text{" * 160, "-" * 900 + "1",
    "__import__('os').getpid()", "open('/etc/passwd').read()", "exec('x=1')", "lambda: 1", "().__class__.__bases__",
    "1\x00",
    "\x00", "\ud800", "1" + " " * 900 + "x", "1 " * 450, "1,000" * 190, "$" * 900, "1/" * 400, "a^{" * 300, "x\\",
    "{}{1}",
]  # fmt: skip
LONG = [
    "\\boxed{" * 150_000, "\\boxed{" * 75_000 + "}" * 75_000, "\\boxed{2" * 100_000 + "}" * 99_999 + "#### ",
    "{" * 1_000_000,
    "\\boxed{" + "{" * 500_000 + "}" * 500_000, "\\boxed" + " " * 1_000_000, "the answer is " * 70_000,
    "answer " * 140_000,
    "#" * 1_000_000, "answer" + " *" * 500_000, "<think>" * 140_000, "</think>" * 120_000,
    "the answer is " + "." * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_hostile_answers_are_never_correct(text):
    for response in (text, boxed(text), f"The answer is {text}", f"#### {text}"):
        assert not grade(response, "1").correct
    assert grade(boxed("1"), text).status in ("incorrect", "unparsed")


@pytest.mark.parametrize("text", LONG, ids=lambda text: repr(text[:20]))
def test_a_megabyte_is_never_correct(text):
    """Quadratic time would take minutes here, so a slow path shows itself without a clock."""
    for reference in ("1", text):
        assert not grade(text, reference).correct


armed, events = False, []


def watch(event: str, _arguments: tuple) -> None:
    """An audit hook cannot be removed, so it listens only while armed."""
    if armed:
        events.append(event)


def test_grading_opens_imports_and_runs_nothing():
    global armed
    sys.addaudithook(watch)
    try:
        armed = True
        eval("1")
        seen_by_eval = events.copy()
        events.clear()
        for text in HOSTILE:
            grade(boxed(text), "1")
            grade(boxed("1"), text)
            same_answer(text, "1")
        seen_by_grading = events.copy()
    finally:
        armed = False
        events.clear()
    assert "exec" in seen_by_eval  # the hook does listen
    assert seen_by_grading == []


# Real references


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / name).is_file(), reason=f"needs {name} beside the project, in shared/data")


@needs("gsm8k_test.jsonl")
def test_every_gsm8k_reference_is_a_number_equal_to_itself():
    rows = [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 1319
    for row in rows:
        reference = row["answer"].rpartition("####")[2].strip()
        assert isinstance(parse(reference), Number)
        assert grade(row["answer"], reference).correct
        assert grade(boxed(reference), reference).correct
        assert not grade(boxed(reference + "1"), reference).correct


@needs("math500_test.json")
def test_math500_references_equal_themselves_and_only_true_coincidences():
    rows = json.loads((DATA / "math500_test.json").read_text(encoding="utf-8"))
    assert len(rows) == 500
    for row in rows:
        assert grade(boxed(row["answer"]), row["answer"]).correct, row["answer"]
    references = sorted({row["answer"] for row in rows})
    coincidences = {(a, b) for a, b in itertools.combinations(references, 2) if same_answer(a, b)}
    assert coincidences == {
        (r"10,\!080", "10080"),
        (r"2 \sqrt{5}", r"2\sqrt{5}"),
        (r"\frac14", r"\frac{1}{4}"),
        ("30", r"30^\circ"),  # the same number; one reference of the two has no unit
        ("36", r"36^\circ"),
        ("90", r"90^\circ"),
        ("120", r"120^\circ"),
        ("36", r"\$36"),
        ("15", r"15\mbox{ cm}^2"),
    }


@needs("math500_test.json")
def test_every_math500_solution_is_graded_correct_and_wrong_when_its_box_is_cut_off():
    for row in json.loads((DATA / "math500_test.json").read_text(encoding="utf-8")):
        assert grade(row["solution"], row["answer"]).correct, row["answer"]
        cut_off = row["solution"][: row["solution"].rindex("boxed{") + len("boxed{")]
        assert grade(cut_off, row["answer"]).status == "unparsed"
