"""Several processes that train one model together, as torchrun starts them: which one is this, what do the others say?

Alone there is one rank, every function gives back what it was given, and torch.distributed is never imported. Every
wait ends: with what was waited for, or with an error that names rank and phase. What is said goes over gloo, apart from
the gradients' own way. Left out: how a network is dealt out to ranks (train/sharding.py).
"""

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from thinkling.errors import UserError

T = TypeVar("T")

TOLD_BY = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets for each process
LOST = ("gloo", "nccl", "tcpstore", "connection", "timed out")  # one is in what torch says where others are silent
RESUMES = "the same command resumes from the last checkpoint"


@dataclass
class Ranks:
    """The process group that this process is in. store: what all may write to and read."""

    rank: int
    world: int
    store: Any
    group: Any

    def say(self, what: str, words: str) -> None:
        self.store.set(f"{what}/{self.rank}", words)

    def said(self, what: str, rank: int) -> str | None:
        """What another rank has said last; None where it has said nothing, or nobody can be asked."""
        with suppress(RuntimeError):
            if self.store.check([f"{what}/{rank}"]):
                return self.store.get(f"{what}/{rank}").decode()
        return None


_ranks: Ranks | None = None  # a process is in one group, as torch.distributed has it
_phases: list[str] = []  # what the main thread is doing, the widest first


# --- who and how many ---


def launched() -> bool:
    """Was this process started by torchrun, or by something that says as much?"""
    return all(name in os.environ for name in TOLD_BY)


def is_joined() -> bool:
    """Is this process one of several, or of one that torchrun started?"""
    return _ranks is not None


def rank() -> int:
    return _ranks.rank if _ranks else 0


def world() -> int:
    return _ranks.world if _ranks else 1


def is_first() -> bool:
    """Rank 0 alone writes files and speaks."""
    return rank() == 0


# --- what the others say ---


def all_gather(value: T) -> list[T]:
    """What each rank has, in order; every rank must ask."""
    if _ranks is None:
        return [value]
    import torch.distributed as dist

    found: list = [None] * world()
    dist.all_gather_object(found, value, group=_ranks.group)
    return found


def broadcast(value: T) -> T:
    """What rank 0 has; every rank must ask."""
    if _ranks is None:
        return value
    import torch.distributed as dist

    found = [value]
    dist.broadcast_object_list(found, src=0, group=_ranks.group)
    return found[0]


def barrier() -> None:
    """Go on when all ranks are here."""
    all_gather(None)


# --- who does what ---


def share(costs: Sequence[float]) -> slice:
    """Which of some pieces of work are this rank's: neighbours, so that all ranks have about as much to do. costs: of
    each piece, above 0, the same on every rank."""
    owners, behind, total = [], 0.0, sum(costs)
    for cost in costs:
        owners.append(int(world() * (behind + cost / 2) / total))
        behind += cost
    start = sum(owner < rank() for owner in owners)
    return slice(start, start + owners.count(rank()))


def in_shares(items: Sequence[T], work: Callable[[Sequence[T], int], list]) -> list:
    """work(some of the items, number of the first) of all items, in order: each rank does its share, and all get all
    results."""
    own = share([1] * len(items))
    return [result for part in all_gather(work(items[own], own.start)) for result in part]


def same_number(own: Sequence[T], spare: T) -> Iterator[tuple[T, bool]]:
    """This rank's passes through a network that lies on all ranks: on each rank equally many, for in each pass all
    must gather and reduce the same. Who has fewer takes `spare` at the end, which must not count: (it, False)."""
    most = max(all_gather(len(own)))
    for number in range(most):
        with phase(f"pass {number + 1} of {most}"):
            yield (own[number], True) if number < len(own) else (spare, False)


# --- what goes wrong ---


@contextmanager
def phase(name: str) -> Iterator[None]:
    """What this process is doing meanwhile, for who looks on, and for ranks that wait for it in vain. Only the main
    thread's: what another one does beside it is not what anybody waits for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _phases.append(name)
    if _ranks:
        _ranks.say("phase", now())
    try:
        yield
    except BaseException:
        if _ranks is None:  # of several ranks, where it happened is part of the error
            _phases.pop()
        raise
    _phases.pop()
    if _ranks:
        _ranks.say("phase", now())


def doing() -> str:
    """The phases, the widest first; "" outside of them."""
    return ", ".join(_phases)


def now() -> str:
    return doing() or "between two phases"


class Ended(UserError):
    """torchrun, or who cancelled the job, has told this process to end."""


@contextmanager
def joined(device: str, wait_minutes: float) -> Iterator[None]:
    """Be one of the ranks meanwhile, if torchrun started this process. Rank 0 alone prints.

    device: as --device. wait_minutes: how long one rank waits for another. Where a rank fails, all end; the first to
    know raises the error, with rank and phase, and the others SystemExit, so that one line is said.
    """
    global _ranks
    if not launched():
        yield
        return
    _ranks = formed_group(device, timedelta(minutes=wait_minutes))
    before = signal.signal(signal.SIGTERM, told_to_end)
    try:
        with silent_but_first():
            yield
        barrier()
        leave()
        signal.signal(signal.SIGTERM, before)
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it now, and the reason is still to be said
        found = ending(error)
        if found is error:
            raise
        raise found from error
    finally:
        _ranks = None
        _phases.clear()


def formed_group(device: str, wait: timedelta) -> Ranks:
    """Wait for the others, and form a group. Raises UserError where they do not come, or a GPU is missing."""
    import torch
    import torch.distributed as dist

    on_gpu = device != "cpu" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu and local >= torch.cuda.device_count():
        raise UserError(f"process {local + 1} of this machine finds no GPU of its own: torch sees "
                        f"{torch.cuda.device_count()}; lower --nproc-per-node, or use --device cpu")  # fmt: skip
    if on_gpu:
        torch.cuda.set_device(local)
    wanted = os.environ["WORLD_SIZE"]
    try:
        store, own, world = next(dist.rendezvous("env://", timeout=wait))
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=dist.PrefixStore("torch", store), rank=own, world_size=world,
                                timeout=wait)  # fmt: skip
        group = dist.new_group(backend="gloo", timeout=wait)
    except RuntimeError as error:
        raise UserError(f"not all of {wanted} processes have come together within {wait}: {brief(error)}") from error
    return Ranks(own, world, dist.PrefixStore("thinkling", store), group)


def leave() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


@contextmanager
def silent_but_first() -> Iterator[None]:
    """One log and one progress display, whatever prints."""
    if is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def told_to_end(number: int, frame: object) -> None:
    raise Ended("told to end (SIGTERM): another process has failed, or the job was cancelled")


def ending(error: BaseException) -> BaseException:
    """What this rank ends with, on account of an error: that, in words for a person, if nobody has spoken yet."""
    speaks, found = True, error
    with suppress(RuntimeError):
        speaks = _ranks.store.add("spoken", 1) == 1
    if is_loss(error) or isinstance(error, Ended):
        found = UserError(words_for(error))
    elif isinstance(error, UserError) and not is_first():
        found = UserError(f"{place()}: {error}")
    if isinstance(error, Exception):
        with suppress(RuntimeError):
            _ranks.say("failed", brief(error))
    return found if speaks else SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2)


def is_loss(error: BaseException) -> bool:
    """Is this how torch says that another rank did not answer?"""
    dist = sys.modules["torch.distributed"]
    lost = isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST)
    return lost or isinstance(error, dist.DistError)


def words_for(error: BaseException) -> str:
    """This rank and its phase, and what is known of the others."""
    others = [number for number in range(world()) if number != rank()]
    failed = [f"rank {number} has failed: {why}" for number in others if (why := _ranks.said("failed", number))]
    if failed:
        return f"{place()}: {failed[0]}; {RESUMES}"
    phases = [f"rank {number} was at '{_ranks.said('phase', number) or 'no phase yet'}'" for number in others[:8]]
    return f"{place()}: {brief(error)}. When last heard of, {', '.join(phases)}; {RESUMES}"


def place() -> str:
    return f"rank {rank()} of {world()}, at '{now()}'"


def brief(error: BaseException) -> str:
    """What an error says, in a line."""
    if isinstance(error, UserError):
        return str(error)
    said = re.sub(r"^\[\S+\] ", "", " ".join(str(error).split()))  # gloo begins with its source's line
    why = said.partition(". ")[0][:80]
    return f"the other processes do not answer ({why})" if is_loss(error) else f"{type(error).__name__}: {said}"
