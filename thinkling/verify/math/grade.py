"""grade(response, reference) -> Verdict: correct, incorrect or unparsed, and why, in words.

Takes two strings and knows nothing of tasks. Never raises on a string, never runs one, takes bounded time; safe
from any thread or process.
"""

from collections.abc import Sequence

from thinkling.verify.math.arithmetic import CannotTell
from thinkling.verify.math.equal import difference
from thinkling.verify.math.extract import extract
from thinkling.verify.math.latex import parse
from thinkling.verify.math.rules import LENIENT, STRICT
from thinkling.verify.math.tree import Unread, Words, show
from thinkling.verify.verifier import ExtractMode, Status, Verdict, checked


def grade(response: str, reference: str | Sequence[str], mode: ExtractMode = "lenient") -> Verdict:
    """Judge a response against the reference answer, or against several, any of which is right.

    A reference is a bare answer ("3/4"), not a worked solution. The one tolerance: a decimal reference agrees with an
    answer that has no finite decimal (1/3, π) and rounds to it, for then it is itself rounded; never with another
    decimal, and never under "boxed-only" (see equal.py). "unparsed" means that there was nothing to judge: no final
    answer, one that is neither mathematics nor words, values too large to compare, or a reference that is empty or too
    long (drop such a problem). Raises UserError where the response or a reference is no string.
    """
    checked(response, "response")
    references = list(reference) if isinstance(reference, list | tuple) else [reference]
    for one in references:
        checked(one, "reference")
    found = extract(response, mode)
    if found.answer is None:
        return Verdict("unparsed", None, found.rule, found.rule)
    value = parse(found.answer)
    rounded = mode == "lenient"
    verdicts = [_judge(found.answer, value, wanted, found.rule, rounded) for wanted in references]
    ranking = ("correct", "incorrect", "unparsed")
    none = Verdict("unparsed", found.answer, "there is no reference", found.rule, show(value))
    return min(verdicts, key=lambda verdict: ranking.index(verdict.status), default=none)


def _judge(answer: str, value: object, reference: str, rule: str, rounded: bool) -> Verdict:
    def verdict(status: Status, reason: str) -> Verdict:
        return Verdict(status, answer, reason, rule, show(value))

    wanted = parse(reference)
    for side, tree in (("answer", value), ("reference", wanted)):
        if isinstance(tree, Unread) and not tree.text:
            return verdict("unparsed", f"the {side} is {tree.why}")
    try:
        why = difference(value, wanted, LENIENT if rounded else STRICT)
    except CannotTell as limit:
        return verdict("unparsed", f"past a bound: {limit}")
    if why is None:
        return verdict("correct", f"{_short(answer)} equals {_short(reference)}")
    number_in_words = isinstance(value, Words) and any(map(str.isdigit, value.text))
    if (isinstance(value, Unread) or number_in_words) and not isinstance(wanted, Unread | Words):
        return verdict("unparsed", f"{_short(answer)} was not read as mathematics: {value.why}")
    plainly = why == f"{show(value)} is not {show(wanted)}"
    return verdict("incorrect", f"{_short(answer)} is not {_short(reference)}" + ("" if plainly else f": {why}"))


def same_answer(a: str, b: str) -> bool:
    """Are two extracted answers one vote? Symmetric and reflexive: 0.5, 1/2 and `\\frac12` are one vote.

    Not transitive where a unit or percent sign is missing (see equal.py): compare with a group's first member. Two
    answers that are past a bound are one vote only where they are the same text.
    """
    if a == b:
        return True
    try:
        return difference(parse(a), parse(b)) is None
    except CannotTell:
        return False


def why_unreadable(reference: str) -> str | None:
    """Why a reference cannot be judged against (empty, too long, neither mathematics nor words); None where it can."""
    tree = parse(reference)
    return tree.why if isinstance(tree, Unread) else None


def _short(text: str) -> str:
    """At most 60 printable characters of a text, for a one-line message."""
    line = "".join(c if c.isprintable() else "?" for c in text[:61].strip())
    return line if len(text) <= 60 else line[:57] + "..."
