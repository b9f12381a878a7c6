"""The whole loop in one screen: at most sixty lines, and the gradient of the real trainer."""

import inspect
from itertools import islice

import pytest
import rl_steps
import torch

from thinkling.commands.grpo import Grpo, rollout_config
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import Problem
from thinkling.tasks.builtin import stream
from thinkling.train.rl import minimal
from thinkling.train.rl.rollout import roll_out


def test_it_fits_on_a_screen() -> None:
    assert len(inspect.getsource(minimal).splitlines()) <= 60


def test_its_gradient_is_the_trainers(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """On the built-in model, where some of a group are right and some are not; both draw the same completions."""
    model = LanguageModel.load("thinkling-base", device="cpu")
    problems = list(islice(stream("train", "minimal"), 3))
    settings = Grpo(out=tmp_path, rollouts_per_prompt=4, max_tokens=64, seed=11)
    config = rollout_config(settings)
    right = minimal.accumulate(model, problems, 4, config.sampling)
    found = [weight.grad.clone() for weight in model.network.parameters()]
    assert 0 < right < 1
    model.network.zero_grad()

    groups = roll_out(model, problems, 4, config.sampling, "plain")
    updater = rl_steps.updater(settings, model)
    monkeypatch.setattr(updater.optimizer, "step", lambda scale: 1.0)  # leaves the gradient
    updater.update(updater.prepare(groups))
    for mine, theirs in zip(found, model.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, rtol=1e-4, atol=1e-7)
    assert max(float(gradient.abs().max()) for gradient in found) > 1e-4


def test_a_step_makes_right_answers_likelier(capsys: pytest.CaptureFixture) -> None:
    model = LanguageModel.load("thinkling-base", device="cpu")
    problem = Problem("p", "What is 17 + 25 - 9?", "33")
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    minimal.train(model, iter([problem] * 4), num_steps=1)
    assert "step 1: " in capsys.readouterr().out
    assert any(not torch.equal(weight, before[name]) for name, weight in model.network.state_dict().items())
