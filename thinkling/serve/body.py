"""A request's body: read within limits of bytes and seconds, and then as JSON of a limited depth, without surprises."""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request

from thinkling.serve.refusals import ApiError

MOST_BYTES, MOST_DEPTH = 4 * 2**20, 32
EXACT = 2**53  # from here on, a float leaves whole numbers out
LET_GO_BYTES, LET_GO_SECONDS = 4 * MOST_BYTES, 1.0  # of a body that is refused
# A text that does not end is a part, too: else each quote in it would be tried as a beginning, which takes days.
PARTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL)


async def read_json(request: Request, seconds: float) -> Any:
    """Raises ApiError for a body that is no JSON, too large, too deep, or takes too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send the body as Content-Type: application/json")
    too_large = ApiError(413, f"the body is larger than {MOST_BYTES:,} bytes", headers={"Connection": "close"})
    length = request.headers.get("content-length", "0")
    stream = request.stream()
    if length.isdecimal() and int(length[:20]) > MOST_BYTES:
        await let_go(stream)
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in stream:
                size += len(part)
                if size > MOST_BYTES:
                    await let_go(stream)
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, f"the body took longer than {seconds:g} s", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ApiError(400, "the client went away") from None
    return parsed(b"".join(parts))


async def let_go(stream: AsyncIterator[bytes]) -> None:
    """Read on for a moment, and keep nothing: who is closed while it still sends may lose the answer that it was
    given, for the network resets the connection."""
    size = 0
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(LET_GO_SECONDS):
            async for part in stream:
                size += len(part)
                if size > LET_GO_BYTES:
                    return


def parsed(body: bytes) -> Any:
    if depth_of(body) > MOST_DEPTH:
        raise ApiError(400, f"the body's JSON is nested deeper than {MOST_DEPTH}")
    try:
        data = json.loads(body.decode("utf-8"), object_pairs_hook=once, parse_constant=refuse,
                          parse_float=number)  # fmt: skip
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError:
        raise ApiError(400, "the body is not UTF-8, or holds half a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        why = f": {error}" if isinstance(error, json.JSONDecodeError | Unwanted) else ""
        raise ApiError(400, f"the body is no JSON{why}") from None
    return data


def depth_of(body: bytes) -> int:
    """How deep lists and objects stand in each other, whatever else the text is."""
    depth = deepest = 0
    for found in PARTS.finditer(body):
        if found[1]:
            depth += 1
            deepest = max(deepest, depth)
        elif found[2]:
            depth -= 1
    return deepest


class Unwanted(ValueError):
    """JSON that different readers read differently."""


def once(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unwanted("a key stands twice in one object")
    return found


def number(text: str) -> int | float:
    """64.0 is a whole number: to JSON Schema, and to clients whose language has no other kind."""
    value = float(text)
    if math.isinf(value):
        raise Unwanted("a number is larger than any that is calculated with")
    return int(value) if value.is_integer() and abs(value) < EXACT else value


def refuse(constant: str) -> Any:
    raise Unwanted(f"{constant} is no number")
