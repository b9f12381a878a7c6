"""Qwen3's chat template, twice: in plain Python for this package, and in Jinja for the others who read a checkpoint.

Control tokens are pieces of a kind of their own (`Mark`), so that nothing a message says can spell one. Left out:
tools. The templates of other checkpoints: jinja_template.py.
"""

from collections.abc import Sequence

from thinkling.errors import UserError


class Mark(str):
    """A control token in a rendered chat, as opposed to text that happens to read the same."""


START, END, THINK, END_THINK = Mark("<|im_start|>"), Mark("<|im_end|>"), Mark("<think>"), Mark("</think>")

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
