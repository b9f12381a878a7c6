"""What an HTTP server replies: read within a limit of seconds and of bytes, then as JSON, a status and a message.

Whatever bytes come, there is a Reply: what is not UTF-8 is replaced, half a surrogate pair too, and what is not JSON is
None. Left out: whether to try again (connection.py), and what an answer's fields mean (format.py).
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

# An escape in JSON: a whole surrogate pair, a half of one, or any other, which may be an escaped backslash.
ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.")
FAILED_CHOICE = ("error", "abort")  # finish reasons of an answer that the server itself gave up


class TooLarge(Exception):
    """The reply is longer than the limit."""


@dataclass(frozen=True)
class Reply:
    """status: HTTP's, or the one that an error inside a reply with 200 stands for; named: which of the two, in words.
    data: the body's JSON, None if it is none. message: what the server says went wrong, else its text, on one line.
    wait: seconds that the server asks to wait, 0 if it does not ask."""

    status: int
    named: str
    data: Any
    message: str
    wait: float


async def fetch(
    client: httpx.AsyncClient, method: str, path: str, body: dict | None, seconds: float, most_bytes: int
) -> Reply:
    """The reply to a request, whole. Raises TooLarge, httpx.HTTPError, and TimeoutError after `seconds`, however the
    reply drips."""
    parts, size = [], 0
    async with asyncio.timeout(seconds), client.stream(method, path, json=body) as response:
        async for part in response.aiter_bytes():
            size += len(part)
            if size > most_bytes:
                raise TooLarge
            parts.append(part)
    return reply_of(response.status_code, b"".join(parts), retry_after(response.headers.get("retry-after", "")))


def reply_of(status: int, body: bytes, wait: float = 0.0) -> Reply:
    text = body.decode("utf-8-sig", "replace")
    data = read_json(text)
    error = error_in(data) if status == 200 else None
    if error is None:
        return Reply(status, f"HTTP {status}", data, message_of(data, text), wait)
    return Reply(status_in(error), "HTTP 200 with an error", data, message_of(error, text), wait)


def read_json(text: str) -> Any:
    """The text's JSON, or None if it is not JSON. Half a surrogate pair, which no file can hold, becomes U+FFFD."""
    try:
        return json.loads(ESCAPE.sub(lambda found: r"\ufffd" if found[1] else found[0], text))
    except (ValueError, RecursionError):  # also a number of 5,000 digits, and a million brackets
        return None


def error_in(data: Any) -> Any:
    """The error in an answer that came with HTTP 200, as gateways give it: beside the choices, or in the first."""
    if not isinstance(data, dict):
        return None
    if data.get("error"):
        return data["error"]
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and first.get("finish_reason") in FAILED_CHOICE:
        return first.get("error") or {"message": f"it ended its answer with finish_reason {first['finish_reason']!r}"}
    return None


def status_in(error: Any) -> int:
    """The HTTP status that an error names as its code; 500, which is tried again, if it names none."""
    code = str(error.get("code")) if isinstance(error, dict) else ""
    return int(code) if re.fullmatch(r"[45]\d\d", code) else 500


def message_of(said: Any, text: str) -> str:
    """What the server says went wrong, wherever it says so, on one line."""
    for name in ("error", "detail", "message"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    if isinstance(said, list) and all(isinstance(entry, dict) and "msg" in entry for entry in said):
        # FastAPI's list of wrong fields; the rest of each entry repeats the request.
        said = "; ".join(f"{'.'.join(map(str, entry.get('loc') or ()))}: {entry['msg']}" for entry in said)
    return one_line(said if isinstance(said, str) and said else text)


def one_line(text: str) -> str:
    """The text without what would break a line or steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:10_000]).split())


def retry_after(value: str) -> float:
    """Seconds that the server asks to wait, as a number or a date (RFC 9110, section 10.2.3); 0 if it does not."""
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
