"""Is the run still sane? Rules over the last steps; the first that is broken says so in plain words.

A collapse is seen some steps after it began, so what is good is a checkpoint from before the window that gave alarm.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from thinkling.train.optim import after_no_finite_step
from thinkling.train.rl.metrics import StepMetrics

WINDOW = 10  # steps that a rule looks at; the first of them as the yardstick
SILENT = 40  # steps without a single group that could be learnt from


def alarm(rows: Sequence[StepMetrics]) -> str | None:
    """What is wrong and what may fix it, or None. rows: all steps so far."""
    finite = [m.grad_norm is not None and math.isfinite(m.grad_norm) for m in rows]
    if len(rows) >= 3 and not any(finite[-3:]):
        return f"the gradient was not finite three times in a row: {after_no_finite_step(any(finite))}"
    if len(rows) < 2 * WINDOW:
        return None
    last = rows[-WINDOW:]

    def mean(steps: Sequence[StepMetrics], name: str, most: int | None = None) -> float:
        """Over the steps that know it, the first `most` of them; nan, which breaks no rule, where none does."""
        known = [value for value in (getattr(m, name) for m in steps) if value is not None]
        return fmean(known[:most]) if known else math.nan

    was, now = (lambda name: mean(rows, name, WINDOW)), (lambda name: mean(last, name))
    best = max(mean(rows[i : i + WINDOW], "right") for i in range(len(rows) - WINDOW + 1))
    follows = fmean(m.length_reward or 0.0 for m in last)
    rules = [
        (now("entropy") > max(0.5, 5 * was("entropy")),
         f"entropy rose from {was('entropy'):.2f} to {now('entropy'):.2f} nats per token: the model writes noise; "
         "lower --lr, or check the sign and place of a KL term"),
        (now("truncated") > max(0.5, was("truncated") + 0.25),
         f"{now('truncated'):.0%} of the rollouts are cut off (at first {was('truncated'):.0%}): answers grow without "
         "end; raise --max-tokens, or add --reward correct overlong"),
        (now("repetitive") > max(0.25, was("repetitive") + 0.2),
         f"{now('repetitive'):.0%} of the rollouts say one thing over and over: lower --lr, or add --reward correct "
         "overlong"),
        (now("kl") > 1.0,
         f"the policy is {now('kl'):.2f} nats per token from the reference model: raise --kl-coef or lower --lr"),
        (now("mismatch") > 0.2 or now("ess") < 0.3,
         f"sampler and trainer disagree by {now('mismatch'):.2f} nats per token (effective sample size "
         f"{now('ess'):.0%}): what is learnt from is not what was drawn; fewer --updates-per-batch, or no --overlap"),
        (best >= 0.1 and now("right") < best / 2,
         f"right answers fell from {best:.0%} to {now('right'):.0%}: the policy has collapsed; lower --lr, or choose a "
         "--preset with a clip"),
        (follows > 0.5 and now("length") > 2 * was("length") and now("right") <= was("right"),
         f"answers grew from {was('length'):.0f} to {now('length'):.0f} tokens, longer ones earn more, and no more are "
         "right: the reward pays for length; look at its parts in metrics.jsonl"),
        (len(rows) >= SILENT and mean(rows[-SILENT:], "signal") == 0,
         f"no group had a signal for {SILENT} steps: all its answers are alike, and nothing is learnt any more; use "
         "other problems, or a higher --temperature"),
    ]  # fmt: skip
    return next((words for broken, words in rules if broken), None)
