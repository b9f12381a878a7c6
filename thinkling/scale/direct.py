"""Ask once, take the answer: the baseline of every other method. Asked for steps, it is chain of thought."""

import asyncio
from dataclasses import dataclass, replace

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.scale.method import Answer, Kind
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class Direct:
    """One completion of one prompt. With the step-by-step template: chain of thought (arXiv:2205.11916).

    number: which sample of each problem it is; a vote among n draws those from 0 to n - 1.
    """

    sampling: Sampling
    template: str = "plain"
    number: int = 0

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        (completion,) = await samples(model, problem, self.template, self.sampling, range(self.number, self.number + 1))
        return Answer(completion.text, verifier_of(problem).extract(completion.text), (completion,))


KINDS = (
    Kind("direct", "one answer", "asks plainly", lambda p: Direct(p.sampling, p.template)),
    Kind("step-by-step", "one answer", "asks for an explanation", lambda p: Direct(p.sampling, p.template),
         template="step-by-step"),
)  # fmt: skip


async def samples(
    model: Model, problem: Problem, template: str, sampling: Sampling, numbers: range
) -> list[Completion]:
    """Samples of a problem by their numbers, drawn at once: each is the same one in any method and in any company."""
    prompt = prompt_of(model, template, problem.question)
    return await asyncio.gather(*(model.complete(prompt, seeded(sampling, problem, number)) for number in numbers))


def seeded(sampling: Sampling, problem: Problem, *place: object) -> Sampling:
    """The sampling with a random stream of its own for this problem and this place in a method."""
    return replace(sampling, seed=derive_seed(sampling.seed, problem.id, *place))
