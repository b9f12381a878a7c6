"""What 8-bit weights cost and save: the same problems answered by both, and one's text read by both.

Accuracy is paired by problem. How far the next-token distributions are apart is measured where both read the same
tokens, the responses of the weights as they are: behind the first token that differs, two texts compare nothing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch

from thinkling.evaluate.stats import difference_interval, mean_interval, paired_p_value, share_interval, wilson_interval
from thinkling.generate import score
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.quantize import weight_bytes
from thinkling.model.transformer import Transformer
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import verify

AT_ONCE = 64  # problems that one side answers before it is the other's turn
READ_AT_ONCE = 8  # responses that are read in one pass


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Side:
    """One model's part. rate: new tokens per second, all turns together. bytes: of its weights."""

    accuracy: Estimate
    rate: float
    bytes: int
    truncated: float


@dataclass(frozen=True)
class Cost:
    """What both did, and how far they are apart.

    plain, small: the weights as they are, and in 8 bits. difference: small's accuracy minus plain's, paired.
    only_plain, only_small: problems that only one of them got right; p: of McNemar's exact test. divergence: KL(plain
    || small) of the next token in nats, agreement: how often the likeliest token is the same; of either the mean over a
    response's tokens, and then over responses. num_tokens: of all responses. speed: small's tokens per second over
    plain's, the median of all turns; slowest, fastest: of all turns.
    """

    num_problems: int
    plain: Side
    small: Side
    difference: Estimate
    only_plain: int
    only_small: int
    p: float
    divergence: Estimate
    agreement: Estimate
    num_tokens: int
    speed: float
    slowest: float
    fastest: float


def cost(
    plain: LanguageModel, small: LanguageModel, problems: Sequence[Problem], template: str, sampling: Sampling
) -> Cost:
    """Ask both models at least two problems, and compare. Raises UserError where a prompt does not fit."""
    prompts = [prompt_of(plain, template, problem.question) for problem in problems]
    completions, turns = answered((plain, small), prompts, sampling)
    right = [[verify(problem, completion.text).correct for problem, completion in zip(problems, own, strict=True)]
             for own in completions]  # fmt: skip
    differences = [after - before for before, after in zip(*right, strict=True)]
    only = [differences.count(-1), differences.count(1)]
    before, after = ([tokens / seconds for tokens, seconds in own] for own in turns)
    speeds = [new / old for old, new in zip(before, after, strict=True)]
    told = list(distances(plain.network, small.network, completions[0]))
    divergences, agreements = zip(*told, strict=True)
    low, high = mean_interval(divergences)
    return Cost(
        num_problems=len(problems),
        plain=side(plain, completions[0], right[0], turns[0]),
        small=side(small, completions[1], right[1], turns[1]),
        difference=Estimate(fmean(differences), *difference_interval(differences)),
        only_plain=only[0],
        only_small=only[1],
        p=paired_p_value(*only),
        divergence=Estimate(fmean(divergences), max(0.0, low), high),
        agreement=Estimate(fmean(agreements), *share_interval(agreements)),
        num_tokens=sum(len(completion.tokens) for completion in completions[0]),
        speed=median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
    )


def answered(
    models: Sequence[LanguageModel], prompts: Sequence[Sequence[int]], sampling: Sampling
) -> tuple[list[list[Completion]], list[list[tuple[int, float]]]]:
    """Each model's completions, and the tokens and seconds of each of its turns. Turns alternate, and so does who
    begins, so that a machine that slows down slows down both. A first turn that only warms up is not counted."""
    found: list[list[Completion]] = [[] for _ in models]
    taken: list[list[tuple[int, float]]] = [[] for _ in models]
    for model in models:
        model.complete_all(prompts[:1], sampling)
    with Progress("answering twice", len(prompts)) as progress:
        for turn, start in enumerate(range(0, len(prompts), AT_ONCE)):
            now = prompts[start : start + AT_ONCE]
            order = range(len(models)) if turn % 2 == 0 else reversed(range(len(models)))
            for place in order:
                began = time.perf_counter()
                own = models[place].complete_all(now, sampling, first=start)
                taken[place].append((sum(len(c.tokens) for c in own), time.perf_counter() - began))
                found[place] += own
            progress.update(start + len(now))
    return found, taken


def side(
    model: LanguageModel, own: Sequence[Completion], right: Sequence[bool], turns: Sequence[tuple[int, float]]
) -> Side:
    tokens, seconds = map(sum, zip(*turns, strict=True))
    accuracy = Estimate(fmean(right), *wilson_interval(sum(right), len(right)))
    return Side(accuracy, tokens / seconds, weight_bytes(model.network), fmean(c.truncated for c in own))


@torch.inference_mode()
def distances(
    plain: Transformer, small: Transformer, completions: Sequence[Completion]
) -> Iterator[tuple[float, float]]:
    """Of each completion: the mean of KL(plain || small) over its tokens, in nats, and the share of its tokens at which
    both find the same one likeliest."""
    for start in range(0, len(completions), READ_AT_ONCE):
        own = completions[start : start + READ_AT_ONCE]
        prompts, tokens = [c.prompt_tokens for c in own], [[c.tokens] for c in own]
        states = [score.packed_states(network, prompts, tokens)[0] for network in (plain, small)]
        size = max(1, score.CHUNK_ELEMENTS // plain.config.vocab_size)
        pairs = zip(*(state.split(size) for state in states), strict=True)
        rows = torch.cat([compared(plain.logits(a), small.logits(b)) for a, b in pairs])
        yield from (tuple(part.mean(0).tolist()) for part in rows.split([len(c.tokens) for c in own]))


def compared(plain: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    """(N, 2) of logits (N, V): KL(plain || small) in nats, and 1 where the likeliest token is the same."""
    before, after = plain.double().log_softmax(-1), small.double().log_softmax(-1)
    kl = (before.exp() * (before - after)).sum(-1)
    return torch.stack([kl, (plain.argmax(-1) == small.argmax(-1)).double()], dim=-1)
