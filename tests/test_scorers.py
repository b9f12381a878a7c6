"""Scorers by hand: of the completion alone, of a model's opinion, and the names that the command line knows."""

import asyncio
import importlib
import math
import pkgutil
import re
from pathlib import Path

import pytest
from scripted import Scripted, boxed, said

from thinkling import scale
from thinkling.commands.eval import Eval, methods_of
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.beam import BeamSearch
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.budget_forcing import BudgetForcing
from thinkling.scale.judge import JudgeScorer, PTrue
from thinkling.scale.methods import FILES, KINDS, SCORERS, Recipe, build, parse, remembered, scorer_for
from thinkling.scale.refine import Refine
from thinkling.scale.scorers import (
    Scorer,
    answer_logprob,
    group_means,
    heuristic,
    mean_logprob,
    self_certainty,
    sum_logprob,
    trace_scorer,
)
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency

PROBLEM = Problem("p", "1 + 1?", "2")


def score(scorer: Scorer, completion: Completion, model: object = None) -> float:
    return asyncio.run(scorer(model or Scripted(), PROBLEM, completion))


# --- the completion alone -------------------------------------------------------------------------------------------


def test_scorers_by_hand() -> None:
    box, number, words = boxed(7), said("about 7"), said("no idea")
    assert score(heuristic, box) == pytest.approx(2 + 1.5 * math.exp(-9 / 500))
    assert score(heuristic, number) == pytest.approx(1 + 1.5 * math.exp(-7 / 500))
    assert score(heuristic, words) == pytest.approx(1.5 * math.exp(-7 / 500))
    assert score(mean_logprob, boxed(7, -1.0, -3.0)) == -2.0 and score(sum_logprob, boxed(7, -1.0, -3.0)) == -4.0
    assert score(self_certainty, boxed(7, -1.0, -3.0, certainty=(1.0, 4.0))) == 2.5


def test_the_answers_own_tokens(tiny: LanguageModel) -> None:
    tokens = [*tiny.tokenizer.encode("so \\boxed{42}"), tiny.tokenizer.stop_ids[0]]
    pieces = [tiny.tokenizer.token_bytes(token) for token in tokens[:-1]]
    logprobs = tuple(-float(i) for i in range(len(tokens)))
    inside = [-float(i) for i in range(len(pieces)) if b"".join(pieces[:i]).endswith((b"{", b"{4"))]
    completion = Completion((1,), tuple(tokens), logprobs, "stop", "so \\boxed{42}")
    assert len(inside) == 2  # one digit, one token
    assert score(answer_logprob, completion, tiny) == pytest.approx(sum(inside) / 2)
    assert score(answer_logprob, boxed(None, -1.0), tiny) == -math.inf


def test_the_answers_tokens_from_a_servers_pieces() -> None:
    """A token that only touches the answer counts: the bracket's and the last digit's, not what follows."""
    pieces = ("see ", "\\boxed", "{1", "5}", " !")
    completion = said("see \\boxed{15} !", -9.0, -9.0, -1.0, -2.0, -9.0, pieces=pieces)
    assert score(answer_logprob, completion) == -1.5


def test_deepconf_by_hand() -> None:
    """Confidence 4 2 1 3 6 in groups of two: means 3, 1.5, 2, 4.5."""
    completion = said("x", *[-1.0] * 5, confidence=(4.0, 2.0, 1.0, 3.0, 6.0))
    assert group_means(completion.confidence, 2) == [3.0, 1.5, 2.0, 4.5]
    assert score(trace_scorer("mean", 2), completion) == pytest.approx(3.2)
    assert score(trace_scorer("group", 2), completion) == 1.5
    assert score(trace_scorer("tail", 2), completion) == 4.5
    assert score(trace_scorer("bottom", 2), completion) == 1.5  # a tenth of four groups: one at least


def test_the_lowest_tenth_of_twenty_groups_is_two() -> None:
    completion = said("x", *[-1.0] * 20, confidence=tuple(float(i) for i in range(20)))
    assert score(trace_scorer("bottom", 1), completion) == 0.5


def test_a_trace_shorter_than_the_window_is_one_group() -> None:
    completion = said("x", -1.0, -1.0, confidence=(4.0, 2.0))
    assert {score(trace_scorer(kind, 2048), completion) for kind in ("mean", "group", "bottom", "tail")} == {3.0}


@pytest.mark.parametrize("scorer", [mean_logprob, sum_logprob, answer_logprob, self_certainty, trace_scorer("tail", 4)])
def test_what_the_model_did_not_give_is_an_error_that_says_so(scorer: Scorer) -> None:
    with pytest.raises(UserError, match="needs numbers of every token that scripted did not give"):
        score(scorer, said(r"\boxed{1}"))


# --- a model's opinion ----------------------------------------------------------------------------------------------


def test_p_true_is_yes_against_no() -> None:
    model = Scripted(beliefs={" Yes": math.log(0.3), " No": math.log(0.1)})
    assert score(PTrue(), boxed(4), model) == pytest.approx(math.log(0.75))
    assert "Proposed answer:\n\\boxed{4}\n" in model.asked[0][0] and model.asked[0][0].endswith("Answer: Yes")
    assert score(PTrue(), boxed(4), Scripted(beliefs={" Yes": -2000.0, " No": 0.0})) <= -700  # and no overflow


def test_p_true_asks_a_chat_model_in_its_chat() -> None:
    model = Scripted(beliefs={"Yes": 0.0, "No": 0.0})
    assert score(PTrue("chat"), boxed(4), model) == pytest.approx(math.log(0.5))
    assert "assistant\n\\boxed{4}" in model.asked[0][0] and "one word: Yes or No" in model.asked[0][0]


@pytest.mark.parametrize(("verdict", "grade"), [("{mark}: 7", 7), ("good.\n**{mark}: 10**", 10), ("{mark}: 70", -1),
                                                ("VERDICT: 10", -1), ("\\boxed{{10}}", -1), ("", -1)])  # fmt: skip
def test_a_judges_grade(verdict: str, grade: float) -> None:
    def reply(prompt: str, sampling: Sampling) -> Completion:
        return said(verdict.format(mark=re.search(r"VERDICT-\w{6}", prompt).group()))

    judge, model = Scripted(reply), Scripted()
    assert score(JudgeScorer(judge, Sampling()), boxed(4), model) == grade
    asked = judge.asked[0][0]
    assert "1 + 1?" in asked and "\\boxed{4}\n" in asked and not model.asked


def test_a_judge_is_not_told_the_reference() -> None:
    judge = Scripted(said("\\boxed{1}"))
    asyncio.run(JudgeScorer(judge, Sampling())(Scripted(), Problem("p", "How many?", "271828"), boxed(4)))
    assert "271828" not in judge.asked[0][0]


# --- by name --------------------------------------------------------------------------------------------------------


def test_every_file_with_methods_is_in_the_table() -> None:
    found = {info.name for info in pkgutil.iter_modules(scale.__path__, "thinkling.scale.")}
    files = {name for name in found if hasattr(importlib.import_module(name), "KINDS")} - {"thinkling.scale.methods"}
    assert files == {file.__name__ for file in FILES}
    assert sorted(KINDS) == sorted(kind.name for file in FILES for kind in file.KINDS)  # no name twice


def test_every_method_and_scorer_of_the_tables_can_be_built() -> None:
    for name in SCORERS:
        assert callable(scorer_for(name, "plain", 16, "thinkling-base", JudgeScorer(Scripted(), Sampling())))
    for name in KINDS:
        assert callable(build(parse(name), 8, Sampling(), lambda name: mean_logprob))


def test_recipes() -> None:
    assert parse("best-of-n:heuristic@boxed~0.7=2,4") == Recipe("best-of-n", "heuristic", "boxed", 0.7, (2, 4))
    assert parse("best-of-n", (1, 2)) == Recipe("best-of-n", "mean-logprob", "plain", 1.0, (1, 2))
    assert parse("direct", (1, 2)).budgets == (1,) and parse("refine", (1, 2)).budgets == (1,)
    assert parse("beam", (4,)) == Recipe("beam", "mean-logprob", "step-by-step", 1.0, (4,))
    assert str(parse("best-of-n:p-true")) == "best-of-n by p-true, plain" and str(parse("direct")) == "direct, plain"
    vote = parse("self-consistency@step-by-step~0.6")
    assert (vote.title(8), vote.title()) == ("step by step, vote of 8, T = 0.6", "step by step, vote of n, T = 0.6")
    assert parse("best-of-n:p-true").title(1024) == "plain, best of 1,024 by p-true"
    assert str(parse("direct~1")) == "direct, plain, T = 1" and parse("adaptive~0.7").temperature == 0.7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("voting", "there is no method 'voting': use one of direct"),
        ("", "there is no method ''"),
        ("best-of-n:luck", "there is no scorer 'luck'"),
        ("direct@plane", "there is no template 'plane'"),
        ("adaptive:heuristic", "adaptive uses no scorer: leave out ':heuristic'"),
        ("direct~warm", "a temperature is a number of 0 or more, not 'warm'"),
        ("best-of-n=2,x", "whole numbers above 0"),
        ("best-of-n=0", "whole numbers above 0"),
        ("best-of-n=2,", "whole numbers above 0"),
    ],
)
def test_recipes_that_are_wrong(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(text)


def test_methods_from_the_command_line(tmp_path: Path) -> None:
    def method(**flags: object) -> object:
        return methods_of(Eval(out=tmp_path, **flags))[0][0]

    sampling = Sampling(temperature=1.0, max_tokens=384)
    assert method(method="adaptive", num_samples=16) == AdaptiveConsistency(sampling, 16)
    assert method(method="self-consistency").scorer is None
    assert method(method="best-of-n", scorer="heuristic") == BestOfN(sampling, heuristic, 8)
    assert method(method="best-of-n").scorer is mean_logprob
    assert method(method="refine", rounds=2) == Refine(Sampling(temperature=0.0, max_tokens=384), None, 2)
    greedy = Sampling(temperature=0.0, max_tokens=384)
    assert method(method="budget-forcing", thinking_tokens=9) == BudgetForcing(greedy, 9)
    assert method(method="wait", thinking_tokens=9) == BudgetForcing(greedy, 384, 9)
    assert method(method="beam", num_samples=8) == BeamSearch(sampling, mean_logprob, 8, 4, 1)
    assert method(method="dvts", num_samples=8) == BeamSearch(sampling, mean_logprob, 8, 4, 2)
    weighted = method(method="self-consistency", scorer="confidence-group")
    assert isinstance(weighted, SelfConsistency) and weighted.weigh([2.0, 1.0]) == [2.0, 1.0]
    assert weighted.sampling.measure  # it reads the confidence of each token; the others read text or log-probabilities
    for flags in ({"method": "direct", "scorer": "heuristic"}, {"method": "adaptive", "scorer": "heuristic"},
                  {"method": "best-of-n", "temperature": 0.0}, {"method": "best-of-n", "scorer": "judge"}):  # fmt: skip
        with pytest.raises(UserError):
            method(**flags)


def test_a_remembered_scorer_is_asked_once_for_each_completion() -> None:
    asked = []

    async def slow(model: object, problem: Problem, completion: Completion) -> float:
        asked.append(completion)
        return float(len(asked))

    scorer, one = remembered(slow), boxed(1, -1.0)
    twin = boxed(1, -1.0)  # equal, but another completion
    assert [score(scorer, c) for c in (one, twin, one)] == [1.0, 2.0, 1.0]
