"""How a response is judged: the verdict, what every verifier offers, and the way from a verifier's name to it.

A problem names its verifier. NAME or NAME:ARGUMENT is the module NAME of this folder, whose `verifier(ARGUMENT)` makes
it: math, choice, gym:countdown. FILE.py:FUNCTION is a function of the user's own (user.py). So a new kind of verifier
is one new file. Nothing outside this folder judges in any other way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Literal

from thinkling.errors import UserError
from thinkling.problem import Problem

RuleSet = Literal["strict", "lenient"]
Status = Literal["correct", "incorrect", "unparsed"]

_MAKING = Lock()  # two threads that ask for a verifier at once get the same one


@dataclass(frozen=True)
class Verdict:
    """What a verifier found: the status, the extracted answer (None: there is none), and the reason in words.

    `rule` is the rule that found the answer, `parsed` what it was read as, in one short line. `score` lies in [0, 1]:
    1 where the status is correct, below 1 elsewhere; left out, it is 1 or 0. Raises UserError where it is neither.
    """

    status: Status
    answer: str | None
    reason: str
    rule: str = ""
    parsed: str | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if self.score is None:
            object.__setattr__(self, "score", float(self.correct))
        if not 0 <= self.score <= 1 or (self.score == 1) != self.correct:
            raise UserError(f"a verdict's score is 1 where it is correct, else from 0 to below 1, not {self.score} "
                            f"where it is {self.status}")  # fmt: skip

    @property
    def correct(self) -> bool:
        return self.status == "correct"


@dataclass(frozen=True)
class Verifier:
    """How the problems of one kind are judged. Every part may be called from any thread.

    verify(problem, response, mode): the verdict. extract(response, mode): the final answer as text, or None; with
    "strict" (for rewards) only what stands in a box. Without a mode both are lenient.
    same_answer(a, b): are two extracted answers one vote? Symmetric and reflexive.
    complaint(problem): why not even the reference itself would be judged correct, in words; None where it would be.
    needs_reference: must every problem have one?
    """

    verify: Callable[..., Verdict]
    extract: Callable[..., str | None]
    same_answer: Callable[[str, str], bool]
    complaint: Callable[[Problem], str | None]
    needs_reference: bool = True


def verify(problem: Problem, response: str, mode: RuleSet = "lenient") -> Verdict:
    """Judge a response by the problem's own verifier. Raises UserError where the response is no text."""
    return verifier_of(problem).verify(problem, checked(response, "response"), mode)


def verifier_of(problem: Problem) -> Verifier:
    return verifier_named(problem.verifier)


def verifier_named(name: str) -> Verifier:
    """The verifier of this name; the same object each time. Raises UserError where there is none."""
    with _MAKING:
        return _made(name)


@cache
def _made(name: str) -> Verifier:
    is_file = name.rpartition(":")[0].endswith(".py")
    kind, _, argument = ("user", ":", name) if is_file else name.partition(":")
    module = f"{__package__}.{kind}"
    make = getattr(import_module(module), "verifier", None) if kind.isidentifier() and find_spec(module) else None
    if make is None:
        raise UserError(f"there is no verifier '{name}': use math, choice, gym:FAMILY or FILE.py:FUNCTION")
    return make(argument)


def checked(text: object, what: str) -> str:
    """The text itself. Raises UserError where it is none."""
    if not isinstance(text, str):
        raise UserError(f"the {what} must be a string, not {type(text).__name__}: {str(text)[:60]}")
    return text


def no_argument(kind: str, argument: str) -> None:
    """For a verifier that takes nothing behind its name."""
    if argument:
        raise UserError(f"the verifier {kind} takes nothing behind a colon, so '{kind}:{argument}' is none")
