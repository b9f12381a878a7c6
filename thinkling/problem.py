"""One question with its reference answer: the record that every stage passes on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A question and the answer that the verifier compares with.

    id: stable across machines and runs (it is made from the question's own text).
    kind: the narrowest sort of problem that it belongs to, such as one template; a curriculum counts by it.
    solution: worked steps that end in the reference, or "" where none is known.
    """

    id: str
    question: str
    reference: str
    family: str = ""
    solution: str = ""
    kind: str = ""
