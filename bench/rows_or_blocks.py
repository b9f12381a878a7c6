"""Why a request keeps one row (thinkling/generate/memory.py): attention of one layer on a CPU, for one new token per
row, over rows where they lie, and over blocks anywhere in memory that are gathered first.

`gathered` copies a group of rows' blocks side by side, `chunked` attends to the copied blocks without joining them.
Left out: GPUs, where a kernel follows a table of blocks.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from sides import machine
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RowsOrBlocks:
    """Time attention over rows and over blocks. Example: python bench/rows_or_blocks.py"""

    rows: int = 128
    length: int = 250
    max_length: int = 512
    block: int = 32
    together: int = 16
    """Rows whose blocks are gathered at once, so that they stay in the processor's cache."""
    key_value_heads: int = 2
    group: int = 2
    """Query heads of each key-value head."""
    width: int = 64
    repeats: int = 11


def over_rows(q: Tensor, k: Tensor, v: Tensor, length: int) -> Tensor:
    visible = torch.ones(1, 1, 1, k.shape[2], dtype=torch.bool)
    visible[..., length:] = False
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return weights.masked_fill(~visible, float("-inf")).softmax(-1) @ v


def over_blocks(q: Tensor, k: Tensor, v: Tensor, length: int) -> Tensor:
    """q (n, K, G, E); k, v (n, blocks, K, block, E)."""
    n, blocks, K, size, _ = k.shape
    weights = (q * q.shape[-1] ** -0.5)[:, None] @ k.transpose(-1, -2)
    weights = weights.permute(0, 2, 3, 1, 4).reshape(n, K, -1, blocks * size)
    weights[..., length:] = float("-inf")
    weights = weights.softmax(-1).view(n, K, -1, blocks, size).permute(0, 3, 1, 2, 4)
    return (weights @ v).sum(1)


@torch.inference_mode()
def main(settings: RowsOrBlocks) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    s = settings
    shape, blocks = (s.rows, s.key_value_heads, s.max_length, s.width), -(-s.length // s.block)
    keys, values = (torch.randn(shape) for _ in range(2))
    table = torch.randperm(s.rows * (s.max_length // s.block))[: s.rows * blocks].view(s.rows, blocks)
    pools = [torch.randn(s.rows * (s.max_length // s.block), s.key_value_heads, s.block, s.width) for _ in range(2)]
    for pool, rows in zip(pools, (keys, values), strict=True):
        cut = rows[:, :, : blocks * s.block].view(s.rows, s.key_value_heads, blocks, s.block, s.width)
        pool[table] = cut.transpose(1, 2)
    q = torch.randn(s.rows, s.key_value_heads, s.group, s.width)

    def rows() -> Tensor:
        return over_rows(q, keys[:, :, : s.length], values[:, :, : s.length], s.length)

    def groups(attend: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> Tensor:
        found = []
        for start in range(0, s.rows, s.together):
            k, v = (pool[table[start : start + s.together]] for pool in pools)
            found.append(attend(q[start : start + s.together], k, v, s.length))
        return torch.cat(found)

    def joined(q: Tensor, k: Tensor, v: Tensor, length: int) -> Tensor:
        return over_rows(q, *(x.transpose(1, 2).flatten(2, 3) for x in (k, v)), length)

    ways = {"rows": rows, "gathered": lambda: groups(joined), "chunked": lambda: groups(over_blocks)}
    for way in ways.values():
        torch.testing.assert_close(way(), rows(), rtol=1e-4, atol=1e-4)
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(s.repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            took[name].append(time.perf_counter() - started)
    print(f"{machine(torch.device('cpu'))}\n{s.rows} rows of {s.length} tokens, one layer, one core, {s.repeats} turns")
    for name, own in took.items():
        print(f"  {name:9} {1e3 * statistics.median(own):6.1f} ms ({1e3 * min(own):.1f}-{1e3 * max(own):.1f})")


if __name__ == "__main__":
    main(tyro.cli(RowsOrBlocks))
