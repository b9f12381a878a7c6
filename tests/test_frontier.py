"""What a point of accuracy costs, with numbers worked by hand and against counting every case."""

from dataclasses import replace
from itertools import product
from math import log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkling.errors import UserError
from thinkling.evaluate.frontier import cheapest, neighbours, paired_interval, pareto, round_targets
from thinkling.evaluate.result import Result


def point(name: str, tokens: float, num_correct: int, num: int = 10, **changes) -> Result:
    """The first num_correct problems are solved; the interval is 10 points to either side."""
    correct = tuple(place < num_correct for place in range(num))
    share = num_correct / num
    made = Result(
        method=name, num_problems=num, accuracy=share, low=share - 0.1, high=share + 0.1, tokens=tokens, truncated=0.0,
        budget=1, unit="samples", correct=correct, seconds=tokens / 100, flops=tokens * 1e9,
    )  # fmt: skip
    return replace(made, **changes)


def names(points) -> list[str]:
    return [point.method for point in points]


def test_the_front_by_hand():
    table = [point("dear, worse", 30, 4), point("middle", 20, 5), point("cheap", 10, 3), point("best", 40, 8)]
    assert names(pareto(table)) == ["cheap", "middle", "best"]


def test_ties_on_the_front():
    same_cost = [point("worse", 10, 3), point("better", 10, 5)]
    assert names(pareto(same_cost)) == ["better"]
    same_accuracy = [point("dear", 20, 5), point("cheap", 10, 5)]
    assert names(pareto(same_accuracy)) == ["cheap"]
    assert names(pareto([point("first", 10, 5), point("twin", 10, 5)])) == ["first"]
    assert names(pareto([point("free", 0, 0), point("free too", 0, 1)])) == ["free too"]


def test_an_oracle_is_never_on_the_front_and_never_the_cheapest():
    table = [point("vote", 10, 5), point("pass@n", 1, 9, oracle=True)]
    assert names(pareto(table)) == ["vote"]
    assert cheapest(table, [0.9])[0].point is None
    assert round_targets([point("a", 1, 5), point("pass@n", 1, 9, oracle=True)]) == ()


def test_each_cost_has_a_front_of_its_own():
    slow, quick = point("slow", 10, 5, seconds=9.0), point("quick", 20, 4, seconds=1.0)
    assert names(pareto([slow, quick], "tokens")) == ["slow"]
    assert names(pareto([slow, quick], "seconds")) == ["quick", "slow"]
    assert names(pareto([slow, quick], lambda point: -point.tokens)) == ["quick", "slow"]
    assert names(pareto([replace(slow, flops=None), quick], "flops")) == ["quick"]  # where it is not known, it is out
    assert pareto([replace(slow, flops=None)], "flops") == []


tables = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None)
@given(tables)
def test_the_front_against_its_definition(rows):
    table = [point(str(n), cost, right, oracle=oracle) for n, (cost, right, oracle) in enumerate(rows)]
    front, real = pareto(table), [point for point in table if not point.oracle]
    for one in real:
        others = [other for other in real if other.tokens <= one.tokens and other is not one]
        twins = [other for other in others if (other.tokens, other.accuracy) == (one.tokens, one.accuracy)]
        first = all(real.index(one) < real.index(twin) for twin in twins)
        beats = all(one.accuracy > other.accuracy for other in others if other not in twins)
        assert (one in front) == (first and beats)
    assert [p.tokens for p in front] == sorted(p.tokens for p in front)
    for target in (0.0, 0.3, 0.7, 1.0):
        found = cheapest(table, [target])[0].point
        able = [p for p in real if p.accuracy >= target]
        assert (found is None) == (not able)
        assert found is None or (found in front and found.tokens == min(p.tokens for p in able))


def test_the_cheapest_way_says_whether_it_is_sure():
    table = [point("cheap", 10, 5), point("dear", 90, 7)]  # whose intervals begin at 0.4 and 0.6
    reached = cheapest(table, [0.4, 0.5, 0.6, 0.8])
    assert [(goal.point and goal.point.method, goal.sure) for goal in reached] == [
        ("cheap", True),
        ("cheap", False),
        ("dear", True),
        (None, False),
    ]


def shares(*counts: int) -> list[Result]:
    return [point("any", 1, count, num=100) for count in counts]


def test_round_targets_by_hand():
    assert round_targets(shares(12, 55, 30)) == (0.2, 0.3, 0.4, 0.5)
    assert round_targets(shares(41, 65)) == (0.45, 0.5, 0.55, 0.6, 0.65)  # every 10% would be two
    assert round_targets(shares(41, 46)) == (0.42, 0.43, 0.44, 0.45, 0.46)
    assert round_targets(shares(40, 43)) == (0.41, 0.42, 0.43)  # as many as there are
    assert round_targets(shares(50, 90)) == (0.6, 0.7, 0.8, 0.9)  # the lowest itself says nothing, the highest does
    assert round_targets(shares(28, 29)) == (0.29,)  # though 0.29 * 100 is 28.999999999999996
    assert round_targets(shares(50)) == round_targets(shares(50, 50)) == round_targets([]) == ()


def test_neighbours_by_hand():
    # Of ten problems: before solves 1-3, after 2-8. Gained 4-8, lost 1: 2 · (C(6, 0) + C(6, 1)) / 2^6 = 14 / 64.
    before = point("before", 10, 3)
    after = point("after", 20, 7, correct=tuple(1 <= place < 8 for place in range(10)))
    (step,) = neighbours([before, after])
    assert (step.before, step.after, step.gained, step.lost) == (before, after, 5, 1)
    assert step.difference == 0.4
    assert step.p_value == step.adjusted == 14 / 64
    assert (step.low, step.high) == paired_interval(5, 1, 10)
    back = neighbours([after, before])[0]
    assert (back.gained, back.lost, back.difference, back.p_value) == (1, 5, -0.4, 14 / 64)


def test_neighbours_are_adjusted_for_all_of_them():
    # 0 against 6 and 0 against 4: p = 2/64 and 2/16. The smaller is doubled, the greater stands.
    steps = neighbours([point("a", 1, 0), point("b", 2, 6), point("c", 3, 10)])
    assert [step.p_value for step in steps] == [2 / 64, 2 / 16]
    assert [step.adjusted for step in steps] == [4 / 64, 2 / 16]
    assert neighbours([point("a", 1, 0)]) == neighbours([]) == []


def test_neighbours_against_every_way_to_fall():
    """The p-value is the share of the 2^n ways to swap the two methods that are at least as uneven as this one."""
    for num_before, num_after in ((2, 7), (0, 5), (4, 4), (8, 5)):
        before = point("before", 1, num_before, num=8)
        after = point("after", 2, num_after, num=8, correct=tuple(place >= 8 - num_after for place in range(8)))
        pairs = list(zip(before.correct, after.correct, strict=True))
        seen = abs(sum(b - a for a, b in pairs))
        swapped = [
            abs(sum(sign * (b - a) for sign, (a, b) in zip(signs, pairs, strict=True)))
            for signs in product((-1, 1), repeat=8)
        ]
        assert neighbours([before, after])[0].p_value == sum(value >= seen for value in swapped) / 2**8


def test_neighbours_must_have_met_the_same_problems():
    with pytest.raises(UserError, match="'vote' has 10 verdicts, 'other' has 9"):
        neighbours([point("vote", 1, 2), point("other", 2, 3, num=9)])
    with pytest.raises(UserError, match="'pass@n' has 0 verdicts"):
        neighbours([point("pass@n", 1, 2, correct=()), point("vote", 2, 3, correct=())])


def test_the_paired_interval_as_published():
    # Airway hyper-responsiveness of 21 children before and after a transplantation: 1 and 7 disagree. Table in
    # Fagerland, Lydersen and Laake 2014, "Recommended tests and confidence intervals for paired binomial proportions".
    assert paired_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_the_paired_interval_by_hand():
    # No disagreement among n: (n·δ)² <= z² · n · δ · (1 - δ) up to δ = z² / (n + z²); with z = 2, n = 12 that is 1/4.
    assert paired_interval(0, 0, 12, z=2) == pytest.approx((-0.25, 0.25))
    # All gained: the likeliest is that none agree, q + (q + δ) = 1. Then 2q + δ(1 - δ) = (1 - δ)(1 + δ), and from
    # n · (1 - δ) = z² · (1 + δ) comes δ = (n - z²) / (n + z²) = 8/16.
    assert paired_interval(12, 0, 12, z=2) == pytest.approx((0.5, 1.0))
    assert paired_interval(0, 12, 12, z=2) == pytest.approx((-1.0, -0.5))


def score(gained: int, lost: int, num: int, delta: float) -> float:
    """The score statistic at δ, with the likeliest chance of a loss found by looking: thirds of an interval."""
    same = num - gained - lost

    def likelihood(q: float) -> float:
        chances = ((gained, q + delta), (lost, q), (same, 1 - 2 * q - delta))
        return sum(count * log(max(chance, 1e-300)) for count, chance in chances if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    for _ in range(200):
        third = (high - low) / 3
        low, high = (low + third, high) if likelihood(low + third) < likelihood(high - third) else (low, high - third)
    return (gained - lost - num * delta) / sqrt(num * (2 * low + delta * (1 - delta)))


@settings(deadline=None, max_examples=60)
@given(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60)))
def test_the_paired_interval_ends_where_the_score_test_rejects(counts):
    gained, lost, same = counts
    num = gained + lost + same
    low, high = paired_interval(gained, lost, num)
    assert -1 < low <= (gained - lost) / num <= high < 1
    assert score(gained, lost, num, low) == pytest.approx(1.96, abs=1e-4)
    assert score(gained, lost, num, high) == pytest.approx(-1.96, abs=1e-4)
    assert paired_interval(lost, gained, num) == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0)])
def test_the_paired_interval_refuses(counts):
    with pytest.raises(UserError, match="cannot be"):
        paired_interval(*counts)
