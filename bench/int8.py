"""One layer's product in float32, in bfloat16, by `torch._int_mm`, and by blocks of float32: which is fast on this CPU?

thinkling/model/int8.py takes `torch._int_mm` where the CPU has instructions for it, else blocks of float32; this
shows whether that is right. The ways take turns. Left out: making a token's numbers whole, which all int8 ways share.
"""

import statistics
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import tyro
from sides import machine

from thinkling.model.int8 import has_int8_instructions, sums_by_float


@dataclass(frozen=True, kw_only=True)
class Int8:
    """Measure a layer's product. Example: python bench/int8.py --inputs 1024 --outputs 3072"""

    inputs: int = 1024
    outputs: int = 3072
    rows: tuple[int, ...] = (1, 8, 32)
    repeats: int = 20


def by_int_mm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(x, weight.T).float()


def main(bench: Int8) -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(bench.outputs, bench.inputs, generator=random)
    small = torch.randint(-127, 128, weight.shape, generator=random, dtype=torch.int8)
    half = weight.bfloat16()
    print(machine(torch.device("cpu")))
    print(f"instructions for int8: {'yes' if has_int8_instructions() else 'no'}; milliseconds, median (fastest)")
    print("| rows | float32 | bfloat16 | torch._int_mm | int8 by blocks of float32 |")
    for rows in bench.rows:
        x = torch.randn(rows, bench.inputs, generator=random)
        numbers = (30 * x).clamp(-127, 127).to(torch.int8)
        ways = [(F.linear, (x, weight)), (F.linear, (x.bfloat16(), half)), (by_int_mm, (numbers, small)),
                (sums_by_float, (numbers, small))]  # fmt: skip
        taken: list[list[float]] = [[] for _ in ways]
        for _ in range(bench.repeats + 1):
            for own, (way, pair) in zip(taken, ways, strict=True):
                started = time.perf_counter()
                way(*pair)
                own.append(1000 * (time.perf_counter() - started))
        shown = [f"{statistics.median(own[1:]):.2f} ({min(own[1:]):.2f})" for own in taken]  # the first one warms up
        print(f"| {rows} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Int8))
