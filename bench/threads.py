"""How fast generation is on a CPU by OpenMP's waiting policy and number of threads: alone, and beside other work.

python bench/threads.py: each number is of fresh processes, since the policy is read when torch loads. Busy means
as many endless Python loops beside it as the machine has cores. Ratios are to the first line's idle seconds.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tyro

WORK = """
import time
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems
model = LanguageModel.load("{model}", "cpu", "float32")
prompts = [render("step-by-step", problem.question) for problem in problems("held-out", {num_problems})]
model.complete_all(prompts[:2], Sampling(temperature=0, max_tokens=4))
started = time.perf_counter()
model.complete_all(prompts, Sampling(temperature=0, max_tokens=120))
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Threads:
    """Seconds of a batch of completions, by waiting policy and number of threads."""

    model: str = "thinkling-base"
    num_problems: int = 32
    repeats: int = 3
    threads: tuple[int, ...] = (1, os.cpu_count() or 1)
    """Numbers of threads to try."""


@contextmanager
def busy(num: int) -> Iterator[None]:
    """As many processes that do nothing but run."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def seconds(settings: Threads, policy: str, threads: int) -> float:
    environment = os.environ | {"OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": str(threads)}
    program = WORK.format(model=settings.model, num_problems=settings.num_problems)
    return float(subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True,
                                check=True).stdout)  # fmt: skip


def main(settings: Threads) -> None:
    load = f"load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    print(f"{settings.num_problems} prompts of {settings.model}, {os.cpu_count()} cores, {load}")
    print(f"median of {settings.repeats} processes, {time.strftime('%Y-%m-%d')}")
    first = None
    for threads in settings.threads:
        for policy in ("active", "passive"):
            idle = statistics.median(seconds(settings, policy, threads) for _ in range(settings.repeats))
            with busy(os.cpu_count() or 1):
                full = statistics.median(seconds(settings, policy, threads) for _ in range(settings.repeats))
            first = first or idle
            print(f"{threads} threads, {policy:<7}  idle {idle:6.2f} s ({idle / first:.2f}x)  "
                  f"busy {full:6.2f} s ({full / first:.2f}x)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Threads))
