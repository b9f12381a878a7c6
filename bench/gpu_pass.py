"""One decoding pass on a GPU, replayed as a CUDA graph, in microseconds: the network's own operations, the fused pass
whose kernels start one after another, and the one whose kernels start early; and which kernels take how long.

    python bench/gpu_pass.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from gpu_engine import random_network
from sides import machine
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from thinkling.model import decode_kernels
from thinkling.model.cache import KVCache
from thinkling.model.decode_pass import DecodePass


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time a decoding pass. Example: python bench/gpu_pass.py --rows 1 256"""

    size: str = "Qwen3-0.6B"
    rows: tuple[int, ...] = (1, 2, 4, 8, 32, 256)
    length: int = 200
    """Tokens that each row holds."""
    repeats: int = 12


def recorded(run: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what is set up on the first call must not be recorded
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    graph.replay()
    torch.cuda.synchronize()
    return graph, out


def microseconds(graph: torch.cuda.CUDAGraph, repeats: int) -> float:
    """Of the fastest replay."""
    found = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        found.append(1000 * start.elapsed_time(end))
    return min(found)


@torch.inference_mode()
def main(settings: Bench) -> None:
    device, dtype, most = torch.device("cuda"), torch.bfloat16, max(settings.rows)
    model = random_network(settings.size, device, dtype)
    cache = KVCache(model.config, most, settings.length + 120, device, dtype)
    for part in cache.memory:
        part.normal_()
    tokens = torch.randint(0, 1000, (most, 1), device=device)
    fused, early = DecodePass(model, settings.length + 120, decode_kernels), decode_kernels.has_early_starts
    print(f"{machine(device)}\n{settings.size}, bfloat16, rows of {settings.length} tokens; microseconds")
    print("| rows | the network's own | fused | fused, early starts | largest difference of its states |")
    for rows in settings.rows:
        cache.lengths[:] = settings.length
        part, new = cache.view(rows, cache.max_length), tokens[:rows]
        own, wanted = recorded(lambda part=part, new=new: model(new, part)[:, 0])
        times = [microseconds(own, settings.repeats)]
        for starts_early in (False, True):
            decode_kernels.has_early_starts = lambda starts_early=starts_early: starts_early and early()
            graph, out = recorded(lambda part=part, new=new: fused(new, part))
            times.append(microseconds(graph, settings.repeats))
        far = (out - wanted).abs().max() / wanted.abs().max()
        print(f"| {rows} | " + " | ".join(f"{time:,.0f}" for time in times) + f" | {far:.1%} |", flush=True)
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            graph.replay()
            torch.cuda.synchronize()
        for event in sorted(seen.key_averages(), key=lambda event: -event.device_time_total)[:6]:
            print(f"    {event.key[:60]:60} {event.count:4} x {event.device_time_total / max(event.count, 1):7.1f}")


if __name__ == "__main__":
    main(tyro.cli(Bench))
