"""Why a request keeps one row (thinkling/generate/memory.py): attention of one layer on a CPU, for one new token per
row, over rows where they lie, and over blocks anywhere in memory that are gathered first.

`gathered` copies a group of rows' blocks side by side, `chunked` attends to the copied blocks without joining them.
`shared`: the samples of a prompt have its keys and values once, and only their own in rows, all prompts being equally
long and equally often sampled; `apart`: one prompt after the other, as they must be where they are not. `copy` is what
it takes to give each sample its own copy of the prompt's, once for all its tokens. Left out: GPUs, where a kernel
follows a table of blocks.
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
    samples: int = 8
    """Of each prompt, for `shared`."""
    prompt: int = 150
    """How many of the tokens are the prompt's, for `shared`."""
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


def over_shared(q: Tensor, prompts: list[Tensor], own: list[Tensor], length: int) -> Tensor:
    """q (n, K, G, E); prompts (prompts, K, P, E) and own (n, K, T, E): keys and values. One softmax over both."""
    n, K, G, E = q.shape
    num, P = prompts[0].shape[0], prompts[0].shape[2]
    q = q * E**-0.5
    asked = q.view(num, -1, K, G, E).transpose(1, 2).flatten(2, 3)
    first = (asked @ prompts[0].transpose(-1, -2)).view(num, K, -1, G, P).transpose(1, 2).reshape(n, K, G, P)
    weights = torch.cat([first, q @ own[0].transpose(-1, -2)], dim=-1)
    weights[..., length:] = float("-inf")
    weights = weights.softmax(-1)
    first = weights[..., :P].reshape(num, -1, K, G, P).transpose(1, 2).flatten(2, 3) @ prompts[1]
    return first.view(num, K, -1, G, E).transpose(1, 2).reshape(n, K, G, E) + weights[..., P:] @ own[1]


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
    for held in (keys, values):  # from here on, samples of a prompt have the same
        cut = held.view(-1, s.samples, *held.shape[1:])[..., : s.prompt, :]
        cut[:] = cut[:, :1].clone()
    prompts = [held[:: s.samples, :, : s.prompt].contiguous() for held in (keys, values)]
    own = [held[:, :, s.prompt :].contiguous() for held in (keys, values)]
    ways["shared"] = lambda: over_shared(q, prompts, [held[:, :, : s.length - s.prompt] for held in own], s.length)
    ways["apart"] = lambda: torch.cat([
        over_shared(q[i : i + s.samples], [held[i // s.samples, None] for held in prompts],
                    [held[i : i + s.samples, :, : s.length - s.prompt] for held in own], s.length)
        for i in range(0, s.rows, s.samples)])  # fmt: skip
    for way in ("shared", "apart"):
        torch.testing.assert_close(ways[way](), rows(), rtol=1e-4, atol=1e-4)

    def copy() -> None:
        for mine, theirs in zip((keys, values), prompts, strict=True):
            mine.view(-1, s.samples, *mine.shape[1:])[..., : s.prompt, :] = theirs[:, None]

    ways["copy"] = copy
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(s.repeats):
        for name, way in ways.items():
            started = time.process_time()
            way()
            took[name].append(time.process_time() - started)
    print(f"{machine(torch.device('cpu'))}\n{s.rows} rows of {s.length} tokens, one layer, one core, {s.repeats} turns")
    for name, own in took.items():
        print(f"  {name:9} {1e3 * statistics.median(own):6.1f} ms ({1e3 * min(own):.1f}-{1e3 * max(own):.1f})")


if __name__ == "__main__":
    main(tyro.cli(RowsOrBlocks))
