"""The verifier `math`, every problem's unless it names another: the final answer and the reference, compared as values.

Here the pipeline (extract, parse, compare) is put into the form that all verifiers have.
"""

from functools import lru_cache

import thinkling.verify.math.grade as grading
import thinkling.verify.math.prose.extract as extracting
from thinkling.problem import Problem
from thinkling.verify.verifier import RuleSet, Verdict, Verifier, checked, no_argument

judged = lru_cache(2**12)(grading.judge)


def verifier(argument: str) -> Verifier:
    no_argument("math", argument)
    remembered = lru_cache(2**16)(grading.same_answer)  # a vote of 32 asks for the same few pairs again and again
    return Verifier(verify, answer_of, remembered, complaint)


def verify(problem: Problem, response: str, mode: RuleSet = "lenient") -> Verdict:
    """`grade`. Samples of one problem often end in the same answer, which is judged once."""
    found = extracting.extract(checked(response, "response"), mode)
    return judged(found, (checked(problem.reference, "reference"),), mode)


def answer_of(response: str, mode: RuleSet = "lenient") -> str | None:
    return extracting.extract(response, mode).answer


def complaint(problem: Problem) -> str | None:
    why = grading.why_unreadable(problem.reference)
    if why is not None:
        return f"not read as mathematics or words: {why}"
    verdict = verify(problem, f"\\boxed{{{problem.reference}}}", "strict")
    return None if verdict.correct else f"is {verdict.status} against itself: {verdict.reason}"
