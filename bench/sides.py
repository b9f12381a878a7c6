"""What the benchmarks share: sides in processes of their own, a clock, peak memory, random weights, a line about the
machine."""

import ctypes
import multiprocessing
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from thinkling.device import usable_cores
from thinkling.errors import UserError
from thinkling.model.config import SIZES
from thinkling.model.stored import is_gguf
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model, resolve, save_model


class Side:
    """A function in a process of its own: it gets one end of a pipe and `arguments`; `ask` sends and waits."""

    def __init__(self, work: Callable, *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.name = work.__name__
        self.process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, request: object = None) -> dict:
        try:
            self.pipe.send(request)
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            raise UserError(f"the process that runs {self.name} ended early; its own error stands above") from None

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


def need(*packages: str) -> None:
    for name in packages:
        if not find_spec(name):
            raise UserError(f"this environment has no {name}: make one as bench/README.md says, or use --no-peer")


def in_turns(sides: dict[str, Side], order: Sequence[str], rounds: int, tell: Callable[[dict], str]) -> dict:
    """Steps of each side, in rounds of this order, so that a drift of the machine hits all. The first round warms up
    and is left out. tell: what a line says of a step."""
    steps: dict[str, list[dict]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in order:
            answer = sides[name].ask(number)
            if number > 0:
                steps[name].append(answer)
                print(f"  {name:5}{answer['seconds']:8.2f} s, {tell(answer)}", flush=True)
    for side in sides.values():
        side.stop()
    return steps


def clock(pipe: Connection, device: torch.device, seen: Callable[[], dict]) -> object:
    """A callback of transformers' Trainer: it waits for its turn before each step, and answers once the trainer is idle
    again and has told the loss. seen: what else the answer has of the step, asked for when it has ended."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: object, **__: object) -> None:
            pipe.recv()
            synchronize(device)
            self.started = time.perf_counter()

        def on_step_end(self, *_: object, **__: object) -> None:
            synchronize(device)
            self.answer = {"seconds": time.perf_counter() - self.started, **seen()}

        def on_log(self, args: object, state: object, control: object, logs: dict, **_: object) -> None:
            if "loss" in logs:
                pipe.send({**self.answer, "loss": logs["loss"], "peak": peak_bytes(device)})

    return Clock()


def weights_of(model: str, size: str | None, folder: Path, dtype: torch.dtype) -> Path:
    """The model's folder, made of a GGUF file where it is one; or with a size, a new one with random weights of this
    shape and the model's tokenizer."""
    if size is None and not is_gguf(found := resolve(model)):
        return found
    if size is None:
        save_model(folder / "converted", load_model(found, dtype=dtype), Tokenizer.load(found))
        return folder / "converted"
    if size not in SIZES:
        raise UserError(f"unknown size '{size}': use one of {', '.join(SIZES)}")
    save_model(
        folder / size, init_weights(Transformer(SIZES[size]), seed=0), Tokenizer.load(resolve(model)), dtype=dtype
    )
    return folder / size


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(run: Callable[[], object], device: torch.device) -> tuple:
    """The result and the seconds it took, the device's queue empty at both ends."""
    synchronize(device)
    started = time.perf_counter()
    result = run()
    synchronize(device)
    return result, time.perf_counter() - started


def bytes_read_per_second() -> float:
    """That the CPU reads, by all its threads, where nothing lies in its caches."""
    memory = torch.ones(2**28)
    return max(memory.nbytes / timed(memory.sum, torch.device("cpu"))[1] for _ in range(5))


def peak_bytes(device: torch.device) -> dict[str, int]:
    """The most this process has held so far: resident memory, and on a GPU what torch has allocated."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would count the parent from before exec
        rss = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1))
    else:
        import resource  # not on Windows

        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"rss": rss} | ({"cuda": torch.cuda.max_memory_allocated()} if device.type == "cuda" else {})


def forget_peak(device: torch.device) -> None:
    """Give back what is free, and count peaks from here. Linux alone can forget resident memory's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    if Path("/proc/self/clear_refs").exists():
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def machine(device: torch.device) -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    parts = [found.group(1) if found else platform.processor() or platform.machine(), f"{usable_cores()} cores"]
    parts += [torch.cuda.get_device_name(device)] if device.type == "cuda" else [f"{torch.get_num_threads()} threads"]
    return ", ".join([*parts, f"torch {torch.__version__}", f"Python {platform.python_version()}", str(date.today())])


def spread(values: Sequence[float], digits: int = 0) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
