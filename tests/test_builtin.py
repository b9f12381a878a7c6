"""The built-in problems: splits that cannot meet, ids that stay, solutions that another program agrees with."""

import re
from fractions import Fraction
from itertools import islice
from math import gcd, lcm

import pytest

from thinkling.errors import UserError
from thinkling.tasks.builtin import FAMILIES, SPLITS, UNSEEN_TEMPLATES, is_held_out, problems, stream
from thinkling.verify.math.grade import grade

PINNED = [("builtin/word/05a577905cce", "96"), ("builtin/gcd/039b6a735276", "31"), ("builtin/word/08fa4a46ec70", "96")]


@pytest.fixture(scope="module")
def pools() -> dict[str, list]:
    return {split: problems(split, 1500) for split in SPLITS}


@pytest.fixture(scope="module")
def larger() -> dict[str, list]:
    return {split: problems(split, 1500, suite="larger-numbers") for split in ("train", "held-out")}


def test_splits_share_no_question_and_no_id(pools: dict[str, list]) -> None:
    for a in SPLITS:
        for b in SPLITS:
            if a < b:
                assert not {p.question for p in pools[a]} & {p.question for p in pools[b]}
                assert not {p.id for p in pools[a]} & {p.id for p in pools[b]}


def test_a_question_has_one_side_only() -> None:
    """Disjoint by construction: the side is a function of the question, whatever seed made it."""
    import hashlib

    for split, held in (("train", False), ("held-out", True)):
        for problem in islice(stream(split, "another seed"), 300):
            assert is_held_out(hashlib.sha256(problem.question.encode()).hexdigest()) is held


def test_what_one_suite_holds_out_the_other_does_not_train_on(pools: dict[str, list], larger: dict[str, list]) -> None:
    """Some questions are in both suites; then on the same side of both."""
    assert {p.question for p in pools["train"]} & {p.question for p in larger["train"]}
    for one, other in ((pools, larger), (larger, pools), (larger, larger)):
        assert not {p.question for p in one["train"]} & {p.question for p in other["held-out"]}


def test_larger_numbers_are_larger(pools: dict[str, list], larger: dict[str, list]) -> None:
    def largest(found: list, family: str) -> int:
        return max(int(n) for p in found if p.family == family for n in re.findall(r"\d+", p.question))

    assert {p.family for p in larger["train"]} == set(FAMILIES) - {"word"}
    for family in sorted(set(FAMILIES) - {"word"}):
        assert largest(larger["train"], family) > largest(pools["train"], family), family
    assert largest(larger["train"], "sum") <= 999 and largest(larger["train"], "gcd") <= 300
    assert {p.kind for p in larger["train"] if p.family == "sum"} == {f"sum/{n}" for n in (4, 6, 8, 9, 12)}


def test_unseen_templates_never_appear_elsewhere(pools: dict[str, list]) -> None:
    """Word problems with their numbers and names taken out: no skeleton of an unseen one is among the seen ones."""

    def skeleton(question: str) -> frozenset[str]:
        return frozenset(re.findall(r"\b[a-z]{4,}\b", question))

    assert len(UNSEEN_TEMPLATES) >= 8
    seen = [skeleton(p.question) for p in pools["train"] if p.family == "word"]
    for problem in pools["unseen-templates"][:60]:
        own = skeleton(problem.question)
        closest = max(len(own & other) / len(own | other) for other in seen)
        assert closest < 0.8, problem.question


def test_ids_and_order_are_pinned() -> None:
    """The same problems on every machine and in every run: these were written down once."""
    found = [(p.id, p.reference) for p in problems("held-out", 3)]
    assert found == PINNED


def test_every_family_appears_in_its_share(pools: dict[str, list]) -> None:
    for family in FAMILIES:
        assert any(p.family == family for p in pools["held-out"])
    assert {p.family for p in pools["unseen-templates"]} == {"word"}


def test_problems_are_different_and_a_prefix_of_more() -> None:
    many = problems("held-out", 120)
    assert len({p.question for p in many}) == 120
    assert problems("held-out", 40) == many[:40]
    assert problems("held-out", 40, seed=1) != many[:40]


@pytest.mark.parametrize("suite", ["pools", "larger"])
def test_solvers_against_the_standard_library(suite: str, request: pytest.FixtureRequest) -> None:
    """Answers worked out again from the question's text alone."""
    found = request.getfixturevalue(suite)
    checked = dict.fromkeys(FAMILIES, 0)
    for p in (p for split in ("train", "held-out") for p in found[split]):
        numbers = [int(n) for n in re.findall(r"\d+", p.question)]
        if p.family == "sum":
            terms = re.findall(r"([+-]?) ?(\d+)", p.question)
            expected = Fraction(sum(-int(n) if sign == "-" else int(n) for sign, n in terms))
        elif p.family == "product":
            expected = Fraction(numbers[0] * numbers[1])
        elif p.family == "gcd":
            expected = Fraction(gcd(*numbers))
        elif p.family == "lcm":
            expected = Fraction(lcm(*numbers))
        elif p.family == "fraction":
            expected = Fraction(numbers[0], numbers[1]) + Fraction(numbers[2], numbers[3])
        elif p.family == "equation":
            a, b = numbers[:2]
            right = int(p.question.rsplit("= ")[1])
            expected = Fraction(right - b if " + " in p.question else right + b, a)
        else:
            continue
        assert Fraction(p.reference) == expected, p
        checked[p.family] += 1
    assert all(n >= 20 for family, n in checked.items() if family != "word"), checked


@pytest.mark.parametrize("suite", ["pools", "larger"])
def test_steps_are_true_and_end_in_the_reference(suite: str, request: pytest.FixtureRequest) -> None:
    """Every `a op b = c` of the arithmetic solvers holds, and the last number of each solution is the answer."""
    ops = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": lambda a, b: Fraction(a, b)}
    for p in request.getfixturevalue(suite)["train"]:
        if p.family in ("word", "fraction"):
            continue
        for left, op, right, result in re.findall(r"(-?\d+) ([-+*/]) (\d+) = (-?\d+)\b(?! [-+*/])", p.solution):
            assert ops[op](int(left), int(right)) == int(result), p.solution
        assert re.findall(r"-?\d+", p.solution)[-1] == p.reference, p.solution


def test_references_verify_against_themselves(pools: dict[str, list], larger: dict[str, list]) -> None:
    for p in (p for pool in (*pools.values(), *larger.values()) for p in pool):
        assert grade(f"\\boxed{{{p.reference}}}", p.reference).correct


def test_bad_arguments() -> None:
    with pytest.raises(UserError, match="unknown split 'test' of builtin: use one of train"):
        problems("test", 5)
    with pytest.raises(UserError, match=r"unseen-templates' of larger-numbers: use one of train, held-out$"):
        problems("unseen-templates", 5, suite="larger-numbers")
    with pytest.raises(UserError, match="from 1 to 20,000, not 0"):
        problems("train", 0)
