"""How sure can we be? An interval for one accuracy, pass@k, and a test for two methods on the same problems.

Plain counts in, plain floats out. It leaves out intervals for repeated samples of one question and paired bootstraps.
"""

from math import comb, sqrt

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
