"""What a model is taught by example: rows of a file as conversations, each with the reply that is learnt.

A row is one of three forms. `messages`, the field's chat format: turns of role and content, an assistant's thinking in
`reasoning_content` or in <think> tags at the start of its content; every assistant turn is a record of its own, with
what stands before it. `question` and `response`, as our own files have them (also `solution`, and GSM8K's `answer` with
its ####). The records of Raschka's book: `problem`, `message_thinking`, `message_content`, `gtruth_answer`. With a
reference answer a row can be verified. Left out: tools, and content that is no text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thinkling.errors import UserError
from thinkling.model.chat_template import END_THINK, THINK, check_messages
from thinkling.problem import Problem
from thinkling.tasks.benchmarks import problem_of, rows_of

REPLIES = ("response", "message_content", "solution")  # of the two forms without messages, in this order
TAG = re.compile(f"{THINK}|{END_THINK}")


@dataclass(frozen=True)
class Record:
    """One reply, and the turns before it.

    row: its place in the file, from 1. form: which of the three. messages: the turns before the reply, the last one a
    user's. thinking: "" for a reply without. content: what is said after it. problem: what its verifier judges by,
    None where the row has no reference.
    """

    row: int
    form: str
    messages: tuple[dict[str, str], ...]
    thinking: str
    content: str
    problem: Problem | None = None

    @property
    def question(self) -> str:
        """All that the reply answers, as one text: what tells records of one problem from those of another."""
        return "\n".join(message["content"] for message in self.messages)

    @property
    def response(self) -> str:
        """Thinking and answer as one text, as a model without chat template writes it."""
        if not self.thinking:
            return self.content
        return f"{THINK}\n{self.thinking}\n{END_THINK}\n\n{self.content}"


def load_records(path: Path) -> list[Record]:
    """Every record of a .jsonl or .json file, in order. Raises UserError naming the row that is none, and why."""
    found = [record for row, own in enumerate(rows_of(path), start=1) for record in records_of(path, row, own)]
    if not found:
        raise UserError(f"{path}: no records in this file")
    return found


def records_of(path: Path, row: int, fields: dict[str, Any]) -> Iterator[Record]:
    where = f"{path}, row {row}"
    if "messages" in fields:
        yield from conversation(path, row, fields)
        return
    form = "the book's" if "message_content" in fields else "question and response"
    question = fields.get("question", fields.get("problem"))
    if not isinstance(question, str) or not question.strip():
        raise UserError(f"{where}: neither 'messages' nor a 'question' (or 'problem'); it has {sorted(fields)}")
    reply = next((fields[name] for name in REPLIES if fields.get(name)), None)
    if reply is None and "####" in str(fields.get("answer")):
        reply = fields["answer"]
    if not isinstance(reply, str) or not reply.strip():
        raise UserError(f"{where}: no reply to learn: it needs 'messages', 'response', 'message_content' or 'solution'")
    thinking, content = split_reply(where, reply, fields.get("message_thinking"))
    yield Record(row, form, (turn("user", question),), thinking, content, judged_by(path, row, fields, question))


def conversation(path: Path, row: int, fields: dict[str, Any]) -> Iterator[Record]:
    """One record for each assistant's turn of a row with `messages`."""
    where, messages = f"{path}, row {row}", fields["messages"]
    if not isinstance(messages, list):
        raise UserError(f"{where}: 'messages' must be a list of turns, not {type(messages).__name__}")
    try:
        check_messages(messages)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if messages[-1]["role"] != "assistant":
        raise UserError(f"{where}: the last turn is the {messages[-1]['role']}'s, so there is no reply to learn")
    before: list[dict[str, str]] = []
    for number, message in enumerate(messages, start=1):
        own = {name: value for name, value in message.items() if name in ("role", "content", "reasoning_content")}
        if message["role"] == "assistant":
            if not before or before[-1]["role"] != "user":
                raise UserError(f"{where}: turn {number} is the assistant's, but what stands before it is no user's")
            place = f"{where}, turn {number}"
            thinking, content = split_reply(place, message["content"], message.get("reasoning_content"))
            last = number == len(messages)
            problem = judged_by(path, row, fields, before[-1]["content"]) if last else None
            yield Record(row, "messages", tuple(before), thinking, content, problem)
        before.append({name: value for name, value in own.items() if isinstance(value, str)})


def split_reply(where: str, content: str, thinking: object) -> tuple[str, str]:
    """(thinking, what is said after it). Raises UserError where think tags are not well formed."""
    if isinstance(thinking, str) and thinking.strip():
        if TAG.search(thinking) or TAG.search(content):
            raise UserError(f"{where}: has its thinking in a field and {THINK} tags as well: remove the tags")
        return thinking.strip("\n"), content.strip()
    why = tags_complaint(content)
    if why is not None:
        raise UserError(f"{where}: {why}")
    if THINK not in content:
        return "", content.strip()
    inside, _, rest = content.partition(END_THINK)
    return inside.partition(THINK)[2].strip("\n"), rest.strip()


def tags_complaint(text: str) -> str | None:
    """What is wrong with the think tags of a reply, or None: there is none, or one pair that opens at the start."""
    tags = TAG.findall(text)
    if not tags:
        return None
    if tags != [THINK, END_THINK]:
        return f"the think tags are not one pair but {' '.join(tags[:4])}"
    if text.partition(THINK)[0].strip():
        return f"something stands before {THINK}"
    if not text.partition(END_THINK)[2].strip():
        return f"nothing stands after {END_THINK}"
    return None


def judged_by(path: Path, row: int, fields: dict[str, Any], question: str) -> Problem | None:
    """The problem that a row's verifier judges by; None without a reference."""
    reference = fields.get("reference", fields.get("gtruth_answer", fields.get("answer")))
    if reference is None and "verifier" not in fields:
        return None
    return problem_of(path, row, {**fields, "question": question, "reference": reference})


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def chat_row(messages: Sequence[dict[str, str]], response: str, **more: object) -> dict[str, object]:
    """A row of a file in the chat format: the turns, the response with its thinking in a field, and what else is
    known of it. Raises UserError for think tags that are not well formed."""
    thinking, content = split_reply("the response", response, None)
    reply = turn("assistant", content) | ({"reasoning_content": thinking} if thinking else {})
    return {"messages": [*messages, reply], **more}
