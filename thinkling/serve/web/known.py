"""Questions whose answer is known: of a built-in suite, a benchmark or a file. To a reply there is a verdict then."""

from collections.abc import Sequence

from thinkling.problem import Problem
from thinkling.verify.verifier import verify


class Known:
    """Problems by their question."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        self.by_question = {one_line(problem.question): problem for problem in problems}

    def find(self, question: str) -> Problem | None:
        """The problem that a message asks, however it is broken into lines."""
        return self.by_question.get(one_line(question))

    def verdict(self, question: str, answer: str) -> tuple[str, str] | None:
        """The status of an answer and why, in words; None where the question is not known."""
        problem = self.find(question)
        if problem is None:
            return None
        found = verify(problem, answer)
        reference = f"the reference is {problem.reference}; " if problem.reference and not found.correct else ""
        return found.status, reference + found.reason


def one_line(text: str) -> str:
    return " ".join(text.split())
