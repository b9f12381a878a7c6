"""Connections that cost more than they are worth are ended: too many, or one whose client sends or reads too slowly.
And a server of several processes is told which of its connections have a request under way.

It adds this to uvicorn's own protocol for HTTP/1.1, which also limits how much of a head it holds.
"""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.h11_impl import H11Protocol

FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


class WatchedProtocol(H11Protocol):
    """seconds: for sending a request's head, and for reading when the answer's buffer is full. most: connections."""

    seconds, most = 20.0, 1024
    head_timer: asyncio.TimerHandle | None = None
    read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(FULL)
            transport.close()
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """Runs from the first byte of a request (or from the start) until its head is whole."""
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self.head_timer is None:
            self.head_timer = self.loop.call_later(self.seconds, self.transport.abort)
        elif not waits:
            self._stop_head_timer()

    def _stop_head_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.read_timer = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.read_timer is not None:
            self.read_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_head_timer()
        if self.read_timer is not None:
            self.read_timer.cancel()


def watched(seconds: float, most: int) -> type[WatchedProtocol]:
    return type("Watched", (WatchedProtocol,), {"seconds": seconds, "most": most})


class ReportingProtocol(WatchedProtocol):
    """Also tells whether its connection is busy: from the start until its first answer has ended, and while it has a
    later request. tell: hears "busy", "idle" and "closed", with whether it was busy until then."""

    tell: Callable[..., None]
    busy = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which may begin with the next request, if that has come
        self._look()

    def _look(self) -> None:
        busy = self.cycle is None or not self.cycle.response_complete
        if busy != self.busy:
            self.busy = busy
            self.tell("busy" if busy else "idle")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.tell("closed", self.busy)


def reporting(seconds: float, most: int, tell: Callable[..., None]) -> type[ReportingProtocol]:
    return type("Reporting", (ReportingProtocol,), {"seconds": seconds, "most": most, "tell": staticmethod(tell)})
