"""What a file of examples holds, counted: forms, lengths, answers that are right. Leaves out how it is shown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.scale.failures import Failure
from thinkling.train.sft.records import Record
from thinkling.verify.verifier import verify

SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)
WINDOWS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True)
class Window:
    """A cut at so many tokens of reply: kept, the share of the records that it leaves; right, rights of those left and
    of those gone, as shares of what could be verified (None where nothing could)."""

    tokens: int
    kept: float
    right: float | None
    right_gone: float | None


@dataclass(frozen=True)
class Stats:
    """records, questions (different ones), repeated (records with question and reply of an earlier one), forms, with
    thinking, with more than one turn before the reply; prompt, reply: lengths in tokens at SHARES of the records.

    verified: could be; right: of those. windows: what a cut in length would remove. unusable: no example.
    """

    records: int
    questions: int
    repeated: int
    forms: dict[str, int]
    with_thinking: int
    with_turns: int
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    verified: int
    right: int
    windows: tuple[Window, ...]
    unusable: int


def is_right(record: Record) -> bool | None:
    """Is the reply's answer right? None where nothing says what is."""
    return verify(record.problem, record.response, "strict").correct if record.problem else None


def stats_of(pairs: Sequence[tuple[Record, Completion]], failures: Sequence[Failure]) -> Stats:
    records = [record for record, _ in pairs]
    verdicts = [is_right(record) for record in records]
    lengths = [len(example.tokens) for _, example in pairs]
    replies = Counter((record.question, record.response) for record in records)
    known = [verdict for verdict in verdicts if verdict is not None]
    longest = max(lengths)
    tried = [tokens for tokens in WINDOWS if tokens < longest]
    return Stats(
        len(records), len({record.question for record in records}), len(records) - len(replies),
        dict(Counter(record.form for record in records)), sum(bool(record.thinking) for record in records),
        sum(len(record.messages) > 1 for record in records),
        at_shares([len(example.prompt_tokens) for _, example in pairs]), at_shares(lengths),
        len(known), sum(known), tuple(window(tokens, lengths, verdicts) for tokens in tried), len(failures),
    )  # fmt: skip


def window(tokens: int, lengths: Sequence[int], verdicts: Sequence[bool | None]) -> Window:
    sides: tuple[list[bool], list[bool]] = ([], [])
    for length, verdict in zip(lengths, verdicts, strict=True):
        if verdict is not None:
            sides[length > tokens].append(verdict)
    right, gone = (fmean(side) if side else None for side in sides)
    return Window(tokens, fmean(length <= tokens for length in lengths), right, gone)


def at_shares(values: Sequence[int]) -> tuple[int, ...]:
    """The values at SHARES of the way from the smallest to the largest."""
    ordered = sorted(values)
    return tuple(ordered[round(share * (len(ordered) - 1))] for share in SHARES)


def spans(model: Model, example: Completion) -> list[tuple[str, bool]]:
    """The example as text in pieces, each with whether it is trained; a token is a piece, the prompt is one."""
    tokenizer = model.tokenizer
    found = [(tokenizer.decode(example.prompt_tokens), False)]
    waiting: list[int] = []
    for token in example.tokens:  # a character may be spread over several tokens
        waiting.append(token)
        text = tokenizer.decode(waiting)
        if not text.endswith("�"):
            found.append((text, True))
            waiting = []
    return [*found, (tokenizer.decode(waiting), True)] if waiting else found
