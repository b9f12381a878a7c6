"""A conversation in the terminal: thinking dimmed or folded, answers plain, commands that begin with a slash.

Ctrl+C stops a reply and keeps what it has said; Ctrl+D ends the chat. In a pipe, each line that comes in is a message,
and only replies go out. What of a long conversation the model still sees: context.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.weights import builtin_names
from thinkling.runs import write_json
from thinkling.serve.line_editor import Piped, Typed, typed
from thinkling.serve.reply_parser import Delta
from thinkling.serve.talkers import Say, Talker
from thinkling.serve.wrapping import WrappedStream
from thinkling.words import counted


@dataclass
class Reply:
    """What was said. stopped: by the person, before its end. seconds: that it took."""

    thinking: str = ""
    answer: str = ""
    num_tokens: int = 0
    num_thinking: int = 0
    seconds: float = 0.0
    stopped: bool = False
    cut: bool = False

    @property
    def message(self) -> dict:
        thought = {"reasoning_content": self.thinking} if self.thinking else {}
        return {"role": "assistant", "content": self.answer.strip()} | thought


@dataclass
class Talk:
    """A conversation and its settings. find: another model by name. folded: is thinking shown as one line? attempts:
    how often the last message has been answered."""

    talker: Talker
    sampling: Sampling
    console: Console
    find: Callable[[str], Talker]
    thinking: bool = True
    vote: int = 0
    folded: bool = False
    editor: Piped | Typed = field(default_factory=Piped)
    messages: list[dict] = field(default_factory=list)
    attempts: int = 0

    # --- asking ---

    def ask(self, said: str) -> None:
        self.messages.append({"role": "user", "content": said})
        self.attempts = 0
        if not self.answer():
            self.messages.pop()

    def answer(self) -> bool:
        """Answer the last message. False if there is no reply to be kept."""
        seed = derive_seed(self.sampling.seed, len(self.messages), *([self.attempts] if self.attempts else []))
        sampling = replace(self.sampling, seed=seed)
        say = Say(tuple(self.messages), sampling, self.thinking, self.vote)
        try:
            reply = self.shown(self.talker.reply(say))
        except UserError as error:
            self.console.print(Text(str(error), "red"))
            return False
        if reply.thinking or reply.answer:
            self.messages.append(reply.message)
        return bool(reply.thinking or reply.answer)

    def shown(self, deltas: Iterator[Delta]) -> Reply:
        """Write a reply as it comes."""
        written, reply, started = WrappedStream(self.console), Reply(), time.monotonic()
        try:
            for delta in deltas:
                self._grow(reply, delta, written)
        except KeyboardInterrupt:
            reply.stopped = True
            deltas.close()
        reply.seconds = time.monotonic() - started
        if reply.thinking and not reply.answer and self._folds:
            self._fold(reply)
        written.end()
        if typed():
            self.console.print(Text(self.figures(reply), "dim"))
        return reply

    def _grow(self, reply: Reply, delta: Delta, written: WrappedStream) -> None:
        reply.num_tokens = delta.num_tokens or reply.num_tokens
        reply.cut = delta.finish == "length" or reply.cut
        if delta.reasoning:
            reply.thinking += delta.reasoning
            reply.num_thinking = delta.num_thinking or delta.num_tokens
            if self._folds:
                self.console.print(Text(f"\rthinking, {counted(reply.num_thinking, 'token')} ", "dim"), end="")
            else:
                written.write(delta.reasoning, "dim italic")
        if delta.content:
            if reply.thinking and not reply.answer:
                if self._folds:
                    self._fold(reply)
                else:
                    written.write("\n")
            reply.answer += delta.content
            written.write(delta.content)

    @property
    def _folds(self) -> bool:
        return self.folded and self.console.is_terminal

    def _fold(self, reply: Reply) -> None:
        self.console.print(Text(f"\r▸ thought for {counted(reply.num_thinking, 'token')} (/show unfolds it)", "dim"))

    def figures(self, reply: Reply) -> str:
        parts = [f"{counted(reply.num_tokens, 'token')}, {reply.num_tokens / max(reply.seconds, 1e-9):,.0f} tokens/s"]
        parts += [f"{self.left:,} of {self.talker.context:,} left"] if self.talker.context else []
        parts += ["stopped"] if reply.stopped else ["cut off at --max-tokens"] if reply.cut else []
        return " · ".join(parts)

    @property
    def left(self) -> int:
        return max(0, self.talker.context - self.talker.used)

    def below(self) -> str:
        """How things stand, in one line."""
        parts = [self.talker.name, f"temperature {self.sampling.temperature:g}"]
        parts += ["thinks" if self.thinking else "does not think"] + ([f"vote of {self.vote}"] if self.vote else [])
        parts += [f"{self.left:,} of {self.talker.context:,} tokens left"] if self.talker.context else []
        return " · ".join([*parts, "/help"])

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


# --- commands ---


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
