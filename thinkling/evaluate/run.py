"""Run any method over problems and report what it got right and what it cost.

Names no method: a method is any `async answer(model, problem) -> Answer`. All problems are started at once; the engine
batches whatever the methods ask for. Every response is written down as soon as it is graded. A problem that fails ends
the run or is skipped; it is never graded.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean

from thinkling.anywhere import run_anywhere
from thinkling.errors import FatalError, UserError
from thinkling.evaluate.details import Details, details_of
from thinkling.evaluate.result import Result
from thinkling.evaluate.stats import clustered_interval
from thinkling.generate.cached import drop_half_line
from thinkling.generate.completion import LONGEST_BLOCK, Completion
from thinkling.generate.model import Model
from thinkling.model.thinking import TAGS
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.runs import append_jsonl, read_jsonl, write_json, write_jsonl
from thinkling.scale.failures import Failure
from thinkling.scale.method import Answer, Method
from thinkling.verify.verifier import Verdict, verify
from thinkling.words import counted

GRACE = 10.0  # seconds that requests under way have to come back once a problem has failed
SECONDS = "seconds.jsonl"  # of a run under way: how long it has taken when each answer came


@dataclass(frozen=True)
class Sample:
    """One answer to a problem, and the verdict on it. row: the problem's place in the run, from 1. number: which of its
    answers, from 0."""

    problem: Problem
    answer: Answer
    verdict: Verdict
    row: int = 0
    number: int = 0


def evaluate(
    model: Model,
    method: Method | Sequence[Method],
    problems: Sequence[Problem],
    out: Path | None = None,
    label: str = "evaluating",
    skipped: list[Failure] | None = None,
) -> tuple[Result, list[Sample]]:
    """Measure a method. Writes OUT/samples.jsonl as it goes and OUT/report.json at the end; shows progress.

    method: or several, alike but for their seeds: then each problem is answered by each of them.
    A problem that fails raises UserError with its row and id. Where there is a list `skipped` it is added to that, and
    to the two files, and is in no number of the report; UserError only if all fail, or FatalError. What stands in that
    list before is not asked. A problem fails if one of its answers does.
    """
    methods = [method] if callable(method) else list(method)
    started = time.perf_counter() - (seconds_before(out) if out is not None else 0.0)
    samples: dict[tuple[int, int], Sample] = {}
    rows: dict[tuple[int, int], dict] = {}
    correct: list[bool] = []
    failed = {failure.row: failure for failure in skipped or ()}
    if out is not None:  # of a run that was interrupted; its answers come back at once
        write_jsonl(out / "samples.jsonl", [asdict(failure) | {"status": "failed"} for failure in failed.values()])

    async def run() -> None:
        with Progress(label, len(problems) * len(methods)) as progress:

            async def one(row: int, problem: Problem, number: int) -> None:
                try:
                    answer = None if row in failed else await methods[number](model, problem)
                except FatalError:
                    raise
                except UserError as error:
                    failure = Failure(problem.id, problem.question, row, str(error))
                    if skipped is None:
                        raise UserError(f"{label}, {failure} (--on-error skip goes on without it)") from error
                    if row not in failed:
                        failed[row] = failure
                        skipped.append(failure)
                        if out is not None:
                            append_jsonl(out / "samples.jsonl", [asdict(failure) | {"status": "failed"}])
                    answer = None
                if answer is None:
                    progress.advance()
                    return
                sample = Sample(problem, answer, verify(problem, answer.text), row, number)
                samples[row, number] = sample
                if out is not None:
                    rows[row, number] = row_of(sample, model)
                    append_jsonl(out / "samples.jsonl", [rows[row, number]])
                    append_jsonl(out / SECONDS, [{"seconds": time.perf_counter() - started}])
                correct.append(sample.verdict.correct)
                progress.advance(f"{sum(correct) / len(correct):.1%} correct")

            asked = [(row, p, number) for row, p in enumerate(problems, start=1) for number in range(len(methods))]
            await all_of([asyncio.create_task(one(*which)) for which in asked])

    run_anywhere(run())
    ordered = [samples[place] for place in sorted(samples) if place[0] not in failed]
    return _reported(label, len(problems), ordered, rows, time.perf_counter() - started, out, skipped)


def _reported(
    label: str, num_problems: int, ordered: list[Sample], rows: Mapping[tuple[int, int], dict], seconds: float,
    out: Path | None, skipped: list[Failure] | None,
) -> tuple[Result, list[Sample]]:  # fmt: skip
    """What these samples amount to; written where there is a folder. rows: as in samples.jsonl, by row and number."""
    if not ordered:
        first = min(skipped, key=lambda failure: failure.row)
        raise UserError(f"{label}: none of {counted(num_problems, 'problem')} got an answer; {first}")
    report = summarise(label, ordered, seconds)
    if out is not None:
        details = details_of([rows[sample.row, sample.number] for sample in ordered])
        write_json(out / "report.json", report_of(report, details, skipped))
        (out / SECONDS).unlink(missing_ok=True)
    return report, ordered


def report_of(result: Result, details: Details, skipped: Sequence[Failure] | None) -> dict:
    """What report.json holds."""
    return asdict(result) | {"details": asdict(details)} | ({} if skipped is None else {"failed": skipped})


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
    """What these samples say of a method, all answers to a problem beside each other; flops are not known here.
    wall_seconds: of every start, where a run was interrupted, as far as its last answer."""
    completions = [c for sample in samples for c in sample.answer.completions]
    num_samples = 1 + max(sample.number for sample in samples)
    correct = tuple(sample.verdict.correct for sample in samples)
    shares = [fmean(correct[first : first + num_samples]) for first in range(0, len(correct), num_samples)]
    low, high = clustered_interval(shares, num_samples)
    return Result(
        method=method,
        num_problems=len(shares),
        num_samples=num_samples,
        accuracy=sum(correct) / len(correct),
        low=low,
        high=high,
        tokens=sum(len(c.tokens) for c in completions) / len(samples),
        truncated=sum(c.truncated for c in completions) / len(completions),
        correct=correct if num_samples == 1 else (),
        seconds=sum(c.seconds for c in completions) / len(samples),
        wall_seconds=wall_seconds,
        unparsed=sum(sample.verdict.status == "unparsed" for sample in samples) / len(samples),
    )


def row_of(sample: Sample, model: Model | None = None) -> dict:
    """A sample as a line of samples.jsonl. model: the one that answered, which knows how long its tokens are."""
    problem, answer, verdict = sample.problem, sample.answer, sample.verdict
    level = {"level": problem.metadata["level"]} if "level" in problem.metadata else {}
    rounds = {"rounds": answer.rounds} if answer.rounds else {}
    judge = {"verifier": problem.verifier, "metadata": problem.metadata} if problem.verifier != "math" else {}
    return {"id": problem.id, "row": sample.row, "sample": sample.number, "family": problem.family, **level,
            "question": problem.question, "reference": problem.reference, **judge, "response": answer.text,
            **asdict(verdict), **rounds,
            "completions": [completion_row(c, model) for c in answer.completions]}  # fmt: skip


def completion_row(completion: Completion, model: Model | None) -> dict:
    row = {"text": completion.text, "finish_reason": completion.finish_reason, "num_tokens": len(completion.tokens),
           "logprob": sum(completion.logprobs)}  # fmt: skip
    thinking = thinking_tokens(completion, model)
    return row | ({"thinking_tokens": thinking} if thinking else {}) | ({"loops": True} if loops(completion) else {})


def thinking_tokens(completion: Completion, model: Model | None) -> int:
    """Tokens up to the first </think>, all of them where it never comes; 0 for a completion without thinking.

    Where nobody tells the tokens' bytes, as some servers, they are counted by characters.
    """
    text, (opening, closing) = completion.text, TAGS
    if closing not in text:
        return len(completion.tokens) if text.lstrip().startswith(opening) else 0
    try:
        pieces = model.pieces(completion) if model is not None else []
    except UserError:
        pieces = []
    if closing.encode() in b"".join(pieces):
        end = b"".join(pieces).index(closing.encode())
        ends = accumulate(map(len, pieces))
        return sum(at <= end for at in ends)
    return round(len(completion.tokens) * text.index(closing) / len(text))


def loops(completion: Completion) -> bool:
    """Was it cut off while it said one thing over and over: a block of at most 64 tokens, four times and 32 tokens?"""
    if not completion.truncated:
        return False
    tail = completion.text if -1 in completion.tokens else completion.tokens  # a server may tell no tokens
    return any(
        len(tail) >= reach and tail[-reach + size :] == tail[-reach:-size]
        for size in range(1, LONGEST_BLOCK + 1)
        if (reach := max(4 * size, 32))
    )
