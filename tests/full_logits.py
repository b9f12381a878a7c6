"""Log-probabilities the plain way, from the whole table of logits: the oracle of generate/score.py."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.model.transformer import Transformer


def score(
    model: Transformer, tokens: Int[Tensor, "B T"], mask: Tensor, temperature: float = 1.0
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Log-probability and entropy of each token given those before it, where `mask` (B, T) is true; 0 elsewhere.

    Rows are padded on the right. The first token of a row has nothing before it and cannot be masked in.
    """
    logits = model.logits(model(tokens[:, :-1])).float() / temperature
    logprobs = logits.log_softmax(-1)
    entropy = torch.distributions.Categorical(logits=logits).entropy().detach()
    chosen = logprobs.gather(-1, tokens[:, 1:, None])[..., 0]
    first = torch.zeros_like(chosen[:, :1])
    return torch.cat([first, chosen], 1) * mask, torch.cat([first, entropy], 1) * mask
