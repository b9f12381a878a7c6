"""What a training step was like: a line of metrics.jsonl."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from thinkling.generate.completion import repeats
from thinkling.train.rl.rollout import Rollout, has_signal

TIMES = 4  # a block of tokens so often at a completion's end is a repetition


@dataclass(frozen=True)
class StepMetrics:
    """One line of metrics.jsonl. Shares are between 0 and 1; log-probabilities and entropy are in nats.

    asked: groups that were drawn; the next ones are of all of them, whether they were learnt from or not. reward: mean;
    parts: of each part, without its weight. right: share of right answers. signal: share of groups whose rewards
    differ; all_right, all_wrong: of those with only right, or only wrong, answers. length: mean sampled tokens;
    length_right, length_wrong: of the right and of the wrong ones, None where there is none. length_reward: correlation
    of the two within groups, None where one does not vary. truncated: share of rollouts that were cut off; repetitive:
    that were, in the middle of saying one thing for the fourth time.
    entropy to ess are of the tokens trained on, None where there were none. clipped: share whose gradient the clip cut
    off. kl: mean of the objective's estimate, 0 without one; of distillation the mean divergence from the teacher, as
    --score and --discount have it. mismatch: mean |log(old policy / sampler)|, mismatch_max
    the largest; ess: effective sample size of their ratio, as a share (1: the same policy). grad_norm: before clipping,
    the mean over updates.
    tokens: of all completions. seconds: of drawing them, of scoring them before the first update, and of the updates.
    stale: how many steps the rollouts' weights were behind the ones that learnt from them, on the average; thrown_away:
    completions that servers gave with weights that were too old.
    """

    step: int
    asked: int
    reward: float
    parts: dict[str, float]
    right: float
    signal: float
    all_right: float
    all_wrong: float
    length: float
    length_right: float | None
    length_wrong: float | None
    length_reward: float | None
    truncated: float
    repetitive: float
    entropy: float | None
    clipped: float | None
    kl: float | None
    mismatch: float | None
    mismatch_max: float | None
    ess: float | None
    grad_norm: float
    tokens: int
    generate_seconds: float
    score_seconds: float
    train_seconds: float
    stale: float = 0.0
    thrown_away: int = 0


def describe(groups: list[list[Rollout]], parts: Sequence[str]) -> dict[str, object]:
    """What StepMetrics says of rollouts before anything is learnt from them. parts: the names of `Rollout.parts`."""
    rollouts = [rollout for group in groups for rollout in group]
    cut_off = [r.completion for r in rollouts if r.completion.truncated]
    columns = zip(*(r.parts for r in rollouts), strict=True)
    return {
        "asked": len(groups),
        "reward": fmean(r.reward for r in rollouts),
        "parts": {name: fmean(values) for name, values in zip(parts, columns, strict=False)},
        "right": fmean(r.verdict.correct for r in rollouts),
        "signal": fmean(has_signal(group) for group in groups),
        "all_right": fmean(all(r.verdict.correct for r in group) for group in groups),
        "all_wrong": fmean(not any(r.verdict.correct for r in group) for group in groups),
        "length": fmean(r.completion.num_sampled for r in rollouts),
        "length_right": mean_length([r for r in rollouts if r.verdict.correct]),
        "length_wrong": mean_length([r for r in rollouts if not r.verdict.correct]),
        "length_reward": length_reward(groups),
        "truncated": len(cut_off) / len(rollouts),
        "repetitive": sum(repeats(c.tokens, TIMES) for c in cut_off) / len(rollouts),
        "tokens": sum(r.completion.num_sampled for r in rollouts),
    }


def length_reward(groups: list[list[Rollout]]) -> float | None:
    """Pearson's correlation of length and reward, each less its group's mean; None where one of them does not vary."""
    pairs = []
    for group in groups:
        length, reward = mean_length(group), fmean(r.reward for r in group)
        pairs += [(r.completion.num_sampled - length, r.reward - reward) for r in group]
    both, lengths, rewards = (sum(p[i] * p[j] for p in pairs) for i, j in ((0, 1), (0, 0), (1, 1)))
    return both / math.sqrt(lengths * rewards) if lengths > 1e-9 and rewards > 1e-9 else None


def mean_length(rollouts: list[Rollout]) -> float | None:
    return fmean(r.completion.num_sampled for r in rollouts) if rollouts else None
