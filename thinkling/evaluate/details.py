"""What the rows of a run say beyond one accuracy: repeats, noise, cut-off answers, parts of the problems, the hardest.

Made of the rows of samples.jsonl and of nothing else, so that every number can be had again from the saved file.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, median

from thinkling.evaluate.repeats import Noise, Votes, majority_at, noise, pass_at_all
from thinkling.evaluate.stats import clustered_interval
from thinkling.problem import Problem
from thinkling.verify.verifier import verifier_of

SHOWN = 10  # of the hardest and of the least consistent problems


@dataclass(frozen=True)
class Estimate:
    """A share in [0, 1] and its 95% interval, which counts problems and not samples."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Asked:
    """One problem's responses, counted. row: its place among the problems of the run, from 1."""

    id: str
    row: int
    num_correct: int
    num_samples: int

    @property
    def share(self) -> float:
        return self.num_correct / self.num_samples


@dataclass(frozen=True)
class Part:
    """The accuracy on some of the problems: those of one subject or of one level."""

    name: str
    num_problems: int
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class Details:
    """accuracy: the mean over problems of the share of right samples, avg@n. pass_at: pass@k for k = 1 to n. maj_at: by
    k, how often a vote of k is right; maj_exact: over all subsets of k samples, or over 500 drawn with a seed.
    noise: None where it cannot be told.
    truncated, looping: shares of completions; a loop is a cut-off completion whose end is one block, over and over.
    unparsed: the share of responses with no answer found. finished: the accuracy of those responses of which nothing
    was cut off, None where there are none; num_finished: how many. thinking_tokens, answer_tokens: means per response;
    median_tokens: of both together.
    parts: by "subject" and by "level", as far as the problems differ there. hardest: fewest right samples first;
    inconsistent: those right about half of the time first, with several samples.
    """

    num_problems: int
    num_samples: int
    accuracy: Estimate
    pass_at: tuple[Estimate, ...]
    maj_at: dict[str, Estimate]
    maj_exact: bool
    noise: Noise | None
    truncated: float
    looping: float
    unparsed: float
    finished: Estimate | None
    num_finished: int
    thinking_tokens: float
    answer_tokens: float
    median_tokens: float
    parts: dict[str, tuple[Part, ...]]
    problems: tuple[Asked, ...]
    hardest: tuple[Asked, ...]
    inconsistent: tuple[Asked, ...]


def details_of(rows: Sequence[dict]) -> Details:
    """rows: as `run.row_of` makes them, of problems that all have the same number of samples (see `saved.by_problem`);
    problem by problem."""
    asked = [asked_of(own) for own in by_problem(rows)]
    num_samples = asked[0].num_samples
    completions = [c for row in rows for c in row["completions"]]
    thinking = sum(c.get("thinking_tokens", 0) for c in completions)
    tokens = [sum(c["num_tokens"] for c in row["completions"]) for row in rows]
    pass_at = pass_at_all([one.num_correct for one in asked], num_samples)
    maj_at, maj_exact = majority_at([votes_of(own) for own in by_problem(rows)], num_samples)
    mixed = [one for one in asked if 0 < one.num_correct < num_samples]
    finished = [own for own in ([row for row in own if is_finished(row)] for own in by_problem(rows)) if own]
    return Details(
        num_problems=len(asked),
        num_samples=num_samples,
        accuracy=estimate([one.share for one in asked], num_samples),
        pass_at=tuple(estimate(values, num_samples) for values in pass_at),
        maj_at={str(k): estimate(values, num_samples) for k, values in maj_at.items()},
        maj_exact=maj_exact,
        noise=noise([one.share for one in asked], num_samples),
        truncated=fmean(is_cut_off(c) for c in completions),
        looping=fmean(c.get("loops", False) or c["finish_reason"] == "repetition" for c in completions),
        unparsed=fmean(row["status"] == "unparsed" for row in rows),
        finished=over_responses(finished) if finished else None,
        num_finished=sum(map(len, finished)),
        thinking_tokens=thinking / len(rows),
        answer_tokens=(sum(tokens) - thinking) / len(rows),
        median_tokens=median(tokens),
        parts={
            name: parts
            for name, field in (("subject", "family"), ("level", "level"))
            if len(parts := parts_by(lambda row, f=field: str(row.get(f, "")), rows)) > 1
        },
        problems=tuple(asked),
        hardest=tuple(sorted((one for one in asked if one.share < 1), key=lambda one: (one.share, one.row))[:SHOWN]),
        inconsistent=tuple(sorted(mixed, key=lambda one: (abs(one.share - 0.5), one.row))[:SHOWN]),
    )


def by_problem(rows: Iterable[dict]) -> list[list[dict]]:
    """The rows of each problem together, in the order of its samples; problems as they come."""
    found: dict[object, list[dict]] = {}
    for row in rows:
        found.setdefault(row["row"], []).append(row)
    return [sorted(own, key=lambda row: row["sample"]) for own in found.values()]


def asked_of(own: Sequence[dict]) -> Asked:
    right = sum(row["status"] == "correct" for row in own)
    return Asked(own[0]["id"], own[0]["row"], right, len(own))


def problem_of(row: dict) -> Problem:
    """The problem that a row of samples.jsonl answers."""
    return Problem(row["id"], row["question"], row["reference"], row.get("family", ""),
                   verifier=row.get("verifier", "math"), metadata=row.get("metadata", {}))  # fmt: skip


def votes_of(own: Sequence[dict]) -> Votes:
    """The responses to one problem as a vote sees them: what the problem's verifier calls the same is one answer."""
    same = verifier_of(problem_of(own[0])).same_answer
    firsts: list[dict] = []
    labels: list[int | None] = []
    for row in own:
        label = None
        if row["answer"] is not None:
            label = next((n for n, first in enumerate(firsts) if same(first["answer"], row["answer"])), len(firsts))
            if label == len(firsts):
                firsts.append(row)
        labels.append(label)
    logprobs = [row["completions"][-1]["logprob"] for row in own]
    known = tuple(0.0 if value is None or not isfinite(value) else value for value in logprobs)  # in a file it is null
    return Votes(tuple(labels), tuple(first["status"] == "correct" for first in firsts), known)


def estimate(values: Sequence[float], num_samples: int) -> Estimate:
    return Estimate(fmean(values), *clustered_interval(values, num_samples))


def over_responses(groups: Sequence[Sequence[dict]]) -> Estimate:
    """The accuracy over responses, of which problems may have different numbers: each counts alike. The interval is
    that of the problems' own shares, moved to that mean."""
    shares = [asked_of(own).share for own in groups]
    value = fmean(row["status"] == "correct" for own in groups for row in own)
    low, high = clustered_interval(shares, max(map(len, groups)))
    moved = value - fmean(shares)
    return Estimate(value, max(0.0, low + moved), min(1.0, high + moved))


def parts_by(name_of: Callable[[dict], str], rows: Sequence[dict]) -> tuple[Part, ...]:
    found: dict[str, list[Asked]] = {}
    for own in by_problem(rows):
        found.setdefault(name_of(own[0]), []).append(asked_of(own))
    return tuple(
        Part(name, len(asked), estimate([one.share for one in asked], asked[0].num_samples))
        for name, asked in sorted(found.items())
    )


def is_cut_off(completion: dict) -> bool:
    return completion["finish_reason"] in ("length", "repetition")


def is_finished(row: dict) -> bool:
    return not any(map(is_cut_off, row["completions"]))
