r"""Find the final answer in a response, as text: the last box, else the last claim, the last formula, or a bare answer.

Time is linear in the response's length, nothing recurses, and no text raises. Leaves out what the answer means (see
latex.py). It sees text only: where the prompt itself opened the thinking, give it that `<think>` too, or a thought
that was cut off looks like an answer.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from thinkling.verify.math.formulas import Span, formulas_of
from thinkling.verify.verifier import ExtractMode

MAX_BARE, MAX_BARE_WORDS = 200, 5  # characters and words of a response that is nothing but an answer

_SPACE = re.compile(r"\s*+")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")  # an escaped brace is a character of the answer, not a delimiter
_RUN = re.compile(r"(?:\\(?!boxed|fbox)[A-Za-z]++|\\[^\s()\[\]\\A-Za-z]|[^\s$\\{}])++")  # the 7 of `\boxed 7`
_PROSE = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}+(?![(^=_{\d+*/-])")  # a word, not sin(x) or ab^2
_JOIN = re.compile(  # what may stand between two boxes that are one answer
    r"(?:[\s,;$*~]|\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|(?<![A-Za-z])(?:and|or)(?![A-Za-z])"
    r"|\\(?:text(?:rm|bf|it)?|mathrm|mbox)\{[\s,]*+(?:and|or)?[\s,]*+\})*+",
    re.IGNORECASE,
)
_JOINING_WORD = re.compile(r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])", re.IGNORECASE)
_STATED = re.compile(
    r"""(?<![^\W_])answers?(?![^\W_])                                     # the answer ...
        (?: [ \t*_]*+ [:=]                                                # answer: X
          | (?: [ \t*_]*+ | [ ](?:to|for|of)\b[^.:$\n]{0,60}?[ ] )        # ... to the question
            (?<![^\W_]) (?:is|are|was|equals|(?:would|will|must|should)[ ]be)\b
            (?![ ](?:correct|reasonable|valid|consistent|verified|confirmed)\b) )
        (?: [\s*:=] | __?(?=\s) )*+
      | (?:\*\*|__) (?:the[ ])?(?:final[ ])?answer (?:\*\*|__) \s*+       # **Final Answer** X
      | ^[\#*_ \t]*+ (?:the[ ])?(?:final[ ])?answer [*_ \t]*+ $ \s*+      # a line of its own, then X
      | (?P<hashes> (?<!\#)\#{4}(?!\#) ) [ \t*]*+ (?=[^\s\#])             # #### X, but no heading in words
        (?! (?:\d++[.):][ ])? [^\W\d_]{2,}+(?![(^=_{\d+*/-]) )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
# The end of a claim: its line's, its sentence's (no point of 3.5 or 0.333...), or where its reason begins.
_CLAIM_END = re.compile(r"\n|(?<!\.)\.(?=[*_]*+(?:\s|\Z))|,?[ ](?:because|since|as|so|where|which)\b")
_SENTENCE = re.compile(r"(?i:\b(?:it|is|are|was|be|can|cannot|let|the|this|that|we|you)\b)|\bI (?!and\b|or\b)[a-z]")
_SOMETHING = re.compile(r"[^\s.*_:,;$#`\"'-]")


@dataclass(frozen=True)
class Extraction:
    """A response's final answer, and the rule that found it; with no answer, the rule says why there is none."""

    answer: str | None
    rule: str


def extract(response: str, mode: ExtractMode = "lenient") -> Extraction:
    r"""The final answer of a response, as text.

    Everything up to the last `</think>` is thinking, never an answer; a `<think>` that stays open means no answer. The
    last closed `\boxed{...}` or `\fbox{...}` is the answer; boxes that stand side by side ("\boxed{2} and \boxed{3}")
    are one. With "boxed-only" (for rewards) nothing else is. "lenient" (for evaluation) takes, where no box was closed:
    the last stated answer ("the answer is X", "**Answer:** X", "#### X"), the last formula, or a bare answer alone on
    its line. After a box that was cut off, only what is then stated can count.
    """
    text = response.rpartition("</think>")[2]
    if "<think>" in text:
        return _none("the thinking was never closed")
    if not text.strip():
        return _none("nothing follows the thinking" if "</think>" in response else "the response is empty")
    boxes, nested, cut_off = _boxes(text)
    if boxes:
        answer, number = _last(text, boxes, lambda box: _unwrap(text, box, nested), bare_space_joins=True)
        return _found(answer, "the last \\boxed{}" if number == 1 else "boxes side by side", "boxed")
    if mode == "lenient":
        found = _unboxed(text) if cut_off is None else _stated(text[cut_off:])
        if found:
            return found
    if cut_off is not None:
        return _none("the last \\boxed{ was never closed")
    return _none("no \\boxed{}" if mode == "boxed-only" else "no \\boxed{}, no stated answer, no formula")


def _none(why: str) -> Extraction:
    return Extraction(None, f"no final answer: {why}")


def _found(answer: str, rule: str, kind: str) -> Extraction:
    return Extraction(answer, rule) if answer else _none(f"the {kind} answer is empty")


# Boxes


def _boxes(text: str) -> tuple[list[Span], dict[int, Span], int | None]:
    """The closed boxes that stand in no other; those in braces by their start; where the last unclosed one starts."""
    outermost: list[Span] = []
    by_start: dict[int, Span] = {}
    unclosed, closers = None, None
    for command in _BOX.finditer(text):
        if closers is None:
            closers = _closers(text, command.start())
        at = _SPACE.match(text, command.end()).end()
        inside = bool(outermost) and command.start() < outermost[-1].end
        if text[at : at + 1] != "{":
            box = None if inside else _unbraced(text, command, at, closers)
        elif at in closers:
            box = by_start[command.start()] = Span(command.start(), at + 1, closers[at], closers[at] + 1)
        else:
            box, unclosed = None, command.start()
        if box and not inside:
            outermost.append(box)
    return outermost, by_start, unclosed


def _closers(text: str, start: int) -> dict[int, int]:
    """Where each brace that opens at `start` or later is closed; one that never is has no entry."""
    closers, opened = {}, []
    for brace in _BRACE.finditer(text, start):
        at = brace.start()
        if text[at] == "{":
            opened.append(at)
        elif text[at] == "}" and opened:
            closers[opened.pop()] = at
    return closers


def _unbraced(text: str, command: re.Match, first: int, closers: dict[int, int]) -> Span | None:
    r"""The box `\boxed 7` or `\boxed\frac{1}{2}`; None where the command is only spoken of ("put it in \boxed.")."""
    spaces = text[command.end() : first]
    if "\n" in spaces or (spaces and _PROSE.match(text, first)):
        return None
    end = first
    while run := _RUN.match(text, end):
        end = run.end()
        while end in closers:
            end = closers[end] + 1
    content = text[first:end].rstrip(".,;:?'\"`*")
    if any(content.endswith(shut) and open_ not in content for open_, shut in ("()", "[]")):
        content = content[:-1]
    if not _SOMETHING.search(content):
        return None
    last = first + len(content)
    return Span(command.start(), first, last, last)


def _unwrap(text: str, box: Span, by_start: dict[int, Span]) -> str:
    """A box's content; where that is nothing but a box again, the content of the inner one."""
    while True:
        inner = by_start.get(_SPACE.match(text, box.first, box.last).end())
        if inner is None or text[inner.end : box.last].strip():
            return text[box.first : box.last].strip()
        box = inner


def _last(text: str, spans: list[Span], content: Callable[[Span], str], *, bare_space_joins: bool) -> tuple[str, int]:
    """The last span's content, together with those of the spans it is joined to; and how many they are.

    Commas, "and" and "or" join. Bare space does too if asked, but there a repeated answer is only said twice.
    """
    answer = content(spans[-1])
    parts = [answer]
    for after, before in pairwise(reversed(spans)) if answer else ():
        gap = text[before.end : after.start]
        word = _JOINING_WORD.search(gap)
        says = word is not None or "," in gap or ";" in gap
        if not _JOIN.fullmatch(gap) or not (says or bare_space_joins):
            break
        earlier = content(before)
        if earlier and (says or earlier != answer):
            parts += [f" {word.group().lower()} " if word else ", ", earlier]
            answer = earlier
    return "".join(reversed(parts)), len(parts) // 2 + 1


# Without a box


def _unboxed(text: str) -> Extraction | None:
    """What "lenient" finds where there is no box at all."""
    stated = _stated(text)
    if stated:
        return stated
    formulas = [span for span in formulas_of(text) if _formula(text, span)]
    if formulas:
        answer, number = _last(text, formulas, lambda span: _formula(text, span), bare_space_joins=False)
        return Extraction(answer, "the last formula" if number == 1 else "formulas side by side")
    line = text.strip()
    if len(line) > MAX_BARE or "\n" in line or line[0] == "#":
        return None
    answer = _clean(line)
    if not answer or len(line.split()) > MAX_BARE_WORDS or len(_PROSE.findall(line)) > 1 or _SENTENCE.search(line):
        return None
    return Extraction(answer, "the whole response")


def _stated(text: str) -> Extraction | None:
    """The last claim ("the answer is X"), up to the end of its sentence or line; a formula in it is never cut."""
    claims = deque(_STATED.finditer(text), maxlen=1)
    if not claims:
        return None
    claim, text = claims[0], text[claims[0].end() :]
    formulas = formulas_of(text)
    number, end = 0, len(text)
    for stop in _CLAIM_END.finditer(text):
        while number < len(formulas) and formulas[number].end <= stop.start():
            number += 1
        if number == len(formulas) or stop.start() < formulas[number].start:
            end = stop.start()
            break
    answer = _clean(_without_delimiters(text[:end], [span for span in formulas if span.end <= end]))
    return _found(answer, "####" if claim["hashes"] else "the answer is ...", "stated")


def _without_delimiters(claim: str, formulas: list[Span]) -> str:
    """A claim without the signs around its formulas; the one formula alone where a sentence surrounds it.

    A unit is no sentence, and an alternative ("$7$ or 8") is never dropped.
    """
    edges = [0, *(edge for span in formulas for edge in (span.start, span.end)), len(claim)]
    prose = [claim[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    contents = [_formula(claim, span) for span in formulas]
    around = " ".join(prose)
    if len(contents) == 1 and len(_PROSE.findall(around)) > 3 and not re.search(r"\d|\b(?:and|or)\b", around):
        return contents[0]
    return "".join(a + b for a, b in zip(prose, [*contents, ""], strict=True))


def _clean(answer: str) -> str:
    """Strip emphasis, quotes and final punctuation; "" where nothing is left to read."""
    answer = _trimmed(answer, "*:")
    for mark in ("`", '"', "__", "_"):
        if answer.startswith(mark) and answer.endswith(mark) and len(answer) > 2 * len(mark):
            answer = _trimmed(answer[len(mark) : -len(mark)], "*:")
    return answer if _SOMETHING.search(answer) else ""


def _formula(text: str, span: Span) -> str:
    return _trimmed(text[span.first : span.last])


def _trimmed(text: str, marks: str = "") -> str:
    r"""Without white space and `marks` around it, and without stops .,; behind it, but for "..." and the space `\,`."""
    start, end = 0, len(text)
    while start < end and (text[start].isspace() or text[start] in marks):
        start += 1
    while end > start:
        last, before = text[end - 1], text[end - 2 : end - 1]
        if not (last.isspace() or last in marks or (last in ".,;" and before not in ("\\", "."))):
            break
        end -= 1
    return text[start:end]
