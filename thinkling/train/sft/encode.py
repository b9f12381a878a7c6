"""A record as the completion that sampling would have drawn: the prompt's tokens, and behind them those to be learnt.

What is trained is what a model must later produce itself, no token more or less: the prompt is the one that `eval` and
`chat` ask with (template and think prefix included), the reply ends with its stop token, and what the template writes
behind that is left out. Tokens are told apart by position, never by value. Where the checkpoint's chat template writes
something else for such a conversation than the prompt and this reply, that is an error.
"""

from collections.abc import Sequence

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.model.chat_template import END_THINK, THINK, Mark
from thinkling.model.tokenizer import Tokenizer
from thinkling.scale.failures import Failure
from thinkling.scale.prompts import CHATS, prompt_of
from thinkling.train.sft.records import Record

END_OF_TEXT = Mark("<|endoftext|>")


def example_of(model: LanguageModel, record: Record, template: str) -> Completion:
    """The record as a completion, without log-probabilities; its text is the reply's.

    template: `chat-thinking` asks with thinking where the record has some and without where it has none; `chat` leaves
    all thinking out; every other one puts a single question, and thinking stays in tags. Raises UserError where the
    record does not go with the template, or is longer than the model's context.
    """
    tokenizer = model.tokenizer
    if template in CHATS:
        thinking = record.thinking if CHATS[template] else ""
        prompt = model.chat_prompt(list(record.messages), bool(thinking))
        pieces = chat_reply(tokenizer, record, thinking)
    else:
        if [message["role"] for message in record.messages] != ["user"]:
            raise UserError(f"{len(record.messages)} turns stand before the reply, but --template {template} holds one "
                            "question: use --template chat or chat-thinking")  # fmt: skip
        prompt = prompt_of(model, template, record.question)
        pieces = plain_reply(tokenizer, record)
    tokens = tokenizer.encode_pieces(pieces)
    room, length = model.engine.max_length, len(prompt) + len(tokens)
    if length > room:
        raise UserError(f"it is {length:,} tokens long, but the context holds {room:,}: raise --max-length")
    return Completion(tuple(prompt), tuple(tokens), (), "stop", model.text_of(tokens))


def examples_of(
    model: LanguageModel, records: Sequence[Record], template: str
) -> tuple[list[tuple[Record, Completion]], list[Failure]]:
    """The records with their examples, and those that have none, each with the reason."""
    found, failures = [], []
    for record in records:
        try:
            found.append((record, example_of(model, record, template)))
        except UserError as error:
            name = record.problem.id if record.problem else record.question[:40]
            failures.append(Failure(name, record.question, record.row, str(error)))
    return found, failures


def plain_reply(tokenizer: Tokenizer, record: Record) -> list[str]:
    """A reply to a plain prompt: its text, think tags as control tokens where there are such, and the end."""
    names = [END_OF_TEXT, *(tokenizer.backend.id_to_token(token) for token in tokenizer.stop_ids)]
    end = next(name for name in names if name and tokenizer.special_id(name) in tokenizer.stop_ids)
    if not record.thinking:
        return [record.content, Mark(end)]
    return [THINK, f"\n{record.thinking}\n", END_THINK, f"\n\n{record.content}", Mark(end)]


def chat_reply(tokenizer: Tokenizer, record: Record, thinking: str) -> list[str]:
    """What the chat template writes behind the prompt, up to the stop token.

    A template that drops the thinking of a turn that is over still has the model think: then the thinking is put in
    front of the answer in the form that all common templates have. Raises UserError where the two do not fit together.
    """
    before, asked = list(record.messages), bool(thinking)
    reply = {"role": "assistant", "content": record.content}
    whole = reply | ({"reasoning_content": thinking} if thinking else {})
    prompt = tokenizer.chat_pieces(before, True, asked)
    full = tokenizer.chat_pieces([*before, whole], False, asked)
    rest = cut_behind_stop(tokenizer, behind(full, prompt))
    if rest is not None and holds(rest, record.content) and holds(rest, thinking):
        return rest
    if thinking and not holds(full, thinking):
        stop = next((piece for piece in reversed(full) if is_stop(tokenizer, piece)), None)
        if stop is not None:
            opened = [] if "".join(prompt).rstrip().endswith(THINK) else [THINK, "\n"]
            return [*opened, f"{thinking}\n", END_THINK, f"\n\n{record.content}", stop]
    raise UserError(disagreement(tokenizer, full, prompt, asked))


def disagreement(tokenizer: Tokenizer, full: Sequence[str], prompt: Sequence[str], asked: bool) -> str:
    """Why the reply is not what the template writes behind the prompt, in a line."""
    whole, begun = "".join(full), "".join(prompt)
    if behind(full, prompt) is None:
        shared = (i for i in range(min(len(whole), len(begun))) if whole[i] != begun[i])
        place = next(shared, min(len(whole), len(begun)))
        asked_how = "with" if asked else "without"
        return (f"data and template disagree: asked {asked_how} thinking, the prompt goes on with "
                f"{begun[place : place + 40]!r}, where the conversation with its reply has "
                f"{whole[place : place + 40]!r}")  # fmt: skip
    if not any(is_stop(tokenizer, piece) for piece in behind(full, prompt)):
        return f"data and template disagree: no stop token stands behind the reply, which ends in {whole[-40:]!r}"
    return f"data and template disagree: the template does not write all of the reply, but ...{whole[-60:]!r}"


def behind(full: Sequence[str], prompt: Sequence[str]) -> list[str] | None:
    """The pieces of `full` behind `prompt`, None where it does not begin so. Adjacent texts count as one."""
    full, prompt = merged(full), merged(prompt)
    if not prompt:
        return full
    *head, last = prompt
    same = len(full) >= len(prompt) and all(alike(a, b) for a, b in zip(full, head, strict=False))
    if not same:
        return None
    at = full[len(head)]
    if isinstance(last, Mark) or isinstance(at, Mark):
        return full[len(prompt) :] if alike(at, last) else None
    if not at.startswith(last):
        return None
    return [piece for piece in [at[len(last) :], *full[len(prompt) :]] if piece]


def merged(pieces: Sequence[str]) -> list[str]:
    found: list[str] = []
    for piece in pieces:
        if found and piece and not isinstance(piece, Mark) and not isinstance(found[-1], Mark):
            found[-1] += piece
        elif piece:
            found.append(piece)
    return found


def alike(one: str, other: str) -> bool:
    return one == other and isinstance(one, Mark) == isinstance(other, Mark)


def holds(pieces: Sequence[str], text: str) -> bool:
    return text.strip() in "".join(pieces)


def is_stop(tokenizer: Tokenizer, piece: str) -> bool:
    return isinstance(piece, Mark) and tokenizer.special_id(piece) in tokenizer.stop_ids


def cut_behind_stop(tokenizer: Tokenizer, pieces: Sequence[str] | None) -> list[str] | None:
    """The pieces up to the first stop token; None where there is none."""
    ends = [i for i, piece in enumerate(pieces or []) if is_stop(tokenizer, piece)]
    return list(pieces[: ends[0] + 1]) if ends else None
