"""The verifier `choice`: multiple choice, answered by a letter.

The letter is read from where a final answer stands (a box, "the answer is ..."), alone, in brackets, or before its
option's words: B, (B), B. Paris. Left out is an option's text without its letter: a verifier does not know the options.
"""

import re

from thinkling.problem import Problem
from thinkling.verify.math.prose.extract import extract
from thinkling.verify.verifier import RuleSet, Verdict, Verifier, no_argument

_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|boldsymbol)\s*\{([^{}]*)\}|[$*]")
_LETTER = re.compile(r"(?:(?i:option|choice)\s+)?[(\[]?([A-Za-z])(?:[)\].:,]+(?:\s.*)?)?", re.DOTALL)
_OPENING = re.compile(r"[(\[]?([A-Z])[)\].:](?=[\s*]|\Z)")  # a response that begins with a letter and goes on


def verifier(argument: str) -> Verifier:
    no_argument("choice", argument)
    return Verifier(verify, answer_of, str.__eq__, complaint)


def answer_of(response: str, mode: RuleSet = "lenient") -> str | None:
    """The letter that a response chooses, as a capital; None where it chooses none."""
    found = extract(response, mode).answer
    letter = letter_of(found) if found is not None else None
    if letter is None and mode == "lenient" and "<think>" not in (rest := response.rpartition("</think>")[2]):
        opening = _OPENING.match(rest.lstrip(" \n*$"))
        return opening and opening[1]
    return letter


def letter_of(text: str) -> str | None:
    """The letter that a final answer or a reference is: B of B, (b), \\text{B}, "B. Paris" or "option B"."""
    bare = _WRAPPER.sub(r"\1", text).strip()
    found = _LETTER.fullmatch(bare)
    return found and found[1].upper()


def verify(problem: Problem, response: str, mode: RuleSet = "lenient") -> Verdict:
    answer, wanted = answer_of(response, mode), letter_of(problem.reference)
    if wanted is None:
        return Verdict("unparsed", answer, f"the reference {problem.reference[:40]!r} is no letter")
    if answer is None:
        return Verdict("unparsed", None, "no letter was chosen")
    if answer == wanted:
        return Verdict("correct", answer, f"{answer} is right")
    return Verdict("incorrect", answer, f"{answer} is not {wanted}")


def complaint(problem: Problem) -> str | None:
    return None if letter_of(problem.reference) else "is no letter, which the verifier choice needs"
