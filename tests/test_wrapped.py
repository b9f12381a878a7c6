"""No reference that is wrapped in something is taken for it: a sample, and the proof that the test can fail.

`make fuzz` tries ten thousand (wrap_references.py), of MATH-500 and GSM8K too.
"""

import functools
from collections.abc import Iterator

import pytest
import wrap_references
from wrap_references import CHANGING, KEEPING, RESPONSES, accepted, made

from thinkling.verify.math.grade import Verdict, grade
from thinkling.verify.math.latex import parse


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """Each text is read once: reading is pure, and the same few references are compared again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thinkling.verify.math.grade.parse", functools.cache(parse))
        yield


def test_900_wrapped_references_and_none_is_accepted() -> None:
    assert accepted(900, seed=3, own_only=True) == []


def test_every_wrapper_is_used() -> None:
    assert {wrapper for wrapper, *_ in made(900, seed=3, own_only=True)} == {*KEEPING, *CHANGING, *RESPONSES}


def test_it_notices_a_verifier_that_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrap_references, "grade", lambda response, reference: Verdict("correct", "7", ""))
    assert len(accepted(90, seed=3, own_only=True)) > 40  # a bare pair that is equal is passed over


@pytest.mark.parametrize("wrapper", ["x=@", "(@)", r"\textbf{(B)}\ @", "x=@=@", r"@\text{ cm}", "@, @"])
def test_a_wrapper_that_keeps_a_value_keeps_it(wrapper: str) -> None:
    for reference in ("73", r"\frac{3}{7}", "x^2+1"):
        if reference[0] != "x" or "x=" not in wrapper:
            assert grade(rf"\boxed{{{wrapper.replace('@', reference)}}}", reference).correct
