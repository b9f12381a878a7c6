"""How multiple choice is put to a model: the question with its options or without them, and where the answer stands.

A prompt is tokens that nothing can change any more and a text that is encoded together with what follows it
(`Opening`): see multiple_choice.py for why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from thinkling.evaluate.choice_ways import FORMS, Asking
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.model.chat_template import END_THINK, THINK, Mark
from thinkling.problem import Problem
from thinkling.tasks.options import listed, options_of, question_of


@dataclass(frozen=True)
class Opening:
    """A prompt in two parts: tokens that nothing can change any more, and text that is encoded with what follows it."""

    tokens: tuple[int, ...]
    text: str

    def encoded(self, model: LanguageModel, more: str = "") -> list[int]:
        return [*self.tokens, *model.tokenizer.encode(self.text + more)]


def asked(problem: Problem, lists: bool) -> str:
    """The question as the log-probability ways put it: with its options, or without them."""
    stem = problem.metadata["stem"]
    return "\n".join([stem, *listed(options_of(problem))] if lists else [stem])


def answer_text(problem: Problem, lists: bool, place: int) -> str:
    return ascii_uppercase[place] if lists else options_of(problem)[place]


def opening(model: Model, asking: Asking, problem: Problem, lists: bool) -> Opening:
    """The prompt up to where an answer would stand."""
    shots = asking.shots(problem)
    turns = [(asked(shot, lists), answer_text(shot, lists, ascii_uppercase.index(shot.reference))) for shot in shots]
    return put(model, asking, turns, asked(problem, lists))


def opening_alone(model: Model, asking: Asking) -> Opening:
    """What an answer stands behind where there is no question."""
    return put(model, asking, [], None)


def put(model: Model, asking: Asking, turns: Sequence[tuple[str, str]], question: str | None) -> Opening:
    """turns: questions that are answered before."""
    form = FORMS[asking.form]
    answered = [(said, form.cue + form.answer.format(answer)) for said, answer in turns]
    if asking.chat or asking.thinking:
        return Opening(tuple(model.chat_prompt(messages(answered, question or ""), thinking=False)), form.cue)
    text = "".join(f"Question: {said}\n{answer}\n\n" for said, answer in answered)
    text += f"Question: {question}\n" if question is not None else ""
    first = tuple(model.tokenizer.first_ids) if isinstance(model, LanguageModel) else ()  # a server puts them in itself
    return Opening(first, text + form.cue)


def messages(turns: Sequence[tuple[str, str]], question: str) -> list[dict]:
    said = [("user", question), *(part for q, a in reversed(turns) for part in (("assistant", a), ("user", q)))]
    return [{"role": role, "content": content} for role, content in reversed(said)]


def response_prompt(model: Model, asking: Asking, problem: Problem) -> object:
    """The prompt for a response in words: the options are listed, and a letter is asked for."""
    shots = [
        (shot.question, FORMS[asking.form].answer.format(shot.reference).strip()) for shot in asking.shots(problem)
    ]
    question = question_of(problem.metadata["stem"], options_of(problem))
    if asking.chat or asking.thinking:
        return model.chat_prompt(messages(shots, question), asking.thinking)
    text = "".join(f"Question: {said}\nAnswer:\n{answer}\n\n" for said, answer in shots)
    return model.text_prompt(f"{text}Question: {question}\nAnswer:\n")


def behind_thinking(model: LanguageModel, prompt: Sequence[int], completion: Completion, cue: str) -> Opening:
    """Where the answer stands once the model has thought: behind </think>, which is put in where the thinking was cut
    off. A model that did not think at all is asked at once."""
    end = model.tokenizer.special_id(END_THINK)
    tokens = [token for token in completion.tokens if token not in model.tokenizer.stop_ids]
    if end in tokens:
        tokens = tokens[: tokens.index(end) + 1]
    elif model.tokenizer.opens_thinking(prompt) or model.tokenizer.special_id(THINK) in tokens:
        tokens += model.tokenizer.encode_pieces(["\n", Mark(END_THINK)])
    else:
        tokens = []
    return Opening((*prompt, *tokens), f"\n\n{cue}" if tokens else cue)


def common_prefix(rows: Sequence[Sequence[int | str]]) -> int:
    """How many tokens all of these begin with; fewer than the shortest row has, so that each has one to score."""
    most = min(len(rows[0]), *(len(row) - 1 for row in rows[1:]))
    return next((i for i in range(most) if len({row[i] for row in rows}) > 1), most)
