"""Drawing with top-k and top-p from a large vocabulary: by the likeliest tokens first, beside sorting them all.

Both draw the same tokens, which is checked. The probability of the token of rank r falls as r^-s: at s = 1.5 top-p 0.9
keeps about 60 tokens, as in text that a model finds easy; at s = 1 tens of thousands, where the likeliest ones do not
suffice and were looked at in vain. The two take turns. Left out: greedy, which sorts nothing.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from sides import machine

from thinkling.device import pick_device
from thinkling.generate.distribution import BatchedSampling, choose_among_all, choose_among_likeliest
from thinkling.generate.sampling import Sampling


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Measure drawing. Example: python bench/sampling.py"""

    vocabulary: int = 151_936
    batches: tuple[int, ...] = (1, 32, 256)
    repeats: int = 5
    device: str = "auto"


KINDS = {
    "top-p 0.9, peaked": (Sampling(top_p=0.9), 1.5),
    "top-k 20, top-p 0.95": (Sampling(top_k=20, top_p=0.95), 1.0),
    "top-p 0.9, flat": (Sampling(top_p=0.9), 1.0),
}


Way = Callable[[torch.Tensor, BatchedSampling, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def timed(way: Way, *given: object) -> tuple[list[int], float]:
    started = time.perf_counter()
    tokens = way(*given)[0].tolist()  # on this side: a GPU has then done its work
    return tokens, time.perf_counter() - started


def compare(bench: Draw, sampling: Sampling, exponent: float, rows: int, device: torch.device) -> list[list[float]]:
    """Of each repeat, the seconds of sorting all and of the likeliest first."""
    random = torch.Generator().manual_seed(rows)
    ranks = torch.stack([torch.randperm(bench.vocabulary, generator=random) for _ in range(rows)]) + 1
    logits, numbers = -exponent * ranks.float().log(), torch.rand(rows, generator=random)
    given = logits.to(device), BatchedSampling([sampling] * rows, device), numbers.to(device)
    ways = (choose_among_all, choose_among_likeliest)
    plain, fast = (timed(way, *given)[0] for way in ways)  # and warm
    if plain != fast:
        raise SystemExit(f"{sampling}, {rows} rows: not the same tokens")
    return [[timed(way, *given)[1] for way in ways] for _ in range(bench.repeats)]


def main(bench: Draw) -> None:
    device = pick_device(bench.device)
    print(machine(device))
    print("| drawing | rows | all sorted, ms | likeliest first, ms | times as fast | slowest to fastest |")
    for name, (sampling, exponent) in KINDS.items():
        for rows in bench.batches:
            taken = compare(bench, sampling, exponent, rows, device)
            before, after = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
            ratios = sorted(a / b for a, b in taken)
            print(f"| {name} | {rows} | {before:,.1f} | {after:,.1f} | {statistics.median(ratios):.1f} | "
                  f"{ratios[0]:.1f} to {ratios[-1]:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Draw))
