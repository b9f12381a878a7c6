r"""Right answers in unusual dress, kind by kind, and beside each kind the near misses that are wrong.

Right ones are judged by lenient rules, and by strict ones must not be called something that lenient ones deny; wrong
ones must not pass by either set. Each pair is (answer, reference); what has no box stands in UNBOXED.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinkling.verify.math.grade import grade, same_answer

RIGHT = {
    "set-builders": [
        (r"\{x \mid x^2=9\}", r"\{-3,3\}"), (r"\{x\in\mathbb{R} : x^2-x=0\}", r"\{0,1\}"), (r"\{x: x^2<9\}", "(-3,3)"),
        (r"\{x\in\mathbb{R} : |x|>2\}", r"(-\infty,-2)\cup(2,\infty)"), (r"\{x \mid x<0 \text{ or } x>1\}", r"(-\infty,0)\cup(1,\infty)"),
        (r"\{x\in\mathbb{Z} : x(2x-1)=0\}", r"\{0\}"), (r"\{x\in\mathbb{R} : x^2=-1\}", r"\emptyset"), (r"\{x: x>1, x<5\}", "(1,5)"),
    ],
    "signs of multiplication": [("2 x 7", "14"), ("2 x 7", r"2\times7"), ("7x2", r"2\times7"), ("2 by 7", r"2\times7"), ("2 x 7 = 14", "14")],
    "columns and points": [
        (r"\begin{pmatrix}2\\5\end{pmatrix}", "(2,5)"), ("(2,5)", r"\begin{bmatrix}2\\5\end{bmatrix}"), ("(2,5)^T", r"\begin{pmatrix}2\\5\end{pmatrix}"),
        (r"2\hat{i}+5\hat{j}", r"\begin{pmatrix}2\\5\end{pmatrix}"), ("P(2,5)", "(2,5)"),
    ],
    "rows and fractions in TeX": [
        (r"\begin{bmatrix}1&2\\[4pt]5&6\end{bmatrix}", r"\begin{pmatrix}1&2\\5&6\end{pmatrix}"), (r"{5 \over 7}", r"\frac57"), (r"5\over 7", r"\frac57"),
        (r"\nicefrac{5}{7}", r"\frac57"), (r"7\choose 2", "21"), (r"{}^3\sqrt{5}", r"\sqrt[3]{5}"), ("∛5", r"\sqrt[3]{5}"),
        (r"0.1\dot{3}", r"\frac{2}{15}"), (r"0.\dot1\dot2", r"\frac{4}{33}"), ("4.(6)", r"\frac{14}{3}"), ("(-oo,2)", r"(-\infty,2)"),
        (r"5!=120", "120"), ("_6P_2", "30"), ("C(n+2,2)", r"\binom{n+2}{2}"), ("x &gt; 8", "x>8"), ("3+i5", "3+5i"), ("7C2", "21"), (r"\overrightarrow{PQ}", r"\vec{PQ}"), ("=> 8", "8"), (r"\therefore x=8", "8"), (r"x^3+\text{constant}", "x^3+C"),
        (r"x = 3 \quad y = 8", "x=3, y=8"), (r"\text{\$}7.50", r"\$7.50"), (r"9{:}40\text{ a.m.}", "9:40 am"),
    ],
    "bases": [
        ("1101 base 2", "1101_2"), (r"1101\text{ (base two)}", "1101_2"), ("1101_{(2)}", "1101_2"), (r"\text{3F}_{16}", "3F_{16}"), ("17_{10}", "17"),
    ],
    "letters": [("AD", "A,D"), ("A, D", "AD"), ("A & D", "A,D"), ("d)", "D"), ("The answer is D", "D")],
    "said twice": [
        (r"\frac15 \text{ (or } 20\%)", r"\frac15"), (r"\frac15 (20\%)", r"\frac15"), (r"\frac17 (\approx 0.143)", r"\frac17"), ("7 & 9", "7,9"),
    ],
    "words": [
        ("no solutions exist", r"\text{no solution}"), (r"\text{all real } x", r"\mathbb{R}"), ("Does not exist", r"\text{DNE}"),
        ("seventy degrees", r"70^\circ"), ("three and a half hours", "3 hours 30 minutes"), ("4 meters per second squared", r"4\text{ m/s}^2"), ("30 ℃", r"30^\circ\text{C}"), ("an ellipse", r"\text{ellipse}"), ("Ana and Ben", r"\text{Ana, Ben}"), (r"\text{positive reals}", r"(0,\infty)"), ("20 sec", r"20\text{ s}"),
        (r"\text{all real numbers except } 3", r"x\ne3"), (r"\text{all reals except } 3 \text{ and } 4", r"x\ne3, 4"), (r"\text{all nonzero real numbers}", r"\mathbb{R}^*"), (r"\text{all integers}", r"\mathbb{Z}"),
    ],
    "equations": [
        ("x/y=3", r"y=\frac x3"), ("5x=3y", "x:y=3:5"), (r"\frac{PV}{T}=nR", "PV=nRT"), ("x=9k+4", r"4\pmod9"),
        (r"\frac{\pi}{6}+n\pi, n \text{ is an integer}", r"x=\frac{\pi}{6}+k\pi, k\in\mathbb{Z}"), ("y=0 or x=2", "x=2 or y=0"), ("m+n=5 or m+n=7", "5, 7"), (r"a_n=\frac{5}{2}2^n", r"5\cdot2^{n-1}"), (r"x\ne\pm3", r"\mathbb{R}\setminus\{-3,3\}"), ("x_1=2 or x_2=7", "2,7"), (r"\log_27", r"\frac{\ln7}{\ln2}"), (r"x<-4 \cup x>4", "|x|>4"), ("CD\\parallel AE", "AE\\parallel CD"), (r"B\cup A", r"A\cup B"), (r"B^c\cap A", r"A\cap B^c"),
    ],
    "complex coefficients": [
        (r"(2+i)x=3", r"x=\frac{3}{2+i}"), ("z^2-(1+i)z+i=0", "z^2-z-iz+i=0"), ("iz^2=1", "z^2=-i"), ("iz=w", "z=-iw"),
    ],
    "bounds in braces": [(r"\{x>1, x<5\}", "(1,5)"), (r"\{x\ge4\}", r"[4,\infty)")],
    "not another": [("18, not 20", "18"), ("2/3 and not 3/2", r"\frac23"), (r"18\text{, not }20", "18")],
    "formulas of chemistry": [
        (r"2H_2+O_2\to 2H_2O", r"2H_2 + O_2 \rightarrow 2H_2O"), ("H₂O", "H_2O"), (r"\text{NaCl}", "NaCl"), (r"\text{NO}", "No"), ("THE ROOT", r"\text{the root}"),
    ],
    "units over brackets": [
        (r"4.2\,\mathrm{J/(g\cdot K)}", r"4.2\,\mathrm{J\,g^{-1}K^{-1}}"), (r"4.2\text{ J/(kg K)}", r"4.2\ \frac{\text{J}}{\text{kg}\cdot\text{K}}"),
        ("5 US dollars", r"\$5"), (r"3\text{ N}\cdot\text{m}^2/\text{kg}^2", r"3\text{ N m}^2\text{/kg}^2"),
    ],
    "said in words, too": [("12 (twelve)", "12"), (r"\text{twelve (12)}", "12")],
    "logic": [(r"p\lor q", r"p \lor q"), (r"p\land q", r"p\wedge q"), (r"x<-4 \lor x>4", "|x|>4")],
    "bold vectors": [
        (r"\mathbf{u}\times\mathbf{v}", r"\vec{u}\times\vec{v}"), (r"\mathbf{v}\times\mathbf{u}", r"-\mathbf{u}\times\mathbf{v}"), (r"2\times\mathbf{u}", r"2\mathbf{u}"),
    ],
    "roots in angles": [(r"\arctan2\sqrt2", r"\arccos\frac13"), (r"\cos 2\sqrt3", r"\cos(2\sqrt3)"), (r"\sqrt2\arctan2", r"\arctan(2)\sqrt2")],
    "constants exchanged": [
        ("c_1e^{2x}+c_2e^{3x}", "c_1e^{3x}+c_2e^{2x}"), (r"y=C_1\cos x+C_2\sin x", r"y=C_1\sin x+C_2\cos x"), ("C_1+C_2x+C_3x^2", "C_3+C_1x+C_2x^2"),
    ],
    "labels": [
        (r"\text{Ann has }5", r"\text{Ann has }5.0"), (r"\text{The total is }5", r"\text{Total: }5"), (r"x \text{ is } 5", "5"), (r"\text{Max: }5", r"\text{maximum is }5"),
        (r"\begin{aligned}a+b&=2+3\\a+b&=5\end{aligned}", "5"),
    ],
    "one root": [("x=3", r"\{3\}"), ("2x=6", r"\{3\}")],
    "digits below the line": [("x₁=3, x₂=4", "x_1=3, x_2=4"), ("log₂8", "3"), ("101₂", "101_2")],
    "dots": [(r"1+3+\dots+n", r"1 + 3 + \ldots + n"), (r"1+3+...+n", r"1+3+\cdots+n"), (r"2\cdot4\cdots n", r"2 \cdot 4 \dotsm n")],
}  # fmt: skip
WRONG = {
    "complex coefficients": [
        ("z^2-(1-i)z+i=0", "z^2-z-iz+i=0"), ("iz^2=1", "z^2=i"), ("ix<3", "-ix<-3"), ("z+i=0", "z-i=0"), ("iz=w", "z=iw"),
    ],
    "bounds in braces": [(r"\{x>1, x<5\}", "x>1"), (r"x\ge4", r"\{x\ge4, 9\}"), (r"\{x\ge4, 9\}", r"x\ge4"), (r"\{x>1, y<5\}", "x>1")],
    "not another": [("18, not 20", "20"), ("not 20", "20"), ("18, 20", "18"), (r"18\text{, not }20", "20"), ("x, not 0", "x")],
    "dots": [(r"1+3+\dots+m", r"1+3+\dots+n"), (r"1+3+\dots", r"1+3+\dots+n"), (r"1+2+\dots+n", r"1+3+\cdots+n")],
    "formulas of chemistry": [
        (r"\text{CO}_2", r"\text{Co}_2"), (r"\text{CO}", r"\text{Co}"), (r"\text{NaCl}", r"\text{NACL}"), (r"H_2+O_2\to 2H_2O", r"2H_2+O_2\to 2H_2O"), ("H₂O", "H_3O"),
        (r"\text{CO2}", r"\text{Co2}"), (r"2H_2O\to 2H_2+O_2", r"2H_2+O_2\to 2H_2O"),
    ],
    "units over brackets": [
        (r"4.2\,\mathrm{J/(g\cdot K)}", r"4.2\,\mathrm{J\,g^{-1}K}"), (r"4.2\text{ J/(kg K)}", r"4.2\text{ J/kg}"), (r"4.2\text{ J/(g K)}", r"4.2\text{ J/(kg K)}"),
        (r"5\text{ BC}", "5"), (r"5\text{ BCE}", "5"), ("5 years younger", "5"),
    ],
    "said in words, too": [("12 (eleven)", "12"), ("12 (eleven)", "11"), ("twelve (11)", "12"), ("3 (4)", "4")],
    "bold vectors": [
        (r"\mathbf{u}\times\mathbf{v}", r"\mathbf{u}\cdot\mathbf{v}"), (r"\bm{u}\times\bm{v}", r"\bm{v}\times\bm{u}"), (r"\mathbf{u}\times\mathbf{v}", "uv"),
    ],
    "logic": [(r"\sim p", "p"), (r"\neg p", "p")],
    "roots in angles": [(r"\arctan2\sqrt2", r"\sqrt2\arctan2"), (r"\arctan2\sqrt3", r"\arccos\frac13")],
    "constants exchanged": [
        ("c_1e^{2x}+c_2e^{3x}", "c_1e^{3x}+c_2e^{4x}"), ("c_1e^{2x}+c_1e^{3x}", "c_1e^{3x}+c_2e^{2x}"), ("c_1", "c_2"), ("2c_1+c_2", "c_1+2c_2"), ("x_1-x_2", "x_2-x_1"),
    ],
    "labels": [
        (r"\text{Ann has }5", r"\text{Bob has }5"), (r"\text{Max: }5", r"\text{Min: }5"), ("Area: 5", "The perimeter is 5"), (r"\text{Millions: }5", "5"), (r"\text{Error: }5", "5"),
        (r"5\text{ fails}", "5"), (r"x \text{ is not } 5", "5"), (r"\begin{aligned}x+y&=5\\x-y&=1\end{aligned}", "1"),
    ],
    "one root": [("x=4", r"\{3\}"), ("x=3", r"\{3,4\}"), ("x=y", r"\{3\}"), ("3", r"\{3\}")],
    "digits below the line": [("x₁=4, x₂=3", "x_1=3, x_2=4"), ("x₁", "x_2"), ("101₃", "101_2"), ("x₂", "x^2")],
    "a number for a curve": [("16", "x^2+y^2=16"), ("6", "2x+3y=6"), ("1", r"\frac{x^2}{9}+y^2=1"), ("nine", "(x-1)^2+y^2=9")],
    "a sign behind a value": [(r"\frac15\%", r"\frac15"), (r"\frac{\pi}{5}^\circ", r"\frac{\pi}{5}"), (r"\frac{\pi}{5}", r"\frac{\pi}{5}^\circ")],
    "one choice or another": [
        ("a=3 or b=4", "a=3, b=4"), ("a=3 or b=4", "(3,4)"), ("x>3 or y>3", "x>3"), ("x>3 or y>5", "x>3 and y>5"), ("x+y=3 or x-y=1", "x+y=3, x-y=1"), ("max 2, min 8", "max 8, min 2"), ("16=16", "x^2+y^2=16"), ("x=0 or y=0", "0"), ("Ben, Ana", r"\text{Ana, Ben}"), (r"\log_{27}x", r"\log_2 7x"),
        ("A or D", "A,D"), ("A or D", "A"), ("A, C", "A,D"), ("ADC", "A,D"), ("c) or d)", "C"), (r"p\land q", r"p\lor q"), (r"p\vee q", r"p\wedge q"), ("m or n", "m, n")],
    "set-builders": [
        (r"\{x \mid x^2=9\}", "9"), (r"\{x \mid x^2\ne9\}", r"\{-3,3\}"), (r"\{y: x^2=9\}", r"\{-3,3\}"), (r"\{x\in\mathbb{Z}: x^2<9\}", "(-3,3)"),
        (r"\{x \mid x>0 \text{ and } x<1\}", r"(-\infty,1)\cup(0,\infty)"), (r"\{x\in\mathbb{R} : x(2x-1)=0\}", r"\{0\}"),
    ],
    "signs of multiplication": [("2 x 8", "14"), ("2 by 7", "14"), ("14 by 1", r"2\times7"), ("2 x 7", "x"), ("2x7y", "14"), ("2 x 7 = 15", "14")],
    "columns and points": [
        ("(5,2)", r"\begin{pmatrix}2\\5\end{pmatrix}"), (r"\begin{pmatrix}2&5\end{pmatrix}", r"\begin{pmatrix}2\\5\end{pmatrix}"), ("(2,5)^2", r"\begin{pmatrix}2\\5\end{pmatrix}"),
        ("P(5,2)", "(2,5)"), ("f(2,5)", "(2,5)"), ("(1,2,3,4)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    ],
    "rows and fractions in TeX": [
        (r"a+{b\over 2}", r"\frac{a+b}{2}"), (r"0.1\dot{3}", r"\frac{13}{99}"), ("4.(6)", "4.6"), ("5!=121", "121"), ("C(2,n+2)", r"\binom{n+2}{2}"), (r"x=8 \quad y=3", "x=3, y=8"),
    ],
    "bases": [("1101 base 3", "1101_2"), ("1101 in base 10", "1101_2"), ("17_8", "17"), ("13_{10}", "1101_2")],
    "said twice": [(r"\frac15 \text{ (or } 25\%)", r"\frac15"), ("5 (or 6)", "5"), (r"\frac17 (\approx 0.15)", r"\frac17"), ("0.5(2)", "0.5")],
    "names": [(r"\overrightarrow{QP}", r"\vec{PQ}"), (r"CD\perp AE", r"AE\parallel CD"), ("7C3", "21"), ("x5", "5x"), (r"\text{all real numbers except } 4", r"x\ne3")],
    "words": [("exists", r"\text{DNE}"), ("seventeen degrees", r"70^\circ"), ("4 meters squared per second", r"4\text{ m/s}^2"), ("three and a half minutes", "3.5 hours")],
    "equations": [("y/x=3", r"y=\frac x3"), ("3x=5y", "x:y=3:5"), ("y=1", "xy=x"), ("x=y", "x^2=xy"), (r"A\cap B", r"A\cup B"), (r"B\setminus A", r"A\setminus B"), ("x=9k+4", r"4\pmod8")],
}  # fmt: skip
UNBOXED = {
    "18": (
        "So the total is 18.", "The result is 18.", "Hence the required value is **18**.", "Answer - 18", "**Answer** - 18", "The answer is 18 :)",
        "I get 18 as the final answer.", "The answer is 18, QED.", "The answer is $18$, i.e. 36/2.", "Résultat : 18", "최종 답: 18", "**最终答案**：18",
    ),
    "3, 8": ("The roots are 3 and 8.",),
    "21": ("It is $21$, not $20$.", "$21$, not $20$", "It is not $20$ but $21$", "$20$ is wrong; $21$", "$21$ is right, $20$ is not right"),
}  # fmt: skip
UNBOXED_WRONG = {
    "18": (
        "The result is not 18.", "The result is less than 18.", "The result is 18 less than 20.", "The result is 18?", "If the total is 18, x = 2",
        "The total is 18. But that is wrong, it is 17.", "The wrong result is 18.", "I never get 18 as the final answer.", "Answer -18",
        "The result is 18 or 19.", "The total is 18 dozen.", "I get 18 as a wrong answer.", "It is $17$, not $18$.",
        "$18$ is wrong", "It is not $18$", "Is it $18$? No, it is not $18$.", "It is $17$ instead of $18$",
    ),
}  # fmt: skip


def pairs(kinds: dict) -> list:
    return [pytest.param(*pair, id=f"{kind}: {pair[0]}") for kind, found in kinds.items() for pair in found]


@pytest.mark.parametrize(("answer", "reference"), pairs(RIGHT))
def test_the_same_answer_is_read_in_this_dress(answer: str, reference: str) -> None:
    verdict = grade(rf"\boxed{{{answer}}}", reference)
    assert verdict.correct, verdict.reason


@pytest.mark.parametrize(("answer", "reference"), pairs(WRONG))
def test_a_near_miss_of_that_kind_is_paid_by_neither_set_of_rules(answer: str, reference: str) -> None:
    for mode in ("lenient", "strict"):
        assert not grade(rf"\boxed{{{answer}}}", reference, mode).correct


@pytest.mark.parametrize(("reference", "responses"), UNBOXED.items())
def test_a_conclusion_in_words_is_found(reference: str, responses: tuple[str, ...]) -> None:
    for response in responses:
        assert grade(response, reference).correct, response
        assert not grade(response, reference, "strict").correct, response


@pytest.mark.parametrize(("reference", "responses"), UNBOXED_WRONG.items())
def test_no_such_conclusion_is_made_of_a_doubt_or_a_denial(reference: str, responses: tuple[str, ...]) -> None:
    for response in responses:
        assert not grade(response, reference).correct, response


texts = [text for kinds in (RIGHT, WRONG) for found in kinds.values() for pair in found for text in pair]


@given(st.sampled_from(texts), st.sampled_from(texts))
def test_what_strict_rules_pay_lenient_ones_pay_and_votes_are_symmetric(answer: str, reference: str) -> None:
    strict = grade(rf"\boxed{{{answer}}}", reference, "strict").correct
    assert not strict or grade(rf"\boxed{{{answer}}}", reference).correct
    assert same_answer(answer, reference) == same_answer(reference, answer)
    assert same_answer(answer, answer)
