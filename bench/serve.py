"""Serving: tokens per second and time to the first token, many clients at once, beside the engine alone and a peer.

    python bench/serve.py --clients 32 --requests 256
    python bench/serve.py --clients 32 --data-parallel-size 1 2                # in one process, and in two
    python bench/serve.py --peer-url http://127.0.0.1:8100 --peer-model thinkling-base    # such as vLLM's CPU build

Each client sends one request after another, streamed, as `thinkling serve` and any other server take them. The engine
alone completes the same prompts with the same seeds in this process, with no HTTP and nobody who reads along. The sides
take turns. Bench/README.md has the peer's commands.
"""

import asyncio
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import tyro
from served import Request, Streamed, our_server, percentile, requests_of, streamed
from sides import machine, spread

from thinkling.device import pick_device
from thinkling.generate.language_model import LanguageModel
from thinkling.runs import write_json


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Measure serving."""

    model: str = "thinkling-base"
    clients: int = 32
    requests: int = 256
    max_tokens: int = 128
    least_tokens: int | None = None
    """Requests ask for so many tokens at least, and for max_tokens at most: random weights never stop by themselves.
    None: all ask for max_tokens."""
    dtype: str = "auto"
    """Of ours; the peer has its own flag."""
    repeats: int = 3
    seed: int = 0
    data_parallel_size: tuple[int, ...] = (1,)
    """Of thinkling serve; a server for each."""
    peer_url: str | None = None
    """Another server, started before, that serves the same weights."""
    peer_model: str = ""
    out: Path | None = None
    """Also write everything measured as JSON."""


async def load(url: str, model: str, requests: list[Request], clients: int) -> tuple[list[Streamed], float]:
    """All requests by so many clients; the streams in order, and the seconds that all took."""
    waiting, found = list(enumerate(requests)), [Streamed()] * len(requests)
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def one() -> None:
            while waiting:
                place, request = waiting.pop(0)
                found[place] = await streamed(client, request.body(model))

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        return found, time.perf_counter() - started


def main(settings: Settings) -> None:
    print(f"{machine(pick_device('auto'))}; {settings.clients} clients, {settings.requests} requests of at most "
          f"{settings.max_tokens} tokens, {settings.model}\n")  # fmt: skip
    requests = requests_of(settings.requests, settings.max_tokens, settings.seed, settings.least_tokens)
    engine = LanguageModel.load(settings.model, dtype=settings.dtype, max_rows=settings.clients)
    rows: dict[str, list[dict]] = {}
    with ExitStack() as servers:
        sides = {}
        for size in settings.data_parallel_size:
            flags = ("--max-rows", str(settings.clients), "--dtype", settings.dtype, "--data-parallel-size", str(size))
            url, _ = servers.enter_context(our_server(settings.model, *flags))
            sides["thinkling serve" + (f", {size} processes" if size > 1 else "")] = url, Path(settings.model).name
        if settings.peer_url:
            sides["peer"] = (settings.peer_url, settings.peer_model or settings.model)
        for side in sides.values():
            asyncio.run(load(*side, requests[: settings.clients], settings.clients))  # warm up
        for _ in range(settings.repeats):
            rows.setdefault("the engine alone", []).append(alone(engine, requests))
            for name, side in sides.items():
                streams, seconds = asyncio.run(load(*side, requests, settings.clients))
                rows.setdefault(name, []).append(summary(streams, seconds))
    tell(rows)
    if settings.out is not None:
        write_json(settings.out, {"settings": settings, "machine": machine(pick_device("auto")), "runs": rows})


def alone(model: LanguageModel, requests: list[Request]) -> dict:
    started = time.perf_counter()

    async def all_at_once() -> list:
        return await asyncio.gather(*(model.complete(request.prompt, request.sampling) for request in requests))

    completions = asyncio.run(all_at_once())
    seconds = time.perf_counter() - started
    return {"tokens_per_second": sum(len(c.tokens) for c in completions) / seconds}


def summary(streams: list[Streamed], seconds: float) -> dict:
    first = [stream.first for stream in streams]
    return {
        "tokens_per_second": sum(stream.tokens for stream in streams) / seconds,
        "first_p50": percentile(first, 0.5), "first_p99": percentile(first, 0.99),
    }  # fmt: skip


def tell(rows: dict[str, list[dict]]) -> None:
    own = statistics.median(run["tokens_per_second"] for run in rows["the engine alone"])
    print("| side | tokens/s | of the engine's | first token, p50 | p99 |\n|---|---|---|---|---|")
    for name, runs in rows.items():
        speeds = [run["tokens_per_second"] for run in runs]
        first = [f"{statistics.median(r[key] for r in runs) * 1000:,.0f} ms" if key in runs[0] else ""
                 for key in ("first_p50", "first_p99")]  # fmt: skip
        print(f"| {name} | {spread(speeds)} | {statistics.median(speeds) / own:.0%} | {' | '.join(first)} |")


if __name__ == "__main__":
    main(tyro.cli(Settings))
