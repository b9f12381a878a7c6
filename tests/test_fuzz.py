"""A short run of the fuzzer, and the proof that it can fail. `make fuzz` runs the long one, with its limits on time."""

import functools

import fuzz_verify
import pytest
from fuzz_verify import CRAFTED, SEEDS, Found, check, fuzz

from thinkling.verify.math.grade import Verdict, grade
from thinkling.verify.math.latex import parse


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is read once: reading is pure, and every check asks for the same answer five times."""
    monkeypatch.setattr("thinkling.verify.math.grade.parse", functools.cache(parse))


def test_1000_mutated_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_verify, "CRAFTED", CRAFTED[::4])
    found = fuzz(1000, seed=1, measure_memory=False)
    assert found.failures == []
    assert found.statuses.total() == 1000 + 7 * len(CRAFTED[::4])
    assert min(found.statuses.values()) > 20, "the mutations reach every verdict"
    assert len(found.statuses) == 3


def test_every_seed_is_right_against_itself() -> None:
    wrong = [seed for seed in SEEDS if not grade(rf"\boxed{{{seed}}}", seed).correct]
    assert wrong == []


def test_the_same_seed_makes_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_verify, "CRAFTED", ())  # they do not hang on the seed
    assert fuzz(50, seed=3, measure_memory=False).statuses == fuzz(50, seed=3, measure_memory=False).statuses


@pytest.mark.parametrize(
    ("name", "broken", "complaint"),
    [
        ("grade", lambda response, reference: 1 // 0, "ZeroDivisionError"),
        ("grade", lambda response, reference: Verdict("perhaps", "7", ""), "status 'perhaps'"),
        ("grade", lambda response, reference: Verdict("incorrect", "7", ""), "incorrect against itself"),
        ("same_answer", lambda a, b: a <= b, "not symmetric"),
        ("same_answer", lambda a, b: False, "not the same as itself"),
    ],
)
def test_it_notices(name: str, broken: object, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.__name__ = name
    monkeypatch.setattr(f"fuzz_verify.{name}", broken)
    found = Found()
    check("7", "8", r"\boxed{{{}}}", found)
    assert any(complaint in failure for failure in found.failures)
