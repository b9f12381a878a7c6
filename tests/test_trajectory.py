"""Rollouts of several turns: what is one trajectory, and that only what was sampled in it is learnt from."""

import json
import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import pytest
import rl_steps
import torch

from thinkling.commands.grpo import Grpo, optimizer_config, rollout_config, update_config
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.model.transformer import Transformer
from thinkling.problem import Problem
from thinkling.report.microscope import pack
from thinkling.report.microscope_page import page
from thinkling.runs import append_jsonl, write_json
from thinkling.scale.direct import seeded
from thinkling.scale.method import Answer
from thinkling.scale.prompts import prompt_of
from thinkling.scale.refine import Refine
from thinkling.scale.vote import SelfConsistency
from thinkling.tasks.builtin import problems
from thinkling.train.batch import pad
from thinkling.train.rl.config import RolloutConfig
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.guard.preflight import examine
from thinkling.train.rl.guard.validation import Validator
from thinkling.train.rl.loss import LossInputs
from thinkling.train.rl.metrics import describe
from thinkling.train.rl.objective import Objective
from thinkling.train.rl.process_reward import trajectory_credits
from thinkling.train.rl.rewards import GradedGroup, length, overlong
from thinkling.train.rl.rollout import Rollout, roll_out
from thinkling.train.rl.sampler import Sampler, batch_of
from thinkling.train.rl.trainer import Trainer
from thinkling.train.rl.trajectory import trajectory_of, turns
from thinkling.train.rl.update import Updater
from thinkling.verify.verifier import Verdict

WRONG = Verdict("incorrect", None, "made up")
PROBLEM = Problem("p", "What is 1 + 2?", "3")
TEMPLATE = "plain"


@dataclass(frozen=True)
class Calculator:
    """The model writes as far as an `e`, a tool's result is put there, and the model goes on: three turns at most."""

    sampling: Sampling
    template: str

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        prompt, done = prompt_of(model, self.template, problem.question), []
        while len(done) < 3:
            turn = await model.complete(prompt, replace(seeded(self.sampling, problem, len(done)), stop=("e",)))
            done.append(turn)
            if turn.stop_string is None:
                break
            prompt = [*turn.prompt_tokens, *turn.tokens, *model.text_prompt(" = 7")]
        behind = [*turn.prompt_tokens, *turn.tokens][len(done[0].prompt_tokens) :]
        return Answer(model.text_of(behind), None, tuple(done))


def settings(out: Path, **changes: object) -> Grpo:
    small = dict(out=out, steps=2, prompts_per_step=2, rollouts_per_prompt=4, max_tokens=6, template=TEMPLATE, lr=1e-3)
    return Grpo(**(small | changes))


def groups_of(model: LanguageModel, plan: Grpo, num: int = 2) -> list[list[Rollout]]:
    """Groups of the calculator, with made-up rewards; some of them have given tokens, and some have none."""
    config = rollout_config(plan)
    asked = problems("train", num)
    found = roll_out(model, asked, 4, config.sampling, TEMPLATE, method=Calculator)
    assert {bool(r.completion.mask) for group in found for r in group} == {True, False}
    assert max(len(turns(r.completion)) for group in found for r in group) == 3
    return [[replace(r, reward=float((i + j) % 3 == 0)) for j, r in enumerate(group)] for i, group in enumerate(found)]


# --- what a trajectory is -----------------------------------------------------------------------------------------


def turn(prompt: tuple[int, ...], *tokens: int, **more: object) -> Completion:
    return Completion(prompt, tokens, tuple(-token / 10 for token in tokens), "stop", "its own text", **more)


def test_two_turns_by_hand() -> None:
    """Prompt 1 2; the model draws 3 4, is given 5 6 7, and draws 8."""
    first, second = turn((1, 2), 3, 4, seconds=1.0), replace(turn((1, 2, 3, 4, 5, 6, 7), 8), finish_reason="length")
    found = trajectory_of(Answer("all of it", None, (first, replace(second, seconds=2.0))))
    assert (found.prompt_tokens, found.tokens) == ((1, 2), (3, 4, 5, 6, 7, 8))
    assert found.mask == (True, True, False, False, False, True)
    assert found.logprobs == (-0.3, -0.4, 0.0, 0.0, 0.0, -0.8)
    assert (found.text, found.finish_reason, found.sampling_mask, found.seconds) == ("all of it", "length", (), 3.0)
    assert (found.num_sampled, turns(found)) == (3, [slice(0, 2), slice(5, 6)])


def test_tokens_that_a_truncated_sampler_left() -> None:
    first, second = turn((1,), 3, sampling_mask=((3, 9),)), turn((1, 3, 5), 8, sampling_mask=((8,),))
    assert trajectory_of(Answer("", None, (first, second))).sampling_mask == ((3, 9), (), (8,))
    with pytest.raises(UserError, match="some turns of a rollout keep a sampling mask and others do not"):
        trajectory_of(Answer("", None, (first, replace(second, sampling_mask=()))))


def test_turns_without_anything_between_are_one_completion() -> None:
    found = trajectory_of(Answer("", None, (turn((1, 2), 3), turn((1, 2, 3), 4))))
    assert (found.tokens, found.mask, found.num_sampled, turns(found)) == ((3, 4), (), 2, [slice(0, 2)])
    alone = turn((1, 2), 3, 4, confidence=(1.0, 2.0))
    assert trajectory_of(Answer(alone.text, None, (alone,))) == alone


@pytest.mark.parametrize("afresh", [(1, 2), (1, 2, 3), (9, 2, 3, 4, 5), (7,)])
def test_what_does_not_go_on_is_refused(afresh: tuple[int, ...]) -> None:
    """The same prompt again, a sampled token left out, another beginning, something else altogether."""
    with pytest.raises(UserError, match="completion 2 of a rollout does not go on behind completion 1"):
        trajectory_of(Answer("", None, (turn((1, 2), 3, 4), turn(afresh, 8))))


def test_methods_that_ask_afresh_are_refused_where_they_are_drawn(tiny: LanguageModel) -> None:
    short = Sampling(max_tokens=4)
    for method in (lambda s, t: Refine(s, template=t), lambda s, t: SelfConsistency(s, 3, t)):
        with pytest.raises(UserError, match="completion 2 of a rollout does not go on"):
            roll_out(tiny, [PROBLEM], 2, short, TEMPLATE, method=method)

    async def silent(model: Model, problem: Problem) -> Answer:
        return Answer("3", "3", ())

    with pytest.raises(UserError, match="a method that samples nothing cannot draw rollouts"):
        roll_out(tiny, [PROBLEM], 2, short, TEMPLATE, method=lambda s, t: silent)


# --- how it is drawn ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [{}, dict(top_k=5, sampling_mask=True)])
def test_single_turns_are_what_complete_all_draws(tiny: LanguageModel, cut: dict) -> None:
    """Rollout i draws from the seed derived from (seed, i), to the last bit, as before rollouts had methods."""
    asked, sampling = problems("train", 3), Sampling(max_tokens=9, seed=7, **cut)
    prompts = [prompt_of(tiny, TEMPLATE, problem.question) for problem in asked for _ in range(20)]  # more than rows
    found = [r.completion for group in roll_out(tiny, asked, 20, sampling, TEMPLATE) for r in group]
    assert found == tiny.complete_all(prompts, sampling)
    assert len({c.tokens for c in found}) > 50


def test_every_rollout_has_seeds_of_its_own_and_the_same_ones_again(tiny: LanguageModel, tmp_path: Path) -> None:
    first, again = (groups_of(tiny, settings(tmp_path)) for _ in range(2))
    assert first == again
    assert len({r.completion.tokens for group in first for r in group}) == 8


def test_each_turn_is_drawn_behind_all_that_was_given(tiny: LanguageModel, tmp_path: Path) -> None:
    """The sampler's log-probabilities are those of reading the whole trajectory, given tokens included."""
    given = tiny.tokens_of(" = 7")
    for r in (r for group in groups_of(tiny, settings(tmp_path)) for r in group):
        logprobs, _ = plainly(tiny.network, r.completion, 1.0)
        own = [value for value, sampled in zip(r.completion.logprobs, mask_of(r.completion), strict=True) if sampled]
        assert own == pytest.approx(logprobs.tolist(), abs=1e-4)
        ends = [(a.stop, b.start) for a, b in zip(turns(r.completion), turns(r.completion)[1:], strict=False)]
        assert all(list(r.completion.tokens[start:end]) == given for start, end in ends)


# --- what is learnt from it ---------------------------------------------------------------------------------------


def mask_of(completion: Completion) -> tuple[bool, ...]:
    return completion.mask or (True,) * len(completion.tokens)


def plainly(network: Transformer, c: Completion, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies of the sampled tokens alone: no cache, no packing, softmax by hand."""
    logits = network.logits(network(torch.tensor([[*c.prompt_tokens, *c.tokens]])))[0] / temperature
    logprobs, entropies = [], []
    for place, (token, sampled) in enumerate(zip(c.tokens, mask_of(c), strict=True)):
        if sampled:
            row = logits[len(c.prompt_tokens) + place - 1]
            among = row[list(c.sampling_mask[place])] if c.sampling_mask else row
            logprobs.append(row[token] - among.exp().sum().log())
            p = among.exp() / among.exp().sum()
            entropies.append(-(p * p.log()).sum())
    return torch.stack(logprobs), torch.stack(entropies)


def gradient_of(updater: Updater, groups: list[list[Rollout]], patch: pytest.MonkeyPatch) -> tuple[list, dict, dict]:
    """The weights' gradients after one update, and what it returns."""
    updater.network.zero_grad()
    patch.setattr(updater.optimizer, "step", lambda scale: 1.0)  # leaves the gradient
    found, stats = updater.update(groups)
    return [weight.grad.clone() for weight in updater.network.parameters()], found, stats


@pytest.mark.parametrize("cut", [{}, dict(top_k=5)])
@pytest.mark.parametrize("micro_batch_tokens", [1, 10_000])
@pytest.mark.parametrize("preset", ["dr-grpo", "dapo", "grpo"])
def test_the_gradient_is_that_of_the_sampled_tokens_alone(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, micro_batch_tokens: int,
    cut: dict,
) -> None:  # fmt: skip
    """Against a plain computation, for three denominators, with a KL term (k3) and at a temperature that is not 1."""
    plan = settings(tmp_path, preset=preset, temperature=0.8, micro_batch_tokens=micro_batch_tokens, **cut)
    reference = Transformer(tiny.network.config)
    reference.load_state_dict({name: 0.9 * weight for name, weight in tiny.network.state_dict().items()})
    updater = rl_steps.updater(plan, tiny, reference=reference if preset == "grpo" else None)
    groups = updater.prepare(groups_of(tiny, plan))
    found, metrics, _ = gradient_of(updater, groups, monkeypatch)

    tiny.network.zero_grad()
    rollouts = [r for group in groups for r in group]
    num_sampled = sum(sum(mask_of(r.completion)) for r in rollouts)
    entropies = []
    for group in groups:
        rewards = [r.reward for r in group]
        mean = fmean(rewards)
        deviation = 1.0 if preset == "dr-grpo" else math.sqrt(fmean((x - mean) ** 2 for x in rewards))
        for r in group:
            logprobs, own = plainly(tiny.network, r.completion, 0.8)
            value = (r.reward - mean) / deviation * logprobs
            if preset == "grpo":
                difference = logprobs - plainly(reference, r.completion, 0.8)[0].detach()
                value = value - 0.001 * ((-difference).exp() - 1 + difference)
            weight = {"dr-grpo": 1 / (8 * 6), "dapo": 1 / num_sampled, "grpo": 1 / (8 * len(logprobs))}[preset]
            (-value.sum() * weight).backward()
            entropies += own.tolist()
    for mine, theirs in zip(found, tiny.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, rtol=1e-3, atol=1e-7)
    assert max(float(gradient.abs().max()) for gradient in found) > 1e-3
    assert metrics["entropy"] == pytest.approx(fmean(entropies), abs=1e-4)
    assert metrics["mismatch_max"] < 1e-4


OFF_POLICY = dict(updates_per_batch=2, kl="k2", kl_coef=0.1)


@pytest.mark.parametrize("preset", ["dr-grpo", "dapo", "gspo", "cispo", "rloo", "olmo3", "sapo", "deepseek-v3.2"])
def test_what_was_given_weighs_nothing(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    """Credits, and log-probabilities by anyone, at given tokens may be whatever they like: not a bit changes."""
    plan = settings(tmp_path, preset=preset, **OFF_POLICY)
    reference = Transformer(tiny.network.config)
    reference.load_state_dict({name: 0.9 * weight for name, weight in tiny.network.state_dict().items()})
    updater = rl_steps.updater(plan, tiny, reference=reference)
    groups = updater.prepare(groups_of(tiny, plan))
    rollouts = [r for group in groups for r in group]
    for name in ("old", "reference"):
        rows = [zip(getattr(r, name), mask_of(r.completion), strict=True) for r in rollouts]
        assert all((value < 0) == sampled for row in rows for value, sampled in row)

    def disturbed(r: Rollout, by: float, where: bool) -> Rollout:
        places = [own == where for own in mask_of(r.completion)]

        def moved(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(value + by * place for value, place in zip(values, places, strict=True))

        completion = replace(r.completion, logprobs=moved(r.completion.logprobs))
        credits = moved(r.credits or (0.0,) * len(places))
        return replace(r, completion=completion, credits=credits, old=moved(r.old), reference=moved(r.reference))

    calm, metrics, _ = gradient_of(updater, groups, monkeypatch)
    same, again, stats = gradient_of(updater, [[disturbed(r, -3.0, False) for r in g] for g in groups], monkeypatch)
    assert all(torch.equal(a, b) for a, b in zip(calm, same, strict=True))
    assert metrics == again
    other, _, _ = gradient_of(updater, [[disturbed(r, -3.0, True) for r in g] for g in groups], monkeypatch)
    assert any(not torch.equal(a, b) for a, b in zip(calm, other, strict=True))
    for (number, place), seen in stats.items():
        mask = mask_of(groups[number][place].completion)
        assert len(seen.entropy) == len(seen.ratio) == len(mask)
        assert all((h > 0) == sampled for h, sampled in zip(seen.entropy, mask, strict=True))
        assert not any(not mask[i] for i in seen.clipped)


def test_a_kl_in_the_reward_is_of_the_sampled_tokens(tiny: LanguageModel, tmp_path: Path) -> None:
    plan = settings(tmp_path, preset="reinforce", kl="k1-in-reward", kl_coef=0.5)
    reference = Transformer(tiny.network.config)
    reference.load_state_dict({name: 0.9 * weight for name, weight in tiny.network.state_dict().items()})
    for group in rl_steps.prepare(plan, tiny, groups_of(tiny, plan), reference):
        for r in group:
            with torch.no_grad():
                mine, other = (plainly(network, r.completion, 1.0)[0] for network in (tiny.network, reference))
            assert r.advantage == pytest.approx(r.reward - 0.5 * float((mine - other).sum()), abs=1e-3)


def test_whitening_counts_the_sampled_tokens(tiny: LanguageModel, tmp_path: Path) -> None:
    groups = groups_of(tiny, settings(tmp_path))
    updater = rl_steps.updater(settings(tmp_path), tiny)
    updater.objective = Objective(advantage="whiten")
    rewards = [r.reward for group in groups for r in group for own in mask_of(r.completion) if own]
    mean = fmean(rewards)
    deviation = math.sqrt(fmean((reward - mean) ** 2 for reward in rewards))
    for r in (r for group in updater.prepare(groups) for r in group):
        assert r.advantage == pytest.approx((r.reward - mean) / deviation, abs=1e-4)


def test_a_loss_of_ones_own_sees_the_mask(tiny: LanguageModel, tmp_path: Path) -> None:
    plan, seen = settings(tmp_path), []

    def own(batch: LossInputs) -> torch.Tensor:
        logprobs = batch.logits.log_softmax(-1).gather(-1, batch.tokens[..., None])[..., 0]
        seen.append(((logprobs - batch.logprobs)[batch.mask].abs().max().item(), batch.mask.sum().item()))
        return (batch.logprobs * batch.mask).sum() * 0

    groups = groups_of(tiny, plan)
    updater = Updater(tiny, rl_steps.adam(tiny.network, 0.0), plan.objective, rollout_config(plan), update_config(plan),
                      loss=own)  # fmt: skip
    groups = updater.prepare(groups)
    updater.update(groups)
    assert max(apart for apart, _ in seen) < 1e-5
    learnt = [r.completion for group in groups for r in group if r.advantage]
    assert sum(num for _, num in seen) == sum(sum(mask_of(c)) for c in learnt)


def test_the_mask_of_a_batch_goes_by_place_and_by_who_wrote() -> None:
    rows = [trajectory_of(Answer("", None, (turn((1,), 3), turn((1, 3, 5), 8)))), turn((1,), 4)]
    tokens, mask, _ = pad(rows, torch.device("cpu"))
    assert tokens.tolist() == [[3, 5, 8], [4, 0, 0]]
    assert mask.tolist() == [[True, False, True], [True, False, False]]


# --- what else counts tokens --------------------------------------------------------------------------------------


def test_lengths_are_of_what_was_sampled() -> None:
    """9 tokens of which 3 were sampled, beside 5 sampled ones: the longer one for the network is the shorter one."""
    told = trajectory_of(Answer("", None, (turn((1,), 3), turn((1, 3, *range(20, 26)), 8, 9))))
    said = turn((1,), 3, 4, 5, 6, 7)
    right = Verdict("correct", "3", "made up")
    group = GradedGroup(PROBLEM, [told, said], [right, right], max_tokens=5)
    assert length(group) == [0.5, -0.5]
    assert overlong(group) == [0.0, -1.0]
    assert overlong(replace(group, max_tokens=2)) == pytest.approx(
        [-1.0, -1.0]
    )  # the turns of a trajectory may be longer in all
    found = describe([[Rollout(PROBLEM, c, right, 1.0, parts=(1.0,)) for c in (told, said)]], ("correct",))
    assert (found["length"], found["tokens"]) == (4, 8)


def test_equations_that_were_given_are_not_credited(tiny: LanguageModel) -> None:
    """The model writes one right and one wrong equation; of what the tool says between, nothing is anybody's claim."""
    prompt, true, false, tool = (tuple(tiny.tokens_of(t)) for t in ("q", "1 + 1 = 2\n", "2 + 2 = 5\n", "3 + 3 = 9\n"))
    first, second = turn(prompt, *true), turn((*prompt, *true, *tool), *false)
    found = trajectory_credits(tiny, [trajectory_of(Answer("", None, (first, second)))], 2.0)
    values = dict(zip(range(len(found[0])), found[0], strict=True))
    spans = {"true": range(len(true)), "tool": range(len(true), len(true) + len(tool))}
    assert {value for place, value in values.items() if place in spans["tool"]} == {0.0}
    assert {value for place, value in values.items() if place in spans["true"]} == {0.0, 1.0}
    assert {v for p, v in values.items() if p >= spans["tool"].stop} == {0.0, -1.0}


# --- a run --------------------------------------------------------------------------------------------------------

EVERYTHING = dict(reward=("random", "length=0.1"), updates_per_batch=2, kl="k3", kl_coef=0.01, process_reward=1.0,
                  dynamic_sampling=1, top_p=0.95, curriculum=True, eval_problems=2, eval_samples=2)  # fmt: skip


@pytest.mark.parametrize("overlap", [False, True])
def test_a_run_of_several_turns(tiny: LanguageModel, tmp_path: Path, overlap: bool) -> None:
    plan, rows = settings(tmp_path, overlap=overlap, **EVERYTHING), []
    rollout = replace(rollout_config(plan), method=Calculator)
    trainer = Trainer(
        tiny, Curriculum(("builtin",), 0, True), 3, rollout=rollout, objective=plan.objective,
        update=update_config(plan), optimizer=optimizer_config(plan), keep=rows.extend,
    )  # fmt: skip
    before = [weight.clone() for weight in tiny.network.parameters()]
    for step in range(3):
        metrics = trainer.take(step)
        assert metrics.grad_norm > 0 and (overlap or metrics.mismatch_max < 1e-3)
        own = [row for row in rows if row["step"] == step]
        sampled = [sum(row["mask"]) if "mask" in row else len(row["tokens"]) for row in own]
        assert metrics.length == fmean(sampled)
    assert any(not torch.equal(a, b) for a, b in zip(before, tiny.network.parameters(), strict=True))
    assert 0 < sum("mask" in row for row in rows) < len(rows)
    found = Validator(problems("held-out", 6), rl_steps.validation_config(plan), rollout, tiny).measure(0)
    assert any(" = 7" in example["response"] for example in found.examples)

    append_jsonl(tmp_path / "samples.jsonl", rows)
    write_json(tmp_path / "config.json", {"model": "thinkling-base"})  # whose words the page shows is all the same here
    packed = pack(tmp_path, 99)
    shown = [own for step in packed["shown"].values() for group in step for own in group["rollouts"]]
    assert all(len(own["t"]) > max(own["g"]) for own in shown if "g" in own)
    assert {len(own.get("g", ())) % len(tiny.tokens_of(" = 7")) for own in shown} == {0}
    assert sum("g" in own for own in shown) == sum("mask" in row for row in rows)
    assert re.search(r'includes\(i\)\) return \["given", 0\]', page(packed))


def test_preflight_asks_the_method(tiny: LanguageModel, tmp_path: Path) -> None:
    votes = RolloutConfig(
        rollouts_per_prompt=2, method=lambda s, t: SelfConsistency(s), sampling=Sampling(max_tokens=4)
    )
    with pytest.raises(UserError, match="does not go on behind"):
        examine(votes, ["builtin"], tiny)


def test_a_batch_that_is_drawn_ahead_keeps_its_masks(tiny: LanguageModel, tmp_path: Path) -> None:
    config = replace(rollout_config(settings(tmp_path)), method=Calculator)
    batch = Sampler(config, tiny, Curriculum(("builtin",), 0, False), 2).take(0)
    again = batch_of(json.loads(json.dumps(asdict(batch))))
    assert again == batch
    assert any(r.completion.mask for group in again.groups for r in group)
