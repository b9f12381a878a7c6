"""A trajectory: what a rollout's method sampled and was given, as one sequence, with a mask of what was sampled.

A rollout is drawn by a method (scale/method.py), so an environment of several turns, or one with a tool, is a method
too: it asks, appends what the environment says to all that the model has read and written, and asks again. `max_tokens`
is then the limit of each turn, and the context that of them all. Left out: answers of which the parts do not go on
behind each other (votes, critiques in a fresh prompt); they are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.method import Answer, Method
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import verifier_of

# Makes the method of one rollout: of how it draws, with a seed of its own, and of the template that puts the question.
RolloutMethod = Callable[[Sampling, str], Method]


@dataclass(frozen=True)
class SingleTurn:
    """One completion of one prompt: how a rollout is drawn where nothing else is said. `Direct` derives a seed from the
    problem; this draws with the sampling's own, which is the rollout's already."""

    sampling: Sampling
    template: str = "plain"

    async def __call__(self, model: Model, problem: Problem) -> Answer:
        completion = await model.complete(prompt_of(model, self.template, problem.question), self.sampling)
        return Answer(completion.text, verifier_of(problem).extract(completion.text), (completion,))


def trajectory_of(answer: Answer) -> Completion:
    """All that stands behind the first prompt, as one completion whose text is the answer's.

    What a later prompt has more than the prompt and the tokens before it was not sampled: `mask` is False there, and
    the log-probability 0. Raises UserError where a prompt does not begin with all of these.
    """
    if not answer.completions:
        raise UserError("a method that samples nothing cannot draw rollouts: its answer has no completions")
    first, *later = answer.completions
    if not later:
        return replace(first, text=answer.text)
    tokens, logprobs, mask, kept = [], [], [], []
    for number, turn in enumerate(answer.completions):
        before = (*first.prompt_tokens, *tokens)
        if turn.prompt_tokens[: len(before)] != before:
            raise UserError(
                f"completion {number + 1} of a rollout does not go on behind completion {number}: each prompt must "
                "begin with the prompt and all tokens before it, [*last.prompt_tokens, *last.tokens, *more]; methods "
                "that ask several times afresh, as votes and critiques do, cannot draw rollouts"
            )
        given = turn.prompt_tokens[len(before) :]
        tokens += [*given, *turn.tokens]
        logprobs += [*[0.0] * len(given), *turn.logprobs]
        mask += [*[False] * len(given), *[True] * len(turn.tokens)]
        kept += [*[()] * len(given), *turn.sampling_mask]
    if any(kept) and len(kept) != len(tokens):
        raise UserError("some turns of a rollout keep a sampling mask and others do not: draw all of them with the "
                        "truncation of the sampling that the method is given")  # fmt: skip
    return Completion(
        first.prompt_tokens, tuple(tokens), tuple(logprobs), later[-1].finish_reason, answer.text,
        later[-1].stop_string, sampling_mask=tuple(kept) if any(kept) else (), mask=() if all(mask) else tuple(mask),
        seconds=sum(turn.seconds for turn in answer.completions),
        version=min((turn.version for turn in answer.completions if turn.version is not None), default=None),
    )  # fmt: skip


def turns(trajectory: Completion) -> list[slice]:
    """Where the runs of sampled tokens stand."""
    mask = [False, *(trajectory.mask or [True] * len(trajectory.tokens)), False]
    edges = [place for place in range(len(mask) - 1) if mask[place] != mask[place + 1]]
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
