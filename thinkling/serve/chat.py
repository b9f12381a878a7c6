"""A conversation in the terminal, thinking dimmed, answers plain.

The conversation is kept as whole turns. When it no longer fits into the context, the oldest turns go, never the end of
one. Ctrl+C stops the reply that is being written, Ctrl+D ends the chat. Arrow keys edit the line and bring back earlier
ones. In a pipe, each line that comes in is a message, and only replies go out.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile

from rich.console import Console
from rich.text import Text

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.thinking import TAGS, TaggedText, split_thinking
from thinkling.model.tokenizer import StreamDecoder, Tokenizer
from thinkling.model.weights import builtin_names
from thinkling.serve.wrapping import WrappedStream

HELP = "/reset forgets the conversation, /think and /no_think switch thinking, /quit ends."


@dataclass
class Conversation:
    """The turns so far, and whether the model may think before the next one."""

    thinking: bool
    messages: list[dict] = field(default_factory=list)

    def prompt(self, model: LanguageModel, reserve: int) -> list[int]:
        """The tokens of as many of the latest turns as leave room for `reserve` tokens of reply."""
        room = model.engine.max_length - reserve
        while True:
            tokens = model.tokenizer.encode_chat(self.messages, enable_thinking=self.thinking)
            if len(tokens) <= room:
                return tokens
            if len(self.messages) < 3:  # only the question itself is left
                raise UserError(f"your message is {len(tokens)} tokens long, but only {max(0, room)} fit: shorten it")
            del self.messages[:2]  # the oldest question with its answer


def reply(model: LanguageModel, prompt: list[int], sampling: Sampling, console: Console) -> str:
    """Write the reply as it comes, thinking dimmed; returns the answer without it. They are told apart by token id, or
    by the tags where the model has no tokens for them."""
    tokenizer, written, tokens, answer = model.tokenizer, WrappedStream(console), [], ""
    opened = tokenizer.opens_thinking(prompt)
    pieces = by_id if tokenizer.has_think_tokens else by_tags
    with closing(model.stream_tokens(prompt, sampling)) as drawn:
        until_stop = takewhile(lambda token: token not in tokenizer.stop_ids, drawn)
        for text, thinking in pieces(tokenizer, noted(until_stop, tokens), opened):
            written.write(text, "dim italic" if thinking else "")
            answer += "" if thinking else text
    written.end()
    if tokenizer.has_think_tokens:
        begin, end = map(tokenizer.special_id, TAGS)
        answer = tokenizer.decode(split_thinking(tokens, begin, end, opened).answer)
    return answer.strip()


def noted(tokens: Iterable[int], kept: list[int]) -> Iterator[int]:
    for token in tokens:
        kept.append(token)
        yield token


def by_id(tokenizer: Tokenizer, tokens: Iterable[int], opened: bool) -> Iterator[tuple[str, bool]]:
    """Text as it comes, and whether it is thinking: of a model that has tokens for both tags."""
    begin, end = map(tokenizer.special_id, TAGS)
    decoder, thinking = StreamDecoder(tokenizer), opened
    for token in tokens:
        if token in (begin, end):
            thinking = token == begin
        else:
            yield decoder.push(token), thinking
    yield decoder.finish(), thinking


def by_tags(tokenizer: Tokenizer, tokens: Iterable[int], opened: bool) -> Iterator[tuple[str, bool]]:
    """The same of a model that writes the tags as text, if it thinks at all."""
    decoder, tagged = StreamDecoder(tokenizer, skip_special=True), TaggedText(opened)
    for token in tokens:
        yield from tagged.push(decoder.push(token))
    yield from tagged.push(decoder.finish())
    yield from tagged.finish()


def greeting(name: str) -> str:
    """Whom one talks to, and what it can be asked."""
    if name in builtin_names():
        return f'{name} knows small mathematics problems and nothing else: ask it "What is 12 * 34?".'
    return f"This is {name}."


def typed() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def messages() -> Iterator[str]:
    """What the user says, until the end: typed, with editing and history, or the lines of a pipe."""
    if not typed():
        yield from (line.strip() for line in sys.stdin)
        return
    from prompt_toolkit import PromptSession  # slow to import, and of no use in a pipe
    from prompt_toolkit.formatted_text import FormattedText

    session = PromptSession(FormattedText([("", "\n"), ("bold", "you> ")]))
    while True:
        try:
            yield session.prompt().strip()
        except (EOFError, KeyboardInterrupt):
            return


def talk(model: LanguageModel, sampling: Sampling, thinking: bool) -> None:
    """Talk until the person ends it. Raises UserError where the context has no room for a question."""
    if sampling.max_tokens >= model.engine.max_length:
        raise UserError(f"--max-tokens {sampling.max_tokens} leaves no room for a question in a context of "
                        f"{model.engine.max_length}: lower it, or raise --max-length")  # fmt: skip
    console, conversation = Console(), Conversation(thinking)
    if typed():
        console.print(Text(greeting(model.name), "bold"))
        console.print(HELP, highlight=False)
    for said in messages():
        if said in ("/quit", "/exit"):
            return
        if said in ("/think", "/no_think"):
            conversation.thinking = said == "/think"
        elif said == "/reset":
            conversation.messages.clear()
        elif said.startswith("/"):
            console.print(HELP, highlight=False)
        elif said:
            conversation.messages.append({"role": "user", "content": said})
            turn = replace(sampling, seed=derive_seed(sampling.seed, len(conversation.messages)))
            try:
                answer = reply(model, conversation.prompt(model, sampling.max_tokens), turn, console)
            except UserError as error:
                console.print(Text(str(error), "red"))
                conversation.messages.pop()
            except KeyboardInterrupt:
                console.print(" (stopped)")
                conversation.messages.pop()
            else:
                conversation.messages.append({"role": "assistant", "content": answer})
