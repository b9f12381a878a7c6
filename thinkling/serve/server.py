"""The server's process: it listens, says where, serves until it is told to end, and lets answers under way come to
their end.

Left out: TLS, which a proxy in front does.
"""

import logging
import secrets
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import uvicorn

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.serve.api import Api, Limits
from thinkling.serve.connections import WatchedProtocol, watched
from thinkling.serve.security import LOG, MOST_HEAD, Access, is_loopback
from thinkling.serve.served import Served


def serve(
    model: LanguageModel, name: str | None, access: Access, port: int, limits: Limits, ending_s: float,
    folder: Path | None = None,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM; then for at most `ending_s` seconds more, for answers under way.

    access.token: off the own machine there is always one; without one it is made up here, and printed. folder: what
    clients may have other weights taken from.
    """
    access = with_told_token(access)
    api = Api(Served.of(model, name, int(time.time())), limits, access, folder)
    listener = listening(access.bind, port)
    log_to_standard_error()
    config = config_of(api, watched(limits.client_seconds, limits.connections), ending_s)
    print(f"serving {', '.join(api.served.names)} at {address(listener)}/v1 (Ctrl+C ends)", flush=True)
    uvicorn.Server(config).run([listener])


def config_of(api: Api, protocol: type[WatchedProtocol], ending_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        api.app(), http=protocol, ws="none", loop="asyncio", lifespan="on",
        log_config=None, log_level="error", access_log=False, server_header=False, proxy_headers=False,
        h11_max_incomplete_event_size=MOST_HEAD, timeout_keep_alive=30, timeout_graceful_shutdown=ending_s,
    )  # fmt: skip


def log_to_standard_error() -> None:
    LOG.setLevel(logging.INFO)
    LOG.addHandler(handler := logging.StreamHandler())
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))


def with_told_token(access: Access) -> Access:
    """`with_token`, and a token that was made is printed."""
    made = with_token(access)
    if made is not access:
        print(f"the token that clients must send: {made.token}", file=sys.stderr)
    return made


def with_token(access: Access) -> Access:
    """With a token, if the server can be reached from other machines."""
    if access.token is not None or is_loopback(access.bind):
        return access
    return replace(access, token=secrets.token_urlsafe(32))


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on. Raises UserError where it cannot."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        raise UserError(f"cannot listen at {host}:{port} ({error.strerror or error}): choose another --port or --host"
                        ) from None  # fmt: skip
    return listener
