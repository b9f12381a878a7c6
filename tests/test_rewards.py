"""What a completion earns, worked by hand; and what reaches the advantages of it."""

import pytest
import rl_steps

from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.problem import Problem
from thinkling.train.rl.rewards import PARTS, GradedGroup, reward_weights, rewards_of
from thinkling.train.rl.rollout import Rollout, has_signal
from thinkling.verify.math.grade import grade

PROBLEM = Problem("p", "6 * 7?", "42")


def group(*texts: str, lengths: list[int] | None = None, reason: str = "stop", seed: int = 0) -> GradedGroup:
    """Completions with these texts, of these lengths in tokens, of 100 that are allowed."""
    sizes = lengths or [10] * len(texts)
    completions = [
        Completion((1,), (7,) * n, (-0.1,) * n, reason, text=text) for text, n in zip(texts, sizes, strict=True)
    ]
    verdicts = [grade(text, PROBLEM.reference, "strict") for text in texts]
    return GradedGroup(PROBLEM, completions, verdicts, max_tokens=100, seed=seed)


def values(part: str, *texts: str, **more: object) -> list[float]:
    return PARTS[part](group(*texts, **more))


def test_correct_and_partial_share_what_is_right() -> None:
    """In a box it is correct, outside it earns the partial part, and nothing earns both."""
    texts = (r"6 * 7 = 42, \boxed{42}", "The answer is 42.", r"\boxed{41}", "no idea", r"\boxed{42} no: \boxed{41}")
    assert values("correct", *texts) == [1, 0, 0, 0, 0]
    assert values("partial", *texts) == [0, 1, 0, 0, 0]


def test_format_asks_for_one_whole_box_at_the_end() -> None:
    texts = (r"\boxed{41}", r"so $\boxed{\frac{1}{2}}$. ", r"\boxed{42} is it", r"\boxed{1} \boxed{42}", r"\boxed{42",
             "42", r"\boxed{}")  # fmt: skip
    assert values("format", *texts) == [1, 1, 0, 0, 0, 0, 0]
    assert values("format", r"\boxed{42}", reason="length") == [0]  # the end of its tokens, not of its thought


def test_conditional_format_pays_form_only_with_substance() -> None:
    texts = (r"\boxed{42}", r"\boxed{41}", r"\boxed{42} is it", "42")
    assert values("conditional-format", *texts) == [1, 0, 0, 0]


def test_length_by_hand() -> None:
    """10, 20 and 30 tokens: 0.5, 0, -0.5; a wrong answer is not paid for being short."""
    right, wrong = r"\boxed{42}", r"\boxed{41}"
    assert values("length", right, right, right, lengths=[10, 20, 30]) == [0.5, 0.0, -0.5]
    assert values("length", wrong, wrong, wrong, lengths=[10, 20, 30]) == [0.0, 0.0, -0.5]
    assert values("length", right, wrong, lengths=[10, 10]) == [0.0, 0.0]


def test_overlong_by_hand() -> None:
    """Of 100 tokens, nothing up to 80, then a straight line to -1."""
    text = (r"\boxed{42}",) * 5
    assert values("overlong", *text, lengths=[1, 80, 85, 90, 100]) == pytest.approx([0, 0, -0.25, -0.5, -1])


def test_random_knows_nothing_of_the_answer() -> None:
    right, wrong = (r"\boxed{42}",) * 200, (r"\boxed{41}",) * 200
    coins = values("random", *right)
    assert coins == values("random", *wrong)
    assert coins != values("random", *right, seed=1)
    assert 70 < sum(coins) < 130
    assert set(coins) == {0.0, 1.0}


def test_weights_from_the_command_line() -> None:
    assert reward_weights(("correct", "format=0.2", "overlong=-1")) == {"correct": 1, "format": 0.2, "overlong": -1}
    assert reward_weights(("format-only",)) == {"format": 1}
    for parts, message in [
        (("corect",), "unknown part of a reward 'corect'"),
        (("correct", "correct=2"), "names 'correct' twice"),
        (("format=much",), "--reward format=much: the weight behind = must be a number"),
        ((), "at least one part"),
    ]:
        with pytest.raises(UserError, match=message):
            reward_weights(parts)


def test_parts_come_in_the_order_that_was_asked_for() -> None:
    found = rewards_of(group(r"\boxed{42}", r"\boxed{41}"), ("format", "correct"))
    assert found == [(1.0, 1.0), (1.0, 0.0)]


def test_gdpo_normalises_each_part_by_itself(tiny: object, tmp_path: object) -> None:
    """Rewards 1+0, 0+1 are the same in sum, but one part is rarer in another group: GDPO tells them apart.

    First group: parts (1,0), (0,1): each is ±1 after normalising, the sum is 0. Second: (1,1), (0,0): sums ±2.
    The deviation over the step of (0, 0, 2, -2) is sqrt 2.
    """
    completion = Completion((1,), (7, 8), (-0.1, -0.2), "stop")
    verdict = grade("", "42")
    parts = [[(1.0, 0.0), (0.0, 1.0)], [(1.0, 1.0), (0.0, 0.0)]]
    groups = [[Rollout(PROBLEM, completion, verdict, sum(p), parts=p) for p in own] for own in parts]
    assert has_signal(groups[0])
    plan = Grpo(out=tmp_path, preset="gdpo", reward=("correct", "format"))
    found = [[r.advantage for r in own] for own in rl_steps.prepare(plan, tiny, groups)]
    assert found[0] == pytest.approx([0, 0], abs=1e-5)
    assert found[1] == pytest.approx([2**0.5, -(2**0.5)], abs=1e-4)
    plan = Grpo(out=tmp_path, preset="gdpo", reward=("correct=3", "format"))
    weighted = [[r.advantage for r in own] for own in rl_steps.prepare(plan, tiny, groups)]
    assert weighted[0][0] == pytest.approx(-weighted[0][1]) and weighted[0][0] > 0.3  # 3 - 1, over the deviation
    plan = Grpo(out=tmp_path, preset="dr-grpo", reward=("correct", "format"))
    summed = [[r.advantage for r in own] for own in rl_steps.prepare(plan, tiny, groups)]
    assert summed == [[0, 0], [1, -1]]


def test_masked_completions_are_left_out_of_the_loss(tiny: object, tmp_path: object) -> None:
    verdict = grade("", "42")
    rows = [Completion((1,), (7, 8), (-0.1, -0.2), reason) for reason in ("stop", "length", "length")]
    group = [Rollout(PROBLEM, c, verdict, 0.0, advantage=a) for c, a in zip(rows, (1.0, -0.5, 0.0), strict=True)]
    assert rl_steps.passes(Grpo(out=tmp_path), tiny, {3: group}) == [[(3, 0), (3, 1)]]  # no advantage, no gradient
    for truncated in ("dropped", "masked"):
        assert rl_steps.passes(Grpo(out=tmp_path, truncated=truncated), tiny, {3: group}) == [[(3, 0)]]
