"""`thinkling prompts`: every template, exactly as a model sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.errors import UserError
from thinkling.scale.prompts import Template, check_question

if TYPE_CHECKING:
    from thinkling.model.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Show the templates that a question can be put in, exactly as a model sees them."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")] = "What is 17 + 25 - 9?"
    """The question to put."""
    template: Template | None = None
    """Only this one."""
    model: str | None = None
    """As this model sees them, a chat by its own template; named as for thinkling generate. Default: as Qwen3's
    template writes a chat."""

    def __post_init__(self) -> None:
        check_question(self.template or "", self.question)


def main(settings: Prompts) -> None:
    from rich.console import Console

    from thinkling.scale.prompts import ABOUT, CHATS, TEMPLATES, render

    console, tokenizer = Console(highlight=False), None
    if settings.model is not None:
        from thinkling.model.tokenizer import Tokenizer
        from thinkling.model.weights import resolve

        tokenizer = Tokenizer.load(resolve(settings.model))
    for name in (*TEMPLATES, *CHATS) if settings.template is None else (settings.template,):
        text = render(name, settings.question) if tokenizer is None else seen(tokenizer, name, settings)
        console.rule(name, align="left")
        console.print(text, markup=False, emoji=False, soft_wrap=True)
    if settings.template is None:
        blanks = {"asked": render("plain", settings.question), "question": settings.question}
        for name, text in ABOUT.items():
            console.rule(f"about a response: {name}", align="left")
            console.print(text.format(**blanks, response="(the response)", critique="(the critique)"), markup=False,
                          soft_wrap=True)  # fmt: skip


def seen(tokenizer: Tokenizer, template: str, settings: Prompts) -> str:
    """The prompt, decoded from the ids that the model gets. Among all templates, one that it cannot take says why."""
    from thinkling.scale.prompts import CHATS, render

    try:
        if template in CHATS:
            asked = [{"role": "user", "content": settings.question}]
            return tokenizer.decode(tokenizer.encode_chat(asked, enable_thinking=CHATS[template]))
        return tokenizer.decode([*tokenizer.first_ids, *tokenizer.encode(render(template, settings.question))])
    except UserError as error:
        if settings.template is not None:
            raise
        return f"not for this model: {error}"
