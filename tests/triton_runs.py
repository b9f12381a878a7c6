"""The kernels of a GPU's decoding pass beside the operations that they stand for, and the engine that replays them
beside the plain loop: `python tests/triton_runs.py`.

On a GPU in bfloat16 and float32; without one on Triton's interpreter (`pip install triton`, and a numpy before 2.4),
kernels alone. A kernel may differ from the operation, taken in float32 of the same numbers, by rounding alone. Prints a
line for each, and ends with 1 if one of them differs.
"""

import os
import sys
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported

from thinkling.generate.engine import Engine  # noqa: E402
from thinkling.generate.reference import generate  # noqa: E402
from thinkling.generate.sampling import Sampling  # noqa: E402
from thinkling.model import decode_kernels, decode_ops  # noqa: E402
from thinkling.model.config import FAMILIES, ModelConfig  # noqa: E402
from thinkling.model.transformer import Transformer, init_weights  # noqa: E402

DEVICE = torch.device("cuda" if ON_GPU else "cpu")
DTYPES = {torch.float32: 2e-5, torch.bfloat16: 1e-2} if ON_GPU else {torch.float32: 2e-5}
SIZES = [(1024, 4096, 3072, 16, 8, 128), (576, 960, 1536, 9, 3, 64)] if ON_GPU else [(96, 80, 48, 6, 2, 32)]
ROWS = (1, 4, 5, 256) if ON_GPU else (1, 3, 6)
failed: list[str] = []


def told(name: str, difference: float, most: float) -> None:
    good = difference <= most
    print(f"{'ok ' if good else 'BAD'} {name:60} {difference:.1e}", flush=True)
    if not good:
        failed.append(name)


def relative(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    if not found.isfinite().all():
        return float("inf")
    return ((found.float() - wanted.float()).abs().max() / wanted.float().abs().max()).item()


def both(operation: Callable[..., Tensor], *arguments: object) -> float:
    """The kernel of this name, beside the operation on float32."""
    wide = [tuple(map(wider, a)) if isinstance(a, tuple) else wider(a) for a in arguments]
    return relative(getattr(decode_kernels, operation.__name__)(*arguments), operation(*wide))


def wider(value: object) -> object:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def kernels(dtype: torch.dtype, rows: int, sizes: tuple[int, ...]) -> None:
    D, N, inner, H, K, E = sizes
    random = torch.Generator(DEVICE).manual_seed(rows)

    def drawn(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=random, device=DEVICE) * scale).to(dtype)

    x, norm, most = drawn(rows, D), 1 + drawn(D, scale=0.2), DTYPES[dtype]
    name = f"{str(dtype).removeprefix('torch.')}, {rows} rows of {D}"
    told(f"{name}: normed", both(decode_ops.normed, x, norm, 1e-6), most)
    for bias in (None, drawn(N)):
        found = both(decode_ops.normed_product, x, norm, 1e-6, drawn(N, D, scale=D**-0.5), bias)
        told(f"{name}: normed_product{'' if bias is None else ' with a bias'}", found, most)
    told(f"{name}: gated", both(decode_ops.gated, x, norm, 1e-6, drawn(2 * inner, D, scale=D**-0.5)), most)
    states = drawn(rows, inner)
    told(f"{name}: added_product", both(decode_ops.added_product, x, states, drawn(D, inner, scale=inner**-0.5)), most)
    room, qkv = 700, drawn(rows, (H + 2 * K) * E)
    angles = torch.rand(room, E // 2, generator=random, device=DEVICE) * 7
    rope, norms = (angles.cos().to(dtype), angles.sin().to(dtype)), (1 + drawn(E, scale=0.2), 1 + drawn(E, scale=0.2))
    lengths = torch.randint(0, room - 1, (rows,), generator=random, device=DEVICE)
    lengths[-1] = 0 if rows > 1 else 600
    for own in (None, norms):
        cache = [drawn(rows + 1, K, room + 20, E)[:rows, :, :room] for _ in range(2)]
        copies = [part.float() for part in cache]
        q = decode_kernels.place(qkv, own, 1e-6, rope, lengths, *cache)
        wide = (own and tuple(map(wider, own)), 1e-6, tuple(map(wider, rope)), lengths)
        wanted = decode_ops.place(qkv.float(), *wide, *copies)
        worst = max(relative(*pair) for pair in zip((q, *cache), (wanted, *copies), strict=True))
        told(f"{name}: place{'' if own is None else ' with norms'}", worst, most)
    told(f"{name}: attend", both(decode_ops.attend, q, *cache, lengths), most)


def engine(kind: str, dtype: torch.dtype) -> None:
    """Twelve requests on eight rows: in float32 the plain loop's tokens, in bfloat16 nearly its log-probabilities."""
    experts = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=64) if FAMILIES[kind].experts else {}
    config = ModelConfig(vocab_size=300, hidden_size=128, intermediate_size=256, num_hidden_layers=3,
                         num_attention_heads=8, num_key_value_heads=2, head_dim=32, max_position_embeddings=512,
                         model_type=kind, **experts)  # fmt: skip
    network = init_weights(Transformer(config), seed=1).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(4.0 if weight.ndim == 2 else 1.0)
    network = network.to(DEVICE, dtype)
    made = Engine(network, (), max_rows=8, max_length=300)
    kinds = [dict(temperature=0.0), dict(temperature=1.0), dict(temperature=0.8, top_p=0.9)]
    jobs = [([i % 5 + 1, 2, 3] * (1 + 7 * i), Sampling(max_tokens=20 + i, seed=i, **kinds[i % 3])) for i in range(12)]
    ids, done = [made.submit(*job) for job in jobs], {}
    while made.busy:
        done |= dict(made.step())
    same, far = 0, 0.0
    for (prompt, sampling), number in zip(jobs, ids, strict=True):
        alone = generate(network, prompt, sampling, ())
        same += alone.tokens == done[number].tokens
        far = max(far, abs(alone.logprobs[0] - done[number].logprobs[0]))
    name = f"{kind}, {str(dtype).removeprefix('torch.')}: {same} of {len(jobs)} texts equal, first log-probability"
    recorded = made.runner.decoder is not None and made.runner.decoder.fused is not None
    told(f"{name}{'' if recorded else ' (not recorded)'}", far, 1e-3 if dtype == torch.float32 else 0.2)
    if dtype == torch.float32 and same < len(jobs):
        failed.append(name)


def main() -> None:
    for dtype, rows, sizes in product(DTYPES, ROWS, SIZES):
        kernels(dtype, rows, sizes)
    if ON_GPU:
        for kind, dtype in product(FAMILIES, DTYPES):
            with torch.inference_mode():
                engine(kind, dtype)
    sys.exit(f"{len(failed)} differ: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
