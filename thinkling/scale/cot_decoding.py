"""CoT-decoding: reasoning without being asked for it (Wang and Zhou, arXiv:2402.10200).

The likeliest first token often leads straight to a guess; another one leads into the working. So the answer is begun
with each of the k likeliest first tokens and continued greedily, and the paths vote, each weighted by how sure the
model was of the answer's own tokens: the mean of p1 - p2, the two likeliest tokens' probabilities there.
"""

import asyncio
from dataclasses import dataclass, replace

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.method import Answer, Kind
from thinkling.scale.prompts import prompt_of
from thinkling.scale.scorers import answer_places, known, mean
from thinkling.scale.vote import elected


@dataclass(frozen=True)
class CoTDecoding:
    """`num_paths`: the k of the paper. Its sampling is greedy behind the first token."""

    sampling: Sampling
    num_paths: int = 10
    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        prompt = prompt_of(model, self.template, problem.question)
        greedy = replace(self.sampling, temperature=0.0, measure=True)

        async def path(first: Completion) -> Completion:
            if first.finish_reason == "stop" or greedy.max_tokens == 1:
                return first
            left = replace(greedy, max_tokens=greedy.max_tokens - 1)
            return model.joined(first, await model.complete(model.extend(prompt, first), left))

        begun = await model.first_tokens(prompt, self.num_paths)
        paths = await asyncio.gather(*map(path, begun))
        return elected(problem, paths, [answer_margin(model, problem, whole) for whole in paths])


KINDS = (
    Kind("cot-decoding", "CoT-decoding with n paths", "branches on the first token",
         lambda p: CoTDecoding(p.sampling, p.budget, p.template), unit="paths", budget=8, measures=True),
)  # fmt: skip


def answer_margin(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean of p1 - p2 over the tokens that spell the final answer; 0 where there is none."""
    margin = known(completion.margin, "cot-decoding", model)
    places = answer_places(model, problem, completion)
    return mean([margin[place] for place in places]) if places else 0.0
