"""How a run learns from examples, as a record without torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SftConfig:
    """epochs: how often each example is read. batch_size: examples of one optimizer step. micro_batch_tokens: of one
    forward and backward pass, prompts included, at most. recompute: keep less for the backward pass and compute it
    again. seed: of the order.
    """

    epochs: int = 2
    batch_size: int = 64
    micro_batch_tokens: int = 4096
    recompute: bool = False
    seed: int = 0
