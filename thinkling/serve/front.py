"""One port before several server processes: each connection goes, whole, to the process with the fewest busy ones.

A connection is busy from its start until its first answer has ended, and while it has a later request; of processes
with equally many, that with the fewest connections takes it. It stays where it is, and its client with the prompts that
are known there. The front reads and writes nothing of HTTP. It ends all when it is told to, or one of them has died.
"""

import asyncio
import contextlib
import errno
import json
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker

from thinkling.device import pick_device
from thinkling.errors import FatalError, UserError
from thinkling.generate.data_parallel import check_on_a_cpu, how_it_ended, threads_for_each
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import resolve
from thinkling.serve.api import Limits
from thinkling.serve.channel import CONNECTION, can_hand_over, line
from thinkling.serve.connections import FULL
from thinkling.serve.security import Access
from thinkling.serve.server import address, listening, with_told_token
from thinkling.serve.worker import Setup, work

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CLOSING = 5.0  # seconds that a process may take to end besides those of its answers
LATER = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)  # of accept: try again


def serve_in_processes(
    size: int, how: Sequence, engine: Mapping[str, float | None], name: str | None, access: Access, port: int,
    limits: Limits, ending_s: float,
) -> None:  # fmt: skip
    """`server.serve` with `size` processes. how, engine: what LanguageModel.load takes, the latter by name. Of these,
    cache_gb and prefix_gb are shared out, and so is the queue of `limits`; connections are counted here.

    Raises FatalError where one of them dies, UserError off a CPU or where the model cannot be loaded.
    """
    if not can_hand_over():
        raise UserError(f"--data-parallel-size {size}: this system does not hand a connection from one process to "
                        "another; start several servers instead, each with a --port of its own")  # fmt: skip
    threads = threads_for_each(size)
    model, device, *_ = how
    check_on_a_cpu(size, pick_device(device), "start a server for each device, with a --port of its own")
    resolve(model)  # found, or fetched, once and not by each
    share = {key: engine[key] / size for key in ("cache_gb", "prefix_gb")}
    load = partial(LanguageModel.load, *how, **engine | share)
    whole = Setup(load, name, with_told_token(access), limits, ending_s, int(time.time()), size, threads)
    queues = [limits.queue // size + (i < limits.queue % size) for i in range(size)]
    with all_started([replace(whole, limits=replace(limits, queue=queue)) for queue in queues]) as backends:
        told = asyncio.run(Front(backends, whole.access, port, limits.connections, ending_s).run())
    signal.raise_signal(told)


@contextlib.contextmanager
def all_started(setups: list[Setup]) -> Iterator[list["Backend"]]:
    """A process for each; none is left afterwards. While they start, they are blind for Ctrl-C, which the terminal
    sends to them, too."""
    resource_tracker.ensure_running()  # else the first process would start it, and with it unblock the signals
    backends: list[Backend] = []
    try:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for i, own in enumerate(setups, 1):
                backends.append(Backend(f"process {i} of {len(setups)}", own))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield backends
    finally:
        for backend in backends:
            backend.process.kill()
            backend.process.join()


class Backend:
    """A process as the front sees it. busy, open: its connections with a request under way, and all."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name, self.busy, self.open = name, 0, 0
        self.names: list[str] = []  # that it serves, once it is ready
        self.outgoing: asyncio.Queue[tuple[bytes, socket.socket | None]] = asyncio.Queue()
        self.channel, far = socket.socketpair()
        self.channel.setblocking(False)
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=work, args=(far, setup), name=f"thinkling {name}", daemon=True)
        self.process.start()
        far.close()

    def tell(self, *message: object) -> None:
        self.outgoing.put_nowait((line(*message), None))

    def give(self, connection: socket.socket) -> None:
        self.busy, self.open = self.busy + 1, self.open + 1
        self.outgoing.put_nowait((line(CONNECTION), connection))

    async def send(self) -> None:
        """Send what is told, in its order."""
        while True:
            data, connection = await self.outgoing.get()
            while data:
                try:
                    sent = (socket.send_fds(self.channel, [data], [connection.fileno()]) if connection
                            else self.channel.send(data))  # fmt: skip
                except ConnectionError:
                    return  # it has ended, which the front notices
                except OSError as error:
                    if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS):
                        raise
                    await asyncio.sleep(0.005)  # it has much to read
                    continue
                data = data[sent:]
                if connection is not None:
                    connection.close()  # it is the process's now
                    connection = None


class Front:
    """most: connections at once, of all processes. ending_s: that answers under way have when it is told to end."""

    def __init__(self, backends: list[Backend], access: Access, port: int, most: int, ending_s: float) -> None:
        self.backends, self.access, self.port, self.most, self.ending_s = backends, access, port, most, ending_s

    async def run(self) -> signal.Signals:
        """Serve until a signal comes; which. Raises what ends it otherwise."""
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[signal.Signals] = loop.create_future()
        self.ready, self.at_once = asyncio.Event(), asyncio.Event()  # at_once: Ctrl-C came once more
        for own in SIGNALS:
            loop.add_signal_handler(own, self.told, own)
        sending = [self.start(backend.send()) for backend in self.backends]
        hearing = [self.start(self.hear(backend)) for backend in self.backends]
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait([self.over, ready], return_when=asyncio.FIRST_COMPLETED)
        if not self.over.done():
            with listening(self.access.bind, self.port) as listener:
                names = ", ".join(self.backends[0].names)
                print(f"serving {names} at {address(listener)}/v1 with {len(self.backends)} processes (Ctrl+C ends)",
                      flush=True)  # fmt: skip
                accepting = self.start(self.accept(listener))
                await asyncio.wait([self.over])
                accepting.cancel()
            await self.let_end(hearing)
        for task in (ready, *sending, *hearing):
            task.cancel()
        return await self.over

    def start(self, work: Coroutine) -> asyncio.Task:
        """A task whose failure ends all."""

        def look(task: asyncio.Task) -> None:
            if not task.cancelled() and task.exception() is not None:
                self.end(task.exception())

        task = asyncio.create_task(work)
        task.add_done_callback(look)
        return task

    def told(self, own: signal.Signals) -> None:
        if not self.over.done():
            self.over.set_result(own)
        elif own == signal.SIGINT:
            self.at_once.set()

    def freest(self) -> Backend:
        """The process that takes the next connection."""
        return min(self.backends, key=lambda backend: (backend.busy, backend.open))

    async def accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            except OSError as error:
                if error.errno not in LATER:
                    raise
                await asyncio.sleep(0.1)
                continue
            if sum(backend.open for backend in self.backends) >= self.most:
                refuse(connection)
            else:
                self.freest().give(connection)

    async def hear(self, backend: Backend) -> None:
        """What a process says, until it ends."""
        loop, rest = asyncio.get_running_loop(), b""
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(backend.channel, 2**16):
                *lines, rest = (rest + data).split(b"\n")
                for said in lines:
                    self.act(backend, json.loads(said))
        if not self.over.done():
            await asyncio.to_thread(backend.process.join, CLOSING)
            died = f"the server's {backend.name} has ended ({how_it_ended(backend.process)})"
            print(f"{died}: no more connections are taken", file=sys.stderr)  # the rest may take a while
            self.end(FatalError(f"{died}: if memory ran out, lower --data-parallel-size or --cache-gb"))

    def act(self, backend: Backend, message: list) -> None:
        match message:
            case ["ready", names]:
                backend.names = names
                if all(one.names for one in self.backends):
                    self.ready.set()
            case ["refused", why]:
                self.end(UserError(why))
            case ["busy"]:
                backend.busy += 1
            case ["idle"]:
                backend.busy -= 1
            case ["closed", busy]:
                backend.open, backend.busy = backend.open - 1, backend.busy - busy
            case ["count", number]:
                for other in self.backends:
                    if other is not backend:
                        other.tell("count", self.backends.index(backend), number)
            case ["counted", whose, number, snapshot]:
                self.backends[whose].tell("counted", number, snapshot)

    def end(self, error: BaseException) -> None:
        if not self.over.done():
            self.over.set_exception(error)

    async def let_end(self, hearing: list[asyncio.Task]) -> None:
        """Let answers under way come to their end. A second Ctrl-C gives them up."""
        for backend in self.backends:
            backend.tell("end")
        either = [asyncio.create_task(work) for work in (asyncio.wait(hearing), self.at_once.wait())]
        await asyncio.wait(either, timeout=self.ending_s + CLOSING, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()


def refuse(connection: socket.socket) -> None:
    connection.setblocking(False)
    with contextlib.suppress(OSError):
        connection.send(FULL)
    connection.close()
