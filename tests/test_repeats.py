"""What repeated samples say: against counting every case, against SciPy, and by simulation."""

from itertools import combinations, product
from random import Random
from statistics import fmean

import numpy as np
import pytest
from scipy import stats
from scripted import boxed

from thinkling.errors import UserError
from thinkling.evaluate import repeats
from thinkling.evaluate.repeats import Noise, Votes, majority, majority_at, noise, pass_at_all, subsets, vote_sizes
from thinkling.evaluate.stats import (
    clustered_interval,
    difference_interval,
    holm,
    paired_p_value,
    sign_flip_p_value,
    wilson_interval,
)
from thinkling.problem import Problem
from thinkling.scale.vote import vote

# --- pass@k and maj@k ----------------------------------------------------------------------------------------------


def test_pass_at_every_k_is_the_share_of_subsets_with_a_right_one() -> None:
    found = pass_at_all([0, 1, 3, 5], 5)
    for place, right in enumerate([0, 1, 3, 5]):
        row = [True] * right + [False] * (5 - right)
        for k in range(1, 6):
            assert found[k - 1][place] == pytest.approx(fmean(any(own) for own in combinations(row, k)))


def random_votes(random: Random, num_samples: int) -> tuple[Votes, list]:
    """Samples with few different answers, so that ties are common; and the same as completions."""
    answers = [random.choice([None, 1, 2, 3]) for _ in range(num_samples)]
    logprobs = [random.choice([-0.5, -1.0]) for _ in range(num_samples)]
    kinds = list(dict.fromkeys(answer for answer in answers if answer is not None))
    labels = tuple(None if answer is None else kinds.index(answer) for answer in answers)
    completions = [boxed(answer, logprob) for answer, logprob in zip(answers, logprobs, strict=True)]
    return Votes(labels, tuple(kind == 1 for kind in kinds), tuple(logprobs)), completions


def test_a_vote_of_k_is_what_self_consistency_would_elect_from_every_subset() -> None:
    problem, random = Problem("p", "q", "1"), Random(0)
    for num_samples in (1, 2, 3, 5):
        for _ in range(6):
            votes, completions = random_votes(random, num_samples)
            for k in range(1, num_samples + 1):
                elected = [vote(problem, own) for own in combinations(completions, k)]
                share = fmean(winner is not None and winner.text == r"\boxed{1}" for winner in elected)
                chosen, exact = subsets(num_samples, k)
                assert exact and majority(votes, chosen) == pytest.approx(share)


def test_many_subsets_are_drawn_with_a_seed_and_near_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    votes, _ = random_votes(Random(3), 12)
    whole = [majority(votes, subsets(12, k)[0]) for k in (1, 4, 6)]
    monkeypatch.setattr(repeats, "MOST_SUBSETS", 300)
    found, exact = majority_at([votes], 12)
    assert not exact and found == majority_at([votes], 12)[0]
    chosen, _ = subsets(12, 6)
    assert chosen.shape == (300, 12) and set(chosen.sum(axis=1)) == {6.0}
    # 300 draws of a share: within four standard errors of it
    for k, truth in zip((1, 4, 6), whole, strict=True):
        assert found[k][0] == pytest.approx(truth, abs=4 * 0.5 / 300**0.5)


def test_vote_sizes() -> None:
    assert vote_sizes(3) == [1, 2, 3]
    assert vote_sizes(40) == [*range(1, 17), 32, 40]


# --- where the noise comes from ------------------------------------------------------------------------------------


def test_noise_by_hand() -> None:
    # Shares 0, 1/2, 1/2, 1 of two samples each: seen = (1/4 + 0 + 0 + 1/4) / 3 = 1/6; within a mean of two:
    # (0 + 1/4 + 1/4 + 0) / 4 / (2 - 1) = 1/8; between = 1/6 - 1/8 = 1/24.
    found = noise([0, 0.5, 0.5, 1], 2)
    assert found == Noise(*map(pytest.approx, ((1 / 24) ** 0.5, (1 / 96) ** 0.5, 0.75)))
    assert noise([0, 1], 1) is None and noise([0.5], 4) is None
    assert noise([1.0, 1.0, 1.0], 4) == Noise(0.0, 0.0, 0.0)


def test_noise_finds_the_variances_of_a_simulation() -> None:
    """Problems of Beta(2, 2): their shares vary by 1/20, a sample around its share by E[p(1-p)] = 1/5."""
    rng = np.random.default_rng(0)
    shares = rng.binomial(4, rng.beta(2, 2, (300, 50))) / 4
    found = [noise(list(own), 4) for own in shares]
    assert fmean(one.problems**2 for one in found) == pytest.approx(1 / 20 / 50, rel=0.1)
    assert fmean(one.error**2 for one in found) == pytest.approx((1 / 20 + 1 / 5 / 4) / 50, rel=0.1)
    assert fmean(one.sampling_share for one in found) == pytest.approx(0.5, abs=0.05)


# --- intervals -----------------------------------------------------------------------------------------------------

PROBLEMS = [(0.3, 0.3), (1, 1), (0.3, 2), (3, 0.5), (5, 5)]  # Beta: all or nothing, even, hard, easy, alike


@pytest.mark.parametrize(("num", "num_samples"), [(30, 8), (100, 4)])
@pytest.mark.parametrize(("a", "b"), PROBLEMS)
def test_coverage_of_the_clustered_interval(num: int, num_samples: int, a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    shares = rng.binomial(num_samples, rng.beta(a, b, (2000, num))) / num_samples
    truth = a / (a + b)
    intervals = [clustered_interval(own, num_samples) for own in shares.tolist()]
    assert 0.93 <= fmean(low <= truth <= high for low, high in intervals) <= 0.97


def test_coverage_of_wilson_over_all_accuracies() -> None:
    """Where every accuracy is as likely, as Bowyer et al. simulate it. The textbook's interval has not enough."""
    for num in (10, 30, 100):
        truth = np.random.default_rng(num).random(20_000)
        right = np.random.default_rng(num + 1).binomial(num, truth)
        low, high = np.array([wilson_interval(count, num) for count in range(num + 1)])[right].T
        assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97
    few = np.random.default_rng(11).binomial(10, truth) / 10
    assert (abs(few - truth) <= 1.96 * np.sqrt(few * (1 - few) / 10)).mean() < 0.9


@pytest.mark.parametrize(("num", "num_samples"), [(30, 1), (30, 8), (100, 4)])
@pytest.mark.parametrize(("a", "b"), PROBLEMS)
def test_coverage_of_the_difference(num: int, num_samples: int, a: float, b: float) -> None:
    """Two runs on the same problems; the second is better by a third of what is missing."""
    rng = np.random.default_rng(0)
    first = rng.beta(a, b, (2000, num))
    second = first + (1 - first) / 3
    truth = (1 - a / (a + b)) / 3
    drawn = [rng.binomial(num_samples, share) / num_samples for share in (first, second)]
    intervals = [difference_interval(own) for own in (drawn[1] - drawn[0]).tolist()]
    assert 0.93 <= fmean(low <= truth <= high for low, high in intervals) <= 0.97


def test_intervals_by_hand_and_at_the_ends() -> None:
    assert clustered_interval([1, 0, 1, 1], 1) == wilson_interval(3, 4)
    assert clustered_interval([1.0] * 5, 8) == wilson_interval(5, 5)
    assert clustered_interval([0.5], 4) == (0.0, 1.0)
    # Shares 1/4 and 3/4, 8 of each: variance 1/16 · 16/15, of the mean /16 = 1/240; like 1/4 / (1/240) = 60 tries.
    low, high = clustered_interval([0.25] * 8 + [0.75] * 8, 8)
    z = stats.t.ppf(0.975, 15)
    assert (low, high) == pytest.approx((0.5 - (half := z / 2 / (60 + z**2) ** 0.5), 0.5 + half))
    # None differs of 8: variance 2 / 10, of the mean 0.02.
    assert difference_interval([0.0] * 8) == pytest.approx((-(half := stats.t.ppf(0.975, 9) * 0.02**0.5), half))
    assert difference_interval([1.0] * 3)[1] == 1.0
    assert difference_interval([0.0, 0.5, 0.25, 0.5]) == pytest.approx(
        stats.t.interval(0.95, 3, loc=0.3125, scale=stats.sem([0.0, 0.5, 0.25, 0.5]))
    )


# --- tests ---------------------------------------------------------------------------------------------------------


def test_the_exact_test_counts_every_choice_of_signs() -> None:
    random = Random(0)
    for _ in range(60):
        own = [random.randint(-3, 3) for _ in range(random.randint(1, 9))]
        sums = [sum(s * d for s, d in zip(signs, own, strict=True)) for signs in product((1, -1), repeat=len(own))]
        assert sign_flip_p_value(own) == pytest.approx(fmean(abs(total) >= abs(sum(own)) for total in sums))
    assert sign_flip_p_value([]) == sign_flip_p_value([0, 0]) == 1.0
    for a, b in ((0, 0), (5, 0), (7, 2), (30, 12)):
        assert sign_flip_p_value([1] * a + [-1] * b + [0] * 4) == pytest.approx(paired_p_value(a, b))


def test_the_exact_test_is_scipys() -> None:
    own = [3, -1, 2, 2, 0, -2, 1, 1]
    found = stats.permutation_test((np.array(own),), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p_value(own) == pytest.approx(found.pvalue)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04: times 3, 2, 1 is 0.03, 0.04, 0.04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.01, 0.6]) == pytest.approx([1.0, 0.03, 1.0])
    # 3 · 0.01 = 0.03, but 2 · 0.011 = 0.022 is below it, so it is raised to 0.03; the last is cut off at 1.
    assert holm([0.01, 0.011, 0.9]) == pytest.approx([0.03, 0.03, 0.9])
    assert holm([]) == []


def test_no_problems_tell_nothing() -> None:
    with pytest.raises(UserError, match="at least 1 problem"):
        clustered_interval([], 1)
