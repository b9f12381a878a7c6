"""The verifier `choice`: multiple choice, answered by a letter.

The letter is read from where a final answer stands (a box, "the answer is ..."), alone, in brackets, or before its
option's words: B, (B), B. Paris; never from thinking, and never out of a word: "Okay, so" chooses nothing. Lenient
rules also read "option B is right", and, where the problem's metadata have its `options`, an option's own words for its
letter. A letter beyond the options chooses nothing, and neither do two letters.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase

from thinkling.problem import Problem
from thinkling.verify.math.prose.extract import extract
from thinkling.verify.verifier import RuleSet, Verdict, Verifier, no_argument

_WRAPPER = re.compile(r"\\(?:text(?:bf|it|rm)?|mathrm|mathbf|boldsymbol)\s*\{([^{}]*)\}|[$*]")
_LETTER = re.compile(r"(?:(?i:option|choice)\s+)?[(\[]?([A-Za-z])(?:([)\].:,]+)(?:\s(.*))?)?", re.DOTALL)
_ANOTHER = (
    re.compile(  # what makes two letters of one: B, C; (B) (C); B. or C. But "D. A and C" may be an option's words
        r"(?:or|and)\b.*|[/|&;,].*|.*(?<![A-Za-z])[(\[][A-Z][)\]].*|(?:.*\s)?[A-Z]\).*|[A-Z][.:]?", re.DOTALL
    )
)
_LETTERS = re.compile(r"[(\[]?[A-Z][)\].:]*+(?:\s*+(?:or|and|[,;/&|])?\s*+[(\[]?[A-Z][)\].:]*+)*+\s*")
_OPENING = re.compile(r"(?<![\w.])[(\[]?([A-Z])[)\].:](?=[\s*]|\Z)")  # a response that begins so and goes on, or a list
_CLAIM = (
    re.compile(  # option B is right; I choose B; but A is a word where another follows, and what is wrong is no claim
        r"\b(?i:option|choice|answer|choose|pick|select)(?i:\s+(?:is|must be|would be|option))*\s*:?\s*[*(\[$]*([A-Z])"
        r"(?![\w'’/-])[)\]*$]*(?!\s+(?!is\b|as\b|because\b|since\b|must\b)[a-z])"
        r"(?!\s+(?:is|must be)\s+(?:not\b|wrong|incorrect|false))"
    )
)


def verifier(argument: str) -> Verifier:
    no_argument("choice", argument)
    return Verifier(verify, answer_of, str.__eq__, complaint)


def answer_of(response: str, mode: RuleSet = "lenient") -> str | None:
    """The letter that a response chooses, as a capital; None where it chooses none."""
    found = extract(response, mode).answer
    letter = letter_of(found) if found is not None else None
    if letter is None and mode == "lenient" and "<think>" not in (rest := response.rpartition("</think>")[2]):
        rest = rest.lstrip(" \n*$")
        letters = set(_OPENING.findall(rest) if _OPENING.match(rest) else _CLAIM.findall(rest))
        return letters.pop() if len(letters) == 1 else None
    return letter


def letter_of(text: str) -> str | None:
    """The letter that a final answer or a reference is: B of B, (b), \\text{B}, "B. Paris" or "option B"."""
    bare = _WRAPPER.sub(r"\1", text).strip()
    found = _LETTER.fullmatch(bare)
    if found is None:
        return None
    rest = (found[3] or "").strip()
    several = _ANOTHER.fullmatch(rest) or ("," in (found[2] or "") and _LETTERS.fullmatch(rest))
    return None if several else found[1].upper()


def verify(problem: Problem, response: str, mode: RuleSet = "lenient") -> Verdict:
    options = problem.metadata.get("options") or ()
    answer, wanted = answer_of(response, mode), letter_of(problem.reference)
    if options and mode == "lenient" and (answer is None or answer not in ascii_uppercase[: len(options)]):
        answer = letter_by_words(response, options) or answer
    if wanted is None:
        return Verdict("unparsed", answer, f"the reference {problem.reference[:40]!r} is no letter")
    if answer is None:
        return Verdict("unparsed", None, "no letter was chosen")
    if options and answer not in ascii_uppercase[: len(options)]:
        return Verdict("unparsed", answer, f"{answer} is none of the {len(options)} options")
    if answer == wanted:
        return Verdict("correct", answer, f"{answer} is right")
    return Verdict("incorrect", answer, f"{answer} is not {wanted}")


def letter_by_words(response: str, options: Sequence[str]) -> str | None:
    """The letter of the one option that is, word by word, the response's final answer."""
    said = _plain(extract(response, "lenient").answer or "")
    places = [place for place, option in enumerate(options) if _plain(option) == said and said]
    return ascii_uppercase[places[0]] if len(places) == 1 else None


def _plain(text: str) -> str:
    return " ".join(_WRAPPER.sub(r"\1", text).lower().split()).rstrip(".")


def complaint(problem: Problem) -> str | None:
    return None if letter_of(problem.reference) else "is no letter, which the verifier choice needs"
