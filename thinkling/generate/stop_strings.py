"""Strings that end a completion, found while it grows token by token: no piece of one is ever shown."""

from thinkling.model.tokenizer import StreamDecoder, Tokenizer


class StopStrings:
    """Watches a completion grow, token by token, for strings that end it.

    found: where in the text the first stop string begins, or None; hit: which one it is. safe: the text that no stop
    string can touch now.
    """

    def __init__(self, tokenizer: Tokenizer, stops: tuple[str, ...]) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.decoder = StreamDecoder(tokenizer)
        self.text = ""
        self.found: int | None = None
        self.hit: str | None = None

    def __call__(self, token: int) -> bool:
        if token in self.tokenizer.stop_ids:
            return False  # the engine ends the request; a stop id has no text
        self.text += self.decoder.push(token)
        places = [(self.text.find(stop), stop) for stop in self.stops if stop in self.text]
        self.found, self.hit = min(places, default=(None, None))
        return self.found is not None

    @property
    def safe(self) -> str:
        if self.found is not None:
            return self.text[: self.found]
        held = 0  # the longest end of the text that may yet become a stop string
        for stop in self.stops:
            for size in range(min(len(stop) - 1, len(self.text)), 0, -1):
                if self.text.endswith(stop[:size]):
                    held = max(held, size)
                    break
        return self.text[: len(self.text) - held]

    def finish(self) -> str:
        """All of the text, once nothing more will come."""
        self.text += self.decoder.finish()
        return self.text
