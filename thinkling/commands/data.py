"""`thinkling data`: look at a file of examples before a model learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from thinkling.checks import at_least
from thinkling.errors import UserError
from thinkling.scale.prompts import Template
from thinkling.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from thinkling.generate.completion import Completion
    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.sft.records import Record
    from thinkling.train.sft.stats import Stats


@dataclass(frozen=True, kw_only=True)
class Data:
    """Look at a file of examples for thinkling sft: which tokens are trained, and what all are like.

    show colours what is trained, and says where data and template disagree; without colours it stands between « and ».
    stats counts: forms, lengths, what a cut in length would remove, and answers that a verifier finds right.
    """

    what: Annotated[Literal["show", "stats"], tyro.conf.Positional]
    """Which of the two."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .jsonl or .json file, as for thinkling sft --data."""
    template: Template = "plain"
    """How the question is put, as for thinkling sft."""
    model: str = "thinkling-base"
    """The model that is to learn, as for thinkling sft: its tokens are counted, its chat template is used."""
    max_length: int = 1024
    """Prompt and reply together, in tokens, at most; a longer record cannot be learnt."""
    first: int = 1
    """show: the first row to show, counted from 1."""
    num: int = 2
    """show: how many records."""
    out: Path | None = None
    """stats: also draw the lengths of the replies into this PNG file."""

    def __post_init__(self) -> None:
        at_least(1, first=self.first, num=self.num)
        at_least(2, max_length=self.max_length)


def main(settings: Data) -> None:
    from rich.console import Console

    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.sft.encode import examples_of
    from thinkling.train.sft.records import load_records
    from thinkling.train.sft.stats import stats_of

    records = load_records(settings.file)
    if settings.what == "show":
        records = [record for record in records if record.row >= settings.first][: settings.num]
        if not records:
            raise UserError(f"{settings.file} has no row {settings.first}")
    model = LanguageModel.load(settings.model, "cpu", max_length=settings.max_length)
    console = Console(highlight=False)
    pairs, failures = examples_of(model, records, settings.template)
    if settings.what == "show":
        for record, example in pairs:
            show(model, record, example, console)
    elif pairs:
        print_stats(stats_of(pairs, failures), console)
        if settings.out is not None:
            draw([len(example.tokens) for _, example in pairs], settings.out)
    if failures:
        raise UserError(f"{settings.file}, row {failures[0].row} cannot be learnt: {failures[0].error}"
                        + (f" ({len(failures) - 1:,} more cannot)" if len(failures) > 1 else ""))  # fmt: skip


def show(model: LanguageModel, record: Record, example: Completion, console: Console) -> None:
    """One record: its prompt dim, each trained token in one of two colours."""
    from rich.text import Text

    from thinkling.terminal import visible
    from thinkling.train.sft.stats import spans

    prompt, reply = len(example.prompt_tokens), len(example.tokens)
    console.print(f"row {record.row}: {counted(prompt, 'token')} read, {counted(reply, 'token')} trained, the last one "
                  f"{model.tokenizer.decode(example.tokens[-1:])!r}", style="bold", markup=False)  # fmt: skip
    text, plain = Text(), console.color_system is None
    for number, (piece, trained) in enumerate(spans(model, example)):
        style = ("black on green", "black on bright_green")[number % 2] if trained else "dim"
        text.append("«" * (plain and number == 1))
        text.append(visible(piece), style)
    console.print(text.append("»" * plain), soft_wrap=True)


def print_stats(found: Stats, console: Console) -> None:
    from thinkling.report.tables import Sheet

    forms = ", ".join(f"{form}: {num:,}" for form, num in found.forms.items())
    console.print(f"{counted(found.records, 'record')} of {counted(found.questions, 'question')} ({forms}): "
                  f"{found.repeated:,} repeated, {found.with_thinking:,} with thinking, {found.with_turns:,} "
                  "with turns before the question", soft_wrap=True)  # fmt: skip
    if found.verified:
        console.print(f"{found.right / found.verified:.1%} right of {found.verified:,} that can be verified")
    headers = ("tokens", "shortest", "10%", "median", "90%", "longest")
    both = {"prompt": found.prompt, "reply": found.reply}
    rows = [(name, *(f"{value:,}" for value in own)) for name, own in both.items()]
    console.print(Sheet(headers, rows))

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}"

    if found.windows:
        cuts = [(f"{cut.tokens:,}", share(cut.kept), share(1 - cut.kept), share(cut.right), share(cut.right_gone))
                for cut in found.windows]  # fmt: skip
        headers = ("reply at most", "kept", "removed", "right of kept", "right of removed")
        console.print(Sheet(headers, cuts, left=(), title="what a cut in length would remove"))


def draw(lengths: list[int], path: Path) -> None:
    from thinkling.report.palette import LIGHT
    from thinkling.report.plots import dress, new_axes, png
    from thinkling.runs import write_bytes

    axes = new_axes((480, 260), (0.1, 0.17, 0.86, 0.72), LIGHT)
    dress(axes, LIGHT, 9, "tokens of a reply", "records")
    axes.hist(lengths, bins=min(50, max(lengths)), color=LIGHT["series-1"])
    write_bytes(path, png(axes.figure, "thinkling data stats"))
