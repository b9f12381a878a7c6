"""The door of the web chat: who may come in, which of Gradio's paths there are, and that nothing leaves this machine.

It stands around the whole page, as security.Guard does around the API; a browser cannot send the API's header, so the
token is a cookie here, got by the address that is printed at the start.
"""

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thinkling.serve.security import Access, header, host_name, knows

COOKIE = "thinkling-chat-token"
MOST_BODY = 2 * 2**20  # bytes of one click: a saved conversation is the largest
# What the page needs. Gradio's others (uploads, files, proxies, monitoring, code) are no part of this chat.
PATHS = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static|svelte)/[\w./@-]+"
    r"|/gradio_api/(startup-events|info|theme\.css|queue/(join|data)|heartbeat/\w+|cancel|reset)/?"
)
SCRIPTS = "'self' 'unsafe-inline' 'unsafe-eval'"  # Gradio makes functions of the page's own templates
POLICY = (
    f"default-src 'self'; script-src {SCRIPTS}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)  # fmt: skip


class Door:
    """ASGI around ASGI. access.token: None lets everybody in who knows the Host."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message["headers"], *HEADERS]}
            await send(message)

        refused = self.refusal(scope)
        await (refused or self.app)(scope, receive, guarded)

    def refusal(self, scope: Scope) -> Response | None:
        """Why a request may not pass; None if it may."""
        host, origin = header(scope, b"host"), header(scope, b"origin")
        if not knows(self.access, host_name(host)):
            return said(403, "this Host is not known here: start the chat with --allow-host")
        if origin and origin.partition("://")[2] != host:
            return said(403, "other pages may not ask here")
        if not PATHS.fullmatch(scope["path"]) or scope["method"] not in ("GET", "HEAD", "POST"):
            return said(404, "there is no such page here")
        length = header(scope, b"content-length")
        if scope["method"] == "POST" and not (length.isdecimal() and int(length) <= MOST_BODY):
            return said(413, f"a request's body must have a length, of at most {MOST_BODY:,} bytes")
        return self.without_token(scope)

    def without_token(self, scope: Scope) -> Response | None:
        if self.access.token is None:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1]
        if scope["path"] == "/" and self.same(asked):
            reply = RedirectResponse("/", 303)
            reply.set_cookie(COOKIE, asked, httponly=True, samesite="strict")
            return reply
        if self.same(cookie(scope)):
            return None
        return said(401, "open the address with the token that was printed when the chat was started")

    def same(self, token: str) -> bool:
        return secrets.compare_digest(token.encode("utf-8", "replace"), self.access.token.encode())


def cookie(scope: Scope) -> str:
    try:
        found = SimpleCookie(header(scope, b"cookie")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def said(status: int, words: str) -> Response:
    return PlainTextResponse(words, status)
