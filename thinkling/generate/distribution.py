"""From logits to a token and its log-probability: penalties, temperature, top-k, top-p, min-p, one stream per request.

A request draws one uniform number per token from its own stream, and the number picks the token by the inverse of the
cumulative distribution. So a request's tokens depend on its seed and its logits alone, never on its neighbours.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.device import generator
from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling

LEAST = torch.finfo(torch.float32).tiny  # a temperature below it would divide by 0
UNIFORMS_AT_ONCE = 64  # numbers; how many are drawn at a time does not change them
CANDIDATES = 1024  # the likeliest tokens, within which top-k and top-p mostly end; a small vocabulary is sorted whole
CONFIDENCE_TOKENS = 20  # the likeliest tokens over which confidence is the mean; DeepConf's choice


def uniforms(sampling: Sampling) -> Iterator[float]:
    """A request's random stream: one number in [0, 1) per token that it may draw, drawn as they are wanted."""
    random, left = generator(sampling.seed), sampling.max_tokens
    while left:
        num = min(left, UNIFORMS_AT_ONCE)
        yield from torch.rand(num, generator=random).tolist()
        left -= num


class BatchedSampling:
    """The settings of a batch of requests as tensors, one entry per row."""

    def __init__(self, samplings: list[Sampling], device: torch.device) -> None:
        def column(values: list[float], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)[:, None]

        self.greedy = column([s.temperature == 0 for s in samplings], torch.bool)
        self.temperature = column([max(s.temperature or 1.0, LEAST) for s in samplings], torch.float32)
        self.top_k = column([s.top_k or 2**62 for s in samplings], torch.long)
        self.top_p = column([s.top_p for s in samplings], torch.float32)
        self.min_p = column([s.min_p for s in samplings], torch.float32)
        self.all_greedy = all(s.temperature == 0 for s in samplings)
        self.truncates = any(s.truncates for s in samplings)
        self.keeps = any(s.sampling_mask and s.truncates for s in samplings)
        self.penalised = [s.penalises for s in samplings]
        self.presence = column([s.presence_penalty for s in samplings], torch.float32)
        self.frequency = column([s.frequency_penalty for s in samplings], torch.float32)
        self.repetition = column([s.repetition_penalty for s in samplings], torch.float32)
        self.measures = any(s.measure or s.min_confidence is not None for s in samplings)

    def rows(self, places: Int[Tensor, " N"]) -> "BatchedSampling":
        """Of some rows only: their columns; what is said of the batch is still true."""
        part = copy.copy(self)
        for name, column in vars(self).items():
            if isinstance(column, Tensor):
                setattr(part, name, column[places])
        part.penalised = [self.penalised[place] for place in places.tolist()]
        return part


def penalise(
    logits: Float[Tensor, "B V"], batch: BatchedSampling, prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
) -> Float[Tensor, "B V"]:  # fmt: skip
    """The logits after the penalties for what each row's prompt and completion hold so far; repetition comes first."""
    if not any(batch.penalised):
        return logits
    logits = logits.float()
    counts = times_seen(completions, batch.penalised, logits)
    seen = (counts + times_seen(prompts, batch.penalised, logits)) > 0
    scale = torch.where(seen, batch.repetition, 1.0)
    logits = torch.where(logits > 0, logits / scale, logits * scale)
    return logits - batch.frequency * counts - batch.presence * (counts > 0)


def times_seen(sequences: Sequence[Sequence[int]], wanted: Sequence[bool], like: Float[Tensor, "B V"]) -> Tensor:
    """(B, V): how often each row's sequence holds each token; 0 in the rows that are not wanted."""
    own = [tokens if is_wanted else () for tokens, is_wanted in zip(sequences, wanted, strict=True)]
    rows = torch.arange(len(own)).repeat_interleave(torch.tensor(list(map(len, own))))
    ids = torch.tensor([*chain.from_iterable(own)], dtype=torch.long)  # a flat list: pairs take six times as long
    ones = torch.ones(len(ids), dtype=like.dtype, device=like.device)
    return torch.zeros_like(like).index_put_((rows.to(like.device), ids.to(like.device)), ones, accumulate=True)


def distribution(logits: Float[Tensor, "B V"], batch: BatchedSampling) -> Float[Tensor, "B V"]:
    """Log-probabilities that tokens are drawn with: after temperature and truncation, renormalised; -inf if cut."""
    logprobs = tempered(logits, batch)
    if not batch.truncates:
        return logprobs
    ordered, order = logprobs.sort(dim=-1, descending=True, stable=True)
    ordered, _ = truncated(ordered, batch, logits.shape[-1])
    return torch.empty_like(logprobs).scatter_(-1, order, ordered)


def tempered(logits: Float[Tensor, "B V"], batch: BatchedSampling) -> Float[Tensor, "B V"]:
    logits = logits.float()
    # From the highest logit down, so that a temperature near 0 overflows to -inf for the others, not to inf - inf.
    return ((logits - logits.max(-1, keepdim=True).values) / batch.temperature).log_softmax(-1)


def truncated(
    ordered: Float[Tensor, "B N"], batch: BatchedSampling, vocab_size: int
) -> tuple[Float[Tensor, "B N"], Int[Tensor, "B 1"]]:
    """The N likeliest tokens' log-probabilities after top-k, top-p and min-p, renormalised, -inf if cut; and how many
    are left. Each number comes of those before it, so that more tokens change none of them."""
    N = ordered.shape[-1]
    rank, shares = torch.arange(N, device=ordered.device), ordered.exp()
    until = shares.cumsum(-1)
    # What the top-k have of the probability; all tokens together have 1.
    among = batch.top_k.clamp(max=N).expand(len(ordered), 1)
    mass = torch.where(batch.top_k < vocab_size, until.gather(-1, among - 1), 1.0)
    # The likeliest stays; and top-p = 1 keeps all: rounding must not let the sum of the likelier ones cut a tail.
    cut = (until - shares >= batch.top_p * mass) & (rank > 0) & (batch.top_p < 1)
    cut |= (rank >= batch.top_k) | (ordered < ordered[:, :1] + batch.min_p.log())
    left = (~cut).sum(-1, keepdim=True).clamp(min=1)  # none where logits are not finite
    mass = torch.where(left < vocab_size, until.gather(-1, left - 1), 1.0)
    # A row that is not finite stays NaN throughout, which tells.
    return (ordered - mass.log()).masked_fill(cut & ~ordered.isnan(), float("-inf")), left


def choose(
    logits: Float[Tensor, "B V"], batch: BatchedSampling, uniforms: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """One token per row and its log-probability under the distribution it was drawn from (greedy: at temperature 1)."""
    if batch.truncates and logits.shape[-1] > 8 * CANDIDATES:
        return choose_among_likeliest(logits, batch, uniforms)
    return choose_among_all(logits, batch, uniforms)


def choose_among_all(
    logits: Float[Tensor, "B V"], batch: BatchedSampling, uniforms: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """`choose` by the whole distribution: what truncates sorts the vocabulary."""
    logprobs = distribution(logits, batch)
    tokens = logits.argmax(-1)
    if not batch.all_greedy:
        tokens = torch.where(batch.greedy.squeeze(-1), tokens, drawn(logprobs, uniforms))
    return tokens, logprobs.gather(-1, tokens[:, None]).squeeze(-1)


def choose_among_likeliest(
    logits: Float[Tensor, "B V"], batch: BatchedSampling, uniforms: Float[Tensor, " B"]
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """The same (on a CPU to the last bit) without sorting the vocabulary: where truncation ends within the likeliest
    tokens, no other matters. Rows where it does not are left to `choose_among_all`."""
    V, likeliest = logits.shape[-1], logits.argmax(-1)
    logprobs = tempered(logits, batch)
    # Of the logits, which order tokens alike and are of fewer bits on a GPU; then in the order of the vocabulary.
    ids = logits.topk(CANDIDATES, sorted=False).indices.sort(dim=-1).values
    values, order = logprobs.gather(-1, ids).sort(dim=-1, descending=True, stable=True)
    ordered, left = truncated(values, batch, V)
    # What is left is likelier than the last candidate: so no token outside is as likely, and comes before it.
    known = (batch.top_k <= CANDIDATES) | (batch.top_k >= V)
    enough = (known & (values.gather(-1, left - 1) > values[:, -1:])).squeeze(-1)
    logprobs = torch.empty_like(ordered).scatter_(-1, order, ordered)
    places = (ids == likeliest[:, None]).int().argmax(-1)
    places = torch.where(batch.greedy.squeeze(-1), places, drawn(logprobs, uniforms))
    tokens, found = (own.gather(-1, places[:, None]).squeeze(-1) for own in (ids, logprobs))
    rest = (~enough).nonzero().squeeze(-1)
    if len(rest):
        tokens[rest], found[rest] = choose_among_all(logits[rest], batch.rows(rest), uniforms[rest])
    return tokens, found


def drawn(logprobs: Float[Tensor, "B N"], uniforms: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """The place that each row's number picks, by the inverse of the cumulative distribution."""
    cumulative = logprobs.exp().cumsum(-1)
    # Just below 1, so that rounding can never pick a token behind the last possible one.
    targets = uniforms.clamp(max=1 - 1e-6)[:, None] * cumulative[:, -1:]
    # Logits that are not finite would point behind the last token; their log-probability is NaN, which tells.
    return torch.searchsorted(cumulative, targets, right=True).squeeze(-1).clamp(max=logprobs.shape[-1] - 1)


def sampling_masks(logits: Float[Tensor, "B V"], batch: BatchedSampling) -> list[tuple[int, ...]]:
    """The tokens that each row could have drawn: those with a probability above zero after truncation."""
    rows, ids = (distribution(logits, batch) > float("-inf")).nonzero(as_tuple=True)
    counts = rows.bincount(minlength=len(logits)).tolist()
    return [tuple(part.tolist()) for part in ids.cpu().split(counts)]


def tell(
    logits: Float[Tensor, "N V"], tokens: Sequence[int], num: int
) -> list[tuple[float, list[tuple[int, float]]]]:  # fmt: skip
    """Each place's log-probability of its token, at temperature 1 and before anything is cut, in nats; and its `num`
    likeliest tokens with theirs, the likeliest first."""
    logprobs = logits.float().log_softmax(-1)
    own = logprobs.gather(-1, torch.tensor(tokens, device=logits.device)[:, None]).squeeze(-1).tolist()
    if not num:
        return [(logprob, []) for logprob in own]
    top = logprobs.topk(min(num, logits.shape[-1]))
    places = zip(own, top.indices.tolist(), top.values.tolist(), strict=True)
    return [(logprob, list(zip(ids, values, strict=True))) for logprob, ids, values in places]


def measure(logits: Float[Tensor, "B V"]) -> Float[Tensor, "B 3"]:
    """How sure the model is of each next token, at temperature 1, before anything is cut: three columns, in this order.

    confidence: minus the mean log-probability of the 20 likeliest tokens, in nats; the more peaked, the higher
    (DeepConf, arXiv:2508.15260, equation 2). certainty: KL(uniform || p) over the whole vocabulary, in nats
    (self-certainty, arXiv:2502.18581). margin: the likeliest token's probability minus the second's (arXiv:2402.10200).
    """
    logprobs = logits.float().log_softmax(-1)
    V = logits.shape[-1]
    top = logprobs.topk(min(CONFIDENCE_TOKENS, V)).values
    certainty = -logprobs.mean(-1) - math.log(V)
    return torch.stack([-top.mean(-1), certainty, top[:, 0].exp() - top[:, 1].exp()], dim=-1)


def not_finite(name: str, step: int, dtype: torch.dtype) -> UserError:
    """Of a request whose logits hold NaN or infinity where its token number `step` (from 1) was to be drawn."""
    likely = ("most likely float16 overflowed: use --dtype bfloat16 or float32" if dtype == torch.float16 else
              "most likely the weights are damaged, or a training run diverged: try an earlier checkpoint")  # fmt: skip
    return UserError(f"{name}, token {step}: the model's logits are not finite numbers; {likely}")
