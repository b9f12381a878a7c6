"""Qwen3's chat template, twice: in plain Python for this package, and in Jinja for the others who read a checkpoint.

Control tokens are pieces of a kind of their own (`Mark`), so that nothing a message says can spell one. Left out:
tools. The templates of other checkpoints: jinja_template.py.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import groupby

from thinkling.errors import UserError


class Mark(str):
    """A control token in a rendered chat, as opposed to text that happens to read the same."""


START, END, THINK, END_THINK = Mark("<|im_start|>"), Mark("<|im_end|>"), Mark("<think>"), Mark("</think>")

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))

# What transformers, vLLM and llama.cpp render for a checkpoint of ours; a test holds it to `render_chat`.
JINJA = r"""{%- set seen = namespace(query=messages|length - 1) %}
{%- for message in messages %}
    {%- set answers = message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>') %}
    {%- if message.role == 'user' and not answers %}
        {%- set seen.query = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set thinking, content = '', message.content %}
    {%- if message.role == 'assistant' %}
        {%- if message.reasoning_content is string %}
            {%- set thinking = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thinking = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > seen.query and (thinking or loop.last) %}
            {%- set content = '<think>\n' + thinking.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') %}
        {%- endif %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""


def render_chat(
    messages: Sequence[dict], add_generation_prompt: bool = True, enable_thinking: bool | None = None
) -> str:
    """The chat as Qwen3's published template writes it, for reading; the model gets `Tokenizer.encode_chat`."""
    return "".join(chat_pieces(messages, add_generation_prompt, enable_thinking))


def chat_pieces(messages: Sequence[dict], add_generation_prompt: bool, enable_thinking: bool | None) -> list[str]:
    """The rendered chat in pieces, control tokens as `Mark`.

    messages: {"role": "system" | "user" | "assistant", "content": str}, and for an assistant perhaps
    "reasoning_content". The thinking of turns before the last question is dropped; later it is kept. With
    `enable_thinking=False` the reply starts with thinking that is empty and closed.
    """
    check_messages(messages)
    queries = [i for i, message in enumerate(messages) if _is_query(message)]
    last_query = queries[-1] if queries else len(messages) - 1
    pieces: list[str] = []
    for i, message in enumerate(messages):
        pieces += [START, message["role"] + "\n"]
        content = message["content"]
        if message["role"] == "assistant":
            thinking, content = _split_reply(message)
            is_last = i == len(messages) - 1
            if i > last_query and (thinking or is_last):
                pieces += [THINK, "\n" + thinking.strip("\n") + "\n", END_THINK, "\n\n"]
                content = content.lstrip("\n")
        pieces += [content, END, "\n"]
    if add_generation_prompt:
        pieces += [START, "assistant\n"]
        if enable_thinking is False:
            pieces += [THINK, "\n\n", END_THINK, "\n\n"]
    return pieces


def check_messages(messages: Sequence[dict]) -> None:
    """Raises UserError naming the message that no template can hold."""
    for number, message in enumerate(messages, start=1):
        _check_message(message, number)
    if not messages:
        raise UserError("a chat needs at least one message")


def _check_message(message: dict, number: int) -> None:
    if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
        role = message.get("role") if isinstance(message, dict) else message
        raise UserError(f"message {number}: the role must be system, user or assistant, not {role!r}")
    if not isinstance(message.get("content"), str):
        raise UserError(f"message {number}: the content must be text, not {type(message.get('content')).__name__}")


def _is_query(message: dict) -> bool:
    """A tool's answer, handed over as the user's turn, asks nothing new: the template thinks on after it."""
    content = message["content"]
    answers = content.startswith("<tool_response>") and content.endswith("</tool_response>")
    return message["role"] == "user" and not answers


def _split_reply(message: dict) -> tuple[str, str]:
    """(thinking, answer) of an assistant's message, from `reasoning_content` or from <think> in the content."""
    content = message["content"]
    if isinstance(message.get("reasoning_content"), str):
        return message["reasoning_content"], content
    if END_THINK not in content:
        return "", content
    parts = content.split(END_THINK)
    return parts[0].rstrip("\n").split(THINK)[-1].lstrip("\n"), parts[-1].lstrip("\n")


def settled(pieces: Sequence[str], added: Mapping[str, Mapping]) -> list[str]:
    """The pieces as the `tokenizers` library would find their marks in the text, by what tokenizer.json says of its
    added tokens (`added`, by content): a mark takes in the spaces before it (lstrip) and behind it (rstrip), and is
    plain text where it is unknown, or touches a word though it should stand alone (single_word). Texts that meet are
    joined, since a BPE may merge across the seam."""
    found = [Mark(piece) if _stands(i, pieces, added) else str(piece) for i, piece in enumerate(pieces)]
    joined: list[str] = []
    for kind, group in groupby(found, type):
        run = list(group)
        joined += run if kind is Mark else ["".join(run)]
    for i, piece in enumerate(joined):
        if type(piece) is str:
            after, before = (joined[k] if 0 <= k < len(joined) else "" for k in (i - 1, i + 1))
            piece = piece.lstrip(SPACES) if added.get(after, {}).get("rstrip") else piece
            joined[i] = piece.rstrip(SPACES) if added.get(before, {}).get("lstrip") else piece
    return [piece for piece in joined if piece]


def _stands(i: int, pieces: Sequence[str], added: Mapping[str, Mapping]) -> bool:
    if type(pieces[i]) is not Mark or pieces[i] not in added:
        return False
    if not added[pieces[i]].get("single_word"):
        return True
    return not (_in_word("".join(pieces[:i])[-1:]) or _in_word("".join(pieces[i + 1 :])[:1]))


def _in_word(char: str) -> bool:
    kind = unicodedata.category(char) if char else "Zs"
    return kind[0] in "LM" or kind in ("Nd", "Nl", "Pc") or char in ("\u200c", "\u200d")
