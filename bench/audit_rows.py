r"""Responses to audit our verifier on: worked solutions of MATH-500, GSM8K and the built-in suites, right and wrong.

    python bench/audit_rows.py --out runs/audit.jsonl
    thinkling grade runs/audit.jsonl --strict --audit math-verify

A GSM8K answer ends in "#### N", which Math-Verify does not read; it is rewritten as \boxed{N}. A built-in problem's
solution is followed by its reference in a box; every second one by the reference of another problem. Left out are
models' responses.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import tyro
from answer_pairs import DATA

from thinkling.errors import UserError
from thinkling.runs import read_jsonl
from thinkling.tasks import builtin


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Write rows to audit the verifier on. Example: python bench/audit_rows.py --out runs/audit.jsonl"""

    out: Path
    """Where to write them, as JSON lines with response, reference and set."""
    math: Path = DATA / "math500_test.json"
    """MATH-500: a JSON list whose rows have `solution` and `answer`."""
    gsm8k: Path = DATA / "gsm8k_test.jsonl"
    """GSM8K: JSON lines whose `answer` ends in "#### N"."""
    num_problems: int = 200
    """Of each built-in suite."""


def rows(settings: Rows) -> Iterator[dict]:
    for row in json.loads(settings.math.read_text(encoding="utf-8")):
        yield {"set": "MATH-500", "response": row["solution"], "reference": row["answer"]}
    for row in read_jsonl(settings.gsm8k, ("answer",)):
        solution, _, answer = row["answer"].rpartition("####")
        yield {"set": "GSM8K", "response": rf"{solution}\boxed{{{answer.strip()}}}", "reference": answer.strip()}
    for suite in builtin.SUITES:
        problems = builtin.problems("held-out", settings.num_problems, suite=suite)
        for place, (problem, other) in enumerate(pairwise([*problems, problems[0]])):
            boxed = other.reference if place % 2 else problem.reference
            response = rf"{problem.solution} So the answer is \boxed{{{boxed}}}."
            yield {"set": suite, "response": response, "reference": problem.reference}


def main(settings: Rows) -> None:
    for path in (settings.math, settings.gsm8k):
        if not path.is_file():
            raise UserError(f"no file {path}: name MATH-500 with --math and GSM8K with --gsm8k")
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    found = list(rows(settings))
    settings.out.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    print(f"{len(found):,} rows of {len({row['set'] for row in found})} sets")


if __name__ == "__main__":
    try:
        main(tyro.cli(Rows))
    except UserError as error:
        sys.exit(str(error))
