"""Endless small mathematics problems with worked solutions, made on the spot: the built-in benchmark and curriculum.

Word problems come from reasoning-gym's `gsm_symbolic` templates, which carry a worked solution; the arithmetic families
have step-by-step solvers written here. Three splits, disjoint by construction:

  train              word problems of the seen templates, and arithmetic, whose question hashes to the training side
  held-out           the same families, whose question hashes to the other side: new numbers
  unseen-templates   word problems of ten templates that the other two splits never use

A second suite, larger-numbers, is the arithmetic families once more, with larger numbers and other lengths than
`thinkling-base` has read: what it knows how to do, where it fails. It has the first two splits. The suites that the
commands ask where no other is named, quantities and longer-quantities, are made in `quantities.py`, with splits of
their own.

Left out: anything that needs a download; see `benchmarks.py` for published benchmarks.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import gcd
from random import Random

from thinkling.errors import UserError
from thinkling.problem import Problem, is_held_out
from thinkling.tasks import quantities

SPLITS = ("train", "held-out", "unseen-templates")
UNSEEN_TEMPLATES = (7, 16, 24, 31, 44, 58, 67, 72, 85, 95)
# Templates of reasoning-gym 0.1.25 that are not used: fractional people or items silently rounded (2, 49, 75), a
# percentage written as a wrong equation (53), floating-point noise in the text (66), or far longer than the rest (17).
DROPPED_TEMPLATES = (2, 17, 49, 53, 66, 75)
MAX_PROBLEMS = 20_000  # of one call: a minute's work
MAX_CHARACTERS = 480  # of a word problem's question, and of its solution


@dataclass(frozen=True)
class Suite:
    """Does it have word problems, and how large are the numbers of its arithmetic families? A pair is from, to; of
    factor_digits, one for each."""

    words: bool
    terms: tuple[int, int]
    term_digits: tuple[int, int]
    factor_digits: tuple[int, int]
    coefficient: int
    unknown: int
    constant: int
    divisors: tuple[int, int]
    multiples: tuple[int, int]
    denominator: int


SIZES = {
    "builtin": Suite(
        words=True, terms=(3, 5), term_digits=(1, 2), factor_digits=(2, 2), coefficient=12, unknown=30,
        constant=99, divisors=(10, 150), multiples=(4, 40), denominator=12,
    ),
    "larger-numbers": Suite(
        words=False, terms=(2, 4), term_digits=(2, 3), factor_digits=(3, 1), coefficient=20, unknown=60,
        constant=200, divisors=(100, 300), multiples=(20, 60), denominator=15,
    ),
}  # fmt: skip
SUITES = (*SIZES, *quantities.STEPS)

Parts = tuple[str, ...]  # question, reference, solution; of a word problem, its template too


def problems(split: str, num_problems: int, seed: int = 0, suite: str = "builtin") -> list[Problem]:
    """The first `num_problems` different problems of a split. Same arguments, same problems, on every machine."""
    check_size(num_problems)
    seen: dict[str, Problem] = {}
    for problem in stream(split, f"problems/{seed}", suite):
        seen.setdefault(problem.question, problem)
        if len(seen) == num_problems:
            break
    return list(seen.values())


def check_size(num_problems: int) -> None:
    """Raises UserError before any work where so many problems are not to be had."""
    if not 1 <= num_problems <= MAX_PROBLEMS:
        raise UserError(f"the number of problems must be from 1 to {MAX_PROBLEMS:,}, not {num_problems:,}")


def stream(split: str, seed: str, suite: str = "builtin") -> Iterator[Problem]:
    """Problems of a split without end; a question may come again."""
    if suite in quantities.STEPS:
        yield from quantities.stream(split, seed, suite)
    made = SIZES[suite]
    splits = SPLITS if made.words else SPLITS[:2]
    if split not in splits:
        raise UserError(f"unknown split '{split}' of {suite}: use one of {', '.join(splits)}")
    random = Random(f"{split}/{seed}" if made.words else f"{suite}/{split}/{seed}")
    names, weights = zip(*((n, w) for n, w in FAMILIES.items() if made.words or n != "word"), strict=True)
    while True:
        if split == "unseen-templates":
            family, parts = "word", _word(random, UNSEEN_TEMPLATES)
        else:
            family = random.choices(names, weights)[0]
            parts = _word(random) if family == "word" else SOLVERS[family](random, made)
        if parts is None:
            continue
        question, reference, solution, *template = parts
        digest = hashlib.sha256(question.encode()).hexdigest()
        if split == "unseen-templates" or is_held_out(digest) == (split == "held-out"):
            detail = template if made.words else [str(len(re.findall(r"\d", question)))]
            kind = "/".join([family, *detail])
            yield Problem(f"{suite}/{family}/{digest[:12]}", question, reference, family, solution, kind)


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


def _word(random: Random, templates: tuple[int, ...] = (), difficulty: float = 1.0) -> Parts | None:
    generators, seen = _templates()
    template = random.choice(templates or seen)
    item = generators[template](Random(random.getrandbits(63)), difficulty)
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


def _sum(random: Random, sizes: Suite) -> Parts:
    (fewest, most), (short, long) = sizes.terms, sizes.term_digits
    chains = _gym("chain_sum", min_terms=fewest, max_terms=most, min_digits=short, max_digits=long)
    item = chains[random.randrange(2**31)]
    terms = item["metadata"]["expression"].split()
    total, steps = int(terms[0]), []
    for sign, term in zip(terms[1::2], terms[2::2], strict=True):
        after = total + int(term) if sign == "+" else total - int(term)
        steps.append(f"{total} {sign} {term} = {after}")
        total = after
    return f"What is {' '.join(terms)}?", str(total), "\n".join(steps)


def _product(random: Random, sizes: Suite) -> Parts | None:
    digits, other_digits = sizes.factor_digits
    item = _gym("products", min_digits=digits, max_digits=digits)[random.randrange(2**31)]
    a, b = (int(n) for n in item["metadata"]["expression"].split(" * "))
    b %= 10**other_digits
    if b < 2:
        return None
    tens, ones = b - b % 10, b % 10
    if not ones or not tens:
        return f"What is {a} * {b}?", str(a * b), f"{a} * {b} = {a * b}"
    steps = [f"{a} * {b} = {a} * {tens} + {a} * {ones}", f"{a} * {tens} = {a * tens}", f"{a} * {ones} = {a * ones}"]
    return f"What is {a} * {b}?", str(a * b), "\n".join([*steps, f"{a * tens} + {a * ones} = {a * b}"])


def _equation(random: Random, sizes: Suite) -> Parts:
    a, x = random.randint(2, sizes.coefficient), random.randint(2, sizes.unknown)
    b = random.randint(1, sizes.constant)
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


def _gcd(random: Random, sizes: Suite) -> Parts:
    smallest, largest = sizes.divisors
    item = _gym("gcd", min_value=smallest, max_value=largest)[random.randrange(2**31)]
    a, b = item["metadata"]["numbers"]
    divisor, steps = _euclid(a, b)
    question = f"What is the greatest common divisor of {a} and {b}?"
    return question, str(divisor), "\n".join([*steps, f"The last divisor is {divisor}."])


def _lcm(random: Random, sizes: Suite) -> Parts:
    smallest, largest = sizes.multiples
    item = _gym("lcm", min_value=smallest, max_value=largest)[random.randrange(2**31)]
    a, b = item["metadata"]["numbers"]
    divisor, steps = _euclid(a, b)
    rest = a // divisor
    steps += [f"The greatest common divisor is {divisor}.", f"{a} / {divisor} = {rest}", f"{rest} * {b} = {rest * b}"]
    return f"What is the least common multiple of {a} and {b}?", str(rest * b), "\n".join(steps)


def _fraction(random: Random, sizes: Suite) -> Parts:
    b, d = random.randint(2, sizes.denominator), random.randint(2, sizes.denominator)
    a, c = random.randint(1, b), random.randint(1, d)
    common = b * d // gcd(b, d)
    left, right = a * common // b, c * common // d
    total = Fraction(a, b) + Fraction(c, d)
    steps = [f"{a}/{b} = {left}/{common}", f"{c}/{d} = {right}/{common}"]
    steps.append(f"{left}/{common} + {right}/{common} = {left + right}/{common}")
    if total.denominator != common:
        steps.append(f"{left + right}/{common} = {total}")
    return f"What is {a}/{b} + {c}/{d}? Give a fraction in lowest terms.", str(total), "\n".join(steps)


SOLVERS: dict[str, Callable[[Random, Suite], Parts | None]] = {
    "sum": _sum, "product": _product, "equation": _equation, "gcd": _gcd, "lcm": _lcm, "fraction": _fraction,
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
