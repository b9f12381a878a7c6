"""One model in several processes that share its requests, each with the weights, an engine and its share of the cores.

A small model's pass on a CPU is short operations one after the other, which a second core can hardly help with; two
processes give two such passes at once. Answers are what one process gives: each is drawn from its request's own seed.
Samples of one prompt go to one process, which reads it once. Left out: several devices, and weights that change.
"""

import asyncio
import contextlib
import itertools
import multiprocessing
import signal
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from thinkling.allocator import keep_freed_memory
from thinkling.device import usable_cores
from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Prompt
from thinkling.generate.sampling import Sampling
from thinkling.words import counted

MOST_PER_CORE = 2  # processes: each waits for something at times, but not for longer than it works
Waiting = tuple[asyncio.AbstractEventLoop, asyncio.Future]


def threads_for_each(size: int) -> int:
    """Of `size` processes. Raises UserError for more of them than can be of use."""
    cores = usable_cores()
    if size > MOST_PER_CORE * cores:
        raise UserError(f"--data-parallel-size {size:,} is more than {counted(cores, 'core')} can serve: use at most "
                        f"{MOST_PER_CORE * cores:,}")  # fmt: skip
    return max(1, cores // size)


def check_on_a_cpu(size: int, where: torch.device, otherwise: str) -> None:
    if where.type != "cpu":
        raise UserError(f"--data-parallel-size {size} is for a CPU, and the model is on {where}: leave it out, or "
                        f"{otherwise}")  # fmt: skip


def how_it_ended(process: BaseProcess) -> str:
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


class DataParallelModel(LanguageModel):
    """A LanguageModel whose `complete` asks processes; what reads given tokens is still done here."""

    workers: list["Worker"]

    @classmethod
    def start(cls, size: int, *how: object, **limits: float | None) -> "DataParallelModel":
        """how, limits: as LanguageModel.load takes them. Each of `size` processes gets its share of `cache_gb`. Raises
        UserError off a CPU."""
        if limits.get("cache_gb"):
            limits["cache_gb"] /= size
        threads = threads_for_each(size)
        model = cls.load(*how, **limits)
        check_on_a_cpu(size, model.network.device, "start a server for each device and name them with --server URL,URL")
        load = partial(LanguageModel.load, *how, **limits)
        model.workers = [Worker(f"process {number} of {size}", load, threads) for number in range(1, size + 1)]
        for worker in model.workers:
            weakref.finalize(model, worker.stop)
        return model

    async def complete(self, prompt: Prompt, sampling: Sampling) -> Completion:
        tokens = tuple(self.tokens_of(prompt))
        known = [worker for worker in self.workers if worker.prompts[tokens]]
        worker = known[0] if known else min(self.workers, key=lambda worker: worker.prompts.total())
        return await worker.complete(tokens, sampling)


class Worker:
    """The near end of one process. prompts: how often each is asked there at this moment."""

    def __init__(self, name: str, load: Callable[[], LanguageModel], threads: int) -> None:
        self.name, self.prompts = name, Counter()
        self._numbers, self._lock = itertools.count(), threading.Lock()
        self._waiting: dict[int, Waiting] = {}
        self._gone = False
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=answer, args=(far, load, threads), name=f"thinkling {name}", daemon=True)
        self._process.start()
        far.close()
        threading.Thread(target=self._listen, name=f"thinkling {name}", daemon=True).start()

    async def complete(self, tokens: tuple[int, ...], sampling: Sampling) -> Completion:
        number, loop = next(self._numbers), asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            self.prompts[tokens] += 1
        self._waiting[number] = loop, future
        try:
            self._send((number, tokens, sampling))
            return await future
        except asyncio.CancelledError:
            with contextlib.suppress(FatalError):
                self._send((number, None, None))
            raise
        finally:
            self._waiting.pop(number, None)
            with self._lock:
                self.prompts[tokens] -= 1
                if not self.prompts[tokens]:
                    del self.prompts[tokens]

    def _send(self, order: tuple) -> None:
        try:
            if self._gone:
                raise OSError
            with self._lock:
                self._pipe.send(order)
        except OSError:
            raise self._ended() from None

    def _listen(self) -> None:
        """Hand over what comes back. In a thread of its own."""
        try:
            while True:
                number, outcome = self._pipe.recv()
                self._deliver(number, outcome)
        except (EOFError, OSError):
            self._gone = True
            for number in list(self._waiting):
                self._deliver(number, self._ended())

    def _deliver(self, number: int, outcome: Completion | Exception) -> None:
        if number not in self._waiting:
            return
        loop, future = self._waiting[number]

        def settle() -> None:
            if not future.done():
                future.set_exception(outcome) if isinstance(outcome, Exception) else future.set_result(outcome)

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle)

    def _ended(self) -> FatalError:
        self._process.join(timeout=1.0)
        return FatalError(f"the model's {self.name} has ended ({how_it_ended(self._process)}): if memory ran out, "
                          "lower --data-parallel-size or --cache-gb")  # fmt: skip

    def stop(self) -> None:
        self._pipe.close()
        self._process.terminate()


# --- in the process itself ---


def answer(pipe: Connection, load: Callable[[], LanguageModel], threads: int) -> None:
    """Answer what comes through the pipe until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other end's to see
    keep_freed_memory()
    torch.set_num_threads(threads)
    asyncio.run(_answer(pipe, load()))


async def _answer(pipe: Connection, model: LanguageModel) -> None:
    loop, running = asyncio.get_running_loop(), {}

    async def one(number: int, tokens: tuple[int, ...], sampling: Sampling) -> None:
        try:
            outcome = await model.complete(tokens, sampling)
        except UserError as error:
            outcome = error
        except Exception as error:
            outcome = RuntimeError(f"{type(error).__name__}: {error}")  # not all errors can be sent
        running.pop(number, None)
        pipe.send((number, outcome))

    while True:
        try:
            number, tokens, sampling = await loop.run_in_executor(None, pipe.recv)
        except (EOFError, OSError):
            return
        if tokens is not None:
            running[number] = asyncio.create_task(one(number, tokens, sampling))
        elif number in running:
            running.pop(number).cancel()
