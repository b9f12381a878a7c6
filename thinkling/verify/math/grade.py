"""grade(response, reference) -> Verdict: correct, incorrect or unparsed, and why, in words.

Takes two strings and knows nothing of tasks. Never raises on a string, never runs one, takes bounded time; safe
from any thread or process.
"""

from collections.abc import Sequence

from thinkling.verify.math.equal import difference
from thinkling.verify.math.expressions.arithmetic import MAX_WORK, WORK_OF_A_CHARACTER, Calculator, CannotTell
from thinkling.verify.math.expressions.relations import is_curve
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import EXPRESSIONS, Quantity, Relation, Unread, Words, variables
from thinkling.verify.math.latex import MAX_CHARACTERS, parse
from thinkling.verify.math.prose.extract import Extraction, extract
from thinkling.verify.math.readings import alike, readings
from thinkling.verify.math.rules import LENIENT, STRICT
from thinkling.verify.verifier import RuleSet, Status, Verdict, checked

PAST = "past a bound: "


def grade(response: str, reference: str | Sequence[str], mode: RuleSet = "lenient") -> Verdict:
    """Judge a response against the reference answer, or against several, any of which is right.

    A reference is a bare answer ("3/4"), not a worked solution. The one tolerance: a decimal reference agrees with an
    answer that has no finite decimal (1/3, π) and rounds to it, for then it is itself rounded; never with another
    decimal, and never under "strict" (see equal.py). "unparsed" means that there was nothing to judge: no final
    answer, one that is neither mathematics nor words, values too large to compare, or a reference that is empty or too
    long (drop such a problem). Raises UserError where the response or a reference is no string.
    """
    checked(response, "response")
    references = list(reference) if isinstance(reference, list | tuple) else [reference]
    for one in references:
        checked(one, "reference")
    return judge(extract(response, mode), tuple(references), mode)


def judge(found: Extraction, references: tuple[str, ...], mode: RuleSet) -> Verdict:
    """`grade` of what was found in a response."""
    if found.answer is None:
        return Verdict("unparsed", None, found.rule, found.rule)
    value = parse(found.answer)
    verdicts = [_judge(found.answer, value, wanted, found.rule, mode) for wanted in references]
    ranking = ("correct", "incorrect", "unparsed")
    none = Verdict("unparsed", found.answer, "there is no reference", found.rule, show(value))
    return min(verdicts, key=lambda verdict: ranking.index(verdict.status), default=none)


def _judge(answer: str, value: object, reference: str, rule: str, mode: RuleSet) -> Verdict:
    def verdict(status: Status, reason: str) -> Verdict:
        return Verdict(status, answer, reason, rule, show(value))

    wanted = parse(reference)
    for side, tree in (("answer", value), ("reference", wanted)):
        if isinstance(tree, Unread) and not tree.text:
            return verdict("unparsed", f"the {side} is {tree.why}")
    calculator = _calculator(answer, reference)  # one budget of work for all readings
    why = _why_not(value, wanted, STRICT, calculator)
    if why is None:
        return verdict("correct", f"{_short(answer)} equals {_short(reference)}")
    if mode == "lenient":
        if _why_not(value, wanted, LENIENT, calculator) is None:
            return verdict("correct", f"{_short(answer)} equals {_short(reference)}")
        second = _second_reading(answer, value, reference, wanted, calculator)
        if second is not None:
            return verdict("correct", f"{_short(answer)} equals {_short(reference)} ({second})")
    if why.startswith(PAST):
        return verdict("unparsed", why)
    number_in_words = isinstance(value, Words) and any(map(str.isdigit, value.text))
    if (isinstance(value, Unread) or number_in_words) and not isinstance(wanted, Unread | Words):
        return verdict("unparsed", f"{_short(answer)} was not read as mathematics: {value.why}")
    plainly = why == f"{show(value)} is not {show(wanted)}"
    return verdict("incorrect", f"{_short(answer)} is not {_short(reference)}" + ("" if plainly else f": {why}"))


def _calculator(a: str, b: str) -> Calculator:
    return Calculator(MAX_WORK - WORK_OF_A_CHARACTER * min(len(a) + len(b), 2 * MAX_CHARACTERS))


def _why_not(value: object, wanted: object, rules: frozenset[str], calculator: Calculator) -> str | None:
    if is_curve(wanted) and isinstance(value, (Quantity, Relation, *EXPRESSIONS)) and not variables(value):
        return f"{show(value)} is not {show(wanted)}"
    try:
        return difference(value, wanted, rules, calculator)
    except CannotTell as limit:
        return f"{PAST}{limit}"


def _second_reading(answer: str, value: object, reference: str, wanted: object, calculator: Calculator) -> str | None:
    """The lenient rule by which the answer, the reference or both have another reading that is equal."""
    ours = [reading for reading in readings(answer, value, wanted) if reading[0] in LENIENT]
    theirs = [reading for reading in readings(reference, wanted, value) if reading[0] in LENIENT]
    pairs = [(rule, tree, wanted) for rule, tree in ours] + [(rule, value, tree) for rule, tree in theirs]
    if alike(answer, reference):
        pairs += [(rule, tree, other) for rule, tree in ours for again, other in theirs if again == rule]
    else:  # Ann has 5, Bob has 5
        pairs += [(rule, tree, other) for rule, tree in ours for again, other in theirs if again == rule != "labels"]
    return next((rule for rule, first, second in pairs if _why_not(first, second, LENIENT, calculator) is None), None)


def same_answer(a: str, b: str) -> bool:
    """Are two extracted answers one vote? Symmetric and reflexive: 0.5, 1/2 and `\\frac12` are one vote.

    Not transitive where a unit or percent sign is missing (see equal.py): compare with a group's first member. Two
    answers that are past a bound are one vote only where they are the same text.
    """
    if a == b:
        return True
    try:
        return difference(parse(a), parse(b), STRICT, _calculator(a, b)) is None
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
