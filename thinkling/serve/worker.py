"""One of several processes of a server: all that a server is, but without a port. Connections come through a channel.

What it tells the front (front.py): ready, with the names that it serves, or refused; which of its connections are busy,
idle and closed; and what it has counted. It ends when it is told to, and at once when the front is gone.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
import uvicorn

from thinkling.allocator import keep_freed_memory
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.serve.api import Api, Limits
from thinkling.serve.channel import CONNECTION, line, messages
from thinkling.serve.connections import reporting
from thinkling.serve.metrics import Group, Metrics, Snapshot
from thinkling.serve.refusals import ApiError
from thinkling.serve.security import Access
from thinkling.serve.served import Served
from thinkling.serve.server import config_of, log_to_standard_error

PATIENCE = 10.0  # seconds for the others to say what they have counted


@dataclass(frozen=True)
class Setup:
    """What a process needs to serve. limits, threads: its own share. created: when the server was; size: of how many
    processes."""

    load: Callable[[], LanguageModel]
    name: str | None
    access: Access
    limits: Limits
    ending_s: float
    created: int
    size: int
    threads: int


def work(channel: socket.socket, setup: Setup) -> None:
    """Serve what comes through the channel. The main function of a process of its own."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and the like are the front's to see
        signal.signal(ignored, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    keep_freed_memory()
    torch.set_num_threads(setup.threads)
    Worker(channel, setup).work()


class Worker(uvicorn.Server):
    """The near end of the channel is read in a thread of its own, so that a front that is gone is noticed always."""

    def __init__(self, channel: socket.socket, setup: Setup) -> None:
        self.channel, self.setup = channel, setup
        self.metrics = Metrics()
        self.names: list[str] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.under_way: set[asyncio.Task] = set()
        self.numbers = itertools.count()
        self.waiting: dict[int, asyncio.Queue[Snapshot]] = {}

    def work(self) -> None:
        setup = self.setup
        threading.Thread(target=self.listen, name="thinkling channel", daemon=True).start()
        try:
            model = setup.load()
        except UserError as error:
            return self.tell("refused", str(error))
        served = Served.of(model, setup.name, setup.created)
        api = Api(served, setup.limits, setup.access, group=Group(setup.size, self.others))
        self.metrics, self.names = api.metrics, served.names
        log_to_standard_error()
        limits = setup.limits
        protocol = reporting(limits.client_seconds, limits.connections, self.tell)
        super().__init__(config_of(api, protocol, setup.ending_s))
        self.run(sockets=[])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.tell("ready", self.names)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they stay ignored

    def tell(self, *message: object) -> None:
        with contextlib.suppress(ConnectionError):  # the front is gone, and `listen` ends this process
            self.channel.sendall(line(*message))

    # --- in the thread that reads ---

    def listen(self) -> None:
        for message, connection in messages(self.channel):
            if message == ["end"]:
                self.should_exit = True
            else:
                self.loop.call_soon_threadsafe(self.hear, message, connection)
        os._exit(1)

    # --- in the loop ---

    def hear(self, message: list, connection: socket.socket | None) -> None:
        match message:
            case [kind] if kind == CONNECTION:
                task = self.loop.create_task(self.take(connection))
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
            case ["count", *whose]:
                self.tell("counted", *whose, asdict(self.metrics.snapshot()))
            case ["counted", number, snapshot] if number in self.waiting:
                self.waiting[number].put_nowait(Snapshot(**snapshot))

    async def take(self, connection: socket.socket) -> None:
        config, state = self.config, self.lifespan.state

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(config=config, server_state=self.server_state, app_state=state)

        try:
            await self.loop.connect_accepted_socket(protocol, connection)
        except OSError:  # it broke on its way here
            connection.close()
            self.tell("closed", True)

    async def others(self) -> list[Snapshot]:
        """What the other processes have counted, all through the front."""
        number = next(self.numbers)
        found = self.waiting[number] = asyncio.Queue()
        self.tell("count", number)
        try:
            async with asyncio.timeout(PATIENCE):
                return [await found.get() for _ in range(self.setup.size - 1)]
        except TimeoutError:
            raise ApiError(504, "another process of this server does not say what it has counted", code="timeout"
                           ) from None  # fmt: skip
        finally:
            del self.waiting[number]
