"""A method as a model: `MODEL+vote@8` answers a chat's last message by a vote, and tells how as thinking.

The method itself is the one that `thinkling eval` measures (scale/); here it asks the desk, and each completion that
ends is told in a line. Left out: log-probabilities, stop strings and token ids, which belong to one completion.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Prompt
from thinkling.generate.sampling import Sampling
from thinkling.generate.stop_strings import StopStrings
from thinkling.model.thinking import TaggedText
from thinkling.problem import Problem
from thinkling.scale.method import Answer
from thinkling.scale.methods import Recipe, build, scorer_for
from thinkling.serve.context import Chat, fitted
from thinkling.serve.desk import Desk, taken
from thinkling.serve.refusals import ApiError
from thinkling.serve.reply_parser import Delta
from thinkling.verify.verifier import verifier_of
from thinkling.words import counted

CHATTING = {True: "chat-thinking", False: "chat"}


class ThroughDesk:
    """The served model as a method sees it: the question stands behind the chat's earlier messages, and what it
    samples is told to `tell`, in the order in which it was asked."""

    def __init__(
        self, desk: Desk, chat: Chat, room: int, tell: Callable[[int, Completion], None], client: Hashable = None
    ) -> None:
        self.desk, self.model, self.name, self.client = desk, desk.model, desk.model.name, client
        self.earlier, self.room, self.tell = chat.messages[:-1], room, tell
        self.asked = self.told = 0
        self.done: dict[int, Completion] = {}

    def __getattr__(self, name: str) -> Any:
        """Whatever else a method asks of a model, it asks the model itself."""
        return getattr(self.model, name)

    def chat_prompt(self, messages: list[dict], thinking: bool, prefill: str = "") -> list[int]:
        chat = Chat((*self.earlier, *messages), thinking, prefill or None)
        return fitted(self.model, chat, self.room).tokens

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        number, self.asked = self.asked, self.asked + 1
        watcher = StopStrings(self.model.tokenizer, sampling.stop) if sampling.stop else None
        drawn = await self.desk.complete(self.model.tokens_of(prompt), sampling, watcher, self.client)
        completion = self.model.with_text(drawn, watcher)
        self.done[number] = completion
        while self.told in self.done:
            self.told += 1
            self.tell(self.told, self.done.pop(self.told - 1))
        return completion


class MethodRun:
    """A method at work on a chat's last message: a source, as a Generation is one. temperature: the request's, None
    for the method's own. room: tokens that a prompt may have. sampled: all completions so far, as they were told."""

    def __init__(
        self, desk: Desk, recipe: Recipe, chat: Chat, sampling: Sampling, temperature: float | None, room: int,
        client: Hashable = None,
    ) -> None:  # fmt: skip
        self.wake: Callable[[], None] = lambda: None
        self.arrived: deque[Delta | BaseException] = deque()
        self.num_tokens = 0
        self.sampled: list[Completion] = []
        self.problem = Problem("chat", chat.messages[-1]["content"], "")
        self.model = ThroughDesk(desk, chat, room, self._tell, client)
        own = recipe.temperature if temperature is None else temperature
        recipe = replace(recipe, template=CHATTING[chat.thinking], temperature=own)
        method = build(recipe, recipe.budgets[0], sampling, lambda name: scorer_for(name, recipe.template, 16, ""))
        self.task = desk.loop.create_task(self._run(method))

    async def _run(self, method: Callable) -> None:
        try:
            self._put(self._told(await method(self.model, self.problem)))
        except Exception as error:  # told to whoever follows this source; UserError: what was asked cannot be done
            self._put(ApiError(400, str(error)) if isinstance(error, UserError) else error)

    def _told(self, answer: Answer) -> Delta:
        """The last that is told: how many completions led to which answer, and the response that was chosen."""
        thinking, said = split(answer.text)
        lines = [f"{counted(len(answer.completions), 'completion')}, answer: {answer.final or 'none'}"]
        lines += ["", thinking.strip("\n")] if thinking.strip("\n") else []
        truncated = answer.completions[-1].truncated and len(answer.completions) == 1
        reason = "length" if truncated else "stop"
        return Delta("\n".join(lines), said.strip(), finish=reason, num_tokens=self.num_tokens,
                     num_thinking=self.num_tokens)  # fmt: skip

    def _tell(self, number: int, completion: Completion) -> None:
        self.num_tokens += len(completion.tokens)
        self.sampled.append(completion)
        final = verifier_of(self.problem).extract(completion.text)
        said = final if final is not None else split(completion.text)[1].strip() or "no answer"
        line = f"{number}. {said} ({counted(len(completion.tokens), 'token')})\n"
        self._put(Delta(line, num_tokens=self.num_tokens, num_thinking=self.num_tokens))

    def _put(self, item: Delta | BaseException) -> None:
        self.arrived.append(item)
        self.wake()

    def take(self) -> Delta | None:
        return taken(self.arrived)

    def cancel(self) -> None:
        self.task.cancel()


def split(text: str) -> tuple[str, str]:
    """(thinking, answer) of a completion's text."""
    tagged = TaggedText(opened=False)
    pieces = tagged.push(text) + tagged.finish()
    return "".join(t for t, inside in pieces if inside), "".join(t for t, inside in pieces if not inside)
