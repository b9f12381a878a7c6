"""What begins with a slash in the terminal chat: a table of commands, each a function of the conversation."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from thinkling.errors import UserError
from thinkling.runs import write_json
from thinkling.serve.conversation import Talk
from thinkling.words import counted


def help_text(talk: Talk, argument: str) -> None:
    width = max(len(f"{name} {command.argument}") for name, command in COMMANDS.items())
    for name, command in COMMANDS.items():
        talk.say(f"{f'{name} {command.argument}':<{width}}  {command.help}")
    talk.say("Enter sends, Alt+Enter begins a new line, Ctrl+C stops a reply, Ctrl+D ends.")


def reset(talk: Talk, argument: str) -> None:
    talk.messages.clear()
    talk.talker.used = 0


def model(talk: Talk, argument: str) -> None:
    if argument:
        talk.talker = talk.find(argument)
    talk.say(f"This is {talk.talker.name}.")


def temperature(talk: Talk, argument: str) -> None:
    value = number(argument, float, "/temperature takes a number of 0 or more, such as 0.7")
    talk.sampling = replace(talk.sampling, temperature=value)


def vote(talk: Talk, argument: str) -> None:
    value = number(argument, int, "/vote takes a number of samples from 2 to 64, such as 8; 0 switches it off")
    if value not in (0, *range(2, 65)):
        raise UserError("/vote takes a number of samples from 2 to 64, such as 8; 0 switches it off")
    talk.vote = value


def number(text: str, kind: type, usage: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise UserError(usage) from None
    if not 0 <= value < float("inf"):
        raise UserError(usage)
    return value


def think(talk: Talk, argument: str) -> None:
    if not talk.talker.can_think:
        raise UserError(f"{talk.talker.name} has no tokens to think in: it answers at once")
    talk.thinking = True


def no_think(talk: Talk, argument: str) -> None:
    talk.thinking = False


def fold(talk: Talk, argument: str) -> None:
    talk.folded = not talk.folded
    talk.say("thinking is folded to one line" if talk.folded else "thinking is shown as it comes")


def show(talk: Talk, argument: str) -> None:
    thoughts = [message["reasoning_content"] for message in talk.messages if "reasoning_content" in message]
    if not thoughts:
        raise UserError("there is no thinking to show yet")
    talk.console.print(Text(thoughts[-1], "dim italic"))


def retry(talk: Talk, argument: str) -> None:
    """The reply before stays, if there is no other."""
    kept = list(talk.messages)
    while talk.messages and talk.messages[-1]["role"] == "assistant":
        talk.messages.pop()
    if not talk.messages:
        raise UserError("there is nothing to answer yet: ask something first")
    talk.attempts += 1
    if not talk.answer():
        talk.messages = kept


def edit(talk: Talk, argument: str) -> None:
    """The last message, changed and answered anew."""
    places = [i for i, message in enumerate(talk.messages) if message["role"] == "user"]
    if not places:
        raise UserError("there is nothing to edit yet: ask something first")
    kept = list(talk.messages)
    said = argument or talk.editor.edited(talk.messages[places[-1]]["content"])
    talk.messages = [*talk.messages[: places[-1]], {"role": "user", "content": said}]
    talk.attempts = 0
    if not talk.answer():
        talk.messages = kept


def save(talk: Talk, argument: str) -> None:
    if not argument:
        raise UserError("/save takes a file's name: /save talk.json")
    write_json(Path(argument), {"model": talk.talker.name, "messages": talk.messages})
    talk.say(f"{counted(len(talk.messages), 'message')} saved in {argument}")


def load(talk: Talk, argument: str) -> None:
    try:
        messages = json.loads(Path(argument).read_text(encoding="utf-8"))["messages"]
        whole = [(message["role"], message["content"]) for message in messages]
        right = all(role in ("system", "user", "assistant") and isinstance(content, str) for role, content in whole)
    except OSError as error:
        raise UserError(f"{argument or '/load'}: {error.strerror}: name a file that /save has written") from None
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise UserError(f"{argument}: no conversation: name a file that /save has written")
    names = ("role", "content", "reasoning_content")
    talk.messages = [{name: message[name] for name in names if name in message} for message in messages]
    talk.say(f"{counted(len(talk.messages), 'message')} loaded")


@dataclass(frozen=True)
class Command:
    run: Callable[[Talk, str], None]
    help: str
    argument: str = ""


COMMANDS = {
    "/help": Command(help_text, "lists these"),
    "/reset": Command(reset, "forgets the conversation"),
    "/model": Command(model, "says who answers, or loads another model", "[NAME]"),
    "/temperature": Command(temperature, "0 always takes the likeliest token", "T"),
    "/think": Command(think, "lets the model think before it answers"),
    "/no_think": Command(no_think, "does not"),
    "/vote": Command(vote, "takes the answer that most of N samples agree on; 0 for one reply", "N"),
    "/fold": Command(fold, "folds thinking to one line, or shows it again"),
    "/show": Command(show, "shows the last thinking"),
    "/retry": Command(retry, "answers the last message once more"),
    "/edit": Command(edit, "changes the last message and answers it", "[TEXT]"),
    "/save": Command(save, "keeps the conversation in a file", "FILE"),
    "/load": Command(load, "goes on with it", "FILE"),
}
