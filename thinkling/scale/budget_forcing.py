"""Budget forcing: decide from outside how long a model thinks (Muennighoff et al., s1, arXiv:2501.19393, section 3).

At most: when the budget is spent, the thinking is closed and the model must answer. At least: a model that stops
thinking too early is told "Wait" and goes on.
"""

from dataclasses import dataclass, replace

from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import END_THINK, Mark
from thinkling.problem import Problem
from thinkling.scale.direct import seeded
from thinkling.scale.method import Answer, Kind
from thinkling.scale.prompts import CHATS, prompt_of
from thinkling.verify.verifier import verifier_of

# Without its brace: a tokenizer may have one token for "{-", and a lone "{" would leave no room for it.
BOX = "\\boxed"


@dataclass(frozen=True)
class BudgetForcing:
    """Thinking is what comes before </think>, with a template that lets the model think, or else before the first box.

    max_thinking, min_thinking: its length in tokens. waits: how many times the model may be told `wait`. answer_tokens:
    length of the answer, at most.
    """

    sampling: Sampling
    max_thinking: int = 128
    min_thinking: int = 0
    waits: int = 1
    template: str = "step-by-step"
    wait: str = "\nWait,"
    answer_tokens: int = 64

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        end = END_THINK if CHATS.get(self.template) else BOX
        prompt, text, parts, told = prompt_of(model, self.template, problem.question), "", [], 0
        while True:
            left = self.max_thinking - sum(len(part.tokens) for part in parts)
            thinking = replace(self.sampling, max_tokens=left, stop=(*self.sampling.stop, end))
            part = await model.complete(prompt, seeded(thinking, problem, "thinking", len(parts)))
            cut = part.finish_reason == "length"
            parts.append(replace(part, finish_reason="budget") if cut else part)
            text += part.text
            spent = sum(len(part.tokens) for part in parts)
            if cut or spent >= min(self.min_thinking, self.max_thinking) or told == self.waits:
                break
            prompt, text, told = model.extend(prompt, part, self.wait), text + self.wait, told + 1
        closing = self._closing(end, cut, text)
        answering = replace(self.sampling, max_tokens=self.answer_tokens)
        answer = await model.complete(model.extend(prompt, part, *closing), seeded(answering, problem, "answer"))
        text += "".join(closing) + answer.text
        return Answer(text, verifier_of(problem).extract(text), (*parts, answer))

    def _closing(self, end: str, cut: bool, text: str) -> list[str]:
        """What is put behind the thinking: the mark that ends it, and where it was cut, the opening of a box."""
        if end == BOX:
            return [BOX if text.endswith("\n") or not text else "\n" + BOX]
        return [Mark(END_THINK), f"\n\nFinal answer: {BOX}" if cut else "\n\n"]


KINDS = (
    Kind("budget-forcing", "cut at n tokens", "cuts thinking off",
         lambda p: BudgetForcing(p.sampling, p.budget, template=p.template),
         unit="thinking tokens", budget=128, template="step-by-step"),
    Kind("wait", "kept thinking for n tokens", "prolongs it",
         lambda p: BudgetForcing(p.sampling, p.sampling.max_tokens, min_thinking=p.budget, template=p.template),
         unit="thinking tokens", budget=128, template="step-by-step"),
)  # fmt: skip
