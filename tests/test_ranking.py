"""Leaderboards: ratings by hand, against scipy and arena-rank, where none exist, how often intervals hold."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from html_page import Page
from test_cli import fails

from thinkling import cli
from thinkling.errors import UserError
from thinkling.evaluate.ranking import bradley_terry, graph
from thinkling.evaluate.ranking.elo import SCALE, elo, shuffled_elo
from thinkling.evaluate.ranking.leaderboard import Rules, gauge_of, leaderboard, rank_intervals
from thinkling.evaluate.ranking.votes import Vote, models_in, named_runs, read_votes, votes_of_runs

STRENGTHS = {"ant": 0.8, "bee": 0.4, "cat": 0.0, "dog": -0.3, "elk": -0.9}  # natural logarithms
SIX = [Vote(a, b, "model_a") for a, b in ("AB", "AC", "BD", "CD", "BD", "AD")]  # A never loses, D never wins


def simulated(num: int, seed: int, nu: float = 0.5, pull: float = 0.0) -> list[Vote]:
    """Votes drawn by Davidson's model. pull: what the length is worth, of d."""
    draw, votes = random.Random(seed), []
    for _ in range(num):
        a, b = draw.sample(sorted(STRENGTHS), 2)
        lengths = (draw.randint(10, 400), draw.randint(10, 400)) if pull else (None, None)
        d = STRENGTHS[a] - STRENGTHS[b] + (pull * (lengths[0] - lengths[1]) / sum(lengths) if pull else 0)
        (winner,) = draw.choices(["model_a", "model_b", "tie"], [math.exp(d / 2), math.exp(-d / 2), nu])
        votes.append(Vote(a, b, winner, "", *lengths))
    return votes


def many(a: str, b: str, won: int, lost: int, tied: int = 0) -> list[Vote]:
    counts = {"model_a": won, "model_b": lost, "tie": tied}
    return [Vote(a, b, winner) for winner, count in counts.items() for _ in range(count)]


def ratings(votes: list[Vote], **rules: object) -> dict[str, float]:
    board = leaderboard(votes, Rules(**{"num_resamples": 0, "num_orders": 1} | rules))
    return {standing.model: standing.rating for standing in board.standings}


# --- by hand --------------------------------------------------------------------------------------------------------


def test_two_models_by_hand() -> None:
    """Odds of 3 to 1 are 400 log10 3 points; with ties, 4 : 1 : 2 is met exactly by e^d = 4 and ν = 2 / √4 = 1."""
    found = ratings(many("x", "y", 3, 1))
    assert found == pytest.approx({"x": 1000 + 200 * math.log10(3), "y": 1000 - 200 * math.log10(3)})
    board = leaderboard(many("x", "y", 4, 1, 2), Rules(num_resamples=0))
    assert board.standings[0].rating - board.standings[1].rating == pytest.approx(400 * math.log10(4))
    assert board.tie_chance == pytest.approx(1 / 3)
    half = ratings(many("x", "y", 4, 1, 2), ties="half")  # 5 to 2
    assert half["x"] - half["y"] == pytest.approx(400 * math.log10(5 / 2))
    (first, second) = board.standings
    assert (first.rank, second.rank) == (1, 2)
    assert {standing.rank for standing in leaderboard(many("x", "y", 3, 3), Rules()).standings} == {1}
    assert (first.wins, first.losses, first.ties, second.wins, second.losses, second.ties) == (4, 1, 2, 1, 4, 2)


def test_an_interval_by_hand() -> None:
    """Of n votes with share p won, the variance of the difference in θ is 1 / (n p (1 - p)) · n / (n - 1)."""
    board = leaderboard(many("x", "y", 30, 10), Rules(num_resamples=0, anchor="y", anchor_rating=500))
    x, y = board.standings
    half = 1.96 * SCALE * math.sqrt(1 / (40 * 0.75 * 0.25) * 40 / 39)
    assert (y.rating, y.low, y.high) == (500, 500, 500)
    assert (x.high - x.rating, x.rating - x.low) == pytest.approx((half, half))
    assert x.rating == pytest.approx(500 + 400 * math.log10(3))


def test_elo_by_hand_and_its_order() -> None:
    """16 points for a win among equals; the next vote expects 1 / (1 + 10^(32/400)) of the loser."""
    assert elo([Vote("x", "y", "model_a")]) == {"x": 1016, "y": 984}
    back = elo([Vote("x", "y", "model_a"), Vote("y", "x", "model_a")])
    surprise = 32 * (1 - 1 / (1 + 10 ** (32 / 400)))
    assert back == pytest.approx({"x": 1016 - surprise, "y": 984 + surprise})
    assert elo([Vote("x", "y", "both bad")]) == {"x": 1000, "y": 1000}
    votes = simulated(300, 1)
    orders = shuffled_elo(votes, 50, seed=3)
    assert orders.shape == (50, 5) and orders.sum(axis=1) == pytest.approx(5000)
    assert orders.std(axis=0).min() > 10  # the same votes, another order, other ratings
    order = np.random.default_rng(3).permutation(300)
    assert elo([votes[i] for i in order]) == pytest.approx(dict(zip(sorted(STRENGTHS), orders[0], strict=True)))


# --- against others -------------------------------------------------------------------------------------------------


def test_ratings_and_intervals_are_those_of_arena_rank() -> None:
    """arena-rank 0.1.1 (LM Arena's own package), BradleyTerry(...).compute_ratings_and_cis on these very votes. It pins
    its JAX and NumPy, so that its numbers stand here. Its variance lacks the C / (C - 1) of ours."""
    theirs = {"ant": (1131.537375, 333.638627), "bee": (1069.611101, 303.284692), "cat": (1015.153399, 299.158063),
              "dog": (971.708720, 272.813303), "elk": (811.989405, 442.867313)}  # fmt: skip
    for standing in leaderboard(simulated(600, 7), Rules(ties="half", num_resamples=0)).standings:
        rating, variance = theirs[standing.model]
        assert standing.rating == pytest.approx(rating, abs=1e-5)
        error = (standing.high - standing.low) / 2 / 1.96
        assert error == pytest.approx(math.sqrt(variance * 600 / 599), rel=2e-4)  # they add a little to the Hessian


@pytest.mark.parametrize("length", [False, True])
def test_a_logistic_regression_agrees(length: bool) -> None:
    """Without a constant, a tie as half a win, standard errors clustered by prompt; climbed by scipy."""
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    votes = [Vote(v.model_a, v.model_b, v.winner, f"p{n % 40}", v.length_a, v.length_b)
             for n, v in enumerate(simulated(500, 11, pull=1.5))]  # fmt: skip
    names = models_in(votes)
    x = np.array([[(name == v.model_a) - (name == v.model_b) for name in names[1:]] for v in votes], float)
    if length:
        x = np.column_stack([x, [(v.length_a - v.length_b) / (v.length_a + v.length_b) for v in votes]])
    y = np.array([{"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[vote.winner] for vote in votes])
    best = minimize(lambda b: -np.sum(y * log_expit(x @ b) + (1 - y) * log_expit(-x @ b)), np.zeros(x.shape[1]),
                    options={"gtol": 1e-6}).x  # fmt: skip
    win = expit(x @ best)
    bread = np.linalg.inv((x * (win * (1 - win))[:, None]).T @ x)
    own = np.array([((y - win)[:, None] * x)[n::40].sum(axis=0) for n in range(40)])
    errors = np.sqrt(np.diag(bread @ own.T @ own @ bread) * 40 / 39)

    board = leaderboard(votes, Rules(ties="half", length=length, anchor="ant", anchor_rating=0, num_resamples=0))
    assert board.num_problems == 40
    for place, name in enumerate(names[1:]):
        (standing,) = [standing for standing in board.standings if standing.model == name]
        assert standing.rating / SCALE == pytest.approx(best[place], abs=1e-5)
        assert (standing.high - standing.low) / 2 / 1.96 / SCALE == pytest.approx(errors[place], rel=1e-4)
    if length:
        assert board.length_points == pytest.approx(SCALE / 3 * best[-1], abs=1e-2)
        half = 1.96 * SCALE / 3 * errors[-1]
        assert board.length_high - board.length_points == pytest.approx(half, rel=1e-4)
        assert board.length_low < 1.5 * SCALE / 3 < board.length_high


def test_scipy_finds_the_same_maximum_of_davidsons_likelihood() -> None:
    """Written once more as in the paper, with π and ν, and climbed by a method that is told no slope; the sandwich by
    finite differences of each prompt's likelihood."""
    from scipy.optimize import minimize

    votes = [Vote(v.model_a, v.model_b, v.winner, f"p{n % 25}") for n, v in enumerate(simulated(200, 5))]
    names = models_in(votes)

    def likelihoods(x: np.ndarray) -> np.ndarray:
        strength, nu, found = dict(zip(names, np.exp([0, *x[:4]]), strict=True)), math.exp(x[4]), np.zeros(25)
        for n, vote in enumerate(votes):
            a, b = strength[vote.model_a], strength[vote.model_b]
            either = nu * math.sqrt(a * b)
            chance = {"model_a": a, "model_b": b}.get(vote.winner, either) / (a + b + either)
            found[n % 25] += math.log(chance)
        return found

    best = minimize(lambda x: -likelihoods(x).sum(), np.zeros(5), method="BFGS", options={"gtol": 1e-6}).x
    board = leaderboard(votes, Rules(anchor="ant", anchor_rating=0, num_resamples=0))
    found = {standing.model: standing for standing in board.standings}
    assert [found[name].rating / SCALE for name in names[1:]] == pytest.approx(best[:4], abs=2e-5)
    assert board.tie_chance == pytest.approx(1 / (1 + 2 / math.exp(best[4])), abs=1e-5)

    step, axes = 1e-3, np.eye(5)
    slopes = np.array([(likelihoods(best + step * e) - likelihoods(best - step * e)) / (2 * step) for e in axes])

    def total(x: np.ndarray) -> float:
        return likelihoods(x).sum()

    bend = np.array([[total(best + step * (e + f)) - total(best + step * (e - f)) - total(best - step * (e - f))
                      + total(best - step * (e + f)) for e in axes] for f in axes]) / (4 * step**2)  # fmt: skip
    covariance = np.linalg.inv(bend) @ (slopes @ slopes.T) @ np.linalg.inv(bend) * 25 / 24
    errors = [(found[name].high - found[name].low) / 2 / 1.96 / SCALE for name in names[1:]]
    assert errors == pytest.approx(np.sqrt(np.diag(covariance))[:4], rel=1e-3)


# --- intervals ------------------------------------------------------------------------------------------------------


def test_votes_of_one_prompt_are_no_more_than_one() -> None:
    """Each vote three times over tells nothing new, where they belong together; taken apart it would."""
    once = [Vote(v.model_a, v.model_b, v.winner, f"p{n}") for n, v in enumerate(simulated(150, 2))]
    rules = Rules(num_resamples=30, num_orders=1)
    single, thrice = leaderboard(once, rules), leaderboard(once * 3, rules)
    apart = leaderboard([Vote(v.model_a, v.model_b, v.winner) for v in once * 3], rules)
    for one, three, own in zip(single.standings, thrice.standings, apart.standings, strict=True):
        assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=1e-4)
        assert (three.resampled_low, three.resampled_high) == pytest.approx((one.resampled_low, one.resampled_high))
        assert own.high - own.low == pytest.approx((one.high - one.low) / math.sqrt(3), rel=0.01)
    assert (single.num_problems, thrice.num_problems, apart.num_problems) == (150, 150, 450)


def test_the_bootstrap_agrees_with_the_sandwich() -> None:
    board = leaderboard(simulated(500, 4), Rules(num_resamples=300, num_orders=1))
    for s in board.standings:
        assert (s.resampled_high - s.resampled_low) / (s.high - s.low) == pytest.approx(1, abs=0.2)
        assert s.resampled_low < s.rating < s.resampled_high
    assert board.unrated_resamples == 0


def test_resamples_without_a_finite_rating_are_counted() -> None:
    """With 5 wins of 6, (5/6)^6 = a third of the resamples have no loss, and few no win."""
    board = leaderboard(many("x", "y", 5, 1), Rules(num_resamples=400, num_orders=1))
    assert board.unrated_resamples == pytest.approx((5 / 6) ** 6, abs=0.07)
    once = [Vote(*pair, winner, f"p{n}") for n in range(9) for pair in ("xy",) for winner in ("model_a", "model_b")]
    third = [Vote("x", "z", winner, "p9") for winner in ("model_a", "model_b")]  # is missing in 0.9^10
    board = leaderboard(once + third, Rules(num_resamples=400, num_orders=1))
    assert board.unrated_resamples == pytest.approx(0.9**10, abs=0.07)


def test_a_resample_that_begins_far_away_arrives() -> None:
    """Newton's method overshoots there: where 500 to 1 was likeliest, 1 to 1 is nearly flat."""
    design = bradley_terry.design_of(many("x", "y", 500, 1))
    even = np.array([1.0, 1.0])
    start = bradley_terry.newton(design, design.weights())
    assert start[0] - start[1] == pytest.approx(math.log(500))
    assert bradley_terry.newton(design, even, start)[:2] == pytest.approx([0, 0], abs=1e-6)


def test_intervals_hold_as_often_as_they_say() -> None:
    """95%: of ratings, of differences to an anchor, and (at least) of all ranks at once."""
    names, num = sorted(STRENGTHS), 200
    truth = np.array([STRENGTHS[name] for name in names])
    ranks = 1 + np.argsort(np.argsort(-truth))
    held = {None: 0, "cat": 0, "ranks": 0}
    for seed in range(num):
        found = bradley_terry.fit(bradley_terry.design_of(simulated(200, 1000 + seed)))
        for anchor in (None, "cat"):
            gauge = gauge_of(names, anchor)
            miss = gauge @ (found.parameters[:5] - truth)
            covariance = gauge @ found.covariance[:5, :5] @ gauge.T
            held[anchor] += np.sum(np.abs(miss) <= 1.96 * np.sqrt(np.diag(covariance)))
            assert anchor is None or miss[2] == covariance[2, 2] == 0
        intervals = rank_intervals(gauge @ found.parameters[:5], covariance, seed, draws=500)
        held["ranks"] += all(low <= rank <= high for rank, (low, high) in zip(ranks, intervals, strict=True))
    assert 0.93 <= held[None] / (5 * num) <= 0.97
    assert 0.93 <= (held["cat"] - num) / (4 * num) <= 0.97  # the anchor itself is always held
    assert held["ranks"] / num >= 0.94


def test_ranks_by_hand() -> None:
    sure, unsure = np.diag([1.0, 1.0, 1.0]), np.diag([1e6] * 3)
    assert rank_intervals(np.array([900.0, 1100.0, 1000.0]), sure) == [(3, 3), (1, 1), (2, 2)]
    assert rank_intervals(np.array([900.0, 1100.0, 1000.0]), unsure) == [(1, 3)] * 3
    assert rank_intervals(np.array([1000.0, 1001.0, 500.0]), sure) == [(1, 2), (1, 2), (3, 3)]
    error = math.sqrt(2)  # of a difference; Tukey's range of three: 2.34 errors are sure for all pairs at once
    assert rank_intervals(np.array([0, 2.2, 1.1]) * error, sure) == [(1, 3)] * 3
    assert rank_intervals(np.array([0, 2.5, 1.25]) * error, sure) == [(2, 3), (1, 2), (1, 3)]


# --- where no finite rating exists ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        (SIX, "A never lost or tied and D never won or tied"),
        (many("x", "y", 2, 1) + many("z", "w", 1, 1), "no vote compares [wxyz] and [wxyz] with [wxyz] and [wxyz]"),
        (many("x", "y", 2, 2) + many("z", "w", 2, 2) + many("x", "z", 3, 0),
         "x and y never lost to another and w and z never won against another"),
        ([v for pair in ("ab", "bc", "cd", "de", "xy") for v in many(*pair, 1, 1)],
         "no vote compares x and y with a, b and 3 others"),
        (many("x", "y", 0, 0, 5), "no vote has a winner"),
        (many("x", "y", 4, 0, 3), "the losers only ever tied"),
    ],
)  # fmt: skip
def test_no_finite_rating_is_said_with_who_is_unbeaten(votes: list[Vote], said: str) -> None:
    with pytest.raises(UserError, match=said):
        leaderboard(votes, Rules())


def test_a_prior_makes_them_finite_and_is_stated() -> None:
    """One model won both votes against the other. With one prior vote each, the slope is 0 where
    2 (1 - σ(2t)) = σ(t) - ½: ratings t and -t."""
    board = leaderboard(many("x", "y", 2, 0), Rules(prior=1))
    x, y = board.standings
    t = (x.rating - y.rating) / 2 / SCALE
    assert 2 * (1 - 1 / (1 + math.exp(-2 * t))) == pytest.approx(1 / (1 + math.exp(-t)) - 0.5)
    assert board.unbounded and x.resampled_low is None
    lost, w = 1 - 1 / (1 + math.exp(-2 * t)), 0.25 / math.cosh(t / 2) ** 2  # across both, the sandwich by hand
    spread, bend = 2 * 2 * 2 * lost**2 + w, 2 * 2 * lost * (1 - lost) + w
    assert x.high - x.rating == pytest.approx(1.96 * SCALE * math.sqrt(spread / 2) / bend)
    six = ratings(SIX, prior=1)
    assert six["A"] > six["B"] > six["C"] > six["D"] and max(six.values()) < 1400


def test_newton_does_not_walk_off() -> None:
    """Climbing the likelihood of these six votes step by step has no end: the gap grows with every tenfold of steps.
    This is what a finite number from such a fit is worth."""
    place = {name: n for n, name in enumerate("ABCD")}
    pairs = np.array([(place[v.model_a], place[v.model_b]) for v in SIX])

    def climbed(steps: int) -> float:
        theta = np.zeros(4)
        for _ in range(steps):
            miss = 1 - 1 / (1 + np.exp(theta[pairs[:, 1]] - theta[pairs[:, 0]]))
            theta += 0.1 * (np.bincount(pairs[:, 0], miss, 4) - np.bincount(pairs[:, 1], miss, 4))
        return SCALE * (theta[0] - theta[3])

    gaps = [climbed(10**power) for power in (2, 3, 4)]
    assert gaps[1] - gaps[0] > 300 and gaps[2] - gaps[1] > 300


@pytest.mark.parametrize("davidson", [True, False])
def test_finite_exactly_where_linear_programming_says_so(davidson: bool) -> None:
    """No maximum exists where some direction makes no vote less likely; scipy searches one, in small tournaments."""
    from scipy.optimize import linprog

    draw, seen = random.Random(13), {True: 0, False: 0}
    for _ in range(30):
        names = "xyz"[: draw.choice((2, 3, 3))]
        votes = [Vote(*draw.sample(names, 2), draw.choice(["model_a", "model_b", "tie"]))
                 for _ in range(draw.randint(2, 6))]  # fmt: skip
        if len(models_in(votes)) < len(names) or all(vote.winner == "tie" for vote in votes):
            continue  # where all tie, half wins are finite, and say nothing
        ties = davidson and any(vote.winner == "tie" for vote in votes)
        rows = []  # rows · (θ, η) <= 0
        for vote in votes:
            d = np.array([(name == vote.model_a) - (name == vote.model_b) for name in names] + [0.0])
            eta = np.array([0.0] * len(names) + [1.0])
            utilities = {"model_a": d / 2, "model_b": -d / 2} | ({"tie": eta} if ties else {})
            if vote.winner == "tie" and not ties:
                rows += [d, -d]  # half a win each: any lead costs
            else:
                rows += [other - utilities[vote.winner] for name, other in utilities.items() if name != vote.winner]
        bounds = [(0, 0)] + [(-1, 1)] * (len(names) - 1) + [(-1, 1) if ties else (0, 0)]
        furthest = max(-linprog(sign * axis, A_ub=np.array(rows), b_ub=np.zeros(len(rows)), bounds=bounds).fun
                       for axis in np.eye(len(names) + 1) for sign in (1, -1))  # fmt: skip
        reason = graph.why_unbounded(votes, davidson)
        assert (reason is not None) == (furthest > 1e-9), (votes, reason)
        seen[reason is None] += 1
    assert min(seen.values()) >= 3


def test_a_length_that_tells_the_winner_is_refused() -> None:
    votes = [Vote("x", "y", winner, f"{n}", *((9, 5) if winner == "model_a" else (5, 9)))
             for n, winner in enumerate(["model_a", "model_b"] * 5)]  # fmt: skip
    with pytest.raises(UserError, match="the lengths tell the winner"):
        leaderboard(votes, Rules(length=True))
    with pytest.raises(UserError, match="length_a and length_b in every vote"):
        leaderboard(many("x", "y", 2, 2), Rules(length=True))


# --- votes from files and runs --------------------------------------------------------------------------------------


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_of(folder: Path, verdicts: dict[str, str], question: str = "1 + {}?") -> Path:
    folder.mkdir()
    rows = [{"id": name, "question": question.format(name), "response": f"it is {name}", "status": status}
            for name, status in verdicts.items()]  # fmt: skip
    write(folder / "samples.jsonl", [*rows, {"id": "lost", "status": "failed", "row": 9, "error": "gone"}])
    return folder


def test_votes_of_two_runs(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", {"a": "correct", "b": "incorrect", "c": "correct", "d": "unparsed", "e": "correct"})
    other = run_of(tmp_path / "two", {"d": "incorrect", "c": "correct", "b": "correct", "a": "incorrect"})
    votes = votes_of_runs(named_runs([one, other]))
    assert [(v.problem, v.winner) for v in votes] == [
        ("a", "model_a"), ("b", "model_b"), ("c", "tie"), ("d", "both bad"),
    ]  # fmt: skip
    assert {(v.model_a, v.model_b, v.length_a, v.source) for v in votes} == {("one", "two", 7, "verifier")}
    for folder, num in ((one, 3), (other, 2)):  # of several responses, as many as both have
        rows = [{"id": "a", "question": "1 + a?", "response": "1", "status": "correct"}] * num
        write(folder / "samples.jsonl", rows)
    assert [(v.problem, v.winner) for v in votes_of_runs(named_runs([one, other]))] == [("a", "tie")] * 2
    (tmp_path / "more").mkdir()
    again = run_of(tmp_path / "more" / "one", {"a": "correct"}, "{}: who?")
    assert list(named_runs([one, again])) == [f"{tmp_path.name}/one", "more/one"]
    with pytest.raises(UserError, match="different questions under the id a"):
        votes_of_runs(named_runs([one, again]))


def test_spellings_of_the_arena_and_csv(tmp_path: Path) -> None:
    said = ["model_a", " Model_B", "TIE", "tie (bothbad)", "both_bad", "both bad"]
    rows = [{"model_a": "x", "model_b": "y", "winner": winner, "question_id": n % 2} for n, winner in enumerate(said)]
    votes = read_votes(write(tmp_path / "v.jsonl", rows), "question_id")
    assert [v.winner for v in votes] == ["model_a", "model_b", "tie", *["both bad"] * 3]
    assert {v.problem for v in votes} == {"0", "1"}
    (first, second) = leaderboard(votes, Rules(both_bad_as_tie=False)).standings
    assert first.both_bad == second.both_bad == 3  # shown, though not rated
    table = tmp_path / "v.csv"
    table.write_text("\ufeffmodel_a,model_b,winner,length_a,length_b\nx,y,model_a,3,4\nx,y,tie,,\n", encoding="utf-8")
    assert read_votes(table) == [Vote("x", "y", "model_a", "", 3, 4), Vote("x", "y", "tie")]


GOOD = {"model_a": "x", "model_b": "y", "winner": "tie"}


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        ([GOOD | {"winner": "left"}], [], "line 1: the winner is 'left': it must be model_a, model_b, tie or both bad"),
        ([GOOD, GOOD | {"winner": None}], [], "line 2: the winner is None"),
        ([GOOD | {"model_b": "x"}], [], "line 1: x is compared with itself"),
        ([GOOD | {"model_a": 3}], [], "line 1: 'model_a' must be a model's name, not 3"),
        ([GOOD | {"model_a": float("nan")}], [], "line 1: 'model_a' must be a model's name, not nan"),
        ([GOOD | {"length_a": float("nan")}], [], "'length_a' must be a number from 0 on, not nan"),
        ([GOOD | {"length_b": -1}], [], "'length_b' must be a number from 0 on, not -1"),
        ([{"model_a": "x", "model_b": "y"}], [], "line 1: the field 'winner' is missing"),
        ([], [], "no votes in this file"),
        ([GOOD], [], "no finite ratings exist: no vote has a winner"),
        ([GOOD | {"winner": "both bad"}], ["--both-bad", "drop"], "at least two models, got none"),
        ([GOOD], ["--anchor", "z"], "--anchor z has no votes: use one of x, y"),
        ([GOOD], ["--prior", "-1"], "--prior must be at least 0, not -1"),
        ([GOOD], ["--prior", "nan"], "--prior must be a finite number"),
        ([GOOD], ["--k", "0"], "--k must be above 0"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    rows: list[dict], flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert said in fails(capsys, "rank", write(tmp_path / "votes.jsonl", rows), *flags)


def test_bad_sources_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one = run_of(tmp_path / "one", {"a": "correct"})
    other = run_of(tmp_path / "two", {"b": "correct"})
    assert "is one run: give at least two" in fails(capsys, "rank", one)
    assert "one and two have no problem in common" in fails(capsys, "rank", one, other)
    (other / "config.json").write_text("{}")
    assert "two has no report.json: the run is not finished" in fails(capsys, "rank", one, other)
    assert "is named twice" in fails(capsys, "rank", one, one)
    assert "no such file" in fails(capsys, "rank", tmp_path / "none.jsonl")
    assert "none: no such file or folder" in fails(capsys, "rank", one, tmp_path / "none")  # once: one is one run
    assert "holds no samples.jsonl" in fails(capsys, "rank", tmp_path)
    (one / "config.json").write_text('{"model": "m"}')  # a leaderboard would replace that run's report
    assert "one holds another command's run" in fails(capsys, "rank", tmp_path / "v.jsonl", "--out", one)


def test_the_command_writes_its_report(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [{"model_a": v.model_a, "model_b": v.model_b, "winner": v.winner} for v in simulated(300, 3)]
    rows = [row | {name: f"<b>{row[name]}" for name in ("model_a", "model_b")} | {"q": n // 2}
            for n, row in enumerate(rows)]  # fmt: skip
    votes, out = write(tmp_path / "votes.jsonl", rows), tmp_path / "out"
    flags = (
        "--bootstrap 20 --orders 20 --k 8 --anchor <b>elk --anchor-rating 500 --ties half --both-bad drop --cluster q"
    )
    cli.main(["rank", str(votes), "--out", str(out), *flags.split(), "--seed", "3", "--prior", "0.5"])
    printed = capsys.readouterr().out
    assert "<b>ant" in printed and "95% intervals" in printed
    found = json.loads((out / "ranking.json").read_text())["leaderboard"]
    assert found["standings"][0]["model"] == "<b>ant" and (found["num_votes"], found["num_problems"]) == (300, 150)
    rules = dict(ties="half", both_bad_as_tie=False, prior=0.5, length=False, anchor="<b>elk", anchor_rating=500)
    assert found["rules"] == rules | dict(num_resamples=20, num_orders=20, k=8, seed=3)
    page = Page((out / "report.html").read_text())
    assert "b" not in page.tags and "<b>ant" in page.text and "Elo in other" in page.text
    assert (out / "ratings.png").read_bytes().startswith(b"\x89PNG")


def test_equal_votes_are_one_row() -> None:
    design = bradley_terry.design_of(many("x", "y", 40, 30, 20))
    assert len(design.rows) == 3 and design.weights().tolist() == [40, 30, 20]
