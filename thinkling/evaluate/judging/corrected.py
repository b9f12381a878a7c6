"""A judge's score, corrected by answers whose truth is known: Rogan and Gladen's estimate, and prediction-powered.

All functions take numbers or arrays of them, so that a simulation can ask for thousands of intervals at once. They
assume answers that are independent of each other: one for each problem. Leaves out how the truth is known.
"""

from dataclasses import dataclass

import numpy as np

Z = 1.96  # the normal quantile of a 95% interval


@dataclass(frozen=True)
class Estimate:
    """A share with its 95% interval."""

    value: float
    low: float
    high: float


def rogan_gladen(judged, num, hits, num_right, refusals, num_wrong) -> Estimate:  # type: ignore[no-untyped-def]
    """The share that is right, of `num` answers of which the judge calls `judged` right.

    From labelled answers: of num_right that are right the judge calls `hits` so (sensitivity q1); of num_wrong that are
    wrong it calls `refusals` so (specificity q0). θ = (p + q0 - 1) / (q0 + q1 - 1) (Rogan and Gladen 1978), kept in
    [0, 1]. The interval counts the sampling of all three, around proportions that are pulled to the middle (Lang and
    Reiczigel 2014; Lee et al. 2025, arXiv:2511.21140). Where the judge cannot be told from a coin, it is all of [0, 1].
    """
    raw = np.divide(hits, num_right) + np.divide(refusals, num_wrong) - 1
    value = np.clip((np.divide(judged, num) + np.divide(refusals, num_wrong) - 1) / raw, 0, 1)

    n, m1, m0 = np.add(num, Z**2), np.add(num_right, 2), np.add(num_wrong, 2)
    p, q1, q0 = (np.add(judged, Z**2 / 2)) / n, np.add(hits, 1) / m1, np.add(refusals, 1) / m0
    youden = q0 + q1 - 1
    theta = (p + q0 - 1) / youden
    errors = p * (1 - p) / n, q0 * (1 - q0) / m0, q1 * (1 - q1) / m1
    spread = np.sqrt(errors[0] + (1 - theta) ** 2 * errors[1] + theta**2 * errors[2]) / np.abs(youden)
    shift = 2 * Z**2 * (theta * errors[2] - (1 - theta) * errors[1])
    low, high = np.clip(theta + shift - Z * spread, 0, 1), np.clip(theta + shift + Z * spread, 0, 1)
    coin = youden <= Z * np.sqrt(errors[1] + errors[2])
    low, high = np.where(coin, 0.0, low), np.where(coin, 1.0, high)
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))


def prediction_powered(judged, num, cells) -> Estimate:  # type: ignore[no-untyped-def]
    """The share that is right, from `num` answers of which only the judge's verdict is known (`judged` times right) and
    labelled ones besides.

    cells: how many labelled answers are (right and called so, right and called wrong, wrong and called right, wrong and
    called so); one is added to each, so that an error which few labels have not shown is not taken for impossible.
    θ = λ mean(verdict) + mean(truth - λ verdict), with the λ that makes it surest (Angelopoulos et al. 2023,
    arXiv:2301.09633, and 2024, arXiv:2311.01453): a judge that knows nothing gets λ = 0, and the labels alone count.
    """
    both, missed, wrongly, neither = (np.add(cell, 1.0) for cell in cells)
    n = both + missed + wrongly + neither
    truth, verdict = (both + missed) / n, (both + wrongly) / n
    covariance, variance = both / n - truth * verdict, verdict * (1 - verdict)
    share = np.divide(judged, num)
    trust = np.clip(covariance / (variance * (1 + n / num)), 0, 1)
    value = trust * share + truth - trust * verdict
    rest = truth * (1 - truth) - 2 * trust * covariance + trust**2 * variance
    half = Z * np.sqrt(trust**2 * share * (1 - share) / num + rest / n)
    return Estimate(np.clip(value, 0, 1), np.clip(value - half, 0, 1), np.clip(value + half, 0, 1))
