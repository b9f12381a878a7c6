"""Self-consistency: sample several answers, take the one that most samples agree on (Wang et al., arXiv:2203.11171)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.generate.language_model import Completion, LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.direct import Answer, sample
from thinkling.tasks.problem import Problem
from thinkling.verify.extract import extract
from thinkling.verify.grade import same_answer


@dataclass(frozen=True)
class SelfConsistency:
    """Vote among `num_samples` completions of one prompt."""

    sampling: Sampling
    num_samples: int = 8
    template: str = "plain"

    async def __call__(self, model: LanguageModel, problem: Problem) -> Answer:
        asked = [sample(model, problem, self.template, self.sampling, i) for i in range(self.num_samples)]
        completions = await asyncio.gather(*asked)
        winner = vote(completions)
        if winner is None:  # nobody gave an answer
            return Answer(completions[0].text, None, tuple(completions))
        return Answer(winner.text, extract(winner.text).answer, tuple(completions))


def vote(completions: Sequence[Completion]) -> Completion | None:
    """The first completion of the winning group; None if no completion holds an answer.

    Answers that the verifier calls equal are one group (0.5 and 1/2). A completion without an answer abstains. A tie
    goes to the group with the greater summed log-probability, then to the one seen first.
    """
    groups: list[tuple[str, list[Completion]]] = []
    for completion in completions:
        answer = extract(completion.text).answer
        if answer is None:
            continue
        for first, members in groups:
            if same_answer(first, answer):
                members.append(completion)
                break
        else:
            groups.append((answer, [completion]))
    if not groups:
        return None
    _, winners = max(groups, key=lambda group: (len(group[1]), sum(sum(c.logprobs) for c in group[1])))
    return winners[0]
