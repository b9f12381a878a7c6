"""Run a coroutine to its end from anywhere, a notebook or a server included, where an event loop runs already."""

import asyncio
import contextvars
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_anywhere(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run(main)`; inside a running event loop, in a thread of its own, for which the caller's waits.

    Ctrl+C cancels it, as in asyncio.run.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task]] = Future()

    async def run() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await main

    with ThreadPoolExecutor(1, thread_name_prefix="event loop") as pool:
        result = pool.submit(contextvars.copy_context().run, lambda: asyncio.run(run()))
        try:
            return result.result()
        except BaseException:
            loop, task = started.result()
            if not result.done():
                loop.call_soon_threadsafe(task.cancel)
            raise
