"""A judge at work: a grade for one response, or which of two is better, asked in both orders.

Leaves out how the prompt is made safe and the verdict read (scale/judge_protocol.py), and what its verdicts are worth
(agreement.py, corrected.py, bias.py).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.scale.judge import reply_of
from thinkling.scale.judge_protocol import PAIRWISE, RUBRIC, Asked, Choice, ask_choice, ask_grade, choice_in, grade_in
from thinkling.scale.prompts import p_true_prompt

READINGS = {
    "reply": "the judge replies, and its verdict is read from the marked line",
    "logprob": "nothing is read: how likely Yes is against No, or 1 against 2, behind a plain question",
}
Reading = Literal[*READINGS]
Preferred = Literal["a", "b", "tie"]

# For the reading by log-probabilities, beside p(true): a small base model cannot follow a protocol.
PLAIN_CHOICE = (
    "Question: {question}\nProposed answer 1:\n{first}\n\nProposed answer 2:\n{second}\n\n"
    "Which proposed answer is right, 1 or 2?\nAnswer:"
)


@dataclass(frozen=True)
class Grade:
    """value: from 0 to 10, None where the judge abstained. reply: what it said."""

    value: float | None
    reply: str


@dataclass(frozen=True)
class Preference:
    """Two calls about responses a and b: what was chosen with a shown first, and with b shown first.

    None is an abstention.
    """

    a_first: Choice | None
    b_first: Choice | None
    replies: tuple[str, str] = ("", "")

    @property
    def winner(self) -> Preferred | None:
        """Who won in both orders; a tie where the orders disagree; None where a call was an abstention."""
        if self.a_first is None or self.b_first is None:
            return None
        votes = {{"1": "a", "2": "b"}.get(self.a_first, "tie"), {"1": "b", "2": "a"}.get(self.b_first, "tie")}
        return votes.pop() if len(votes) == 1 else "tie"


@dataclass(frozen=True)
class Judge:
    """A model that judges.

    secret: what the keys of its prompts are made with. template: chat, chat-thinking or none. rubric: what it is asked
    to do with the responses, in place of the default.
    """

    model: Model
    sampling: Sampling
    secret: str
    reading: Reading = "reply"
    template: str = "chat"
    rubric: str = ""

    async def grade(self, question: str, response: str) -> Grade:
        if self.reading == "logprob":
            yes = await self._share(p_true_prompt(self.model, "plain", question, response), " Yes", " No")
            return Grade(10 * yes, f"P(Yes) = {yes:.4f}")
        asked = ask_grade(self.secret, question, response, self.rubric or RUBRIC)
        reply = await self._reply(asked)
        return Grade(grade_in(reply, asked.mark), reply)

    async def prefer(self, question: str, a: str, b: str) -> Preference:
        (one, said), (other, also) = await self._choose(question, a, b), await self._choose(question, b, a)
        return Preference(one, other, (said, also))

    async def _choose(self, question: str, first: str, second: str) -> tuple[Choice | None, str]:
        if self.reading == "logprob":
            text = PLAIN_CHOICE.format(question=question, first=first, second=second)
            share = await self._share(self.model.text_prompt(text), " 1", " 2")
            return "1" if share > 0.5 else "2" if share < 0.5 else "tie", f"P(1) = {share:.4f}"
        asked = ask_choice(self.secret, question, first, second, self.rubric or PAIRWISE)
        reply = await self._reply(asked)
        return choice_in(reply, asked.mark), reply

    async def _reply(self, asked: Asked) -> str:
        sampling = replace(self.sampling, seed=derive_seed(self.sampling.seed, "judge", asked.text))
        return await reply_of(self.model, asked, sampling, self.template)

    async def _share(self, prompt: object, one: str, other: str) -> float:
        """P(one) / (P(one) + P(other)) behind the prompt."""
        gap = await self.model.logprob_of(prompt, other) - await self.model.logprob_of(prompt, one)
        return 1 / (1 + math.exp(min(gap, 700.0)))
