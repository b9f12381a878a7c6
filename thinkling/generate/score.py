"""Log-probabilities of given tokens: the one place that scores, for scaling methods and for every trainer.

Full logits over a long sequence and a vocabulary of 151,936 take 0.6 MB per token in float32, more than all the rest.
Here the head runs over a limited number of tokens at a time, and the backward pass makes each chunk's logits again.
"""

from collections.abc import Sequence
from itertools import compress

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from thinkling.generate.distribution import tell
from thinkling.model.packed import Packed
from thinkling.model.transformer import Transformer

CHUNK_ELEMENTS = 2**24  # logits held at once: 64 MB in float32


def token_logprobs(
    hidden: Float[Tensor, "N D"], head: Float[Tensor, "V D"], targets: Int[Tensor, " N"], temperature: float = 1.0,
    sampling_mask: Int[Tensor, "N K"] | None = None,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:  # fmt: skip
    """log softmax(head @ hidden / temperature)[target] and the entropy of that distribution, in nats, in float32.

    sampling_mask: the ids over which the softmax goes, -1 for none, where a token was drawn among fewer than all;
    without it a policy that samples with top-p is scored as another one than it is.
    Memory: O(CHUNK_ELEMENTS), whatever N is. The entropy carries no gradient.
    """
    size = max(1, CHUNK_ELEMENTS // head.shape[0])
    if len(targets) <= size:
        return _chunk_logprobs(hidden, head, targets, temperature, sampling_mask)
    starts = range(0, len(targets), size)
    parts = [
        checkpoint(
            _chunk_logprobs, hidden[i : i + size], head, targets[i : i + size], temperature,
            None if sampling_mask is None else sampling_mask[i : i + size], use_reentrant=False,
        )
        for i in starts
    ]  # fmt: skip
    logprobs, entropies = zip(*parts, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _chunk_logprobs(
    hidden: Tensor, head: Tensor, targets: Tensor, temperature: float, sampling_mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    logits = (hidden @ head.T).float() / temperature
    chosen = logits.gather(-1, targets[:, None]).squeeze(-1)
    if sampling_mask is not None:
        logits = logits.gather(-1, sampling_mask.clamp(min=0)).masked_fill(sampling_mask < 0, -1e30)
    log_total = logits.logsumexp(-1)
    logprobs = chosen - log_total
    with torch.no_grad():
        probs = (logits - log_total[:, None]).exp()
        entropy = log_total - (probs * logits).sum(-1)
    return logprobs, entropy


@torch.inference_mode()
def tell_given(
    model: Transformer, hidden: Float[Tensor, "T D"], tokens: Sequence[int], num: int
) -> list[tuple[float, list[tuple[int, float]]]]:  # fmt: skip
    """`distribution.tell` of given tokens behind the first one, each from the hidden state before it."""
    size, found = max(1, CHUNK_ELEMENTS // model.lm_head.weight.shape[0]), []
    for start in range(0, len(tokens) - 1, size):
        end = min(start + size, len(tokens) - 1)
        found += tell(model.logits(hidden[start:end]), tokens[start + 1 : end + 1], num)
    return found


def score_packed(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    sampling_mask: Int[Tensor, "N K"] | None = None,
    recompute: bool = False,
    mask: Sequence[bool] = (),
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Log-probabilities and entropies of the N tokens of all completions, one behind the other (`packed_states`).

    sampling_mask: of these N tokens, see `token_logprobs`. recompute: see `Transformer.forward`.
    """
    behind, targets = packed_states(model, prompts, completions, recompute, mask)
    return token_logprobs(behind, model.lm_head.weight, targets, temperature, sampling_mask)


def packed_states(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    recompute: bool = False,
    mask: Sequence[bool] = (),
) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"]]:
    """The hidden state that each of the N tokens was predicted from, and the tokens; completions[i] are of prompts[i].

    mask: which of all tokens these are, () for all; the others are read only. Each prompt is read once for all of its
    completions, and nothing is padded (see packed.Packed).
    """
    groups = [(len(p), [len(c) - 1 for c in own]) for p, own in zip(prompts, completions, strict=True)]
    packed = Packed(groups, model.device)
    read = [token for p in prompts for token in p] + [token for own in completions for c in own for token in c[:-1]]
    hidden = model(torch.tensor([read], device=model.device), packed, recompute)[0]
    source, start, end = [], packed.num_prompt_tokens, 0  # where the hidden state behind each token stands
    for prompt, own in zip(prompts, completions, strict=True):
        end += len(prompt)
        for c in own:
            source += [end - 1, *range(start, start + len(c) - 1)]
            start += len(c) - 1
    targets = [token for own in completions for c in own for token in c]
    if mask:
        source, targets = list(compress(source, mask)), list(compress(targets, mask))
    behind = hidden.index_select(0, torch.tensor(source, device=model.device))
    return behind, torch.tensor(targets, device=model.device)
