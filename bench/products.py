"""One layer's product in float32, bfloat16 and int8, by each way that torch knows: which is fast on this CPU?

    python bench/products.py                                  # a layer of Qwen3-0.6B: gate and up
    python bench/products.py --outputs 151936 --repeats 8     # its head

thinkling/model/prepacked.py answers through weights in blocks; thinkling/model/int8.py takes `torch._int_mm` where the
CPU has instructions for it, else blocks of float32; this shows whether that is right. The ways take turns, each over so
many layers that no cache holds them. Left out: making a token's numbers whole, which all int8 ways share.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import tyro
from sides import bytes_read_per_second, machine
from torch import Tensor, nn

from thinkling.model.int8 import has_int8_instructions, sums_by_float
from thinkling.model.prepacked import Blocks, can_prepack

LEAST = 4e8  # bytes of float32 in all layers together


@dataclass(frozen=True, kw_only=True)
class Products:
    """Measure a layer's product. Example: python bench/products.py --inputs 1024 --outputs 6144"""

    inputs: int = 1024
    outputs: int = 6144
    rows: tuple[int, ...] = (1, 4, 8, 32, 128)
    repeats: int = 12


def by_int_mm(x: Tensor, weight: Tensor) -> Tensor:
    return torch._int_mm(x, weight.T).float()


def by_blocks(x: Tensor, blocks: Blocks) -> Tensor:
    return blocks.products(x)


def in_blocks(weights: Sequence[Tensor]) -> list[Blocks]:
    layers = [nn.Linear(1, 1, bias=False) for _ in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight = nn.Parameter(weight, requires_grad=False)
    return [Blocks([layer]) for layer in layers]


def ways_of(weights: list[Tensor]) -> dict[str, tuple[torch.dtype, Callable, list]]:
    """What a way takes: states of a dtype, and the weights of each layer."""
    halves, small = [own.bfloat16() for own in weights], [(30 * own).to(torch.int8) for own in weights]
    found: dict[str, tuple[torch.dtype, Callable, list]] = {}
    for name, dtype, own in (("float32", torch.float32, weights), ("bfloat16", torch.bfloat16, halves)):
        found[name] = dtype, F.linear, own
        if can_prepack(dtype):
            found[f"{name} in blocks"] = dtype, by_blocks, in_blocks(own)
    found["int8, `torch._int_mm`"] = torch.int8, by_int_mm, small
    found["int8 by float32"] = torch.int8, sums_by_float, small
    return found


@torch.no_grad()
def main(bench: Products) -> None:
    random = torch.Generator().manual_seed(0)
    number = max(1, round(LEAST / (4 * bench.inputs * bench.outputs)))
    ways = ways_of([torch.randn(bench.outputs, bench.inputs, generator=random) for _ in range(number)])
    print(f"{machine(torch.device('cpu'))}; reads {bytes_read_per_second() / 1e9:.1f} GB/s")
    known = "with" if has_int8_instructions() else "without"
    print(f"{known} instructions for int8; {bench.inputs:,} in, {bench.outputs:,} out; milliseconds, median (fastest)")
    print(f"| rows | {' | '.join(ways)} |\n|{'---|' * (1 + len(ways))}")
    for rows in bench.rows:
        x = torch.randn(rows, bench.inputs, generator=random)
        states = {torch.float32: x, torch.bfloat16: x.bfloat16(), torch.int8: (30 * x).clamp(-127, 127).to(torch.int8)}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(bench.repeats + 1):
            for name, (dtype, way, layers) in ways.items():
                started = time.perf_counter()
                for layer in layers:
                    way(states[dtype], layer)
                taken[name].append(1000 * (time.perf_counter() - started) / number)
        warm = [own[1:] for own in taken.values()]
        shown = [f"{statistics.median(own):.2f} ({min(own):.2f})" for own in warm]
        print(f"| {rows} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Products))
