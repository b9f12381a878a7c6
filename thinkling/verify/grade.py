"""grade(response, reference) -> Verdict: correct, incorrect or unparsed, and why, in words.

Takes two strings and knows nothing of tasks. Never raises on a string, and never runs one.
"""

from dataclasses import dataclass
from typing import Literal

from thinkling.verify.equal import equal
from thinkling.verify.extract import extract
from thinkling.verify.latex import MAX_CHARACTERS, parse


@dataclass(frozen=True)
class Verdict:
    """What grading found: the status, the extracted answer (None: there is none), and the reason in words."""

    status: Literal["correct", "incorrect", "unparsed"]
    answer: str | None
    reason: str

    @property
    def correct(self) -> bool:
        return self.status == "correct"


def grade(response: str, reference: str) -> Verdict:
    """Judge a response against the reference answer.

    `reference` is the bare answer ("3/4"), not a worked solution. "unparsed" means that there was nothing to compare:
    no final answer, one too long to read, or a reference that is itself empty or too long (drop such a problem).
    """
    wanted = parse(reference)
    if wanted is None:
        return Verdict("unparsed", extract(response).answer, f"the reference is {_why_unread(reference)}")
    found = extract(response)
    if found.answer is None:
        return Verdict("unparsed", None, found.rule)
    value = parse(found.answer)
    if value is None:
        return Verdict("unparsed", found.answer, f"the answer is {_why_unread(found.answer)}")
    if equal(value, wanted):
        return Verdict("correct", found.answer, f"{_short(found.answer)} equals {_short(reference)}")
    return Verdict("incorrect", found.answer, f"{_short(found.answer)} is not {_short(reference)}")


def same_answer(a: str, b: str) -> bool:
    """Are two extracted answers one vote? Symmetric and reflexive: 0.5, 1/2 and `\\frac12` are one vote.

    Not transitive where a unit or percent sign is missing (see equal.py): compare with a group's first member.
    """
    if a == b:
        return True
    first, second = parse(a), parse(b)
    return first is not None and second is not None and equal(first, second)


def _why_unread(text: str) -> str:
    return f"{len(text):,} characters long, past {MAX_CHARACTERS:,}" if len(text) > MAX_CHARACTERS else "empty"


def _short(text: str) -> str:
    """At most 60 printable characters of a text, for a one-line message."""
    line = "".join(c if c.isprintable() else "?" for c in text[:61].strip())
    return line if len(text) <= 60 else line[:57] + "..."
