"""The ways in which multiple choice is asked, and the forms in which it is put: tables. Without torch, for --help.

The scores are explained by Holtzman et al. 2021 (arXiv:2104.08315), which brings the last way, and Gu et al. 2024
(arXiv:2406.08446), which compares all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from thinkling.problem import Problem


@dataclass(frozen=True)
class Scored:
    """A continuation: its log-probability in nats, the tokens that are its own, the bytes of the option's own text."""

    logprob: float
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True)
class Way:
    """formula: what an option is chosen by, in words. score: from the score of the letter or the answer, and from the
    one that it has without the question; None for the response itself."""

    formula: str
    score: Callable[[Scored, Scored], float] | None


WAYS: dict[str, Way] = {
    "response": Way("the letter that the response ends with", None),
    "letter": Way("log p(letter | question with its options)", lambda letter, _: letter.logprob),
    "answer-sum": Way("log p(answer | question)", lambda answer, _: answer.logprob),
    "answer-per-token": Way("log p(answer | question) / its tokens",
                            lambda answer, _: answer.logprob / answer.num_tokens),
    "answer-per-byte": Way("log p(answer | question) / its bytes", lambda answer, _: answer.logprob / answer.num_bytes),
    "pmi": Way("log p(answer | question) - log p(answer)", lambda answer, alone: answer.logprob - alone.logprob),
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """How the answer is put behind a question: `cue` ends the prompt, `answer` is what is scored. The cue has no space
    at its end: a space belongs to the word that follows it."""

    cue: str
    answer: str


FORMS = {"plain": Form("Answer:", " {}"), "boxed": Form("Answer:\n", "\\boxed{{{}}}")}


@dataclass(frozen=True)
class Asking:
    """form: one of FORMS. chat: by the model's chat template, the cue being how its reply begins. thinking: the model
    thinks first (by its chat template), and the letter is looked at behind the thinking; the other ways, which do not
    show the options, are asked without thinking. num_shots: of the examples, so many are answered before a question;
    those of its own family where there are any."""

    form: str = "plain"
    chat: bool = False
    thinking: bool = False
    num_shots: int = 0
    examples: tuple[Problem, ...] = ()

    def shots(self, problem: Problem) -> tuple[Problem, ...]:
        own = [example for example in self.examples if example.family == problem.family]
        return tuple((own or self.examples)[: self.num_shots])
