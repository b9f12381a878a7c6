"""A loss and a reward of the user's own, in `thinkling grpo`."""

import json
from pathlib import Path

import pytest
import torch

from thinkling import cli
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import load_model
from thinkling.problem import Problem
from thinkling.train.rl.rewards import GradedGroup, part_named, rewards_of
from thinkling.verify.verifier import Verdict

# Dr. GRPO, once from the log-probabilities that a loss is given and once from the logits.
LOSS = """
import torch

def from_logprobs(batch):
    return surrogate(batch, batch.logprobs)

def from_logits(batch):
    scores = (batch.logits / batch.temperature).log_softmax(-1)
    return surrogate(batch, scores.gather(-1, batch.tokens[..., None])[..., 0])

def surrogate(batch, logprobs):
    ratio = torch.where(batch.mask, logprobs - batch.old, 0.0).exp()
    advantages = batch.advantages[:, None]
    value = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    return -(value * batch.mask).sum() / (batch.num_completions * batch.max_tokens)

def nothing(batch):
    return 0 * batch.logprobs.sum()
"""
REWARD = """
def letter_e(problem, response):
    return float("e" in response)

def fails(problem, response):
    raise KeyError("no such thing")
"""


def settings(out: Path, **changes: object) -> Grpo:
    small = dict(out=out, steps=2, prompts_per_step=2, rollouts_per_prompt=4, max_tokens=8, preflight=False,
                 tasks=("builtin",), eval_every=0, lr=1e-2)  # fmt: skip
    return Grpo(**(small | changes))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "losses.py").write_text(LOSS)
    (tmp_path / "rewards.py").write_text(REWARD)
    return tmp_path


def weights(folder: Path) -> list[torch.Tensor]:
    return list(load_model(folder).state_dict().values())


@pytest.mark.parametrize("function", ["from_logprobs", "from_logits"])
def test_an_own_loss_trains_as_ours_does(own: Path, tiny: LanguageModel, function: str) -> None:
    start = {name: weight.clone() for name, weight in tiny.network.state_dict().items()}
    reward = (f"{own}/rewards.py:letter_e",)
    ours = grpo.train(settings(own / "ours", reward=reward), tiny)
    tiny.network.load_state_dict(start)
    theirs = grpo.train(settings(own / "theirs", reward=reward, loss=f"{own}/losses.py:{function}"), tiny)
    moved = max(float((a - b).abs().max()) for a, b in zip(weights(ours), start.values(), strict=False))
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        torch.testing.assert_close(a, b, atol=5e-3 * moved, rtol=0)


def test_a_loss_that_is_nothing_changes_nothing(own: Path, tiny: LanguageModel) -> None:
    start = [weight.clone() for weight in tiny.network.state_dict().values()]
    found = grpo.train(
        settings(own / "run", reward=(f"{own}/rewards.py:letter_e",), loss=f"{own}/losses.py:nothing"), tiny
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(found), start, strict=True))


def test_a_loss_that_cannot_be_had(own: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["grpo", "--out", str(own / "run"), "--loss", f"{own}/none.py:loss", "--no-preflight"])
    assert end.value.code == 2 and "none.py:loss' cannot be imported" in capsys.readouterr().err


def test_own_rewards_are_parts_like_others(own: Path, tiny: LanguageModel) -> None:
    name = f"{own}/rewards.py:letter_e"
    completions = [Completion((1,), (2,), (-1.0,), "stop", text) for text in ("e", "x")]
    verdicts = [Verdict("incorrect", None, "")] * 2
    group = GradedGroup(Problem("p", "?", "1"), completions, verdicts, max_tokens=8)
    assert rewards_of(group, ("correct", name)) == [(0.0, 1.0), (0.0, 0.0)]
    with pytest.raises(UserError, match=r"rewards.py:fails failed on problem p"):
        part_named(f"{own}/rewards.py:fails")(group)
    grpo.train(settings(own / "run", reward=("correct=2", f"{name}=0.5")), tiny)
    rows = [json.loads(line) for line in (own / "run" / "samples.jsonl").read_text().splitlines()]
    assert all(row["reward"] == 2 * row["parts"][0] + 0.5 * ("e" in row["response"]) for row in rows)
    assert settings(own / "x", reward=(f"{name}=0.5",)).reward_weights == {name: 0.5}
