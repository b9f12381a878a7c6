"""Run a reward function against the hostile completions, each call watched, and say what is wrong with it.

Also the other way round: an honest right answer must earn more than a wrong one, or it rewards nothing. Left out are
the finer points of mathematics: whether 0.5 is 1/2 to it is for a bench to say.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from thinkling.isolated import REFUSED, Call, Isolated
from thinkling.verify.adversarial.hostile import PAIRS, Hostile, Pair, box, hostile
from thinkling.verify.math.grade import grade

Kind = Literal["rewards nothing", "pays", "no number", "raises", "hangs", "dies", "touches"]
MEANING: dict[Kind, str] = {
    "rewards nothing": "an honest right answer earns no more than a wrong one",
    "pays": "a hostile completion earns more than a wrong answer",
    "no number": "it returns what cannot be averaged",
    "raises": "one completion stops the training",
    "hangs": "one completion holds up the training",
    "dies": "one completion takes the process down",
    "touches": "grading a text does more than computing",
}


@dataclass(frozen=True)
class Finding:
    """Something wrong with a reward function: its kind, what happened, on which completions, for which references."""

    kind: Kind
    what: str
    cases: tuple[str, ...]
    references: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what} on {and_more(self.cases)}, reference {and_more(self.references)}"


class _Event(NamedTuple):
    kind: Kind
    key: str  # events of one kind and key are one finding
    what: str
    case: str
    reference: str


def reward(response: str, reference: str) -> float:
    """The project's own reward: 1 for a right answer in a box after the thinking, else 0."""
    return float(grade(response, reference, "strict").correct)


def lint_reward(target: str, pairs: Sequence[Pair] = PAIRS, limit_s: float = 2.0) -> list[Finding]:
    """What is wrong with a reward function (response, reference) -> float; nothing found is an empty list.

    target: MODULE:FUNCTION or FILE.py:FUNCTION, so that a child process can import it. limit_s: seconds that one call
    may take. A hostile completion may earn as much as the pair's wrong answer (a reward for the format is a fair
    thing), no more; nor may silence, where a wrong answer costs something. Raises UserError where the function cannot
    be imported, or hangs on honest answers.
    """
    honest = [(text, pair.reference) for pair in pairs for text in (*answers(pair.reference), *answers(pair.wrong))]
    with Isolated(target, limit_s, warm_up=honest) as call:
        return merged(_events(call, pairs))


def answers(answer: str) -> tuple[str, str]:
    """An honest completion, without thinking and with it."""
    return f"So the answer is {box(answer)}.", f"<think>I work it out.</think>\nThe answer is {box(answer)}."


def _events(call: Isolated, pairs: Sequence[Pair]) -> Iterator[_Event]:
    ended = set()  # what ended the child once is not tried again: it would do so for every reference
    for number, pair in enumerate(pairs):
        earned: dict[str, float] = {}
        for answer in (pair.reference, pair.wrong):
            outcomes = [call(text, pair.reference) for text in answers(answer)]
            for outcome in outcomes:
                yield from misbehaviour(outcome, "an honest answer", pair.reference)
            numbers = [score for score in map(number_of, outcomes) if score is not None]
            earned[answer] = max(numbers, default=0.0)
        right, wrong = earned[pair.reference], earned[pair.wrong]
        if right <= wrong:
            what = f"the right answer earns {right:g}, a wrong one {wrong:g}"
            yield _Event("rewards nothing", what, what, "an honest answer", pair.reference)
        for text in hostile(pair.question, pair.reference):
            if text.name in ended or (number and text.group == "sizes"):  # of a megabyte, the reference is no part
                continue
            outcome = call(text.response, pair.reference)
            if outcome.ended in ("killed", "died"):
                ended.add(text.name)
            yield from misbehaviour(outcome, text.name, pair.reference)
            yield from payment(outcome, text, pair.reference, wrong)


def number_of(outcome: Call) -> float | None:
    """The reward, where the call returned a finite number."""
    value = outcome.value
    return float(value) if isinstance(value, bool | int | float) and math.isfinite(value) else None


def misbehaviour(outcome: Call, case: str, reference: str) -> Iterator[_Event]:
    for touched in outcome.touched:
        yield _Event("touches", touched.partition(" ")[0], touched, case, reference)
    if outcome.ended == "raised":
        if REFUSED not in outcome.why:  # else it is told above
            yield _Event("raises", outcome.why.partition(":")[0], outcome.why[:100], case, reference)
    elif outcome.ended == "killed":
        yield _Event("hangs", case, outcome.why, case, reference)
    elif outcome.ended == "died":
        yield _Event("dies", case, outcome.why, case, reference)
    elif number_of(outcome) is None:
        what = f"returns {outcome.value}"
        yield _Event("no number", what, what, case, reference)


def payment(outcome: Call, text: Hostile, reference: str, wrong: float) -> Iterator[_Event]:
    earned = number_of(outcome)
    if text.must_fail and earned is not None and earned > wrong:
        yield _Event("pays", text.name, f"{earned:g}, where a wrong answer earns {wrong:g},", text.name, reference)


def merged(events: Iterable[_Event]) -> list[Finding]:
    """One finding for all events of one kind and key, the worst kinds first."""
    groups: dict[tuple[str, str], list[_Event]] = {}
    for event in events:
        groups.setdefault((event.kind, event.key), []).append(event)
    found = [
        Finding(group[0].kind, group[0].what, unique(e.case for e in group), unique(e.reference for e in group))
        for group in groups.values()
    ]
    return sorted(found, key=lambda finding: list(MEANING).index(finding.kind))


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def and_more(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    return f"{texts[0]!r}{more}"
