"""The parser: what each spelling is read as, what it refuses, and its bounds."""

from fractions import Fraction as F

import pytest

from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import (
    Apply,
    Choice,
    Interval,
    Listing,
    Matrix,
    Number,
    Numeral,
    Quantity,
    Ratio,
    Relation,
    Set,
    SetOperation,
    Solution,
    Symbol,
    Tuple,
    Unread,
    Words,
)  # fmt: skip
from thinkling.verify.math.latex import MAX_CHARACTERS, MAX_NODES, parse


def n(value: int | F) -> Number:
    return Number(F(value))


x, y = Symbol("x"), Symbol("y")


@pytest.mark.parametrize(
    "text, value",
    [
        ("12", 12), ("-3", -3), ("−3", -3), ("- 3", -3), ("+5", 5), ("007", 7), ("13.", 13), ("$12$", 12), (r"\(12\)", 12),
        ("3.50", F(7, 2)), (".5", F(1, 2)), ("-0.25", F(-1, 4)), ("1,234", 1234), ("1{,}234", 1234), (r"1\,234", 1234),
        (r"10,\!080", 10080), ("1,234,567.5", F(2469135, 2)), (r"11,\! 111,\! 111,\! 100", 11111111100),
        ("1e3", 1000), ("1.5E-3", F(3, 2000)), (r"0.\overline{3}", F(1, 3)), (r"0.1\overline{6}", F(1, 6)),
        (r"2.\bar{45}", F(27, 11)), ("0.333...", F(1, 3)), (r"0.1666\ldots", F(1, 6)), ("0.1212...", F(4, 33)),
        (r"1\frac{4}{5}", F(9, 5)), (r"137 \frac{1}{2}", F(275, 2)), ("1 4/5", F(9, 5)), (r"-1\frac12", F(-3, 2)),
        ("1½", F(3, 2)), (r"\text{13}", 13), (r"\textbf{ 13 }", 13), (r"\left(12\right)", 12), ("[5]", 5), ("((7))", 7),
        (r"\boxed{5}", 5),
    ],
)  # fmt: skip
def test_numbers(text, value):
    assert parse(text) == n(value)


def test_a_decimal_remembers_its_digits():
    assert [parse(text).decimals for text in ("3.50", "12", ".125", "-0.2", "1e3")] == [2, None, 3, 1, None]


@pytest.mark.parametrize(
    "text, shown",
    [
        (r"\frac12", "1/2"), (r"\frac1{2}", "1/2"), (r"\frac{1}2", "1/2"), (r"\dfrac 34", "3/4"), ("1/2", "1/2"),
        (r"\frac9{19}", "9/19"), (r"\frac\pi2", "π/2"), ("1/2/3", "1/2*3"), ("6/2*3", "6*3/2"), (r"6 \div 2", "6/2"),
        ("1/2x", "1*x/2"), ("2^3^2", "2^3^2"), ("-2^2", "-2^2"), ("(-2)^2", "-2^2"), ("2**3", "2^3"), ("x²", "x^2"),
        ("x^{-1}", "x^-1"), ("x^2y", "x^2*y"), ("2xy", "2*x*y"), (r"2\frac{9}{5}", "2*9/5"), (r"\sqrt2", "sqrt(2)"),
        (r"\sqrt[3]{2}", "root(2, 3)"), ("√5", "sqrt(5)"), ("sqrt(5)", "sqrt(5)"), ("5!", "5!"), ("5!!", "5!!"),
        (r"4\sqrt(2)", "4*sqrt(2)"), (r"\binom{5}{2}", "binom(5, 2)"), (r"{5 \choose 2}", "binom(5, 2)"),
        ("|x-1|", "abs((x - 1))"), (r"\lfloor 2.5 \rfloor", "floor(2.5)"), (r"\lceil x \rceil", "ceil(x)"),
        (r"\log_2 8", "log(8, 2)"), (r"\log_{10}(x)", "log(x, 10)"), ("log2(8)", "log(8, 2)"), (r"\ln x", "ln(x)"),
        (r"\sin 2x", "sin(2*x)"), (r"\sin x\cos x", "sin(x)*cos(x)"), (r"\sin^2 x", "sin(x)^2"), ("sin(x)^2", "sin(x)^2"),
        (r"\sin^{-1} x", "arcsin(x)"), (r"\tan 45^\circ", "tan(45°)"), (r"e^{i\pi}", "e^i*π"), (r"1-\frac1{\mathrm{e}}",
        "(1 - 1/e)"), ("x_1 + x_{12}", "(x_1 + x_12)"), (r"\alpha β", "\\alpha*\\beta"), ("f(2x)", "f(2*x)"),
        ("p - q", "(p - q)"), (r"1.5 \times 10^{-3}", "1.5*10^-3"), (r"\gcd(12, 18)", "gcd(12, 18)"), ("ab + 1", "(a*b + 1)"),
        (r"\max\{1,2\}", "max(1, 2)"), (r"\frac{n!}{(n-k)!}", "n!/(n - k)!"), ("2(x+1)(x-1)", "2*(x + 1)*(x - 1)"),
    ],
)  # fmt: skip
def test_expressions(text, shown):
    assert show(parse(text)) == shown


@pytest.mark.parametrize(
    "text, value, unit",
    [
        (r"12 \text{ cm}", 12, "cm"), ("12 cm", 12, "cm"), (r"15\mbox{ cm}^2", 15, "cm^2"), (r"15\,\text{cm}^{2}", 15, "cm^2"),
        ("15 cm²", 15, "cm^2"), ("15 square cm", 15, "cm^2"), (r"5\text{ m}", 5, "m"), (r"5 \text{m/s}", 5, "m per s"),
        ("60 miles per hour.", 60, "mile per hour"), ("18 eggs", 18, "egg"), (r"106^\circ", 106, "°"), ("106°", 106, "°"),
        (r"106^{\circ}", 106, "°"), ("106 degrees", 106, "°"), ("50%", 50, "%"), (r"$50 \%$", 50, "%"), ("50 percent", 50, "%"),
        (r"\$12", 12, "$"), ("$12", 12, "$"), (r"-\$1,234.50", F(-2469, 2), "$"), (r"$\$18.90$", F(189, 10), "$"),
        ("12 dollars", 12, "$"), (r"5.4 \text{ cents}", F(27, 5), "cent"), (r"\$32,\!348", 32348, "$"),
        (r"864 \mbox{ inches}^2", 864, "inch^2"),
    ],
)  # fmt: skip
def test_units(text, value, unit):
    assert parse(text) == Quantity(n(value), unit)


MINUS_INFINITY, INFINITY = Apply("neg", (Symbol("∞"),)), Symbol("∞")


@pytest.mark.parametrize(
    "text, tree",
    [
        ("(1, 2)", Tuple((n(1), n(2)))), ("(1,234)", Tuple((n(1), n(234)))), ("[1, 2]", Interval(n(1), n(2), True, True)),
        ("(1, 2]", Interval(n(1), n(2), False, True)), (r"\left[1, \infty\right)", Interval(n(1), INFINITY, True, False)),
        ("[1,2,3]", Tuple((n(1), n(2), n(3)))), (r"\{1, 2\}", Set((n(1), n(2)))), ("{1, 2}", Set((n(1), n(2)))),
        (r"\{\}", Set(())), (r"\emptyset", Set(())), ("empty set", Set(())), ("3, 5", Listing((n(3), n(5)))),
        ("7 or 8", Listing((n(7), n(8)))), (r"3, 5 \text{ and } 7", Listing((n(3), n(5), n(7)))),
        ("3, 5, and 7", Listing((n(3), n(5), n(7)))), ("1, 234", Listing((n(1), n(234)))),
        (r"x \le 2", Solution("x", Interval(MINUS_INFINITY, n(2), False, True))),
        ("2 < x", Solution("x", Interval(n(2), INFINITY, False, False))),
        ("5 > x >= 1", Solution("x", Interval(n(1), n(5), True, False))),
        (r"\{x \mid x > 2\}", Interval(n(2), INFINITY, False, False)),
        (r"\{x \in \mathbb{R} : x > 2\}", Interval(n(2), INFINITY, False, False)),
        (r"x \in [1, 2]", Solution("x", Interval(n(1), n(2), True, True))),
        ("x < 1 or x > 2", Solution("x", SetOperation("∪", (Interval(MINUS_INFINITY, n(1), False, False),
                                                             Interval(n(2), INFINITY, False, False))))),
        ("x = 5", Relation((x, n(5)), ("=",))), ("x + y < 3", Relation((Apply("+", (x, y)), n(3)), ("<",))),
        ("3:4", Ratio((n(3), n(4)))), ("40_9", Numeral("40", 9)), ("4210_{5}", Numeral("4210", 5)), (r"52_{\text{8}}", Numeral("52", 8)), (r"52_{\text{eight}}", Numeral("52", 8)),
        ("1A_{16}", Numeral("1A", 16)), ("(101)_2", Numeral("101", 2)), ("5:30 p.m.", Words("5:30 pm")),
        (r"\text{(B)}", Choice("B")), ("(B)", Choice("B")), (r"\textbf{C}", Choice("C")), ("B", Symbol("B")),
        (r"\text{ east}", Words("east")), ("no solution", Set(())), ("not enough", Words("not enough")), ("seat", Words("seat")),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", Matrix(((n(1), n(2)), (n(3), n(4))))),
        (r"\left[\begin{array}{c} 1 \\ 2 \\ \end{array}\right]", Matrix(((n(1),), (n(2),)))),
    ],
)  # fmt: skip
def test_kinds_of_answers(text, tree):
    assert parse(text) == tree


def test_plus_minus_is_two_answers():
    assert show(parse(r"1 \pm \sqrt{19}")) == "(1 + sqrt(19)), (1 - sqrt(19))"
    assert show(parse(r"\{\pm 2, 3\}")) == "{2, -2, 3}"
    assert show(parse(r"(\pm 3, \mp 4)")) == "(3, -4), (-3, 4)"
    assert show(parse(r"(\pm 3, \pm 4)")) == "(±*3, ±*4)"  # two points or four? Left open.


@pytest.mark.parametrize(
    "text, why",
    [
        ("(1", "it ends too early"), ("1)", "unexpected ')'"), (r"\frac{1}", "it ends too early"), (r"\frac123", "directly after"),
        ("2 3", "directly after"), ("x2", "directly after"), ("1 + ", "it ends too early"), ("--", "unexpected '-'"),
        (r"\foo{2}", r"unknown command \foo"), ("1 + [2, 3]", "an interval inside a calculation"), ("0.314...", "goes on"),
        ("5!!!", "directly after"), ("50%%", "directly after"), ("12_2", "no numeral in base 2"), ("5_1", "no numeral in base 1"),
        (r"\begin{cases} 1 \end{cases}", "environment"), (r"\begin{pmatrix} 1 & 2 \\ 3 \end{pmatrix}", "differ in length"),
        ("__import__('os').getpid()", "the word 'import'"), ("(1, 2, 3]", "two ends"), ("☃", "unexpected"), ("1e5000", "10^1000"),
        ("(" * 100 + "1" + ")" * 100, "nested more than"), ("9" * 1001, "1,000 digits"), ("-x" * 300, "more than 400"), ("x+" * 700 + "x", "more than 800"),
    ],
)  # fmt: skip
def test_what_is_not_mathematics_says_why(text, why):
    tree = parse(text)
    assert isinstance(tree, Unread) and why in tree.why


@pytest.mark.parametrize("text", ["", " ", ".", "$$", r"\text{ }", r"\,"])
def test_nothing_to_read(text):
    assert parse(text) == Unread("", "empty")


def test_bounds():
    assert parse("x" * (MAX_CHARACTERS + 1)).why == "2,001 characters long, past 2,000"
    assert isinstance(parse("+".join("x" * (MAX_NODES - 1))), Apply)
    assert isinstance(parse("(" * 20 + "1" + ")" * 20), Number)
    for text in (
        "-" * 900 + "1",
        "2^" * 500 + "2",
        r"\sqrt" * 300 + "2",
        "|" * 500,
        r"\frac" * 300,
        "(0,1)" + r"\cup(0,1)" * 200,
    ):
        assert isinstance(parse(text), Unread)


def test_words_are_never_products_of_letters():
    for word in ("seat", "east", "no", "on", "Navin", "ellipse", "x is 5", "two lines"):
        assert isinstance(parse(word), Words), word
    for product in ("xy", "2ab", "abc + 1", "kx", "(a)(bc)"):
        assert isinstance(parse(product), Apply), product
