"""Problems -> groups of graded trajectories: what a policy-gradient step learns from."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from thinkling.anywhere import run_anywhere
from thinkling.distributed import in_shares, phase
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.scale.method import Answer
from thinkling.train.rl.rewards import GradedGroup, rewards_of
from thinkling.train.rl.trajectory import RolloutMethod, SingleTurn, trajectory_of
from thinkling.verify.verifier import Verdict, verify

CORRECT = {"correct": 1.0}


@dataclass(frozen=True)
class Rollout:
    """One trajectory of one problem, judged. advantage: how it compares, once all of its step is known.

    completion: all behind the first prompt; its `mask` says what of it was sampled, and only that is learnt from.
    credits: of each of its tokens, on top of the advantage (process_reward.py); () where there are none.
    parts: of the reward, without their weights, in the order of `--reward`; reward is their weighted sum.
    old, reference: log-probabilities of its tokens under the weights that it is trained on first, and under the
    reference model; () where nothing asks for them.
    """

    problem: Problem
    completion: Completion
    verdict: Verdict
    reward: float
    advantage: float = 0.0
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    parts: tuple[float, ...] = ()
    credits: tuple[float, ...] = ()


def roll_out(
    model: Model, problems: Sequence[Problem], group_size: int, sampling: Sampling, template: str,
    weights: Mapping[str, float] = CORRECT, method: RolloutMethod = SingleTurn,
) -> list[list[Rollout]]:  # fmt: skip
    """One group of `group_size` rollouts per problem. weights: of the parts that the reward is made of.

    method: makes what answers a problem once, of `sampling` with rollout i's seed, which is derived from (seed, i), and
    of `template`. All are asked at once. Of several ranks each asks a share of the problems, and all get all groups:
    the same ones on any number of ranks. Raises UserError where one's answer is no trajectory (trajectory.py).
    """

    def groups_of(some: Sequence[Problem], first: int) -> list[list[Rollout]]:
        """Of neighbours among the problems. first: the number of the first of them, which seeds count from."""
        answers = run_anywhere(answers_to(model, some, group_size, sampling, template, method, first))
        return judged_groups([trajectory_of(answer) for answer in answers], some, group_size, sampling, weights, first)

    with phase("drawing rollouts"):
        return in_shares(problems, groups_of)


async def answers_to(
    model: Model, problems: Sequence[Problem], group_size: int, sampling: Sampling, template: str,
    method: RolloutMethod, first: int,
) -> list[Answer]:  # fmt: skip
    owners = [problem for problem in problems for _ in range(group_size)]
    seeded = (sampling_for(sampling, i) for i in count(first * group_size))
    return await asyncio.gather(*(method(next(seeded), template)(model, problem) for problem in owners))


def judged_groups(
    trajectories: Sequence[Completion], problems: Sequence[Problem], group_size: int, sampling: Sampling,
    weights: Mapping[str, float], first: int,
) -> list[list[Rollout]]:  # fmt: skip
    groups = []
    for i, problem in enumerate(problems):
        group = trajectories[i * group_size : (i + 1) * group_size]
        verdicts = [verify(problem, c.text, "strict") for c in group]
        seed = derive_seed(sampling.seed, "group", first + i)
        judged = GradedGroup(problem, group, verdicts, sampling.max_tokens, seed)
        parts = rewards_of(judged, tuple(weights))
        totals = [sum(w * p for w, p in zip(weights.values(), own, strict=True)) for own in parts]
        rows = zip(group, verdicts, totals, parts, strict=True)
        groups.append([Rollout(problem, c, v, total, parts=own) for c, v, total, own in rows])
    return groups


def sampling_for(sampling: Sampling, *place: object) -> Sampling:
    """How a run draws somewhere: the seed is derived from the run's and the place (what it is for, which step)."""
    return replace(sampling, seed=derive_seed(sampling.seed, *place))


def has_signal(group: Sequence[Rollout]) -> bool:
    """Do the rewards differ? If not, every advantage is zero and the group teaches nothing."""
    return any((rollout.reward, rollout.parts) != (group[0].reward, group[0].parts) for rollout in group)
