"""How fast a CPU generates and trains, by the number of OpenMP threads and how they wait: alone, and beside other work.

python bench/threads.py: each number is of fresh processes, since all this is read when torch loads. Busy means as many
endless Python loops beside it as the machine has cores. Ratios are to the first line's idle seconds.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import tyro

from thinkling.allocator import KEPT, LARGEST

LOAD = """
import time
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems
model = LanguageModel.load("{model}", "cpu", "float32")
if "{size}":
    from thinkling.model.config import SIZES
    from thinkling.model.transformer import Transformer, init_weights
    model = LanguageModel("{size}", init_weights(Transformer(SIZES["{size}"]), 0), model.tokenizer)
prompts = [render("step-by-step", problem.question) for problem in problems("held-out", {num_problems})]
"""
WORK = {
    "generate": LOAD
    + """
model.complete_all(prompts[:2], Sampling(temperature=0, max_tokens=4))
started = time.perf_counter()
model.complete_all(prompts, Sampling(temperature=0, max_tokens={max_tokens}))
print(time.perf_counter() - started)
""",
    # A forward and a backward pass over every prompt and as many tokens behind it, packed as GRPO reads them.
    "train": LOAD
    + """
from thinkling.generate.score import score_packed
texts = [model.text_prompt(prompt) for prompt in prompts]
def step():
    logprobs, _ = score_packed(model.network, texts, [[(text * 9)[:{max_tokens}]] for text in texts], 1.0)
    logprobs.sum().backward()
step()
started = time.perf_counter()
for _ in range(3):
    step()
print(time.perf_counter() - started)
""",
}


@dataclass(frozen=True)
class Threads:
    """Seconds of a batch of completions, or of three training passes, by waiting policy and number of threads."""

    work: tuple[Literal["generate", "train"], ...] = ("generate", "train")
    model: str = "thinkling-base"
    size: str = ""
    """Random weights of this shape instead (a name from thinkling/model/config.py)."""
    num_problems: int = 32
    max_tokens: int = 120
    repeats: int = 3
    threads: tuple[int, ...] = (1, os.cpu_count() or 1)
    """Numbers of threads to try."""
    waits: tuple[str, ...] = ("passive", "1000", "10000", "100000", "unset", "active")
    """How they wait: passive and active are OMP_WAIT_POLICY's, a number is GOMP_SPINCOUNT's (checks until a thread goes
    to sleep), unset says nothing."""
    malloc: Literal["default", "kept"] = "default"
    """kept: freed memory stays with the process, as `thinkling` has it (thinkling/allocator.py)."""


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


def seconds(settings: Threads, work: str, wait: str, threads: int) -> float:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    if wait.isdigit():
        environment["GOMP_SPINCOUNT"] = wait
    elif wait != "unset":
        environment["OMP_WAIT_POLICY"] = wait
    if settings.malloc == "kept":
        environment |= {"MALLOC_TRIM_THRESHOLD_": str(KEPT), "MALLOC_MMAP_THRESHOLD_": str(LARGEST)}
    program = WORK[work].format(model=settings.model, size=settings.size, num_problems=settings.num_problems,
                                max_tokens=settings.max_tokens)  # fmt: skip
    return float(
        subprocess.run(
            [sys.executable, "-c", program], env=environment | {"OMP_NUM_THREADS": str(threads)}, capture_output=True,
            text=True, check=True,
        ).stdout
    )  # fmt: skip


def main(settings: Threads) -> None:
    load = f"load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    print(f"{settings.num_problems} prompts of {settings.size or settings.model}, {os.cpu_count()} cores, {load}")
    print(f"median of {settings.repeats} processes, {time.strftime('%Y-%m-%d')}")
    print("| work | threads | waiting | idle | | busy | |\n|---|---|---|---|---|---|---|")
    for work in settings.work:
        first = None
        for threads in settings.threads:
            for wait in settings.waits[: 1 if threads == 1 else None]:  # one thread never waits
                idle = statistics.median(seconds(settings, work, wait, threads) for _ in range(settings.repeats))
                with busy(os.cpu_count() or 1):
                    full = statistics.median(seconds(settings, work, wait, threads) for _ in range(settings.repeats))
                first = first or idle
                print(f"| {work} | {threads} | {wait if threads > 1 else ''} | {idle:.2f} s | {idle / first:.2f}x | "
                      f"{full:.2f} s | {full / first:.2f}x |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Threads))
