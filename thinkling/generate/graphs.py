"""Decoding on a GPU: the pass that reads one new token per row, recorded once per shape and then replayed.

Qwen3-0.6B launches well over a thousand kernels per token, each a few microseconds long: told them one by one, a GPU
mostly waits for the processor. A CUDA graph (developer.nvidia.com/blog/cuda-graphs) launches them all at once. Its
shapes are fixed, so rows and positions are rounded up; what that adds is masked, or thrown away.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.model.cache import KVCache
from thinkling.model.transformer import Transformer

POSITIONS = 256  # positions are rounded up to a multiple of this, rows to a power of two


def can_record(model: Transformer) -> bool:
    """A mixture of experts asks the processor which experts are needed, and a graph cannot ask."""
    dense = not any(model.config.is_sparse(layer) for layer in range(model.config.num_hidden_layers))
    return model.device.type == "cuda" and dense


class CudaGraphDecoder:
    """The hidden states behind one new token in each of a cache's first rows, as `model(tokens, cache)` gives them.

    Off a GPU nothing is recorded: the same rounded-up pass runs each time.
    """

    def __init__(self, model: Transformer, cache: KVCache) -> None:
        self.model, self.cache = model, cache
        self.tokens = torch.zeros(cache.num_rows, 1, dtype=torch.long, device=model.device)
        self.passes: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self.pool: tuple[int, int] | None = None  # of memory, which all graphs share: they never run side by side

    def __call__(self, tokens: Int[Tensor, "B 1"], longest: int) -> Float[Tensor, "B D"]:
        """longest: tokens of the longest row, the new one counted. The caller then advances the cache."""
        B = len(tokens)
        rows = min(1 << (B - 1).bit_length(), self.cache.num_rows)
        length = min(-(-longest // POSITIONS) * POSITIONS, self.cache.max_length)
        self.tokens[:B] = tokens
        self.cache.lengths[B:rows] = 0  # rows that nobody uses read some token at their first place
        if (rows, length) not in self.passes:
            self.passes[rows, length] = self.record(rows, length)
        return self.passes[rows, length]()[:B]

    def record(self, rows: int, length: int) -> Callable[[], Tensor]:
        tokens, part = self.tokens[:rows], self.cache.view(rows, length)

        def run() -> Tensor:
            return self.model(tokens, part)[:, 0]  # stores keys and values at the same places each time

        if self.model.device.type != "cuda":
            return run
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what libraries set up on their first call must not be recorded
            run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Another thread may train meanwhile (thinkling grpo --overlap): only this one is held to what a graph can do.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            hidden = run()
        self.pool = graph.pool()

        def replay() -> Tensor:
            graph.replay()
            return hidden

        return replay
