"""A coroutine runs to its end from anywhere."""

import asyncio
import contextvars
import threading

import pytest

from thinkling.anywhere import run_anywhere

NAME = contextvars.ContextVar("NAME", default="outside")


async def who() -> tuple[str, int]:
    await asyncio.sleep(0)
    return NAME.get(), threading.get_ident()


def test_without_and_within_a_running_loop() -> None:
    assert run_anywhere(who()) == ("outside", threading.get_ident())

    async def cell() -> tuple[str, int]:
        NAME.set("inside")
        return run_anywhere(who())

    name, thread = asyncio.run(cell())
    assert name == "inside" and thread != threading.get_ident()


def test_what_is_raised_is_raised() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async def cell() -> None:
        with pytest.raises(ZeroDivisionError):
            run_anywhere(fails())

    asyncio.run(cell())


def test_an_interrupted_caller_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+C where the caller waits; nothing goes on behind its back."""
    seen = []

    async def long() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def cell() -> None:
        def interrupted(self: object, timeout: float | None = None) -> None:
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_anywhere(long())

    asyncio.run(cell())
    assert seen == ["cancelled"]
