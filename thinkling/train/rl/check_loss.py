"""Does a policy loss have the gradient that it ought to have? If not, which mistake is it?

Every situation of exact.py is tried: on and off policy, both signs of the advantage, another temperature,
micro-batches, a sampler that differs.
"""

import math
import traceback
from dataclasses import dataclass, replace

from torch import Tensor

from thinkling.errors import UserError
from thinkling.isolated import load
from thinkling.train.rl.exact import gradient_of, groups_of, stated_gradient, thinklings, worlds
from thinkling.train.rl.loss import LossInputs, UserLoss
from thinkling.train.rl.objective import Objective

TOLERANCE = 1e-4  # of the relative difference between two gradients; float32 leaves about 1e-6


def mistakes(objective: Objective) -> dict[str, UserLoss]:
    """Losses that are wrong in a known way, to name what a user's loss does."""

    def local(batch: LossInputs) -> Tensor:
        rows, tokens = batch.mask.shape[0], int(batch.mask.sum())
        return thinklings(objective)(replace(batch, num_completions=rows, num_tokens=tokens))

    return {
        "it takes max instead of min where A < 0": thinklings(replace(objective, surrogate="clip-wrong-way")),
        "it has k1 in the loss, whose expected gradient is zero": thinklings(
            replace(objective, kl="k1", kl_coef=objective.kl_coef or 0.1)
        ),
        "it divides by the micro-batch's own numbers, not by the step's": local,
        "it scores at temperature 1, not at the temperature of sampling": lambda batch: thinklings(objective)(
            replace(batch, temperature=1.0)
        ),
        "it does not clip": thinklings(replace(objective, surrogate="none")),
        "it has the wrong sign: it makes good completions less likely": lambda batch: -thinklings(objective)(batch),
    }


@dataclass(frozen=True)
class Finding:
    """error: relative difference of the gradients, |found - stated| / |stated|. cause: a mistake with this gradient."""

    world: str
    error: float
    cause: str | None

    @property
    def passed(self) -> bool:
        return self.error < TOLERANCE


def distance(found: Tensor, stated: Tensor) -> float:
    """|found - stated| / |stated|; not finite counts as infinitely far."""
    error = float((found - stated).norm() / stated.norm().clamp(min=1e-12))
    return error if math.isfinite(error) else math.inf


def check(loss: UserLoss, objective: Objective) -> list[Finding]:
    """Compare a loss with the objective it ought to have, in every situation."""
    findings = []
    for world in worlds():
        groups = groups_of(world, objective)
        stated, found = stated_gradient(objective, world, groups), gradient_of(loss, world, groups)
        error, cause = distance(found, stated), None
        if error >= TOLERANCE:
            for text, wrong in mistakes(objective).items():
                gradient = gradient_of(wrong, world, groups)
                if distance(gradient, stated) >= TOLERANCE > distance(found, gradient):
                    cause = text
                    break
        findings.append(Finding(world.name, error, cause))
    return findings


def loss_named(target: str) -> UserLoss:
    """The function MODULE:FUNCTION or FILE.py:FUNCTION, whatever it does made a UserError that names its line.

    Raises UserError where it cannot be imported.
    """
    try:
        loss = load(target)
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}"
        raise UserError(f"'{target}' cannot be imported ({what}): give module:function or file.py:function") from error

    def checked(batch: LossInputs) -> Tensor:
        try:
            value = loss(batch)
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise UserError(f"{target} raised {type(error).__name__} in {last.filename}, line {last.lineno}: "
                            f"{error}") from error  # fmt: skip
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise UserError(f"{target} returned {shape}: let it return the loss, a tensor that holds one number")
        if not value.requires_grad:
            raise UserError(f"{target} returned a loss without a gradient: compute it from batch.logits, not detached")
        return value.reshape(())

    return checked
