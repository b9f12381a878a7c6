"""How sure can we be? Intervals for shares, differences and an AUROC; pass@k; tests for two runs on the same problems.

Plain numbers in, plain floats out. Repeated samples of a problem come in as one value per problem: problems are
independent of each other, samples of one are not. What n samples say in other ways (votes, variances) is in repeats.py.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import cache
from math import comb, cos, fsum, pi, sin, sqrt, tan

from thinkling.errors import UserError


def wilson_interval(num_correct: int, num: int, z: float = 1.96) -> tuple[float, float]:
    """Interval (low, high), as shares in [0, 1], for the accuracy behind num_correct out of num independent problems.

    z is the normal quantile: 1.96 gives 95%. Unlike p ± z·sqrt(p(1-p)/n) it keeps its coverage for few problems and
    near 0 and 1. Raises UserError unless 0 <= num_correct <= num and num >= 1: no problems tell nothing.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= num_correct <= num or num < 1:
        raise UserError(
            f"an accuracy needs 0 <= correct <= problems and at least 1 problem, got {num_correct} of {num}"
        )
    share = num_correct / num
    shrink = 1 + z**2 / num
    centre = (share + z**2 / (2 * num)) / shrink
    half = z * sqrt(share * (1 - share) / num + z**2 / (4 * num**2)) / shrink
    # At the two ends the formula gives exactly 0 and 1; rounding would leave the share just outside.
    low = 0.0 if num_correct == 0 else centre - half
    high = 1.0 if num_correct == num else centre + half
    return low, high


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that k samples, drawn without replacement from these, hold at least one correct: 1 - C(n-c, k) / C(n, k).

    Averaged over problems it estimates pass@k without bias; 1 - (1 - c/n)^k does not. Raises UserError unless
    0 <= num_correct <= num_samples and 1 <= k <= num_samples. Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.
    """
    if not 0 <= num_correct <= num_samples:
        raise UserError(f"pass@k needs 0 <= correct <= samples, got {num_correct} correct of {num_samples}")
    if not 1 <= k <= num_samples:
        raise UserError(f"pass@{k} needs k >= 1 and at least k samples a problem, got {num_samples}")
    all_draws = comb(num_samples, k)
    return (all_draws - comb(num_samples - num_correct, k)) / all_draws  # whole numbers up to the one division


def paired_p_value(only_a: int, only_b: int) -> float:
    """Two-sided p-value of the exact McNemar test, for two methods run on the same problems.

    only_a: problems that only method A solved; only_b: problems that only B solved. Those both or neither solved say
    nothing about which is better. If the methods are equal, each of the n = a + b is a fair coin, so
    p = min(1, 2 · Σ_{j <= min(a, b)} C(n, j) / 2^n); with n = 0 it is 1. Raises UserError for a negative count.
    Source: McNemar 1947, in its exact binomial form.
    """
    if only_a < 0 or only_b < 0:
        raise UserError(f"counts of problems cannot be negative, got only_a={only_a}, only_b={only_b}")
    num = only_a + only_b
    tail, ways = 0, 1
    for j in range(min(only_a, only_b) + 1):
        tail += ways  # C(n, j), and the next from it: C(n, j + 1) = C(n, j) · (n - j) / (j + 1)
        ways = ways * (num - j) // (j + 1)
    return min(1.0, 2 * tail / 2**num)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Chance that a right answer scores above a wrong one, a tie counting half: 1 is perfect, 0.5 is a coin.

    The area under the ROC curve. Raises UserError unless there are both right and wrong answers.
    Source: Mann and Whitney 1947; Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve".
    """
    right = [place for place, label in zip(_placements(scores, labels), labels, strict=True) if label]
    return fsum(right) / len(right)


def auroc_interval(
    scores: Sequence[float], labels: Sequence[bool], groups: Sequence[Hashable] | None = None, z: float = 1.96
) -> tuple[float, float]:
    """Interval (low, high) for the AUROC behind these answers; z is the normal quantile, 1.96 gives 95%.

    groups: which problem each answer belongs to. Answers to one problem are alike, so they tell less than as many
    problems would; without groups every answer counts as independent. It has no width where right and wrong are
    perfectly apart. Raises UserError unless at least two groups hold right answers and two hold wrong ones.
    Source: DeLong et al. 1988; with groups Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data".
    """
    area, places = auroc(scores, labels), _placements(scores, labels)
    groups = range(len(labels)) if groups is None else groups
    nums = {kind: sum(bool(label) == kind for label in labels) for kind in (True, False)}
    strays = {True: defaultdict(float), False: defaultdict(float)}  # of each group's right, and of its wrong answers
    for place, label, group in zip(places, labels, groups, strict=True):
        strays[bool(label)][group] += (place - area) / nums[bool(label)]
    if min(map(len, strays.values())) < 2:
        raise UserError("an interval for an AUROC needs right and wrong answers from at least two problems each")
    both = [strays[True][group] * strays[False][group] for group in strays[True].keys() & strays[False].keys()]
    num_groups = len(strays[True].keys() | strays[False].keys())
    variance = 2 * num_groups / (num_groups - 1) * fsum(both)
    for own in strays.values():
        variance += len(own) / (len(own) - 1) * fsum(stray**2 for stray in own.values())
    half = z * sqrt(max(variance, 0.0))
    return max(0.0, area - half), min(1.0, area + half)


def auroc_within(scores: Sequence[float], labels: Sequence[bool], groups: Sequence[Hashable]) -> list[float]:
    """The AUROC among the answers to each problem that has right and wrong ones: what best-of-n lives on."""
    members = defaultdict(list)
    for score, label, group in zip(scores, labels, groups, strict=True):
        members[group].append((score, label))
    pairs = (tuple(zip(*rows, strict=True)) for rows in members.values())
    return [auroc(own, kinds) for own, kinds in pairs if any(kinds) and not all(kinds)]


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for the mean behind at least two independent values: mean ± t · deviation / sqrt(n).

    t is Student's, for the deviation is estimated too: with the normal's 1.96 an interval for five values of a normal
    distribution holds their mean 88% of the time, not 95%. Source: Student 1908, "The probable error of a mean".
    """
    if len(values) < 2:
        raise UserError(f"an interval for a mean needs at least two values, got {len(values)}")
    mean = fsum(values) / len(values)
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = t_quantile(level, len(values) - 1) * deviation / sqrt(len(values))
    return mean - half, mean + half


def share_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """`mean_interval` of values in [0, 1], which their mean cannot leave. Where all are 0, or all 1, none varies, and
    yet nothing is certain: then Wilson's interval, as of so many tries."""
    if min(values) == max(values) and values[0] in (0.0, 1.0):
        return wilson_interval(round(fsum(values)), len(values))
    low, high = mean_interval(values, level)
    return max(0.0, low), min(1.0, high)


def clustered_interval(values: Sequence[float], num_samples: int, level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for the mean of shares in [0, 1], one per problem, each of `num_samples` samples.

    Wilson's interval for as many independent tries as would vary as much as the problems' mean does (the effective
    sample size of Korn and Graubard 1998, with Student's quantile): it stays in [0, 1], and it keeps its coverage
    where few problems make that of mean ± 1.96 standard errors too small (arXiv:2503.01747). With one sample a problem
    it is Wilson's. Raises UserError where there is no value.
    """
    num, mean = len(values), fsum(values) / max(1, len(values))
    if num_samples == 1 or num < 2 or mean in (0, 1):
        return wilson_interval(round(fsum(values)), num) if num_samples == 1 or mean in (0, 1) else (0.0, 1.0)
    variance = fsum((value - mean) ** 2 for value in values) / (num - 1) / num
    most = num * num_samples  # that many tries there were, and no more
    effective = min(most, mean * (1 - mean) / variance) if variance > 0 else most
    z = t_quantile(level, num - 1)
    shrink = 1 + z**2 / effective
    centre = (mean + z**2 / (2 * effective)) / shrink
    half = z * sqrt(mean * (1 - mean) / effective + z**2 / (4 * effective**2)) / shrink
    return centre - half, centre + half


def difference_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Interval (low, high) for the mean of differences in [-1, 1], one per problem: `mean_interval`.

    Where all are alike none varies, and yet nothing is certain: then as if two more problems had been asked, and each
    side had won one of them (Bonett and Price 2012).
    """
    num = len(differences)
    if num >= 2 and min(differences) != max(differences):
        low, high = mean_interval(differences, level)
    else:
        mean = fsum(differences) / (num + 2)
        variance = (fsum(value**2 for value in differences) + 2) / (num + 2) - mean**2
        half = t_quantile(level, num + 1) * sqrt(variance / (num + 2))
        low, high = mean - half, mean + half
    return max(-1.0, low), min(1.0, high)


def sign_flip_p_value(differences: Sequence[int]) -> float:
    """Two-sided p-value of the exact paired permutation test; differences are whole numbers, one per problem.

    If the two runs are alike, each problem's difference is as likely to have the other sign. So: of all 2^n ways to
    choose the signs, the share whose sum lies as far from 0 as the one seen. Their sums are counted problem by problem.
    Where each problem was asked once on either side it is `paired_p_value`. Source: Fisher 1935, Pitman 1937.
    """
    import numpy as np  # here, so that --help does not pay for it

    sizes = [abs(value) for value in differences if value]
    reach, seen = sum(sizes), abs(sum(differences))
    chance = np.zeros(2 * reach + 1)  # of each sum from -reach to reach
    chance[reach] = 1.0
    at = 0  # how far a sum can be from 0 by now
    for size in sizes:
        part = chance[reach - at : reach + at + 1] / 2
        at += size
        window = np.zeros(2 * at + 1)
        window[: len(part)] += part
        window[-len(part) :] += part
        chance[reach - at : reach + at + 1] = window
    return 1.0 if seen == 0 else min(1.0, 2 * float(chance[reach + seen :].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values, adjusted for their number: the chance of any wrong claim among those below 5% is at most 5%.

    The i-th smallest of m is multiplied by m - i + 1, and none becomes smaller than one before it. Source: Holm 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


@cache
def t_quantile(level: float, freedom: int) -> float:
    """The t with |T| < t as often as `level` says, T of Student's distribution with so many degrees of freedom.

    With t = tan(a) sqrt(freedom) the share inside is a finite sum of powers of cos(a) (Abramowitz and Stegun, 26.7.3
    and 26.7.4); a is found by halving.
    """

    def inside(angle: float) -> float:
        odd, square = freedom % 2, cos(angle) ** 2
        term = total = 1.0 if freedom > 1 else 0.0
        for power in range(2 + odd, freedom - 1, 2):
            term *= square * (power - 1) / power
            total += term
        if not odd:
            return sin(angle) * total
        return 2 / pi * (angle + sin(angle) * cos(angle) * total)

    low, high = 0.0, pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return tan(low) * sqrt(freedom)


def _placements(scores: Sequence[float], labels: Sequence[bool]) -> list[float]:
    """Of each right answer: the share of the wrong ones below it; of each wrong one: the share of the right ones above.

    A tie counts half. The mean over either kind is the AUROC.
    """
    right, wrong = (
        sorted(s for s, label in zip(scores, labels, strict=True) if bool(label) == kind) for kind in (True, False)
    )
    if not right or not wrong:
        raise UserError(f"an AUROC needs right and wrong answers, got {len(right)} right and {len(wrong)} wrong")

    def below(others: list[float], score: float) -> float:
        return (bisect_left(others, score) + bisect_right(others, score)) / 2 / len(others)

    return [below(wrong, s) if label else 1 - below(right, s) for s, label in zip(scores, labels, strict=True)]
