"""Where the tensors live: cuda | mps | cpu, their dtype, and seeds. And what machine this is, for reports."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from thinkling import __version__
from thinkling.distributed import is_joined
from thinkling.errors import UserError
from thinkling.words import counted

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def usable_cores() -> int:
    """Of the processor, that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pick_device(name: str = "auto") -> torch.device:
    """`auto` takes the first of cuda, mps, cpu that this machine has; of several ranks each has a GPU of its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise UserError(f"unknown device '{name}': use auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "cuda" and device.index is None and is_joined():
        return torch.device("cuda", torch.cuda.current_device())
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device 'cuda' was asked for, but torch sees no CUDA GPU here: use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device '{name}' was asked for, but torch sees {torch.cuda.device_count()} CUDA GPUs here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps' was asked for, but torch sees no Apple GPU here: use --device cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """`auto` is float32 on a CPU, where results are then exact to rounding, and bfloat16 on a GPU."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise UserError(f"unknown dtype '{name}': use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def facts() -> dict[str, str]:
    """What a reader of a report must know of the machine that made it."""
    return {
        "machine": ", ".join([platform.machine(), counted(os.cpu_count() or 1, "core"),
                              counted(torch.get_num_threads(), "thread")]),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "versions": f"thinkling {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }  # fmt: skip


def generator(seed: int) -> torch.Generator:
    """A CPU random stream of its own, so that no two consumers ever share one. Any whole number is a seed."""
    if not -(2**63) <= seed < 2**64:  # torch takes 64 bits
        seed = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "big")
    return torch.Generator().manual_seed(seed)


def out_of_memory(error: BaseException) -> bool:
    """Did torch, on a GPU or a CPU, find no memory? Then a smaller pass may succeed."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in words or "can't allocate memory" in words


def all_memory() -> int:
    """Bytes of the machine's memory, used or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_memory() -> int:
    """Bytes that this process could still take, by what Linux says of the machine, and of the groups of processes that
    a container or a batch system has put it into, and `ulimit -v`; elsewhere half of the machine's memory."""
    free = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    if free is None:
        return all_memory() // 2
    return max(0, min(free * 1024, _left_to_grow(), *map(_left_in, _control_groups())))


def _left_to_grow() -> float:
    """Bytes of addresses up to this process's own limit."""
    from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit  # Windows has none

    most = getrlimit(RLIMIT_AS)[0]
    if most == RLIM_INFINITY:
        return float("inf")
    return most - int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _control_groups() -> list[Path]:
    """Where Linux describes them, in both of its versions: this process's own, as far as it can be seen, and those
    around it, which may be limited where it is not (man 7 cgroups)."""
    roots, found = {"": Path("/sys/fs/cgroup"), "memory": Path("/sys/fs/cgroup/memory")}, []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, own = line.split(":", 2)
            if controllers in roots:
                found += [roots[controllers] / part for part in (own[1:], *map(str, Path(own[1:]).parents))]
    return [*roots.values(), *found]


def _left_in(group: Path) -> float:
    """Bytes up to its limit; what it keeps of files that nobody has read again is given back when it is needed."""
    for names in (("max", "current", "inactive_file"), ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")):
        with contextlib.suppress(OSError, ValueError):  # "max": no limit
            most, used = (int((group / f"memory.{name}").read_text()) for name in names[:2])
            return most - used + _numbers(group / "memory.stat").get(names[2], 0)
    return float("inf")


def _numbers(path: Path) -> dict[str, int]:
    """The number behind each line's first word; {} for a file that is not there."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in path.read_text().splitlines()]
        return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
    return {}


def to_device(values: Sequence, device: torch.device) -> torch.Tensor:
    """A small tensor of these, without waiting for what the device is still doing."""
    here = torch.tensor(values)
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)


def to_host(*columns: torch.Tensor) -> Callable[[], list[list]]:
    """Begin to copy tensors to the host. What is returned waits for that, though not for what the device was told to do
    since, and gives them as lists."""
    if columns[0].device.type != "cuda":
        return lambda: [column.tolist() for column in columns]
    here = [torch.empty(column.shape, dtype=column.dtype, pin_memory=True) for column in columns]
    for own, column in zip(here, columns, strict=True):
        own.copy_(column, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> list[list]:
        copied.synchronize()
        return [own.tolist() for own in here]

    return wait


def compile_if_possible(function: Callable, device: torch.device) -> Callable:
    """torch.compile, or the function itself where a CPU's C++ compiler is missing."""
    has_compiler = any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))
    return torch.compile(function) if device.type == "cuda" or has_compiler else function
