"""Equations in a completion: which are seen, whether they hold, and which tokens get the credit."""

import pytest
import rl_steps

from thinkling.commands.grpo import Grpo
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import Problem
from thinkling.train.rl.process_reward import claims, credits
from thinkling.train.rl.rollout import Rollout
from thinkling.verify.math.grade import grade


def seen(text: str) -> list[tuple[str, bool]]:
    return [(text[claim.start : claim.end].strip(), claim.holds) for claim in claims(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("so 10 + 38 = 48 minutes", [("48", True)]),
        ("a total of 58 minutes because 10 + 38 = 58", [("58", False)]),
        ("$320000 * 7/100 = $22400.", [("$22400", True)]),
        ("3 * 4 = 12 = 13", [("12", True), ("13", False)]),
        ("784 * 6 = 700 * 6 + 84 * 6 = 4704", [("700 * 6 + 84 * 6", True), ("4704", True)]),
        ("4 + 7 = 11\n11 + 4 = 16", [("11", True), ("16", False)]),
        ("3/10 + 2/15 = 13/30", [("13/30", True)]),
        ("8 skeins per poncho + 5 skeins per shawl = 14 skeins", [("14", False)]),
        ("is 21 total students - 6 play music - 3 basketball = 12", [("12", True)]),
        ("2220 * 45% = 999", [("999", True)]),
        ("2x + 120 = 328", []),  # a variable: whether it holds is not to be seen here
        ("x + 12 + 3 = 300", []),
        ("9 + 3 = 2x", []),
        ("3 + 4 = 7 * x", []),
        ("There are 12 apples.", []),
        ("5 = 5", [("5", True)]),
    ],
)
def test_claims(text: str, wanted: list) -> None:
    assert seen(text) == wanted


def test_long_and_hostile_text_ends_soon() -> None:
    for text in ("1 + " * 20_000, "1 a " * 20_000, "1 = " * 20_000, "9 ab ab ab ab ab ab ab ab ab " * 3000):
        list(claims(text))
    assert seen("9" * 50_000 + " = 1") == [("1", False)]


def test_credits_by_hand() -> None:
    """Claims: right, wrong, right, wrong; the mean is one half. A token belongs to a claim if one of its bytes does."""
    texts = ["1 + 1 = 2.", "é 1 + 1 = 3.", "2 * 3 = 6 = 7", "none"]
    pieces = [[b"1 +", b" 1 =", b" 2", b"."], ["é".encode()[:1], "é".encode()[1:], b" 1 + 1 =", b" 3."],
              [b"2 * 3 =", b" 6 = ", b"7", b"<end>"], [b"none"]]  # fmt: skip
    found = credits(texts, pieces, weight=2.0)
    assert found == [(0, 0, 1, 0), (0, 0, 0, -1), (0, 1, -1, 0), ()]


def test_nothing_to_tell_apart_gives_no_credit() -> None:
    assert credits(["1 + 1 = 2", "2 + 2 = 4"], [[b"1 + 1 = 2"], [b"2 + 2 = 4"]], 1.0) == [(), ()]
    assert credits(["1 + 1 = 3"], [[b"1 + 1 = 3"]], 1.0) == [()]
    assert credits([], [], 1.0) == []


def test_a_step_makes_true_equations_likelier(tiny: LanguageModel, tmp_path: object) -> None:
    """Nobody is right and no advantage is left, but one sibling's equation holds."""
    problem = Problem("p", "q", "0")
    group = []
    for text in ("1 + 2 = 3", "1 + 2 = 5"):
        tokens = tuple(tiny.tokens_of(text))
        completion = Completion(tuple(tiny.tokens_of("q")), tokens, (-1.0,) * len(tokens), "stop", text=text)
        group.append(Rollout(problem, completion, grade(text, "0"), 0.0))
    plan = Grpo(out=tmp_path, process_reward=1.0)
    before = [r.old for r in rl_steps.scored(plan, tiny, group, "old")]
    groups = rl_steps.prepare(plan, tiny, [group])
    assert [any(r.credits) for r in groups[0]] == [True, True]
    found, _ = rl_steps.update(plan, tiny, rl_steps.adam(tiny.network, 1e-3), groups)
    assert found["grad_norm"] > 0
    after = [r.old for r in rl_steps.scored(plan, tiny, group, "old")]
    gained = [sum(a) - sum(b) for a, b in zip(after, before, strict=True)]
    assert gained[0] > gained[1]
    plain = Grpo(out=tmp_path)
    assert rl_steps.update(plain, tiny, rl_steps.adam(tiny.network, 0.0), [group])[0]["grad_norm"] == 0
