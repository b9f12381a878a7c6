"""Bradley-Terry: the strengths that make the votes likeliest, by Newton's method, and how sure they are.

P(a beats b) = σ(θ_a - θ_b). With ties as an outcome of their own (Davidson 1970), and π = e^θ,
P(a beats b) = π_a / (π_a + π_b + ν √(π_a π_b)), P(tie) = ν √(π_a π_b) / (the same). Either is concave in θ and log ν.
Needs votes that have finite ratings (graph.py). Leaves out Elo (elo.py) and the table (leaderboard.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from thinkling.errors import UserError
from thinkling.evaluate.ranking.graph import why_unbounded
from thinkling.evaluate.ranking.votes import Ties, Vote, models_in

A, B, TIE = range(3)  # outcomes
NEVER = -1000.0  # log ν where no vote is a tie: e to it is 0
SURE = 15.0  # odds of e^15 no votes can tell: where lengths alone tell the winner, what they are worth grows for ever
STEPS = 100  # of Newton's method, at most; it needs about 6


@dataclass(frozen=True, eq=False)
class Design:
    """Votes as arrays: equal votes are one row, R rows of N votes; K parameters.

    The parameters are θ of each model, then log ν, then what the length is worth. rows (R, K): what a row's θ_a - θ_b
    is, the length's part included, as a product with the parameters. outcome (R): A, B or TIE. kinds (R): which of
    `examples` a row is like, but for the lengths. row, cluster (N): of each vote.
    """

    models: tuple[str, ...]
    rows: np.ndarray
    outcome: np.ndarray
    kinds: np.ndarray
    examples: tuple[Vote, ...]
    row: np.ndarray
    cluster: np.ndarray
    ties: Ties
    prior: float

    @property
    def tie_column(self) -> int:
        return len(self.models)

    @property
    def num_clusters(self) -> int:
        return int(self.cluster.max()) + 1

    def weights(self, times: np.ndarray | None = None) -> np.ndarray:
        """How many votes each row stands for; times (N): how often each vote counts."""
        return np.bincount(self.row, times, minlength=len(self.rows)).astype(float)


@dataclass(frozen=True, eq=False)
class Fit:
    """The parameters (K), and their covariance (K, K) by the sandwich estimator, in the gauge where θ sums to 0."""

    parameters: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class Terms:
    """Per row: log-likelihood, its slopes in d = θ_a - θ_b and in log ν, and minus its curvatures."""

    value: np.ndarray
    d: np.ndarray
    tie: np.ndarray
    d_d: np.ndarray
    d_tie: np.ndarray
    tie_tie: np.ndarray


def design_of(votes: Sequence[Vote], ties: Ties = "davidson", length: bool = False, prior: float = 0.0) -> Design:
    """length: also estimate what a longer response is worth. prior: see `fit`."""
    models = models_in(votes)
    place = {model: number for number, model in enumerate(models)}
    outcomes = {"model_a": A, "model_b": B}
    keys: dict[tuple, int] = {}
    kinds: dict[tuple, int] = {}
    clusters: dict[str, int] = {}
    row, cluster = [], []
    for number, vote in enumerate(votes):
        key = (place[vote.model_a], place[vote.model_b], outcomes.get(vote.winner, TIE), longer(vote) if length else 0)
        row.append(keys.setdefault(key, len(keys)))
        kinds.setdefault(key[:3], len(kinds))
        cluster.append(clusters.setdefault(vote.problem or f"\0{number}", len(clusters)))
    rows = np.zeros((len(keys), len(models) + 1 + length))
    for number, (a, b, _, x) in enumerate(keys):
        rows[number, a], rows[number, b] = 1, -1
        if length:
            rows[number, -1] = x
    said = ("model_a", "model_b", "tie")
    examples = tuple(Vote(models[a], models[b], said[outcome]) for a, b, outcome in kinds)
    outcome, kind = np.array([key[2] for key in keys]), np.array([kinds[key[:3]] for key in keys])
    return Design(tuple(models), rows, outcome, kind, examples, np.array(row), np.array(cluster), ties, prior)


def longer(vote: Vote) -> float:
    """By how much a's response is longer: the difference of the lengths over their sum, from -1 to 1."""
    if vote.length_a is None or vote.length_b is None:
        raise UserError("the length needs length_a and length_b in every vote: leave --length out, or add them")
    total = vote.length_a + vote.length_b
    return (vote.length_a - vote.length_b) / total if total else 0.0


def fit(design: Design) -> Fit:
    """The likeliest parameters, and how sure they are: votes of one cluster count as one observation of its own kind.

    design.prior: so many votes of each model against an imaginary one of θ = 0, half of them won. 0 is none, and then
    UserError is raised where no finite ratings exist. The covariance is the sandwich of Huber (1967) and White (1980),
    H⁻¹ S H⁻¹, with S the sum over clusters of the outer products of their slopes, times C / (C - 1).
    """
    reason = why_unbounded(design.examples, design.ties == "davidson")
    if reason and not design.prior:
        raise UserError(f"no finite ratings exist: {reason}. Collect votes that tell them apart, or state a prior, "
                        "such as --prior 1")  # fmt: skip
    parameters = newton(design, design.weights())
    return Fit(parameters, sandwich(design, parameters))


def newton(design: Design, weights: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """The likeliest parameters with so many votes of each row."""
    now = np.zeros(design.rows.shape[1]) if start is None else start.copy()
    free = np.ones(len(now), dtype=bool)
    if design.ties == "half" or not weights[design.outcome == TIE].any():
        now[design.tie_column], free[design.tie_column] = NEVER, False
    value, slope, curvature = derivatives(design, weights, now)
    for _ in range(STEPS):
        if np.abs(slope[free]).max() <= 1e-9 * weights.sum():
            break
        move = np.zeros(len(now))
        move[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        while True:
            found = derivatives(design, weights, now + move)
            if found[0] >= value - 1e-12 * abs(value):
                break
            move /= 2
        now, (value, slope, curvature) = now + move, found
    if np.abs(design.rows @ now)[weights > 0].max() > SURE:
        raise UserError("no finite ratings exist: the lengths tell the winner by themselves: leave --length out, or "
                        "collect more votes")  # fmt: skip
    return now


def derivatives(design: Design, weights: np.ndarray, at: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The log-likelihood of all votes, its slope (K), and minus its curvature (K, K), the prior and the gauge included.

    Without a prior only differences of θ count; the gauge, (Σ θ)², picks the ones that sum to 0.
    """
    t, rows, n, tie = terms(design, at), design.rows, len(design.models), design.tie_column
    slope = rows.T @ (weights * t.d)
    slope[tie] += weights @ t.tie
    curvature = rows.T @ (rows * (weights * t.d_d)[:, None])
    across = rows.T @ (weights * t.d_tie)
    curvature[tie] += across
    curvature[:, tie] += across
    curvature[tie, tie] += weights @ t.tie_tie
    value = weights @ t.value
    if design.prior:
        win = sigmoid(at[:n])
        value += design.prior / 2 * np.sum(np.log(win) + np.log1p(-win))
        slope[:n] += design.prior * (0.5 - win)
        curvature[np.arange(n), np.arange(n)] += design.prior * win * (1 - win)
    else:
        curvature[:n, :n] += weights.sum() / n
    return float(value), slope, curvature


def terms(design: Design, at: np.ndarray) -> Terms:
    d, outcome = design.rows @ at, design.outcome
    if design.ties == "half":
        win, score = sigmoid(d), np.choose(outcome, (1.0, 0.0, 0.5))
        value = score * d - np.logaddexp(0, d)
        none = np.zeros(len(d))
        return Terms(value, score - win, none, win * (1 - win), none, none)
    utility = np.stack((d / 2, -d / 2, np.full(len(d), at[design.tie_column])))
    highest = utility.max(axis=0)
    total = highest + np.log(np.exp(utility - highest).sum(axis=0))
    a, b, tie = np.exp(utility - total)
    value = np.take_along_axis(utility, outcome[None], axis=0)[0] - total
    slope = ((outcome == A) * 1.0 - (outcome == B) - (a - b)) / 2
    return Terms(value, slope, (outcome == TIE) - tie, (a + b - (a - b) ** 2) / 4, -tie * (a - b) / 2, tie * (1 - tie))


def sandwich(design: Design, at: np.ndarray) -> np.ndarray:
    t, n, num = terms(design, at), len(design.models), design.num_clusters
    _, _, curvature = derivatives(design, design.weights(), at)
    scores = design.rows * t.d[:, None]
    scores[:, design.tie_column] += t.tie
    own = np.zeros((num, scores.shape[1]))
    np.add.at(own, design.cluster, scores[design.row])
    spread = own.T @ own * (num / max(1, num - 1))
    if design.prior:  # the imaginary votes are as unsure as others
        win = sigmoid(at[:n])
        spread[np.arange(n), np.arange(n)] += design.prior * win * (1 - win)
    free = np.ones(len(at), dtype=bool)
    free[design.tie_column] = at[design.tie_column] > NEVER
    inverse = np.zeros_like(curvature)
    inverse[np.ix_(free, free)] = np.linalg.inv(curvature[np.ix_(free, free)])
    return inverse @ spread @ inverse


def resampled(design: Design, at: np.ndarray, num: int, seed: int) -> Iterator[np.ndarray | None]:
    """The parameters of `num` bootstrap samples: as many clusters, drawn with replacement, their votes staying
    together. None for a sample that has no finite ratings."""
    random, num_clusters = np.random.default_rng(seed), design.num_clusters
    for _ in range(num):
        times = np.bincount(random.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        weights = design.weights(times[design.cluster].astype(float))
        seen = np.unique(design.kinds[weights > 0])
        drawn = [design.examples[kind] for kind in seen]
        missing = len(models_in(drawn)) < len(design.models)
        if not design.prior and (missing or why_unbounded(drawn, design.ties == "davidson")):
            yield None
        else:
            yield newton(design, weights, at)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(x / 2))
