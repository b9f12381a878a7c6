"""A server under bad company for minutes: clients that stream, leave, send garbage, read slowly, or ask for too much.

    python bench/soak.py --minutes 10 --clients 64

Every whole stream must be well formed and say what the engine says alone; only clients' own mistakes may be refused;
the server's memory must stay flat. Prints a line every few seconds and a summary; exit code 1 where anything is wrong.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import tyro
from served import Request, chunks, our_server, percentile, requests_of, streamed

from thinkling.generate.language_model import LanguageModel

GARBAGE = [
    b"", b"{", b"\xff\x00", b"[" * 3000, b'{"prompt": "a", "nonsense": 1}', b'{"prompt": "a", "temperature": "x"}',
    b'{"prompt": "a", "max_tokens": 100000}', b'{"model": "other", "prompt": "a"}',
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Soak a server."""

    minutes: float = 10.0
    clients: int = 64
    max_rows: int = 32
    queue: int = 16
    max_tokens: int = 64
    prompts: int = 40
    seed: int = 0


@dataclass
class Watch:
    """What happened. wrong: what must not."""

    counts: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)
    first: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MB, every few seconds
    tokens: int = 0


class Crowd:
    def __init__(self, settings: Settings, url: str, requests: list[Request], alone: list[str]) -> None:
        self.settings, self.url, self.requests, self.alone = settings, url, requests, alone
        self.watch, self.until = Watch(), time.monotonic() + 60 * settings.minutes

    async def client(self, number: int) -> None:
        pick = random.Random(f"{self.settings.seed} {number}")
        kinds = {self.whole: 6, self.plain: 2, self.leaves: 2, self.garbage: 1, self.slow: 1}
        async with httpx.AsyncClient(base_url=self.url, timeout=120) as client:
            while time.monotonic() < self.until:
                await self.one(client, pick, pick.choices(list(kinds), list(kinds.values()))[0])

    async def one(self, client: httpx.AsyncClient, pick: random.Random, kind: Callable) -> None:
        try:
            await kind(client, pick)
            self.watch.counts[kind.__name__] += 1
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            self.watch.counts[f"HTTP {status}"] += 1
            if status != 429:
                self.watch.wrong[f"{kind.__name__}: HTTP {status}"] += 1
            await asyncio.sleep(pick.random() * 0.5)
        except Exception as error:
            self.watch.wrong[f"{kind.__name__}: {type(error).__name__}"] += 1

    async def whole(self, client: httpx.AsyncClient, pick: random.Random) -> None:
        place = pick.randrange(len(self.requests))
        found = await streamed(client, self.requests[place].body("thinkling-base"))
        self.watch.first.append(found.first)
        self.watch.tokens += found.tokens
        if not found.done or found.finish is None:
            self.watch.wrong["a stream without its end"] += 1
        if found.text != self.alone[place]:
            self.watch.wrong["not what the engine says alone"] += 1

    async def plain(self, client: httpx.AsyncClient, pick: random.Random) -> None:
        place = pick.randrange(len(self.requests))
        body = self.requests[place].body("thinkling-base") | {"stream": False, "stream_options": None}
        reply = (await client.post("/v1/completions", json=body)).raise_for_status().json()
        self.watch.tokens += reply["usage"]["completion_tokens"]
        if reply["choices"][0]["text"] != self.alone[place]:
            self.watch.wrong["not what the engine says alone"] += 1

    async def leaves(self, client: httpx.AsyncClient, pick: random.Random) -> None:
        """After some chunks, none, or before the answer begins."""
        left, body = pick.randrange(4), pick.choice(self.requests).body("thinkling-base")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01 if left == 3 else 60):
                async with client.stream("POST", "/v1/completions", json=body) as reply:
                    async for _ in chunks(reply):
                        left -= 1
                        if left < 0:
                            return

    async def garbage(self, client: httpx.AsyncClient, pick: random.Random) -> None:
        headers = {"content-type": "application/json"}
        reply = await client.post("/v1/completions", content=pick.choice(GARBAGE), headers=headers)
        if not 400 <= reply.status_code < 500:
            self.watch.wrong[f"garbage: HTTP {reply.status_code}"] += 1
        if "message" not in reply.json()["error"]:
            self.watch.wrong["garbage: no message"] += 1

    async def slow(self, client: httpx.AsyncClient, pick: random.Random) -> None:
        body = pick.choice(self.requests).body("thinkling-base") | {"logprobs": 20}
        async with client.stream("POST", "/v1/completions", json=body) as reply:
            async for _ in reply.aiter_raw(64):
                await asyncio.sleep(0.005)

    async def watching(self, process: int) -> None:
        while time.monotonic() < self.until:
            pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
            self.watch.memory.append(pages * 4096 / 1e6)
            print(f"{max(0, self.until - time.monotonic()):5.0f} s left, {self.watch.memory[-1]:,.0f} MB, "
                  f"{dict(self.watch.counts)}", flush=True)  # fmt: skip
            await asyncio.sleep(min(10.0, 6 * self.settings.minutes))

    async def run(self, process: int) -> None:
        await asyncio.gather(self.watching(process), *(self.client(i) for i in range(self.settings.clients)))
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
            page = ""
            for _ in range(100):
                page = (await client.get("/metrics")).text
                if "\nthinkling_choices_under_way 0\n" in page and "\nthinkling_rows_running 0\n" in page:
                    return
                await asyncio.sleep(0.1)
        self.watch.wrong["choices that nobody waits for go on"] += 1


def main(settings: Settings) -> None:
    requests = requests_of(settings.prompts, settings.max_tokens, settings.seed)
    model = LanguageModel.load("thinkling-base", max_rows=1)
    alone = [asyncio.run(model.complete(request.prompt, request.sampling)).text for request in requests]
    flags = ("--max-rows", str(settings.max_rows), "--queue", str(settings.queue))
    with our_server("thinkling-base", *flags) as (url, process):
        crowd = Crowd(settings, url, requests, alone)
        asyncio.run(crowd.run(process))
    watch = crowd.watch
    early, late = watch.memory[len(watch.memory) // 3], watch.memory[-1]
    speed = watch.tokens / 60 / settings.minutes
    print(f"\n{sum(watch.counts.values()):,} requests, {speed:,.0f} tokens/s of whole answers")
    print(f"first token: p50 {percentile(watch.first, 0.5):.2f} s, p99 {percentile(watch.first, 0.99):.2f} s")
    print(f"memory: {early:,.0f} MB after a third of the time, {late:,.0f} MB at the end")
    print("wrong: " + (", ".join(f"{what} ({num})" for what, num in watch.wrong.items()) or "nothing"))
    sys.exit(bool(watch.wrong))


if __name__ == "__main__":
    main(tyro.cli(Settings))
