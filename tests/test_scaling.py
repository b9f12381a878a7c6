"""Votes that stop early, votes that weigh, best of n: rules worked by hand, and the properties that they promise."""

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, boxed, said

from thinkling.errors import UserError
from thinkling.evaluate.command import method_of
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.plain import Completion
from thinkling.generate.sampling import Sampling
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.scorers import SCORERS, answer_logprob, heuristic, mean_logprob, sum_logprob
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency, groups, lead_probability, leaders, vote
from thinkling.settings import Eval
from thinkling.tasks.problem import Problem

PROBLEM = Problem("p", "1 + 1?", "2")


def script(*answers: object) -> Scripted:
    return Scripted(*[boxed(answer, -1.0) for answer in answers])


# --- when the lead is enough ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first, second, probability",
    [(0, 0, 0.5), (1, 0, 0.75), (3, 0, 15 / 16), (4, 0, 31 / 32), (6, 1, 247 / 256), (8, 2, 1981 / 2048), (5, 5, 0.5)],
)
def test_lead_probability_by_hand(first: int, second: int, probability: float) -> None:
    assert lead_probability(first, second) == probability


def test_lead_probability_is_the_beta_integral() -> None:
    """The integral of x^first (1 - x)^second over (1/2, 1), over the whole, by Simpson's rule."""

    def integral(first: int, second: int, low: float) -> float:
        steps = 2000
        xs = [low + (1 - low) * i / steps for i in range(steps + 1)]
        weights = [1, *[4, 2] * (steps // 2 - 1), 4, 1]
        return sum(w * x**first * (1 - x) ** second for w, x in zip(weights, xs, strict=True)) * (1 - low) / steps / 3

    for first in range(9):
        for second in range(first + 1):
            exact = integral(first, second, 0.5) / integral(first, second, 0.0)
            assert lead_probability(first, second) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize(
    "answers, most, asked",
    [
        ([7, 7, 7, 7], 16, 4),  # 4-0 is .969
        ([7, 7, 7, 8, 7, 7, 7], 16, 7),  # 6-1 is .965, 5-1 only .9375
        ([7, 8, 7, 8, 7, 8, 9, 9], 8, 8),  # never clear
        ([7, None, 7, None, 7, None, 7], 16, 7),  # who has no answer, abstains
        ([None] * 8, 8, 8),
        ([7, 7, 8, 8, 7, 9, 7, 8], 8, 7),  # 4-2 with one to come: nothing can change the winner
    ],
)
def test_it_stops_when_the_lead_is_enough(answers: list, most: int, asked: int) -> None:
    model = script(*answers)
    answer = asyncio.run(AdaptiveConsistency(Sampling(), most)(model, PROBLEM))
    assert len(model.asked) == len(answer.completions) == asked
    assert answer.final == (None if set(answers) == {None} else "7")


def test_it_stops_when_nothing_can_change_the_winner() -> None:
    model = script(7, 7, 7, 8, 8)  # 3-0 is only .9375, but two are left
    assert len(asyncio.run(AdaptiveConsistency(Sampling(), 5)(model, PROBLEM)).completions) == 3


def test_waves_are_asked_together() -> None:
    model = script(*[7] * 10)
    assert (
        len(asyncio.run(AdaptiveConsistency(Sampling(), 10, wave=3)(model, PROBLEM)).completions) == 6
    )  # 3-0, then 6-0
    last = script(7, 8, 9, 1)
    assert len(asyncio.run(AdaptiveConsistency(Sampling(), 4, wave=3)(last, PROBLEM)).completions) == 4


@given(st.lists(st.sampled_from([1, 2, 3, None]), min_size=1, max_size=12), st.integers(1, 5))
def test_with_certainty_asked_for_it_never_changes_the_winner(answers: list, wave: int) -> None:
    stopped = asyncio.run(
        AdaptiveConsistency(Sampling(), len(answers), wave=wave, confidence=2.0)(script(*answers), PROBLEM)
    )
    everyone = asyncio.run(SelfConsistency(Sampling(), len(answers))(script(*answers), PROBLEM))
    assert stopped.final == everyone.final
    assert len(stopped.completions) <= len(everyone.completions)


# --- groups and weights --------------------------------------------------------------------------------------------


def test_groups_and_leaders() -> None:
    completions = [boxed("1/2"), boxed(None), boxed("7"), boxed("0.5"), boxed(r"\frac12")]
    assert [len(group) for group in groups(completions)] == [3, 1]
    assert leaders(completions) == (3, 1) and leaders([boxed(None)]) == (0, 0) and leaders([boxed(3)]) == (1, 0)


def test_weights_outvote_numbers() -> None:
    one, two, three = boxed(1, -1.0), boxed(1, -1.0), boxed(2, -1.0)
    assert vote([one, two, three]) is one
    assert vote([one, two, three], [0.2, 0.2, 0.5]) is three
    assert vote([one, two, three], [0.25, 0.25, 0.5]) is three  # a tie; -1 is a greater log-probability than -2
    assert vote([three, one, two], [0.5, 0.25, 0.25]) is three


# --- scorers and best of n -----------------------------------------------------------------------------------------


def score(scorer: object, completion: Completion, model: object = None) -> float:
    return asyncio.run(scorer(model, PROBLEM, completion))


def test_scorers_by_hand() -> None:
    box, number, words = boxed(7), said("about 7"), said("no idea")
    assert score(heuristic, box) == pytest.approx(2 + 1.5 * math.exp(-9 / 500))
    assert score(heuristic, number) == pytest.approx(1 + 1.5 * math.exp(-7 / 500))
    assert score(heuristic, words) == pytest.approx(1.5 * math.exp(-7 / 500))
    assert score(mean_logprob, boxed(7, -1.0, -3.0)) == -2.0 and score(sum_logprob, boxed(7, -1.0, -3.0)) == -4.0


def test_the_answers_own_tokens(tiny: LanguageModel) -> None:
    tokens = [*tiny.tokenizer.encode("so \\boxed{42}"), tiny.tokenizer.stop_ids[0]]
    pieces = [tiny.tokenizer.token_bytes(token) for token in tokens[:-1]]
    logprobs = tuple(-float(i) for i in range(len(tokens)))
    inside = [-float(i) for i in range(len(pieces)) if b"".join(pieces[:i]).endswith((b"{", b"{4"))]
    completion = Completion((1,), tuple(tokens), logprobs, "stop", "so \\boxed{42}")
    assert len(inside) == 2  # one digit, one token
    assert score(answer_logprob, completion, tiny) == pytest.approx(sum(inside) / 2)
    assert score(answer_logprob, boxed(None, -1.0), tiny) == -math.inf


def test_best_of_n_takes_the_best_that_answers_and_of_equals_the_first() -> None:
    async def by_value(model: object, problem: Problem, completion: Completion) -> float:
        return 99.0 if "hm" in completion.text else float(completion.text[7:-1]) // 10

    model = script(12, None, 35, 31)
    assert asyncio.run(BestOfN(Sampling(), by_value, 4)(model, PROBLEM)).final == "35"
    nothing = asyncio.run(BestOfN(Sampling(), by_value, 2)(script(None, None), PROBLEM))
    assert nothing.final is None and len(nothing.completions) == 2


def test_a_weighted_vote_weighs_e_to_the_score() -> None:
    async def scores(model: object, problem: Problem, completion: Completion) -> float:
        return math.log({"1": 0.2, "2": 0.5}[completion.text[7:-1]])

    voted = SelfConsistency(Sampling(), 3, scorer=scores)
    assert asyncio.run(voted(script(1, 1, 2), PROBLEM)).final == "2"  # 0.5 against 0.4


def test_methods_from_the_command_line(tmp_path) -> None:
    def method(**flags: object) -> object:
        return method_of(Eval(out=tmp_path, **flags))

    assert method(method="adaptive", num_samples=16) == AdaptiveConsistency(
        Sampling(temperature=1.0, max_tokens=256), 16
    )
    assert method(method="best-of-n", scorer="heuristic").scorer is SCORERS["heuristic"]
    assert method(method="best-of-n").scorer is SCORERS["mean-logprob"]
    assert method(method="self-consistency").scorer is None
    for flags in (
        {"method": "direct", "scorer": "heuristic"},
        {"method": "adaptive", "scorer": "heuristic"},
        {"method": "best-of-n", "temperature": 0.0},
    ):
        with pytest.raises(UserError):
            method(**flags)


def test_an_adaptive_vote_on_a_real_network_is_a_prefix_of_the_full_one(tiny: LanguageModel) -> None:
    sampling = Sampling(max_tokens=8, seed=random.Random(0).randrange(100))
    full = asyncio.run(SelfConsistency(sampling, 6)(tiny, PROBLEM)).completions
    adaptive = asyncio.run(AdaptiveConsistency(sampling, 6, wave=2)(tiny, PROBLEM)).completions
    assert [c.tokens for c in adaptive] == [c.tokens for c in full[: len(adaptive)]]
