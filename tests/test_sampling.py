"""Temperature, truncation and the draw: by hand, against brute force, and by frequency."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkling.errors import UserError
from thinkling.generate import distribution as distributing
from thinkling.generate.distribution import (
    BatchedSampling,
    choose,
    choose_among_all,
    choose_among_likeliest,
    distribution,
    measure,
    penalise,
    uniforms,
)
from thinkling.generate.sampling import Sampling, derive_seed

CPU = torch.device("cpu")


def probs(logits: list[float], **changes: object) -> list[float]:
    return distribution(torch.tensor([logits]), BatchedSampling([Sampling(**changes)], CPU)).exp()[0].tolist()


def logs(*shares: float) -> list[float]:
    return [math.log(share) for share in shares]


def test_truncation_by_hand() -> None:
    p = logs(0.1, 0.4, 0.2, 0.3)
    assert probs(p) == pytest.approx([0.1, 0.4, 0.2, 0.3])
    assert probs(p, top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert probs(p, top_p=0.7) == pytest.approx([0, 4 / 7, 0, 3 / 7])  # .4 + .3 reach .7
    assert probs(p, top_p=0.71) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])
    assert probs(p, top_p=0.01) == pytest.approx([0, 1, 0, 0])  # the likeliest always stays
    assert probs(p, min_p=0.5) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9])  # .2 is half of .4
    assert probs(p, min_p=0.51) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    # top-p works on what top-k left: of .4/.7 and .3/.7 the first alone is .571
    assert probs(p, top_k=2, top_p=0.57) == pytest.approx([0, 1, 0, 0])


def test_temperature_by_hand() -> None:
    assert probs(logs(0.2, 0.8), temperature=0.5) == pytest.approx([0.04 / 0.68, 0.64 / 0.68])
    assert probs(logs(0.2, 0.8), temperature=2) == pytest.approx([1 / 3, 2 / 3])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12), st.integers(0, 12), st.floats(0.05, 1),
    st.floats(0, 1), st.floats(0.2, 3),
)  # fmt: skip
def test_truncation_against_brute_force(logits: list, top_k: int, top_p: float, min_p: float, t: float) -> None:
    """The same rules, written as a loop over sorted tokens in Python floats."""
    heat = [math.exp(x / t) for x in logits]
    kept = sorted(range(len(logits)), key=lambda i: (-heat[i], i))[: top_k or None]
    total, seen, chosen = sum(heat[i] for i in kept), 0.0, []
    margins = []
    for i in kept:
        margins.append(abs(seen / total - top_p))
        if chosen and seen / total >= top_p:
            break
        chosen.append(i)
        seen += heat[i]
    margins += [abs(heat[i] / heat[chosen[0]] - min_p) for i in chosen]
    margins += [b - a for a, b in pairwise(sorted(logits)) if b > a]
    if min(margins) < 1e-4:
        return  # on the edge, rounding may fall either way
    chosen = [i for i in chosen if heat[i] >= min_p * heat[chosen[0]]]
    share = sum(heat[i] for i in chosen)
    expected = [heat[i] / share if i in chosen else 0.0 for i in range(len(logits))]
    found = probs(logits, temperature=t, top_k=top_k, top_p=top_p, min_p=min_p)
    assert found == pytest.approx(expected, abs=1e-4)


def test_rows_keep_their_own_rules() -> None:
    kinds = [Sampling(temperature=0), Sampling(top_k=1), Sampling(temperature=0.5), Sampling(top_p=0.6)]
    logits = torch.tensor([logs(0.1, 0.4, 0.2, 0.3)] * 4)
    together = distribution(logits, BatchedSampling(kinds, CPU))
    for row, kind in enumerate(kinds):
        assert torch.allclose(together[row], distribution(logits[row : row + 1], BatchedSampling([kind], CPU))[0])


def test_the_uniform_number_picks_by_the_cumulative_distribution() -> None:
    logits = torch.tensor([logs(0.1, 0.4, 0.2, 0.3)])
    for uniform, token in ((0.0, 0), (0.09, 0), (0.11, 1), (0.49, 1), (0.51, 2), (0.71, 3), (0.9999999, 3)):
        tokens, logprobs = choose(logits, BatchedSampling([Sampling()], CPU), torch.tensor([uniform]))
        assert tokens.tolist() == [token]
        assert logprobs.item() == pytest.approx(logits[0, token].item(), abs=1e-6)


def test_a_cut_token_is_never_drawn_even_at_the_ends() -> None:
    logits = torch.tensor([[-50.0, 0.0, -1.0, -50.0]])
    for uniform in (0.0, 1 - 1e-7):
        tokens, logprobs = choose(logits, BatchedSampling([Sampling(top_k=2)], CPU), torch.tensor([uniform]))
        assert tokens.item() in (1, 2)
        assert logprobs.isfinite().all()


KINDS = [Sampling(top_k=2), Sampling(top_p=0.3), Sampling(top_p=0.9), Sampling(min_p=0.2), Sampling(temperature=0),
         Sampling(top_k=9, top_p=0.8), Sampling(temperature=0.3, top_p=0.95), Sampling(), Sampling(top_k=5, min_p=0.1),
         Sampling(temperature=0, top_p=0.5), Sampling(top_p=1e-9), Sampling(top_k=10**6, top_p=0.5)]  # fmt: skip


@given(
    st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([0.5, 2.0, 6.0]), st.booleans(),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
)  # fmt: skip
def test_the_likeliest_suffice_or_all_are_asked(seed: int, num: int, size: float, ties: bool, kinds: list) -> None:
    """The same tokens and log-probabilities, to the last bit, as by sorting all: peaked, flat, with equal logits."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(kinds), 61, generator=random) * size
    logits, numbers = logits.round() if ties else logits, torch.rand(len(kinds), generator=random)
    batch, usual = BatchedSampling(kinds, CPU), distributing.CANDIDATES
    distributing.CANDIDATES = num
    try:
        found = choose_among_likeliest(logits, batch, numbers)
    finally:
        distributing.CANDIDATES = usual
    for mine, plain in zip(found, choose_among_all(logits, batch, numbers), strict=True):
        assert mine.equal(plain)


@pytest.mark.parametrize(("temperature", "uniform", "token"), [(1.0, 0.2, 10), (1.0, 0.5, 30), (0.0, 0.2, 30)])
def test_the_likeliest_are_drawn_in_the_order_of_the_vocabulary(
    temperature: float, uniform: float, token: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token 30 has 0.6, token 10 has 0.3; alone left, 10 has the first third. Greedy takes 30."""
    monkeypatch.setattr(distributing, "CANDIDATES", 4)
    monkeypatch.setattr(distributing, "choose_among_all", None)
    logits = torch.full((1, 40), math.log(0.1 / 38))
    logits[0, 30], logits[0, 10] = logs(0.6, 0.3)
    batch = BatchedSampling([Sampling(temperature=temperature, top_p=0.85)], CPU)
    tokens, logprobs = choose(logits, batch, torch.tensor([uniform]))
    assert tokens.tolist() == [token]
    assert logprobs.item() == pytest.approx(math.log(1 / 3 if token == 10 else 2 / 3))


def test_only_rows_whose_truncation_goes_on_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four candidates among 40: peaked rows end within them; flat ones, top-k 9 and rows without truncation do not;
    and a tie with the last candidate cannot tell which token is meant."""
    peaked, flat = torch.arange(40.0).flip(0) * 3, torch.zeros(40)
    tied = torch.tensor([5.0, 5.0, 5.0, 5.0, 5.0] + [0.0] * 35)
    rows = [(peaked, Sampling(top_p=0.9)), (peaked, Sampling(top_k=3)), (flat, Sampling(top_p=0.9)),
            (peaked, Sampling(top_k=9)), (peaked, Sampling()), (tied, Sampling(top_k=2)),
            (peaked, KINDS[-1])]  # fmt: skip
    asked = []
    plain = distributing.choose_among_all
    monkeypatch.setattr(distributing, "CANDIDATES", 4)
    monkeypatch.setattr(distributing, "choose_among_all", lambda *of: asked.append(of[0]) or plain(*of))
    logits, batch = torch.stack([row for row, _ in rows]), BatchedSampling([kind for _, kind in rows], CPU)
    choose(logits, batch, torch.full((len(rows),), 0.4))
    (sorted_rows,) = asked
    assert sorted_rows.equal(logits[[2, 3, 4, 5]])


def test_frequencies_follow_the_distribution() -> None:
    logits = torch.tensor([logs(0.1, 0.4, 0.2, 0.3)])
    numbers = torch.tensor(list(uniforms(Sampling(max_tokens=4000, seed=7))))
    drawn = Counter(choose(logits.expand(4000, 4), BatchedSampling([Sampling()], CPU), numbers)[0].tolist())
    for token, share in enumerate((0.1, 0.4, 0.2, 0.3)):
        assert drawn[token] / 4000 == pytest.approx(share, abs=0.03)  # four standard deviations


def test_greedy_reports_the_logprob_at_temperature_one() -> None:
    tokens, logprobs = choose(
        torch.tensor([logs(0.3, 0.7)]), BatchedSampling([Sampling(temperature=0)], CPU), torch.zeros(1)
    )
    assert (tokens.item(), logprobs.item()) == (1, pytest.approx(math.log(0.7)))


def test_seeds_are_pinned() -> None:
    assert derive_seed(0, "problem", 3) == derive_seed(0, "problem", 3)
    assert len({derive_seed(0, "problem", i) for i in range(1000)}) == 1000
    assert derive_seed(1, "a") == 1515775267073163690


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(max_tokens=0), "max-tokens must be at least 1, not 0"),
        (dict(temperature=-1.0), "temperature must be 0"),
        (dict(top_p=0.0), "top-p must be above 0"),
        (dict(top_k=-1), "top-k must be 0"),
        (dict(min_p=1.5), "min-p must be between 0"),
        (dict(stop=("",)), "stop string must not be empty"),
    ],
)
def test_settings_that_mean_nothing(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(Sampling(), **changes)


def test_measures_by_hand() -> None:
    confidence, certainty, margin = measure(torch.tensor([logs(0.5, 0.25, 0.125, 0.125)]) + 3.0)[0].tolist()
    mean = (math.log(2) + math.log(4) + 2 * math.log(8)) / 4  # of -log p: 2.25 log 2
    assert confidence == pytest.approx(mean)  # fewer than 20 tokens: all of them
    assert certainty == pytest.approx(mean - math.log(4))  # sum over 1/4 log(1/4 / p)
    assert margin == pytest.approx(0.25)
    assert measure(torch.zeros(1, 7))[0].tolist() == pytest.approx([math.log(7), 0, 0], abs=1e-6)


def test_confidence_looks_at_the_twenty_likeliest() -> None:
    shares = [0.04] * 20 + [0.2 / 80] * 80
    assert float(measure(torch.tensor([logs(*shares)]))[0, 0]) == pytest.approx(-math.log(0.04), abs=1e-5)


def test_a_temperature_near_zero_is_greedy() -> None:
    """1e-40 once divided the logits into infinities, whose difference is no number, and the draw fell off the end."""
    assert probs([3.0, 9.0, -2.0], temperature=1e-40) == [0, 1, 0]
    assert probs([3.0, 9.0, 9.0], temperature=5e-324) == [0, 0.5, 0.5]  # no float32: once 0 / 0
    assert probs([300.0, 900.0, 899.0], temperature=1e-3) == [0, 1, 0]


def test_penalties_by_hand() -> None:
    """Prompt 0 1, completion 1 1 2, of five tokens. Repetition 2 halves positive logits of 0, 1 and 2 and doubles
    negative ones; then frequency 0.5 takes 1.0 from token 1 and 0.5 from 2, presence 0.25 takes it from both once."""
    logits = torch.tensor([[2.0, -1.0, 4.0, 3.0, -3.0]] * 2)
    hard = Sampling(repetition_penalty=2.0, frequency_penalty=0.5, presence_penalty=0.25)
    both = BatchedSampling([hard, Sampling()], CPU)
    found = penalise(logits, both, [[0, 1]] * 2, [[1, 1, 2]] * 2)
    assert found.tolist() == [[1.0, -2 - 1.0 - 0.25, 2 - 0.5 - 0.25, 3.0, -3.0], logits[1].tolist()]
    off = BatchedSampling([Sampling(), Sampling()], CPU)
    assert penalise(logits, off, [[0, 1]] * 2, [[1, 1, 2]] * 2) is logits


@pytest.mark.parametrize("num", [1, 15, 16, 17, 63, 64, 65, 128, 200, 1000])
def test_the_random_stream_is_that_of_one_long_draw(num: int) -> None:
    whole = torch.rand(num, generator=torch.Generator().manual_seed(9)).tolist()
    assert list(uniforms(Sampling(max_tokens=num, seed=9))) == whole


def test_any_whole_number_is_a_seed() -> None:
    """2**64 once raised an overflow."""
    seeds = [0, -1, 2**63 - 2, 2**64, 2**64 + 1, -(2**63) - 1, 10**40]
    firsts = [next(uniforms(Sampling(seed=seed))) for seed in seeds]
    assert len(set(firsts)) == len(seeds)
    assert firsts == [next(uniforms(Sampling(seed=seed))) for seed in seeds]


@pytest.mark.parametrize(
    ("changes", "message"), [({"seed": 1.5}, "a seed must be a whole number"), ({"stop": "ab"}, "write stop=.text,.")]
)
def test_what_has_the_wrong_type_is_refused(changes: dict, message: str) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # as outside the tests
    try:
        with pytest.raises(UserError, match=message):
            Sampling(**changes)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_what_is_not_finite_never_points_behind_the_vocabulary() -> None:
    logits = torch.full((3, 4), 1.0)
    logits[0, 1], logits[1, 2] = float("nan"), float("inf")
    tokens, logprobs = choose(logits, BatchedSampling([Sampling()] * 3, CPU), torch.full((3,), 0.9))
    assert tokens.max() < 4
    assert logprobs.isnan().tolist() == [True, True, False]
