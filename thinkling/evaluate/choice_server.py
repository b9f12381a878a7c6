"""Multiple choice on a server: log-probabilities of given text, as OpenAI-compatible servers tell them with `echo`.

The server has the tokenizer. So prompt and answer are sent as one text, and where they part is seen from the tokens
that it tells of. A prompt takes one request, and one more for each of its options. Leaves out chat templates: a server
puts in its own, and scores no reply that is given to it.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from math import fsum
from typing import TypeVar

from thinkling.anywhere import run_anywhere
from thinkling.errors import UserError
from thinkling.evaluate.choice_prompts import common_prefix
from thinkling.evaluate.choice_ways import Asking
from thinkling.evaluate.run import all_of
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model, NoLogprobs
from thinkling.generate.sampling import Sampling
from thinkling.progress import Progress

T = TypeVar("T")


def check(asking: Asking, ways: Sequence[str]) -> None:
    """Raises UserError for what a server cannot be asked."""
    if (asking.chat or asking.thinking) and set(ways) != {"response"}:
        raise UserError("a server scores no reply in a chat: leave out --chat and --thinking, take --ways response, or "
                        "load the weights here, without --server")  # fmt: skip


def together(calls: Sequence[Awaitable[T]], label: str) -> list[T]:
    """What each of these calls comes to; all are under way at once."""

    async def run() -> list[T]:
        with Progress(label, len(calls)) as progress:

            async def one(call: Awaitable[T]) -> T:
                found = await call
                progress.advance()
                return found

            tasks = [asyncio.create_task(one(call)) for call in calls]
            await all_of(tasks)
            return [task.result() for task in tasks]

    return run_anywhere(run())


def responses(model: Model, prompts: Sequence[object], sampling: Sampling) -> list[Completion]:
    return together([model.complete(prompt, sampling) for prompt in prompts], "responses")


def sums(model: Model, jobs: Sequence[tuple[str, Sequence[str]]], label: str) -> list[list[tuple[float, int]]]:
    """For each prompt and its continuations: each one's log-probability, and its tokens."""
    return together([behind(model, *job) for job in jobs], label)


async def behind(model: Model, prompt: str, continuations: Sequence[str]) -> list[tuple[float, int]]:
    alone, *whole = await asyncio.gather(*(model.read(prompt + more) for more in ("", *continuations)))
    shared = common_prefix([[token.text for token in row] for row in (alone, *whole)])
    found = [[token.logprob for token in row[shared:]] for row in whole]
    if any(None in own for own in found):
        raise NoLogprobs(f"{model.name} gives no log-probabilities for given text (`echo` on /completions): use "
                         "another server, `thinkling serve` or vLLM for two, or load the weights here")  # fmt: skip
    return [(fsum(own), len(own)) for own in found]
