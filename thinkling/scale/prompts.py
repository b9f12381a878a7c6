"""How a question is put to a model: templates as data.

A base model continues text, so it gets the form in which it has seen answers. A chat model gets its chat template.
"""

from collections.abc import Sequence
from typing import Any, Literal

from thinkling.errors import UserError
from thinkling.generate.model import Model
from thinkling.model.chat_template import render_chat

TEMPLATES = {
    "plain": "Question: {question}\nAnswer:\n",
    "step-by-step": "Question: {question}\nExplain step by step.\nAnswer:\n",
    # The form of the book (Raschka, Build a Reasoning Model, chapter 3), for checkpoints such as Qwen3.
    "boxed": (
        "You are a helpful math assistant.\nAnswer the question and write the final result on a new line as:\n"
        "\\boxed{{ANSWER}}\n\nQuestion:\n{question}\n\nAnswer:"
    ),
    # Examples before the question show a base model what an answer looks like (Brown et al., arXiv:2005.14165).
    "few-shot": (
        "Question: What is 6 + 3 * 4?\nAnswer:\n3 * 4 = 12\n6 + 12 = 18\n\\boxed{{18}}\n\n"
        "Question: Ann has 15 pens. She gives 4 to Bob and buys 7. How many does she have?\nAnswer:\n15 - 4 = 11\n"
        "11 + 7 = 18\n\\boxed{{18}}\n\nQuestion: {question}\nAnswer:\n"
    ),
    "none": "{question}",
}
# Strings that end an answer: behind its own a base model would go on with examples of its own making.
STOPS = {"few-shot": ("\nQuestion:",)}
CHATS = {"chat": False, "chat-thinking": True}  # whether the model may think before it replies
Template = Literal[*TEMPLATES, *CHATS]

# What a model is asked about a response, as text. `asked` is the question as its template puts it.
ABOUT = {
    "critique": "{asked}{response}\n\nCheck the answer above line by line, and name each mistake.\nReview:\n",
    # The question once more, in the form in which a base model knows it: what follows is the revision.
    "revise": "{asked}{response}\n\nReview:\n{critique}\n\n{asked}",
    "p-true": (
        "Question: {question}\nProposed answer:\n{response}\n\nIs the proposed answer right, Yes or No?\nAnswer:"
    ),
}
# The same in a chat: the user's next turn, behind the question and the model's own response.
CHAT_ABOUT = {
    "critique": "Check your answer line by line, and name each mistake. Do not answer the question anew.",
    "revise": "Now write the improved answer, with the final result in \\boxed{}.",
    "p-true": "Is your answer right? Reply with one word: Yes or No.",
}


def check_question(template: str, question: str) -> None:
    """A template without a question asks nothing; a model would make one up. As text to go on from, spaces may do."""
    if template != "none" and not question.strip():
        raise UserError("the question is empty: write one, or use --template none to go on from exactly this text")


def render(template: str, question: str) -> str:
    """The prompt as text, for reading; of a chat as Qwen3's template writes it. A model gets `prompt_of`."""
    if template in CHATS:
        return render_chat([_turn("user", question)], enable_thinking=CHATS[template])
    return TEMPLATES[template].format(question=question)


def prompt_of(model: Model, template: str, question: str) -> Any:
    """The prompt as this model takes it. `chat` switches thinking off where the model's own template can,
    `chat-thinking` leaves it on. Raises UserError where there is no question."""
    check_question(template, question)
    if template in CHATS:
        return model.chat_prompt([_turn("user", question)], CHATS[template])
    return model.text_prompt(render(template, question))


def critique_prompt(model: Model, template: str, question: str, response: str) -> Any:
    return _about(model, "critique", template, question, response)


def revise_prompt(model: Model, template: str, question: str, response: str, critique: str) -> Any:
    if template in CHATS:
        said = [_turn("user", question), _turn("assistant", response), _turn("user", CHAT_ABOUT["critique"])]
        said += [_turn("assistant", critique), _turn("user", CHAT_ABOUT["revise"])]
        return model.chat_prompt(said, CHATS[template])
    return _about(model, "revise", template, question, response, critique=critique)


def p_true_prompt(model: Model, template: str, question: str, response: str) -> Any:
    return _about(model, "p-true", template, question, response)


def manifest(model: Model, templates: Sequence[str], question: str) -> dict:
    """What a run keeps of its prompts: each template as it is, the first question's prompt as the model sees it, and
    what is asked about responses."""
    shown = {
        name: {
            "template": TEMPLATES.get(name, "the model's own chat template"),
            "first_prompt": _seen(model, name, question),
        }
        for name in templates
    }
    return {"templates": shown, "about_a_response": ABOUT, "about_a_response_in_a_chat": CHAT_ABOUT}


def _seen(model: Model, template: str, question: str) -> str:
    """The prompt as the model reads it; of one on a server, whose template is not known, the question."""
    from thinkling.generate.language_model import LanguageModel  # here: it imports torch, and --help need not

    prompt = prompt_of(model, template, question)
    if isinstance(model, LanguageModel):
        return model.tokenizer.decode(prompt)
    return question if template in CHATS else prompt


def _about(model: Model, kind: str, template: str, question: str, response: str, **more: str) -> Any:
    if template in CHATS:
        said = [_turn("user", question), _turn("assistant", response), _turn("user", CHAT_ABOUT[kind])]
        return model.chat_prompt(said, kind != "p-true" and CHATS[template])
    asked = render(template, question)
    return model.text_prompt(ABOUT[kind].format(asked=asked, question=question, response=response, **more))


def _turn(role: str, content: str) -> dict:
    return {"role": role, "content": content}
