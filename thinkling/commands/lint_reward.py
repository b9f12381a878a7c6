"""`thinkling lint-reward`: is what we pay for in order? Ends with exit code 1 where anything is found."""

import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from thinkling.checks import above_zero, finite
from thinkling.verify.adversarial import lint
from thinkling.verify.adversarial.hostile import PAIRS, hostile
from thinkling.words import counted


@dataclass(frozen=True, kw_only=True)
class LintReward:
    """Run a reward function against hostile completions: they must not be paid, nor take it down.

    It is called with a response and a reference, in a child process that is watched, timed and killed if it hangs.
    Exit code 1 if anything is found.
    """

    reward: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODULE:FUNCTION")] = (
        "thinkling.verify.adversarial.lint:reward"
    )
    """The reward function, response and reference -> number; also FILE.py:FUNCTION. The default is thinkling's own."""
    time_limit: float = 2.0
    """Seconds that one call may take."""

    def __post_init__(self) -> None:
        finite(self)
        above_zero(time_limit=self.time_limit)


def main(settings: LintReward) -> None:
    findings = lint.lint_reward(settings.reward, PAIRS, settings.time_limit)
    num = len(hostile(PAIRS[0].question, PAIRS[0].reference))
    tried = f"{num} hostile completions and honest answers, on {len(PAIRS)} problems"
    if not findings:
        print(f"{settings.reward} is clean: {tried}")
        return
    for kind, meaning in lint.MEANING.items():
        lines = [str(finding) for finding in findings if finding.kind == kind]
        if lines:
            print(f"{kind} ({meaning}):", *lines, sep="\n  ")
    print(f"{counted(len(findings), 'finding')} in {settings.reward}: {tried}")
    sys.exit(1)
