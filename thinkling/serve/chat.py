"""The chat in the terminal, from the greeting to the end.

Ctrl+C stops a reply and keeps what it has said; Ctrl+D ends the chat. In a pipe, each line that comes in is a message,
and only replies go out. What of a long conversation the model still sees: context.py.
"""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import builtin_names
from thinkling.serve.chat_commands import COMMANDS
from thinkling.serve.conversation import Talk
from thinkling.serve.line_editor import Piped, Typed, typed
from thinkling.serve.talkers import Talker

HELP = "/help lists the commands, /quit ends."


def greeting(name: str) -> str:
    """Whom one talks to, and what it can be asked."""
    if name in builtin_names():
        return f'{name} knows small mathematics problems and nothing else: ask it "What is 12 * 34?".'
    return f"This is {name}."


def talk(talker: Talker, sampling: Sampling, thinking: bool, find: Callable[[str], Talker]) -> None:
    """Talk until the person ends it. Raises UserError where the context has no room for a question."""
    if talker.context is not None and sampling.max_tokens >= talker.context:
        raise UserError(f"--max-tokens {sampling.max_tokens} leaves no room for a question in a context of "
                        f"{talker.context}: lower it, or raise --max-length")  # fmt: skip
    here = Talk(talker, sampling, Console(), find, thinking, editor=Typed() if typed() else Piped())
    if typed():
        here.console.print(Text(greeting(talker.name), "bold"))
        here.say(HELP)
    for said in here.editor.lines(here.below):
        word, _, argument = said.partition(" ")
        try:
            if said in ("/quit", "/exit"):
                return
            if word in COMMANDS:
                COMMANDS[word].run(here, argument.strip())
            elif word.startswith("/"):
                raise UserError(f"there is no command {word}; {HELP}")
            elif said:
                here.ask(said)
        except UserError as error:
            here.console.print(Text(str(error), "red"))
