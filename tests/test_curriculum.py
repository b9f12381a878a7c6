"""Which problems are asked, how groups without a signal are replaced, and rollouts that are drawn ahead."""

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import pytest
import rl_steps
import torch

from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import Problem
from thinkling.runs import to_plain
from thinkling.train.rl import sampler as sampling
from thinkling.train.rl.curriculum import FLOOR, Curriculum, epochs, pick
from thinkling.train.rl.sampler import batch_of


def problem(kind: str, number: int = 0) -> Problem:
    return Problem(f"{kind}-{number}", f"{kind} {number}?", "1", kind=kind)


# --- the curriculum -----------------------------------------------------------------------------------------------


def test_spread_by_hand() -> None:
    """4 p (1 - p): 1 for half right, 0.75 for a quarter, 0 for all or none; the mean of a kind's groups."""
    found = Curriculum(("builtin",), 0, by_spread=True)
    assert found.weight(problem("a")) == 1.0  # never seen
    found.learn(problem("a"), 0.5)
    found.learn(problem("a"), 0.25)
    assert found.weight(problem("a")) == pytest.approx((1 + 0.75) / 2)
    for _ in range(3):
        found.learn(problem("b"), 1.0)
    assert found.weight(problem("b")) == FLOOR
    for _ in range(200):
        found.learn(problem("a"), 0.0)  # it forgets: the mean is about the last ten groups
    assert found.weight(problem("a")) == FLOOR


def test_picks_follow_the_weights() -> None:
    candidates = [problem("hard", i) for i in range(50)] + [problem("easy", i) for i in range(50)]
    weights = {"hard": 1.0, "easy": 0.05}
    counts = Counter()
    for seed in range(40):
        chosen = pick(candidates, 10, lambda p: weights[p.kind], Random(seed))
        assert len({p.id for p in chosen}) == 10
        assert [candidates.index(p) for p in chosen] == sorted(candidates.index(p) for p in chosen)
        counts.update(p.kind for p in chosen)
    assert 0.85 < counts["hard"] / 400 < 0.99  # 20 to 1, with less and less of it left


def test_a_curriculum_goes_on_where_it_was() -> None:
    straight, broken = (Curriculum(("builtin",), 3, by_spread=True) for _ in range(2))
    for found in (straight, broken):
        for asked in found.ask(5):
            found.learn(asked, 0.5 if asked.family == "word" else 1.0)
    again = Curriculum(("builtin",), 3, by_spread=True)
    again.resume(json.loads(json.dumps(broken.state)))
    assert again.ask(8) == straight.ask(8)
    assert again.state == straight.state


def test_word_problems_are_counted_by_template() -> None:
    kinds = {p.kind for p in Curriculum(("builtin",), 0, by_spread=False).ask(200)}
    assert "sum" in kinds
    assert len([kind for kind in kinds if kind.startswith("word/")]) > 20


def test_sources_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "1?", "reference": "1"}\n')
    found = Curriculum(("larger-numbers", str(path), "builtin"), 0, by_spread=False)
    asked = found.ask(7)
    assert [p.id.split("/")[0] for p in asked] == ["larger-numbers", "mine", "builtin"] * 2 + ["larger-numbers"]
    again = Curriculum(("larger-numbers", str(path), "builtin"), 0, by_spread=False)
    again.resume({"num_drawn": 4, "spread": {}})
    assert again.ask(3) == asked[4:]


def test_a_file_comes_again_in_another_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}?", "reference": str(i)}) + "\n" for i in range(6)))
    stream = epochs(str(path), seed=0)
    rounds = [[next(stream).reference for _ in range(6)] for _ in range(3)]
    assert all(sorted(r) == list("012345") for r in rounds)
    assert len({tuple(r) for r in rounds}) == 3
    with pytest.raises(UserError, match="no such file"):
        Curriculum([str(tmp_path / "none.jsonl")], 0, by_spread=False).ask(1)


# --- dynamic sampling ---------------------------------------------------------------------------------------------


def plan(tmp_path: Path, **changes: object) -> Grpo:
    return Grpo(**(dict(out=tmp_path, prompts_per_step=4, rollouts_per_prompt=2, max_tokens=4) | changes))


def signal_in(monkeypatch: pytest.MonkeyPatch, wanted: list[list[bool]]) -> list[int]:
    """Make round i's groups have a signal as `wanted[i]` says; returns a list that grows by each round's size."""
    original, sizes = sampling.roll_out, []

    def chosen(model: object, problems: list, *rest: object) -> list:
        sizes.append(len(problems))
        groups = original(model, problems, *rest)
        signs = wanted[len(sizes) - 1]
        return [[replace(r, reward=float(sign and i == 0)) for i, r in enumerate(group)]
                for group, sign in zip(groups, signs, strict=True)]  # fmt: skip

    monkeypatch.setattr(sampling, "roll_out", chosen)
    return sizes


def test_groups_without_signal_are_replaced(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 of 4 have one; the other two are looked for among 2 / 0.5 = 4; two of those have one: enough."""
    sizes = signal_in(monkeypatch, [[True, False, False, True], [False, True, True, False]])
    groups, asked = rl_steps.gather(
        plan(tmp_path, dynamic_sampling=5), tiny, Curriculum(("builtin",), 0, False), step=0
    )
    assert sizes == [4, 4]
    assert (len(groups), len(asked)) == (4, 8)
    assert [any(g is a for g in groups) for a in asked] == [True, False, False, True, False, True, True, False]
    assert len({group[0].problem.id for group in asked}) == 8


def test_asking_is_capped(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing found yet a quarter is expected: 4 / 0.25 = 16. Then the cap: what is missing stays missing."""
    sizes = signal_in(monkeypatch, [[False] * 4, [True] + [False] * 15])
    groups, asked = rl_steps.gather(
        plan(tmp_path, dynamic_sampling=1), tiny, Curriculum(("builtin",), 0, False), step=0
    )
    assert sizes == [4, 16]
    assert (len(groups), len(asked)) == (1, 20)


def test_without_any_signal_the_first_groups_stay(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_in(monkeypatch, [[False] * 4, [False] * 16])
    groups, asked = rl_steps.gather(
        plan(tmp_path, dynamic_sampling=1), tiny, Curriculum(("builtin",), 0, False), step=0
    )
    assert groups == asked[:4]


def test_without_dynamic_sampling_everything_is_kept(tiny: LanguageModel, tmp_path: Path) -> None:
    groups, asked = rl_steps.gather(plan(tmp_path), tiny, Curriculum(("builtin",), 0, False), step=0)
    assert groups is asked
    assert len(groups) == 4


# --- rollouts ahead -----------------------------------------------------------------------------------------------


def tokens_of(batch: sampling.RolloutBatch) -> list[tuple[int, ...]]:
    return [rollout.completion.tokens for group in batch.groups for rollout in group]


def test_overlap_is_off_policy_by_one_step(tiny: LanguageModel, tmp_path: Path) -> None:
    """The batch of step 1 is drawn with the weights that step 0 began with, whatever has become of them since."""
    settings = plan(tmp_path, overlap=True, steps=3, max_tokens=8)
    assert settings.objective.correction == "tis"
    alone = rl_steps.sampler_of(replace(settings, overlap=False), tiny, Curriculum(("builtin",), 0, False))
    wanted = [tokens_of(alone.take(step)) for step in range(2)]  # both with the weights as they are
    ahead = rl_steps.sampler_of(settings, tiny, Curriculum(("builtin",), 0, False))
    first = tokens_of(ahead.take(0))
    with torch.no_grad():
        for weight in tiny.network.parameters():
            weight.mul_(-0.5)
    second = tokens_of(ahead.take(1))
    assert [first, second] == wanted
    changed = rl_steps.sampler_of(replace(settings, overlap=False), tiny, Curriculum(("builtin",), 0, False))
    changed.curriculum.ask(4)
    assert tokens_of(changed.draw(tiny, 1)) != wanted[1]


def test_two_batches_ahead_are_two_steps_old(tiny: LanguageModel, tmp_path: Path) -> None:
    """The first three with the first weights; the fourth, begun when step 1 began, with those of then."""
    settings = plan(tmp_path, overlap=True, max_stale=2, steps=4, max_tokens=8)
    alone = rl_steps.sampler_of(replace(settings, overlap=False, max_stale=1), tiny, Curriculum(("builtin",), 0, False))
    ahead = rl_steps.sampler_of(settings, tiny, Curriculum(("builtin",), 0, False))
    wanted = [tokens_of(alone.take(step)) for step in range(3)]
    found = [ahead.take(0)]
    with torch.no_grad():
        for weight in tiny.network.parameters():
            weight.mul_(-0.5)
    wanted.append(tokens_of(alone.take(3)))
    found += [ahead.take(step) for step in range(1, 4)]
    assert [tokens_of(batch) for batch in found] == wanted
    versions = [{r.completion.version for group in batch.groups for r in group} for batch in found]
    assert versions == [{0}, {0}, {0}, {1}]


@pytest.mark.parametrize("max_stale", [1, 2])
def test_what_is_in_flight_is_saved(tiny: LanguageModel, tmp_path: Path, max_stale: int) -> None:
    settings = plan(tmp_path, overlap=True, max_stale=max_stale, steps=4, curriculum=True)
    ahead = rl_steps.sampler_of(settings, tiny, Curriculum(("builtin",), 0, True))
    ahead.take(0)
    state = json.loads(json.dumps(ahead.state(1), default=to_plain))
    assert len(state["ahead"]) == max_stale
    again = rl_steps.sampler_of(settings, tiny, Curriculum(("builtin",), 0, True))
    again.resume(state)
    assert again.curriculum.state == ahead.curriculum.state  # as the last batch has left it
    for step in range(1, 1 + max_stale):
        mine, theirs = again.take(step), ahead.take(step)
        assert mine == theirs
    assert mine == batch_of(json.loads(json.dumps(asdict(mine))))
    assert all(any(group is asked for asked in mine.asked) for group in mine.groups)
