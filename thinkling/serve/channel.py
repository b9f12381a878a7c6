"""Messages between the process that has the port and those that answer: JSON, one array a line, over a pair of Unix
sockets. An accepted connection travels with its message, as a file descriptor.

Left out: Windows, whose sockets cannot be handed on like this.
"""

import json
import os
import socket
from collections import deque
from collections.abc import Iterator

CONNECTION = "connection"  # the message that a connection comes with
AT_ONCE = 32  # connections that one read may bring


def can_hand_over() -> bool:
    """Does this system pass connections from process to process?"""
    return hasattr(socket, "send_fds")


def line(*message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def messages(channel: socket.socket) -> Iterator[tuple[list, socket.socket | None]]:
    """What comes through a channel, until its other end is closed; with a connection, if it brings one. Blocks."""
    rest, descriptors = b"", deque()
    while True:
        try:
            data, found, _, _ = socket.recv_fds(channel, 2**16, AT_ONCE)
        except ConnectionError:
            return
        if not data:
            return
        for descriptor in found:
            os.set_inheritable(descriptor, False)
        descriptors.extend(found)  # each comes with its message's first byte, or before
        *lines, rest = (rest + data).split(b"\n")
        for message in map(json.loads, lines):
            brings = message[0] == CONNECTION
            yield message, socket.socket(fileno=descriptors.popleft()) if brings else None
