"""A mixture of experts on a CPU: tokens sorted by expert (thinkling/model/transformer.py) against one expert after the
other, each looking for its tokens. One layer with random weights of Qwen3-30B-A3B's numbers of experts, but narrower.
"""

import statistics
import time
from dataclasses import dataclass, replace

import torch
import tyro
from sides import machine
from torch import Tensor

from thinkling.model.config import SIZES
from thinkling.model.transformer import SparseMoE


@dataclass(frozen=True, kw_only=True)
class Experts:
    """Time a mixture. Example: python bench/experts.py --tokens 1 16 256"""

    width: int = 256
    inner: int = 128
    tokens: tuple[int, ...] = (1, 16, 256)
    repeats: int = 11


def by_loop(layer: SparseMoE, x: Tensor) -> Tensor:
    """One expert after the other: which tokens are yours? The oracle of tests/test_experts.py, too."""
    flat = x.reshape(-1, x.shape[-1])
    weights, chosen = layer.gate(flat).float().softmax(-1).topk(layer.num_chosen, dim=-1)
    if layer.renormalise:
        weights = weights / weights.sum(-1, keepdim=True)
    out = torch.zeros_like(flat)
    for i in chosen.unique().tolist():
        token, place = torch.where(chosen == i)
        out.index_add_(0, token, layer.experts[i](flat[token]) * weights[token, place, None].to(x.dtype))
    return out.view_as(x)


@torch.inference_mode()
def main(settings: Experts) -> None:
    torch.manual_seed(0)
    config = replace(SIZES["Qwen3-30B-A3B"], hidden_size=settings.width, moe_intermediate_size=settings.inner)
    layer = SparseMoE(config)
    print(f"{machine(torch.device('cpu'))}\n{config.num_experts} experts, {layer.num_chosen} of them for a token")
    for num in settings.tokens:
        x = torch.randn(num, 1, settings.width)
        took: dict[str, list[float]] = {"loop": [], "sorted": []}
        for _ in range(settings.repeats):
            for name, way in (("loop", lambda x: by_loop(layer, x)), ("sorted", layer)):
                started = time.process_time()
                found = way(x)
                took[name].append(1e3 * (time.process_time() - started))
        assert torch.equal(found, by_loop(layer, x))
        sides = [f"{n} {statistics.median(own):.2f} ms ({min(own):.2f}-{max(own):.2f})" for n, own in took.items()]
        print(f"{num:4} tokens: {', '.join(sides)}")


if __name__ == "__main__":
    main(tyro.cli(Experts))
