"""The thread that owns an engine, so that any thread, event loop or notebook may ask it.

It steps while there is work and sleeps while there is none: nothing touches the weights when nobody waits. What a
caller asks at once joins the batch at once, and an event loop that was just given completions is waited for, shortly,
until the coroutines behind them have asked their next questions. So the batches of a seeded run, and with them its
numbers to the last bit, do not depend on how fast the threads take turns.
"""

import asyncio
import atexit
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from functools import partial

import torch

from thinkling.generate.engine import Engine
from thinkling.generate.jobs import Job, Outcome
from thinkling.threads import threads_of

TURNS = 6  # of an event loop, until coroutines that wait on gathers of gathers have asked on
PATIENCE_S = 1.0  # that the engine waits for an event loop, which may be blocked; the others are waiting, too
STOPPING_S = 10.0  # that the end of the program waits for a step to end

Deliver = Callable[[list[tuple[int, Outcome]]], object]


class EngineThread:
    """`ask` and `cancel` from anywhere; `outcomes` for plain code, `outcome` for coroutines."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._changed = threading.Condition()  # guards all that follows
        self._orders: list[Callable[[], None]] = []  # what to do before the next step
        self._sides: dict[asyncio.AbstractEventLoop, LoopSide] = {}  # of the event loops that wait for something
        self._unsettled: set[LoopSide] = set()  # those that have just been given completions
        self._patient_until = 0.0
        self._thread: threading.Thread | None = None  # which serves; None before the first job and after `stop`
        self._last: threading.Thread | None = None  # the one started last
        self._num_threads = torch.get_num_threads()  # of the one who asked: the sums' order, and so last bits, go by it
        self._idle = True
        self._deliver: dict[int, Deliver] = {}  # of what is asked; the engine's thread alone reads and writes it

    # --- from any thread ---

    def ask(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        """Hand over jobs, together. `deliver` is called in the engine's thread, after the step in which some of them
        ended, with their ids and outcomes: it must be quick and must not raise."""
        self._order(partial(self._take, jobs, deliver))

    def cancel(self, ids: Collection[int], wait: bool = False) -> None:
        """Forget these jobs before the next step. wait: return only when they are forgotten."""
        done = threading.Event()
        self._order(partial(self._forget, frozenset(ids), done))
        if wait and threading.current_thread() is not self._thread:
            done.wait()

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        """Ask, and yield (id, outcome) as they end. Raises the first error. Closing it cancels what is left."""
        self.check_caller()
        arrived, left = queue.SimpleQueue(), {job.id for job in jobs}
        self.ask(jobs, arrived.put)
        try:
            while left:
                for number, outcome in arrived.get():
                    left.discard(number)
                    if isinstance(outcome, BaseException):
                        raise outcome
                    yield number, outcome
        finally:
            if left:
                self.cancel(left, wait=True)

    async def outcome(self, job: Job) -> Outcome:
        """Ask from a coroutine. Raises what went wrong; if the caller is cancelled, so is the job."""
        self.check_caller()
        loop = asyncio.get_running_loop()
        with self._changed:
            for ended in [other for other in self._sides if other.is_closed()]:
                del self._sides[ended]
            side = self._sides.setdefault(loop, LoopSide(self, loop))
        return await side.ask(job)

    def between_steps(self, work: Callable[[], object]) -> Future:
        """Do something in the engine's thread, before its next step: nothing reads the weights meanwhile."""
        done: Future = Future()

        def order() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        self._order(order)
        return done

    def wait_until_idle(self) -> None:
        """Return once nothing waits or runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle)

    def check_caller(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("an on_token callback must not wait for the engine that calls it")

    def stop(self) -> None:
        """End the thread after its step. What is asked later starts it again."""
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _order(self, order: Callable[[], None]) -> None:
        with self._changed:
            self._orders.append(order)
            self._idle, self._num_threads = False, torch.get_num_threads()
            if self._thread is None:
                for ended in [thread for thread in list(_owners) if not thread.is_alive()]:
                    _owners.pop(ended, None)
                run = partial(self._run, self._last)
                self._thread = self._last = threading.Thread(target=run, name="thinkling engine", daemon=True)
                self._thread.start()
                _owners[self._thread] = weakref.ref(self)
            self._changed.notify_all()

    def settled(self, side: "LoopSide", asked: Sequence[Job]) -> None:
        """An event loop has nothing more to ask for now."""
        with self._changed:
            if asked:
                self.ask(asked, side.deliver)
            self._unsettled.discard(side)
            if not side.futures:
                self._sides.pop(side.loop, None)
            self._changed.notify_all()

    # --- in the engine's thread ---

    def _run(self, before: threading.Thread | None) -> None:
        mine = threading.current_thread()
        if before is not None:
            before.join()  # a thread that was stopped may have a step to end
        if self.engine.model.device.index is not None and self.engine.model.device.type == "cuda":
            torch.cuda.set_device(self.engine.model.device)
        while True:
            with self._changed:
                self._idle = not self._orders and not self.engine.busy
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._orders or self.engine.busy or self._thread is not mine)
                patience = max(0.0, self._patient_until - time.monotonic())
                self._changed.wait_for(lambda: self._orders or not self._unsettled, patience)
                if time.monotonic() >= self._patient_until:
                    self._unsettled.clear()
                if self._thread is not mine:
                    return
                orders, self._orders = self._orders, []
                settled, num_threads = not self._unsettled, self._num_threads
            num_threads = threads_of(self.engine.model.config.hidden_size, num_threads)
            if num_threads != torch.get_num_threads():
                torch.set_num_threads(num_threads)
            self._work(orders, step=settled)

    def _work(self, orders: list[Callable[[], None]], step: bool) -> None:
        try:
            while orders:
                orders.pop(0)()
            outcomes = self.engine.step() if step and self.engine.busy else []
        except BaseException as error:  # whatever it is, those who wait must learn of it
            self.engine.clear()
            with self._changed:
                self._orders[:0] = orders  # what was not reached
            outcomes = [(number, error) for number in self._deliver]
        batches: dict[Deliver, list[tuple[int, Outcome]]] = {}
        for number, outcome in outcomes:
            if number in self._deliver:
                batches.setdefault(self._deliver.pop(number), []).append((number, outcome))
        for deliver, batch in batches.items():
            deliver(batch)

    def _take(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        self._deliver |= dict.fromkeys((job.id for job in jobs), deliver)
        self.engine.add(*jobs)

    def _forget(self, ids: Collection[int], done: threading.Event) -> None:
        try:
            self.engine.cancel(*ids)
        finally:
            for number in ids:
                self._deliver.pop(number, None)
            done.set()

    def await_side(self, side: "LoopSide") -> None:
        """Take no step before this event loop has settled, or PATIENCE_S are over."""
        with self._changed:
            self._unsettled.add(side)
            self._patient_until = time.monotonic() + PATIENCE_S


class LoopSide:
    """What one event loop waits for. futures: by the job's id. All but `deliver` runs in the loop's own thread."""

    def __init__(self, thread: EngineThread, loop: asyncio.AbstractEventLoop) -> None:
        self.thread, self.loop = thread, loop
        self.futures: dict[int, asyncio.Future[Outcome]] = {}
        self._asked: list[Job] = []
        self._turns = 0  # of the loop, until what was asked is handed over

    async def ask(self, job: Job) -> Outcome:
        future = self.futures[job.id] = self.loop.create_future()
        self._asked.append(job)
        if not self._turns:
            self._settle()
        try:
            return await future
        finally:
            del self.futures[job.id]
            if future.cancelled() or not future.done():  # or its loop has ended before it
                self._asked = [other for other in self._asked if other is not job]
                self.thread.cancel([job.id])
            if not self.futures and not self._turns:
                self.thread.settled(self, ())

    def deliver(self, outcomes: list[tuple[int, Outcome]]) -> None:
        """In the engine's thread: let the loop have these, all at once."""
        if self.loop.is_running():
            self.thread.await_side(self)
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self.loop.call_soon_threadsafe(self._receive, outcomes)

    def _receive(self, outcomes: list[tuple[int, Outcome]]) -> None:
        for number, outcome in outcomes:
            future = self.futures.get(number)
            if future is None or future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        if self._turns:
            self._turns = TURNS
        else:
            self._settle()

    def _settle(self) -> None:
        self._turns = TURNS
        self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self.loop.call_soon(self._turn)
            return
        asked, self._asked = self._asked, []
        self.thread.settled(self, asked)


_owners: dict[threading.Thread, weakref.ref[EngineThread]] = {}  # of threads, until they have ended


@atexit.register
def _stop_all() -> None:
    """A thread inside torch, or one that is just leaving it, must not outlive the interpreter, which would abort."""
    for owner in list(_owners.values()):
        if (alive := owner()) is not None:
            alive.stop()
    for thread in list(_owners):
        thread.join(STOPPING_S)
