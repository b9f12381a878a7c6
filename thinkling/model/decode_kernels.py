"""The operations of decode_ops.py as Triton kernels for a GPU, one each (attention: two), so that a token is some two
hundred kernels instead of well over a thousand, and no row reads more of the cache than it holds.

A pass over few rows is bound by reading the weights: there a product takes its norm, its bias, SwiGLU or the sum with
the residual stream into its own kernel. Many rows are left to the library's products. Attention is split along the row
into parts that run side by side and are put together after ("Flash-Decoding", pytorch.org/blog/flash-decoding, 2023;
the running softmax is Milakov & Gimelshein's, arXiv:1805.02867). Sums are in float32.
"""

from functools import cache

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

FEW = 4  # rows up to which a pass is products of one row each; their weights come from the GPU's cache after the first
WIDEST = 4096  # numbers of a row of weights that a program holds at a time
AT_ONCE = 4096  # weights that a program reads at a time: 32 a thread
PROGRAMS = 264  # that keep a large GPU busy: two for each of an H100's multiprocessors
MOST_PARTS = 32  # of a row in attention
PLACES = 32  # of the cache that attention reads at a time


@triton.jit
def normed_kernel(x, norm, out, eps, D, BLOCK: tl.constexpr, EARLY: tl.constexpr):
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    own = tl.load(x + row * D + d, mask=d < D, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(own * own, 0) / D + eps)
    normed = (own * scale).to(out.dtype.element_ty) * tl.load(norm + d, mask=d < D, other=0.0)
    tl.store(out + row * D + d, normed, mask=d < D)


@triton.jit
def product_kernel(
    x, norm, weight, bias, residual, out, eps, N,
    D: tl.constexpr, HAS_NORM: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, GATED: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """`BLOCK_N` numbers of one row of a product. The norm's scale is one number for the row, so it comes last. Weights
    are read before x is there: they do not change."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_N,), tl.float32)
    gate = tl.zeros((BLOCK_N,), tl.float32)
    squares = tl.zeros((1,), tl.float32)
    rows = weight + n[:, None].to(tl.int64) * D
    for start in tl.static_range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        inside = (n < N)[:, None] & (d < D)[None, :]
        first = tl.load(rows + d[None, :], mask=inside, other=0.0)
        if GATED:  # what stands N rows below is `up`
            up = tl.load(rows + N * D + d[None, :], mask=inside, other=0.0)
        if EARLY and start == 0:
            tl.extra.cuda.gdc_wait()
        own = tl.load(x + row * D + d, mask=d < D, other=0.0).to(tl.float32)
        if HAS_NORM:
            squares += tl.sum(own * own, 0)
            own *= tl.load(norm + d, mask=d < D, other=0.0).to(tl.float32)
        total += tl.sum(first.to(tl.float32) * own[None, :], 1)
        if GATED:
            gate += tl.sum(up.to(tl.float32) * own[None, :], 1)
    if HAS_NORM:
        scale = tl.rsqrt(squares / D + eps)
        total *= scale
        gate *= scale
    if HAS_BIAS:
        total += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)
    if GATED:
        total = total * tl.sigmoid(total) * gate
    if HAS_RESIDUAL:
        total += tl.load(residual + row * N + n, mask=n < N, other=0.0).to(tl.float32)
    tl.store(out + row * N + n, total.to(out.dtype.element_ty), mask=n < N)


@triton.jit
def gate_kernel(both, out, N, BLOCK: tl.constexpr, EARLY: tl.constexpr):
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = tl.load(both + row * 2 * N + n, mask=n < N, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * N + N + n, mask=n < N, other=0.0).to(tl.float32)
    tl.store(out + row * N + n, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=n < N)


@triton.jit
def place_kernel(
    qkv, q_norm, k_norm, cos, sin, lengths, queries, keys, values, eps, row_stride, head_stride,
    H: tl.constexpr, K: tl.constexpr, E: tl.constexpr, HAS_NORM: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One head of one row: a query, a key or a value."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    e = tl.arange(0, E)
    other = tl.where(e < E // 2, e + E // 2, e - E // 2)  # the dimension that turns together with this one
    start = qkv + (row * (H + 2 * K) + head) * E
    own, partner = tl.load(start + e).to(tl.float32), tl.load(start + other).to(tl.float32)
    position = tl.load(lengths + row).to(tl.int64)
    if head < H + K:
        if HAS_NORM:
            scale = tl.rsqrt(tl.sum(own * own, 0) / E + eps)
            norm = k_norm
            if head < H:
                norm = q_norm
            own *= scale * tl.load(norm + e).to(tl.float32)
            partner *= scale * tl.load(norm + other).to(tl.float32)
        angle = position * (E // 2) + e % (E // 2)
        sign = tl.where(e < E // 2, -1.0, 1.0)
        own = own * tl.load(cos + angle).to(tl.float32) + sign * partner * tl.load(sin + angle).to(tl.float32)
    if head < H:
        tl.store(queries + (row * H + head) * E + e, own.to(queries.dtype.element_ty))
    elif head < H + K:
        tl.store(keys + row * row_stride + (head - H) * head_stride + position * E + e, own.to(keys.dtype.element_ty))
    else:
        place = values + row * row_stride + (head - H - K) * head_stride + position * E + e
        tl.store(place, own.to(values.dtype.element_ty))


@triton.jit
def attend_kernel(
    q, keys, values, lengths, out, highest, total, scale, row_stride, head_stride,
    H: tl.constexpr, K: tl.constexpr, E: tl.constexpr, PARTS: tl.constexpr, GROUP: tl.constexpr,
    BLOCK: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """One part of one row, for the query heads that share a key-value head: the weighted sum of values, and for putting
    parts together the highest score and the sum of weights. `GROUP` heads are computed, no fewer than there are."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    row, kv, part = tl.program_id(0).to(tl.int64) // K, tl.program_id(0) % K, tl.program_id(1)
    length = tl.load(lengths + row).to(tl.int32) + 1
    size = tl.cdiv(tl.cdiv(length, PARTS), BLOCK) * BLOCK
    first = part * size
    end = tl.minimum(first + size, length)
    g, e = tl.arange(0, GROUP), tl.arange(0, E)
    heads, real = row * H + kv * (H // K) + g, g < H // K
    own = tl.load(q + heads[:, None] * E + e[None, :], mask=real[:, None], other=0.0)
    place = row * row_stride + kv.to(tl.int64) * head_stride
    best, weight = tl.full((GROUP,), float("-inf"), tl.float32), tl.zeros((GROUP,), tl.float32)
    found = tl.zeros((GROUP, E), tl.float32)
    for start in range(first, end, BLOCK):
        s = start + tl.arange(0, BLOCK)
        at = place + s.to(tl.int64)[:, None] * E + e[None, :]
        k = tl.load(keys + at, mask=(s < end)[:, None], other=0.0)
        v = tl.load(values + at, mask=(s < end)[:, None], other=0.0)
        scores = tl.dot(own, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where((s < end)[None, :], scores, float("-inf"))
        higher = tl.maximum(best, tl.max(scores, 1))
        shares, kept = tl.exp(scores - higher[:, None]), tl.exp(best - higher)
        weight = weight * kept + tl.sum(shares, 1)
        found = found * kept[:, None] + tl.dot(shares.to(v.dtype), v, input_precision="ieee")
        best = higher
    if PARTS == 1:
        found /= weight[:, None]
        tl.store(out + heads[:, None] * E + e[None, :], found.to(out.dtype.element_ty), mask=real[:, None])
    else:
        parts = heads * PARTS + part
        tl.store(out + parts[:, None] * E + e[None, :], found, mask=real[:, None])
        tl.store(highest + parts, best, mask=real)
        tl.store(total + parts, weight, mask=real)


@triton.jit
def combine_kernel(found, highest, total, out, PARTS: tl.constexpr, E: tl.constexpr, EARLY: tl.constexpr):
    """One head of one row: its parts put together. A part behind the row's end has no weight."""
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    head, p, e = tl.program_id(0).to(tl.int64), tl.arange(0, PARTS), tl.arange(0, E)
    best = tl.load(highest + head * PARTS + p)
    shares = tl.exp(best - tl.max(best, 0))
    parts = tl.load(found + (head * PARTS + p)[:, None] * E + e[None, :])
    whole = tl.sum(shares * tl.load(total + head * PARTS + p), 0)
    result = tl.sum(parts * shares[:, None], 0) / whole
    tl.store(out + head * E + e, result.to(out.dtype.element_ty))


@cache
def has_early_starts() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (9, 0)


def early() -> dict:
    """How a kernel is started where the GPU can: before the one before it has ended, for which it waits by itself
    (programmatic dependent launch). So its start, and reading weights, fall into the time of the other."""
    return {"EARLY": True, "launch_pdl": True} if has_early_starts() else {"EARLY": False}


# --- the same operations, and the same arguments, as in decode_ops.py -----------------------------------------------


def normed(x: Tensor, norm: Tensor, eps: float) -> Tensor:
    out = torch.empty_like(x)
    normed_kernel[(len(x),)](x, norm, out, eps, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]), **early())
    return out


def normed_product(x: Tensor, norm: Tensor, eps: float, weight: Tensor, bias: Tensor | None) -> Tensor:
    if len(x) > FEW:
        return F.linear(normed(x, norm, eps), weight, bias)
    return product(x, weight, norm, eps, bias=bias)


def gated(x: Tensor, norm: Tensor, eps: float, weight: Tensor) -> Tensor:
    if len(x) <= FEW:
        return product(x, weight, norm, eps, gate=True)
    both = F.linear(normed(x, norm, eps), weight)
    N = weight.shape[0] // 2
    out, block = both.new_empty(len(x), N), min(1024, triton.next_power_of_2(N))
    gate_kernel[(len(x), triton.cdiv(N, block))](both, out, N, BLOCK=block, **early())
    return out


def added_product(x: Tensor, inner: Tensor, weight: Tensor) -> Tensor:
    return torch.addmm(x, inner, weight.T) if len(x) > FEW else product(inner, weight, residual=x)


def product(
    x: Tensor, weight: Tensor, norm: Tensor | None = None, eps: float = 0.0, bias: Tensor | None = None,
    residual: Tensor | None = None, gate: bool = False,
) -> Tensor:  # fmt: skip
    (B, D), N = x.shape, weight.shape[0] // (2 if gate else 1)
    out = x.new_empty(B, N)
    block_d = min(WIDEST, triton.next_power_of_2(D))
    block_n = max(1, min(AT_ONCE // block_d, triton.next_power_of_2(N // PROGRAMS)))
    missing = out  # a pointer that is not read
    product_kernel[(B, triton.cdiv(N, block_n))](
        x, norm if norm is not None else missing, weight, bias if bias is not None else missing,
        residual if residual is not None else missing, out, eps, N, D=D, HAS_NORM=norm is not None,
        HAS_BIAS=bias is not None, HAS_RESIDUAL=residual is not None, GATED=gate, BLOCK_N=block_n, BLOCK_D=block_d,
        **early(),
    )  # fmt: skip
    return out


def place(
    qkv: Tensor, norms: tuple[Tensor, Tensor] | None, eps: float, rope: tuple[Tensor, Tensor], lengths: Tensor,
    keys: Tensor, values: Tensor,
) -> Tensor:  # fmt: skip
    B, K, _, E = keys.shape
    H = qkv.shape[1] // E - 2 * K
    queries = qkv.new_empty(B, H, E)
    q_norm, k_norm = norms or (qkv, qkv)
    place_kernel[(B, H + 2 * K)](qkv, q_norm, k_norm, *rope, lengths, queries, keys, values, eps, keys.stride(0),
                                 keys.stride(1), H=H, K=K, E=E, HAS_NORM=norms is not None, **early())  # fmt: skip
    return queries


def attend(q: Tensor, keys: Tensor, values: Tensor, lengths: Tensor) -> Tensor:
    (B, H, E), K = q.shape, keys.shape[1]
    parts = max(1, min(MOST_PARTS, triton.next_power_of_2(triton.cdiv(PROGRAMS, B * K))))
    out, shape = q.new_empty(B, H * E), (B, H, parts)
    found = q.new_empty(*shape, E, dtype=torch.float32) if parts > 1 else out
    highest, total = (q.new_empty(shape, dtype=torch.float32) for _ in range(2))
    attend_kernel[(B * K, parts)](
        q, keys, values, lengths, found, highest, total, E**-0.5, keys.stride(0), keys.stride(1), H=H, K=K, E=E,
        PARTS=parts, GROUP=max(16, triton.next_power_of_2(H // K)), BLOCK=PLACES, **early(),
    )  # fmt: skip
    if parts > 1:
        combine_kernel[(B * H,)](found, highest, total, out, PARTS=parts, E=E, **early())
    return out
