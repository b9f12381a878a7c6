"""Finding the final answer: worked cases rule by rule, properties, hostile text, and long runs of every token."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thinkling.verify.math.prose.extract import Extraction, extract

NOTHING = "no final answer: no \\boxed{}, no stated answer, no formula"
EMPTY_BOX = "no final answer: the boxed answer is empty"
CUT_OFF = "no final answer: the last \\boxed{ was never closed"
THINKING = "no final answer: the thinking was never closed"


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"\boxed{12}", "12"),
        (r"First \boxed{1}, no: \boxed{2}.", "2"),
        (r"\boxed {\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{3}", "3"),
        (r"\boxed{3}, to be exact \fbox{4}", "4"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\text{a \} b}}", r"\text{a \} b}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{ \fbox {\boxed{5}} }", "5"),
        (r"\boxed{x = \boxed{5}}", r"x = \boxed{5}"),
        (r"\boxed{\boxed{1}\boxed{2}}", r"\boxed{1}\boxed{2}"),
        (r"Put it in \boxed. Here: \boxed{7}. That was \boxed.", "7"),
        (r"\boxed{7}, since one writes \boxed and the answer", "7"),
        ("\\boxed{7} (that is what `\\boxed` is for)", "7"),
        (r"The answer is 3, so \boxed{4}", "4"),
        (r"\boxed{4}. No, the answer is 3. #### 5 $6$", "4"),
        (r"\boxed{3, no: \boxed{4}", "4"),
        (r"so \boxed 7.", "7"),
        (r"$\boxed7$", "7"),
        (r"$x=\boxed 7$, as said", "7"),
        (r"\(\boxed\pi\)", r"\pi"),
        (r"\boxed \frac12, ok", r"\frac12"),
        (r"$\boxed\frac{1 + 2}{\sqrt{3}}$.", r"\frac{1 + 2}{\sqrt{3}}"),
        (r"\boxed -3.5.", "-3.5"),
        (r"\boxed sin(x)", "sin(x)"),
        ("```\n\\boxed{1}\n```", "1"),
        (r"Put the answer in \boxed{ANSWER}.", "ANSWER"),
        (r"{ \boxed{7} } } \} {", "7"),
        ("<think>\\boxed{1}</think> \\boxed{2}", "2"),
        ("so \\boxed{1}</think> \\boxed{2}", "2"),
        ("<think>a</think> x <think>\\boxed{3}</think>\\boxed{4}", "4"),
    ],
)
def test_the_last_closed_box_under_both_policies(response, answer):
    found = Extraction(answer, "the last \\boxed{}")
    assert extract(response, "strict") == extract(response, "lenient") == extract(response) == found


@pytest.mark.parametrize(
    "response", [r"\boxed{3} and then \boxed{\frac{1}{2}", r"It was \boxed{3}, then \boxed{4 #### 5"]
)
def test_a_box_that_was_cut_off_is_no_answer_by_strict_rules_and_neither_is_one_before_it(response):
    assert extract(response, "strict") == Extraction(None, CUT_OFF)
    assert extract(response) == Extraction("3", "the last \\boxed{}")


@pytest.mark.parametrize(
    "response, answer",
    [
        (r"$\boxed{2}$ and $\boxed{3}$", "2 and 3"),
        (r"\boxed{7} or \boxed{8}", "7 or 8"),
        (r"\boxed{7}, \boxed{8}", "7, 8"),
        (r"\boxed{7} \boxed{8}", "7, 8"),
        (r"\boxed7 OR \boxed8", "7 or 8"),
        (r"\(\boxed{7}\)\text{ and }\[\boxed{8}\]", "7 and 8"),
        (r"\boxed{0}, so no: \boxed{1}, \boxed{2}, and \boxed{3}.", "1, 2 and 3"),
        (r"$\boxed{15\frac{39}{40}},$ or $\boxed{\frac{639}{40}}$", r"15\frac{39}{40} or \frac{639}{40}"),
        (r"\boxed{7} or \boxed{7}", "7 or 7"),
    ],
)
def test_boxes_side_by_side_are_one_answer(response, answer):
    """Who guesses twice must never be right."""
    assert extract(response) == extract(response, "strict") == Extraction(answer, "boxes side by side")


@pytest.mark.parametrize(
    "response, answer",
    [
        ("$\\boxed{7}$\n\n\\boxed{7}", "7"),
        (r"\boxed{7}. \boxed{8}", "8"),
        (r"\boxed{7} for \boxed{8}", "8"),
        (r"\boxed{} \boxed{8}", "8"),
    ],
)
def test_what_does_not_join(response, answer):
    assert extract(response) == Extraction(answer, "the last \\boxed{}")


@pytest.mark.parametrize(
    "response, answer",
    [
        ("The answer is 12.", "12"),
        ("The answer is 3.5. I hope it is correct.", "3.5"),
        ("The answer is 0.333... ", "0.333..."),
        ("The answer is: X", "X"),
        ("the answer is 1\nno, the Answer is: 2\nDone", "2"),
        ("the answer is 2. #### 3\nThe final answer is 4", "4"),
        ("**Final answer:** $\\frac12$\n", r"\frac12"),
        ("The final answer is **5**.", "5"),
        ("The final answer is **5.** Good.", "5"),
        ("**Answer:** 7", "7"),
        ("__Answer__: 7", "7"),
        ("**Final Answer** 7", "7"),
        ("### Final Answer\n\n$$\nx = 7.\n$$\nDone", "x = 7"),
        ("Answer: _7_", "7"),
        ("Answer: `7`", "7"),
        ("answers = 7, 8", "7, 8"),
        ("The answer would be 7 because 3 + 4 is.", "7"),
        ("The answer to the first question is 9. The answer is correct.", "9"),
        ("the answer is $x. y$, and that is all", "x. y, and that is all"),
        ("I say the answer is that we must have $x=5$ in the end. Bye", "x=5"),
        ("the answer is $x=5$ since $2x=10$", "x=5"),
        ("the answer is $5$ cm.", "5 cm"),
        ("The answer is $7$ or $8$.", "7 or 8"),
        ("The answer is $7$ or maybe 8 if you like that more", "7 or maybe 8 if you like that more"),
        (r"The answer is \(\frac{1}{2}\).", r"\frac{1}{2}"),
        ("The answer is $18. He has 3 more.", "$18"),
        ("<think>\\boxed{1}</think>\nThe answer is 2.", "2"),
        (r"The answer is 1, \boxed{3, no: the answer is 4", "4"),
        ("the answer is __import__('os').getpid()", "__import__('os').getpid()"),
    ],
)
def test_the_last_stated_answer(response, answer):
    assert extract(response) == Extraction(answer, "the answer is ...")


@pytest.mark.parametrize(
    "response, answer",
    [
        ("16 - 7 = 9\n#### 1,234\n", "1,234"),
        ("#### 1\n#### 2", "2"),
        ("The answer is 1.\n#### x = 2", "x = 2"),
        ("#### 7\n#### Conclusion\nand #####", "7"),
        ("#### 7\n#### Step 2: go on\n#### 3. Add it all", "7"),
        (r"\boxed{4 #### 5", "5"),
    ],
)
def test_four_hashes(response, answer):
    assert extract(response) == Extraction(answer, "####")


@pytest.mark.parametrize(
    "response, answer, rule",
    [
        ("so $y=2$, then $x=3.$ as we see", "x=3", "the last formula"),
        ("a \\[x=\n4\\] is what we see in \\(\\)", "x=\n4", "the last formula"),
        ("we find \\(x=1\\), and $$y = 2$$", "x=1 and y = 2", "formulas side by side"),
        ("we find $$x=1$$\n$$y = 2$$", "y = 2", "the last formula"),
        (r"\$5 and $x$ and \$6 of all that money", "x", "the last formula"),
        ("it took $x$ of these, for $5 or $6 a piece", "x", "the last formula"),
        ("It is $7$ or $8$, as you like.", "7 or 8", "formulas side by side"),
        ("$12$", "12", "the last formula"),
        ("we see that $ x = 5 $ at the end", "x = 5", "the last formula"),
        ("7", "7", "the whole response"),
        ("<think>6</think>\n\n**3/4**.\n", "3/4", "the whole response"),
        ("$12", "$12", "the whole response"),
        ("x = 2, 3", "x = 2, 3", "the whole response"),
        ("__import__('os').getpid()", "__import__('os').getpid()", "the whole response"),
        ("x" * 200, "x" * 200, "the whole response"),
    ],
)
def test_a_formula_or_a_bare_answer(response, answer, rule):
    assert extract(response) == Extraction(answer, rule)
    assert extract(response, "strict") == Extraction(None, "no final answer: no \\boxed{}")


@pytest.mark.parametrize(
    "response, why",
    [
        ("", "no final answer: the response is empty"),
        ("<think>\\boxed{12}</think> ", "no final answer: nothing follows the thinking"),
        (r"<think>it is \boxed{12}", THINKING),
        (r"<think>a</think>\boxed{1}<think>wait", THINKING),
        ("It may be 12", NOTHING),
        ("I don't know", NOTHING),
        ("1 2 3 4 5 6", NOTHING),
        ("7\n8", NOTHING),
        ("x" * 201, NOTHING),
        ("...", NOTHING),
        ("##### Notes on 12", NOTHING),
        ("#### Notes", NOTHING),
        ("##### 7 is what we see in part 3", NOTHING),
        ("It took $5 and then 6 $ more of all that money.", NOTHING),
        ("It costs $5 and then $6, or $7-$8 when we are late.", NOTHING),
        (r"one writes \boxed and goes on with it", NOTHING),
        ("The answer is:", "no final answer: the stated answer is empty"),
        ("7. The answer is ...", "no final answer: the stated answer is empty"),
        (r"\boxed{}", EMPTY_BOX),
        (r"The answer is 3. \boxed{3} or \boxed{ }", EMPTY_BOX),
        (r"\boxed{\boxed{ }}", EMPTY_BOX),
        (r"The answer is 3, \boxed{3", CUT_OFF),
        (r"so $x$ \boxed{4 so $x$", CUT_OFF),
        (r"\boxed{1\}", CUT_OFF),
    ],
)
def test_why_there_is_no_answer(response, why):
    assert extract(response) == Extraction(None, why)
    assert extract(response, "strict").answer is None


# Properties


def is_balanced(text: str) -> bool:
    """Character by character, apart from the module's own way."""
    depth, escaped = 0, False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return False
    return depth == 0 and not escaped


words = ["{", "}", "{", "}", "\\{", "\\}", "\\\\", "\\frac", "$", "\\(", "a", "7", " ", "\n", ".", "####", "answer is "]
contents = st.one_of(st.text(), st.lists(st.sampled_from(words), max_size=20).map("".join)).filter(is_balanced)
pieces = [
    *words,
    "\\boxed",
    "\\boxed{",
    "\\fbox{",
    "\\boxed{1}",
    "<think>",
    "</think>",
    " and ",
    "**",
    "$$",
    "\\)",
    ",",
]
responses = st.one_of(
    st.text(st.characters(codec=None)), st.lists(st.sampled_from(pieces), max_size=30).map("".join)
)  # lone surrogates too


@given(contents, st.text(alphabet="ab{}$ \n.7"), st.sampled_from(["", ".", " That is all.\nGood bye!", "}", "$"]))
@example(r"\\", "", "")
def test_what_is_boxed_comes_back(content, before, after):
    answer = extract(f"{before}\\boxed{{{content}}}{after}").answer
    assert answer == (content.strip() or None)


@given(responses)
@example("$0 .$")
@example("The answer is 0\u00a0.")
@example("0 .,")
@example("$1 ; .$")
def test_the_policies_agree_and_nothing_raises(response):
    strict, lenient = extract(response, "strict"), extract(response, "lenient")
    for found in (strict, lenient):
        assert (found.answer is None) == found.rule.startswith("no final answer: ")
        assert found.answer is None or found.answer.strip() == found.answer != ""
        if found.answer is not None and strict.answer is None:  # a box is the model's own word, stops and all
            assert not re.search(r"\s[.,;]\Z", found.answer)
    if strict.answer is not None:
        assert lenient == strict
        assert "\\boxed" in response or "\\fbox" in response


@given(st.lists(st.integers(0, 99), min_size=2, max_size=5), st.sampled_from([" or ", ", ", " and ", "$ or $"]))
def test_no_guess_among_many_is_ever_taken_alone(guesses, joint):
    answer = extract("$" + joint.join(rf"\boxed{{{guess}}}" for guess in guesses) + "$").answer
    assert answer == joint.replace("$", "").join(map(str, guesses))


# Long texts

TOKENS = [
    "\\boxed{", "\\boxed", "\\boxed ", "\\boxed 7 ", "\\boxed x{", "\\boxed ab.{", "\\boxed .{", "\\boxed{}",
    "\\boxed{1} and ", "\\boxed{1} \\text{ ", "\\frac{", "{", "{}", "\\", "$", "$ ", "$x$ and ", "$1 $", "$$x", "\\(",
    "\\(\\[", "\\($\\[$$", "\\(x\\)", "\n", " ", "\n ", "the answer is ", "answer ", "answer to ", "answer * ",
    "**answer", "final answer\n", "*", "_", "#", "#### ", "#### 1. ", ". ", "...", ", because ", "a", "a ", "ab(",
    "\x00", "\ud800", "<think>", "</think>", '{"answer": [,', "<answer>", "wait, it is ", "**a",
]  # fmt: skip
STARTS = [
    "\\boxed", "\\boxed{", "\\boxed 1", "\\boxed{1} and \\boxed{2}", "answer", "answer to ", "the answer is $", "#### 1"
]  # fmt: skip
NESTS = [
    ("\\boxed{", "}"), ("\\boxed{ ", " }"), ("\\boxed{2", "}"), ("\\boxed x{", "a)}"), ("\\boxed ab.{", "}"),
    ("\\boxed .{", "}"), ("\\boxed{\\fbox 7{", "}}"), ("\\(", "\\)"), ("$", "$"),
]  # fmt: skip
SIZE = 200_000
LONG = [token * (SIZE // len(token)) for token in TOKENS]
LONG += [start + token * (SIZE // len(token)) for start in STARTS for token in (" ", "a")]
LONG += [opens * (SIZE // len(opens)) + shuts * (SIZE // len(opens)) for opens, shuts in NESTS]
LONG += ["the answer is $x$ " + "a" * SIZE + "(", "\\boxed" + "{" * (SIZE // 2) + "}" * (SIZE // 2)]


@pytest.mark.parametrize("text", LONG, ids=lambda text: f"{text[:12]!r}{text[-4:]!r}")
def test_a_long_text(text):
    """Quadratic time would take minutes, and recursion would raise, so a slow path shows itself without a clock."""
    assert "12345" not in str(extract(text).answer)
    assert extract(f"{text}</think>\\boxed{{12345}}").answer == "12345"
