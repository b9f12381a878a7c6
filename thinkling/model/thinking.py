"""Thinking split from the answer: by token id where the model has think tokens, and by the tags where it writes them.

Reading text: a verifier does that (verify/). Here it is for whoever shows a reply, or keeps it as a turn of a chat.
"""

from collections.abc import Sequence
from dataclasses import dataclass

TAGS = "<think>", "</think>"


@dataclass(frozen=True)
class Thinking:
    """A completion's tokens without the two marks; `closed`: was </think> there?"""

    thinking: list[int]
    answer: list[int]
    closed: bool


def split_thinking(tokens: Sequence[int], think_id: int | None, end_think_id: int | None, opened: bool) -> Thinking:
    """Split a completion at the id of </think>; the same characters spelt by ordinary tokens do not count.

    opened: the prompt already ended inside <think>. Only the first </think> closes. Thinking that never closes is all
    thinking, with an empty answer; a completion with neither mark, and none in the prompt, is all answer.
    """
    tokens = list(tokens)
    closed = end_think_id in tokens
    if not closed and not opened and think_id not in tokens:
        return Thinking([], tokens, closed=False)
    end = tokens.index(end_think_id) if closed else len(tokens)
    thinking, answer = tokens[:end], tokens[end + 1 :]
    if think_id in thinking:
        thinking.remove(think_id)
    return Thinking(thinking, answer, closed)


class TaggedText:
    """Text as it comes in, split at tags that are ordinary text: `push` and `finish` return pieces, each thinking or
    not. What may yet become a tag is held back. Only the first <think>, at the start, opens.

    opened: the prompt ended inside <think>.
    """

    def __init__(self, opened: bool) -> None:
        self.thinking, self.begun, self.waiting = opened, opened, ""

    def push(self, text: str) -> list[tuple[str, bool]]:
        self.waiting += text
        pieces: list[tuple[str, bool]] = []
        if not self.begun:
            start = self.waiting.lstrip()
            if TAGS[0].startswith(start[: len(TAGS[0])]) and len(start) < len(TAGS[0]):
                return []
            self.begun = True
            if start.startswith(TAGS[0]):
                self.thinking, self.waiting = True, start[len(TAGS[0]) :]
        if self.thinking and TAGS[1] in self.waiting:
            inside, _, self.waiting = self.waiting.partition(TAGS[1])
            pieces.append((inside, True))
            self.thinking = False
        held = next((n for n in range(len(TAGS[1]) - 1, 0, -1) if self.waiting.endswith(TAGS[1][:n])), 0)
        held = held if self.thinking else 0
        pieces.append((self.waiting[: len(self.waiting) - held], self.thinking))
        self.waiting = self.waiting[len(self.waiting) - held :]
        return [piece for piece in pieces if piece[0]]

    def finish(self) -> list[tuple[str, bool]]:
        rest, self.waiting = self.waiting, ""
        return [(rest, self.thinking)] if rest else []
