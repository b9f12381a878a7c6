"""How good does a completion look? One signature for all: `await scorer(model, problem, completion)`; higher is better.

Here are those that need nothing but the completion. What a score is worth must be measured: see best_of_n.py.
"""

import math
import re
from collections.abc import Awaitable, Callable

from thinkling.generate.language_model import Completion, Model
from thinkling.tasks.problem import Problem
from thinkling.verify.extract import extract

Scorer = Callable[[Model, Problem, Completion], Awaitable[float]]


async def heuristic(model: Model, problem: Problem, completion: Completion) -> float:
    """2 for a box, or 1 for a number anywhere, plus 1.5 e^(-characters / 500): in form, and short (Raschka, ch. 5)."""
    if extract(completion.text, "boxed-only").answer is not None:
        form = 2.0
    else:
        form = float(bool(re.search(r"\d", completion.text)))
    return form + 1.5 * math.exp(-len(completion.text) / 500)


async def mean_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean log-probability of its tokens as they were drawn, in nats: how sure the sampler was."""
    return math.fsum(completion.logprobs) / len(completion.logprobs)


async def sum_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The log-probability of the whole completion, in nats. It prefers short ones: every token costs."""
    return math.fsum(completion.logprobs)


async def answer_logprob(model: Model, problem: Problem, completion: Completion) -> float:
    """The mean log-probability of the final answer's own tokens, in nats; minus infinity where there is no answer."""
    answer = extract(completion.text).answer
    place = -1 if answer is None else completion.text.encode().rfind(answer.encode())
    if place < 0:
        return -math.inf
    first, last, at, logprobs = place, place + len(answer.encode()), 0, []
    for token, logprob in zip(completion.tokens, completion.logprobs, strict=True):
        end = at + len(model.tokenizer.token_bytes(token))
        if end > first and at < last:
            logprobs.append(logprob)
        at = end
    return math.fsum(logprobs) / len(logprobs) if logprobs else -math.inf


SCORERS: dict[str, Scorer] = {
    "heuristic": heuristic,
    "mean-logprob": mean_logprob,
    "sum-logprob": sum_logprob,
    "answer-logprob": answer_logprob,
}
