"""Endless small mathematics problems with worked solutions, made on the spot: the built-in benchmark and curriculum.

Word problems come from reasoning-gym's `gsm_symbolic` templates, which carry a worked solution; the arithmetic families
have step-by-step solvers written here. Three splits, disjoint by construction:

  train              word problems of the seen templates, and arithmetic, whose question hashes to the training side
  held-out           the same families, whose question hashes to the other side: new numbers
  unseen-templates   word problems of ten templates that the other two splits never use

Left out: anything that needs a download; see `benchmarks.py` for published benchmarks.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from math import gcd
from random import Random

from thinkling.errors import UserError
from thinkling.tasks.problem import Problem

SPLITS = ("train", "held-out", "unseen-templates")
UNSEEN_TEMPLATES = (7, 16, 24, 31, 44, 58, 67, 72, 85, 95)
# Templates of reasoning-gym 0.1.25 that are not used: fractional people or items silently rounded (2, 49, 75), a
# percentage written as a wrong equation (53), floating-point noise in the text (66), or far longer than the rest (17).
DROPPED_TEMPLATES = (2, 17, 49, 53, 66, 75)
HELD_OUT_SHARE = 0.1
MAX_CHARACTERS = 480  # of a word problem's question, and of its solution

Parts = tuple[str, ...]  # question, reference, solution; of a word problem, its template too


def problems(split: str, num_problems: int, seed: int = 0) -> list[Problem]:
    """The first `num_problems` different problems of a split. Same arguments, same problems, on every machine."""
    if num_problems < 1:
        raise UserError(f"the number of problems must be at least 1, not {num_problems}")
    seen: dict[str, Problem] = {}
    for problem in stream(split, f"problems/{seed}"):
        seen.setdefault(problem.question, problem)
        if len(seen) == num_problems:
            break
    return list(seen.values())


def stream(split: str, seed: str) -> Iterator[Problem]:
    """Problems of a split without end; a question may come again."""
    if split not in SPLITS:
        raise UserError(f"unknown split '{split}': use one of {', '.join(SPLITS)}")
    random = Random(f"{split}/{seed}")
    names, weights = zip(*FAMILIES.items(), strict=True)
    while True:
        if split == "unseen-templates":
            family, parts = "word", _word(random, UNSEEN_TEMPLATES)
        else:
            family = random.choices(names, weights)[0]
            parts = MAKERS[family](random)
        if parts is None:
            continue
        question, reference, solution, *template = parts
        digest = hashlib.sha256(question.encode()).hexdigest()
        if split == "unseen-templates" or is_held_out(digest) == (split == "held-out"):
            kind = "/".join([family, *template])
            yield Problem(f"builtin/{family}/{digest[:12]}", question, reference, family, solution, kind)


def is_held_out(digest: str) -> bool:
    """Which side a question's sha256 falls on: no question can ever be on both."""
    return int(digest[:8], 16) / 16**8 < HELD_OUT_SHARE


# --- word problems -------------------------------------------------------------------------------------------------


@cache
def _templates() -> tuple[dict[int, Callable], tuple[int, ...]]:
    from reasoning_gym.arithmetic.gsm_symbolic.gsm_symbolic import (
        GSMSymbolicDataset,
        GSMSymbolicDatasetConfig,
        tasks_ok,
    )

    generators = GSMSymbolicDataset(GSMSymbolicDatasetConfig(seed=0, size=1)).generators
    return generators, tuple(sorted(set(tasks_ok) - set(UNSEEN_TEMPLATES) - set(DROPPED_TEMPLATES)))


def _word(random: Random, templates: tuple[int, ...] = ()) -> Parts | None:
    generators, seen = _templates()
    template = random.choice(templates or seen)
    item = generators[template](Random(random.getrandbits(63)), 1.0)
    question, reference = _tidy(item["question"]), item["answer"].removesuffix(".0")
    solution = _tidy(item["metadata"]["answer_cot"].rsplit("####", 1)[0])
    noisy = re.search(r"\.\d{4,}", question + solution) or not re.fullmatch(r"-?\d+(\.\d+)?", reference)
    if noisy or max(len(question), len(solution)) > MAX_CHARACTERS:
        return None
    return question, reference, solution, str(template)


def _tidy(text: str) -> str:
    """One currency sign, one sign per operation, no decorations: shorter to read and to learn."""
    text = re.sub(r"[£€¥₹]", "$", text)
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    text = re.sub(r"(?<=\d)\.0(?!\d)", "", text)
    text = text.replace("Let's solve this step by step:", "").replace("×", "*").replace("÷", "/")
    text = re.sub(r"(?<=\d) x (?=[\d$])", " * ", text)
    text = re.sub(r"(?<=\d) ?([+*=-]) ?(?=\$?\d)", r" \1 ", text)
    text = re.sub(r"^\s*[•-]\s*", "", text, flags=re.MULTILINE)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


# --- arithmetic, with solvers --------------------------------------------------------------------------------------


@cache
def _gym(name: str, **config: int) -> object:
    from reasoning_gym.factory import create_dataset

    return create_dataset(name, seed=0, size=2**31, **config)


def _sum(random: Random) -> Parts:
    item = _gym("chain_sum", min_terms=3, max_terms=5, min_digits=1, max_digits=2)[random.randrange(2**31)]
    terms = item["metadata"]["expression"].split()
    total, steps = int(terms[0]), []
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        after = total + int(term) if sign == "+" else total - int(term)
        steps.append(f"{total} {sign} {term} = {after}")
        total = after
    return f"What is {' '.join(terms)}?", str(total), "\n".join(steps)


def _product(random: Random) -> Parts:
    item = _gym("products", min_digits=2, max_digits=2)[random.randrange(2**31)]
    a, b = (int(n) for n in item["metadata"]["expression"].split(" * "))
    tens, ones = b - b % 10, b % 10
    if not ones or not tens:
        return f"What is {a} * {b}?", str(a * b), f"{a} * {b} = {a * b}"
    steps = [f"{a} * {b} = {a} * {tens} + {a} * {ones}", f"{a} * {tens} = {a * tens}", f"{a} * {ones} = {a * ones}"]
    return f"What is {a} * {b}?", str(a * b), "\n".join([*steps, f"{a * tens} + {a * ones} = {a * b}"])


def _equation(random: Random) -> Parts:
    a, x, b = random.randint(2, 12), random.randint(2, 30), random.randint(1, 99)
    sign, undo = random.choice([("+", "-"), ("-", "+")])
    right = a * x + b if sign == "+" else a * x - b
    name = random.choice("xyznt")
    steps = [f"{a}{name} = {right} {undo} {b}", f"{right} {undo} {b} = {a * x}", f"{name} = {a * x} / {a} = {x}"]
    return f"Solve for {name}: {a}{name} {sign} {b} = {right}", str(x), "\n".join(steps)


def _euclid(a: int, b: int) -> tuple[int, list[str]]:
    steps, (a, b) = [], (max(a, b), min(a, b))
    while b:
        steps.append(f"{a} = {a // b} * {b} + {a % b}")
        a, b = b, a % b
    return a, steps


def _gcd(random: Random) -> Parts:
    item = _gym("gcd", min_value=10, max_value=150)[random.randrange(2**31)]
    a, b = item["metadata"]["numbers"]
    divisor, steps = _euclid(a, b)
    question = f"What is the greatest common divisor of {a} and {b}?"
    return question, str(divisor), "\n".join([*steps, f"The last divisor is {divisor}."])


def _lcm(random: Random) -> Parts:
    item = _gym("lcm", min_value=4, max_value=40)[random.randrange(2**31)]
    a, b = item["metadata"]["numbers"]
    divisor, steps = _euclid(a, b)
    rest = a // divisor
    steps += [f"The greatest common divisor is {divisor}.", f"{a} / {divisor} = {rest}", f"{rest} * {b} = {rest * b}"]
    return f"What is the least common multiple of {a} and {b}?", str(rest * b), "\n".join(steps)


def _fraction(random: Random) -> Parts:
    b, d = random.randint(2, 12), random.randint(2, 12)
    a, c = random.randint(1, b), random.randint(1, d)
    common = b * d // gcd(b, d)
    left, right = a * common // b, c * common // d
    total = Fraction(a, b) + Fraction(c, d)
    steps = [f"{a}/{b} = {left}/{common}", f"{c}/{d} = {right}/{common}"]
    steps.append(f"{left}/{common} + {right}/{common} = {left + right}/{common}")
    if total.denominator != common:
        steps.append(f"{left + right}/{common} = {total}")
    return f"What is {a}/{b} + {c}/{d}? Give a fraction in lowest terms.", str(total), "\n".join(steps)


MAKERS: dict[str, Callable[[Random], Parts | None]] = {
    "word": _word, "sum": _sum, "product": _product, "equation": _equation, "gcd": _gcd, "lcm": _lcm,
    "fraction": _fraction,
}  # fmt: skip
FAMILIES = {
    "word": 50,
    "sum": 18,
    "product": 12,
    "equation": 6,
    "gcd": 4,
    "lcm": 4,
    "fraction": 6,
}  # shares, in percent
