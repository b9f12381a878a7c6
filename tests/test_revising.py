"""Self-refinement and budget forcing: what is asked, in which order, what is kept, and what rounds did."""

import asyncio

import pytest
from scripted import Scripted, boxed, said

from thinkling.evaluate.refinement_changes import changes, in_words
from thinkling.evaluate.run import Sample
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import END_THINK
from thinkling.problem import Problem
from thinkling.scale.budget_forcing import BudgetForcing
from thinkling.scale.direct import Direct
from thinkling.scale.method import Answer, Method
from thinkling.scale.refine import Refine
from thinkling.tasks.builtin import problems
from thinkling.verify.math.grade import grade

PROBLEM = Problem("p", "1 + 1?", "2")
SAMPLING = Sampling(temperature=0.0, max_tokens=50)


async def by_value(model: object, problem: Problem, completion: Completion) -> float:
    return float(completion.text[7:-1])


# --- draft, critique, revise ----------------------------------------------------------------------------------------


def refined(method: Refine, *script: Completion) -> tuple[Answer, Scripted]:
    model = Scripted(*script)
    return asyncio.run(method(model, PROBLEM)), model


def test_a_round_asks_for_a_critique_and_a_revision() -> None:
    answer, model = refined(
        Refine(SAMPLING, critique_tokens=9), boxed(3, -1.0), said("3 is wrong", -1.0), boxed(2, -1.0)
    )
    asked = [prompt for prompt, _ in model.asked]
    draft = "Question: 1 + 1?\nAnswer:\n"
    assert asked[0] == draft
    assert asked[1].startswith(draft + "\\boxed{3}\n\n") and asked[1].endswith("Review:\n")
    assert asked[2] == f"{draft}\\boxed{{3}}\n\nReview:\n3 is wrong\n\n{draft}"
    assert [sampling.max_tokens for _, sampling in model.asked] == [50, 9, 50]
    assert len({sampling.seed for _, sampling in model.asked}) == 3
    assert (answer.final, answer.rounds, len(answer.completions)) == ("2", ("\\boxed{3}", "\\boxed{2}"), 3)


def test_a_revision_is_kept_if_it_is_not_worse() -> None:
    """Scores 5; 4 is worse and dropped; 5 again is not worse and kept; 9 is better. A round revises what was kept."""
    critique = said("hm", -1.0)
    script = [boxed(5), critique, boxed(4), critique, boxed("5.0"), critique, boxed(9)]
    answer, model = refined(Refine(SAMPLING, by_value, rounds=3), *script)
    assert answer.rounds == ("\\boxed{5}", "\\boxed{5}", "\\boxed{5.0}", "\\boxed{9}")
    assert "\\boxed{5}\n\nReview" in model.asked[4][0] and "\\boxed{5.0}\n\nReview" in model.asked[6][0]


def test_without_a_scorer_the_revision_always_stays() -> None:
    answer, _ = refined(Refine(SAMPLING, None, rounds=2), boxed(5), said("hm"), boxed(4), said("hm"), boxed(3))
    assert answer.rounds == ("\\boxed{5}", "\\boxed{4}", "\\boxed{3}")


def test_no_rounds_is_the_draft() -> None:
    answer, _ = refined(Refine(SAMPLING, None, rounds=0), boxed(5))
    assert (answer.final, answer.rounds) == ("5", ("\\boxed{5}",))


def test_in_a_chat_the_draft_is_the_models_own_turn() -> None:
    _, model = refined(Refine(SAMPLING, template="chat"), boxed(3), said("wrong"), boxed(2))
    turns = model.asked[2][0].split("<|im_start|>")
    assert [turn.partition("\n")[0] for turn in turns[1:]] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert "\\boxed{3}" in turns[2] and "mistake" in turns[3] and "wrong" in turns[4] and "improved" in turns[5]


def test_a_real_network_refines(tiny: LanguageModel) -> None:
    answer = asyncio.run(Refine(Sampling(max_tokens=6), None, 2, critique_tokens=4)(tiny, PROBLEM))
    assert len(answer.completions) == 5 and len(answer.rounds) == 3 and answer.text == answer.completions[-1].text


# --- what rounds did ------------------------------------------------------------------------------------------------


def test_rounds_count_both_directions() -> None:
    """Of five, the first round fixes two and breaks one, the second breaks one of the fixed."""
    histories = [("3", "2", "2"), ("3", "2", "9"), ("2", "7", "7"), ("2", "2", "2"), ("1", "1", "1")]
    samples = []
    for history in histories:
        texts = tuple(f"\\boxed{{{value}}}" for value in history)
        samples.append(Sample(PROBLEM, Answer(texts[-1], history[-1], (), texts), grade(texts[-1], "2")))
    first, second = changes(samples)
    assert [(len(r.fixed), len(r.broken)) for r in (first, second)] == [(2, 1), (0, 1)]
    assert first.broken[0].before == "\\boxed{2}" and first.broken[0].after == "\\boxed{7}"
    assert first.p_value == 1.0  # 2 of 3 coins
    assert in_words(first) == "round 1: 2 wrong -> right, 1 right -> wrong (exact McNemar p = 1)"
    assert changes([Sample(PROBLEM, Answer("x", None, ()), grade("x", "2"))]) == []


# --- budget forcing -------------------------------------------------------------------------------------------------


def forced(method: BudgetForcing, *script: Completion) -> tuple[Answer, list[tuple[str, Sampling]]]:
    model = Scripted(*script)
    answer = asyncio.run(method(model, PROBLEM))
    asked = model.asked
    start = "Question: 1 + 1?\nExplain step by step.\nAnswer:\n"
    return answer, [(prompt.removeprefix(start), sampling) for prompt, sampling in asked]


def test_thinking_that_is_short_enough_is_left_alone() -> None:
    answer, asked = forced(
        BudgetForcing(SAMPLING, 10), said("1 + 1\n", *[-1.0] * 4, stop_string="\\boxed"), said("{2}", -1.0)
    )
    assert [prompt for prompt, _ in asked] == ["", "1 + 1\n\\boxed"]
    assert (asked[0][1].max_tokens, asked[0][1].stop, asked[1][1].max_tokens) == (10, ("\\boxed",), 64)
    assert (answer.text, answer.final, len(answer.completions)) == ("1 + 1\n\\boxed{2}", "2", 2)


def test_at_the_limit_the_thinking_is_closed_and_the_answer_forced() -> None:
    answer, asked = forced(
        BudgetForcing(SAMPLING, 3), said("1 + 1 is", -1.0, -1.0, -1.0, finish="length"), said("{2}", -1.0)
    )
    assert asked[1][0] == "1 + 1 is\n\\boxed"
    assert answer.final == "2" and answer.completions[0].finish_reason == "budget"
    assert not any(completion.truncated for completion in answer.completions)  # it was cut on purpose


def test_thinking_that_ends_too_early_goes_on_with_wait() -> None:
    """Four tokens of at least nine: "Wait". Then eight in all, and no waits left."""
    parts = [
        said("a\n", *[-1.0] * 4, stop_string="\\boxed"),
        said(" b\n", *[-1.0] * 4, stop_string="\\boxed"),
        said("{7}", -1.0),
    ]
    answer, asked = forced(BudgetForcing(SAMPLING, 20, 9, waits=1, wait="Wait,"), *parts)
    assert [prompt for prompt, _ in asked] == ["", "a\nWait,", "a\nWait, b\n\\boxed"]
    assert [sampling.max_tokens for _, sampling in asked] == [20, 16, 64]  # the budget counts all the thinking
    assert (answer.text, answer.final) == ("a\nWait, b\n\\boxed{7}", "7")


@pytest.mark.parametrize(("least", "waits", "calls"), [(4, 3, 2), (5, 3, 3), (9, 1, 3), (9, 2, 4), (9, 0, 2)])
def test_how_often_it_waits(least: int, waits: int, calls: int) -> None:
    """Each part is four tokens long."""
    script = [said("a\n", *[-1.0] * 4, stop_string="\\boxed") for _ in range(calls - 1)]
    _, asked = forced(BudgetForcing(SAMPLING, 40, least, waits), *script, said("{7}", -1.0))
    assert len(asked) == calls


def test_a_thinking_model_is_closed_with_its_own_mark() -> None:
    model = Scripted(said("hm", -1.0, finish="length"), said("{2}", -1.0))
    answer = asyncio.run(BudgetForcing(SAMPLING, 1, template="chat-thinking")(model, PROBLEM))
    assert model.asked[0][1].stop == (END_THINK,)
    assert model.asked[1][0].endswith("hm</think>\n\nFinal answer: \\boxed") and answer.final == "2"
    free = Scripted(said("hm", -1.0, stop_string=END_THINK), said("It is \\boxed{2}", -1.0))
    answer = asyncio.run(BudgetForcing(SAMPLING, 9, template="chat-thinking")(free, PROBLEM))
    assert free.asked[1][0].endswith("hm</think>\n\n") and answer.final == "2"


def test_a_real_network_answers_within_its_budget(tiny: LanguageModel) -> None:
    answer = asyncio.run(BudgetForcing(Sampling(max_tokens=99), 6, answer_tokens=3)(tiny, PROBLEM))
    assert [len(c.tokens) <= most for c, most in zip(answer.completions, (6, 3), strict=True)] == [True, True]
    assert "\\boxed" in answer.text


def test_a_budget_that_is_never_spent_changes_nothing() -> None:
    """The box was once forced as "\\boxed{": the model has one token for "{-", and -4 came out as 4."""
    chosen = [problem for problem in problems("held-out", 120) if problem.reference.startswith("-")]
    assert chosen
    base, greedy = LanguageModel.load("thinkling-base", device="cpu"), Sampling(temperature=0.0, max_tokens=200)

    async def answers(method: Method) -> list[str]:
        return [answer.text for answer in await asyncio.gather(*(method(base, problem) for problem in chosen))]

    free = asyncio.run(answers(Direct(greedy, "step-by-step")))
    assert asyncio.run(answers(BudgetForcing(greedy, 200))) == free
