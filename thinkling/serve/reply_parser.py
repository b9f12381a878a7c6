"""A reply's tokens as they are drawn -> thinking and answer: one parser, for streamed replies and for whole ones.

Thinking and answer are told apart by token id where the model has tokens for the tags, else by the tags. What may yet
become a stop string, a tag or half a character is held back, so what has been given out is never taken back: a whole
answer is the pieces of a stream, joined.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.model.thinking import TAGS, TaggedText
from thinkling.model.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class TokenFact:
    """What is told of one token: its id, its log-probability in nats, and the likeliest tokens in its place. logprob:
    None for the first token of all, which nothing predicts. thinking: is it part of the thinking, or one of its tags?
    """

    id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...] = ()
    thinking: bool = False


@dataclass(frozen=True)
class Delta:
    """What a reply has grown by. tokens: those that came, where they are to be told. finish: why the reply ends, in its
    last delta. num_tokens, num_thinking: sampled so far, and those of them that are thinking."""

    reasoning: str = ""
    content: str = ""
    tokens: tuple[TokenFact, ...] = ()
    finish: str | None = None
    num_tokens: int = 0
    num_thinking: int = 0


def joined(deltas: Sequence[Delta]) -> Delta:
    """Deltas that follow each other as one."""
    if len(deltas) == 1:
        return deltas[0]
    last = deltas[-1]
    return Delta(
        "".join(delta.reasoning for delta in deltas), "".join(delta.content for delta in deltas),
        tuple(token for delta in deltas for token in delta.tokens), last.finish, last.num_tokens, last.num_thinking,
    )  # fmt: skip


class StopSearch:
    """Text as it comes, up to the first stop string. hit: which one ended it, or None so far."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops, self.held, self.hit = tuple(stops), "", None

    def push(self, text: str) -> str:
        """What is sure by now to be no piece of a stop string."""
        if not self.stops or self.hit is not None:
            return "" if self.hit is not None else text
        self.held += text
        places = [(self.held.find(stop), stop) for stop in self.stops if stop in self.held]
        if places:
            place, self.hit = min(places)
            return self.held[:place]
        longest = max(map(len, self.stops)) - 1
        keep = next((n for n in range(min(longest, len(self.held)), 0, -1)
                     if any(stop.startswith(self.held[-n:]) for stop in self.stops)), 0)  # fmt: skip
        sure, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return sure

    def finish(self) -> str:
        return "" if self.hit is not None else self.held


OPEN, CLOSE, THINKING, ANSWER = "open", "close", "thinking", "answer"
Event = tuple[str, str]  # one of these four, and the text of the latter two


class Plain:
    """All of a completion is answer, special tokens too."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.decoder, self.thinking = StreamDecoder(tokenizer), False

    def push(self, token: int) -> list[Event]:
        return [(ANSWER, self.decoder.push(token))]

    def finish(self) -> list[Event]:
        return [(ANSWER, self.decoder.finish())]


class ById:
    """Sections told apart by the ids of <think>, which only opens a reply, and of the first </think> behind it."""

    def __init__(self, tokenizer: Tokenizer, opened: bool) -> None:
        self.begin, self.end = map(tokenizer.special_id, TAGS)
        self.decoder, self.thinking = StreamDecoder(tokenizer, skip_special=True), opened
        self.begun, self.space = opened, ""  # space: white space at the very start, which goes if <think> follows

    def push(self, token: int) -> list[Event]:
        if token == self.begin and not self.begun:
            self.thinking = self.begun = True
            return [(OPEN, "")]
        if token == self.end and self.thinking:
            rest, self.thinking = self.decoder.finish(), False
            return [(THINKING, rest), (CLOSE, "")]
        return self._text(self.decoder.push(token))

    def _text(self, text: str) -> list[Event]:
        if not self.begun:
            self.space += text
            if not self.space.strip():
                return []
            self.begun, text = True, self.space
        return [(THINKING if self.thinking else ANSWER, text)]

    def finish(self) -> list[Event]:
        return self._text(self.decoder.finish())


class ByTags:
    """Sections told apart by the tags as text, of a model that has no tokens for them."""

    def __init__(self, tokenizer: Tokenizer, opened: bool) -> None:
        self.decoder, self.tagged, self.thinking = (
            StreamDecoder(tokenizer, skip_special=True),
            TaggedText(opened),
            opened,
        )

    def push(self, token: int) -> list[Event]:
        return self._events(self.tagged.push(self.decoder.push(token)))

    def finish(self) -> list[Event]:
        return self._events(self.tagged.push(self.decoder.finish()) + self.tagged.finish())

    def _events(self, pieces: list[tuple[str, bool]]) -> list[Event]:
        events: list[Event] = []
        for text, thinking in [*pieces, ("", self.tagged.thinking)]:
            if thinking != self.thinking:
                events.append((OPEN if thinking else CLOSE, ""))
                self.thinking = thinking
            events.append((THINKING if thinking else ANSWER, text))
        return events


class ReplyParser:
    """`push` each token and then `finish`: each returns (thinking, answer), as far as it is sure.

    split: may there be thinking? opened: the prompt ended inside <think>; continued: amid the thinking itself. merged:
    thinking is given out as answer, with its tags. stops: looked for in the answer alone. thinking: does the reply
    think now? num_tokens, num_thinking: how many tokens have come, and how many of them are thinking. stopped: has a
    stop string ended the reply?
    """

    def __init__(
        self, tokenizer: Tokenizer, split: bool = True, opened: bool = False, merged: bool = False,
        stops: Sequence[str] = (), continued: bool = False,
    ) -> None:  # fmt: skip
        kind = (ById if tokenizer.has_think_tokens else ByTags) if split else None
        self.sections = kind(tokenizer, opened) if kind else Plain(tokenizer)
        self.stop_ids, self.merged, self.stops = tokenizer.stop_ids, merged, StopSearch(stops)
        self.num_tokens = self.num_thinking = 0
        self.pending: list[Event] = [(OPEN, "")] if split and opened and not continued else []
        self.skips = False  # are line breaks left out now, at the start of a section?
        self.breaks = ""  # at the end of what has been thought: they go if thinking ends here

    @property
    def thinking(self) -> bool:
        return self.sections.thinking

    @property
    def stopped(self) -> bool:
        return self.stops.hit is not None

    def push(self, token: int) -> tuple[str, str]:
        self.num_tokens += 1
        if token in self.stop_ids:
            return "", ""
        thought = self.thinking
        events = self.sections.push(token)
        self.num_thinking += thought and self.thinking
        return self._written(events)

    def finish(self) -> tuple[str, str]:
        """What was held back, once nothing more will come."""
        thinking, answer = self._written(self.sections.finish())
        rest, self.breaks = self.breaks, ""
        return thinking + rest, answer + self.stops.finish()

    def _written(self, events: list[Event]) -> tuple[str, str]:
        events, self.pending = self.pending + events, []
        write = self._merged if self.merged else self._separate
        pieces = [write(kind, text) for kind, text in events]
        return "".join(thinking for thinking, _ in pieces), "".join(answer for _, answer in pieces)

    def _merged(self, kind: str, text: str) -> tuple[str, str]:
        if kind == ANSWER:
            return "", self.stops.push(text)
        return "", {OPEN: TAGS[0], CLOSE: TAGS[1]}.get(kind, text)

    def _separate(self, kind: str, text: str) -> tuple[str, str]:
        """Line breaks between the tags and what is said belong to the template, and are left out."""
        if kind in (OPEN, CLOSE):
            self.skips, self.breaks = True, ""
            return "", ""
        if self.skips:
            text = text.lstrip("\n")
            self.skips = not text
        if kind == ANSWER:
            return "", self.stops.push(text)
        text = self.breaks + text
        said = text.rstrip("\n")
        self.breaks = text[len(said) :]
        return said, ""
