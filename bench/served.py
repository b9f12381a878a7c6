"""What serve.py and soak.py share: a server of ours in a process of its own, requests, streams read with a clock."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems


@contextmanager
def our_server(model: str, *flags: str) -> Iterator[tuple[str, int]]:
    """Its address and its process id."""
    command = [sys.executable, "-m", "thinkling", "serve", model, "--port", "0", *flags]
    env = {name: value for name, value in os.environ.items() if name != "THINKLING_API_KEY"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    try:
        said = process.stdout.readline()
        found = re.search(r"at (http://\S+)/v1", said)
        if found is None:
            raise UserError(f"the server did not start: {said.strip() or 'it said nothing'}")
        yield found[1], process.pid
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Request:
    """A prompt with the sampling that answers it, the same here and on any server."""

    prompt: str
    sampling: Sampling

    def body(self, model: str) -> dict:
        return {
            "model": model, "prompt": self.prompt, "max_tokens": self.sampling.max_tokens,
            "temperature": self.sampling.temperature, "seed": self.sampling.seed % 2**31, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip


def requests_of(num: int, max_tokens: int, seed: int, least: int | None = None) -> list[Request]:
    """least: each asks for at least so many tokens, and at most `max_tokens`; None: for `max_tokens`."""
    found = problems("held-out", num)
    seeds = [derive_seed(seed, i) % 2**31 for i in range(num)]
    span = 1 if least is None else max_tokens - least + 1
    return [
        Request(render("step-by-step", p.question), Sampling(max_tokens=max_tokens - own % span, seed=own))
        for p, own in zip(found, seeds, strict=True)
    ]


@dataclass
class Streamed:
    """A stream, read. first: seconds until its first text. tokens: that the server counted."""

    text: str = ""
    finish: str | None = None
    tokens: int = 0
    first: float = 0.0
    seconds: float = 0.0
    done: bool = False


async def chunks(response: httpx.Response) -> AsyncIterator[dict | None]:
    """A stream's chunks; None for the mark at its end."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield None if line == "data: [DONE]" else json.loads(line[6:])


async def streamed(client: httpx.AsyncClient, body: dict) -> Streamed:
    found, started = Streamed(), time.perf_counter()
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            await response.aread()
            response.raise_for_status()
        async for chunk in chunks(response):
            if chunk is None:
                found.done = True
                continue
            if "error" in chunk:
                raise UserError(f"the stream failed: {chunk['error']['message']}")
            found.tokens = (chunk.get("usage") or {}).get("completion_tokens", found.tokens)
            for choice in chunk["choices"]:
                found.first = found.first or time.perf_counter() - started
                found.text += choice["text"]
                found.finish = choice["finish_reason"] or found.finish
    found.seconds = time.perf_counter() - started
    return found


def percentile(values: list[float], share: float) -> float:
    """Of sorted values the one below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")
