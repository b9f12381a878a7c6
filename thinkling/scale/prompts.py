"""How a question is put to a model: templates as data.

A base model continues text, so it gets the form in which it has seen answers. A chat model gets its chat template.
"""

from typing import Any

from rich.console import Console

from thinkling.generate.language_model import Model
from thinkling.model.tokenizer import render_chat
from thinkling.settings import Prompts

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
CHATS = {"chat": False, "chat-thinking": True}  # whether the model may think before it replies


def render(template: str, question: str) -> str:
    """The prompt as text, for reading; of the chat templates too, which a model gets as messages (`prompt_of`)."""
    if template in CHATS:
        return render_chat(_chat(question), enable_thinking=CHATS[template])
    return TEMPLATES[template].format(question=question)


def prompt_of(model: Model, template: str, question: str) -> Any:
    """The prompt as this model takes it. `chat` switches Qwen3's thinking off, `chat-thinking` leaves it on."""
    if template in CHATS:
        return model.chat_prompt(_chat(question), CHATS[template])
    return model.text_prompt(render(template, question))


def _chat(question: str) -> list[dict]:
    return [{"role": "user", "content": question}]


def main(settings: Prompts) -> None:
    """`thinkling prompts`: every template, exactly as a model sees it."""
    console = Console(highlight=False)
    for name in (*TEMPLATES, *CHATS):
        if settings.template in (None, name):
            console.rule(name, align="left")
            console.print(render(name, settings.question), markup=False, soft_wrap=True)
