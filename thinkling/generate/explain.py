"""Sampling, step by step: from a position's logits to the distribution a token is drawn from, and along a completion.

Every number comes from the engine's own `distribution` and from the engine's own completion, so what is shown here is
what was done. Leaves out how it is drawn for people (commands/explain.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from thinkling.anywhere import run_anywhere
from thinkling.generate.completion import Completion
from thinkling.generate.distribution import BatchedSampling, distribution, penalise
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Prompt
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import CHUNK_ELEMENTS


@dataclass(frozen=True)
class Stage:
    """What one setting makes of the next token's distribution, all settings before it included.

    name: "model" (temperature 1, nothing cut), "repetition penalty", "temperature", "top-k", "top-p" or
    "min-p". setting: its value.
    logprobs: of every token in the vocabulary, in nats; -inf if cut.
    """

    name: str
    setting: float
    logprobs: Float[Tensor, " V"]

    @property
    def entropy(self) -> float:
        """In nats: 0 if one token is certain, log n if n tokens are equally likely."""
        return float(entropies(self.logprobs))

    @property
    def num_left(self) -> int:
        return int(self.logprobs.isfinite().sum())


@dataclass(frozen=True)
class Candidate:
    """A token that may come next. rank: from 1, by its logit. logprobs: one per stage, in nats; -inf if it is cut."""

    rank: int
    token: int
    logit: float
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class DrawnToken:
    """One token of a completion, and what else could have stood there.

    probability: with which the engine drew it. rank: from 1, by its logit. entropy: of the distribution it was drawn
    from, in nats. alternatives: the likeliest other tokens that could be drawn, each with its probability.
    """

    token: int
    probability: float
    rank: int
    entropy: float
    alternatives: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Explanation:
    """The distribution behind a prompt, stage by stage, and the completion that was drawn, token by token.

    candidates: the likeliest tokens and the one that was drawn, by rank. others: per stage, the log-probability that
    all other tokens have together; -inf if all are cut, or there are none.
    """

    sampling: Sampling
    completion: Completion
    stages: tuple[Stage, ...]
    candidates: tuple[Candidate, ...]
    others: tuple[float, ...]
    steps: tuple[DrawnToken, ...]


def entropies(logprobs: Float[Tensor, "*B V"]) -> Float[Tensor, "*B"]:
    """In nats; a token of probability 0 adds nothing."""
    return torch.special.entr(logprobs.exp()).sum(-1).clamp(min=0)  # rounding may lift a probability above 1


def stages_of(logits: Float[Tensor, " V"], sampling: Sampling, prompt: Sequence[int] = ()) -> tuple[Stage, ...]:
    """The model's own distribution, then one stage for each setting that is on, in the order in which they work.

    prompt: what the repetition penalty works on; the other penalties need a completion, and none has begun.

    The last stage is the distribution that the engine draws from. Greedy (temperature 0) has no temperature stage: its
    probabilities are the model's own, as the engine reports them.
    """
    penalised = penalise(logits[None], BatchedSampling([sampling], logits.device), [prompt], [()])[0]
    settings = [("model", 1.0, Sampling())]
    if sampling.repetition_penalty != 1:
        settings.append(("repetition penalty", sampling.repetition_penalty, Sampling()))
    if sampling.temperature not in (0, 1):
        settings.append(("temperature", sampling.temperature, Sampling(sampling.temperature)))
    so_far = Sampling(sampling.temperature)
    cuts = ("top-k", "top_k", 0), ("top-p", "top_p", 1.0), ("min-p", "min_p", 0.0)
    for name, field, off in cuts:
        value = getattr(sampling, field)
        if value != off:
            so_far = replace(so_far, **{field: value})
            settings.append((name, value, so_far))
    return tuple(
        Stage(
            name,
            value,
            distribution((logits if name == "model" else penalised)[None], BatchedSampling([so_far], logits.device))[0],
        )
        for name, value, so_far in settings
    )


def candidates_of(
    logits: Float[Tensor, " V"], stages: Sequence[Stage], top: int, drawn: int
) -> tuple[tuple[Candidate, ...], tuple[float, ...]]:
    """The `top` likeliest tokens and the drawn one, by rank; and, per stage, the log-probability of all others."""
    order = logits.argsort(descending=True, stable=True)
    rank = int((order == drawn).nonzero()) + 1
    places = [*range(min(top, len(order))), *([rank - 1] if rank > top else [])]
    tokens = order[places]
    logprobs = torch.stack([stage.logprobs for stage in stages])
    rows = zip(places, tokens.tolist(), logits[tokens].tolist(), logprobs[:, tokens].T.tolist(), strict=True)
    shown = tuple(Candidate(place + 1, token, logit, tuple(column)) for place, token, logit, column in rows)
    others = logprobs.index_fill(1, tokens, float("-inf")).logsumexp(-1)
    return shown, tuple(others.tolist())


def steps_of(
    logits: Float[Tensor, "T V"], completion: Completion, sampling: Sampling, num_alternatives: int
) -> list[DrawnToken]:
    """One step per token; row t of `logits` is what token t of the completion was drawn from."""
    logprobs = distribution(logits, BatchedSampling([sampling], logits.device))
    drawn = torch.tensor(completion.tokens, device=logits.device)[:, None]
    ranks = (logits > logits.gather(1, drawn)).sum(-1) + 1
    best = logprobs.scatter(1, drawn, float("-inf")).exp().topk(min(num_alternatives, logits.shape[-1] - 1))
    steps = []
    columns = (completion.tokens, completion.logprobs, ranks, entropies(logprobs), best.indices, best.values)
    plain = (column.tolist() if isinstance(column, Tensor) else column for column in columns)
    for token, logprob, rank, entropy, others, probabilities in zip(*plain, strict=True):
        # Greedy took the likeliest; one pass over all positions may round another way than the engine's steps did.
        rank = 1 if sampling.temperature == 0 else rank
        alternatives = tuple((o, p) for o, p in zip(others, probabilities, strict=True) if p > 0)
        steps.append(DrawnToken(token, math.exp(logprob), rank, entropy, alternatives))
    return steps


@torch.inference_mode()
def explain(
    model: LanguageModel, prompt: Prompt, sampling: Sampling, top: int = 10, num_alternatives: int = 3
) -> Explanation:
    """Let the engine complete the prompt, then read both in one pass for the logits of every position.

    top: candidates for the first token; num_alternatives: for each token, at most. Raises UserError if the prompt is
    empty or does not fit into the context.
    """
    completion = run_anywhere(model.complete(prompt, sampling))
    network, num_read = model.network, len(completion.prompt_tokens)
    read = torch.tensor([[*completion.prompt_tokens, *completion.tokens[:-1]]], device=network.device)
    hidden = network(read)[0, num_read - 1 :]
    steps: list[DrawnToken] = []
    size = max(1, CHUNK_ELEMENTS // network.config.vocab_size)
    for start in range(0, len(hidden), size):
        logits = network.logits(hidden[start : start + size]).float()
        places = range(start, start + len(logits))
        every = BatchedSampling([sampling] * len(logits), logits.device)
        logits = penalise(
            logits, every, [completion.prompt_tokens] * len(logits), [completion.tokens[:t] for t in places]
        )
        part = slice(start, start + size)
        drawn = replace(completion, tokens=completion.tokens[part], logprobs=completion.logprobs[part])
        steps += steps_of(logits, drawn, sampling, num_alternatives)
    first = network.logits(hidden[0]).float()
    stages = stages_of(first, sampling, completion.prompt_tokens)
    candidates, others = candidates_of(first, stages, top, completion.tokens[0])
    return Explanation(sampling, completion, stages, candidates, others, tuple(steps))
