"""One OpenAI-compatible server over HTTP: JSON out, JSON in, and one clear line for whatever goes wrong between.

Left out: streaming, how a reply is read (reply.py), and what the fields mean (remote.py).
"""

import asyncio
import random
import re
import time
from asyncio import sleep
from dataclasses import dataclass
from typing import Any

import httpx

from thinkling.errors import FatalError, UserError
from thinkling.generate.openai.reply import Reply, TooLarge, fetch, one_line

FIRST_WAIT, LONGEST_WAIT = 0.5, 120.0  # seconds before another try
MOST_TIMEOUTS = 2  # after which a request is tried again: what is slow twice is slow
MOST_FAILED = 100  # requests in a row, each for good: the server is of no use to the next one either
LONGEST_MESSAGE = 300  # characters of what a server says
LARGEST_REPLY, REPLY_PER_TOKEN = 32 * 2**20, 8 * 2**10  # bytes; a token with its 20 likeliest takes about 2 KiB
MOST_TOKENS = 2**15  # for which a reply may be larger


class Refused(Exception):
    """The server read the request and does not take it; the message is the server's own."""


class Lost(FatalError):
    """The server does not answer, or not as it must; another one may."""


@dataclass(frozen=True)
class Lane:
    """What belongs to one event loop: its connections, and its places for requests under way."""

    client: httpx.AsyncClient
    places: asyncio.Semaphore
    closer: asyncio.Task


class Connection:
    """Posts requests to one server, at most `concurrency` at a time, and tries again what may yet go well.

    url: the address of the API, such as https://host/api/v3; of a bare host it is /v1. timeout: seconds for one answer,
    all of it. retries: tries after the first. transport: takes the network's place, in tests. one_of_many: others can
    be asked, so only a server that is busy is asked again; any other failure raises Lost at once.
    """

    def __init__(
        self, url: str, model: str, api_key: str | None, concurrency: int, timeout: float, retries: int,
        transport: httpx.AsyncBaseTransport | None = None, one_of_many: bool = False,
    ) -> None:  # fmt: skip
        self._base, self._query = base_url(url)
        self.url = shown(str(self._base)).removesuffix("/v1")
        if concurrency < 1 or timeout <= 0 or retries < 0:
            raise UserError("a server needs a concurrency of at least 1, a timeout above 0 s, and 0 retries or more")
        self._api_key = (api_key or "").strip()
        if not (self._api_key.isascii() and (self._api_key.isprintable())):
            raise UserError("the API key holds characters that no HTTP header may hold: copy it again")
        self.model, self.concurrency, self.timeout, self.retries = model, concurrency, timeout, retries
        self._transport, self._one_of_many = transport, one_of_many
        self._lanes: dict[asyncio.AbstractEventLoop, Lane] = {}
        self._connected = self._answered = False  # ever: has it replied at all, and as such a server does?
        self._num_failed = 0  # requests in a row
        self._num_under_way, self._share, self._charged_until = 0, 0.0, 0.0

    async def post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """The answer to a request, and the request's share of the seconds in which any was under way.

        Errors: Refused if the server does not take the request as it is; FatalError if it would take no other either;
        UserError for all else that goes wrong.
        """
        lane = self._lane()
        async with lane.places:
            before = self._charge(+1)
            try:
                reply = await self._try(lane.client, path, body)
            finally:
                after = self._charge(-1)
            return await self._read(lane.client, path, reply), after - before

    @property
    def api(self) -> str:
        """The part of the address that the API's paths have in front, and those beside it have not."""
        return "/v1" if self._base.raw_path.endswith(b"/v1") else ""

    async def beside(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that the server answers with at a path beside its API, such as /version; asked once.

        Errors: Refused if it does not take the request, or offers no such path; Lost for all else that goes wrong.
        """
        root = self._base.copy_with(raw_path=self._base.raw_path.removesuffix(self.api.encode()) + path.encode())
        try:
            reply = await fetch(self._lane().client, method, str(root), body, self.timeout, LARGEST_REPLY)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
            raise Lost(f"the server at {self.url} did not answer {path} within {self.timeout:g} s") from None
        except (httpx.HTTPError, TooLarge) as error:
            why = self._clean(str(error)) or type(error).__name__
            raise Lost(f"the server at {self.url} failed at {path}: {why}") from None
        if reply.status != 200:
            kind = Refused if 400 <= reply.status < 500 and not passes(reply.status) else Lost
            raise kind(f"the server at {self.url} answers {path} with {reply.named} ({self._clean(reply.message)})")
        return reply.data

    async def _try(self, client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Reply:
        """Post until a reply comes that another try would not change."""
        most_bytes = LARGEST_REPLY + REPLY_PER_TOKEN * min(MOST_TOKENS, body.get("max_tokens", MOST_TOKENS))
        num_timeouts = 0
        for attempt in range(self.retries + 1):
            asked, kind, busy = 0.0, UserError, False
            try:
                reply = await fetch(client, "POST", path, body, self.timeout, most_bytes)
            except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
                num_timeouts += 1
                problem = (f"it did not answer within {self.timeout:g} s: allow more time (--timeout), ask it less at "
                           "once, or for fewer tokens")  # fmt: skip
            except TooLarge:
                raise UserError(f"the server at {self.url} gives an answer without an end: "
                                f"after {most_bytes / 1e6:,.0f} MB it was not read further") from None  # fmt: skip
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = self._clean(str(error)) or type(error).__name__
                if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    kind = FatalError  # nobody is there any more, if none of the other tries finds them
                if kind is FatalError and not self._connected:
                    raise FatalError(f"nothing answers at {self.url} ({problem}): "
                                     "check the URL, and that the server is up") from None  # fmt: skip
            else:
                self._connected = True
                if not passes(reply.status):
                    self._num_failed = 0
                    return reply
                problem, asked = f"{reply.named}, {self._clean(reply.message)}", reply.wait
                busy = reply.status == 429
            if attempt == self.retries or asked > LONGEST_WAIT or num_timeouts > MOST_TIMEOUTS:
                break
            if self._one_of_many and not busy:
                raise Lost(f"the server at {self.url} failed: {problem}")
            # On top of what the server asks for, so that not all who wait come back at once, or at once again.
            await sleep(asked + min(LONGEST_WAIT, FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5)))
        self._num_failed += 1
        if self._num_failed >= MOST_FAILED:
            kind, problem = FatalError, f"{problem}; so did {MOST_FAILED - 1} requests before this one, none between"
        raise kind(f"the server at {self.url} failed, at try {attempt + 1} for good: {problem}")

    async def _read(self, client: httpx.AsyncClient, path: str, reply: Reply) -> dict[str, Any]:
        status, message = reply.status, self._clean(reply.message)
        if status in (400, 413, 422, 501) or (status == 403 and re.search("log.?prob", message, re.IGNORECASE)):
            raise Refused(message)  # also what a key that is good may not ask for
        if status in (401, 403):
            key = "another API key" if self._api_key else "an API key"
            raise FatalError(f"the server at {self.url} asks for {key} ({reply.named}: {message})")
        if status == 404:
            raise FatalError(await self._what_is_missing(client, path, message))
        if status != 200:
            raise FatalError(f"the server at {self.url} answers {path} with {reply.named} ({message}): check the URL")
        if not isinstance(reply.data, dict):
            kind = UserError if self._answered else FatalError
            raise kind(f"the server at {self.url} does not answer as an OpenAI-compatible one does, "
                       f"but with {message!r}: check the URL")  # fmt: skip
        self._answered = True
        return reply.data

    async def _what_is_missing(self, client: httpx.AsyncClient, path: str, message: str) -> str:
        """What a 404 means: the model, this way of asking, or the whole address."""
        try:
            listed = await fetch(client, "GET", "/models", None, self.timeout, LARGEST_REPLY)
            offered = [entry["id"] for entry in listed.data["data"]]
        except (httpx.HTTPError, TimeoutError, TooLarge, KeyError, TypeError):
            return f"there is no OpenAI-compatible server at {self.url} (HTTP 404: {message}): check the URL"
        if self.model in offered:
            where = self._base.path.rstrip("/") + path
            return f"the server at {self.url} does not offer {where} (HTTP 404: {message}): use another template"
        names = self._clean(", ".join(map(str, offered[:20]))) or "none"
        return f"the server at {self.url} has no model {self.model!r}; it has: {names}"

    def _clean(self, text: str) -> str:
        """On one line, not long, and without the API key."""
        text = one_line(text)
        text = text.replace(self._api_key, "***") if self._api_key else text
        return text if len(text) <= LONGEST_MESSAGE else text[:LONGEST_MESSAGE] + "..."

    def _charge(self, change: int) -> float:
        """Seconds charged to a request that had been under way from the start: while n are, each gets 1/n of the time.

        change: how many more are under way from now on.
        """
        now = time.monotonic()
        if self._num_under_way:
            self._share += (now - self._charged_until) / self._num_under_way
        self._charged_until = now
        self._num_under_way += change
        return self._share

    def _lane(self) -> Lane:
        """This event loop's lane. Connections cannot move to another loop, and are closed when theirs ends."""
        loop = asyncio.get_running_loop()
        if loop not in self._lanes:
            self._lanes = {other: lane for other, lane in self._lanes.items() if not other.is_closed()}
            client = httpx.AsyncClient(
                base_url=self._base, params=self._query, transport=self._transport,
                timeout=httpx.Timeout(self.timeout, pool=None),
                headers=authorization(self._api_key),
                limits=httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
            )  # fmt: skip
            self._lanes[loop] = Lane(client, asyncio.Semaphore(self.concurrency), loop.create_task(close_late(client)))
        return self._lanes[loop]


async def close_late(client: httpx.AsyncClient) -> None:
    """Close the connections when the event loop ends, which cancels the tasks that are left, as asyncio.run does."""
    try:
        await asyncio.Event().wait()
    finally:
        await client.aclose()


def shown(url: str) -> str:
    """For messages and files: without a user name and password."""
    return re.sub("//[^/@]*@", "//", url)


def authorization(key: str) -> dict[str, str]:
    """The header that shows a key to a server; one that says how it is to be shown, `Basic ...`, goes as it is."""
    if not key:
        return {}
    return {"Authorization": key if key.startswith("Basic ") else f"Bearer {key}"}


def base_url(url: str) -> tuple[httpx.URL, httpx.QueryParams]:
    """The address that the endpoints' paths are put behind, and what each request has behind its `?`.

    A path is taken as it is; without one it is /v1.
    """
    right = "write it like http://localhost:8000/v1"
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UserError(f"{shown(url)!r} is not a URL ({shown(str(error))}): {right}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"{shown(url)!r} is not a server's URL: {right}")
    path = parsed.raw_path.partition(b"?")[0].rstrip(b"/")
    return parsed.copy_with(raw_path=path or b"/v1", fragment=None), parsed.params


def passes(status: int) -> bool:
    """May another try fare better? Too slow, too many at once, or the fault of the server or what stands before it."""
    return status in (408, 425, 429) or (status >= 500 and status != 501)
