"""A score or a log-probability that is NaN loses, wherever it stands: nothing depends on the order of the samples."""

import asyncio
import itertools
import math

import pytest
from scripted import Scripted, boxed

from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.deepconf import DeepConf
from thinkling.scale.method import Method
from thinkling.scale.refine import Refine
from thinkling.scale.scorers import mean_logprob, sum_logprob
from thinkling.scale.vote import SelfConsistency, vote

PROBLEM = Problem("p", "1 + 1?", "2")
NAN = math.nan


def winners(method: Method, *completions: Completion) -> set[str | None]:
    """What it answers when the samples come in any order."""
    orders = itertools.permutations(completions)
    return {asyncio.run(method(Scripted(*order), PROBLEM)).final for order in orders}


def test_best_of_n() -> None:
    for scorer in (mean_logprob, sum_logprob):
        best = BestOfN(Sampling(), scorer, 3)
        assert winners(best, boxed(1, NAN), boxed(2, -2.0), boxed(3, -1.0)) == {"3"}


def test_a_weighted_vote() -> None:
    """1 and 2 have a vote each that counts, of e^-1 and e^-2; the vote that 2 has besides is not known."""
    weighted = SelfConsistency(Sampling(), 3, scorer=mean_logprob)
    assert winners(weighted, boxed(2, NAN), boxed(2, -2.0), boxed(1, -1.0)) == {"1"}
    top = SelfConsistency(Sampling(), 3, scorer=mean_logprob, voters=1 / 3)
    assert winners(top, boxed(2, NAN), boxed(3, -2.0), boxed(1, -1.0)) == {"1"}


def test_a_tie() -> None:
    assert winners(SelfConsistency(Sampling(), 3), boxed(1, NAN), boxed(2, -9.0), boxed(3, -10.0)) == {"2"}


def test_weights_that_are_nan_are_no_votes() -> None:
    completions = [boxed(1, -1.0), boxed(2, -1.0), boxed(2, -1.0)]
    for order in itertools.permutations(zip(completions, [0.5, NAN, 0.25], strict=True)):
        ordered, weights = zip(*order, strict=True)
        assert vote(PROBLEM, ordered, weights).text == r"\boxed{1}"


def test_deepconf() -> None:
    """Two sure of 1 and one, as sure as nobody can say, of 2; then the warm-up's threshold is above 0."""
    sure, unknown = {"confidence": (9.0,)}, {"confidence": (NAN,)}
    method = DeepConf(Sampling(), 3, warm_up=3, keep=0.5)
    assert winners(method, boxed(1, -1.0, **sure), boxed(1, -1.0, **sure), boxed(2, -1.0, **unknown)) == {"1"}
    assert winners(method, boxed(1, -1.0, **sure), boxed(2, -1.0, **unknown), boxed(2, -1.0, **unknown)) == {"1"}


@pytest.mark.parametrize(("draft", "revision", "kept"), [(NAN, -1.0, "2"), (-1.0, NAN, "1"), (NAN, NAN, "2")])
def test_refine(draft: float, revision: float, kept: str) -> None:
    model = Scripted(boxed(1, draft), boxed(None, -1.0), boxed(2, revision))
    assert asyncio.run(Refine(Sampling(), mean_logprob)(model, PROBLEM)).final == kept
