"""`gym:FAMILY`: problems of a reasoning-gym family, made on the spot, judged by the family's own checker.

Two splits, disjoint by the hash of the question: train and held-out. The numbers are those of the family's default
difficulty; for another one, write rows with reasoning-gym to a file, each with its verifier and metadata.
"""

import hashlib
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.tasks.builtin import is_held_out
from thinkling.verify.verifier import verifier_named

HOW = "Put your final answer, and nothing else, in \\boxed{}."


def problems_of(family: str, split: str, seed: str) -> Iterator[Problem]:
    """Problems of a family without end; a question may come again. Raises UserError at once where there is none."""
    verifier_named(f"gym:{family}")  # says which families there are
    if split not in ("train", "held-out"):
        raise UserError(f"unknown split '{split}' of gym:{family}: use train or held-out")
    chunk(family, 0)
    return _stream(family, split, Random(f"{family}/{split}/{seed}"))


def chunk(family: str, seed: int) -> Any:
    """A hundred entries, each made when it is asked for. Raises UserError where there are none."""
    from reasoning_gym.factory import create_dataset

    try:
        return create_dataset(family, seed=seed, size=100)
    except AssertionError as error:  # composite is nothing by itself
        raise UserError(f"reasoning-gym makes no gym:{family} without a configuration: {error}") from None


def _stream(family: str, split: str, random: Random) -> Iterator[Problem]:
    while True:
        entries = chunk(family, random.getrandbits(31))
        for place in range(100):
            entry = entries[place]
            question = f"{entry['question'].strip()}\n{HOW}"
            digest = hashlib.sha256(question.encode()).hexdigest()
            if is_held_out(digest) == (split == "held-out"):
                yield Problem(
                    f"gym/{family}/{digest[:12]}", question, str(entry["answer"] or ""), family, kind=family,
                    verifier=f"gym:{family}", metadata=json.loads(json.dumps(entry["metadata"], default=str)),
                )  # fmt: skip
