"""Ask a model what it thinks of a completion: the model itself (p(true)), or another one as a judge.

Both read the question and the response as text, and never the reference answer.
"""

import math
import re
from dataclasses import dataclass

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import seeded
from thinkling.scale.prompts import CHATS, judge_prompt, p_true_prompt
from thinkling.verify.verifier import verifier_named


@dataclass(frozen=True)
class PTrue:
    """log p(Yes) among Yes and No, when the model is asked whether the answer is right (arXiv:2207.05221).

    template: how the question was put; with a chat template the model is asked in the same chat.
    """

    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem, completion: Completion) -> float:
        prompt = p_true_prompt(model, self.template, problem.question, completion.text)
        space = "" if self.template in CHATS else " "
        yes, no = [await model.logprob_of(prompt, space + word) for word in ("Yes", "No")]
        return -math.log1p(math.exp(min(no - yes, 700.0)))


@dataclass(frozen=True)
class Judge:
    """The grade from 0 to 10 that `judge`, any model, gives; -1, below every grade, where it gives none."""

    judge: Model
    sampling: Sampling
    chat: bool = True

    async def __call__(self, model: Model, problem: Problem, completion: Completion) -> float:
        prompt = judge_prompt(self.judge, self.chat, problem.question, completion.text)
        reply = await self.judge.complete(prompt, seeded(self.sampling, problem, "judge", completion.text))
        grade = verifier_named("math").extract(reply.text)  # a number, whatever the problem is about
        found = re.fullmatch(r"(10|\d)(\.\d+)?", (grade or "").strip())
        return min(float(found.group()), 10.0) if found else -1.0
