"""Text in, text out: a model, its tokenizer and one engine.

`complete` is async and joins the batch that is running, so methods can be written as sequential code about one problem
and still run many at a time. `complete_all` and `stream` are for scripts that do not want to know of that.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from rich.progress import Progress

from thinkling.device import pick_device, pick_dtype
from thinkling.generate.engine import Engine
from thinkling.generate.plain import Completion
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.qwen3 import Qwen3
from thinkling.model.tokenizer import StreamDecoder, Tokenizer
from thinkling.model.weights import load_model, resolve
from thinkling.settings import ModelSettings

Prompt = str | Sequence[int]


class LanguageModel:
    """A language model that many callers can use at once, from one event loop.

    name: what the model was loaded from. network, tokenizer, engine: the three parts, open to everyone.
    """

    def __init__(self, name: str, network: Qwen3, tokenizer: Tokenizer, **limits: float) -> None:
        """`limits`: the engine's max_rows, max_length and cache_gb."""
        self.name, self.network, self.tokenizer = name, network, tokenizer
        self.engine = Engine(network, tokenizer.stop_ids, **limits)
        self._futures: dict[int, asyncio.Future[Completion]] = {}
        self._driver: asyncio.Task | None = None

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "auto", **limits: float) -> "LanguageModel":
        """Load a built-in model by name, a folder by path, or a Hub id, as `org/name` or `org/name@revision`."""
        folder, where = resolve(name), pick_device(device)
        network = load_model(folder, where, pick_dtype(dtype, where))
        return cls(name, network, Tokenizer.load(folder), **limits)

    @classmethod
    def from_settings(cls, settings: ModelSettings) -> "LanguageModel":
        """The model that a command's flags name."""
        limits = {"max_rows": settings.max_rows, "max_length": settings.max_length, "cache_gb": settings.cache_gb}
        return cls.load(settings.model, settings.device, settings.dtype, **limits)

    def tokens_of(self, prompt: Prompt) -> list[int]:
        return self.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The completion's text: without the stop id at its end, other special tokens kept."""
        ends = bool(tokens) and tokens[-1] in self.tokenizer.stop_ids
        return self.tokenizer.decode(list(tokens[:-1] if ends else tokens))

    # --- async: join the running batch ---

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        """Complete one prompt; the request shares the engine's batch with whatever else is under way."""
        watcher = StopStrings(self.tokenizer, sampling.stop) if sampling.stop else None
        request_id = self.engine.submit(self.tokens_of(prompt), sampling, watcher)
        future = asyncio.get_running_loop().create_future()
        self._futures[request_id] = future
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        try:
            completion = await future
        finally:
            self._futures.pop(request_id, None)
            if future.cancelled():
                self.engine.cancel(request_id)
        text = self.text_of(completion.tokens)
        return replace(completion, text=text[: watcher.found] if watcher and watcher.found is not None else text)

    async def _drive(self) -> None:
        """Step the engine while it has work, letting every waiting method run between steps."""
        try:
            while self.engine.busy:
                await asyncio.sleep(0)
                for request_id, completion in self.engine.step():
                    future = self._futures.get(request_id)
                    if future is not None and not future.done():
                        future.set_result(completion)
        except Exception as error:
            for future in self._futures.values():
                if not future.done():
                    future.set_exception(error)

    # --- plain calls ---

    def complete_all(
        self, prompts: Iterable[Prompt], sampling: Sampling, progress: bool = False, label: str = "generating"
    ) -> list[Completion]:
        """Complete all prompts, batched; prompt i draws from the seed derived from (sampling.seed, i)."""
        requests = [(p, replace(sampling, seed=derive_seed(sampling.seed, i))) for i, p in enumerate(prompts)]

        async def run() -> list[Completion]:
            with Progress(transient=True, disable=not progress) as bar:
                task = bar.add_task(label, total=len(requests))

                async def one(prompt: Prompt, own: Sampling) -> Completion:
                    completion = await self.complete(prompt, own)
                    bar.advance(task)
                    return completion

                return await asyncio.gather(*(one(*request) for request in requests))

        return asyncio.run(run())

    def stream_tokens(self, prompt: Prompt, sampling: Sampling) -> Iterator[int]:
        """Yield each token as it is drawn, the stop id included. Closing the iterator ends the generation.

        The engine must have nothing else to do meanwhile.
        """
        fresh: list[int] = []
        request_id = self.engine.submit(self.tokens_of(prompt), sampling, fresh.append)
        try:
            while self.engine.busy:
                self.engine.step()
                yield from fresh
                fresh.clear()
        finally:
            self.engine.cancel(request_id)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yield the completion's text as it grows, in pieces that are never half a character, up to a stop string."""
        watcher = StopStrings(self.tokenizer, sampling.stop)
        sent = 0
        with closing(self.stream_tokens(prompt, sampling)) as tokens:
            for token in tokens:
                watcher(token)
                if len(watcher.safe) > sent:
                    yield watcher.safe[sent:]
                    sent = len(watcher.safe)
                if watcher.found is not None:
                    return
        yield watcher.finish()[sent:]


class StopStrings:
    """Watches a completion grow, token by token, for strings that end it.

    found: where in the text the first stop string begins, or None. safe: the text that no stop string can touch now.
    """

    def __init__(self, tokenizer: Tokenizer, stops: tuple[str, ...]) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.decoder = StreamDecoder(tokenizer)
        self.text = ""
        self.found: int | None = None

    def __call__(self, token: int) -> bool:
        if token in self.tokenizer.stop_ids:
            return False  # the engine ends the request; a stop id has no text
        self.text += self.decoder.push(token)
        places = [place for place in (self.text.find(stop) for stop in self.stops) if place >= 0]
        self.found = min(places, default=None)
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
