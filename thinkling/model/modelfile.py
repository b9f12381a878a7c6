"""An Ollama Modelfile for a GGUF file: the chat template in Ollama's own language, stop tokens, sampling parameters.

Ollama writes templates in Go's language, a checkpoint has Jinja. What most templates do is to put something before and
behind each message, by its role: that much is found by asking the template itself, and compared with it on a longer
chat. A template that does more (tools, thinking dropped from old turns) is written as far as it is so; one that is not
so at all is left to Ollama, which reads the Jinja in the GGUF file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thinkling.errors import UserError
from thinkling.model.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
NAMES = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p",
         "repetition_penalty": "repeat_penalty"}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """before: by role, what stands before a message. behind: any message. head: what a chat begins with that has no
    system message. reply: what the model's reply follows."""

    before: Mapping[str, str]
    behind: str
    head: str
    reply: str

    def render(self, roles: Sequence[str]) -> str:
        """A chat of such messages, each of which says its role."""
        head = "" if roles[0] == "system" else self.head
        return head + "".join(f"{self.before[role]}{mark(role)}{self.behind}" for role in roles) + self.reply


def modelfile(gguf: str, tokenizer: Tokenizer, context: int, sampling: Mapping[str, float]) -> str:
    """gguf: the file's name, beside which the Modelfile stands. context: tokens. sampling: as generation_config.json
    recommends, {} for greedy."""
    lines = [f"FROM ./{gguf}"]
    frame = frame_of(tokenizer)
    if frame is not None:
        lines.append(f'TEMPLATE """{go_template(frame)}"""')
    elif tokenizer.template is not None:
        lines.append("# No TEMPLATE: the model's is more than words around messages; Ollama reads the file's own.")
    else:
        lines.append('TEMPLATE """{{ .Prompt }}"""')
    lines += [
        f'PARAMETER stop "{name}"' for token in tokenizer.stop_ids if (name := tokenizer.backend.id_to_token(token))
    ]
    lines += [f"PARAMETER {NAMES[name]} {value:g}" for name, value in (sampling or {"temperature": 0}).items()]
    return "\n".join([*lines, f"PARAMETER num_ctx {context}"]) + "\n"


def frame_of(tokenizer: Tokenizer) -> Frame | None:
    """What the template puts around messages; None where it does something else."""
    if tokenizer.template is None:
        return None

    def chat(*roles: str, reply: bool = True) -> str:
        return "".join(tokenizer.chat_pieces([{"role": role, "content": mark(role)} for role in roles], reply, None))

    told = (*ROLES, "user"), ("user", "assistant", "user")
    try:
        whole, closed, short = chat(*told[0]), chat(*told[0], reply=False), chat("user", reply=False)
        wanted = [chat(*roles) for roles in told]
    except UserError:  # roles that the template does not take
        return None
    between = _between(whole, [mark(role) for role in told[0]])
    alone = _between(short, [mark("user")])
    if between is None or alone is None or not whole.startswith(closed):
        return None
    behind = alone[1]
    user, assistant = between[1].removeprefix(behind), between[2].removeprefix(behind)
    frame = Frame({"system": between[0], "user": user, "assistant": assistant}, behind, alone[0].removesuffix(user),
                  whole[len(closed) :])  # fmt: skip
    words = (*frame.before.values(), behind, frame.head, frame.reply)
    plain = not any('"""' in word or "{{" in word for word in words)
    return frame if plain and [frame.render(roles) for roles in told] == wanted else None


def mark(role: str) -> str:
    return f"@{role}@"


def _between(text: str, marks: Sequence[str]) -> list[str] | None:
    """What stands before, between and behind the marks, if they stand there in order."""
    found = []
    for own in marks:
        before, there, text = text.partition(own)
        if not there:
            return None
        found.append(before)
    return [*found, text]


def go_template(frame: Frame) -> str:
    tests = [f'{{{{ {"else " if place else ""}if eq .Role "{role}" }}}}' for place, role in enumerate(ROLES)]
    turns = [
        f"{test}{frame.before[role]}{{{{ .Content }}}}{frame.behind}" for test, role in zip(tests, ROLES, strict=True)
    ]
    head = f'{{{{ if ne (index .Messages 0).Role "system" }}}}{frame.head}{{{{ end }}}}' if frame.head else ""
    return f"{head}{{{{ range .Messages }}}}{''.join(turns)}{{{{ end }}}}{{{{ end }}}}{frame.reply}"
