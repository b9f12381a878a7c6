"""Ask a teacher for solutions: several to each problem, each judged, what they cost counted.

The teacher is any model of generate/model.py: loaded here, or on a server, which retries by itself. Behind a pool of
answers (generate/cached.py) nothing is asked twice, so asking resumes where it was interrupted.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from thinkling.anywhere import run_anywhere
from thinkling.errors import FatalError, UserError
from thinkling.evaluate.run import all_of
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.scale.failures import Failure
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import Verdict, verify


@dataclass(frozen=True)
class Trace:
    """A teacher's solution, judged. pass_rate: the share of the teacher's solutions to this problem that are right."""

    problem: Problem
    completion: Completion
    verdict: Verdict
    pass_rate: float

    @property
    def response(self) -> str:
        return self.completion.text


@dataclass(frozen=True)
class Cost:
    """What asking took: requests, their tokens, seconds of the model. price: by the million tokens' prices."""

    requests: int
    prompt_tokens: int
    sampled_tokens: int
    seconds: float
    price: float | None


class Paced:
    """`model` that is asked at most so many times a minute: each request waits for its turn."""

    def __init__(self, model: Model, per_minute: float) -> None:
        self._model, self._gap, self._next = model, 60 / per_minute, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
        now = time.monotonic()
        turn = max(now, self._next)
        self._next = turn + self._gap
        if turn > now:
            await asyncio.sleep(turn - now)
        return await self._model.complete(prompt, sampling)


def ask(
    model: Model, problems: Sequence[Problem], num_samples: int, sampling: Sampling, template: str,
    skipped: list[Failure] | None = None,
) -> list[list[Trace]]:  # fmt: skip
    """The solutions to each problem. A problem that fails raises UserError that names it, or is added to `skipped`."""
    found: dict[int, list[Trace]] = {}

    async def one(place: int, problem: Problem, progress: Progress) -> None:
        try:
            prompt = prompt_of(model, template, problem.question)
            own = (replace(sampling, seed=derive_seed(sampling.seed, problem.id, i)) for i in range(num_samples))
            completions = await asyncio.gather(*(model.complete(prompt, drawn) for drawn in own))
        except FatalError:
            raise
        except UserError as error:
            failure = Failure(problem.id, problem.question, place + 1, str(error))
            if skipped is None:
                raise UserError(f"asking the teacher, {failure} (--on-error skip goes on without it)") from error
            skipped.append(failure)
            return
        finally:
            progress.advance()
        verdicts = [verify(problem, completion.text, "strict") for completion in completions]
        share = sum(verdict.correct for verdict in verdicts) / num_samples
        found[place] = [Trace(problem, c, v, share) for c, v in zip(completions, verdicts, strict=True)]

    async def every() -> None:
        with Progress("asking the teacher, problems", len(problems)) as progress:
            tasks = [asyncio.create_task(one(i, problem, progress)) for i, problem in enumerate(problems)]
            await all_of(tasks)

    run_anywhere(every())
    return [found[place] for place in sorted(found)]


def cost_of(traces: Sequence[Trace], prices: tuple[float, float] | None = None) -> Cost:
    """What these traces cost. prices: of a million tokens, read and written."""
    read = sum(len(trace.completion.prompt_tokens) for trace in traces)
    written = sum(len(trace.completion.tokens) for trace in traces)
    price = None if prices is None else (read * prices[0] + written * prices[1]) / 1e6
    return Cost(len(traces), read, written, sum(trace.completion.seconds for trace in traces), price)
