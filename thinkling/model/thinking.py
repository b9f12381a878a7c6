"""Thinking split from the answer by its tags, as text comes in: for whoever shows a reply, or keeps it as a turn.

Left out: a verifier's reading of a whole text (verify/), and tags that are tokens (serve/reply_parser.py).
"""

TAGS = "<think>", "</think>"


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
