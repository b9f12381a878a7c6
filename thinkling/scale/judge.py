"""Ask a model what it thinks of a completion: the model itself (p(true)), or another one as a judge.

Both read the question and the response as text, and never the reference answer. What a judge is worth is measured by
`thinkling judge` (evaluate/judging/).
"""

import math
from dataclasses import dataclass

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.direct import seeded
from thinkling.scale.judge_protocol import Asked, ask_grade, grade_in
from thinkling.scale.prompts import CHATS, p_true_prompt, prompt_of


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
class JudgeScorer:
    """The grade from 0 to 10 that `judge`, any model, gives; -1, below every grade, where it gives none."""

    judge: Model
    sampling: Sampling
    template: str = "chat"

    async def __call__(self, model: Model, problem: Problem, completion: Completion) -> float:
        asked = ask_grade(str(self.sampling.seed), problem.question, completion.text)
        sampling = seeded(self.sampling, problem, "judge", completion.text)
        grade = grade_in(await reply_of(self.judge, asked, sampling, self.template), asked.mark)
        return -1.0 if grade is None else grade


async def reply_of(judge: Model, asked: Asked, sampling: Sampling, template: str) -> str:
    """What the judge replies, its thinking too. template: chat, chat-thinking or none."""
    text = asked.text if template in CHATS else asked.text + "\n\n"
    return (await judge.complete(prompt_of(judge, template, text), sampling)).text
