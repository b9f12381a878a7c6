"""No wrong answer is accepted: a sample of the mutated references, and the proof that the test can fail.

`make fuzz` tries fifty thousand (mutate_references.py), of MATH-500 and GSM8K too.
"""

import mutate_references
import pytest
from mutate_references import accepted, made

from thinkling.verify.math.grade import Verdict, grade


def test_900_wrong_answers_and_none_is_accepted() -> None:
    assert accepted(900, seed=1, own_only=True) == []


def test_every_kind_of_change_is_made() -> None:
    kinds = {kind for kind, _, _ in made(900, seed=1, own_only=True)}
    assert kinds >= {"digit", "digit added", "sign", "sign in front", "name", "case", "bracket", "word", "operator"}


def test_it_notices_a_verifier_that_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutate_references, "grade", lambda response, reference: Verdict("correct", "7", ""))
    assert len(accepted(50, seed=1, own_only=True)) > 30


def test_the_references_themselves_are_right() -> None:
    wrong = [own for own in mutate_references.OWN if not grade(rf"\boxed{{{own}}}", own, "strict").correct]
    assert wrong == []
