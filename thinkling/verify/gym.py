"""The verifiers `gym:FAMILY`: reasoning-gym's own checker of that family, asked about the extracted answer.

Some of those checkers run the answer (countdown's evaluates it with sympy), so they work in a process of their own,
timed and killed. What they cannot judge in time is unparsed. Left out: making problems (tasks/gym.py).
"""

import atexit
import math
import re
from functools import cache, partial

from thinkling.errors import UserError
from thinkling.isolated import Isolated
from thinkling.problem import Problem
from thinkling.verify.math.prose.extract import extract
from thinkling.verify.verifier import RuleSet, Verdict, Verifier

LIMIT = 5.0  # seconds for one answer
_TAGGED = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)  # the form that reasoning-gym asks for


def verifier(family: str) -> Verifier:
    """Raises UserError where reasoning-gym has no such family."""
    from reasoning_gym.factory import DATASETS

    if family not in DATASETS:
        raise UserError(f"reasoning-gym has no family '{family}': use one of {', '.join(sorted(DATASETS))}")
    return Verifier(partial(verify, family), answer_of, same_answer, partial(complaint, family), False)


def answer_of(response: str, mode: RuleSet = "lenient") -> str | None:
    r"""The text of the last \boxed{}, else of the last <answer>; lenient: else what `math` would take."""
    boxed = extract(response, "strict").answer
    if boxed is not None or "<think>" in (rest := response.rpartition("</think>")[2]):
        return boxed
    tagged = _TAGGED.findall(rest)
    if tagged:
        return tagged[-1].strip() or None
    return extract(response, mode).answer


def same_answer(a: str, b: str) -> bool:
    """Are they the same text, but for white space? What an answer means, only a family's checker knows."""
    return a.split() == b.split()


def verify(family: str, problem: Problem, response: str, mode: RuleSet = "lenient") -> Verdict:
    answer = answer_of(response, mode)
    if answer is None:
        return Verdict("unparsed", None, "no \\boxed{} and no <answer>")
    return judged(family, problem, answer)


def judged(family: str, problem: Problem, answer: str) -> Verdict:
    entry = {"question": problem.question, "answer": problem.reference or None, "metadata": problem.metadata}
    call = checkers()(family, answer, entry)
    if call.ended != "returned":
        return Verdict("unparsed", answer, f"the checker of gym:{family} gave no score: {call.why}")
    score = min(float(call.value), 1.0)
    if not score >= 0:
        raise UserError(f"problem {problem.id}: the checker of gym:{family} gave {call.value}, which is no score")
    status = "correct" if score == 1 else "incorrect"
    return Verdict(status, answer, f"gym:{family} scores it {score:g}", score=score)


def complaint(family: str, problem: Problem) -> str | None:
    """Of a family that gives no reference nothing can be said: its checker looks at the metadata alone."""
    if not problem.reference:
        return None
    verdict = judged(family, problem, problem.reference)
    return None if verdict.correct else f"does not verify against itself: {verdict.reason}"


@cache
def checkers() -> Isolated:
    """The child process in which all families' checkers run."""
    child = Isolated(f"{__name__}:score", LIMIT, warm_up=[("chain_sum", "", {"question": "", "answer": "1"})])
    atexit.register(child.close)
    return child


@cache
def dataset(family: str) -> object:
    from reasoning_gym.factory import create_dataset

    return create_dataset(family, seed=0, size=1)


def score(family: str, answer: str, entry: dict) -> float:
    """In the child: what the family's checker gives this answer to this entry."""
    found = float(dataset(family).score_answer(answer, entry))
    return -1.0 if math.isnan(found) else found
