"""Run any method over problems and report what it got right and what it cost.

Names no method: a method is any `async answer(model, problem) -> Answer`. All problems are started at once; the engine
batches whatever the methods ask for. Every response is written down as soon as it is graded. A problem that fails ends
the run or is skipped; it is never graded.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from thinkling.anywhere import run_anywhere
from thinkling.errors import FatalError, UserError
from thinkling.evaluate.result import Result
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.cached import drop_half_line
from thinkling.generate.model import Model
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.runs import append_jsonl, read_jsonl, write_json
from thinkling.scale.failures import Failure
from thinkling.scale.method import Answer, Method
from thinkling.verify.verifier import Verdict, verify
from thinkling.words import counted

GRACE = 10.0  # seconds that requests under way have to come back once a problem has failed
SECONDS = "seconds.jsonl"  # of a run under way: how long it has taken when each answer came


@dataclass(frozen=True)
class Sample:
    """One problem with its answer and the verdict on it."""

    problem: Problem
    answer: Answer
    verdict: Verdict


def evaluate(
    model: Model,
    method: Method,
    problems: Sequence[Problem],
    out: Path | None = None,
    label: str = "evaluating",
    skipped: list[Failure] | None = None,
) -> tuple[Result, list[Sample]]:
    """Measure a method. Writes OUT/samples.jsonl as it goes and OUT/report.json at the end; shows progress.

    A problem that fails raises UserError with its row and id. Where there is a list `skipped` it is added to that, and
    to the two files, and is in no number of the report; UserError only if all fail, or FatalError. What stands in that
    list before is not asked.
    """
    started = time.perf_counter() - (seconds_before(out) if out is not None else 0.0)
    samples: dict[int, Sample] = {}
    correct: list[bool] = []
    unasked = {failure.row: failure for failure in skipped or ()}
    if out is not None:
        (out / "samples.jsonl").unlink(missing_ok=True)  # of a run that was interrupted; its answers come back at once

    async def run() -> None:
        with Progress(label, len(problems)) as progress:

            async def one(place: int, problem: Problem) -> None:
                failure = unasked.get(place + 1)
                try:
                    answer = None if failure else await method(model, problem)
                except FatalError:
                    raise
                except UserError as error:
                    failure = Failure(problem.id, problem.question, place + 1, str(error))
                    if skipped is None:
                        raise UserError(f"{label}, {failure} (--on-error skip goes on without it)") from error
                    skipped.append(failure)
                if failure is not None:
                    if out is not None:
                        append_jsonl(out / "samples.jsonl", [asdict(failure) | {"status": "failed"}])
                    progress.advance()
                    return
                sample = Sample(problem, answer, verify(problem, answer.text))
                samples[place] = sample
                if out is not None:
                    append_jsonl(out / "samples.jsonl", [row_of(sample)])
                    append_jsonl(out / SECONDS, [{"seconds": time.perf_counter() - started}])
                correct.append(sample.verdict.correct)
                progress.advance(f"{sum(correct) / len(correct):.1%} correct")

            await all_of([asyncio.create_task(one(place, problem)) for place, problem in enumerate(problems)])

    run_anywhere(run())
    ordered = [samples[place] for place in sorted(samples)]
    if not ordered:
        first = min(skipped, key=lambda failure: failure.row)
        raise UserError(f"{label}: none of {counted(len(problems), 'problem')} got an answer; {first}")
    report = summarise(label, ordered, time.perf_counter() - started)
    if out is not None:
        write_json(out / "report.json", asdict(report) | ({} if skipped is None else {"failed": skipped}))
        (out / SECONDS).unlink(missing_ok=True)
    return report, ordered


async def all_of(tasks: Sequence[asyncio.Task]) -> None:
    """Wait for all of them. If one fails, what is under way may still come back, so that a pool of answers has it when
    the run is started again; then the first failure, in the order of the tasks, is raised."""
    try:
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if waiting and any(type(task.exception()) is UserError for task in done):
            await asyncio.wait(waiting, timeout=GRACE)
        errors = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        failures = [error for error in errors if error is not None]
        if failures:
            raise next((error for error in failures if type(error) is not UserError), failures[0])
    finally:
        for task in tasks:
            task.cancel()


def seconds_before(out: Path) -> float:
    """What earlier starts of this run, which were interrupted, had taken when their last answer came."""
    if not (out / SECONDS).exists():
        return 0.0
    drop_half_line(out / SECONDS)
    return max((row["seconds"] for row in read_jsonl(out / SECONDS)), default=0.0)


def summarise(method: str, samples: Sequence[Sample], wall_seconds: float) -> Result:
    """What these samples say of a method; flops are not known here. wall_seconds: of every start, where a run was
    interrupted, as far as its last answer."""
    completions = [c for sample in samples for c in sample.answer.completions]
    correct = tuple(sample.verdict.correct for sample in samples)
    num, right = len(samples), sum(correct)
    low, high = wilson_interval(right, num)
    return Result(
        method=method,
        num_problems=num,
        accuracy=right / num,
        low=low,
        high=high,
        tokens=sum(len(c.tokens) for c in completions) / num,
        truncated=sum(c.truncated for c in completions) / len(completions),
        correct=correct,
        seconds=sum(c.seconds for c in completions) / num,
        wall_seconds=wall_seconds,
        unparsed=sum(sample.verdict.status == "unparsed" for sample in samples) / num,
    )


def row_of(sample: Sample) -> dict:
    """A sample as a line of samples.jsonl."""
    problem, answer, verdict = sample.problem, sample.answer, sample.verdict
    completions = [
        {"text": c.text, "finish_reason": c.finish_reason, "num_tokens": len(c.tokens), "logprob": sum(c.logprobs)}
        for c in answer.completions
    ]
    rounds = {"rounds": answer.rounds} if answer.rounds else {}
    judge = {"verifier": problem.verifier, "metadata": problem.metadata} if problem.verifier != "math" else {}
    return {"id": problem.id, "family": problem.family, "question": problem.question, "reference": problem.reference,
            **judge, "response": answer.text, **asdict(verdict), **rounds, "completions": completions}  # fmt: skip
