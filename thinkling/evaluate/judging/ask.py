"""A judge at work: a grade for one response, or which of two is better, asked in both orders.

Leaves out how the prompt is made safe and the verdict read (scale/judge_protocol.py), and what its verdicts are worth
(agreement.py, corrected.py, bias.py).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from thinkling.evaluate.ranking.votes import Response
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.scale.judge import reply_of
from thinkling.scale.judge_protocol import PAIRWISE, RUBRIC, Asked, Choice, ask_choice, ask_grade, choice_in, grade_in
from thinkling.scale.prompts import CHATS, p_true_prompt, prompt_of
from thinkling.verify.verifier import verifier_named

READINGS = {
    "reply": "the judge replies, and its verdict is read from the marked line",
    "solve": "the judge solves the problem without seeing a response, and the answers are compared",
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

    async def grade(self, response: Response) -> Grade:
        if self.reading == "solve":
            own, reply = await self._solution(response)
            return Grade(None if own is None else 10.0 * agrees(response, own), reply)
        if self.reading == "logprob":
            yes = await self._share(p_true_prompt(self.model, "plain", response.question, response.text), " Yes", " No")
            return Grade(10 * yes, f"P(Yes) = {yes:.4f}")
        asked = ask_grade(self.secret, response.question, response.text, self.rubric or RUBRIC)
        reply = await self._reply(asked)
        return Grade(grade_in(reply, asked.mark), reply)

    async def prefer(self, a: Response, b: Response) -> Preference:
        (one, said), (other, also) = await self._choose(a, b), await self._choose(b, a)
        return Preference(one, other, (said, also))

    async def _choose(self, first: Response, second: Response) -> tuple[Choice | None, str]:
        question = first.question
        if self.reading == "solve":
            own, reply = await self._solution(first)
            if own is None:
                return None, reply
            return {(True, False): "1", (False, True): "2"}.get((agrees(first, own), agrees(second, own)), "tie"), reply
        if self.reading == "logprob":
            text = PLAIN_CHOICE.format(question=question, first=first.text, second=second.text)
            share = await self._share(self.model.text_prompt(text), " 1", " 2")
            return "1" if share > 0.5 else "2" if share < 0.5 else "tie", f"P(1) = {share:.4f}"
        asked = ask_choice(self.secret, question, first.text, second.text, self.rubric or PAIRWISE)
        reply = await self._reply(asked)
        return choice_in(reply, asked.mark), reply

    async def _reply(self, asked: Asked) -> str:
        sampling = replace(self.sampling, seed=derive_seed(self.sampling.seed, "judge", asked.text))
        return await reply_of(self.model, asked, sampling, self.template)

    async def _solution(self, response: Response) -> tuple[str | None, str]:
        """The judge's own answer to the question, None if it finds none, and its reply."""
        template = self.template if self.template in CHATS else "step-by-step"
        sampling = replace(self.sampling, seed=derive_seed(self.sampling.seed, "solve", response.question))
        reply = (await self.model.complete(prompt_of(self.model, template, response.question), sampling)).text
        return verifier_named(response.verifier).extract(reply), reply

    async def _share(self, prompt: object, one: str, other: str) -> float:
        """P(one) / (P(one) + P(other)) behind the prompt."""
        gap = await self.model.logprob_of(prompt, other) - await self.model.logprob_of(prompt, one)
        return 1 / (1 + math.exp(min(gap, 700.0)))


def agrees(response: Response, own: str) -> bool:
    """Is the response's answer the judge's own?"""
    verifier = verifier_named(response.verifier)
    found = verifier.extract(response.text)
    return found is not None and verifier.same_answer(found, own)
