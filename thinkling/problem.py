"""One question with its reference answer: the record that every stage passes on; and which side of a split it is on."""

from dataclasses import dataclass, field

HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Problem:
    """A question, and what its verifier compares a response with.

    id: stable across machines and runs (it is made from the question's own text).
    reference: the right answer; "" where the verifier needs none.
    kind: the narrowest sort of problem that it belongs to, such as one template; a curriculum counts by it.
    solution: worked steps that end in the reference, or "" where none is known.
    verifier: who judges its responses, by name: math, choice, gym:FAMILY or FILE.py:FUNCTION (verify/verifier.py).
    metadata: what that verifier needs besides, as JSON holds it, such as the numbers of a countdown; and `level`, how
    hard the problem is, by which reports are divided.
    """

    id: str
    question: str
    reference: str
    family: str = ""
    solution: str = ""
    kind: str = ""
    verifier: str = "math"
    metadata: dict = field(default_factory=dict, hash=False)


def is_held_out(digest: str) -> bool:
    """Which side a question's sha256 falls on: no question can ever be on both."""
    return int(digest[:8], 16) / 16**8 < HELD_OUT_SHARE
