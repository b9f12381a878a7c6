"""The pass that reads one new token in each row, recorded on a GPU as a CUDA graph for each number of rows."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.model.cache import KVCache
from thinkling.model.decode_pass import DecodePass, can_fuse
from thinkling.model.transformer import SparseMoE, Transformer

POSITIONS = 256  # positions are rounded up to a multiple of this where the network's own operations are recorded


@torch.no_grad()  # as when it decodes: a mixture that is to learn asks
def can_record(model: Transformer) -> bool:
    """A mixture of experts asks the processor which experts are needed, and a graph cannot ask; but for those that a
    GPU multiplies in one kernel."""
    sparse = [layer.mlp for layer in model.model.layers if isinstance(layer.mlp, SparseMoE)]
    return model.device.type == "cuda" and all(mlp.groups(model.model.norm.weight) for mlp in sparse)


class CudaGraphDecoder:
    """The hidden states behind one new token in each of a cache's first rows, as `model(tokens, cache)` gives them.

    Qwen3-0.6B launches well over a thousand kernels per token, each a few microseconds long: told them one by one, a
    GPU mostly waits for the processor. A CUDA graph (developer.nvidia.com/blog/cuda-graphs) launches them all at once.
    It is recorded once per shape, so rows are rounded up; what that adds is masked, or thrown away. What it records is
    a pass in few kernels where there is one (decode_pass.py), which reads of each row what it holds; else the network's
    own, for positions that are rounded up, too. Off a GPU nothing is recorded: the same pass runs each time.
    """

    def __init__(self, model: Transformer, cache: KVCache, max_length: int) -> None:
        self.model, self.cache = model, cache
        self.fused = fused_pass(model, max_length)
        self.tokens = torch.zeros(len(cache.lengths), 1, dtype=torch.long, device=model.device)
        self.passes: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self.pool: tuple[int, int] | None = None  # of memory, which all graphs share: they never run side by side

    def __call__(self, tokens: Int[Tensor, "B 1"], longest: int, behind: Sequence[int] = ()) -> Float[Tensor, "B D"]:
        """longest: tokens of the longest row, the new one counted; behind: see Runner.decode. The caller then advances
        the cache."""
        B = len(tokens)
        rows = min(1 << (B - 1).bit_length(), self.cache.num_rows)
        longest = max(longest, *(held + 1 for held in behind[: rows - B]), 1)
        longest = -(-longest // POSITIONS) * POSITIONS if self.fused is None else self.cache.max_length
        length = min(longest, self.cache.max_length)
        self.tokens[:B] = tokens
        # Rows behind these read some token, too: at the place of the prompt's next one, or where nobody is, the first.
        self.cache.lengths[B + len(behind) : rows] = 0
        if (rows, length) not in self.passes:
            self.passes[rows, length] = self.record(rows, length)
        return self.passes[rows, length]()[:B]

    def record(self, rows: int, length: int) -> Callable[[], Tensor]:
        tokens, part = self.tokens[:rows], self.cache.view(rows, length)

        def run() -> Tensor:  # stores keys and values at the same places each time
            return self.fused(tokens, part) if self.fused is not None else self.model(tokens, part)[:, 0]

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


def fused_pass(model: Transformer, max_length: int) -> DecodePass | None:
    if not can_fuse(model):
        return None
    from thinkling.model import decode_kernels  # here: it wants Triton

    return DecodePass(model, max_length, decode_kernels)
