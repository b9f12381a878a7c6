"""Beam search, DVTS, CoT-decoding and DeepConf: each traced on a scripted model, and run on a real one."""

import asyncio
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scripted, boxed, said

from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.beam import BeamSearch
from thinkling.scale.cot_decoding import CoTDecoding, answer_margin
from thinkling.scale.deepconf import DeepConf, percentile
from thinkling.scale.scorers import mean_logprob

PROBLEM = Problem("p", "1 + 1?", "2")
START = "Question: 1 + 1?\nExplain step by step.\nAnswer:\n"


async def last_digit(model: object, problem: Problem, completion: Completion) -> float:
    return float([char for char in completion.text if char.isdigit()][-1])


# --- beam search and DVTS -------------------------------------------------------------------------------------------


class Steps(Scripted):
    """Hands out the digits of `digits` as steps, one after the other; a path of `length` steps ends in a box."""

    def __init__(self, digits: str, length: int) -> None:
        super().__init__(self.step)
        self.digits, self.length = iter(digits), length

    def step(self, prompt: str, sampling: Sampling) -> Completion:
        digit, done = next(self.digits), prompt.removeprefix(START).count("\n") == self.length - 1
        return boxed(digit, -1.0) if done else said(digit, -1.0, stop_string="\n")


def searched(digits: str, length: int, **plan: int) -> tuple[str, list[str]]:
    model = Steps(digits, length)
    answer = asyncio.run(BeamSearch(Sampling(), last_digit, **plan)(model, PROBLEM))
    assert len(answer.completions) == len(model.asked)
    return answer.text, [prompt.removeprefix(START) for prompt, _ in model.asked]


def test_a_beam_keeps_the_best_and_branches() -> None:
    """Four paths, width two: of 5 1 9 3 the beam keeps 9 and 5; their branches 2 4 and 8 6 leave 8 and 6, both of 5;
    of their ends 1 3 and 7 2 the 7 is best."""
    text, asked = searched("5193" + "2486" + "1372", 3, num_paths=4, width=2)
    assert asked == ["", "", "", "", "9\n", "9\n", "5\n", "5\n", "5\n8\n", "5\n8\n", "5\n6\n", "5\n6\n"]
    assert text == "5\n6\n\\boxed{7}"


def test_dvts_keeps_the_best_of_each_tree() -> None:
    """Two trees of two: of 5 1 the first keeps 5, of 9 3 the second 9, though 3 beats 1: no tree ever wins all."""
    text, asked = searched("5193" + "2486", 2, num_paths=4, width=2, num_trees=2)
    assert sorted(asked) == ["", "", "", "", "5\n", "5\n", "9\n", "9\n"]
    assert text == "9\n\\boxed{8}"


def test_a_path_that_has_ended_keeps_its_place_and_is_not_asked_again() -> None:
    def step(prompt: str, sampling: Sampling) -> Completion:
        path = prompt.removeprefix(START)
        if path == "":
            return next(firsts)
        return said("1", -1.0, stop_string="\n") if path.count("\n") < 3 else boxed(2, -1.0)

    firsts = iter([boxed(8, -1.0), *[said("7", -1.0, stop_string="\n")] * 3])
    model = Scripted(step)
    answer = asyncio.run(BeamSearch(Sampling(), last_digit, num_paths=4, width=2)(model, PROBLEM))
    assert answer.final == "8"
    assert [prompt.removeprefix(START) for prompt, _ in model.asked].count("7\n") == 2


def test_a_search_that_never_ends_stops_at_its_limits() -> None:
    def endless(prompt: str, sampling: Sampling) -> Completion:
        return said("1", *[-1.0] * 5, stop_string="\n")

    by_steps = Scripted(endless)
    asyncio.run(BeamSearch(Sampling(max_tokens=1000), last_digit, 2, 2, max_steps=3)(by_steps, PROBLEM))
    assert len(by_steps.asked) == 6
    by_tokens = Scripted(endless)
    asyncio.run(BeamSearch(Sampling(max_tokens=12), last_digit, 2, 2)(by_tokens, PROBLEM))
    assert [sampling.max_tokens for _, sampling in by_tokens.asked] == [12, 12, 7, 7, 2, 2]


def test_a_path_that_has_ended_is_preferred_to_a_better_one_that_has_not() -> None:
    model = Scripted(boxed(3, -1.0), said("9", -1.0, stop_string="\n"))
    assert asyncio.run(BeamSearch(Sampling(), last_digit, 2, 1, max_steps=1)(model, PROBLEM)).final == "3"


def test_branches_of_one_path_draw_from_streams_of_their_own(tiny: LanguageModel) -> None:
    answer = asyncio.run(BeamSearch(Sampling(max_tokens=9), mean_logprob, 4, 2)(tiny, PROBLEM))
    first = [c.tokens for c in answer.completions if c.prompt_tokens == answer.completions[0].prompt_tokens]
    assert len(first) == 4 and len(set(first)) == 4
    assert asyncio.run(BeamSearch(Sampling(max_tokens=9), mean_logprob, 4, 2)(tiny, PROBLEM)) == answer


# --- CoT-decoding ---------------------------------------------------------------------------------------------------


def test_each_first_token_is_continued_and_the_surest_answer_wins() -> None:
    """Two paths say 3 with margins .2 and .2, one says 5 with .7: the sums decide, .4 against .7."""

    def begin(text: str) -> Completion:
        return said(text, -1.0, finish="length", margin=(0.9,), pieces=(text,))

    def rest(answer: int, margin: float) -> Completion:
        pieces = ("\\boxed{", str(answer), "}")
        return said(f"\\boxed{{{answer}}}", -1.0, -1.0, -1.0, margin=(0.0, margin, 1.0), pieces=pieces)

    ended = said("", -3.0, finish="stop", margin=(0.9,), pieces=("",))  # a path that is over at once
    model = Scripted(rest(3, 0.2), rest(5, 0.7), rest(3, 0.2), begins=(begin("a"), begin("b"), begin("c"), ended))
    answer = asyncio.run(CoTDecoding(Sampling(max_tokens=9), 4)(model, PROBLEM))
    assert (answer.text, answer.final, len(answer.completions)) == ("b\\boxed{5}", "5", 4)
    assert [prompt[-1] for prompt, _ in model.asked] == ["a", "b", "c"]
    assert {(s.temperature, s.max_tokens) for _, s in model.asked} == {(0.0, 8)}
    assert sum(len(c.tokens) for c in answer.completions) == 3 * 4 + 1


def test_margin_of_no_answer_is_nothing() -> None:
    assert answer_margin(Scripted(), PROBLEM, said("who knows", -1.0, margin=(0.5,), pieces=("who knows",))) == 0.0


def test_the_likeliest_path_is_the_greedy_one(tiny: LanguageModel) -> None:
    answer = asyncio.run(CoTDecoding(Sampling(max_tokens=8), 3)(tiny, PROBLEM))
    prompt = list(answer.completions[0].prompt_tokens)
    greedy = asyncio.run(tiny.complete(prompt, Sampling(temperature=0, max_tokens=8)))
    assert answer.completions[0].tokens == greedy.tokens
    assert len({c.tokens[0] for c in answer.completions}) == 3


# --- DeepConf online ------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=9), st.floats(0, 1))
def test_percentile_is_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(float(numpy.percentile(values, 100 * share)), abs=1e-9)


def trace(answer: object, *confidence: float, finish: str = "stop") -> Completion:
    return boxed(answer, *[-1.0] * len(confidence), confidence=confidence, finish=finish)


def test_a_trace_below_the_warm_ups_threshold_has_no_vote() -> None:
    """Warm-up lows 2, 4, 6, 8, keep half: the threshold is 5, so only 6 and 8 vote, for 1 and 2. Weight 8 of 14 is no
    consensus. Then a stopped trace (no vote) and one of 7 for 1: 13 against 8, no consensus; the budget is spent."""
    warm_up = [trace(1, 2.0, 9.0), trace(3, 4.0, 9.0), trace(1, 6.0, 9.0), trace(2, 8.0, 9.0)]
    later = [trace(2, 1.0, finish="confidence"), trace(1, 7.0, 7.0)]
    model = Scripted(*warm_up, *later)
    answer = asyncio.run(DeepConf(Sampling(), 6, warm_up=4, keep=0.5, window=1, wave=2)(model, PROBLEM))
    assert answer.final == "1" and len(answer.completions) == 6
    watched = [sampling.min_confidence for _, sampling in model.asked]
    assert watched[:4] == [None] * 4 and watched[4:] == [pytest.approx(5.0)] * 2
    assert {sampling.confidence_window for _, sampling in model.asked[4:]} == {1}


def test_a_warm_up_trace_below_the_threshold_does_not_stand_against_a_consensus() -> None:
    """Lows 5, 5, 5 for 3 and 8 for 2, keep a quarter: the threshold is 5.75, and whoever is left is of one mind."""
    model = Scripted(trace(3, 5.0), trace(3, 5.0), trace(3, 5.0), trace(2, 8.0))
    answer = asyncio.run(DeepConf(Sampling(), 16, warm_up=4, keep=0.25, window=1)(model, PROBLEM))
    assert (answer.final, len(answer.completions)) == ("2", 4)


def test_a_clear_warm_up_ends_it() -> None:
    model = Scripted(*[trace(7, 5.0, 5.0) for _ in range(4)])
    answer = asyncio.run(DeepConf(Sampling(), 16, warm_up=4, window=1)(model, PROBLEM))
    assert (answer.final, len(answer.completions)) == ("7", 4)


def test_consensus_is_a_share_of_the_weights() -> None:
    """19 for 1 against 1 for 2 is exactly .95."""
    script = [trace(1, 19.0), trace(2, 1.0)]
    answer = asyncio.run(DeepConf(Sampling(), 4, warm_up=2, keep=1.0, window=1)(Scripted(*script), PROBLEM))
    assert (answer.final, len(answer.completions)) == ("1", 2)
    more = [trace(1, 18.0), trace(2, 1.0), trace(2, 30.0), trace(2, 1.0)]
    answer = asyncio.run(DeepConf(Sampling(), 4, warm_up=2, keep=1.0, window=1)(Scripted(*more), PROBLEM))
    assert (answer.final, len(answer.completions)) == ("2", 4)


def test_where_nobody_answers_the_first_trace_is_the_answer() -> None:
    answer = asyncio.run(
        DeepConf(Sampling(), 2, warm_up=2, window=1)(Scripted(trace(None, 1.0), trace(None, 2.0)), PROBLEM)
    )
    assert (answer.final, answer.text) == (None, "hm, well")


def test_a_real_network_stops_traces(tiny: LanguageModel) -> None:
    method = DeepConf(Sampling(max_tokens=24), 12, warm_up=4, keep=0.25, window=4)
    completions = asyncio.run(method(tiny, PROBLEM)).completions
    threshold = percentile([min(sum(c.confidence[i : i + 4]) / 4 for i in range(len(c.confidence) - 3))
                            for c in completions[:4]], 0.75)  # fmt: skip
    stopped = [c for c in completions[4:] if c.finish_reason == "confidence"]
    assert stopped
    for c in stopped:
        assert math.fsum(c.confidence[-4:]) / 4 < threshold
        assert all(math.fsum(c.confidence[i : i + 4]) / 4 >= threshold for i in range(len(c.confidence) - 4))
