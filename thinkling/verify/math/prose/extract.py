r"""Find the final answer in a response, as text: the last box, else the last claim, the last formula, or a bare answer.

Time is linear in the response's length, nothing recurses, and no text raises. Leaves out what the answer means (see
latex.py). It sees text only: where the prompt itself opened the thinking, give it that `<think>` too, or a thought
that was cut off looks like an answer.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import thinkling.verify.math.prose.claims as claims
import thinkling.verify.math.prose.denials as denials
from thinkling.verify.math.prose.formulas import Span, formulas_of
from thinkling.verify.verifier import RuleSet

MAX_DENIABLE = 1000  # of the last formulas, each of which may be ruled out
MAX_BARE, MAX_BARE_WORDS = 200, 5  # characters and words of a response that is nothing but an answer

_SPACE = re.compile(r"\s*+")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")  # an escaped brace is a character of the answer, not a delimiter
_RUN = re.compile(r"(?:\\(?!boxed|fbox)[A-Za-z]++|\\[^\s()\[\]\\A-Za-z]|[^\s$\\{}])++")  # the 7 of `\boxed 7`
_JOIN = re.compile(  # what may stand between two boxes that are one answer
    r"(?:[\s,;$*~]|\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|(?<![A-Za-z])(?:and|or)(?![A-Za-z])"
    r"|\\(?:text(?:rm|bf|it)?|mathrm|mbox)\{[\s,]*+(?:and|or)?[\s,]*+\})*+",
    re.IGNORECASE,
)
_JOINING_WORD = re.compile(r"(?<![A-Za-z])(?:and|or)(?![A-Za-z])", re.IGNORECASE)
_LABEL = re.compile(r"(?<![A-Za-z])[A-Z][a-z]{2,15} ?[=:](?= ?[-+$\\\\(]?\d)")
_AMOUNT = re.compile(r"\$?\d[\d.,/]*")
_SENTENCE = re.compile(r"(?i:\b(?:it|is|are|was|be|can|cannot|let|the|this|that|we|you)\b)|\bI (?!and\b|or\b)[a-z]")


@dataclass(frozen=True)
class Extraction:
    """A response's final answer, and the rule that found it; with no answer, the rule says why there is none."""

    answer: str | None
    rule: str


def extract(response: str, mode: RuleSet = "lenient") -> Extraction:
    r"""The final answer of a response, as text.

    Everything up to the last `</think>` is thinking, never an answer; a `<think>` that stays open means no answer. The
    last closed `\boxed{...}` or `\fbox{...}` is the answer; boxes that stand side by side ("\boxed{2} and \boxed{3}")
    are one, and one that the text takes back ("it is not \boxed{2}") is none. With "strict" (for rewards) nothing else
    is, and where the last box was cut off there is no answer at all.
    "lenient" (for evaluation) then takes an earlier box; and where none was closed, an answer tag, the last stated
    answer ("the answer is X", "**Answer:** X", "#### X"), the last formula, or a bare answer alone on its line. After a
    box that was cut off, only what is then stated can count.
    """
    text = response.rpartition("</think>")[2]
    if "<think>" in text:
        return _none("the thinking was never closed")
    if not text.strip():
        return _none("nothing follows the thinking" if "</think>" in response else "the response is empty")
    boxes, nested, cut_off = _boxes(text)
    if cut_off is not None and boxes and cut_off > boxes[-1].start and mode == "strict":
        return _none("the last \\boxed{ was never closed")
    boxes, taken_back = _kept(text, boxes)
    if boxes:
        answer, number = _last(text, boxes, lambda box: _unwrap(text, box, nested), bare_space_joins=True)
        return _found(answer, "the last \\boxed{}" if number == 1 else "boxes side by side", "boxed")
    if mode == "lenient":
        text = claims.without_end(text)
        resumes = cut_off if taken_back is None else taken_back
        found = _unboxed(text) if resumes is None else _stated(text[resumes:])
        if found:
            return found
    if taken_back is not None:
        return _none("the last \\boxed{} was taken back")
    if cut_off is not None:
        return _none("the last \\boxed{ was never closed")
    return _none("no \\boxed{}" if mode == "strict" else "no \\boxed{}, no stated answer, no formula")


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


def _kept(text: str, boxes: list[Span]) -> tuple[list[Span], int | None]:
    """The boxes without the last ones that the text denies; and where the first of these ends.

    A box that is taken back has no earlier one to fall back on: it had replaced it.
    """
    kept, taken_back = boxes, None
    while kept and len(boxes) - len(kept) < denials.MAX_DENIED and denials.is_no_box(text, kept[-1]):
        kept, taken_back = kept[:-1], kept[-1].end
    if kept and (denials.is_taken_back(text, kept[-1]) or len(boxes) - len(kept) == denials.MAX_DENIED):
        return [], kept[-1].end
    return kept, taken_back


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
    if "\n" in spaces or (spaces and claims.PROSE.match(text, first)):
        return None
    end = first
    while run := _RUN.match(text, end):
        end = run.end()
        while end in closers:
            end = closers[end] + 1
    content = text[first:end].rstrip(".,;:?'\"`*")
    if any(content.endswith(shut) and open_ not in content for open_, shut in ("()", "[]")):
        content = content[:-1]
    if not claims.SOMETHING.search(content):
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
    claimed = claims.tagged(text) or claims.stated(text)
    if claimed:
        return _found(claimed.answer, claimed.rule, "stated")
    formulas = [span for span in formulas_of(text) if claims.formula(text, span)]
    if formulas:
        late = formulas[-MAX_DENIABLE:]
        denied = {claims.formula(text, span) for span in late if denials.is_denied(text, span)}
        formulas = [span for span in formulas if claims.formula(text, span) not in denied]
        if not formulas:
            return None
        answer, number = _last(text, formulas, lambda span: claims.formula(text, span), bare_space_joins=False)
        return Extraction(answer, "the last formula" if number == 1 else "formulas side by side")
    concluded = claims.concluded(text)
    if concluded and concluded.answer:
        return Extraction(concluded.answer, concluded.rule)
    line = text.strip()
    if not line or len(line) > MAX_BARE or "\n" in line or line[0] == "#":
        return None
    opening = claims.OPENING.match(line)  # Therefore, 5.
    answer = claims.clean(line[opening.end() :] if opening else line)
    unlabelled = _LABEL.sub("", line)  # Maximum = 2, Minimum = 1
    prose = len(claims.PROSE.findall(unlabelled))
    one = len(_AMOUNT.findall(unlabelled)) == 1  # She makes $18 per day
    if (
        not answer
        or len(unlabelled.split()) > MAX_BARE_WORDS
        or prose > (MAX_BARE_WORDS if one else 1)
        or _SENTENCE.search(line)
    ):
        return None
    return Extraction(answer, "the whole response")


def _stated(text: str) -> Extraction | None:
    claimed = claims.stated(text)
    return claimed and _found(claimed.answer, claimed.rule, "stated")
