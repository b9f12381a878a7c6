"""What a completion earns, part by part. A part sees a whole group, for some compare siblings.

Which parts a run has, and with what weights, is `--reward` (`reward_weights`). `random` and `format` by
themselves are control arms: what still improves under them was not learnt from the verifier (arXiv:2506.10947).
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import derive_seed
from thinkling.problem import Problem
from thinkling.verify.verifier import Verdict, verifier_named, verifier_of, verify

OVERLONG_SHARE = 0.2  # of max_tokens, in which the penalty grows: DAPO's 4,096 of 20,480


@dataclass(frozen=True)
class GradedGroup:
    """Judged completions of one problem. max_tokens: how long one may be. seed: of the group, for the random part."""

    problem: Problem
    completions: Sequence[Completion]
    verdicts: Sequence[Verdict]
    max_tokens: int
    seed: int = 0


def correct(group: GradedGroup) -> list[float]:
    """1 for a right answer in a box."""
    return [float(verdict.correct) for verdict in group.verdicts]


def score(group: GradedGroup) -> list[float]:
    """The verdict's score, from 0 to 1: as `correct`, but where the verifier tells more (reasoning-gym), that too."""
    return [verdict.score for verdict in group.verdicts]


def partial(group: GradedGroup) -> list[float]:
    """1 for a right answer that stands anywhere but in a box: worth something, if less than one that was asked for."""
    return [
        float(not verdict.correct and is_right_unboxed(group.problem, completion.text))
        for completion, verdict in zip(group.completions, group.verdicts, strict=True)
    ]


def is_right_unboxed(problem: Problem, text: str) -> bool:
    """Would the answer be right in a box? Found as evaluation finds it, but judged as strictly as every reward."""
    answer = verifier_of(problem).extract(text)
    return answer is not None and verify(problem, f"\\boxed{{{answer}}}", "strict").correct


def formatted(group: GradedGroup) -> list[float]:
    """1 for one box, whole and at the very end, by a completion that ended by itself. Says nothing of what is in it."""
    return [float(is_formatted(group.problem, completion)) for completion in group.completions]


def is_formatted(problem: Problem, completion: Completion) -> bool:
    text = completion.text
    one, last = len(re.findall(r"\\f?boxed\b", text)) == 1, re.search(r"\}[\s.$]*\Z", text) is not None
    found = verifier_of(problem).extract(text, "strict")
    return one and last and not completion.truncated and found is not None


def conditional_format(group: GradedGroup) -> list[float]:
    """The same, for right answers only: form without substance earns nothing."""
    return [a * b for a, b in zip(formatted(group), correct(group), strict=True)]


def length(group: GradedGroup) -> list[float]:
    """0.5 for the shortest of the group down to -0.5 for the longest; never above 0 for a wrong one.

    Kimi k1.5, arXiv:2501.12599, section 2.3.3.
    """
    lengths = [completion.num_sampled for completion in group.completions]
    shortest, spread = min(lengths), max(lengths) - min(lengths)
    values = [0.5 - (n - shortest) / spread if spread else 0.0 for n in lengths]
    return [v if verdict.correct else min(0.0, v) for v, verdict in zip(values, group.verdicts, strict=True)]


def overlong(group: GradedGroup) -> list[float]:
    """0 up to 80% of max_tokens, then down to -1 at max_tokens (DAPO, arXiv:2503.14476, eq. 13).

    A completion can only be as long as max_tokens here, so the last fifth of them is the paper's soft buffer. The turns
    of a trajectory count together, and from max_tokens on it is -1.
    """
    buffer = OVERLONG_SHARE * group.max_tokens
    start = group.max_tokens - buffer
    lengths = [min(completion.num_sampled, group.max_tokens) for completion in group.completions]
    return [min(0.0, (start - n) / buffer) for n in lengths]


def random(group: GradedGroup) -> list[float]:
    """0 or 1 by the toss of a coin that knows nothing of the answer."""
    return [float(derive_seed(group.seed, "coin", i) % 2) for i in range(len(group.completions))]


PARTS: dict[str, Callable[[GradedGroup], list[float]]] = {
    "correct": correct,
    "score": score,
    "partial": partial,
    "format": formatted,
    "conditional-format": conditional_format,
    "length": length,
    "overlong": overlong,
    "random": random,
}


def is_own(name: str) -> bool:
    """Does the part name a function of the user's own?"""
    return name.rpartition(":")[0].endswith(".py")


def reward_weights(parts: tuple[str, ...]) -> dict[str, float]:
    """The weight of each part of `--reward correct format=0.2 mine.py:short`: 1 where none is said.

    `format-only` is `format`, spelt so that nobody misses what such a run is for.
    """
    weights: dict[str, float] = {}
    for part in parts:
        name, _, weight = part.rpartition("=") if re.search(r"=[^=:/]*$", part) else (part, "", "")
        name = "format" if name == "format-only" else name
        if name not in PARTS and not is_own(name):
            raise UserError(f"unknown part of a reward '{name}': use {', '.join(PARTS)}, or FILE.py:FUNCTION, each "
                            "with =WEIGHT or without")  # fmt: skip
        if name in weights:
            raise UserError(f"--reward names '{name}' twice: say it once, with the weight that it is to have")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            weights[name] = math.nan
        if not math.isfinite(weights[name]):
            raise UserError(f"--reward {part}: the weight behind = must be a number")
    if not weights:
        raise UserError("--reward needs at least one part, such as correct")
    return weights


def part_named(name: str) -> Callable[[GradedGroup], list[float]]:
    """One of `PARTS`, or a function of the user's own: FILE.py:FUNCTION, called as function(problem, response), which
    gives a number from 0 to 1 and runs in a process of its own (verify/user.py). Raises UserError where it fails."""
    if not is_own(name):
        return PARTS[name]
    judge = verifier_named(name).verify
    return lambda group: [judge(group.problem, completion.text).score for completion in group.completions]


def rewards_of(group: GradedGroup, names: Sequence[str]) -> list[tuple[float, ...]]:
    """The named parts of each completion's reward, without weights."""
    return list(zip(*(part_named(name)(group) for name in names), strict=True))
