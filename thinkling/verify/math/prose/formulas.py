r"""Where the formulas of a response stand, `$...$`, `\(...\)`, `\[...\]` and `align`; and which `$` is money.

Time is linear in the text's length.
"""

import re
from typing import NamedTuple

_ENVIRONMENTS = "aligned|align|gathered|gather|equation|eqnarray|multline|alignat|split"
_DELIMITER = re.compile(rf"\\[()\[\]\\$]|\$\$?|\n[ \t]*+\n|\\(?:begin|end)\{{(?:{_ENVIRONMENTS})\*?\}}")


class Span(NamedTuple):
    """A box or a formula: the text from `start` to `end`, its content from `first` to `last`."""

    start: int
    first: int
    last: int
    end: int


def formulas_of(text: str) -> list[Span]:
    r"""The formulas `$...$`, `$$...$$`, `\(...\)`, `\[...\]` and environments, in order; none of them in another.

    A sign of money opens nothing: an escaped one, or one with no partner that could close it.
    """
    found: list[Span] = []
    opened: dict[str, int] = {}  # what opened, and where

    def close(kind: str, at: int) -> None:
        start = opened.pop(kind)
        while found and found[-1].start > start:
            found.pop()
        for inner in [other for other in opened if opened[other] > start]:
            del opened[inner]
        found.append(Span(start, start + len(kind), at, at + len(kind)))

    for sign in _DELIMITER.finditer(text):
        kind, at = sign.group(), sign.start()
        if kind in ("\\(", "\\["):
            opened[kind] = at
        elif kind in ("\\)", "\\]"):
            if (opener := {"\\)": "\\(", "\\]": "\\["}[kind]) in opened:
                close(opener, at)
        elif kind.startswith("\\begin"):
            if not opened:
                opened["\\begin"] = at
        elif kind.startswith("\\end"):
            if "\\begin" in opened:
                start = opened.pop("\\begin")
                opened.clear()
                while found and found[-1].start > start:
                    found.pop()
                found.append(Span(start, start, sign.end(), sign.end()))
        elif kind == "$$" and "$$" in opened:
            close("$$", at)
        elif kind == "$$" and not _closes(text, opened.get("$"), at):
            opened["$$"] = at
        elif kind[0] == "$":
            if _closes(text, opened.get("$"), at):
                close("$", at)
                at += 1
                if kind == "$":
                    continue
            if text[at + 1 : at + 2].strip() or not text[at - 1 : at].isalnum():
                opened["$"] = at
        elif kind[0] == "\n":  # no inline formula runs over a blank line
            opened.pop("$", None)
    return found


def _closes(text: str, start: int | None, at: int) -> bool:
    """Can the `$` at `at` close the one at `start`? As in Pandoc, money cannot: "$5 and $6", "$5-$6"."""
    if start is None or start + 1 == at or text[at + 1 : at + 2].isdigit():
        return False
    return text[at - 1].isspace() <= text[start + 1].isspace()
