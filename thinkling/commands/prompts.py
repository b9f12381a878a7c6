"""`thinkling prompts`: every template, exactly as a model sees it."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from thinkling.scale.prompts import Template


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Show the templates that a question can be put in, exactly as a model sees them."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")] = "What is 17 + 25 - 9?"
    """The question to put."""
    template: Template | None = None
    """Only this one."""


def main(settings: Prompts) -> None:
    from rich.console import Console

    from thinkling.scale.prompts import ABOUT, CHATS, TEMPLATES, render

    console = Console(highlight=False)
    for name in (*TEMPLATES, *CHATS):
        if settings.template in (None, name):
            console.rule(name, align="left")
            console.print(render(name, settings.question), markup=False, soft_wrap=True)
    if settings.template is None:
        blanks = {"asked": render("plain", settings.question), "question": settings.question}
        for name, text in ABOUT.items():
            console.rule(f"about a response: {name}", align="left")
            console.print(text.format(**blanks, response="(the response)", critique="(the critique)"), markup=False,
                          soft_wrap=True)  # fmt: skip
