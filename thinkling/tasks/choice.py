"""`choice:SUITE`: the problems of a built-in suite as multiple choice, with wrong options made from a seed.

The three wrong options are what a slip would give: one more or less, a digit too many, another sign; so they have the
right one's form. They are the same on every machine. Left out: suites whose answers are no numbers.
"""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from random import Random

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.tasks import builtin
from thinkling.tasks.options import with_options

NUM_WRONG = 3


def problems_of(suite: str, split: str, seed: str) -> Iterator[Problem]:
    """Problems without end; a question may come again. Raises UserError at once where there is no such suite."""
    if suite not in builtin.SUITES:
        raise UserError(
            f"there is no choice:{suite}: use one of {', '.join(f'choice:{name}' for name in builtin.SUITES)}"
        )
    return (as_choice(problem) for problem in builtin.stream(split, seed, suite))


def as_choice(problem: Problem) -> Problem:
    """The problem with four options, in an order and with wrong ones that its question gives."""
    random = Random(f"options/{problem.id}")
    options = [problem.reference]
    while len(options) <= NUM_WRONG:
        wrong = slip(problem.reference, random)
        if wrong not in options:
            options.append(wrong)
    random.shuffle(options)
    return with_options(problem, options, options.index(problem.reference))


def slip(answer: str, random: Random) -> str:
    """A wrong answer near the right one, in the same form: a whole number, a decimal or a fraction."""
    if "/" in answer:
        top, bottom = map(int, answer.split("/"))
        wrong = Fraction(max(1, top + random.choice([-2, -1, 1, 2])), max(2, bottom + random.choice([-1, 0, 0, 1])))
        return str(wrong)
    right = Decimal(answer)
    step = Decimal(1).scaleb(right.as_tuple().exponent)  # one in the last digit that is written
    wrong = right + step * random.choice([-100, -20, -10, -9, -2, -1, 1, 2, 9, 10, 20, 100])
    return str(wrong if wrong > 0 or right <= 0 else right + abs(right - wrong))
