"""`thinkling distill-data`: ask a teacher for solutions and keep those that a student is to learn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thinkling.checks import above_zero, at_least
from thinkling.commands.options import OnError, ServerSettings
from thinkling.errors import UserError
from thinkling.scale.prompts import Template
from thinkling.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from thinkling.generate.model import Model
    from thinkling.problem import Problem
    from thinkling.scale.failures import Failure
    from thinkling.train.distill.filters import FilterConfig, Stage
    from thinkling.train.distill.teacher import Cost, Trace


@dataclass(frozen=True, kw_only=True)
class DistillData(ServerSettings):
    """Ask a teacher (--model, here or on a --server) for solutions, and write those that pass as a file.

    Each is verified, and left out where it is wrong, cut off, too long, a duplicate, has broken think tags, or answers
    a problem of a benchmark; how many each filter leaves is shown by difficulty. Every answer is kept beside the file,
    in FILE.answers.jsonl: an interrupted run resumes, and other filters ask nothing again.
    """

    out: Path
    """The file to write: JSON Lines in the chat format (messages, reasoning_content)."""
    tasks: tuple[str, ...] = ("quantities",)
    """What is asked, as for thinkling eval --tasks; of a suite its training split."""
    num_problems: int | None = None
    """How many problems of each of the tasks. Default: all of a file, else 500."""
    num_samples: int = 4
    """Solutions to each problem."""
    template: Template = "plain"
    """How the teacher is asked; chat-thinking for one that thinks."""
    temperature: float = 1.0
    """The teacher's solutions are drawn at this temperature."""
    top_p: float = 1.0
    """And only from the likeliest tokens with this much probability; 1 keeps all."""
    max_tokens: int = 384
    """Length of one solution at most, in tokens."""
    on_error: OnError = "stop"
    """What happens to a problem that gets no answer (too long, refused, timed out): stop ends the run and names it;
    skip leaves it out, and counts and lists it."""
    requests_per_minute: float | None = None
    """Requests to a server in a minute, at most."""
    price: tuple[float, float] | None = None
    """Of a million tokens, read and written: what the answers cost is then printed."""
    keep: Literal["right", "all"] = "right"
    """all keeps wrong solutions too, for the comparison: a student learns them."""
    choose: Literal["all", "shortest"] = "all"
    """Of a problem's solutions all that pass, or the shortest."""
    min_tokens: int = 1
    """Solutions with fewer tokens are left out."""
    max_reply: int | None = None
    """So are those with more, though they are finished."""
    num_traces: int | None = None
    """Traces to keep at most, as evenly over difficulties as there are."""
    against: tuple[str, ...] = ()
    """Benchmarks (suites or files): a problem that has 13 words in a row in common with one of theirs is left out."""
    seed: int = 0
    """Of what is drawn at random: which problems, and the teacher's solutions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_samples=self.num_samples, max_tokens=self.max_tokens, min_tokens=self.min_tokens)
        for name in ("num_problems", "max_reply", "num_traces"):
            if getattr(self, name) is not None:
                at_least(1, **{name: getattr(self, name)})
        above_zero(requests_per_minute=self.requests_per_minute)
        if not self.tasks:
            raise UserError("--tasks needs at least one suite or file: quantities, for example")
        if not (0 < self.top_p <= 1 and self.temperature >= 0):
            raise UserError(f"--temperature {self.temperature} must be 0 or more, and --top-p {self.top_p} above 0 and "
                            "at most 1")  # fmt: skip
        if self.temperature == 0 and self.num_samples > 1:
            raise UserError("--temperature 0 gives the same solution each time: ask for one (--num-samples 1)")
        if self.requests_per_minute is not None and self.server is None:
            raise UserError("--requests-per-minute has no meaning without --server")


def filter_config(settings: DistillData) -> FilterConfig:
    from thinkling.train.distill.filters import FilterConfig

    return FilterConfig(correct=settings.keep == "right", choose=settings.choose, min_tokens=settings.min_tokens,
                        max_tokens=settings.max_reply, num_traces=settings.num_traces)  # fmt: skip


def problems_of(settings: DistillData) -> tuple[list[Problem], list[Problem]]:
    """What is asked, every question once, and the benchmarks' problems."""
    from thinkling.tasks.benchmarks import load_problems

    asked = [p for own in settings.tasks for p in load_problems(own, "train", settings.num_problems, settings.seed)]
    benchmarks = [problem for own in settings.against for problem in load_problems(own)]
    return list({problem.question: problem for problem in asked}.values()), benchmarks


def teacher_of(settings: DistillData) -> Model:
    from thinkling.commands.load import model_of
    from thinkling.train.distill.teacher import Paced

    model = model_of(settings)
    return model if settings.requests_per_minute is None else Paced(model, settings.requests_per_minute)


def make(settings: DistillData, teacher: Model | None = None) -> tuple[list[Stage], Cost, list[Failure]]:
    """Write OUT, OUT's .report.json, and what the teacher answered; returns what the filters left, what the answers
    cost, and the problems that have none."""
    from thinkling.generate.cached import CachedModel
    from thinkling.generate.sampling import Sampling
    from thinkling.runs import check_place, write_json, write_jsonl
    from thinkling.train.distill.filters import filtered
    from thinkling.train.distill.teacher import ask, cost_of

    check_place(settings.out, folder=False)
    problems, benchmarks = problems_of(settings)
    teacher = teacher or teacher_of(settings)
    pool = CachedModel(teacher, settings.out.with_suffix(".answers.jsonl"))
    sampling = Sampling(temperature=settings.temperature, top_p=settings.top_p, max_tokens=settings.max_tokens,
                        seed=settings.seed)  # fmt: skip
    failures: list[Failure] = []
    skipped = failures if settings.on_error == "skip" else None
    groups = ask(pool, problems, settings.num_samples, sampling, settings.template, skipped)
    traces, stages = filtered(groups, filter_config(settings), benchmarks)
    cost = cost_of([trace for group in groups for trace in group], settings.price)
    if not traces:
        raise UserError(f"none of {counted(cost.requests, 'solution')} passes the filters "
                        f"({', '.join(f'{stage.name}: {stage.total:,}' for stage in stages)}): take easier problems, a "
                        "better teacher, or another --template")  # fmt: skip
    write_jsonl(settings.out, (row_of(trace, teacher.name) for trace in traces))
    report = {"settings": settings, "asked_now": pool.num_asked, "cost": cost, "stages": stages, "failed": failures}
    write_json(settings.out.with_suffix(".report.json"), report)
    return stages, cost, failures


def row_of(trace: Trace, teacher: str) -> dict:
    from thinkling.train.sft.records import chat_row, turn

    problem = trace.problem
    judge = {"verifier": problem.verifier, "metadata": problem.metadata} if problem.verifier != "math" else {}
    return chat_row(
        [turn("user", problem.question)], trace.response, id=problem.id, reference=problem.reference, **judge,
        correct=trace.verdict.correct, pass_rate=trace.pass_rate, num_tokens=len(trace.completion.tokens),
        teacher=teacher,
    )  # fmt: skip


def main(settings: DistillData) -> None:
    from rich.console import Console

    from thinkling.scale.failures import tell

    stages, cost, failures = make(settings)
    console = Console(highlight=False)
    print_stages(stages, console)
    price = "" if cost.price is None else f", which cost {cost.price:,.2f}"
    console.print(f"{counted(cost.requests, 'solution')}: {cost.prompt_tokens:,} tokens read, {cost.sampled_tokens:,} "
                  f"written, {cost.seconds:,.0f} seconds of the teacher{price}")  # fmt: skip
    report = settings.out.with_suffix(".report.json")
    tell(failures, "left out, for they got no answer", report, console)
    console.print(f"{counted(stages[-1].total, 'trace')}: {settings.out}. Try: thinkling data stats {settings.out}")


def print_stages(stages: list[Stage], console: Console) -> None:
    """How many traces each filter left, by how often the teacher is right on their problems."""
    from thinkling.report.tables import Sheet

    levels = list(asdict(stages[0])["left"])
    rows = [(stage.name, f"{stage.total:,}", *(f"{stage.left[level]:,}" for level in levels)) for stage in stages]
    console.print(Sheet(("left after", "traces", *levels), rows, title="by how often the teacher is right"))
