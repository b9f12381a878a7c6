"""A leaderboard: each model's rating with its interval, its rank with its interval, and what Elo would have said.

Leaves out how ratings are found (bradley_terry.py, elo.py) and how they are shown (report/rank_report.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thinkling.errors import UserError
from thinkling.evaluate.ranking.bradley_terry import NEVER, Design, design_of, fit, resampled
from thinkling.evaluate.ranking.elo import SCALE, elo, shuffled_elo
from thinkling.evaluate.ranking.graph import why_unbounded
from thinkling.evaluate.ranking.votes import Ties, Vote, models_in

DRAWS = 4000  # for the ranks, from the ratings' normal distribution


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a leaderboard is made.

    ties: davidson or half. both_bad_as_tie: else those votes are left out. prior: see bradley_terry.fit. length:
    control for it. anchor: the model whose rating is `anchor_rating`; None: the mean of all is. num_resamples: of the
    bootstrap, 0 for none. num_orders: for Elo. k: Elo's step.
    """

    ties: Ties = "davidson"
    both_bad_as_tie: bool = True
    prior: float = 0.0
    length: bool = False
    anchor: str | None = None
    anchor_rating: float = 1000.0
    num_resamples: int = 200
    num_orders: int = 200
    k: float = 32.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One model. low, high: the 95% interval by the sandwich; resampled_low, _high: by the bootstrap, None without it.

    rank: among the ratings, the best is 1; rank_low, rank_high: the 95% interval of all ranks together. elo: in the
    order of the votes; elo_low, elo_high: what 95% of the random orders lead to.
    """

    model: str
    rating: float
    low: float
    high: float
    resampled_low: float | None
    resampled_high: float | None
    rank: int
    rank_low: int
    rank_high: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    elo: float
    elo_low: float
    elo_high: float


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """standings: the best first. num_problems: clusters of votes. tie_chance: of two equal models, by Davidson.

    length_points, length_low, length_high: rating points that twice the length is worth. unrated_resamples: the share
    of bootstrap samples that had no finite rating, and are left out. unbounded: why there would be no finite rating
    without the prior; then there is no bootstrap, which knows nothing of what was never seen.
    """

    standings: tuple[Standing, ...]
    num_votes: int
    num_problems: int
    rules: Rules
    tie_chance: float | None = None
    length_points: float | None = None
    length_low: float | None = None
    length_high: float | None = None
    unrated_resamples: float = 0.0
    unbounded: str | None = None


def leaderboard(votes: Sequence[Vote], rules: Rules) -> Leaderboard:
    """Raises UserError where there is nothing to rank, or no finite rating."""
    used = [vote for vote in votes if rules.both_bad_as_tie or vote.winner != "both bad"]
    models = models_in(used)
    if len(models) < 2:
        raise UserError(f"a leaderboard needs votes between at least two models, got {', '.join(models) or 'none'}")
    if rules.anchor is not None and rules.anchor not in models:
        raise UserError(f"--anchor {rules.anchor} has no votes: use one of {', '.join(models)}")
    design = design_of(used, rules.ties, rules.length, rules.prior)
    found = fit(design)
    n = len(models)
    gauge = SCALE * gauge_of(models, rules.anchor)
    ratings = rules.anchor_rating + gauge @ found.parameters[:n]
    covariance = gauge @ found.covariance[:n, :n] @ gauge.T
    half = 1.96 * np.sqrt(np.maximum(np.diag(covariance), 0))
    unbounded = why_unbounded(design.examples, rules.ties == "davidson") if rules.prior else None
    drawn = list(resampled(design, found.parameters, 0 if unbounded else rules.num_resamples, rules.seed))
    rated = np.array([rules.anchor_rating + gauge @ parameters[:n] for parameters in drawn if parameters is not None])
    ends = np.quantile(rated, (0.025, 0.975), axis=0).T if len(rated) > 1 else np.full((n, 2), None)
    ranks = rank_intervals(ratings, covariance, rules.seed)
    orders = np.quantile(shuffled_elo(used, rules.num_orders, rules.seed, rules.k), (0.025, 0.975), axis=0).T
    in_order, counts = elo(used, rules.k), tallies(votes)
    standings = [
        Standing(model=model, rating=float(ratings[i]), low=float(ratings[i] - half[i]),
                 high=float(ratings[i] + half[i]), resampled_low=plain(ends[i][0]), resampled_high=plain(ends[i][1]),
                 rank=1 + int(np.sum(ratings > ratings[i] + 1e-9)), rank_low=ranks[i][0], rank_high=ranks[i][1],
                 elo=float(in_order[model]), elo_low=float(orders[i][0]), elo_high=float(orders[i][1]), **counts[model])
        for i, model in enumerate(models)
    ]  # fmt: skip
    return Leaderboard(
        standings=tuple(sorted(standings, key=lambda standing: (standing.rank, standing.model))),
        num_votes=len(used), num_problems=design.num_clusters, rules=rules,
        unrated_resamples=1 - len(rated) / len(drawn) if drawn else 0.0,
        unbounded=unbounded,
        **extras(design, found.parameters, found.covariance),
    )  # fmt: skip


def gauge_of(models: Sequence[str], anchor: str | None) -> np.ndarray:
    """(n, n): takes θ to θ less that of the anchor, or less their mean."""
    n = len(models)
    away = np.full(n, 1 / n) if anchor is None else np.eye(n)[models.index(anchor)]
    return np.eye(n) - away[None, :]


def extras(design: Design, parameters: np.ndarray, covariance: np.ndarray) -> dict[str, float]:
    """The chance of a tie, and what twice the length is worth, where they were estimated."""
    found = {}
    log_nu = parameters[design.tie_column]
    if design.ties == "davidson" and log_nu > NEVER:
        found["tie_chance"] = float(1 / (1 + 2 * np.exp(-log_nu)))
    if len(parameters) > design.tie_column + 1:
        double = SCALE / 3  # (2 - 1) / (2 + 1) of `longer`
        points, half = double * parameters[-1], 1.96 * double * np.sqrt(covariance[-1, -1])
        found |= {"length_points": float(points), "length_low": float(points - half),
                  "length_high": float(points + half)}  # fmt: skip
    return found


def rank_intervals(
    ratings: np.ndarray, covariance: np.ndarray, seed: int = 0, draws: int = DRAWS
) -> list[tuple[int, int]]:
    """Of each model the best and the worst rank that it may have: with 95% chance all of them hold at once.

    A model ranks below those that are surely better and above those that are surely worse; surely means that the
    difference is more than c standard errors away from 0, where 95% of draws have no difference further away than c
    (Mogstad et al. 2024, "Inference for Ranks with Applications to Mobility across Neighbourhoods").
    """
    n = len(ratings)
    variances, axes = np.linalg.eigh((covariance + covariance.T) / 2)
    root = axes * np.sqrt(np.maximum(variances, 0))
    drawn = np.random.default_rng(seed).standard_normal((draws, n)) @ root.T
    diagonal = np.diag(covariance)
    errors = np.sqrt(np.maximum(diagonal[:, None] + diagonal - 2 * covariance, 1e-18))
    furthest = np.zeros(draws)
    for i in range(n - 1):
        furthest = np.maximum(
            furthest, (np.abs(drawn[:, i, None] - drawn[:, i + 1 :]) / errors[i, i + 1 :]).max(axis=1)
        )
    better = ratings[:, None] - ratings > np.quantile(furthest, 0.95) * errors
    return [(1 + int(better[:, i].sum()), n - int(better[i].sum())) for i in range(n)]


def tallies(votes: Sequence[Vote]) -> dict[str, dict[str, int]]:
    """Of each model its wins, losses, ties and both bad."""
    counts = {model: Counter(wins=0, losses=0, ties=0, both_bad=0) for model in models_in(votes)}
    for vote in votes:
        kinds = {"model_a": ("wins", "losses"), "model_b": ("losses", "wins"), "tie": ("ties",) * 2}
        for model, kind in zip((vote.model_a, vote.model_b), kinds.get(vote.winner, ("both_bad",) * 2), strict=True):
            counts[model][kind] += 1
    return {model: dict(own) for model, own in counts.items()}


def plain(value: float | None) -> float | None:
    return None if value is None else float(value)
