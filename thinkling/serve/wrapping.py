"""Text that streams into a terminal, wrapped by words: a word is held back until it is whole, and then where it fits.

Leaves out where the text comes from. Colours are rich's styles; markup in the text is text.
"""

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text


class WrappedStream:
    """Writes pieces as they come, but for new lines at the very start; unwrapped where the console is no terminal."""

    def __init__(self, console: Console) -> None:
        self.console, self.wrap = console, console.is_terminal
        self.column, self.gap, self.word, self.style, self.begun = 0, "", "", "", False

    def write(self, piece: str, style: str = "") -> None:
        piece = piece if self.begun else piece.lstrip("\n")
        self.begun = self.begun or bool(piece)
        if style != self.style:
            self.flush()
            self.style = style
        if not self.wrap:
            self._print(piece)
            return
        for char in piece:
            if char == "\n":
                self.flush()
                self._print("\n")
                self.column, self.gap = 0, ""
            elif char.isspace():
                self.flush()
                self.gap += char
            else:
                self.word += char
                if cell_len(char) > 1:  # Chinese and Japanese are broken anywhere
                    self.flush()

    def flush(self) -> None:
        """Write the word that is held back: on the next line if this one has no room for it."""
        width, room = self.console.width, cell_len(self.word)
        if not room:
            return
        gap = self.gap.replace("\t", "    ")
        if self.column + cell_len(gap) + room > width:
            if self.column:
                self._print("\n")
            self.column, gap = 0, ""
        self._print(gap + self.word)
        # A word longer than the line: the terminal breaks it, and its last piece fills 1 to `width` cells.
        self.column = (self.column + cell_len(gap) + room - 1) % width + 1
        self.gap, self.word = "", ""

    def end(self) -> None:
        """The last word and a new line."""
        self.flush()
        self._print("\n")
        self.column, self.gap = 0, ""

    def _print(self, text: str) -> None:
        self.console.print(Text(text, self.style), end="", soft_wrap=True, highlight=False)
