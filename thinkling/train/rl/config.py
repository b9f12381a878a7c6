"""What a policy-gradient step asks, how it learns from the answers, and how it is measured. Small frozen records.

What is optimised is the third of them: `Objective` (objective.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from thinkling.generate.sampling import Sampling
from thinkling.train.rl.trajectory import RolloutMethod, SingleTurn


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """What a step asks, and how.

    prompts_per_step: problems. rollouts_per_prompt: completions of each, the group. template: how the question is put.
    sampling: how completions are drawn; its seed is the run's, from which each batch derives its own. method: what
    answers a problem, made of a sampling and the template: one completion, or an environment of several turns
    (trajectory.py), all drawn with that temperature and truncation. rewards: the weight of each part of the reward.
    dynamic_sampling: ask up to this many times more to replace groups whose rewards are all alike (DAPO,
    arXiv:2503.14476). overlap: draw the next max_stale steps' rollouts while this one's are learnt from, so that they
    are at most so many steps older than the weights that learn from them.
    """

    prompts_per_step: int = 16
    rollouts_per_prompt: int = 8
    template: str = "plain"
    sampling: Sampling = field(default_factory=lambda: Sampling(sampling_mask=True))
    method: RolloutMethod = SingleTurn
    rewards: Mapping[str, float] = field(default_factory=lambda: {"correct": 1.0})
    dynamic_sampling: int = 0
    overlap: bool = False
    max_stale: int = 1


@dataclass(frozen=True, kw_only=True)
class UpdateConfig:
    """How a batch of rollouts becomes optimizer steps.

    updates_per_batch: optimizer steps, each on its share of the prompts. micro_batch_tokens: of one forward and
    backward pass, prompts included, at most. process_reward: the weight of the credit for single equations.
    recompute: keep less for the backward pass and compute it again.
    """

    updates_per_batch: int = 1
    micro_batch_tokens: int = 4096
    process_reward: float = 0.0
    recompute: bool = False


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Held-out accuracy while a run goes on.

    tasks: a suite's name or a file; None keeps a share of the training tasks aside. every: steps between two
    measurements. num_problems, num_samples: how many problems, and answers to each.
    """

    tasks: str | None = None
    every: int = 50
    num_problems: int = 64
    num_samples: int = 8
