r"""Integrals, limits and endless sums by value, held to mpmath's quadrature, summation and plain evaluation nearby."""

import math
import random
from fractions import Fraction

import pytest
from mpmath import MPContext

from thinkling.verify.math.expressions.arithmetic import MAX_WORK, Calculator
from thinkling.verify.math.expressions.atoms import with_atoms
from thinkling.verify.math.expressions.exact import CannotTell, exact
from thinkling.verify.math.expressions.numeric import Numeric
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.grade import grade, same_answer
from thinkling.verify.math.latex import parse

MP = MPContext()  # not the verifier's
RNG = random.Random(11)


def value(text: str) -> float | None:
    """What the verifier makes of an integral, a limit or a sum without variables; None where it has no value for it."""
    calculator = Calculator()
    tree, left = with_atoms(parse(text), calculator.spend)
    assert calculator.work > MAX_WORK / 3
    return None if left else float(Numeric(lambda units: None, 30, True, None).value(exact(tree, lambda units: None)))


def drawn(low: int = -4, high: int = 4) -> int:
    return RNG.choice([n for n in range(low, high + 1) if n])


def integrands() -> list[tuple[str, object, str, float, float]]:
    """(LaTeX, function, ends in LaTeX, ends) of every form that is integrated, with numbers drawn."""
    found = []
    for _ in range(2):
        a, b, c, n = drawn(), drawn(1, 4), drawn(1, 4), RNG.randint(0, 3)
        low = RNG.choice([(0, "0"), (1, "1"), (-1, "-1"), (0.5, r"\frac12")])
        high = RNG.choice([(2, "2"), (MP.pi, r"\pi"), (MP.e, "e"), (1.5, "1.5")])
        ends = (f"_{{{low[1]}}}^{{{high[1]}}}", low[0], high[0])
        above = (f"_{{1}}^{{{high[1]}}}", 1, high[0])
        inside = (r"_{-\frac13}^{\frac12}", MP.mpf(-1) / 3, MP.mpf(1) / 2)
        forms = [
            (f"({a}x^2+{b})({c}x-1)", lambda x, a=a, b=b, c=c: (a * x * x + b) * (c * x - 1), ends),
            (f"({a}x+{b})^3", lambda x, a=a, b=b: (a * x + b) ** 3, ends),
            (f"x^{n}e^{{{a}x+{b}}}", lambda x, a=a, b=b, n=n: x**n * MP.exp(a * x + b), ends),
            (rf"\frac{{x^{n}+{b}}}{{3^x}}", lambda x, b=b, n=n: (x**n + b) / MP.mpf(3) ** x, ends),
            (rf"x^{n}\sin({a}x+{b})", lambda x, a=a, b=b, n=n: x**n * MP.sin(a * x + b), ends),
            (rf"{b}(x^{n}-1)\cos(\pi x)", lambda x, b=b, n=n: b * (x**n - 1) * MP.cos(MP.pi * x), ends),
            (rf"\cos^2({a}x)-x\sin^2 x", lambda x, a=a: MP.cos(a * x) ** 2 - x * MP.sin(x) ** 2, ends),
            (rf"\sin({a}x)\cos({a}x)", lambda x, a=a: MP.sin(a * x) * MP.cos(a * x), ends),
            (rf"\frac{{{a}}}{{x^{c}}}+\frac1x", lambda x, a=a, c=c: a / MP.mpf(x) ** c + 1 / x, above),
            (rf"(x+{b})\sqrt{{x}}", lambda x, b=b: (x + b) * MP.sqrt(x), above),
            (rf"\frac{{{b}}}{{x\sqrt{{x}}}}", lambda x, b=b: b / (x * MP.sqrt(x)), above),
            (rf"\sqrt{{{c}x+5}}", lambda x, c=c: MP.sqrt(c * x + 5), ends),
            (rf"\frac{{1}}{{\sqrt[3]{{{c}x+5}}}}+({c}x+5)^{{-2}}", lambda x, c=c: (c * x + 5) ** (-MP.mpf(1) / 3) + (c * x + 5) ** -2, ends),
            (rf"(x^{n}+2)\ln({c}x)", lambda x, n=n, c=c: (x**n + 2) * MP.log(c * x), above),
            (rf"\frac{{{a}x+{b}}}{{x^2+{c}}}", lambda x, a=a, b=b, c=c: (a * x + b) / (x * x + c), ends),
            (rf"\frac{{x^3+{b}}}{{x^2+x+{c}}}", lambda x, b=b, c=c: (x**3 + b) / (x * x + x + c), ends),
            (rf"\frac{{{a}x+{b}}}{{x^2+5x+6}}", lambda x, a=a, b=b: (a * x + b) / (x * x + 5 * x + 6), ends),
            (rf"\frac{{{a}}}{{x^2-16}}+\frac{{x}}{{(x+2)^2}}", lambda x, a=a: a / (x * x - 16) + x / (x + 2) ** 2, ends),
            (rf"{b}\sqrt{{{c}-x^2}}-\frac{{1}}{{\sqrt{{{c}-x^2}}}}", lambda x, b=b, c=c: b * MP.sqrt(c - x * x) - 1 / MP.sqrt(c - x * x), inside),
            (rf"\sinh({a}x)+x\cosh x", lambda x, a=a: MP.sinh(a * x) + x * MP.cosh(x), ends),
        ]  # fmt: skip
        found += [(text, function, *where) for text, function, where in forms]
    return found


INTEGRANDS = integrands()


@pytest.mark.parametrize(
    "text, function, ends, low, high", INTEGRANDS, ids=[f"{one[2]} {one[0]}" for one in INTEGRANDS]
)
def test_an_integral_is_what_quadrature_says(text: str, function: object, ends: str, low: float, high: float) -> None:
    found = value(rf"\int{ends} {text}\,dx")
    wanted = MP.quad(function, [low, (low + high) / 2, high])
    assert found == pytest.approx(float(wanted), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "text, function, low, high",
    [
        (r"\int_0^\infty x^3e^{-2x}dx", lambda x: x**3 * MP.exp(-2 * x), 0, MP.inf),
        (r"\int_{-\infty}^0 (x+1)2^x dx", lambda x: (x + 1) * MP.mpf(2) ** x, -MP.inf, 0),
        (r"\int_{-\infty}^{\infty}3e^{-2x^2}dx", lambda x: 3 * MP.exp(-2 * x * x), -MP.inf, MP.inf),
        (r"\int_{\infty}^{0}e^{-x^2}dx", lambda x: -MP.exp(-x * x), 0, MP.inf),
        (r"\int_1^\infty\frac{1}{x^2+x}dx", lambda x: 1 / (x * x + x), 1, MP.inf),
        (r"\int_{-\infty}^{\infty}\frac{2}{x^2+2x+5}dx", lambda x: 2 / (x * x + 2 * x + 5), -MP.inf, MP.inf),
        (r"\int_2^\infty\frac{dx}{x\sqrt x}", lambda x: x ** MP.mpf("-1.5"), 2, MP.inf),
        (r"\int_{-\infty}^{-1}\frac{dx}{x^4}", lambda x: x**-4, -MP.inf, -1),
        (r"\int_0^1\frac{dx}{\sqrt x}", lambda x: 1 / MP.sqrt(x), 0, 1),
        (r"\int_0^1 x\ln x\,dx", lambda x: x * MP.log(x), 0, 1),
        (r"\int_{-2}^2\sqrt{4-x^2}dx", lambda x: MP.sqrt(4 - x * x), -2, 2),
        (r"\int_3^1\frac{1}{x}dx", lambda x: -1 / x, 1, 3),
        (r"\int_{-3}^{-1}\frac{1}{x}dx", lambda x: 1 / x, -3, -1),
        (r"\int_0^1\int_0^{x} xy\,dy\,dx", lambda x: x**3 / 2, 0, 1),
        (r"\int_0^2\frac{x\,dx}{3}", lambda x: x / 3, 0, 2),
    ],
)  # fmt: skip
def test_an_integral_with_an_end_at_infinity_or_on_the_edge(
    text: str, function: object, low: float, high: float
) -> None:
    assert value(text) == pytest.approx(float(MP.quad(function, [low, high])), rel=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        r"\int_{-1}^1\frac1x dx", r"\int_{-1}^2\frac{1}{x^2}dx", r"\int_0^2\frac{dx}{x-1}", r"\int_0^2\frac{dx}{(x-1)^2}",
        r"\int_0^3\frac{x+5}{x^2-4}dx", r"\int_1^\infty\frac{dx}{x}", r"\int_0^\infty e^{x}dx", r"\int_0^\infty\sin x\,dx",
        r"\int_{-1}^1\sqrt x\,dx", r"\int_0^3\sqrt{4-x^2}dx", r"\int_{-1}^1\ln x\,dx", r"\int_0^1\frac1x dx", r"\int_0^1\frac{dx}{x^3}",
        r"\int_{-1}^1 x^{-2/3}dx", r"\int_{-1}^1\sqrt{x^2}dx", r"\int_1^2\frac{1}{x-x}dx", r"\int_1^2(x-x)^{-2}dx", r"\sum_{k=1}^\infty\frac{1}{(k-k)2^k}", r"\int_{-1}^1(x^4)^{1/4}x\,dx", r"\int_{-1}^2\frac{x}{\sqrt{x^2}}dx", r"\int_0^\infty x\,dx", r"\int_0^\infty e^{x^2}dx", r"\int_0^1 e^{-x^2}dx", r"\int_0^\infty \frac{x}{x^2+1}dx",
        r"\int_0^1 f(x)dx", r"\int_1^2\frac{\sin x}{x}dx", r"\int_{-5}^5\frac{x}{(x+2)^2}dx",
        r"\lim_{x\to0}\frac{|x|}{x}", r"\lim_{x\to0}\frac1x", r"\lim_{x\to0}\sin\frac1x", r"\lim_{x\to2}\lfloor x\rfloor", r"\lim_{x\to\infty}\sin x",
        r"\lim_{x\to0}\sqrt{x}", r"\lim_{x\to-1}\sqrt{x}", r"\lim_{x\to\frac{\pi}{2}}\tan x", r"\lim_{x\to0}\ln x", r"\lim_{n\to\infty}(-1)^n",
        r"\lim_{x\to0}\frac{\sqrt{x^2}}{x}", r"\lim_{x\to0}\frac{\sqrt{1-\cos x}}{x}", r"\lim_{x\to0} e^{1/x}",
        r"\sum_{k=1}^\infty\frac1k", r"\sum_{k=1}^\infty1", r"\sum_{k=0}^\infty\frac{1}{k^2}", r"\sum_{k=1}^\infty\frac{k}{k+1}", r"\sum_{k=1}^\infty k",
        r"\sum_{k=1}^\infty(-1)^k", r"\sum_{k=1}^\infty\frac{1}{k^3}", r"\sum_{k=0}^\infty\frac{1}{k-3}", r"\sum_{k=1}^\infty\frac{2^k}{k}",
        r"\sum_{k=0}^\infty\frac{1}{(k-1)!}", r"\sum_{k=1}^\infty\frac{2k+1}{k^2+k}", r"\sum_{k=0}^\infty k!", r"\sum_{k=1}^\infty\frac{1}{k(2k+1)}",
        r"\sum_{k=1}^\infty\frac{(-1)^k k}{k+1}",
    ],
)  # fmt: skip
def test_what_diverges_or_is_not_known_has_no_value(text: str) -> None:
    assert value(text) is None


LIMITS = [
    (r"\frac{x^2-4}{x-2}", "2", "4"), (r"\frac{x^{9}-1}{x-1}", "1", "9"), (r"\frac{\sin 3x}{\tan 5x}", "0", "3/5"), (r"\frac{1-\cos 2x}{x^2}", "0", "2"),
    (r"\frac{\tan x-\sin x}{x^3}", "0", "1/2"), (r"\frac{e^{3x}-1}{x}", "0", "3"), (r"\frac{\ln(1+2x)}{x}", "0", "2"), (r"\frac{\sqrt{4+x}-2}{x}", "0", "1/4"),
    (r"\frac{\sqrt[3]{x}-2}{x-8}", "8", "1/12"), (r"\frac{x-\sin x}{x^3}", "0", "1/6"), (r"\frac{\arctan x-x}{x^3}", "0", "-1/3"), (r"(1+2x)^{1/x}", "0", "e^2"),
    (r"(1+\frac5x)^{x}", r"\infty", "e^5"), (r"3(1-\frac1x)^{2x}", r"\infty", "3e^{-2}"), (r"\sqrt{x^2+4x}-x", r"\infty", "2"), (r"\sqrt{x^2+4x}+x", r"-\infty", "-2"),
    (r"x\sin\frac2x", r"\infty", "2"), (r"e^{-x}+\frac{3x+1}{x}", r"\infty", "3"), (r"\arctan x", r"-\infty", r"-\frac{\pi}{2}"), (r"\frac{x^3}{x^2+1}", r"\infty", r"\infty"),
    (r"\frac{1}{(x-1)^2}", "1", r"\infty"), (r"\frac1x", "0^-", r"-\infty"), (r"\frac{|x|}{x}", "0^{+}", "1"), (r"\frac{|x|}{x}", "0^-", "-1"), (r"\sqrt{x}", "9", "3"),
    (r"x\cos x", r"\pi", r"-\pi"), (r"\frac{\sinh x}{x}", "0", "1"), (r"x^2+\sin x", "a", r"a^2+\sin a"), (r"\frac{1-x}{1-|x|}", "1", "1"), (r"\sec x", "0", "1"),
]  # fmt: skip


@pytest.mark.parametrize("body, to, wanted", LIMITS)
def test_limits(body: str, to: str, wanted: str) -> None:
    text = rf"\lim_{{x\to {to}}}({body})"
    assert same_answer(text, wanted) and same_answer(wanted, text)
    assert not same_answer(text, f"{wanted}+1") and not same_answer(text, f"-({wanted})-7")


@pytest.mark.parametrize(
    "term, start, wanted",
    [
        (r"\frac{k^2}{3^k}", 1, "3/2"), (r"\frac{(k+1)2^k}{5^{k+1}}", 0, r"\frac59"), (r"\frac{(-1)^k}{2^k}", 0, "2/3"), (r"\frac{1}{k!}", 0, "e"),
        (r"\frac{k^2 2^k}{k!}", 1, "6e^2"), (r"\frac{(-1)^k}{(k+1)!}", 0, "1-1/e"), (r"\frac{3}{k!\,2^k}", 1, r"3\sqrt e-3"), (r"\frac{1}{k(k+2)}", 1, "3/4"),
        (r"\frac{1}{k^2-1}", 2, "3/4"), (r"\frac{1}{(2k-1)(2k+1)}", 1, "1/2"), (r"\frac{1}{k^2}", 1, r"\frac{\pi^2}{6}"), (r"\frac{1}{k^2}", 3, r"\frac{\pi^2}{6}-\frac54"),
        (r"\frac{1}{(2k+1)^2}", 0, r"\frac{\pi^2}{8}"), (r"\frac{1}{k^2(k+1)^2}", 1, r"\frac{\pi^2}{3}-3"), (r"\frac{(-1)^{k}}{k}", 1, r"-\ln2"), (r"\frac{(-1)^k}{2k+1}", 0, r"\frac\pi4"),
        (r"\frac{(-1)^{k+1}}{k^4}", 1, r"\frac{7\pi^4}{720}"), (r"\frac{1}{k3^k}", 1, r"\ln\frac32"), (r"k^{-6}", 1, r"\frac{\pi^6}{945}"),
        (r"(\frac{1}{k}-\frac{1}{k+1})", 1, "1"), (r"\frac{2k+1}{k^2(k+1)^2}", 1, "1"), (r"\frac{(-1)^k}{(k+2)3^k}", 0, r"3-9\ln\frac43"), (r"\frac{(-1)^k}{2k-3}", 3, r"\frac\pi4-1"),
    ],
)  # fmt: skip
def test_endless_sums(term: str, start: int, wanted: str) -> None:
    text = rf"\sum_{{k={start}}}^{{\infty}} {term}"
    assert same_answer(text, wanted) and same_answer(wanted, text)
    assert not same_answer(text, f"{wanted}+1")
    assert not same_answer(rf"\sum_{{k={start + 1}}}^{{\infty}} {term}", wanted)


def test_endless_sums_are_what_summation_says() -> None:
    """Of terms with numbers drawn: P(k) r^k, P(k) r^k / (k + s)!, and quotients of polynomials."""
    for _ in range(6):
        a, b, r, s, start = drawn(), drawn(1, 4), drawn(2, 7), RNG.randint(0, 3), RNG.randint(0, 4)
        sign = RNG.choice([1, -1])
        small, large, poles = Fraction(sign, r), sign * r, (r, r + s + 1)
        found = value(rf"\sum_{{k={start}}}^\infty ({a}k^2+{b})(\frac{{{sign}}}{{{r}}})^k")
        assert found == pytest.approx(float(sum((a * k * k + b) * small**k for k in range(start, 99))), rel=1e-8)
        found = value(rf"\sum_{{k={start}}}^\infty\frac{{({a}k+{b})({large})^k}}{{(k+{s})!}}")
        terms = (Fraction((a * k + b) * large**k, math.factorial(k + s)) for k in range(start, 60))
        assert found == pytest.approx(float(sum(terms)), rel=1e-8, abs=1e-9)
        found = value(rf"\sum_{{k={start}}}^\infty\frac{{{a}}}{{(k+{poles[0]})(k+{poles[1]})}}")
        near = sum(a / ((k + poles[0]) * (k + poles[1])) for k in range(start, 20_000))
        assert found == pytest.approx(near + a / 20_000, rel=1e-3)


@pytest.mark.parametrize(
    "answer, reference",
    [
        (r"\int_0^a x^2\,dx", r"\frac{a^3}{3}"), (r"\int_0^1 e^{kx}dx", r"\frac{e^k-1}{k}"), (r"\int_0^{t}\cos(\omega s)ds", r"\frac{\sin(\omega t)}{\omega}"),
        (r"\int_0^1 cx^2\,dx", r"\frac c3"), (r"\int_0^5 0\frac{x^2+1}{x+3}\,dx", "0"), (r"\int_0^5 (x-x)\,dx", "0"), (r"2\pi\int_0^1 x^3dx", r"\frac{\pi}{2}"), (r"\lim_{x\to0}\frac{\sin x}{x}+\int_0^1dx", "2"),
        (r"\int_0^1 x\,dx, \int_0^2 x\,dx", "2, 0.5"), (r"\left(\lim_{x\to1}x, 3\right)", "(1,3)"),
    ],
)  # fmt: skip
def test_with_other_names_and_inside_other_answers(answer: str, reference: str) -> None:
    assert grade(rf"\boxed{{{answer}}}", reference, "strict").correct
    assert not grade(rf"\boxed{{{answer.replace('1', '4')}}}", f"{reference}+1", "strict").correct


def test_a_sum_that_does_not_begin_is_not_read() -> None:
    assert grade(r"\boxed{\sum^1\frac{x}{3}}", "1").reason.endswith("a sum that ends and does not begin")


def test_a_dear_one_is_past_the_budget_and_not_wrong() -> None:
    inside = "+".join(rf"x^{n}\sin({n}x)e^{{x}}" for n in range(1, 30))
    assert grade(rf"\boxed{{\lim_{{x\to0}}\frac{{{inside}}}{{x}}}}", "1").status == "unparsed"
    with pytest.raises(CannotTell):
        with_atoms(parse(r"\lim_{x\to0}\tan(\sin(\tan(\sin(\tan(\sin(x))))))/x"), Calculator(500).spend)
    assert show(parse(r"\lim_{x\to0^+}x")) == "lim+(•1, 0, •1)"
