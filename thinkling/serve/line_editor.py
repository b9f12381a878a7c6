"""Where the person types: history, several lines, and a line below that says how things stand.

prompt_toolkit is imported when a terminal is there; in a pipe every line is a message.
"""

import sys
from collections.abc import Callable, Iterator


def typed() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


class Piped:
    """Lines of a pipe."""

    def lines(self, below: Callable[[], str]) -> Iterator[str]:
        for line in sys.stdin:
            yield line.strip()

    def edited(self, text: str) -> str:
        """There is nobody who could edit it."""
        return text


class Typed:
    """Enter sends, Alt+Enter (or Esc, Enter) begins a new line, pasted lines stay lines, arrows bring earlier messages
    back. Ctrl+C clears what is typed, and ends where nothing is; Ctrl+D ends."""

    def __init__(self) -> None:
        from prompt_toolkit import PromptSession  # slow to import, and of no use in a pipe
        from prompt_toolkit.formatted_text import FormattedText
        from prompt_toolkit.key_binding import KeyBindings

        keys = KeyBindings()
        keys.add("enter")(lambda event: event.current_buffer.validate_and_handle())
        keys.add("escape", "enter")(lambda event: event.current_buffer.insert_text("\n"))
        self.session = PromptSession(
            FormattedText([("", "\n"), ("bold", "you> ")]), multiline=True, key_bindings=keys,
            prompt_continuation=lambda width, number, wrapped: " " * width,
        )  # fmt: skip

    def lines(self, below: Callable[[], str]) -> Iterator[str]:
        while True:
            try:
                yield self.session.prompt(bottom_toolbar=below).strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self.session.default_buffer.text:
                    return

    def edited(self, text: str) -> str:
        """The text as the person changes it; as it was, if they give up."""
        try:
            return self.session.prompt(default=text).strip()
        except (EOFError, KeyboardInterrupt):
            return text
