"""Ask once, take the answer: the baseline of every other method. Asked for steps, it is chain of thought."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from thinkling.generate.language_model import Completion, Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.scale.prompts import prompt_of
from thinkling.tasks.problem import Problem
from thinkling.verify.extract import extract


@dataclass(frozen=True)
class Answer:
    """What a method answers to one problem, and what it cost.

    text: the response that is graded. final: the answer found in it, or None. completions: all that was sampled for it.
    """

    text: str
    final: str | None
    completions: tuple[Completion, ...]


# Any such function, or object with `__call__`, is a method: it can be evaluated, batched, and run on any model.
Method = Callable[[Model, Problem], Awaitable[Answer]]


@dataclass(frozen=True)
class Direct:
    """One completion of one prompt. With the step-by-step template: chain of thought (arXiv:2205.11916)."""

    sampling: Sampling
    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        completion = await sample(model, problem, self.template, self.sampling, 0)
        return Answer(completion.text, extract(completion.text).answer, (completion,))


async def sample(model: Model, problem: Problem, template: str, sampling: Sampling, number: int) -> Completion:
    """Sample number `number` of a problem: its seed comes from the problem, so it is the same in any company."""
    own = replace(sampling, seed=derive_seed(sampling.seed, problem.id, number))
    return await model.complete(prompt_of(model, template, problem.question), own)
