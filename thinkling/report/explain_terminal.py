"""How the next token is chosen, and a completion followed token by token: in the terminal, or written to a file.

First the distribution behind the prompt: logits, then probabilities after each setting that is on. Then the completion
that `thinkling generate` prints with the same flags, each token with its probability, entropy and alternatives.
Leaves out the arithmetic (generate/explain.py) and the drawings for --out (explain_page.py, explain_picture.py).
"""

import math
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thinkling.errors import UserError
from thinkling.generate.explain import Candidate, Explanation, Stage
from thinkling.model.tokenizer import Tokenizer
from thinkling.report.explain_page import page
from thinkling.report.explain_picture import png
from thinkling.report.explain_words import COIN, MAKER, headline, label, percent, stage_cells, visible, with_signs
from thinkling.report.tables import Either, Sheet
from thinkling.runs import write_bytes, write_text
from thinkling.words import counted

STEPS_WIDTH = 60  # cells; in less, the table of steps is printed in blocks
EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` cells for a share of 1, to an eighth of a cell."""
    full, rest = divmod(round(min(share, 1.0) * width * 8), 8)
    return ("█" * full + EIGHTHS[rest]).rstrip()


def two_bars(candidate: Candidate, width: int) -> Text:
    """A bar for the probability after the last stage, and behind it what the settings took from the model's own."""
    before, after = (math.exp(candidate.logprobs[i]) for i in (0, -1))
    full = bar(after, width)
    return Text(full, "cyan", no_wrap=True).append("░" * (round(before * width) - len(full)), "dim")


def cell(text: str, style: str = "") -> Text:
    """A model's text may hold square brackets, which rich would read as its markup in a plain string."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def stages_table(explanation: Explanation, name: Callable[[int], str], width: int) -> Table:
    """The next token, one column per stage; `width`: of the bars, in cells."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, padding=(0, 0), footer_style="dim not bold")
    last_rank = explanation.candidates[-1].rank
    table.add_column("rank", justify="right", min_width=max(4, len(f"{last_rank:,}")))
    table.add_column("token", Text("all others\nentropy, nats\ntokens left"), width=13)
    table.add_column("logit", justify="right", min_width=6)
    for stage, rest in zip(explanation.stages, stage_cells(explanation.others), strict=True):
        footer = Text(f"{rest}\n{stage.entropy:.2f}\n{stage.num_left:,}")
        table.add_column(heading(stage), footer, justify="right", min_width=6)
    table.add_column("", width=width)
    for candidate in explanation.candidates:
        is_drawn = candidate.token == explanation.steps[0].token
        cells = stage_cells(candidate.logprobs)
        style = "bold" if is_drawn else "dim" if cells[-1] in ("cut", "") else ""
        table.add_row(
            cell(f"{candidate.rank:,}"),
            cell(name(candidate.token), style),
            cell(f"{candidate.logit:.2f}"),
            *(cell(text, "dim" if text == "cut" else style) for text in cells),
            two_bars(candidate, width - 2).append(" ◂" if is_drawn else "", "cyan"),
        )
    return table


def steps_table(explanation: Explanation, name: Callable[[int], str]) -> Table:
    """The completion, one line per token."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    steps = explanation.steps
    widest_rank = max(len(f"▸{step.rank:,}") for step in steps)
    widths = {"": len(str(len(steps))), "token": 14, "prob": 6, "rank": max(4, widest_rank), "entropy": 12}
    for header, width in widths.items():
        table.add_column(header, justify="left" if header in ("token", "entropy") else "right", width=width)
    table.add_column("instead")
    most = max(2 * COIN, *(step.entropy for step in steps))
    for number, step in enumerate(steps, start=1):
        unlikely, style = step.rank > 1, "yellow" if step.entropy > COIN else ""
        others = "  ".join(f"{name(other)} {percent(probability)}" for other, probability in step.alternatives)
        table.add_row(
            cell(str(number), "dim"),
            cell(name(step.token), "bold yellow" if unlikely else "bold"),
            cell(percent(step.probability)),
            cell(f"▸{step.rank:,}" if unlikely else "1", "bold yellow" if unlikely else "dim"),
            cell(f"{step.entropy:5.2f} {bar(step.entropy / most, 6)}", style),
            cell(others, "dim"),
        )
    return table


def stages_in_blocks(explanation: Explanation, name: Callable[[int], str]) -> Sheet:
    """The same for a narrow window: rank and token, and beside them as many columns as fit, block under block."""
    stages, drawn = explanation.stages, explanation.steps[0].token
    headers = ("rank", "token", "logit", *map(heading, stages), "")
    rows: list[tuple[str | Text, ...]] = [
        (f"{candidate.rank:,}", shortened(name(candidate.token), 13), f"{candidate.logit:.2f}",
         *stage_cells(candidate.logprobs),
         two_bars(candidate, 12).append(" ◂" if candidate.token == drawn else "", "cyan"))
        for candidate in explanation.candidates
    ]  # fmt: skip
    feet = (("all others", stage_cells(explanation.others)),
            ("entropy, nats", [f"{stage.entropy:.2f}" for stage in stages]),
            ("tokens left", [f"{stage.num_left:,}" for stage in stages]))  # fmt: skip
    rows += [("", Text(told, "dim"), "", *(Text(cell, "dim") for cell in cells), "") for told, cells in feet]
    return Sheet(headers, rows, left=(1, len(headers) - 1), narrow="blocks", keep=2, border=box.SIMPLE_HEAD, padding=0)


def steps_in_blocks(explanation: Explanation, name: Callable[[int], str]) -> Sheet:
    rows = [
        (str(number), shortened(name(step.token), 14), percent(step.probability),
         f"▸{step.rank:,}" if step.rank > 1 else "1", f"{step.entropy:.2f}",
         "  ".join(f"{shortened(name(other), 8)} {percent(share)}" for other, share in step.alternatives[:2]))
        for number, step in enumerate(explanation.steps, start=1)
    ]  # fmt: skip
    headers = ("", "token", "prob", "rank", "entropy", "instead")
    return Sheet(headers, rows, left=(1, 5), narrow="blocks", keep=2, border=box.SIMPLE_HEAD, padding=0)


def heading(stage: Stage) -> str:
    return label(stage).replace("temperature", "temp").replace(" ", "\n")


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def show(explanation: Explanation, tokenizer: Tokenizer, console: Console) -> None:
    def name(token: int) -> str:
        return visible(tokenizer, token)

    prompt = with_signs(tokenizer.decode(explanation.completion.prompt_tokens))
    num = f" ({counted(len(explanation.completion.prompt_tokens), 'token')})"
    room = console.width - 10 - len(num)
    console.print(cell(f"Prompt: {prompt if len(prompt) < room else '…' + prompt[-room + 1 :]}{num}", "dim"))
    next_token, completion = headline(explanation, name)
    console.print(Text(next_token, style="bold"))
    spare = console.width - 31 - 7 * len(explanation.stages)
    console.print(Either(console.width - min(0, spare - 8), stages_table(explanation, name, max(8, min(40, spare))),
                         stages_in_blocks(explanation, name)))  # fmt: skip
    console.print(Text(stages_note(explanation), style="dim"), end="\n\n")
    console.print(Text(completion, style="bold"))
    console.print(Either(STEPS_WIDTH, steps_table(explanation, name), steps_in_blocks(explanation, name)))
    note = f"▸ not the likeliest. Yellow: more open than the toss of a coin ({COIN:.2f} nats)."
    console.print(Text(note, style="dim"))


def stages_note(explanation: Explanation) -> str:
    names = [stage.name for stage in explanation.stages]
    off = [name for name in ("temperature", "top-k", "top-p", "min-p") if name not in names]
    note = "Each column also applies those left of it. ◂ drawn. ░ what the settings took." if names[1:] else "◂ drawn."
    return note + (f" Off: {', '.join(off)}." if off else "")


def check_free(path: Path) -> None:
    """Raises UserError if `path` is a folder, or a file that is no drawing of this command's."""
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file")
    if path.exists():
        with open(path, "rb") as file:
            start = file.read(1000)
        if f"<title>{MAKER}</title>".encode() not in start and f"Software\0{MAKER}".encode() not in start:
            raise UserError(f"--out {path} exists and was not drawn by {MAKER}: choose another name, or remove it")


def write(path: Path, explanation: Explanation, tokenizer: Tokenizer, facts: dict[str, str]) -> None:
    """Draw into a .html or .png file, whole or not at all."""
    check_free(path)
    if path.suffix.lower() == ".html":
        return write_text(path, page(explanation, tokenizer, facts))
    write_bytes(path, png(explanation, tokenizer))
