"""Best of n: sample several completions, keep the one that a scorer likes best. A vote that only the scorer has."""

import asyncio
from dataclasses import dataclass

from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import samples
from thinkling.scale.method import Answer, Kind
from thinkling.scale.scorers import Scorer, ranked
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class BestOfN:
    """The completion with the highest score among those that hold an answer; of equals, the first."""

    sampling: Sampling
    scorer: Scorer
    num_samples: int = 8
    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        completions = await samples(model, problem, self.template, self.sampling, range(self.num_samples))
        scores = await asyncio.gather(*(self.scorer(model, problem, c) for c in completions))
        answers = [verifier_of(problem).extract(c.text) for c in completions]
        best = max(range(len(completions)), key=lambda i: (answers[i] is not None, ranked(scores[i])))
        return Answer(completions[best].text, answers[best], tuple(completions))


KINDS = (
    Kind("best-of-n", "best of n", "keeps the sample that --scorer likes best",
         lambda p: BestOfN(p.sampling, p.scorer, p.budget, p.template),
         unit="samples", budget=8, temperature=1.0, scorer="mean-logprob"),
)  # fmt: skip
