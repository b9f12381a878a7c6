"""What n samples of each problem say: pass@k, a vote of k, and how much of the noise is problems and how much sampling.

Plain numbers in and out; which samples agree with each other is said by labels. Leaves out intervals (stats.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, fsum, sqrt

import numpy as np

from thinkling.evaluate.stats import pass_at_k

MOST_SUBSETS = 500  # of k samples: if there are more, so many are drawn with a seed


@dataclass(frozen=True)
class Votes:
    """The samples of one problem as a vote sees them. labels: samples with one answer share a number, from 0 in the
    order in which answers came up; None abstains. right: is that answer right? logprobs: one per sample."""

    labels: tuple[int | None, ...]
    right: tuple[bool, ...]
    logprobs: tuple[float, ...]


def pass_at_all(num_correct: Sequence[int], num_samples: int) -> list[list[float]]:
    """For k = 1 to num_samples: pass@k of each problem, without bias."""
    known = {c: [pass_at_k(num_samples, c, k) for k in range(1, num_samples + 1)] for c in set(num_correct)}
    return [[known[c][k] for c in num_correct] for k in range(num_samples)]


def subsets(num_samples: int, k: int) -> tuple[np.ndarray, bool]:
    """Rows of k samples as 0 and 1, (number of subsets, num_samples): all there are, or MOST_SUBSETS with a seed; and
    whether these are all."""
    exact = comb(num_samples, k) <= MOST_SUBSETS
    if exact:
        rows = np.array(list(combinations(range(num_samples), k)))
    else:
        order = np.random.default_rng([num_samples, k]).random((MOST_SUBSETS, num_samples))
        rows = np.argpartition(order, k - 1, axis=1)[:, :k]
    chosen = np.zeros((len(rows), num_samples))
    np.put_along_axis(chosen, rows, 1.0, axis=1)
    return chosen, exact


def majority(votes: Votes, chosen: np.ndarray) -> float:
    """How often a vote among the chosen samples is right, over the rows of `chosen` (see `subsets`).

    Ties go as in scale/vote.py: to the answer with the greater summed log-probability, then to the one seen first.
    Where nobody votes, the vote is wrong.
    """
    num_groups = len(votes.right)
    if not any(votes.right):
        return 0.0
    if num_groups == 1 and None not in votes.labels:
        return 1.0
    member = np.zeros((len(votes.labels), num_groups))
    for place, label in enumerate(votes.labels):
        if label is not None:
            member[place, label] = 1.0
    counts = chosen @ member
    logprobs = chosen @ (member * np.array(votes.logprobs)[:, None])
    # The sample at place i weighs 2^-i: more than all behind it, so the group seen first has the greater sum.
    first = chosen @ (member * 0.5 ** np.arange(len(member))[:, None])
    leads = counts == counts.max(axis=1, keepdims=True)
    for tie_break in (logprobs, first):
        own = np.where(leads, tie_break, -np.inf)
        leads &= own >= own.max(axis=1, keepdims=True) - 1e-9 * (tie_break is logprobs)
    wins = leads & (counts > 0)
    return float((wins & np.array(votes.right)).any(axis=1).mean())


def vote_sizes(num_samples: int) -> list[int]:
    """The k whose maj@k is told: all up to 16, then each the double of one before, and all samples."""
    return sorted(
        {*range(1, min(16, num_samples) + 1), *(2**i for i in range(5, num_samples.bit_length())), num_samples}
    )


def majority_at(problems: Sequence[Votes], num_samples: int) -> tuple[dict[int, list[float]], bool]:
    """By k: how often a vote of k is right, for each problem; and whether all are exact."""
    found, all_exact = {}, True
    for k in vote_sizes(num_samples):
        chosen, exact = subsets(num_samples, k)
        all_exact &= exact
        found[k] = [majority(votes, chosen) for votes in problems]
    return found, all_exact


@dataclass(frozen=True)
class Noise:
    """Where the standard error of an accuracy comes from, in shares. error: all of it. problems: what would be left if
    each problem were asked without end. sampling_share: of the variance, what more samples could remove.

    Source: Miller, "Adding error bars to evals", arXiv:2411.00640, section 3.
    """

    error: float
    problems: float
    sampling_share: float


def noise(shares: Sequence[float], num_samples: int) -> Noise | None:
    """`shares`: of each problem's samples, how many were right. None where it cannot be told: it takes two samples of
    two problems.

    Var(mean) = (B + W / k) / n, with W the variance of one sample around its problem's share (without bias:
    p(1-p) k/(k-1)), and B that of the problems' own shares; what is seen of the means is B + W / k.
    """
    num = len(shares)
    if num < 2 or num_samples < 2:
        return None
    mean = fsum(shares) / num
    seen = fsum((share - mean) ** 2 for share in shares) / (num - 1)
    within = fsum(share * (1 - share) for share in shares) / num / (num_samples - 1)  # of a mean of num_samples
    between = max(0.0, seen - within)
    total = max(seen, within)
    return Noise(sqrt(total / num), sqrt(between / num), within / total if total else 0.0)
