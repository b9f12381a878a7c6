"""Multiple choice, asked in several ways: the letter that a response chooses, or what the model would say with which
probability.

Every way chooses one option of each problem; they differ in the text whose log-probability is taken (choice_ways.py).
Prompt and continuation are encoded together, as one text: a prompt "Answer: " encoded alone ends in a space that no
token " A" can follow any more, and the scores are those of texts that the model never met. Where the encoded prompt
ends otherwise before one option than before another, the comparison begins at the last place that all have in common.

Leaves out how a server is asked (choice_server.py).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, fsum, lgamma, log, log1p
from statistics import fmean
from string import ascii_uppercase

import numpy as np
import torch

from thinkling.errors import UserError
from thinkling.evaluate import choice_server
from thinkling.evaluate.choice_prompts import (
    Opening,
    behind_thinking,
    common_prefix,
    opening,
    opening_alone,
    response_prompt,
)
from thinkling.evaluate.choice_ways import FORMS, WAYS, Asking, Scored
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import score_packed
from thinkling.problem import Problem
from thinkling.progress import Progress
from thinkling.tasks.options import options_of
from thinkling.verify.verifier import verify

MOST_TOKENS = 4096  # that one pass reads
Encoded = tuple[list[int], list[list[int]]]  # a prompt's tokens, and those of each continuation


@dataclass(frozen=True)
class Job:
    """A prompt, the continuations that are scored behind it, and the options' own texts, whose bytes are counted."""

    start: Opening
    continuations: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What one way chose of one problem: a letter, or None where the response named none; and each option's score."""

    id: str
    way: str
    chosen: str | None
    right: str
    scores: tuple[float, ...] = ()
    response: str | None = None
    truncated: bool = False

    @property
    def correct(self) -> bool:
        return self.chosen == self.right


@dataclass(frozen=True)
class Outcome:
    """One way over all problems. on_letters: the probability that the model gives to all letters together, on average;
    where it is low, the model would not have answered with a letter at all. letters: how often each was chosen."""

    way: str
    num: int
    accuracy: float
    low: float
    high: float
    unparsed: float
    truncated: float
    letters: dict[str, int] = field(default_factory=dict)
    on_letters: float | None = None


# All ways over all problems


def ask(
    model: Model, problems: Sequence[Problem], ways: Sequence[str], asking: Asking, sampling: Sampling
) -> list[Choice]:
    """What each way chooses of each problem, way by way. sampling: of responses, and of thinking.

    Raises UserError where a problem is no multiple choice, or does not fit into the context.
    """
    options = [options_of(problem) for problem in problems]
    here = isinstance(model, LanguageModel)
    if not here:
        choice_server.check(asking, ways)
    completions, prompts = [], []
    if "response" in ways or ("letter" in ways and asking.thinking):
        prompts = [response_prompt(model, asking, problem) for problem in problems]
        completions = (model.complete_all(prompts, sampling, progress=True, label="responses") if here
                       else choice_server.responses(model, prompts, sampling))  # fmt: skip
    scores: dict[str, list[list[float]]] = {}
    if "letter" in ways:
        cue = FORMS[asking.form].cue
        starts = [opening(model, asking, problem, lists=True) for problem in problems]
        if asking.thinking:
            starts = [behind_thinking(model, *pair, cue) for pair in zip(prompts, completions, strict=True)]
        letters = [list(ascii_uppercase[: len(own)]) for own in options]
        scores["letter"] = by_way("letter", score(model, jobs_of(asking, starts, letters), "letters"))
    wanted = [way for way in ways if way not in ("response", "letter")]
    if wanted:
        starts = [opening(model, asking, problem, lists=False) for problem in problems]
        answers = score(model, jobs_of(asking, starts, options), "answers")
        alone = answers
        if "pmi" in ways:
            nothing = [opening_alone(model, asking)] * len(problems)
            alone = score(model, jobs_of(asking, nothing, options), "answers alone")
        scores |= {way: by_way(way, answers, alone) for way in wanted}
    found = []
    for way in ways:
        if way == "response":
            found += [of_response(*pair) for pair in zip(problems, completions, strict=True)]
        else:
            found += [Choice(problem.id, way, choose(own), problem.reference, tuple(own))
                      for problem, own in zip(problems, scores[way], strict=True)]  # fmt: skip
    return found


def jobs_of(asking: Asking, starts: Sequence[Opening], texts: Sequence[Sequence[str]]) -> list[Job]:
    answer = FORMS[asking.form].answer
    return [Job(start, tuple(map(answer.format, own)), tuple(own)) for start, own in zip(starts, texts, strict=True)]


def by_way(way: str, scored: Sequence[Sequence[Scored]], alone: Sequence[Sequence[Scored]] = ()) -> list[list[float]]:
    pairs = zip(scored, alone or scored, strict=True)
    return [[WAYS[way].score(*pair) for pair in zip(own, without, strict=True)] for own, without in pairs]


def of_response(problem: Problem, completion: Completion) -> Choice:
    verdict = verify(problem, completion.text)
    chosen = None if verdict.status == "unparsed" else verdict.answer
    return Choice(problem.id, "response", chosen, problem.reference, (), completion.text, completion.truncated)


def outcome(way: str, choices: Sequence[Choice]) -> Outcome:
    own = [choice for choice in choices if choice.way == way]
    right, num = sum(choice.correct for choice in own), len(own)
    low, high = wilson_interval(right, num)
    on_letters = fmean(fsum(map(exp, choice.scores)) for choice in own) if way == "letter" else None
    letters = dict(sorted(Counter(choice.chosen for choice in own if choice.chosen is not None).items()))
    return Outcome(way, num, right / num, low, high, sum(choice.chosen is None for choice in own) / num,
                   sum(choice.truncated for choice in own) / num, letters, on_letters)  # fmt: skip


def guess_band(nums_options: Sequence[int], level: float = 0.95) -> tuple[float, float]:
    """Between which accuracies a blind guesser stays `level` of the time, on problems with so many options each.

    The exact distribution of its right answers is a convolution of binomials, one for each number of options.
    """
    chances = np.ones(1)
    for options, num in Counter(nums_options).items():
        right = np.arange(num + 1)
        ways = [lgamma(num + 1) - lgamma(r + 1) - lgamma(num - r + 1) for r in right]
        chances = np.convolve(chances, np.exp(ways + right * log(1 / options) + (num - right) * log1p(-1 / options)))
    below = np.cumsum(chances)  # P(at most r right)
    tail = (1 - level) / 2
    low, high = (int(np.searchsorted(below, share)) for share in (tail, 1 - tail))
    return low / len(nums_options), high / len(nums_options)


# The scores


def score(model: Model, jobs: Sequence[Job], label: str = "scoring") -> list[list[Scored]]:
    """For each job the log-probability of each continuation behind the prompt.

    Prompt and continuation are encoded as one text. Raises UserError where one does not fit into the context.
    """
    if not isinstance(model, LanguageModel):
        asked = choice_server.sums(model, [(job.start.text, job.continuations) for job in jobs], label)
        return [scored(own, job) for own, job in zip(asked, jobs, strict=True)]
    encoded = []
    for job in jobs:
        whole = [job.start.encoded(model, text) for text in job.continuations]
        longest = max(map(len, whole))
        if longest > model.engine.max_length:
            raise UserError(f"a question and its answer are {longest:,} tokens long, but the context holds "
                            f"{model.engine.max_length:,}: raise --max-length, or ask with fewer shots")  # fmt: skip
        shared = common_prefix([job.start.encoded(model), *whole])
        encoded.append((whole[0][:shared], [tokens[shared:] for tokens in whole]))
    found: list[list[Scored]] = []
    with Progress(label, len(jobs)) as progress:
        for batch in batches(encoded):
            for own in sums(model, batch):
                found.append(scored(own, jobs[len(found)]))
                progress.advance()
    return found


def scored(own: Sequence[tuple[float, int]], job: Job) -> list[Scored]:
    return [Scored(total, num, len(text.encode())) for (total, num), text in zip(own, job.texts, strict=True)]


def batches(encoded: Iterable[Encoded]) -> Iterator[list[Encoded]]:
    """As many prompts at once as one pass reads."""
    batch, held = [], 0
    for prompt, rows in encoded:
        size = len(prompt) + sum(map(len, rows))
        if batch and held + size > MOST_TOKENS:
            yield batch
            batch, held = [], 0
        batch.append((prompt, rows))
        held += size
    if batch:
        yield batch


def sums(model: LanguageModel, batch: Sequence[Encoded]) -> list[list[tuple[float, int]]]:
    """The log-probability of each row behind its prompt, and its tokens; one pass for all."""
    with torch.inference_mode():
        logprobs, _ = score_packed(model.network, [p for p, _ in batch], [rows for _, rows in batch], 1.0)
    values, at, found = logprobs.tolist(), 0, []
    for _, rows in batch:
        found.append([])
        for row in rows:
            found[-1].append((sum(values[at : at + len(row)]), len(row)))
            at += len(row)
    return found


def choose(scores: Sequence[float]) -> str:
    """The letter of the best option; of several equally good ones the first."""
    return ascii_uppercase[max(range(len(scores)), key=scores.__getitem__)]
