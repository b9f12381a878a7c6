"""One OpenAI-compatible server over HTTP: JSON out, JSON in, and one clear line for whatever goes wrong between.

Left out: streaming, and what the fields mean (remote.py).
"""

import asyncio
import random
import re
import time
from asyncio import sleep
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from thinkling.errors import UserError

FIRST_WAIT, LONGEST_WAIT = 0.5, 120.0  # seconds before another try
LONGEST_MESSAGE = 300  # characters of what a server says


class Refused(Exception):
    """The server read the request and does not take it; the message is the server's own."""


@dataclass(frozen=True)
class Lane:
    """What belongs to one event loop: its connections, and its places for requests under way."""

    client: httpx.AsyncClient
    places: asyncio.Semaphore
    closer: asyncio.Task


class Connection:
    """Posts requests to one server, at most `concurrency` at a time, and tries again what may yet go well.

    url: with or without /v1 at its end. timeout: seconds for one answer. retries: tries after the first.
    transport: takes the network's place, in tests.
    """

    def __init__(
        self, url: str, model: str, api_key: str | None, concurrency: int, timeout: float, retries: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._base = base_url(url)
        self.url = re.sub("//[^/@]*@", "//", self._base.removesuffix("/v1"))  # for messages: without a password
        if concurrency < 1 or timeout <= 0 or retries < 0:
            raise UserError("a server needs a concurrency of at least 1, a timeout above 0 s, and 0 retries or more")
        self._api_key = (api_key or "").strip()
        if not (self._api_key.isascii() and (self._api_key.isprintable())):
            raise UserError("the API key holds characters that no HTTP header may hold: copy it again")
        self.model, self.concurrency, self.timeout, self.retries = model, concurrency, timeout, retries
        self._transport = transport
        self._lanes: dict[asyncio.AbstractEventLoop, Lane] = {}
        self._answered = False
        self._num_under_way, self._share, self._charged_until = 0, 0.0, 0.0

    async def post(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """The answer to a request, and the request's share of the seconds in which any was under way.

        Errors: Refused if the server does not take the request as it is; UserError for all else that goes wrong.
        """
        lane = self._lane()
        async with lane.places:
            before = self._charge(+1)
            try:
                response = await self._try(lane.client, path, body)
            finally:
                after = self._charge(-1)
            return await self._read(lane.client, path, response), after - before

    async def _try(self, client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
        """Post until an answer comes that another try would not change."""
        for attempt in range(self.retries + 1):
            wait = None
            try:
                response = await client.post(path, json=body)
            except httpx.TimeoutException:
                raise UserError(f"the server at {self.url} did not answer within {self.timeout:g} s: "
                                "allow more time, ask it less at once, or for fewer tokens") from None  # fmt: skip
            except httpx.TransportError as error:
                problem = self._clean(str(error)) or type(error).__name__
                if isinstance(error, httpx.ConnectError) and not self._answered:
                    raise UserError(f"nothing answers at {self.url} ({problem}): "
                                    "check the URL, and that the server is up") from None  # fmt: skip
            else:
                self._answered = True
                if response.status_code not in (408, 429, 500, 502, 503, 504):
                    return response
                problem, wait = f"HTTP {response.status_code}, {self._message(response)}", retry_after(response)
            if wait is None:
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5))
            if attempt == self.retries or wait > LONGEST_WAIT:
                break
            await sleep(wait)
        raise UserError(f"the server at {self.url} failed, at try {attempt + 1} for good: {problem}")

    async def _read(self, client: httpx.AsyncClient, path: str, response: httpx.Response) -> dict[str, Any]:
        status, message = response.status_code, self._message(response)
        if status in (400, 413, 422, 501):
            raise Refused(message)
        if status in (401, 403):
            key = "another API key" if self._api_key else "an API key"
            raise UserError(f"the server at {self.url} asks for {key} (HTTP {status}: {message})")
        if status == 404:
            raise UserError(await self._what_is_missing(client, path, message))
        if status != 200:
            raise UserError(f"the server at {self.url} answers {path} with HTTP {status} ({message}): check the URL")
        answer = read_json(response)
        if not isinstance(answer, dict):
            raise UserError(f"the server at {self.url} does not answer as an OpenAI-compatible one does, "
                            f"but with {message!r}: check the URL")  # fmt: skip
        return answer

    async def _what_is_missing(self, client: httpx.AsyncClient, path: str, message: str) -> str:
        """What a 404 means: the model, this way of asking, or the whole address."""
        try:
            offered = [entry["id"] for entry in read_json(await client.get("/models"))["data"]]
        except (httpx.HTTPError, KeyError, TypeError):
            return f"there is no OpenAI-compatible server at {self.url} (HTTP 404: {message}): check the URL"
        if self.model in offered:
            return f"the server at {self.url} does not offer /v1{path} (HTTP 404: {message}): use another template"
        names = ", ".join(offered[:20]) or "none"
        return f"the server at {self.url} has no model {self.model!r}; it has: {names}"

    def _message(self, response: httpx.Response) -> str:
        """What the server says went wrong, wherever it says so, on one line."""
        said: Any = read_json(response)
        for name in ("error", "detail", "message"):
            if isinstance(said, dict) and name in said:
                said = said[name]
        if isinstance(said, list) and all(isinstance(entry, dict) and "msg" in entry for entry in said):
            # FastAPI's list of wrong fields; the rest of each entry repeats the request.
            said = "; ".join(f"{'.'.join(map(str, entry.get('loc', ())))}: {entry['msg']}" for entry in said)
        return self._clean(said if isinstance(said, str) and said else response.text)

    def _clean(self, text: str) -> str:
        """On one line, not long, and without the API key."""
        text = " ".join(text.split())
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
                base_url=self._base, transport=self._transport, timeout=httpx.Timeout(self.timeout, pool=None),
                headers={"Authorization": f"Bearer {self._api_key}"} if self._api_key else {},
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


def base_url(url: str) -> str:
    """The address that ends in /v1, whether or not `url` does."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UserError(f"{url!r} is not a URL ({error}): write it like http://localhost:8000/v1") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"{url!r} is not a server's URL: write it like http://localhost:8000/v1")
    return str(parsed).rstrip("/").removesuffix("/v1") + "/v1"


def read_json(response: httpx.Response) -> Any:
    """The body's JSON, or None if it is not JSON."""
    try:
        return response.json()
    except ValueError:
        return None


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the server asks to wait, as a number or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
