"""`thinkling explain`: how the next token is chosen, and a completion followed token by token, in the terminal.

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
from thinkling.generate.explain import Candidate, Explanation, explain
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.tokenizer import Tokenizer
from thinkling.report.explain_page import (
    COIN,
    MAKER,
    counted,
    headline,
    label,
    page,
    percent,
    stage_cells,
    visible,
    with_signs,
)  # fmt: skip
from thinkling.report.explain_picture import png
from thinkling.runs import write_bytes, write_text
from thinkling.scale.prompts import prompt_of
from thinkling.settings import Explain

EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` cells for a share of 1, to an eighth of a cell."""
    full, rest = divmod(round(min(share, 1.0) * width * 8), 8)
    return ("█" * full + EIGHTHS[rest]).rstrip()


def two_bars(candidate: Candidate, scale: float, width: int) -> Text:
    """A bar for the probability after the last stage, and behind it what the settings took from the model's own."""
    before, after = (math.exp(candidate.logprobs[i]) / scale for i in (0, -1))
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
        header = label(stage).replace("temperature", "temp").replace(" ", "\n")
        table.add_column(header, footer, justify="right", min_width=6)
    table.add_column("", width=width)
    scale = max(math.exp(max(candidate.logprobs)) for candidate in explanation.candidates)
    for candidate in explanation.candidates:
        is_drawn = candidate.token == explanation.steps[0].token
        cells = stage_cells(candidate.logprobs)
        style = "bold" if is_drawn else "dim" if cells[-1] in ("cut", "") else ""
        table.add_row(
            cell(f"{candidate.rank:,}"),
            cell(name(candidate.token), style),
            cell(f"{candidate.logit:.2f}"),
            *(cell(text, "dim" if text == "cut" else style) for text in cells),
            two_bars(candidate, scale, width - 2).append(" ◂" if is_drawn else "", "cyan"),
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
    console.print(stages_table(explanation, name, max(8, min(40, spare))))
    console.print(Text(stages_note(explanation), style="dim"), end="\n\n")
    console.print(Text(completion, style="bold"))
    console.print(steps_table(explanation, name))
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


def main(settings: Explain) -> None:
    sampling = Sampling(
        settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.max_tokens, seed=settings.seed
    )
    if settings.out is not None:
        check_free(settings.out)
    model = LanguageModel.from_settings(settings)
    prompt = prompt_of(model, settings.template, settings.prompt)
    explanation = explain(model, prompt, sampling, settings.top)
    console = Console(highlight=False)
    show(explanation, model.tokenizer, console)
    if settings.out is not None:
        facts = {"model": model.name, "template": settings.template} | {
            field.replace("_", "-"): str(getattr(settings, field))
            for field in ("temperature", "top_k", "top_p", "min_p", "max_tokens", "seed")
        }
        write(settings.out, explanation, model.tokenizer, facts)
        console.print(f"Drawn into {settings.out}", markup=False, soft_wrap=True)
