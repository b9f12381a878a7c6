"""Who may ask, and what they get to see: host names, origins, the token, refusals without paths, logs without tricks.

It stands around all routes. Limits on a body are in body.py, those on a connection in connections.py.
"""

import ipaddress
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thinkling.serve.metrics import Metrics
from thinkling.serve.refusals import ApiError
from thinkling.serve.shapes import encoded

LOG = logging.getLogger("thinkling.serve")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN = ("/health",)  # that need no token
MOST_HEAD = 16 * 2**10  # bytes of a request's path and headers
HEADERS = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


@dataclass(frozen=True)
class Access:
    """bind: the address that is listened at. token: what clients must send, None for none. hosts: names by which the
    server may be called besides addresses. origins: of pages that may ask from a browser."""

    bind: str
    token: str | None = None
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI around ASGI: checks a request before anything of it is read."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, paths: Sequence[str]) -> None:
        self.app, self.access, self.metrics, self.paths = app, access, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.monotonic(), 500
        origin = header(scope, b"origin")

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = message | {"headers": [*message["headers"], *HEADERS, *self._cors(scope, origin)]}
            await send(message)

        try:
            self._check(scope, origin)
            if scope["method"] == "OPTIONS" and origin:
                await Response(status_code=204)(scope, receive, watched)
            else:
                await self.app(scope, receive, watched)
        except ApiError as error:
            await refusal(error)(scope, receive, watched)
        except Exception as error:
            LOG.error("a request failed", exc_info=error)
            if status != 500:  # it has begun: all that is left is to break it off
                raise
            await refusal(ApiError(500, "the server failed at this request; its log says why"))(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.count("requests", path=path, status=status)
            client = (scope.get("client") or ("?",))[0]
            LOG.info('%s "%s %s" %d %.3f s', client, escaped(scope["method"]), escaped(scope["path"]), status,
                     time.monotonic() - started)  # fmt: skip

    def _check(self, scope: Scope, origin: str) -> None:
        if sum(len(key) + len(value) for key, value in scope["headers"]) + len(scope["raw_path"]) > MOST_HEAD:
            raise ApiError(431, f"the request's head is larger than {MOST_HEAD:,} bytes")
        host = host_name(header(scope, b"host"))
        if not knows(self.access, host):
            raise ApiError(403, "this Host is not known here: start the server with --allow-host", code="unknown_host")
        if origin and not self._allows(origin):
            raise ApiError(403, "pages of this Origin may not ask here: start the server with --allow-origin",
                           code="unknown_origin")  # fmt: skip
        preflight = scope["method"] == "OPTIONS" and origin
        if self.access.token is not None and scope["path"] not in OPEN and not preflight:
            given = header(scope, b"authorization").partition(" ")
            right = secrets.compare_digest(given[2].strip().encode(), self.access.token.encode())
            if not (right and given[0].lower() == "bearer"):
                raise ApiError(401, "send the server's token as Authorization: Bearer TOKEN", code="invalid_api_key",
                               headers={"WWW-Authenticate": "Bearer"})  # fmt: skip

    def _allows(self, origin: str) -> bool:
        """Browsers write an origin in lower case and without a slash at its end, persons as they like."""
        return origin in (own.lower().rstrip("/") for own in self.access.origins)

    def _cors(self, scope: Scope, origin: str) -> list[tuple[bytes, bytes]]:
        """A page may send what headers it asks for: OpenAI's client has many of its own, X-Stainless-OS and others."""
        if not self._allows(origin):
            return []
        wanted = header(scope, b"access-control-request-headers") or "authorization, content-type"
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin"),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", wanted.encode("latin-1")),
            (b"access-control-expose-headers", b"retry-after, x-dropped-turns"),
        ]  # fmt: skip


def knows(access: Access, host: str) -> bool:
    """May the server be called by this name? A page that has its own name point here (DNS rebinding) may not."""
    if host in map(str.lower, access.hosts) or host in LOOPBACK:
        return True
    if is_loopback(access.bind):
        return False
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def header(scope: Scope, name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def host_name(host: str) -> str:
    """A Host header without its port."""
    host = host.strip().lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def refusal(error: ApiError) -> Response:
    return Response(encoded(error.json()), error.status, error.headers, "application/json")


def escaped(text: str) -> str:
    """Text for a log: on one line, and nothing in it steers a terminal."""
    text = text[:200].replace('"', "\\x22")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown.encode("ascii", "backslashreplace").decode()
