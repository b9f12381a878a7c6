"""Find the final answer in a response: the last \\boxed{}, else the last stated answer.

Time is linear in the response's length. Leaves out what the answer means (see latex.py). It sees text only: where the
prompt itself opened the thinking, give it that `<think>` too, or a thought that was cut off looks like an answer.
"""

import re
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is a character of the answer, not a delimiter
_STATED = re.compile(r"\banswer[ \t*]*(?:is\b|:)[\s*:]*|(?<!#)####(?!#)[ \t]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|\.(?=\s)|\.\Z")


@dataclass(frozen=True)
class Extraction:
    """A response's final answer, and the rule that found it; with no answer, the rule says why there is none."""

    answer: str | None
    rule: str


def extract(response: str) -> Extraction:
    """The final answer of a response, as text.

    Everything up to the last `</think>` is thinking, never an answer; a `<think>` that stays open means no answer. Then
    the last `\\boxed{...}`; where there is none, the last "the answer is X", "final answer: X" or "#### X", up to the
    end of its sentence or line. A last box that was never closed was cut off: only what is stated after it can count.
    """
    text = response.rpartition("</think>")[2]
    if "<think>" in text:
        return Extraction(None, "no final answer: the thinking was never closed")
    start = last_box_start(text)
    if start is not None:
        answer = closed_at(text, start)
        if answer is not None:
            return _found(answer, "boxed")
        text = text[start:]
    statements = list(_STATED.finditer(text))
    if statements:
        begin = statements[-1].end()
        end = _SENTENCE_END.search(text, begin)
        answer = text[begin : end.start() if end else len(text)]
        return _found(answer.strip(" \t\r*"), "stated")
    if start is not None:
        return Extraction(None, "no final answer: the last \\boxed{ was never closed")
    return Extraction(None, "no final answer: no \\boxed{}, no stated answer")


def extract_boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{...}`; None where there is none, or where the last one was never closed."""
    start = last_box_start(text)
    return None if start is None else closed_at(text, start)


def last_box_start(text: str) -> int | None:
    """The index just inside the last `\\boxed{`, closed or not; None where there is none."""
    boxes = list(_BOX.finditer(text))
    return boxes[-1].end() if boxes else None


def closed_at(text: str, start: int) -> str | None:
    """The text from `start` to the brace that closes it; None where it is never closed. One pass, no recursion."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth == 0:
            return text[start : brace.start()]
    return None


def _found(answer: str, rule: str) -> Extraction:
    if not answer.strip():
        return Extraction(None, f"no final answer: the {rule} answer is empty")
    return Extraction(answer.strip(), rule)
