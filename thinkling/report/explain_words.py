"""An explanation's tokens and numbers as text, for every drawing of it: terminal, page and picture.

Leaves out the drawings (commands/explain.py, explain_page.py, explain_picture.py).
"""

import math
import unicodedata
from collections.abc import Callable, Iterable

from thinkling.generate.explain import Explanation, Stage
from thinkling.model.tokenizer import Tokenizer
from thinkling.words import counted

MAKER = "thinkling explain"  # written into each drawing, so that only drawings are ever replaced
SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
COIN = math.log(2)  # nats; a token with more entropy is more open than the toss of a coin


def visible(tokenizer: Tokenizer, token: int) -> str:
    """A token's text with spaces, control characters and halves of characters spelt out; "#7" if token 7 has none."""
    shown = with_signs(tokenizer.token_bytes(token).decode(errors="backslashreplace")).replace(" ", "·")
    alone = unicodedata.category(shown[:1] or " ").startswith("M")  # an accent with no letter to stand on
    return "◌" + shown if alone else shown or f"#{token}"


def with_signs(text: str) -> str:
    """Text in one line: no control character gets through, and nothing that changes the direction of writing."""
    return "".join(SIGNS.get(char) or (char if char.isprintable() else spelt(char)) for char in text)


def spelt(char: str) -> str:
    return char.encode("unicode_escape").decode()


def percent(probability: float) -> str:
    """Six characters at most, and never 0% or 100% for what is only nearly so."""
    if 0 < probability < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= probability < 1 else f"{probability:.1%}"


def label(stage: Stage) -> str:
    return stage.name if stage.name == "model" else f"{stage.name} {stage.setting:g}"


def stage_cells(logprobs: Iterable[float]) -> list[str]:
    """A token's probability at each stage; "cut" at the stage that cuts it, nothing after that."""
    cells: list[str] = []
    for logprob in logprobs:
        if logprob > -math.inf:
            cells.append(percent(math.exp(logprob)))
        else:
            cells.append("cut" if cells and cells[-1] not in ("cut", "") else "")
    return cells


def headline(explanation: Explanation, name: Callable[[int], str]) -> tuple[str, str]:
    """What happened, in two sentences: the next token, then the completion."""
    steps, num_left = explanation.steps, explanation.stages[-1].num_left
    greedy = explanation.sampling.temperature == 0
    how = "temperature 0 is greedy: it takes the likeliest" if greedy else f"drawn from {counted(num_left, 'token')}"
    reason = explanation.completion.finish_reason
    why = {"length": "cut by the token limit", "stop": "ended by its stop token"}.get(reason, reason)
    entropy = sum(step.entropy for step in steps) / len(steps)
    num_unlikely = sum(step.rank > 1 for step in steps)
    unlikely = f"; {num_unlikely:,} of them not the likeliest" if num_unlikely else ""
    logprob = round(sum(explanation.completion.logprobs), 2) + 0.0  # never "-0.00"
    return (
        f"Next: “{name(steps[0].token)}” with {percent(steps[0].probability)} ({how}).",
        f"Then: {counted(len(steps), 'token')}, {why}; log-probability {logprob:.2f}, "
        f"mean entropy {entropy:.2f} nats{unlikely}.",
    )
