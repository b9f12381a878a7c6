"""Name a number that another one divides: many answers are right, so a function judges."""

import re
from random import Random


def problems(split, seed):
    random = Random(f"{split}/{seed}")
    for _ in range(500):
        n, low = random.randint(3, 9), random.randint(10, 50)
        yield {
            "question": f"Name a multiple of {n} that is larger than {low}.",
            "verifier": f"{__file__}:judge",
            "metadata": {"n": n, "low": low},
        }


def judge(problem, response):
    found = re.findall(r"\\boxed\{(\d+)\}", response)
    if not found:
        return False
    number, wanted = int(found[-1]), problem.metadata
    return number > wanted["low"] and number % wanted["n"] == 0
