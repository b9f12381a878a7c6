"""Run any method over problems and report what it got right and what it cost.

Names no method: a method is any `async answer(model, problem) -> Answer`. All problems are started at once; the engine
batches whatever the methods ask for. Every response is written down as soon as it is graded.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from thinkling.evaluate.result import Result
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.language_model import Model
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.runs import append_jsonl, write_json
from thinkling.scale.direct import Answer, Method
from thinkling.verify.math.grade import Verdict, grade


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
) -> tuple[Result, list[Sample]]:
    """Measure a method. Writes OUT/samples.jsonl as it goes and OUT/report.json at the end; shows progress."""
    started = time.perf_counter()
    samples: dict[int, Sample] = {}
    correct: list[bool] = []
    if out is not None:
        (out / "samples.jsonl").unlink(missing_ok=True)  # of a run that was interrupted; its answers come back at once

    async def run() -> None:
        with Progress(label, len(problems)) as progress:

            async def one(place: int, problem: Problem) -> None:
                answer = await method(model, problem)
                sample = Sample(problem, answer, grade(answer.text, problem.reference))
                samples[place] = sample
                if out is not None:
                    append_jsonl(out / "samples.jsonl", [row_of(sample)])
                correct.append(sample.verdict.correct)
                progress.advance(f"{sum(correct) / len(correct):.1%} correct")

            await asyncio.gather(*(one(place, problem) for place, problem in enumerate(problems)))

    asyncio.run(run())
    ordered = [samples[place] for place in range(len(problems))]
    report = summarise(label, ordered, time.perf_counter() - started)
    if out is not None:
        write_json(out / "report.json", report)
    return report, ordered


def summarise(method: str, samples: Sequence[Sample], wall_seconds: float) -> Result:
    """What these samples say of a method, without its size: flops are not known here."""
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
    return {"id": problem.id, "family": problem.family, "question": problem.question, "reference": problem.reference,
            "response": answer.text, **asdict(verdict), **rounds, "completions": completions}  # fmt: skip
