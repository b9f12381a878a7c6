"""Problems -> groups of graded completions: what a policy-gradient step learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from thinkling.generate.language_model import Completion, LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.prompts import prompt_of
from thinkling.tasks.problem import Problem
from thinkling.train.policy import group_advantages
from thinkling.verify.grade import Verdict, grade


@dataclass(frozen=True)
class Rollout:
    """One completion of one problem, judged. `advantage` compares it with its siblings."""

    problem: Problem
    completion: Completion
    verdict: Verdict
    reward: float
    advantage: float


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
        rewards = [float(verdict.correct) for verdict in verdicts]
        advantages = group_advantages(torch.tensor(rewards)).tolist()
        judged = zip(group, verdicts, rewards, advantages, strict=True)
        groups.append([Rollout(problem, *parts) for parts in judged])
    return groups


def has_signal(group: Sequence[Rollout]) -> bool:
    """Do the rewards differ? If not, every advantage is zero and the group teaches nothing."""
    return any(rollout.reward != group[0].reward for rollout in group)
