"""A checkpoint's own chat template, in Jinja: rendered in a sandbox, in a process of its own, within time and memory.

The helpers are those that transformers gives a template. What a message says cannot spell a control token: before
rendering, every character that control tokens are made of, letters and digits apart, is put out of reach in it, and
comes back afterwards. An assistant's own <think> tags stay, since templates look for them. Left out: tools.
"""

import atexit
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from thinkling.errors import FatalError, UserError
from thinkling.isolated import Isolated
from thinkling.model.chat_template import END_THINK, THINK, Mark, check_messages

SECONDS, MEMORY, LONGEST = 5.0, 2**30, 4_000_000  # for one chat: time, bytes, and characters that may come out
HIDING_PLACES = range(0xF0000, 0x10FF00, 0x100)  # of private use: no tokenizer and no template gives them a meaning


class JinjaTemplate:
    """text: the template. controls: the names of the control tokens. variables: bos_token and the like."""

    def __init__(self, text: str, controls: Iterable[str], variables: Mapping[str, object]) -> None:
        self.text, self.variables = text, dict(variables)
        letters = sorted({char for name in controls for char in name if not char.isalnum() and not char.isspace()})
        known = [name for name in controls if set(name) & set(letters)]
        longest_first = sorted(known, key=len, reverse=True)
        self.letters = letters
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def pieces(self, messages: Sequence[dict], add_generation_prompt: bool, thinking: bool | None) -> list[str]:
        """The rendered chat, control tokens as `Mark`. Raises UserError where the template fails, or takes too long."""
        check_messages(messages)
        said = "".join(text for message in messages for text in message.values() if isinstance(text, str))
        hide, show = self._hiding(said)
        hidden = [self._hidden(message, hide) for message in messages]
        switches = {"add_generation_prompt": add_generation_prompt}
        if thinking is not None:
            switches["enable_thinking"] = thinking
        text = self._render({"messages": hidden} | self.variables | switches)
        pieces, end = [], 0
        for found in self.pattern.finditer(text):
            pieces += [text[end : found.start()].translate(show), Mark(found[0])]
            end = found.end()
        return [piece for piece in [*pieces, text[end:].translate(show)] if piece]

    def _hiding(self, said: str) -> tuple[dict[int, int], dict[int, int]]:
        """Tables that put the letters of control tokens where no message has anything, and back."""
        taken = {ord(char) >> 8 for char in said}
        place = next((place for place in HIDING_PLACES if place >> 8 not in taken), None)
        if place is None or len(self.letters) > 0x100:
            raise UserError("the message uses every character of private use; remove them")
        hide = {ord(char): place + i for i, char in enumerate(self.letters)}
        return hide, {there: here for here, there in hide.items()}

    @staticmethod
    def _hidden(message: dict, hide: dict[int, int]) -> dict:
        """The message with nothing in it that could spell a control token; but an assistant's own think tags."""
        own = (THINK, END_THINK) if message["role"] == "assistant" else ()
        parts = "|".join(map(re.escape, own)) or r"(?!)"
        hidden = dict(message)
        for key in ("content", "reasoning_content"):
            if isinstance(message.get(key), str):
                split = re.split(f"({parts})", message[key])
                hidden[key] = "".join(part if part in own else part.translate(hide) for part in split)
        return hidden

    def _render(self, variables: dict) -> str:
        call = _child()(self.text, json.dumps(variables))
        if call.ended == "returned":
            return str(call.value)
        why = call.why.removeprefix("TemplateError: ")
        raise FatalError(f"the checkpoint's own chat template failed: {why}")


@cache
def _child() -> Isolated:
    child = Isolated(f"{__name__}:rendered", SECONDS, memory=MEMORY)
    atexit.register(child.close)
    return child


# In the child


def rendered(template: str, variables: str) -> str:
    """The chat, from the template's text and its variables as JSON."""
    text = _compiled(template).render(**json.loads(variables))
    if len(text) > LONGEST:
        raise ValueError(f"it wrote {len(text):,} characters")
    return text


@cache
def _compiled(template: str) -> object:
    from datetime import datetime

    import jinja2.nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} says where the assistant speaks, for those who make masks; here its content is just text."""

        tags = {"generation"}  # noqa: RUF012, as jinja2 has it

        def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: object, ensure_ascii: bool = False, indent: int | None = None, separators: list | None = None,
               sort_keys: bool = False) -> str:  # fmt: skip
        """Jinja's own would escape HTML."""
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda wanted: datetime.now().strftime(wanted),
    }
    return environment.from_string(template)
