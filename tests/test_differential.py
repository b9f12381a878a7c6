"""Our verifier beside Math-Verify on a sample of the bench's labelled pairs: where they disagree, the label is ours.

The whole set, 3,700 pairs, is run by `bench/verify.py`; every kind of disagreement is listed in chapter 3 of the guide.
"""

import json
import random
import sys
from pathlib import Path

import pytest
from math_verify import parse, verify

from thinkling.verify.math.grade import grade

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench"))

from answer_pairs import DATA, Pair, Pairs, make  # noqa: E402

needs_data = pytest.mark.skipif(
    not (DATA / "math500_test.json").is_file(), reason="needs MATH-500 and GSM8K beside the project, in shared/data"
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Of every third reference of MATH-500, since SymPy reads each of them and all that is made of it."""
    third = tmp_path_factory.mktemp("pairs") / "math.json"
    third.write_text(json.dumps(json.loads((DATA / "math500_test.json").read_text(encoding="utf-8"))[::3]))
    found = [pair for pair in make(Pairs(math=third, per_kind=6, rounds=4)) if pair.kind != "field"]
    return random.Random(0).sample(found, 250)


def boxed(answer: str) -> str:
    return rf"\boxed{{{answer}}}"


@needs_data
def test_every_verdict_is_the_label(pairs: list[Pair]) -> None:
    wrong = [pair for pair in pairs if grade(boxed(pair.answer), pair.reference).correct != pair.should_be_equal]
    assert wrong == []
    assert 80 < sum(pair.should_be_equal for pair in pairs) < 170


@needs_data
def test_every_disagreement_with_math_verify_is_of_a_kind_that_the_guide_lists(pairs: list[Pair]) -> None:
    listed = (ROOT / "guide" / "03-evaluating.md").read_text(encoding="utf-8").replace("`", "")
    disagreements = [
        pair for pair in pairs[:60]
        if verify(parse(boxed(pair.reference)), parse(boxed(pair.answer))) != pair.should_be_equal
    ]  # fmt: skip
    assert disagreements, "Math-Verify is not always right: is it run at all?"
    assert [pair for pair in disagreements if f"| {pair.kind} |" not in listed] == []
