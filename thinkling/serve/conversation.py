"""A conversation in the terminal as it stands: its messages and settings, and how a reply is asked for and shown."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.text import Text

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling
from thinkling.serve.line_editor import Piped, Typed, typed
from thinkling.serve.reply import Reply, seed_of
from thinkling.serve.reply_parser import Delta
from thinkling.serve.talkers import Say, Talker
from thinkling.serve.wrapping import WrappedStream
from thinkling.words import counted


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
        seed = seed_of(self.sampling.seed, len(self.messages), self.attempts)
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
                before, reply = reply, reply.grown(delta, time.monotonic() - started)
                self._write(before, reply, delta, written)
        except KeyboardInterrupt:
            reply = replace(reply, stopped=True)
            deltas.close()
        reply = replace(reply, seconds=time.monotonic() - started)
        if reply.thinking and not reply.answer and self._folds:
            self._fold(reply)
        written.end()
        if typed():
            self.console.print(Text(self.figures(reply), "dim"))
        return reply

    def _write(self, before: Reply, reply: Reply, delta: Delta, written: WrappedStream) -> None:
        if delta.reasoning:
            if self._folds:
                self.console.print(Text(f"\rthinking, {counted(reply.num_thinking, 'token')} ", "dim"), end="")
            else:
                written.write(delta.reasoning, "dim italic")
        if delta.content:
            if reply.thinking and not before.answer:
                if self._folds:
                    self._fold(reply)
                else:
                    written.write("\n")
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
        parts += ["thinks" if self.thinking and self.talker.can_think else "does not think"]
        parts += [f"vote of {self.vote}"] if self.vote else []
        parts += [f"{self.left:,} of {self.talker.context:,} tokens left"] if self.talker.context else []
        return " · ".join([*parts, "/help"])

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)
