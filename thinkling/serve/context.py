"""What of a chat fits into the model's context: whole turns go, the oldest first; the system's message stays.

The thinking of turns before the last question is removed: it is long, and templates drop it anyway. A message that
cannot fit is refused with numbers. Left out: summaries of what was dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.chat_template import END_THINK, THINK, Mark


@dataclass(frozen=True)
class Chat:
    """The messages of a chat. thinking: may the model think? begun, begun_thinking: how the assistant's reply begins,
    where the request says it; None for one that does not. Thinking that begins and has no answer yet goes on."""

    messages: tuple[dict, ...]
    thinking: bool = True
    begun: str | None = None
    begun_thinking: str | None = None


@dataclass(frozen=True)
class Fitted:
    """tokens: the prompt. dropped: how many turns did not fit."""

    tokens: list[int]
    dropped: int


def fitted(model: LanguageModel, chat: Chat, room: int, drop: bool = True) -> Fitted:
    """The chat as a prompt of at most `room` tokens. drop: may turns be left out?

    Raises UserError with the numbers where it does not fit.
    """
    system, turns = turns_of(without_old_thinking(chat.messages))
    first = len(turns) - 1 if drop else 0
    longest = 4 * model.engine.max_length * model.tokenizer.longest  # characters; see LanguageModel._check_size
    kept, size = len(turns), 0
    while kept > 0 and (size := size + sum(len(message["content"]) for message in turns[kept - 1])) <= longest:
        kept -= 1  # what is longer than this cannot fit, and need not be made into tokens
    low, high = (min(kept, first), first) if drop else (0, 0)
    tokens = prompt_tokens(model, system + flat(turns[high:]), chat)
    if len(tokens) > room:
        raise too_long(len(tokens), room, drop)
    best = high
    while low < best:  # the more turns are dropped, the shorter is the prompt
        middle = (low + best) // 2
        tried = prompt_tokens(model, system + flat(turns[middle:]), chat)
        if len(tried) <= room:
            best, tokens = middle, tried
        else:
            low = middle + 1
    return Fitted(tokens, best)


def too_long(length: int, room: int, dropped: bool) -> UserError:
    what = "the last message, with the system's," if dropped else "the chat"
    return UserError(f"{what} is {length:,} tokens long, but only {max(0, room):,} fit beside the reply: shorten it, "
                     "or ask for fewer tokens")  # fmt: skip


def prompt_tokens(model: LanguageModel, messages: Sequence[dict], chat: Chat) -> list[int]:
    prompt = model.chat_prompt(list(messages), chat.thinking)
    if chat.begun_thinking is not None:
        pieces = [Mark(THINK), "\n" + chat.begun_thinking.strip("\n")]
        opens = model.tokenizer.opens_thinking(prompt)
        pieces = pieces[1:] if opens else pieces
        if chat.begun is not None:
            pieces += ["\n", Mark(END_THINK), "\n\n", chat.begun]
        return [*prompt, *model.tokenizer.encode_pieces(pieces)]
    return [*prompt, *model.tokenizer.encode(chat.begun)] if chat.begun else prompt


def turns_of(messages: Sequence[dict]) -> tuple[list[dict], list[list[dict]]]:
    """The system's messages at the start, and the turns: each a question with the replies behind it."""
    start = next((i for i, message in enumerate(messages) if message["role"] != "system"), len(messages))
    turns: list[list[dict]] = []
    for message in messages[start:]:
        if message["role"] == "assistant" and turns:
            turns[-1].append(message)
        else:
            turns.append([message])
    return list(messages[:start]), turns or [[]]


def flat(turns: Sequence[Sequence[dict]]) -> list[dict]:
    return [message for turn in turns for message in turn]


def without_old_thinking(messages: Sequence[dict]) -> list[dict]:
    """The messages, and of the assistant's before the last question only the answers."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "user"), default=-1)
    return [answer_only(m) if m["role"] == "assistant" and i < last else m for i, m in enumerate(messages)]


def answer_only(message: dict) -> dict:
    """An assistant's message without its thinking, kept apart or behind tags."""
    content = message["content"]
    if "reasoning_content" not in message and END_THINK in content:
        content = content.rpartition(END_THINK)[2].lstrip("\n")
    return {"role": "assistant", "content": content}
