"""Tables that lose nothing: in a terminal of any width, and the numbers that all of them write alike.

A terminal's table keeps its columns while they fit. Where they do not, it is stacked: each row over several lines, or
blocks of as many columns as there is room for. Nothing is dropped. Leaves out what the tables say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

MUCH_TRUNCATED = 0.05  # past this share, an accuracy says more about the token limit than about the method

# The scale over a column of bars on a page, and one row's bar: its interval, and a dot at the share itself.
BAR_HEAD = '<th class="bar" aria-hidden="true"><span>0%</span><span>50%</span><span>100%</span></th>'


def bar_cell(share: float, low: float, high: float) -> str:
    at = f"--low:{low:.2%};--width:{high - low:.2%};--at:{share:.2%}"
    return f'<td class="bar" aria-hidden="true"><span style="{at}"></span></td>'


def interval(low: float, high: float) -> str:
    """In percent, or in points: [0.4, 6.1]."""
    low, high = (round(100 * end, 1) + 0.0 for end in (low, high))  # + 0.0: no -0.0
    return f"[{low:.1f}, {high:.1f}]"


@dataclass
class Sheet:
    """Rows under headers, for rich to print in whatever width there is.

    rows: cells as Text, or as str, which is text and never markup. left: the columns that are set left, the others are
    set right. narrow: what becomes of it where its columns do not fit: "stack" prints the first cell of a row in a line
    of its own and the others under it, each behind its header; "blocks" prints several tables under each other, each
    with the first `keep` columns. border: a box of rich, None for no lines.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    left: Sequence[int] = (0,)
    title: str = ""
    caption: str = ""
    narrow: Literal["stack", "blocks"] = "stack"
    keep: int = 1
    border: box.Box | None = field(default_factory=lambda: box.HEAVY_HEAD)
    padding: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        columns = range(len(self.headers))
        spare = options.max_width - self.width(columns)
        if spare >= 0 or (self.narrow == "stack" and self.wide(0) + spare >= max(12, self.longest_word())):
            yield self.table(columns, self.title, self.caption, first=self.wide(0) + min(0, spare))
        elif self.narrow == "stack":
            yield from self.stacked(options.max_width)
        else:
            yield from self.blocks(options.max_width)

    def table(self, columns: Sequence[int], title: str = "", caption: str = "", first: int | None = None) -> Table:
        """These columns as rich's table. first: cells for the first one, whose text is broken between words."""
        drawn = Table(title=Text(title, "italic") if title else None, title_justify="left", box=self.border,
                      caption=Text(caption) if caption else None, caption_justify="left",
                      padding=(0, self.padding), pad_edge=self.border is not None)  # fmt: skip
        for place, column in enumerate(columns):
            cells = self.wide(column) if place or first is None else first
            justify = "left" if column in self.left else "right"
            drawn.add_column(Text(self.headers[column]), justify=justify, overflow="fold", width=cells)
        for row in self.rows:
            drawn.add_row(*(text(row[column]) for column in columns))
        return drawn

    def wide(self, column: int) -> int:
        """Cells that a column needs: its longest line, the header's too."""
        texts = [self.headers[column], *(plain(row[column]) for row in self.rows)]
        return max(cell_len(line) for text in texts for line in text.split("\n"))

    def longest_word(self) -> int:
        return max((cell_len(word) for row in self.rows for word in plain(row[0]).split()), default=0)

    def width(self, columns: Sequence[int]) -> int:
        """Cells that these columns take, with what stands between them."""
        between = 2 * self.padding * len(columns) + (len(columns) + 1 if self.border else -2 * self.padding)
        return sum(map(self.wide, columns)) + between

    def stacked(self, room: int) -> Iterator[RenderableType]:
        if self.title:
            yield Text(self.title, "italic")
        names = [" ".join(header.split()) for header in self.headers[1:]]
        for row in self.rows:
            yield row[0] if isinstance(row[0], Text) else Text(row[0], "bold")
            cells = [Text(f"{name} " if name else "", "dim").append(text(cell))
                     for name, cell in zip(names, row[1:], strict=True) if plain(cell).strip()]  # fmt: skip
            yield from flowing(cells, room)
        if self.caption:
            yield Text(self.caption, "dim italic")

    def blocks(self, room: int) -> Iterator[RenderableType]:
        kept, block, blocks = list(range(self.keep)), list[int](), list[list[int]]()
        for column in range(self.keep, len(self.headers)):
            if block and self.width(kept + block + [column]) > room:
                blocks.append(block)
                block = []
            block.append(column)
        blocks.append(block)
        for number, block in enumerate(blocks):
            last = number == len(blocks) - 1
            yield self.table(kept + block, "" if number else self.title, self.caption if last else "")


@dataclass
class Either:
    """What rich prints in a window of `needs` cells and more, and what in a narrower one."""

    needs: int
    wide: RenderableType
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.wide if options.max_width >= self.needs else self.narrow


def flowing(cells: Sequence[str | Text], room: int) -> Iterator[Text]:
    """As many cells in a line as there is room for, none of them broken; each line is two columns in."""
    line = Text("  ")
    for cell in map(text, cells):
        if line.plain.strip() and line.cell_len + 2 + cell.cell_len > room:
            yield line
            line = Text("  ")
        line.append("  " if line.plain.strip() else "").append(cell)
    yield line


def plain(cell: str | Text) -> str:
    return cell.plain if isinstance(cell, Text) else cell


def text(cell: str | Text) -> Text:
    """A model's text may hold square brackets, which rich would read as its markup in a plain string."""
    return cell if isinstance(cell, Text) else Text(cell)
