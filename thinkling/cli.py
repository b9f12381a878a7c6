"""thinkling <command>: flags come from each command's frozen settings; parsing needs no torch, so --help is instant.

Bad input is one line on standard error and exit code 2; Ctrl+C is exit code 130; anything else is a bug and shows its
traceback.
"""

import contextlib
import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tyro

from thinkling.commands import (
    chat,
    check_loss,
    demo,
    eval,
    explain,
    explain_objective,
    generate,
    grade,
    grpo,
    lint_data,
    lint_reward,
    microscope,
    pretrain,
    prompts,
    reward_head,
    scale,
    scorers,
)
from thinkling.errors import UserError
from thinkling.terminal import print_anywhere
from thinkling.threads import wait_passively


@dataclass(frozen=True)
class Command:
    """Which settings a command reads, and what does the work: it imports torch, where it needs it, itself."""

    settings: type
    main: Callable[[Any], object]
    resumes: bool = False  # does the same command, after Ctrl+C, go on where it stopped?

    @property
    def summary(self) -> str:
        return self.settings.__doc__.strip().split("\n")[0]


COMMANDS = {
    "demo": Command(demo.Demo, demo.main),
    "generate": Command(generate.Generate, generate.main),
    "chat": Command(chat.Chat, chat.main),
    "prompts": Command(prompts.Prompts, prompts.main),
    "explain": Command(explain.Explain, explain.main),
    "eval": Command(eval.Eval, eval.main, resumes=True),
    "scale": Command(scale.Scale, scale.main, resumes=True),
    "scorers": Command(scorers.Scorers, scorers.main),
    "grade": Command(grade.Grade, grade.main),
    "lint-data": Command(lint_data.LintData, lint_data.main),
    "lint-reward": Command(lint_reward.LintReward, lint_reward.main),
    "grpo": Command(grpo.Grpo, grpo.main, resumes=True),
    "microscope": Command(microscope.Microscope, microscope.main),
    "explain-objective": Command(explain_objective.ExplainObjective, explain_objective.main),
    "check-loss": Command(check_loss.CheckLoss, check_loss.main),
    "reward-head": Command(reward_head.RewardHeadTraining, reward_head.main),
    "pretrain": Command(pretrain.Pretrain, pretrain.main),
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: thinkling COMMAND [FLAGS]",
            "",
            "Turn a language model into a reasoning model, on your own machine.",
            "",
            *lines,
            "",
            "thinkling COMMAND --help explains a command's flags.",
        ]
    )


def parse(name: str, arguments: list[str]) -> object:
    """The command's settings from its flags. Raises UserError in one line; --help prints and exits."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(COMMANDS[name].settings, prog=f"thinkling {name}", args=arguments)
    except SystemExit as end:
        if not end.code:
            raise
        raise UserError(one_line(name, complaint.getvalue())) from None


def one_line(name: str, panel: str) -> str:
    """tyro draws a panel of several lines; its content in one."""
    words = re.sub(r"[╭╮╰╯│─]+", " ", panel)
    words = re.sub(r"For full helptext.*", "", words, flags=re.DOTALL)
    words = re.sub(
        r"^\s*(Unrecognized options|Value error|Parsing error|Required options|Invalid choice)\s+", "", words
    )
    return f"{' '.join(words.split())} (see thinkling {name} --help)"


def main(arguments: list[str] | None = None) -> None:
    print_anywhere()
    arguments = sys.argv[1:] if arguments is None else arguments
    wait_passively()  # before a command imports torch
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(usage())
        return
    try:
        if name not in COMMANDS:
            raise UserError(f"unknown command '{name}': use one of {', '.join(COMMANDS)}")
        chosen = parse(name, rest)
        COMMANDS[name].main(chosen)
    except UserError as error:
        print(f"thinkling: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        resumes = name in COMMANDS and COMMANDS[name].resumes
        print("\nstopped" + ("; the same command goes on from here" if resumes else ""), file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
