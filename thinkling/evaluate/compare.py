"""Two runs on the same problems: is one better, by how much, and how many problems would settle it?

Paired by problem, each problem's samples taken together. Leaves out how it is said and shown (report/compare_*.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, lcm, sqrt
from statistics import NormalDist, fmean, variance

from thinkling.errors import UserError
from thinkling.evaluate.details import by_problem
from thinkling.evaluate.saved import Run
from thinkling.evaluate.stats import difference_interval, holm, sign_flip_p_value
from thinkling.runs import told_apart
from thinkling.scale.methods import KINDS

LEVEL, POWER = 0.05, 0.8  # of the test, and how often it should find what is there
BUDGETS = ("max_tokens", "rounds", "thinking_tokens")
Key = tuple[str, str]  # a problem: its question and reference
Problems = dict[Key, list[dict]]  # the responses to each


@dataclass(frozen=True)
class Decided:
    """A problem that one run answers more often than the other. first, second: their shares of right samples."""

    id: str
    question: str
    reference: str
    first: float
    second: float
    first_response: str
    second_response: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two runs say of each other; differences are second minus first, in shares.

    p: of the exact paired test (McNemar's with one sample on either side, else all signs flipped); p_holm: adjusted for
    all pairs that were compared. apart: can they be told apart: p_holm below 5%, and an interval without zero?
    detectable: the smallest difference that so many problems show 4 times in 5. enough: problems that would show the
    one seen as often; None where there is none. sampling_share: of the differences' variance, what more samples could
    remove; None with one sample on a side. num_samples: of the first and the second.
    """

    first: str
    second: str
    num_problems: int
    num_samples: tuple[int, int]
    accuracies: tuple[float, float]
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float
    enough: int | None
    sampling_share: float | None
    won: tuple[Decided, ...]
    lost: tuple[Decided, ...]

    @property
    def apart(self) -> bool:
        return self.p_holm < LEVEL and not self.low <= 0 <= self.high


def compare_all(runs: Sequence[Run], allow: Sequence[str] = ()) -> list[Comparison]:
    """Every pair of runs, in the order in which they came; p-values by Holm over all of them.

    allow: what may differ. "problems" compares those that all runs have. Raises UserError that says what differs.
    """
    if len(runs) < 2:
        raise UserError("compare takes two runs or more")
    names = told_apart([run.folder for run in runs])
    for run in runs[1:]:
        check_alike(runs[0], run, allow)
    problems = [{(own[0]["question"], own[0]["reference"]): own for own in by_problem(run.rows)} for run in runs]
    shared = [key for key in problems[0] if all(key in own for own in problems)]
    if len(shared) < 2:
        raise UserError(f"the runs have {len(shared)} problems in common: a comparison needs at least two")
    pairs = list(combinations(range(len(runs)), 2))
    tested = [sign_flip_p_value(whole_differences(problems[a], problems[b], shared)) for a, b in pairs]
    return [
        compared((names[a], names[b]), problems[a], problems[b], shared, p, adjusted)
        for (a, b), p, adjusted in zip(pairs, tested, holm(tested), strict=True)
    ]


def check_alike(first: Run, second: Run, allow: Sequence[str]) -> None:
    """Raises UserError that says what differs between the two and may not."""
    pair = f"{first.name} and {second.name}"
    keys = [{(row["question"], row["reference"]) for row in run.rows} for run in (first, second)]
    if keys[0] != keys[1] and "problems" not in allow:
        only = len(keys[0] - keys[1]), len(keys[1] - keys[0])
        raise UserError(f"{pair} have different problems: {only[0]:,} are only in the first, {only[1]:,} only in the "
                        "second: --allow problems compares the ones they share")  # fmt: skip
    prompts = [prompts_of(run) for run in (first, second)]
    known = None not in (prompts[0][1], prompts[1][1]) and keys[0] == keys[1]
    if "prompts" not in allow and (prompts[0][0] != prompts[1][0] or (known and prompts[0][1] != prompts[1][1])):
        raise UserError(f"{pair} have different prompts: {prompts[0][0]} and {prompts[1][0]}: --allow prompts compares "
                        "them nevertheless")  # fmt: skip
    budgets = [budget_of(run) for run in (first, second)]
    differ = [name for name in budgets[0] if budgets[0][name] != budgets[1][name]]
    if differ and "budgets" not in allow:
        name = differ[0]
        raise UserError(f"{pair} have different budgets: {name.replace('_', '-')} {budgets[0][name]} and "
                        f"{budgets[1][name]}: --allow budgets compares them nevertheless")  # fmt: skip


def prompts_of(run: Run) -> tuple[str, str | None]:
    """The template's name, and the hash of what it makes of the questions; None in runs of earlier versions."""
    prompts = run.manifest.get("prompts", {})
    kind = KINDS.get(run.settings.get("method"))
    template = prompts.get("template") or run.settings.get("template") or (kind.template if kind else "unknown")
    return template, prompts.get("questions_sha256")


def budget_of(run: Run) -> dict[str, object]:
    """What an answer may cost. The number of samples is one where the method chooses among them, and else none."""
    kind = KINDS.get(run.settings.get("method"))  # "direct" and "step-by-step" ask once, by different prompts
    budget = {"method": kind.title if kind else run.settings.get("method")}
    budget |= {name: run.settings.get(name) for name in BUDGETS}
    completions = max(len(row["completions"]) for row in run.rows)
    return budget | {"num_samples": run.settings.get("num_samples") if completions > 1 else None}


def whole_differences(first: Problems, second: Problems, shared: Sequence[Key]) -> list[int]:
    """Second minus first, as whole numbers of one unit."""
    size_first, size_second = (len(own[shared[0]]) for own in (first, second))
    unit = lcm(size_first, size_second)
    return [unit // size_second * num_right(second[key]) - unit // size_first * num_right(first[key]) for key in shared]


def num_right(rows: Sequence[dict]) -> int:
    return sum(row["status"] == "correct" for row in rows)


def compared(
    names: tuple[str, str],
    first: Problems,
    second: Problems,
    shared: Sequence[Key],
    p: float,
    p_holm: float,
) -> Comparison:
    sizes = len(first[shared[0]]), len(second[shared[0]])
    shares = [[num_right(own[key]) / size for key in shared] for own, size in zip((first, second), sizes, strict=True)]
    differences = [b - a for a, b in zip(*shares, strict=True)]
    low, high = difference_interval(differences)
    spread = variance(differences)
    within = sum(fmean(p * (1 - p) for p in own) / (size - 1) for own, size in zip(shares, sizes, strict=True)
                 if size > 1)  # fmt: skip
    reach = (NormalDist().inv_cdf(1 - LEVEL / 2) + NormalDist().inv_cdf(POWER)) ** 2
    seen = fmean(differences)
    decided = [decision(first[key], second[key]) for key in shared]
    return Comparison(
        first=names[0],
        second=names[1],
        num_problems=len(shared),
        num_samples=sizes,
        accuracies=(fmean(shares[0]), fmean(shares[1])),
        difference=seen,
        low=low,
        high=high,
        p=p,
        p_holm=p_holm,
        detectable=sqrt(reach * spread / len(shared)),
        enough=ceil(reach * spread / seen**2) if abs(seen) > 1e-12 else None,
        sampling_share=min(1.0, within / spread) if min(sizes) > 1 and spread else None,
        won=tuple(sorted((d for d in decided if d.second > d.first), key=lambda d: d.first - d.second)),
        lost=tuple(sorted((d for d in decided if d.second < d.first), key=lambda d: d.second - d.first)),
    )


def decision(first: Sequence[dict], second: Sequence[dict]) -> Decided:
    """The problem, and of each side a response that shows why: a right one of the winner, a wrong one of the loser."""
    a, b = num_right(first) / len(first), num_right(second) / len(second)

    def example(rows: Sequence[dict], right: bool) -> str:
        return next((row for row in rows if (row["status"] == "correct") == right), rows[0])["response"]

    return Decided(first[0]["id"], first[0]["question"], first[0]["reference"], a, b, example(first, a > b),
                   example(second, b > a))  # fmt: skip
