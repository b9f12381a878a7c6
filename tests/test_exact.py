"""Every preset's expected gradient equals the stated one, by enumeration; known mistakes are found and named."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from thinkling import cli
from thinkling.train.rl import check_loss, exact
from thinkling.train.rl import terms as policy
from thinkling.train.rl.check_loss import check, distance
from thinkling.train.rl.exact import gradient_of, groups_of, stated_gradient, thinklings, worlds
from thinkling.train.rl.loss import LossInputs
from thinkling.train.rl.objective import PRESETS, Advantage, Objective

KL = replace(PRESETS["dr-grpo"].objective, kl="k3", kl_coef=0.1)


def test_everything_that_can_be_drawn_is_listed_once() -> None:
    assert len(exact.DRAWN) == 1 + 3 * 4 == len(set(exact.DRAWN))
    world = worlds()[0]
    groups = groups_of(world, PRESETS["dr-grpo"].objective)
    assert len(groups) == 13 * 14 / 2
    assert sum(group.probability for group in groups) == pytest.approx(1.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_the_gradient_that_it_states(preset: str) -> None:
    findings = check(thinklings(PRESETS[preset].objective), PRESETS[preset].objective)
    assert len(findings) == 6
    assert [finding.world for finding in findings if not finding.passed] == []


@pytest.mark.parametrize(
    "objective",
    [
        Objective(dual_clip=1.3), Objective(ratio_cap=1.2, surrogate="sapo"), Objective(ratio_cap=1.1),
        Objective(correction="icepop", correction_low=0.8, correction_high=1.2), Objective(sequence_mask=0.1),
        Objective(kl="r*k1", kl_coef=0.1), Objective(kl="k2", kl_coef=0.1, ratio="sequence"),
        Objective(kl="k1-in-reward", kl_coef=0.1), Objective(advantage="batch-std"), Objective(advantage="max-rl"),
    ],
    ids=str,
)  # fmt: skip
def test_other_choices(objective: Objective) -> None:
    assert all(finding.passed for finding in check(thinklings(objective), objective))


def test_the_worlds_reach_both_sides_of_the_clip() -> None:
    """Else the comparison would prove nothing: in each there are tokens below, inside and above, of its sign."""
    objective = PRESETS["dr-grpo"].objective
    for world in worlds()[1:3]:
        places = set()
        new = {c: exact.log_probs(world.theta, c, 1.0) for c in exact.DRAWN}
        for group in groups_of(world, objective):
            for row, c in enumerate(group.members):
                if group.advantages[row] == 0:
                    continue
                assert math.copysign(1, group.advantages[row]) == world.sign
                for t in range(len(c)):
                    ratio = math.exp(new[c][t] - float(group.old[row, t]))
                    places.add("below" if ratio < 0.8 else "above" if ratio > 1.2 else "inside")
        assert places == {"below", "inside", "above"}


def test_on_policy_it_climbs_the_expected_reward() -> None:
    """Leave-one-out over a constant: exactly the gradient of E[R] / max_tokens, by finite differences."""
    world, objective = worlds()[0], PRESETS["rloo"].objective

    def expected_reward(theta: Tensor) -> float:
        return sum(math.exp(sum(exact.log_probs(theta, c, 1.0))) * sum(exact.rewards_of(c)) for c in exact.DRAWN)

    found = gradient_of(thinklings(objective), world, groups_of(world, objective))
    for place in ((0, 0), (0, 3), (2, 1), (3, 3)):
        step = torch.zeros_like(world.theta)
        step[place] = 1e-5
        slope = (expected_reward(world.theta + step) - expected_reward(world.theta - step)) / 2e-5
        assert found[place].item() == pytest.approx(-slope / exact.MAX_TOKENS, abs=1e-8)


def user_loss(
    clip: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda plain, clipped, advantage: torch.minimum(plain, clipped),
    kl: Callable[[Tensor], Tensor] = lambda difference: (-difference).exp() - 1 + difference,
    cold: bool = False,
    local: bool = False,
    beta: float = 0.1,
) -> Callable[[LossInputs], Tensor]:
    """Somebody's own Dr. GRPO with k3, written out; each argument makes a mistake that public code has made."""

    def loss(batch: LossInputs) -> Tensor:
        scores = (batch.logits / (1.0 if cold else batch.temperature)).log_softmax(-1)
        logprobs = scores.gather(-1, batch.tokens.unsqueeze(-1)).squeeze(-1)
        ratio, advantage = (logprobs - batch.old).exp(), batch.advantages.unsqueeze(-1)
        objective = clip(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage, advantage)
        objective = objective - beta * kl(logprobs - batch.reference)
        rows = batch.tokens.shape[0] if local else batch.num_completions
        return -(objective * batch.mask).sum() / (rows * batch.max_tokens)

    return loss


def test_a_right_loss_of_somebody_else_passes() -> None:
    assert all(finding.passed for finding in check(user_loss(), KL))


MISTAKES = {
    "max": dict(clip=lambda p, c, a: torch.where(a < 0, torch.maximum(p, c), torch.minimum(p, c))),
    "k1": dict(kl=lambda difference: difference),
    "local": dict(local=True),
    "cold": dict(cold=True),
    "no clip": dict(clip=lambda p, c, a: p),
    "sign": dict(clip=lambda p, c, a: -torch.minimum(p, c), beta=-0.1),
}


@pytest.mark.parametrize(
    ("mistake", "fails_in", "cause"),
    [
        ("max", "off policy, A < 0", "max instead of min where A < 0"),
        ("k1", "on policy", "k1 in the loss"),
        ("local", "in micro-batches", "the micro-batch's own numbers"),
        ("cold", "at temperature 0.6", "scores at temperature 1"),
        ("no clip", "off policy, A > 0", "does not clip"),
        ("sign", "on policy", "the wrong sign"),
    ],
)
def test_mistakes_are_found_and_named(monkeypatch: pytest.MonkeyPatch, mistake: str, fails_in: str, cause: str) -> None:
    """In the situation in which each shows; the others would take as long again, each for six guesses at the cause."""
    monkeypatch.setattr(check_loss, "worlds", lambda: [world for world in worlds() if world.name == fails_in])
    [finding] = check(user_loss(**MISTAKES[mistake]), KL)
    assert not finding.passed
    assert cause in finding.cause


@pytest.mark.parametrize(("mistake", "fails_in"), [("local", "in micro-batches"), ("cold", "at temperature 0.6")])
def test_single_mistakes_fail_only_where_they_show(mistake: str, fails_in: str) -> None:
    findings = check(user_loss(**MISTAKES[mistake]), KL)
    assert [finding.world for finding in findings if not finding.passed] == [fails_in]


def test_the_stated_gradient_is_not_ours_by_construction() -> None:
    """Break ours and the two differ: the oracle does not go through terms.py."""
    world = worlds()[1]
    groups = groups_of(world, KL)
    stated = stated_gradient(KL, world, groups)
    assert distance(gradient_of(thinklings(replace(KL, clip_high=0.3)), world, groups), stated) > 1e-2


# --- advantages are proved too -----------------------------------------------------------------------------------

BROKEN = {"with the wrong sign": lambda found: -found, "three times as large": lambda found: 3 * found}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven of the 13 completions and one situation are enough to see what is wrong everywhere."""
    monkeypatch.setattr(exact, "DRAWN", exact.DRAWN[::2])
    monkeypatch.setattr(check_loss, "worlds", lambda: worlds()[:1])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("how", BROKEN)
def test_broken_advantages_fail_every_preset(monkeypatch: pytest.MonkeyPatch, preset: str, how: str) -> None:
    """Both sides of the proof once took them from terms.py: a tripled advantage passed."""
    objective, right = PRESETS[preset].objective, policy.advantages
    assert [finding.passed for finding in check(thinklings(objective), objective)] == [True]
    monkeypatch.setattr(policy, "advantages", lambda *arguments: BROKEN[how](right(*arguments)))
    assert [finding.passed for finding in check(thinklings(objective), objective)] == [False]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", get_args(Advantage))
def test_no_advantage_passes_for_another(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Without its deviation, with the step's instead of the group's, and so on."""
    objective, right = Objective(advantage=kind), policy.advantages
    for other in get_args(Advantage):
        monkeypatch.setattr(policy, "advantages", lambda _, *rest, other=other: right(other, *rest))
        groups = groups_of(worlds()[0], objective)
        away = max(abs(float(a) - b) for group in groups for a, b in zip(group.advantages, group.stated, strict=True))
        assert (away < 1e-9) == (other == kind), other


@pytest.mark.usefixtures("few")
def test_a_penalty_in_the_reward_is_proved_too(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Objective(kl="k1-in-reward", kl_coef=0.1)
    monkeypatch.setattr(exact, "rewards_after_kl", lambda objective, rewards, *_: rewards)
    assert [finding.passed for finding in check(thinklings(objective), objective)] == [False]


@pytest.mark.usefixtures("few")
def test_a_loss_that_is_not_a_number_is_wrong() -> None:
    [finding] = check(lambda batch: (batch.logits * float("nan")).sum(), KL)
    assert not finding.passed


def test_the_commands(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    cli.main(["explain-objective", "--preset", "dapo"])
    assert "arXiv:2503.14476" in capsys.readouterr().out
    file = tmp_path / "mine.py"
    file.write_text(
        "def loss(batch):\n    logprobs = batch.logits.log_softmax(-1).gather(-1, batch.tokens[..., None])[..., 0]\n"
        "    return -((logprobs - batch.old).exp() * batch.advantages[:, None] * batch.mask).sum()"
        " / (batch.num_completions * batch.max_tokens)\n"
    )
    with pytest.raises(SystemExit) as end:
        cli.main(["check-loss", f"{file}:loss"])
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert "right  on policy" in captured.out
    assert "WRONG  off policy, A > 0" in captured.out
    assert "it does not clip" in captured.out
    assert "does not have the gradient of dr-grpo" in captured.err
    with pytest.raises(SystemExit):
        cli.main(["check-loss", "nowhere:loss"])
    assert "cannot be imported" in capsys.readouterr().err
