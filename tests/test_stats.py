"""Evaluation statistics, against numbers worked by hand and against counting every case."""

from fractions import Fraction
from itertools import combinations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkling.errors import UserError
from thinkling.evaluate.stats import (
    auroc,
    auroc_interval,
    auroc_within,
    mean_interval,
    paired_p_value,
    pass_at_k,
    share_interval,
    t_quantile,
    wilson_interval,
)


def test_wilson_by_hand():
    # 8 of 10 with z = 2:  p = 0.8, z²/n = 0.4, 1 + z²/n = 1.4
    # centre = (0.8 + 0.2) / 1.4 = 0.714286
    # half   = 2 · sqrt(0.8·0.2/10 + 4/400) / 1.4 = 2 · sqrt(0.016 + 0.010) / 1.4 = 2 · 0.161245 / 1.4 = 0.230350
    assert wilson_interval(8, 10, z=2) == pytest.approx((0.483936, 0.944636), abs=1e-6)


def test_wilson_of_an_ordinary_report():
    # 240 of 500 at 95%:  z² = 3.8416, z²/n = 0.0076832, p = 0.48
    # centre = (0.48 + 0.0038416) / 1.0076832 = 0.480153
    # half   = 1.96 · sqrt(0.2496/500 + 3.8416/1000000) / 1.0076832 = 1.96 · 0.0224287 / 1.0076832 = 0.043625
    assert wilson_interval(240, 500) == pytest.approx((0.436528, 0.523778), abs=1e-6)


def test_wilson_at_the_ends():
    # None of n:  (0, z²/n / (1 + z²/n)) = (0, z² / (n + z²));  z = 2, n = 12 gives 4 / 16.
    assert wilson_interval(0, 12, z=2) == (0.0, pytest.approx(0.25))
    assert wilson_interval(12, 12, z=2) == (pytest.approx(0.75), 1.0)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda num: st.tuples(st.integers(0, num), st.just(num))))
def test_wilson_properties(counts):
    num_correct, num = counts
    low, high = wilson_interval(num_correct, num)
    assert 0 <= low <= num_correct / num <= high <= 1
    # Its ends are where the score test just rejects: (p - end)² = z² · end · (1 - end) / n.
    for end in (low, high):
        assert (num_correct / num - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / num, abs=1e-9)
    # Wrong answers mirror right ones, and the same share of more problems is known better.
    assert wilson_interval(num - num_correct, num) == pytest.approx((1 - high, 1 - low))
    low_more, high_more = wilson_interval(4 * num_correct, 4 * num)
    assert high_more - low_more < high - low


@pytest.mark.parametrize(("num_correct", "num"), [(0, 0), (1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses(num_correct, num):
    with pytest.raises(UserError, match=f"got {num_correct} of {num}"):
        wilson_interval(num_correct, num)


def test_pass_at_k_by_hand():
    # 5 samples, 2 correct, 3 drawn: C(3, 3) = 1 of C(5, 3) = 10 draws misses both.
    assert pass_at_k(5, 2, 3) == 0.9
    # 1 correct of 8: drawing all 8 finds it. Drawing with replacement would say 1 - (7/8)^8 = 0.656.
    assert pass_at_k(8, 1, 8) == 1.0
    assert pass_at_k(8, 0, 8) == 0.0
    assert pass_at_k(4, 3, 1) == 0.75  # k = 1 is the accuracy
    # A float is as near as can be even where the counts have hundreds of digits: 1 - C(1999, 3)/C(2000, 3) = 3/2000.
    assert pass_at_k(2000, 1, 3) == 3 / 2000


def test_pass_at_k_against_every_draw():
    for num_samples in range(1, 8):
        for num_correct in range(num_samples + 1):
            samples = [True] * num_correct + [False] * (num_samples - num_correct)
            for k in range(1, num_samples + 1):
                draws = [any(draw) for draw in combinations(samples, k)]
                assert pass_at_k(num_samples, num_correct, k) == float(Fraction(sum(draws), len(draws)))


@pytest.mark.parametrize("arguments", [(4, 2, 5), (4, 2, 0), (4, 5, 1), (4, -1, 1), (0, 0, 1)])
def test_pass_at_k_refuses(arguments):
    with pytest.raises(UserError, match="pass@"):
        pass_at_k(*arguments)


def test_paired_by_hand():
    # 1 against 7: 2 · (C(8, 0) + C(8, 1)) / 2^8 = 2 · 9 / 256
    assert paired_p_value(1, 7) == 18 / 256
    # 0 against 6: 2 · 1 / 64
    assert paired_p_value(6, 0) == 2 / 64
    # No disagreement is no evidence; nor is a draw, where the doubled tail is past 1.
    assert paired_p_value(0, 0) == 1.0
    assert paired_p_value(3, 3) == 1.0


def test_paired_against_every_sign_pattern():
    # p is the share of the 2^n ways the coins can fall that are at least as uneven as the one seen.
    for num in range(1, 11):
        unevenness = [abs(2 * sum(signs) - num) for signs in product((0, 1), repeat=num)]
        for only_a in range(num + 1):
            extreme = sum(seen >= abs(2 * only_a - num) for seen in unevenness)
            assert paired_p_value(only_a, num - only_a) == float(Fraction(extreme, 2**num))


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_paired_properties(only_a, only_b):
    p = paired_p_value(only_a, only_b)
    assert 0 < p <= 1
    assert p == paired_p_value(only_b, only_a)
    if only_a >= only_b:
        assert paired_p_value(only_a + 1, only_b) <= p  # more on the leading side is more evidence


def test_paired_takes_thousands():
    assert paired_p_value(5000, 5000) == 1.0
    assert 0 < paired_p_value(5000, 5300) < 0.01


def test_paired_refuses():
    with pytest.raises(UserError, match="only_a=-1"):
        paired_p_value(-1, 3)


# Right answers score 3 and 1, wrong ones 2 and 1: of four pairs two are in order, one is not, one is a tie.
SCORES, LABELS = [3.0, 2.0, 1.0, 1.0], [True, False, True, False]


def test_auroc_by_hand():
    assert auroc(SCORES, LABELS) == 2.5 / 4
    assert auroc([0.9, 0.1], [True, False]) == 1.0
    assert auroc([0.1, 0.9], [True, False]) == 0.0
    assert auroc([5, 5, 5], [True, False, False]) == 0.5
    assert auroc([-1.0, float("-inf")], [True, False]) == 1.0  # log 0 is a score


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auroc_against_every_pair(rows):
    scores, labels = zip(*rows, strict=True)
    pairs = [(s > t) + (s == t) / 2 for s, a in rows if a for t, b in rows if not b]
    if not pairs:
        with pytest.raises(UserError, match=f"got {sum(labels)} right and {len(rows) - sum(labels)} wrong"):
            auroc(scores, labels)
        return
    assert auroc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))
    assert auroc([-s for s in scores], labels) == pytest.approx(1 - auroc(scores, labels))


def test_auroc_interval_by_hand():
    # Shares of the other kind on the proper side: of the right 1 and 1/4, of the wrong 1/2 and 3/4; their mean is 5/8.
    # Variance: 2 (3/8)² / (2 - 1) / 2 of the right, 2 (1/8)² / (2 - 1) / 2 of the wrong: 9/64 + 1/64 = 10/64.
    assert auroc_interval(SCORES, LABELS, z=0.5) == pytest.approx((0.625 - 0.197642, 0.625 + 0.197642), abs=1e-6)
    # Two problems of one right and one wrong answer each: their strays (3/8, -1/8) and (-3/8, 1/8) go opposite ways,
    # which adds 2 · 2/(2 - 1) · 2 · (-3/64) / (2 · 2) = -6/64, and leaves 4/64.
    assert auroc_interval(SCORES, LABELS, "aabb", z=1) == pytest.approx((0.375, 0.875))
    assert auroc_interval(SCORES, LABELS)[1] == 1.0  # a chance ends at 1
    assert auroc_interval([4, 3, 2, 1], [True, True, False, False]) == (1.0, 1.0)


def test_answers_counted_twice_tell_nothing_new():
    scores, labels = [0.1, 0.7, 0.4, 0.8, 0.5, 0.2], [False, True, True, True, False, False]
    once = auroc_interval(scores, labels)
    assert auroc_interval(scores * 2, labels * 2, [*range(6)] * 2) == pytest.approx(once)
    low, high = auroc_interval(scores * 2, labels * 2)  # as if the copies were new
    assert high - low < once[1] - once[0]


def test_the_auroc_interval_holds_the_truth_as_often_as_it_says():
    """60 problems of 4 answers, which are mostly right together or wrong together and score alike."""
    random, found, naive = Random(0), [], []

    def draw(num_problems):
        rows = []
        for group in range(num_problems):
            share, height = random.choice([0.1, 0.9]), random.gauss(0, 1)
            for _ in range(4):
                label = random.random() < share
                rows.append((height + label + random.gauss(0, 0.3), label, group))
        return zip(*rows, strict=True)

    truth = auroc(*list(draw(20_000))[:2])
    for _ in range(300):
        scores, labels, groups = draw(60)
        for hits, within in ((found, groups), (naive, None)):
            low, high = auroc_interval(scores, labels, within)
            hits.append(low <= truth <= high)
    assert 0.91 < sum(found) / 300 < 0.985  # 95% within three standard errors
    assert sum(naive) / 300 < 0.85


def test_auroc_interval_refuses_one_problem():
    with pytest.raises(UserError, match="at least two problems"):
        auroc_interval(SCORES, LABELS, "aaaa")
    with pytest.raises(UserError, match="at least two problems"):
        auroc_interval([1, 2, 3], [True, False, False])


def test_auroc_within_leaves_out_problems_that_rank_nothing():
    scores = [3, 1, 2, 9, 8, 7, 5, 5]
    labels = [True, True, False, True, True, False, False, True]
    assert auroc_within(scores, labels, "aaabbccc") == [0.5, 0.25]  # of b all are right; 5 ties with 5 and is below 7
    assert auroc_within([1, 2], [True, False], "ab") == []


def test_shares_that_are_all_nothing_are_not_certain() -> None:
    """pass@n of nine problems that were never right had the interval [0, 0]."""
    assert share_interval([0.0] * 9) == wilson_interval(0, 9) and share_interval([0.0] * 9)[1] == pytest.approx(
        0.299, abs=1e-3
    )
    assert share_interval([1.0] * 4) == wilson_interval(4, 4)
    assert share_interval([0.5] * 4) == (0.5, 0.5)


def test_mean_interval_by_hand():
    """The deviation of (0, 1) is sqrt(1/2), over sqrt(2) one half; that of (0, 1, 2) is 1, over sqrt(3)."""
    assert mean_interval([0.0, 1.0]) == pytest.approx((0.5 - 12.7062 / 2, 0.5 + 12.7062 / 2), abs=1e-4)
    assert mean_interval([0.0, 1.0, 2.0]) == pytest.approx((1 - 4.30265 / 3**0.5, 1 + 4.30265 / 3**0.5), abs=1e-4)
    assert mean_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert share_interval([0.0, 1.0]) == (0.0, 1.0)
    with pytest.raises(UserError, match="at least two"):
        mean_interval([1.0])


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (10, 2.22814), (63, 1.99834)]
)
def test_t_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(0.95, freedom) == pytest.approx(quantile, abs=1e-5)
    assert t_quantile(0.5, 1) == pytest.approx(1.0)  # of Cauchy's distribution the quartiles are -1 and 1
    assert t_quantile(0.95, 100_000) == pytest.approx(1.959988, abs=1e-5)


@pytest.mark.parametrize("num", [2, 5])
def test_the_mean_interval_holds_the_truth_as_often_as_it_says(num):
    """With the normal's 1.96 it was 70% and 88%."""
    random = Random(0)
    hits = 0
    for _ in range(4000):
        low, high = mean_interval([random.gauss(3.0, 2.0) for _ in range(num)])
        hits += low <= 3.0 <= high
    assert 0.94 < hits / 4000 < 0.96
