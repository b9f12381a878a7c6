"""`thinkling check-loss`: does a policy loss have the gradient that it ought to have?"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from thinkling.errors import UserError
from thinkling.train.rl.objective import PRESETS, PresetName


@dataclass(frozen=True, kw_only=True)
class CheckLoss:
    """Prove by enumeration whether a policy loss has the gradient that it ought to have.

    FUNCTION is module:function or file.py:function. It takes a thinkling.train.rl.loss.LossInputs and returns what this
    micro-batch adds to the step's loss. Without FUNCTION thinkling's own loss is checked.
    """

    function: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FUNCTION")] = ""
    """The loss to check. Default: thinkling's own."""
    preset: PresetName = "dr-grpo"
    """What it ought to be."""


def main(settings: CheckLoss) -> None:
    from rich.console import Console

    from thinkling.train.rl.check_loss import check, loss_named, thinklings

    objective = PRESETS[settings.preset].objective
    findings = check(loss_named(settings.function) if settings.function else thinklings(objective), objective)
    console = Console(highlight=False)
    for finding in findings:
        verdict = "right" if finding.passed else "WRONG"
        because = f": {finding.cause}" if finding.cause else ""
        console.print(f"{verdict}  {finding.world}, gradients differ by {finding.error:.1e}{because}", soft_wrap=True)
    if not all(finding.passed for finding in findings):
        raise UserError(f"{settings.function} does not have the gradient of {settings.preset}: see "
                        f"thinkling explain-objective --preset {settings.preset}")  # fmt: skip
