"""Several ranks in a test: forked processes that find each other as torchrun's do, so that none imports torch anew."""

import importlib
import multiprocessing
import os
import pickle
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from torch.distributed import TCPStore

from thinkling import distributed


@dataclass(frozen=True)
class Outcome:
    """What became of a rank: what its work returned, or the error that it raised and its words; or the signal that
    killed it."""

    value: object = None
    error: str | None = None
    words: str = ""
    signal: int = 0


def on_ranks(
    num: int, work: Callable[..., object], *arguments: object, wait_minutes: float = 1.0, joins: bool = True
) -> list[Outcome]:
    """work(*arguments) on `num` ranks at once. A model that it takes must not have generated yet: its engine's thread
    would stay behind. joins: else work forms the group itself, as the command line does.
    """
    for module in ("torch._dynamo", "torch.distributed.fsdp"):  # they take seconds: here once, or in every rank
        importlib.import_module(module)
    context, store = (
        multiprocessing.get_context("fork"),
        TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False),
    )
    processes: list[multiprocessing.Process] = []
    pipes: dict[Connection, int] = {}
    for rank in range(num):
        receiver, sender = context.Pipe(duplex=False)
        target = (sender, rank, num, store.port, wait_minutes if joins else None, work, arguments)
        processes.append(context.Process(target=run_rank, args=target))
        processes[-1].start()
        sender.close()
        pipes[receiver] = rank
    found: dict[int, Outcome] = {}
    failed = False
    while pipes:  # as torchrun does: where one has failed, the others may end by themselves, or are killed
        ended = wait(pipes, timeout=60 * wait_minutes + 3 if failed else None)
        for pipe in ended:
            rank = pipes.pop(pipe)
            found[rank] = outcome_of(pipe) or Outcome(signal=died_of(processes[rank]))
            failed = failed or bool(found[rank].error or found[rank].signal)
        if not ended:
            for rank in pipes.values():
                processes[rank].kill()
    for process in processes:
        process.join()
    return [found[rank] for rank in range(num)]


def died_of(process: multiprocessing.Process) -> int:
    process.join()
    return -process.exitcode


def values(outcomes: list[Outcome]) -> list:
    assert not any(own.error or own.signal for own in outcomes), outcomes
    return [own.value for own in outcomes]


def outcome_of(pipe: Connection) -> Outcome | None:
    try:
        return pickle.loads(pipe.recv_bytes())
    except EOFError:
        return None


def run_rank(
    sender: Connection, rank: int, num: int, port: int, wait_minutes: float | None, work: Callable, given: tuple
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    try:
        with distributed.joined("cpu", wait_minutes) if wait_minutes else nullcontext():
            found = Outcome(work(*given))
    except BaseException as error:
        shown = str(error) if isinstance(error, Exception | SystemExit) else traceback.format_exc()
        found = Outcome(error=type(error).__name__, words=shown)
        if not isinstance(error, SystemExit | distributed.UserError):
            found = Outcome(error=type(error).__name__, words=traceback.format_exc())
    sender.send_bytes(pickle.dumps(found))
