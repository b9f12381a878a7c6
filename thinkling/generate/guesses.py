"""Guesses of the next tokens, from what a request holds already: n-gram speculation (arXiv:2304.04487, "reference").

Where the last three tokens, or two, stand further up, whatever followed them there is guessed to follow here, too. A
pass that reads the guesses behind the last token gives the states to draw each of them from; as long as the token that
is drawn is the one that was guessed, the next state is the right one, too. Each place has its own random number, so
what is drawn is what would have been drawn without guesses: only faster, where text repeats. Left out: draft models.
"""

from collections.abc import Sequence

LONGEST, SHORTEST = 3, 2  # tokens that must be the same


class Guesses:
    """Of one request. `push` each token it holds, the prompt's first."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens: list[int] = []
        self.ends: dict[tuple[int, ...], int] = {}  # of each n-gram that something follows: where its last one ends
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        for size in range(SHORTEST, LONGEST + 1):
            if len(self.tokens) >= size:
                self.ends[tuple(self.tokens[-size:])] = len(self.tokens)
        self.tokens.append(token)

    def next(self, most: int) -> list[int]:
        """At most so many tokens; none where nothing repeats."""
        for size in range(LONGEST, SHORTEST - 1, -1):
            end = self.ends.get(tuple(self.tokens[-size:]))
            if end is not None and len(self.tokens) >= size:
                return self.tokens[end : end + max(most, 0)]
        return []
