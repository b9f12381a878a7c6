"""Self-refinement: draft, critique, revise (Madaan et al., arXiv:2303.17651), and a rule that says which one to keep.

It can make answers worse: a model that could not solve a problem often cannot judge its solution either. So every round
is kept in the answer, and the evaluation counts what went from right to wrong beside what went from wrong to right.
"""

from dataclasses import dataclass, replace

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import samples, seeded
from thinkling.scale.method import Answer, Kind
from thinkling.scale.prompts import critique_prompt, revise_prompt
from thinkling.scale.scorers import Scorer, ranked
from thinkling.verify.verifier import verifier_of


@dataclass(frozen=True)
class Refine:
    """`rounds` times: criticise the response, revise it, keep the revision if its score is not lower.

    scorer: None always keeps the revision. critique_tokens: length of a critique, at most.
    """

    sampling: Sampling
    scorer: Scorer | None = None
    rounds: int = 1
    template: str = "plain"
    critique_tokens: int = 128

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        (best,) = await samples(model, problem, self.template, self.sampling, range(1))
        completions, rounds = [best], [best.text]
        for number in range(1, self.rounds + 1):
            short = replace(self.sampling, max_tokens=self.critique_tokens)
            prompt = critique_prompt(model, self.template, problem.question, best.text)
            critique = await model.complete(prompt, seeded(short, problem, "critique", number))
            prompt = revise_prompt(model, self.template, problem.question, best.text, critique.text)
            revision = await model.complete(prompt, seeded(self.sampling, problem, "revise", number))
            completions += [critique, revision]
            if await self._not_worse(model, problem, revision, best):
                best = revision
            rounds.append(best.text)
        return Answer(best.text, verifier_of(problem).extract(best.text), tuple(completions), tuple(rounds))

    async def _not_worse(self, model: Model, problem: Problem, revision: Completion, best: Completion) -> bool:
        if self.scorer is None:
            return True
        scores = [await self.scorer(model, problem, completion) for completion in (revision, best)]
        return ranked(scores[0]) >= ranked(scores[1])


KINDS = (
    Kind("refine", "refinement x n", "criticises and revises",
         lambda p: Refine(p.sampling, p.scorer, p.budget, p.template), unit="rounds", budget=1, scorer=""),
)  # fmt: skip
