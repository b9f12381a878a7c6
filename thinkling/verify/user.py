"""The verifiers FILE.py:FUNCTION: a function of the user's own, called as function(problem, response).

It returns a bool, a number from 0 to 1 (correct means 1) or a Verdict. It runs in a process of its own, timed and
killed; an exception, None, an exit or a hang is an error that names the function, never a wrong answer. It may do what
it likes there: this is no sandbox. For votes, an answer is what `math` would extract, else the whole response.
"""

import atexit
import json
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

from thinkling.errors import UserError
from thinkling.isolated import Isolated, load
from thinkling.problem import Problem
from thinkling.verify.math.prose.extract import extract
from thinkling.verify.verifier import RuleSet, Verdict, Verifier

LIMIT = 10.0  # seconds for one response


def verifier(name: str) -> Verifier:
    """Raises UserError where the file or the function cannot be imported."""
    file, _, function = name.rpartition(":")
    if not Path(file).is_file():
        raise UserError(f"there is no file {file}, which the verifier '{name}' names")
    target = f"{Path(file).resolve()}:{function}"
    child = Isolated(f"{__name__}:judged", LIMIT, warm_up=[(target, None, "")], watch=False)
    atexit.register(child.close)
    found = child(target, None, "")
    if found.ended != "returned":
        child.close()
        raise UserError(f"the verifier {name} cannot be imported: {found.why}")
    return Verifier(partial(verify, name, target, child), answer_of, same_answer, lambda problem: None, False)


def answer_of(response: str, mode: RuleSet = "lenient") -> str | None:
    found = extract(response, mode)
    rest = response.rpartition("</think>")[2]
    if found.answer is not None or mode == "strict" or "<think>" in rest:
        return found.answer
    return rest.strip() or None


def same_answer(a: str, b: str) -> bool:
    """Are they the same text, but for white space?"""
    return a.split() == b.split()


def verify(
    name: str, target: str, child: Isolated, problem: Problem, response: str, mode: RuleSet = "lenient"
) -> Verdict:
    call = child(target, asdict(problem), response)
    if call.ended != "returned":
        raise UserError(f"{name} failed on problem {problem.id}: {call.why}: correct the function")
    found = json.loads(call.value)
    if isinstance(found, dict):
        return Verdict(**found)
    status = "correct" if found == 1 else "incorrect"
    return Verdict(status, answer_of(response, mode), f"{name} gives {found:g}", score=found)


# In the child


@cache
def loaded(target: str) -> object:
    return load(target)


def judged(target: str, row: dict | None, response: str) -> str:
    """What the function returns, as JSON: a verdict's fields, or a score. Without a row it is only loaded."""
    function = loaded(target)
    if row is None:
        return ""
    found = function(Problem(**row), response)
    if isinstance(found, Verdict):
        return json.dumps(asdict(found))
    if found is None or isinstance(found, str) or not hasattr(found, "__float__"):
        raise TypeError(f"it returned {found!r:.60}, not a bool, a number from 0 to 1 or a Verdict")
    score = float(found)
    if not 0 <= score <= 1:
        raise ValueError(f"it returned {score:g}, not a number from 0 to 1")
    return json.dumps(score)
