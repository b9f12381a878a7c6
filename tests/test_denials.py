r"""What a text says not to be the answer pays nothing: "\boxed{12}. Wait, that is wrong.", "I doubt it is 12"."""

import pytest

from thinkling.verify.math.grade import grade
from thinkling.verify.math.prose.extract import Extraction, extract

TAKEN_BACK = Extraction(None, "no final answer: the last \\boxed{} was taken back")


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{12}. Wait, that is wrong.",
        r"\boxed{12}. Hmm, that's not right.",
        r"\boxed{12} is not the answer.",
        r"\boxed{12} is incorrect.",
        r"$\boxed{12}$ (wrong)",
        r"\boxed{12} cannot be right.",
        r"\boxed{12} isn't correct",
        r"The answer is not \boxed{12}.",
        r"It isn't $\boxed{12}$, it's 13.",
        r"The wrong answer is \boxed{12}.",
        r"\text{not }\boxed{12}",
        r"\[\boxed{12}\]. No, I made a mistake.",
        r"\boxed{13}. \boxed{12} is wrong.",
        r"\boxed{12}, which is wrong.",
    ],
)
def test_a_box_that_is_taken_back_is_no_answer(response: str) -> None:
    for mode in ("strict", "lenient"):
        assert extract(response, mode) == TAKEN_BACK


@pytest.mark.parametrize(
    "response",
    [
        r"\boxed{12}. The other answers are wrong.",
        r"$\boxed{12}$, not 13.",
        r"\boxed{12}. This is not 13.",
        r"Why not \boxed{12}?",
        r"It is even; if not, \boxed{12}",
        r"It's not that hard. \boxed{12}",
        r"\boxed{12}. It is wrong to assume that n is even.",
        r"\boxed{13} is wrong. \boxed{12}",
        r"The number is not 13 but \boxed{12}.",
        r"\boxed{12}, so 13 is wrong",
        r"It is \boxed{12}, not \boxed{13}.",
        r"\boxed{12} cannot be simplified.",
    ],
)
def test_a_denial_of_something_else_takes_nothing_back(response: str) -> None:
    for mode in ("strict", "lenient"):
        assert extract(response, mode).answer == "12"


def test_a_box_that_says_no_or_names_a_statement_is_not_taken_back() -> None:
    assert extract(r"\boxed{\text{No}}. It is incorrect.", "strict").answer == r"\text{No}"
    assert extract(r"Statement \boxed{B} is incorrect.", "strict").answer == "B"


def test_only_what_is_stated_behind_a_box_that_was_taken_back_can_count_by_lenient_rules() -> None:
    response = r"\boxed{12}. Wait, that is wrong. The answer is 13."
    assert extract(response, "strict") == TAKEN_BACK
    assert extract(response).answer == "13"


@pytest.mark.parametrize(
    "claim",
    [
        "I don't think the answer is 12.",
        "I doubt the answer is $12$.",
        "Suppose that the answer is 12.",
        "The wrong answer is 12.",
        "Let's check whether the answer is 12.",
        "You might think the answer is 12.",
        "It is a mistake to think the answer is 12.",
        "It would be wrong to say that the answer is 12.",
        "I am not sure the answer is $12$.",
        "The previous answer was 12.",
        "The answer is 12. Or is it 13?",
        "The answer is 12. Or 13.",
        "<answer>13</answer> or <answer>12</answer>",
        "<answer>12</answer> or <answer>13</answer>",
        "We find $x=12$. However, this does not satisfy the equation.",
        "The value $12$ is too large.",
        "If it were $12$, it would be even.",
        "答案不是 $12$。",
        "La respuesta no es $12$.",
        "Ответ не $12$.",
        "错误答案：12",
        "Mauvaise réponse : 12",
        "Falsche Antwort: 12",
        "Respuesta incorrecta: 12",
        "Неправильный ответ: 12",
    ],
)
def test_a_claim_that_is_denied_or_only_supposed_is_none(claim: str) -> None:
    assert not grade(claim, "12").correct
    assert not grade(claim, "13").correct


@pytest.mark.parametrize(
    "claim",
    [
        "I think the answer is 12.",
        "Answer: 12 ✅",
        "There is no doubt the answer is 12.",
        "If we simplify, the answer is 12.",
        "The answer seems to be 12.",
        "The answer is 12. It would be wrong to say the answer is 13.",
        "I'm pretty sure the answer is 12.",
        "The answer is 12 or so.",
        "The answer is 12 instead of 13.",
        "I'm not sure, but I think the answer is 12.",
        "The answer is 12. Or, in words, twelve.",
    ],
)
def test_a_claim_beside_another_denial_stands(claim: str) -> None:
    assert grade(claim, "12").correct


def test_a_root_that_is_rejected_leaves_the_other_one() -> None:
    response = "We find $x=2$ and $x=3$. Since it is odd, we reject $x=2$."
    assert grade(response, "3").correct
    assert not grade(response, "2").correct
    assert not grade("We find $x=2$ or $x=3$, but $x=3$ is extraneous.", "3").correct


def test_answer_tags_that_a_word_joins_are_one_answer() -> None:
    assert grade("<answer>2</answer> and <answer>3</answer>", "2, 3").correct
    assert not grade("<answer>2</answer> and <answer>3</answer>", "3").correct
    assert extract("<answer>2</answer> or " * 50_000 + "<answer>3</answer>").answer == "2 or 3"


def test_a_text_of_nothing_but_denied_answers_has_none() -> None:
    assert extract(r"not \boxed{12} " * 20_000).answer is None
    assert extract("I doubt the answer is 12. " * 20_000).answer is None
