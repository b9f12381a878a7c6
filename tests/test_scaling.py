"""Votes that stop early, votes that weigh, best of n: rules worked by hand, and the properties that they promise."""

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, boxed

from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale import vote as vote_module
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.scorers import exponential, proportional
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency, groups, is_clear, lead_probability, leaders, vote

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


def test_samples_are_drawn_together_where_that_wastes_none() -> None:
    """Nothing is clear before 4-0, so four are drawn at once; 3-1 may become 6-1 (.965), and 5-2 then 8-2 (.967)."""
    model, seen, real = script(7, 7, 8, 7, 7, 7, 8, 7, 7, 7), [], vote_module.samples

    async def watched(model: object, problem: Problem, template: str, sampling: Sampling, numbers: range) -> list:
        seen.append(len(numbers))
        return await real(model, problem, template, sampling, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vote_module, "samples", watched)
        asyncio.run(AdaptiveConsistency(Sampling(), 16)(model, PROBLEM))
    assert seen == [4, 3, 3]


def one_at_a_time(answers: list, confidence: float) -> int:
    """How many samples a vote takes that looks after each one."""
    for taken in range(1, len(answers) + 1):
        first, second = leaders(PROBLEM, [boxed(answer) for answer in answers[:taken]])
        if is_clear(first, second, len(answers) - taken, confidence):
            return taken
    raise AssertionError("the last one always ends it")


@given(st.lists(st.sampled_from([1, 2, 3, None]), min_size=1, max_size=14), st.sampled_from([0.8, 0.95, 0.99, 2.0]))
def test_it_draws_what_one_at_a_time_would_and_certainty_never_changes_the_winner(answers: list, sure: float) -> None:
    model = script(*answers)
    stopped = asyncio.run(AdaptiveConsistency(Sampling(), len(answers), confidence=sure)(model, PROBLEM))
    assert len(model.asked) == one_at_a_time(answers, sure)
    if sure > 1:  # only an early stop that cannot change the winner is left
        everyone = asyncio.run(SelfConsistency(Sampling(), len(answers))(script(*answers), PROBLEM))
        assert stopped.final == everyone.final


# --- groups and weights --------------------------------------------------------------------------------------------


def test_groups_and_leaders() -> None:
    completions = [boxed("1/2"), boxed(None), boxed("7"), boxed("0.5"), boxed(r"\frac12")]
    assert [len(group) for group in groups(PROBLEM, completions)] == [3, 1]
    assert leaders(PROBLEM, completions) == (3, 1)
    assert leaders(PROBLEM, [boxed(None)]) == (0, 0) and leaders(PROBLEM, [boxed(3)]) == (1, 0)


def test_weights_outvote_numbers() -> None:
    one, two, three = boxed(1, -1.0), boxed(1, -1.0), boxed(2, -1.0)
    assert vote(PROBLEM, [one, two, three]) is one
    assert vote(PROBLEM, [one, two, three], [0.2, 0.2, 0.5]) is three
    assert (
        vote(PROBLEM, [one, two, three], [0.25, 0.25, 0.5]) is three
    )  # a tie; -1 is a greater log-probability than -2
    assert vote(PROBLEM, [three, one, two], [0.5, 0.25, 0.25]) is three


# --- best of n, weighted votes ----------------------------------------------------------------------------------------


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


def test_only_the_highest_scored_vote() -> None:
    """DeepConf's filter: the top half of six, 9 for 1 and 5 + 4.5 for 2; a third would elect 1, and all of them 3."""
    confidence = iter([9.0, 5.0, 4.5, 1.0, 2.0, 3.0])

    async def scores(model: object, problem: Problem, completion: Completion) -> float:
        return next(confidence)

    async def equal(model: object, problem: Problem, completion: Completion) -> float:
        return 1.0

    answers = [1, 2, 2, 3, 3, 3]
    half = SelfConsistency(Sampling(), 6, scorer=scores, weigh=proportional, voters=0.5)
    assert asyncio.run(half(script(*answers), PROBLEM)).final == "2"
    everyone = SelfConsistency(Sampling(), 6, scorer=equal, weigh=proportional)
    assert asyncio.run(everyone(script(*answers), PROBLEM)).final == "3"


def test_weights_from_scores() -> None:
    assert exponential([-1000.0, -1001.0, -math.inf]) == [1.0, pytest.approx(math.exp(-1)), 0.0]  # no underflow
    assert exponential([-math.inf, -math.inf]) == [0.0, 0.0]
    assert proportional([2.0, 0.0, -1.0]) == [2.0, 0.0, 0.0]


def test_an_adaptive_vote_on_a_real_network_is_a_prefix_of_the_full_one(tiny: LanguageModel) -> None:
    sampling = Sampling(max_tokens=8, seed=random.Random(0).randrange(100))
    full = asyncio.run(SelfConsistency(sampling, 6)(tiny, PROBLEM)).completions
    adaptive = asyncio.run(AdaptiveConsistency(sampling, 6)(tiny, PROBLEM)).completions
    assert [c.tokens for c in adaptive] == [c.tokens for c in full[: len(adaptive)]]


def test_a_tie_that_is_still_possible_is_not_clear() -> None:
    assert not is_clear(3, 1, 2, 2.0) and is_clear(4, 1, 2, 2.0) and is_clear(0, 0, 0, 2.0)
