"""Equality: worked pairs of every type, the field's known wrong verdicts, and properties against exact arithmetic."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from thinkling.verify.math.equal import difference
from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.exact import MAX_BITS, CannotTell
from thinkling.verify.math.expressions.tree import Number
from thinkling.verify.math.grade import same_answer
from thinkling.verify.math.latex import parse
from thinkling.verify.math.rules import LENIENT

EQUAL = [
    # numbers
    ("0.5", "1/2"), (r"\frac12", "0.50"), (r"1\frac{4}{5}", "9/5"), (r"\text{13}", "13"), ("1,234", "1234"), ("1 000 000", "1000000"), ("**7**", "7"), (r"\color{red}{7}", "7"), (r"5\text{,}000", "5000"), (r"c+\frac ab", "a/b+c"),
    (r"0.\overline{3}", r"\frac13"), ("0.999...", "1"), (r"\sqrt{\frac14}", r"\frac12"), ("2^{10}", "1024"), ("5!", "120"),
    (r"\binom{5}{2}", "10"), ("-(-3)", "3"), (r"3 \times 10^8", "300000000"), ("|-3|", "3"), (r"\lfloor 2.9 \rfloor", "2"),
    (r"\gcd(12, 18)", "6"), ("6!!", "48"), ("1010_2", "1010_{2}"), ("1a_{16}", "1A_{16}"), ("(1^{9^{9^9}})", "1"),
    # irrational numbers
    ("288 \\pi", "288\\pi"), (r"2\sqrt5", r"\sqrt{20}"), (r"\frac{\sqrt3}{3}", r"\frac{1}{\sqrt{3}}"),
    (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"), (r"\sqrt[3]{-8}", "-2"), ("(-8)^{1/3}", "-2"), (r"\sqrt{2}^2 - 2", "0"),
    (r"\frac{1}{2}\ln 4", r"\ln 2"), (r"\log_2 8", "3"), (r"\log 100", "2"), (r"\log 2", r"\ln 2"), (r"\sin 30^\circ", "1/2"),
    (r"\arctan 1", r"\frac{\pi}{4}"), (r"\tan^{-1} 1", r"\frac{\pi}{4}"), ("i^2", "-1"), (r"e^{i\pi} + 1", "0"),
    (r"\frac{1}{1+i}", r"\frac{1-i}{2}"), (r"\sqrt{-4}", "2i"), (r"\operatorname{cis} 60^\circ", r"\frac12 + \frac{\sqrt3}{2} i"),
    (r"\sqrt{10^{20}+1} - 10^{10}", r"\frac{1}{\sqrt{10^{20}+1} + 10^{10}}"), (r"\infty", r"+\infty"),
    (r"\frac{1}{\sqrt{10^{20}+1} - 10^{10}}", r"\sqrt{10^{20}+1} + 10^{10}"),
    # units
    ("12 cm", "12"), ("7°C", "7"), (r"7^\circ\text{C}", "7 °C"), (r"12 \text{ cm}", "12 cm"), (r"\$12", "12"), ("12 dollars", "$12"), ("36°", r"36^\circ"), ("50%", "0.5"),
    ("50%", "1/2"), ("50%", "50"), ("50%", r"50\%"), ("0.5%", "1/200"), (r"90^\circ", r"\frac{\pi}{2}"), ("-50%", "-1/2"),
    # variables
    ("(a+5)(b+2)", "ab+2a+5b+10"), ("x^{2}", "x^2"), ("(x+1)^{50}", "(1+x)^{25}(x+1)^{25}"), (r"\sqrt{x^2}", "|x|"),
    ("n!/(n-2)!", "n(n-1)"), ("(-1)^n", "(-1)^{n+2}"), (r"\cot x", r"\frac{\cos x}{\sin x}"), (r"\sin^2 x + \cos^2 x", "1"),
    (r"\ln(x^2)", r"2\ln x"), (r"\frac{x^2-1}{x-1}", "x+1"), ("2^{n+1}", r"2 \cdot 2^n"), ("x_1 + x_2", "x_2 + x_{1}"),
    ("f(x) + 1", "1 + f(x)"), (r"\cos(n\pi)", "(-1)^n"),
    # equations and definitions
    ("x=5", "5"), ("5 = x", "x = 5"), ("2x+4y-3=0", r"y=-\frac12 x+\frac34"), ("x^2+y^2=4", "4 - x^2 = y^2"), ("y=2x+3", "2x+3"),
    ("f(x)=x^2", "f(t)=t^2"), ("f(x) = 2x", "2x"), ("f(x) = 2x", "y = 2x"), ("= 5", "5"), (r"\approx 3.14", "3.14"), ("1+1=2", "2"), (r"x = \frac{10}{4} = 2.5", "5/2"), (r"x \approx 3.14", "3.14"),
    (r"\text{Area} = 12", "12"), ("2x < 4y", "x - 2y < 0"), ("x + y > 1", "1 < y + x"), ("(x, y) = (1, 2)", "(1, 2)"),
    # several values
    ("1,-2", "-2,1"), (r"\{1,2\}", r"\{2,1\}"), (r"\{1,2\}", "2, 1"), ("x=2 or x=3", "3, 2"), (r"x = 2, 3", r"\{2,3\}"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"), (r"\pm 2", "2, -2"), (r"\{1, 1, 2\}", r"\{1, 2\}"),
    (r"\left(3,\frac{\pi}{2}\right)", r"( 3, \dfrac{\pi}{2} )"), ("x=2, y=3", "(2,3)"), ("y=3, x=2", "(2,3)"), ("3:4", "6:8"),
    ("3:4", "3/4"), ("15/2 or 7.5", "7.5"), ("(1,2), (3,4)", "(3,4), (1,2)"), (r"\frac{-1\pm\sqrt5}{2}", r"\frac{-1-\sqrt5}{2}, \frac{-1+\sqrt5}{2}"),
    (r"\langle 1,2\rangle", "(1,2)"), ("1, 2, \\ldots, n", "1,2,...,n"),
    # sets of reals
    ("(0,12.5)", "0<x<12.5"), (r"x \le 2", r"(-\infty, 2]"), (r"x \in [-2,7]", "[-2,7]"), ("x<2 or x>3", r"(3,\infty)\cup(-\infty,2)"),
    (r"x \ne 9", r"(-\infty,9)\cup(9,\infty)"), (r"(0,9) \cup (9,36)", r"(0,36) \setminus \{9\}"), (r"[0,1] \cup [1,2]", "[0,2]"),
    (r"x>2 \text{ and } x<5", "(2,5)"), ("x<2, or x>3", r"(-\infty,2)\cup(3,\infty)"), (r"\{x \mid x > 2\}", r"(2,\infty)"), (r"\mathbb{R}", "all real numbers"),
    (r"(0,2) \cap (1,3)", "(1,2)"), (r"(a, b]", r"( a , b ]"), (r"(\sqrt{4}, 3)", "(2, 3)"),
    # matrices
    (r"\begin{pmatrix} 16/49 \\ 48/49 \end{pmatrix}", r"\frac{1}{49}\begin{bmatrix} 16\\48\end{bmatrix}"),
    (r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}", "-2"), (r"-\begin{pmatrix} 1 & x \end{pmatrix}", r"\begin{pmatrix} -1 & -x \end{pmatrix}"),
    # words
    ("mile", r"\text{ Mile }"), (r"\text{(B)}", "b"), ("B", "(B)"), ("at  least", "At least"), ("5:30 PM", r"5:30 \text{ p.m.}"),
    ("5 p.m.", "5:00 pm"), (r"\emptyset", r"\{\}"), ("no solution", r"\emptyset"),
]  # fmt: skip

UNEQUAL = [
    # what graders in use call equal (issues 14, 41 and 60 of Math-Verify), or the grader of Raschka's book
    ("1/2004!", "1/2006!"), ("1/2^{99}", "1/2^{98}"), ("1-1/e", "1+1/e"), (r"1-\frac{1}{\mathrm{e}}", r"1+\frac{1}{\mathrm{e}}"),
    ("(2^{2005}+1)/(3*2^{2006})", "1/(3*2^{2006})"), (r"1,2,\ldots,n", r"1,3,5,\ldots,2n-1"), ("4", r"4\sqrt(2)"),
    ("3x-y+13=0", "3x+4y+14=0"), ("(0,1]", "[0,1)"), ("(1,2)", "(2,1)"), ("5", "4, 5, 6"), ("4/5", r"1\frac{4}{5}"), ("seat", "east"),
    ("1", "9^{9^9}"), ("1", "(10^9)!"), ("1", "5^{5^{5^5}}"), ("9^{9^9}", "9^{9^8}"),
    # numbers
    ("3/4", "4/3"), ("12", "1,2"), ("1.5", "1,5"), ("-5", "5"), ("14/5", "1 4/5"), ("0.333", "1/3"), ("5", "five"), (r"2\frac{9}{5}", "19/5"),
    ("1000000000000000000001", "1000000000000000000000"), (r"1 + 10^{-40}\pi", "1"), ("40_9", "36"), ("40_9", "40_8"), ("40_9", "40"),
    (r"\infty", "9^{99}"), (r"\infty", r"-\infty"), ("1/0", "1"), ("0^0", "1"), (r"\sqrt{2}", "1.41421356237309504880168872420969807857"),
    # units
    ("50", "0.5"), ("50%", "5"), ("0.5%", "50"), ("12 cm", "12 m"), ("$5", "5 cents"), ("5%", r"\$5"), ("5", "5 million"), ("12 cm", "12 cm^2"),
    # variables
    ("x", "y"), ("x^2", "x"), ("(-1)^n", "1"), (r"\lfloor x \rfloor", "x"), ("f(2x)", "2f(x)"), (r"\tan x", r"\cot x"), ("x^{12}", "x^{1}2"),
    (r"\Pi", r"\pi"), ("no", "on"), (r"|x|", "x"), ("x_1", "x_2"), ("x+1", "x+1.0000001"),
    # equations
    ("x=5", "y=5"), ("f(x)=5", "x=5"), ("f(x)=2x", "y=2z"), ("f(x)=2x", "g(x)=2x"), ("7°C", "7°F"), ("x^2+y^2=4", "x^2+y^2=5"), ("1+1=3", "2"), ("x<2", r"x \le 2"), ("x<2", "x>2"), ("x + y < 1", "x + y > 1"), ("x \\le 2", "y \\le 2"),
    ("x = 2 = 3", "2"), ("y = 2x", "2y = x"),
    (r"(-\infty, 20\infty)", r"(-\infty, 2)"), (r"x \ge i", r"x \ge 3"),  # ends that have no value, or no order
    # several values
    ("7", "7 or 8"), ("7, 8", "7"), ("7 or 8", "7 or 9"), ("1,2", "(1,2)"), (r"\{5\}", "5"), ("1, 1, 2", "1, 2, 2"), ("(1,2,3)", "(1,2)"),
    ("x=2, y=3", "(3,2)"), ("3:4", "4:3"), ("3:30", "1:10"), ("(1,2), (3,4)", "(1,3), (2,4)"), (r"1 \pm \sqrt{2}", r"1 + \sqrt{2}"),
    # sets of reals
    ("[0,1]", "(0,1)"), (r"(0,9)\cup(9,36)", "(0,36)"), (r"x \le 2", r"[2,\infty)"), ("(0,12.5)", r"0 \le x < 12.5"), ("(a,b)", "(b,a)"),
    # matrices
    (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"), (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "(1,2)"),
    # words
    ("(A)", "(B)"), ("east", "5"), ("5:30 am", "5:30 pm"), ("yes", "no"),
]  # fmt: skip


def same(a: str, b: str) -> bool:
    return difference(parse(a), parse(b)) is None


@pytest.mark.parametrize("a, b", EQUAL)
def test_equal_both_ways(a, b):
    assert same(a, b) and same(b, a)


@pytest.mark.parametrize("a, b", UNEQUAL)
def test_unequal_both_ways(a, b):
    assert not same(a, b) and not same(b, a)


@pytest.mark.parametrize("text", sorted({text for pair in (*EQUAL, *UNEQUAL) for text in pair}))
def test_everything_equals_itself_and_its_spaced_spelling(text):
    assert same(text, text) and same(f" {text} .", f"${text}$" if "$" not in text else text)


@pytest.mark.parametrize(
    "a, b",
    [
        ("9^{9^9}", "9^{9^9} + 1"),
        (r"2004! + \pi", "2004! + e"),
        (r"\sin(9^{9^9})", "0.5"),
        ("1/(x-x)", "2"),
        (r"5^{5^{5^5}}", r"5^{5^{5^5}} \cdot 1"),
        ("10^{10^{10}} - 10^{10^{10}}", "42"),
        ("e^{10^6} - e^{10^6}", "42"),
        ("5^{5^{5^5}}", "5^{5^{5^6}}"),
    ],
)
def test_past_a_bound_it_does_not_guess(a, b):
    for first, second in ((a, b), (b, a)):
        with pytest.raises(CannotTell):
            same(first, second)
    assert not same_answer(a, b) and same_answer(a, a)


def test_the_budget_of_work_is_a_bound():
    calculator = Calculator(work=50)
    with pytest.raises(CannotTell, match="too much work"):
        calculator.same(parse(r"\sqrt{2}\sqrt{3}"), parse(r"\sqrt{6}"))


@pytest.mark.parametrize(
    "answer, reference, why",
    [
        ("3/4", "4/3", "3/4 is not 4/3"), ("[0,1]", "[0,1)", "the interval is closed at 1, the reference is open"),
        ("(0,1)", "[0,1)", "the interval is open at 0, the reference is closed"), ("(1,2,3)", "(1,2)", "3 entries, the reference has 2"),
        ("(1,2)", "(1,3)", "entry 2: 2 is not 3"), ("12 cm", r"12\text{ m}", "cm is not m"), ("7, 8", "7", "2 answers, the reference has one"),
        ("7", "7, 8", "one of 2 answers"), ("1, 2", "1, 3", "2 is not among the reference's answers"), ("1, 2", "1, 2, 3", "3 is missing"),
        ("(1,2)", "5", "a tuple is not a number"), ("40_9", "40", "only the answer states its base, 9"),
        ("x \\le 2", "y \\le 2", "it bounds x, the reference y"), ("x<2", "x + y < 2", "an interval is not a relation"),
    ],
)  # fmt: skip
def test_the_reason_in_words(answer, reference, why):
    assert difference(parse(answer), parse(reference)) == why


@pytest.mark.parametrize(
    "answer, reference, good",
    [
        (r"\pi", "3.14", True), ("3.14159", "3.14", False), ("22/7", "3.14", True), ("3.1", "3.14", False), ("3.15", "3.14", False),
        ("1/3", "0.333", True), ("1/3", "0.3", False), ("0.30000000000000004", "0.3", False), ("4.52", "4.5", False), ("4.504", "4.5", False),
        ("0.333", "1/3", False), ("12.0001", "12", False), ("0.0000672", ".0000672", True), ("0.0000673", ".0000672", False),
        (r"(\pi, 2)", "(3.14, 2)", True), ("(3.14159, 2)", "(3.14, 2)", False), (r"314.159\%", "3.14", False), ("3.14x", "3.14", False),
            ("41.95", "42.0", False), ("0.4996", "0.5", False), ("16.404", "16.4", False), ("82/5", "16.4", True), ("16401/1000", "16.4", False),
            ("2/3", "0.667", True), ("2/3", "0.66", False), (r"\sqrt{2}", "1.414", True),
    ],
)  # fmt: skip
def test_a_decimal_reference_is_agreed_with_to_its_own_digits(answer, reference, good):
    assert (difference(parse(answer), parse(reference), LENIENT) is None) == good


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


@settings(max_examples=50)
@given(fractions, fractions)
def test_a_fraction_equals_itself_in_every_spelling_and_no_other(value, other):
    for a, b in itertools.product(spellings(value), spellings(value)):
        assert same(a, b), (a, b)
    for a, b in itertools.product(spellings(value), spellings(other)):
        assert same(a, b) == (value == other), (a, b)


@st.composite
def calculations(draw, depth: int = 4) -> tuple[str, Fraction | None]:
    """A random calculation in LaTeX, and its exact value by Python's own fractions; None where it divides by zero."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        number = draw(st.integers(0, 12))
        return str(number), Fraction(number)
    (a, left), (b, right) = draw(calculations(depth=depth - 1)), draw(calculations(depth=depth - 1))
    kind = draw(st.sampled_from(["+", "-", r"\cdot", "/", r"\frac", "^", "()", "!"]))
    none = left is None or right is None
    match kind:
        case "+":
            return f"({a} + {b})", None if none else left + right
        case "-":
            return f"({a} - {b})", None if none else left - right
        case r"\cdot":
            return rf"{{{a}}} \cdot {{{b}}}", None if none else left * right
        case "/":
            return f"({a})/({b})", None if none or right == 0 else left / right
        case r"\frac":
            return rf"\frac{{{a}}}{{{b}}}", None if none or right == 0 else left / right
        case "^":
            power = draw(st.integers(-3, 3))
            undefined = left is None or (left == 0 and power <= 0)
            return f"({a})^{{{power}}}", None if undefined else left**power
        case "()":
            return f"({a})({b})", None if none else left * right
    return f"({a} + 4!)", None if left is None else left + 24


@settings(max_examples=200)
@given(calculations(), st.integers(-20, 20))
@example((r"\frac{0}{(1 - 1)}", None), 0)
def test_calculations_agree_with_exact_arithmetic(calculation, other):
    text, value = calculation
    for wrong in {Fraction(other), None if value is None else value + Fraction(1, 10**9)} - {None}:
        assert same(text, f"{wrong.numerator}/{wrong.denominator}") == (value == wrong)
    if value is not None:
        assert same(text, f"{value.numerator}/{value.denominator}") and same(
            rf"\frac{{{value.numerator}}}{{{value.denominator}}}", text
        )


coefficients = st.lists(st.integers(-9, 9), min_size=2, max_size=5)


def polynomial(values: list[int], name: str = "x") -> str:
    return " + ".join(f"({c}){name}^{{{i}}}" for i, c in enumerate(values))


@given(coefficients, coefficients, st.randoms(use_true_random=False))
def test_expanding_and_reordering_keep_the_value_and_a_changed_coefficient_does_not(p, q, rng):
    product = [sum(p[i] * q[k - i] for i in range(len(p)) if 0 <= k - i < len(q)) for k in range(len(p) + len(q) - 1)]
    terms = polynomial(product).split(" + ")
    rng.shuffle(terms)
    factored = f"({polynomial(p)})({polynomial(q)})"
    assert same(factored, " + ".join(terms))
    changed = product.copy()
    changed[rng.randrange(len(changed))] += rng.choice([-1, 1])
    assert not same(factored, polynomial(changed))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9))
def test_rationalising_keeps_the_value(a, b, c):
    """c / (√a + √b) is c (√a - √b) / (a - b), unless a is b."""
    left = rf"\frac{{{c}}}{{\sqrt{{{a}}} + \sqrt{{{b}}}}}"
    if a != b:
        assert same(left, rf"\frac{{{c}(\sqrt{{{a}}} - \sqrt{{{b}}})}}{{{a - b}}}")
        assert not same(left, rf"\frac{{{c}(\sqrt{{{a}}} - \sqrt{{{b}}})}}{{{b - a}}}")
    assert same(rf"{c}\sqrt{{{a}}}", rf"\sqrt{{{c * c * a}}}") and not same(
        rf"{c}\sqrt{{{a}}}", rf"\sqrt{{{c * c * a + 1}}}"
    )


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_order_counts_in_tuples_and_not_in_sets(values, rng):
    shuffled = values.copy()
    rng.shuffle(shuffled)
    tuple_, set_ = (
        (lambda items: f"({', '.join(map(str, items))})"),
        (lambda items: rf"\{{{', '.join(map(str, items))}\}}"),
    )
    assert same(tuple_(values), tuple_(shuffled)) == (values == shuffled)
    assert same(set_(values), set_(shuffled)) and same(", ".join(map(str, values)), ", ".join(map(str, shuffled)))
    assert not same(set_(values), set_([*values, 51]))


@given(
    st.integers(-30, 30),
    st.integers(1, 30),
    st.sampled_from("(["),
    st.sampled_from(")]"),
    st.sampled_from("(["),
    st.sampled_from(")]"),
)
def test_an_intervals_ends_and_brackets_count(low, length, left, right, other_left, other_right):
    text = f"{left}{low}, {low + length}{right}"
    assert same(text, f"{other_left}{low}, {low + length}{other_right}") == ((left, right) == (other_left, other_right))
    assert not same(text, f"{left}{low}, {low + length + 1}{right}")
    signs = {"(": "<", "[": r"\le", ")": "<", "]": r"\le"}
    assert same(text, rf"{low} {signs[left]} x {signs[right]} {low + length}")


@given(st.integers(2, 10**6), st.integers(1, 400))
def test_exact_powers_stop_at_the_bound_and_stay_right(base, power):
    bits = power * base.bit_length()
    assert same(f"{base}^{{{power}}}", f"{base}^{{{power + 1}}}") is False
    if bits < MAX_BITS:
        assert same(f"{base}^{{{power}}} / {base}^{{{power - 1}}}", str(base))


def test_numeric_probing_tells_close_numbers_apart():
    """π and a rational that agrees with it to 45 digits."""
    near = Fraction(3141592653589793238462643383279502884197169399, 10**45)
    assert not Calculator().same(parse(r"\pi"), Number(near))
    assert math.isclose(float(near), math.pi)
