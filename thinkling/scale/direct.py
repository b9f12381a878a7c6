"""Ask once, take the answer: the baseline of every other method. Asked for steps, it is chain of thought."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class Answer:
    """What a method answers to one problem, and what it cost.

    text: the response that is graded. final: the answer found in it, or None. completions: all that was sampled for it.
    rounds: where a method revises, the response as it stood after each round, the draft first.
    """

    text: str
    final: str | None
    completions: tuple[Completion, ...]
    rounds: tuple[str, ...] = ()


# Any such function, or object with `__call__`, is a method: it can be evaluated, batched, and run on any model.
Method = Callable[[Model, Problem], Awaitable[Answer]]


@dataclass(frozen=True)
class Direct:
    """One completion of one prompt. With the step-by-step template: chain of thought (arXiv:2205.11916)."""

    sampling: Sampling
    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        (completion,) = await samples(model, problem, self.template, self.sampling, range(1))
        return Answer(completion.text, verifier_of(problem).extract(completion.text), (completion,))


async def samples(
    model: Model, problem: Problem, template: str, sampling: Sampling, numbers: range
) -> list[Completion]:
    """Samples of a problem by their numbers, drawn at once: each is the same one in any method and in any company."""
    prompt = prompt_of(model, template, problem.question)
    return await asyncio.gather(*(model.complete(prompt, seeded(sampling, problem, number)) for number in numbers))


def seeded(sampling: Sampling, problem: Problem, *place: object) -> Sampling:
    """The sampling with a random stream of its own for this problem and this place in a method."""
    return replace(sampling, seed=derive_seed(sampling.seed, problem.id, *place))
