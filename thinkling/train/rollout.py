"""Problems -> groups of graded completions: what a policy-gradient step learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.generate.language_model import Completion, LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.prompts import prompt_of
from thinkling.tasks.problem import Problem
from thinkling.verify.grade import Verdict, grade


@dataclass(frozen=True)
class Rollout:
    """One completion of one problem, judged. advantage: how it compares, once all of its step is known.

    old, reference: log-probabilities of its tokens under the weights that it was drawn with, scored again, and under
    the reference model; () where nothing asks for them.
    """

    problem: Problem
    completion: Completion
    verdict: Verdict
    reward: float
    advantage: float = 0.0
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()


def roll_out(
    model: LanguageModel, problems: Sequence[Problem], group_size: int, sampling: Sampling, template: str
) -> list[list[Rollout]]:
    """One group of `group_size` rollouts per problem. The reward is 1 for a right answer and 0 otherwise."""
    prompts = [prompt_of(model, template, problem.question) for problem in problems]
    completions = model.complete_all([p for p in prompts for _ in range(group_size)], sampling)
    groups = []
    for i, problem in enumerate(problems):
        group = completions[i * group_size : (i + 1) * group_size]
        verdicts = [grade(c.text, problem.reference, "boxed-only") for c in group]
        judged = zip(group, verdicts, strict=True)
        groups.append([Rollout(problem, c, verdict, float(verdict.correct)) for c, verdict in judged])
    return groups


def has_signal(group: Sequence[Rollout]) -> bool:
    """Do the rewards differ? If not, every advantage is zero and the group teaches nothing."""
    return any(rollout.reward != group[0].reward for rollout in group)
