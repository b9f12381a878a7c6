"""Which of a teacher's traces a student is to see. Pure functions; each stage is counted, by difficulty.

Difficulty is the teacher's own share of right solutions to the problem: what a cut in length removes is seldom spread
evenly over it (long traces are those of hard problems), so every stage says how many it left of each level.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from thinkling.problem import Problem
from thinkling.tasks.contamination import overlaps
from thinkling.train.distill.teacher import Trace
from thinkling.train.sft.records import tags_complaint

# How often the teacher is right, and the least share of right solutions that it means.
LEVELS = {"always": 1.0, "mostly": 0.5, "seldom": 1e-9, "never": 0.0}


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """correct: only right solutions. choose: of a problem's solutions all, or the shortest alone. min_tokens,
    max_tokens: of a trace. num_traces: at most so many, as evenly over the levels as there are (None: all)."""

    correct: bool = True
    choose: str = "all"
    min_tokens: int = 1
    max_tokens: int | None = None
    num_traces: int | None = None


@dataclass(frozen=True)
class Stage:
    """One filter. left: how many traces stay, by level."""

    name: str
    left: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.left.values())


def filtered(
    groups: Iterable[Sequence[Trace]], config: FilterConfig, benchmarks: Sequence[Problem] = ()
) -> tuple[list[Trace], list[Stage]]:
    """The traces that stay, in order, and what each stage left of them."""
    traces = [trace for group in groups for trace in group]
    stages = [counted("asked", traces)]

    def keep(name: str, holds: Callable[[Trace], bool]) -> None:
        traces[:] = [trace for trace in traces if holds(trace)]
        stages.append(counted(name, traces))

    if benchmarks:
        known = contaminated(list({trace.problem.id: trace.problem for trace in traces}.values()), benchmarks)
        keep("not in a benchmark", lambda trace: trace.problem.id not in known)
    keep("not cut off", lambda trace: not trace.completion.truncated)
    keep("think tags well formed", is_whole)
    if config.correct:
        keep("right", lambda trace: trace.verdict.correct)
    seen: set[tuple[str, str]] = set()
    keep("no duplicate", lambda trace: is_new(trace, seen))
    longest = config.max_tokens or float("inf")
    keep("length", lambda trace: config.min_tokens <= len(trace.completion.tokens) <= longest)
    if config.choose == "shortest":
        traces = shortest(traces)
        stages.append(counted("shortest of each problem", traces))
    if config.num_traces is not None and len(traces) > config.num_traces:
        traces = balanced(traces, config.num_traces)
        stages.append(counted("balanced by difficulty", traces))
    return traces, stages


def is_whole(trace: Trace) -> bool:
    """Does it say something, with its think tags well formed?"""
    return bool(trace.response.strip()) and tags_complaint(trace.response) is None


def level_of(pass_rate: float) -> str:
    return next(name for name, least in LEVELS.items() if pass_rate >= least)


def counted(name: str, traces: Sequence[Trace]) -> Stage:
    found = Counter(level_of(trace.pass_rate) for trace in traces)
    return Stage(name, {level: found[level] for level in LEVELS})


def is_new(trace: Trace, seen: set[tuple[str, str]]) -> bool:
    """Has this question not had this solution yet, spaces and case apart? Then it has now."""
    key = plain(trace.problem.question), plain(trace.response)
    new = key not in seen
    seen.add(key)
    return new


def shortest(traces: Sequence[Trace]) -> list[Trace]:
    """Of each problem the trace with the fewest tokens; the first of several."""
    best: dict[str, Trace] = {}
    for trace in traces:
        own = best.setdefault(trace.problem.id, trace)
        if len(trace.completion.tokens) < len(own.completion.tokens):
            best[trace.problem.id] = trace
    return [trace for trace in traces if best[trace.problem.id] is trace]


def balanced(traces: Sequence[Trace], num: int) -> list[Trace]:
    """`num` of them: as many of each level as of the others, as far as it has them. Which ones, a hash decides, and a
    problem's second trace comes behind all problems' first."""
    order: dict[str, list[int]] = {level: [] for level in LEVELS}
    times: Counter[str] = Counter()
    ranked = []
    for place, trace in enumerate(traces):
        ranked.append((times[trace.problem.id], hashlib.sha256(trace.problem.id.encode()).digest(), place))
        times[trace.problem.id] += 1
    for _, _, place in sorted(ranked):
        order[level_of(traces[place].pass_rate)].append(place)
    chosen: list[int] = []
    rank = 0
    while len(chosen) < num:  # one of each level in turn
        row = [own[rank] for own in order.values() if rank < len(own)]
        if not row:
            break
        chosen += row[: num - len(chosen)]
        rank += 1
    return [traces[place] for place in sorted(chosen)]


def contaminated(problems: Sequence[Problem], benchmarks: Sequence[Problem]) -> set[str]:
    """The ids of the problems that a benchmark has: its question, or one that shares a run of words with it
    (tasks/contamination.py; 13 words)."""
    found, _, _ = overlaps(problems, ((problem.id, problem.question) for problem in benchmarks))
    same = {plain(problem.question) for problem in benchmarks}  # what is too short for a run of words
    return {own.id for own in found if own.dirty} | {own.id for own in problems if plain(own.question) in same}


def plain(text: str) -> str:
    """Spaces and case apart."""
    return " ".join(text.lower().split())
