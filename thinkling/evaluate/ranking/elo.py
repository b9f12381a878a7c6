"""Elo: ratings that move a step with each vote, in the order in which the votes came; and what that order did.

A rating R moves by K (S - E), with S the vote (1, ½ for a tie, 0) and E = 1 / (1 + 10^((R_b - R_a) / 400)), the share
that the two ratings led to expect (Elo 1978).
"""

from collections.abc import Sequence

import numpy as np

from thinkling.evaluate.ranking.votes import Vote, models_in

START = 1000.0
SCALE = 400 / np.log(10)  # rating points for each unit of θ: 400 points are odds of 10 to 1


def elo(votes: Sequence[Vote], k: float = 32.0) -> dict[str, float]:
    """The ratings after the votes in this order; every model begins at 1000."""
    return dict(zip(models_in(votes), _play(votes, np.arange(len(votes))[None], k)[0], strict=True))


def shuffled_elo(votes: Sequence[Vote], num: int = 200, seed: int = 0, k: float = 32.0) -> np.ndarray:
    """The ratings (num, models by name) after the same votes in so many random orders."""
    random = np.random.default_rng(seed)
    return _play(votes, np.stack([random.permutation(len(votes)).astype(np.int32) for _ in range(num)]), k)


def _play(votes: Sequence[Vote], orders: np.ndarray, k: float) -> np.ndarray:
    """The ratings after each of these orders (orders, votes), all played side by side."""
    place = {model: number for number, model in enumerate(models_in(votes))}
    pairs = np.array([(place[vote.model_a], place[vote.model_b]) for vote in votes])
    scores = np.array([{"model_a": 1.0, "model_b": 0.0}.get(vote.winner, 0.5) for vote in votes])
    ratings, lane = np.full((len(orders), len(place)), START), np.arange(len(orders))
    for turn in orders.T:
        a, b = pairs[turn].T
        expected = 1 / (1 + 10 ** ((ratings[lane, b] - ratings[lane, a]) / 400))
        move = k * (scores[turn] - expected)
        ratings[lane, a] += move
        ratings[lane, b] -= move
    return ratings
