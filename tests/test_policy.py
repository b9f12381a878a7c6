"""The policy gradient by hand: advantages, ratios, clips, KL estimators, corrections, weights of tokens."""

import math

import pytest
import torch
from torch import Tensor

from thinkling.train.rl.loss import Denominators, TokenTensors, in_words, loss_of, rewards_after_kl
from thinkling.train.rl.objective import PRESETS, Advantage, Objective
from thinkling.train.rl.terms import (
    advantages,
    centred,
    cispo_surrogate,
    clip_surrogate,
    correction_weights,
    drifted,
    kl_terms,
    ratios,
    sapo_surrogate,
    token_weights,
)

FOUR = torch.tensor([[1.0], [0], [0], [0]])
ONE_GROUP = torch.zeros(4, dtype=torch.long)


def found(kind: str, rewards: list[list[float]], groups: list[int], lengths: list[int] | None = None) -> list[float]:
    lengths = lengths or [1] * len(groups)
    return advantages(kind, torch.tensor(rewards), torch.tensor(groups), torch.tensor(lengths)).tolist()


# --- advantages ---------------------------------------------------------------------------------------------------


def test_one_right_answer_in_four() -> None:
    assert advantages("mean", FOUR, ONE_GROUP, torch.ones(4).long()).tolist() == [0.75, -0.25, -0.25, -0.25]


def test_divided_by_the_population_standard_deviation() -> None:
    # mean 1/4, variance (9/16 + 3/16) / 4 = 3/16, std = sqrt(3)/4: advantages sqrt(3) and -1/sqrt(3)
    values = found("std", [[1.0], [0], [0], [0]], [0, 0, 0, 0])
    assert values == pytest.approx([math.sqrt(3), *[-1 / math.sqrt(3)] * 3], rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("reward", 1.0, 0.0),
        ("mean", 3 / 4, -1 / 4),
        ("std", math.sqrt(3), -1 / math.sqrt(3)),  # variance (9/16 + 3/16) / 4 = 3/16
        ("batch-std", math.sqrt(3), -1 / math.sqrt(3)),
        ("leave-one-out", 1.0, -1 / 3),
        ("max-rl", 3.0, -1.0),  # (1 - 1/4) / (1/4)
        ("whiten", math.sqrt(3), -1 / math.sqrt(3)),  # all of one token: the same as std
        ("gdpo", math.sqrt(3), -1 / math.sqrt(3)),
    ],
)
def test_every_advantage_by_hand(kind: str, right: float, wrong: float) -> None:
    assert found(kind, FOUR.tolist(), [0] * 4) == pytest.approx([right, wrong, wrong, wrong], rel=1e-4)


def test_groups_are_compared_with_themselves_in_any_order() -> None:
    rewards = [[1.0], [5.0], [0.0], [7.0]]
    assert found("mean", rewards, [0, 1, 0, 1]) == [0.5, -1.0, -0.5, 1.0]
    # deviation of 1, 5, 0, 7: mean 3.25, variance (5.0625 + 3.0625 + 10.5625 + 14.0625) / 4
    assert found("batch-std", rewards, [0, 1, 0, 1])[0] == pytest.approx(0.5 / math.sqrt(8.1875), rel=1e-4)


def test_groups_of_different_sizes() -> None:
    assert found("leave-one-out", [[1.0], [0.0], [3.0], [0.0], [0.0]], [0, 0, 1, 1, 1]) == [1, -1, 3, -1.5, -1.5]


def test_whitening_counts_tokens() -> None:
    """A right completion of 1 token, a wrong one of 3: mean 1/4, variance 3/16 over the four tokens."""
    assert found("whiten", [[1.0], [0.0]], [0, 0], [1, 3]) == pytest.approx([math.sqrt(3), -1 / math.sqrt(3)], rel=1e-4)


def test_gdpo_keeps_apart_what_a_sum_would_blur() -> None:
    """Two rewards whose sums tie, (1, 0) and (0, 1): of the first all but one are right, of the second one is."""
    rewards = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert found("std", rewards, [0] * 4) == [0.0] * 4
    values = found("gdpo", [[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0] * 3)
    # each part by itself: (2, -1, -1) / sqrt(2), whatever its scale; so 2 points and 1 point weigh the same
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert values[0] > values[2]


def test_max_rl_where_nobody_is_right() -> None:
    assert found("max-rl", [[0.0], [0.0]], [0, 0]) == [0.0, 0.0]


@pytest.mark.parametrize("kind", [k for k in Advantage.__args__ if k != "reward"])
@pytest.mark.parametrize("size", [2, 7, 10])
def test_equal_rewards_give_nothing(kind: str, size: int) -> None:
    """0.1 * 7 / 7 is not 0.1 in float32: rounding must not become an advantage."""
    assert found(kind, [[0.1]] * size, [0] * size) == [0.0] * size


def test_each_group_is_centred_by_itself() -> None:
    torch.manual_seed(0)
    rewards, groups = torch.rand(12, 1), torch.arange(12) % 3
    values = centred(rewards, groups)[:, 0]
    for group in range(3):
        assert torch.allclose(values[groups == group], rewards[groups == group, 0] - rewards[groups == group, 0].mean())


def test_unknown_names_are_errors() -> None:
    one, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    for call in (lambda: found("median", [[1.0]], [0]), lambda: ratios("word", one, one, mask),
                 lambda: kl_terms("k4", one, one, one), lambda: correction_weights("x", one, one, 0.5, 2.0),
                 lambda: token_weights("x", mask, 1, 1, 1)):  # fmt: skip
        with pytest.raises(ValueError, match="no "):
            call()


# --- ratios and surrogates ----------------------------------------------------------------------------------------


def test_ratios_by_hand() -> None:
    """Changes of 0.1 and 0.3 nats, and a masked place that must not count."""
    new, mask = torch.tensor([[0.1, 0.3, 9.0]], requires_grad=True), torch.tensor([[True, True, False]])
    old = torch.zeros(1, 3)
    values = {level: ratios(level, new, old, mask)[0, :2] for level in ("token", "sequence", "product")}
    assert values["token"].tolist() == pytest.approx([math.exp(0.1), math.exp(0.3)])
    assert values["sequence"].tolist() == pytest.approx([math.exp(0.2)] * 2)
    assert values["product"].tolist() == pytest.approx([math.exp(0.4)] * 2)
    for level, ratio in values.items():  # at each token, the gradient is the ratio's value
        (gradient,) = torch.autograd.grad(ratio.sum(), new, retain_graph=True)
        assert gradient[0].tolist() == pytest.approx([*ratio.tolist(), 0.0]), level


@pytest.mark.parametrize(
    ("advantage", "ratio", "gradient", "wrong_way"),
    [
        (1.0, 1.5, 0.0, 0.0),  # already much likelier: no further push
        (1.0, 0.5, 0.5, 0.5),  # a good token that became unlikely: pulled back, d(rA)/dlogp = r A
        (-1.0, 0.5, 0.0, -0.5),  # already much less likely: no further push; the wrong way has no floor
        (-1.0, 1.5, -1.5, 0.0),  # a bad token that became likelier: pushed down; the wrong way does not see it
        (-1.0, 1.1, -1.1, -1.1),
    ],
)
def test_clip_for_both_signs_of_the_advantage(
    advantage: float, ratio: float, gradient: float, wrong_way: float
) -> None:
    for wrong, wanted in ((False, gradient), (True, wrong_way)):
        logprobs = torch.tensor([[math.log(ratio)]], requires_grad=True)
        value = clip_surrogate(logprobs.exp(), torch.tensor([[advantage]]), 0.2, 0.2, wrong_way=wrong)
        value.sum().backward()
        assert logprobs.grad.item() == pytest.approx(wanted)


def test_dual_clip_bounds_what_a_bad_token_costs() -> None:
    value = clip_surrogate(torch.tensor([[9.0, 9.0, 2.0]]), torch.tensor([[-1.0, 1.0, -1.0]]), 0.2, 0.2, dual=3.0)
    assert value.tolist() == [[-3.0, pytest.approx(1.2), -2.0]]


def test_cispo_keeps_the_gradient_of_a_clipped_token() -> None:
    logprobs = torch.tensor([[math.log(8.0), math.log(0.1)]], requires_grad=True)
    cispo_surrogate(logprobs.exp(), torch.tensor([[1.0, 2.0]]), logprobs, largest=5.0).sum().backward()
    assert logprobs.grad.tolist() == [pytest.approx([5.0, 0.2])]


def test_sapo_has_the_policy_gradient_at_ratio_one_and_fades_out() -> None:
    for advantage in (2.0, -2.0):
        logprobs = torch.tensor([[0.0, math.log(20.0)]], requires_grad=True)
        sapo_surrogate(logprobs.exp(), torch.full((1, 2), advantage), 1.0, 1.05).sum().backward()
        assert logprobs.grad[0, 0].item() == pytest.approx(advantage)
        assert abs(logprobs.grad[0, 1].item()) < 1e-4


# --- KL, corrections, weights ---------------------------------------------------------------------------------------


def test_kl_terms_by_hand() -> None:
    difference, one = torch.tensor([[0.5]]), torch.ones(1, 1)
    zero, twice = torch.zeros(1, 1), 2 * one
    assert kl_terms("k1", difference, zero, one).item() == pytest.approx(0.5)
    assert kl_terms("k2", difference, zero, one).item() == pytest.approx(0.125)
    assert kl_terms("k3", difference, zero, one).item() == pytest.approx(math.exp(-0.5) - 0.5)
    assert kl_terms("r*k1", difference, zero, twice).item() == pytest.approx(1.0)
    assert kl_terms("r*k3", difference, zero, twice).item() == pytest.approx(2 * (math.exp(-0.5) - 0.5))


@pytest.mark.parametrize(
    ("kind", "gradient_of"),
    [("k1", "nothing"), ("k2", "reverse"), ("k3", "forward"), ("r*k1", "reverse"), ("r*k3", "reverse")],
)
def test_where_the_estimator_stands_decides_the_gradient(kind: str, gradient_of: str) -> None:
    """One token of five, on policy: the expected gradient of each term, beside that of the KL itself."""
    torch.manual_seed(1)
    theta = torch.randn(5, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(5, dtype=torch.float64).log_softmax(0)

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, theta)[0]

    logprobs = theta.log_softmax(0)
    ratio = (logprobs - logprobs.detach()).exp()
    terms = kl_terms(kind, logprobs[:, None], reference[:, None], ratio[:, None])[:, 0]
    expected = gradient((logprobs.detach().exp() * terms).sum())
    logprobs = theta.log_softmax(0)
    wanted = {
        "nothing": torch.zeros(5, dtype=torch.float64),
        "reverse": gradient((logprobs.exp() * (logprobs - reference)).sum()),
        "forward": gradient((reference.exp() * (reference - theta.log_softmax(0))).sum()),
    }
    for name, value in wanted.items():
        assert torch.allclose(expected, value, atol=1e-12) == (name == gradient_of)


def test_k1_in_the_reward_is_taken_off_once() -> None:
    objective = Objective(kl="k1-in-reward", kl_coef=0.1)
    old, reference = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -1.0]])
    for mask, wanted in (([[True, True]], 1.0 + 0.05), ([[True, False]], 1.0 - 0.05)):
        after = rewards_after_kl(objective, torch.tensor([[1.0]]), old, reference, torch.tensor(mask))
        assert after.item() == pytest.approx(wanted)


def test_corrections_by_hand() -> None:
    old, sampled = torch.tensor([[math.log(3.0), 0.0, math.log(0.2)]]), torch.zeros(1, 3)
    assert correction_weights("none", old, sampled, 0.5, 2.0).tolist() == [[1.0, 1.0, 1.0]]
    assert correction_weights("tis", old, sampled, 0.5, 2.0).tolist() == [pytest.approx([2.0, 1.0, 0.2])]
    assert correction_weights("icepop", old, sampled, 0.5, 2.0).tolist() == [pytest.approx([0.0, 1.0, 0.0])]


def test_the_sequence_mask_drops_bad_completions_that_drifted() -> None:
    """Means of 0.6, 0.6 and 0.4 nats: the first is good, the second goes, the third has not drifted enough."""
    old = torch.tensor([[0.8, 0.4], [0.8, 0.4], [0.4, 9.0]])
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    away = drifted(torch.zeros(3, 2), old, mask, torch.tensor([1.0, -1.0, -1.0]), 0.5)
    assert away.tolist() == [False, True, False]


def test_weights_of_tokens_by_hand() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert token_weights("sequence", mask, 2, 4, 10).sum(-1).tolist() == pytest.approx([0.5, 0.5])
    assert token_weights("tokens", mask, 2, 4, 10)[mask].tolist() == [0.25] * 4
    assert token_weights("constant", mask, 2, 4, 10)[mask].tolist() == pytest.approx([0.05] * 4)


def test_on_policy_gradient_is_the_advantage() -> None:
    logprobs = torch.full((2, 3), -1.0, requires_grad=True)
    mask = torch.tensor([[True] * 3, [True, True, False]])
    old = logprobs.detach()
    rows = TokenTensors(logprobs, old, old, None, torch.tensor([1.0, -1.0]), mask)
    loss_of(PRESETS["dr-grpo"].objective, rows, Denominators(2, 5, max_tokens=5)).value.backward()
    assert torch.allclose(logprobs.grad, -torch.tensor([[1.0, 1, 1], [-1, -1, 0]]) / 10)


@pytest.mark.parametrize("preset", PRESETS)
def test_micro_batches_add_up(preset: str) -> None:
    torch.manual_seed(0)
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]
    logprobs, old, sampled, reference = (-torch.rand(4, 6) for _ in range(4))
    weights = torch.tensor([1.0, -0.5, 0.5, -1.0])
    totals = Denominators(4, int(mask.sum()), 8)

    def value(rows: slice) -> float:
        part = TokenTensors(*(x[rows] for x in (logprobs, old, sampled, reference, weights, mask)))
        return loss_of(PRESETS[preset].objective, part, totals).value.item()

    assert sum(value(slice(i, i + 1)) for i in range(4)) == pytest.approx(value(slice(None)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_masked_cannot_matter(preset: str) -> None:
    """Not even if it is not a number."""
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    numbers = [-torch.rand(2, 3) for _ in range(4)]
    objective, results = PRESETS[preset].objective, []
    for junk in (0.0, float("nan")):
        filled = [torch.where(mask, x, junk) for x in numbers]
        logprobs = filled[0].requires_grad_()
        loss = loss_of(
            objective, TokenTensors(logprobs, *filled[1:], torch.tensor([1.0, -1.0]), mask), Denominators(2, 3, 4)
        )
        results.append((loss.value.item(), torch.autograd.grad(loss.value, logprobs)[0][mask].tolist()))
    assert results[0] == results[1]
    assert math.isfinite(results[1][0])


def test_preset_names_and_words() -> None:
    assert all(preset.source for preset in PRESETS.values())
    assert "clip(r, 0.8, 1.28)" in " ".join(in_words(PRESETS["dapo"].objective))
    assert "its expected gradient on policy is 0" in " ".join(in_words(PRESETS["the-book"].objective))
    words = in_words(Objective(dual_clip=3.0, ratio_cap=4.0, correction="icepop", sequence_mask=0.5))
    for part in ("r counts at most 4", "never below 3 A", "0 outside [0.5, 2]", "more than 0.5 nats per token"):
        assert any(part in line for line in words), part
