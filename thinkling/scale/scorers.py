"""How good does a completion look? One signature for all: `await scorer(model, problem, completion)`; higher is better.

Here are those that look at the completion alone. Others ask a model (judge.py) or a trained head (reward_head.py). What
a score is worth must be measured: `thinkling scorers` does.
"""

import math
import re
from collections.abc import Awaitable, Callable, Sequence

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.problem import Problem
from thinkling.verify.verifier import verifier_of

Scorer = Callable[[Model, Problem, Completion], Awaitable[float]]


async def heuristic(model: Model, problem: Problem, completion: Completion) -> float:
    """2 for a box, or 1 for a number anywhere, plus 1.5 e^(-characters / 500): in form, and short (Raschka, ch. 5)."""
    if verifier_of(problem).extract(completion.text, "strict") is not None:
        form = 2.0
    else:
        form = float(bool(re.search(r"\d", completion.text)))
    return form + 1.5 * math.exp(-len(completion.text) / 500)


async def mean_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean log-probability of its tokens as they were drawn, in nats: how sure the sampler was."""
    return mean(known(completion.logprobs, "mean-logprob", model))


async def sum_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The log-probability of the whole completion, in nats. It prefers short ones: every token costs."""
    return math.fsum(known(completion.logprobs, "sum-logprob", model))


async def answer_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean log-probability of the final answer's own tokens, in nats; minus infinity where there is no answer."""
    logprobs = known(completion.logprobs, "answer-logprob", model)
    places = answer_places(model, problem, completion)
    return mean([logprobs[place] for place in places]) if places else -math.inf


async def self_certainty(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean of KL(uniform || p) over its tokens, in nats: how far it is from a blind guess (arXiv:2502.18581)."""
    return mean(known(completion.certainty, "self-certainty", model))


def trace_scorer(kind: str, window: int) -> Scorer:
    """DeepConf's scores of a whole trace (arXiv:2508.15260, section 3), from the confidence of each token, in nats.

    A group is `window` tokens in a row (a shorter trace is one group), its confidence their mean. Kinds: "mean" over
    all tokens, the lowest "group", the mean of the lowest tenth of the groups ("bottom"; one at least), the last one
    ("tail").
    """

    async def scorer(model: Model, problem: Problem, completion: Completion) -> float:
        confidence = known(completion.confidence, f"confidence-{kind}", model)
        return trace_confidence(confidence, kind, window)

    return scorer


def trace_confidence(confidence: Sequence[float], kind: str, window: int) -> float:
    if kind == "mean":
        return mean(confidence)
    if kind == "tail":
        return mean(confidence[-window:])
    groups = sorted(group_means(confidence, window))
    return groups[0] if kind == "group" else mean(groups[: max(1, len(groups) // 10)])


def group_means(confidence: Sequence[float], window: int) -> list[float]:
    """The mean of every `window` tokens in a row; of all of them, if they are fewer."""
    size = min(window, len(confidence))
    return [mean(confidence[end - size : end]) for end in range(size, len(confidence) + 1)]


def answer_places(model: Model, problem: Problem, completion: Completion) -> list[int]:
    """The places of the tokens that spell the final answer, or [] where there is none."""
    answer = verifier_of(problem).extract(completion.text)
    first = -1 if answer is None else completion.text.encode().rfind(answer.encode())
    if first < 0:
        return []
    last, at, places = first + len(answer.encode()), 0, []
    for place, piece in enumerate(model.pieces(completion)):
        if at + len(piece) > first and at < last:
            places.append(place)
        at += len(piece)
    return places


def ranked(score: float) -> float:
    """The score, or minus infinity where it is NaN: whatever is compared with NaN, the answer is no, and so the one
    that happened to come first would win."""
    return -math.inf if math.isnan(score) else score


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def known(values: Sequence[float], scorer: str, model: Model) -> Sequence[float]:
    """The values that a scorer needs of each token. Raises UserError where the model did not give them."""
    if not values:
        raise UserError(f"the scorer {scorer} needs numbers of every token that {model.name} did not give: use another "
                        "scorer, such as heuristic, or load the weights here")  # fmt: skip
    return values


def exponential(scores: Sequence[float]) -> list[float]:
    """Weights of votes from scores that are logarithms: e^score, in proportion; minus infinity weighs nothing."""
    highest = max(scores)
    return [math.exp(score - highest) if score > -math.inf else 0.0 for score in scores]


def proportional(scores: Sequence[float]) -> list[float]:
    """Weights of votes that are the scores themselves; below 0 they weigh nothing."""
    return [max(score, 0.0) for score in scores]
