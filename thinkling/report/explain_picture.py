"""An explanation as a PNG: one panel of bars for each stage of the next token, and under them the completion.

Leaves out how tokens and numbers are put as text (explain_words.py).
"""

import contextlib
import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

from thinkling.generate.explain import DrawnToken, Explanation
from thinkling.model.tokenizer import Tokenizer
from thinkling.report.explain_words import COIN, MAKER, headline, label, percent, stage_cells, visible, with_signs
from thinkling.report.palette import LIGHT as COLOURS
from thinkling.words import counted

DRAWN_STEPS = 200  # so many tokens of the completion are drawn, at most
UNFIT = ("Noto Color Emoji", "Last Resort High-Efficiency")  # cannot be drawn, or has a box for every character
PANEL, LIMIT = (
    0.24,
    1.45,
)  # the widest panel, as a share of the picture; its scale: probability 1, and room for a number
NAME_LENGTH = 18  # so many characters of a token
PROMPT_END = 110  # so many characters of the prompt


def png(explanation: Explanation, tokenizer: Tokenizer) -> bytes:
    """The picture's bytes. A character that no font here can draw stands as its code point, [U+4E2D]."""
    from matplotlib import rc_context  # slow to import, so only once a picture is drawn
    from matplotlib.figure import Figure

    def name(token: int) -> str:
        text = visible(tokenizer, token)
        return text if len(text) <= NAME_LENGTH else text[: NAME_LENGTH - 1] + "…"

    steps, candidates = explanation.steps[:DRAWN_STEPS], explanation.candidates
    prompt = with_signs(tokenizer.decode(explanation.completion.prompt_tokens))
    told = [
        f"Prompt: {prompt if len(prompt) <= PROMPT_END else '…' + prompt[-PROMPT_END:]}",
        *headline(explanation, name),
    ]
    if len(steps) < len(explanation.steps):
        told[2] += f" Drawn are the first {len(steps)}."
    shown = {step.token for step in steps} | {other for step in steps for other, _ in step.alternatives}
    shown |= {candidate.token for candidate in candidates}
    families, unknown = fonts_for("".join([*told, *map(name, shown)]))

    heights = [0.95, 0.65, 0.24 * len(candidates), 0.85, 0.24 * len(steps), 0.45]  # inches, from top to bottom
    with rc_context({"font.family": families, "text.parse_math": False, "font.size": 9}):
        figure = Figure(figsize=(11, sum(heights)), dpi=150, facecolor=COLOURS["paper"])
        top, names = sum(heights), lambda token: drawable(name(token), unknown)
        figure.text(
            0.02, 1 - 0.15 / top, drawable("\n".join(told), unknown), va="top", fontsize=11, color=COLOURS["ink"]
        )
        _draw_stages(figure, explanation, names, bottom=sum(heights[3:]) / top, height=heights[2] / top)
        _draw_steps(figure, steps, len(explanation.stages), names, bottom=heights[5] / top, height=heights[4] / top)
        note = (
            "Dark in the upper panels: the token that was drawn. Red: a rank above 1, and places more open than the "
            f"toss of a coin ({COIN:.2f} nats)."
        )
        figure.text(0.02, 0.12 / top, note, color=COLOURS["muted"])
        drawn = BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": MAKER})
    return drawn.getvalue()


def drawable(text: str, unknown: set[str]) -> str:
    """The text with the code point of each character that no font here has: [U+4E2D]."""
    return "".join(f"[U+{ord(char):04X}]" if char in unknown else char for char in text)


def fonts_for(text: str) -> tuple[list[str], set[str]]:
    """Font families that together have the text's characters, and the characters that no font here has."""
    from matplotlib.font_manager import findfont, get_font

    families, missing = ["DejaVu Sans"], set(text)
    missing -= set(map(chr, get_font(findfont("DejaVu Sans")).get_charmap()))
    for name, path in installed() if missing else ():
        found = missing & set(map(chr, get_font(path).get_charmap()))
        if found:
            families.append(name)
            missing -= found
    return families, missing


def installed() -> list[tuple[str, str]]:
    """Family and file of every font here that can be drawn: upright ones of plain weight first, then without serifs."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {entry.fname for entry in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:  # installed after matplotlib wrote its list
        with contextlib.suppress(OSError, RuntimeError):  # a broken font file: it is left out
            fontManager.addfont(path)

    def order(entry: Any) -> tuple[bool, bool, bool]:
        plain = entry.weight in (400, "normal", "regular")
        return entry.style != "normal", not plain, "Sans" not in entry.name

    return [(entry.name, entry.fname) for entry in sorted(fontManager.ttflist, key=order) if entry.name not in UNFIT]


def _panel(figure: Any, box: tuple[float, float, float, float], rows: int, title: str, limit: float) -> Any:
    axes = figure.add_axes(box)
    axes.set(xlim=(0, limit), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(COLOURS["rule"])
    axes.tick_params(left=False)
    axes.set_title(title, loc="left", fontsize=9, color=COLOURS["muted"])
    return axes


def _draw_stages(
    figure: Any, explanation: Explanation, name: Callable[[int], str], bottom: float, height: float
) -> None:
    stages, candidates = explanation.stages, explanation.candidates
    drawn = explanation.steps[0].token
    cells = [stage_cells(candidate.logprobs) for candidate in candidates]
    step = min(0.84 / len(stages), PANEL / 0.94)
    for i, stage in enumerate(stages):
        title = f"{label(stage)}\nentropy {stage.entropy:.2f} nats\n{counted(stage.num_left, 'token')} left"
        axes = _panel(figure, (0.15 + i * step, bottom, 0.94 * step, height), len(candidates), title, LIMIT)
        for row, candidate in enumerate(candidates):
            share = math.exp(candidate.logprobs[i])
            axes.barh(row, share, color=COLOURS["accent"], alpha=1 if candidate.token == drawn else 0.45, height=0.7)
            axes.text(share + 0.02 * LIMIT, row, cells[row][i], va="center", color=COLOURS["muted"])
        if i == 0:
            axes.set_yticks(range(len(candidates)), [name(candidate.token) for candidate in candidates])
            axes.tick_params(axis="y", labelcolor=COLOURS["ink"])


def _draw_steps(
    figure: Any,
    steps: tuple[DrawnToken, ...],
    num_stages: int,
    name: Callable[[int], str],
    bottom: float,
    height: float,
) -> None:
    most = max(2 * COIN, *(step.entropy for step in steps))
    width = min(0.94 * 0.84 / num_stages, PANEL)  # as wide as a panel above: one scale for all probabilities
    chance = _panel(figure, (0.15, bottom, width, height), len(steps), "probability when drawn, (rank)", LIMIT)
    doubt = _panel(figure, (0.41, bottom, 0.2, height), len(steps), "entropy, nats", 1.3 * most)
    instead = _panel(figure, (0.64, bottom, 0.35, height), len(steps), "instead", 1)
    instead.spines["left"].set_visible(False)
    chance.set_yticks(range(len(steps)), [name(step.token) for step in steps])
    for row, step in enumerate(steps):
        unlikely, is_open = step.rank > 1, step.entropy > COIN
        chance.barh(row, step.probability, color=COLOURS["accent"], height=0.7)
        told = f"{percent(step.probability)}  ({step.rank:,})" if unlikely else percent(step.probability)
        chance.text(step.probability + 0.03, row, told, va="center", color=COLOURS["loud" if unlikely else "muted"])
        doubt.barh(row, step.entropy, color=COLOURS["loud" if is_open else "accent"], height=0.7)
        place = (step.entropy + 0.03 * most, row)
        doubt.text(*place, f"{step.entropy:.2f}", va="center", color=COLOURS["loud" if is_open else "muted"])
        others = "    ".join(f"{name(other)} {percent(share)}" for other, share in step.alternatives)
        instead.text(0, row, others, va="center", color=COLOURS["muted"])
