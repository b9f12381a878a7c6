"""thinkling <command>: flags come from each command's frozen settings; parsing needs no torch, so --help is instant.

Bad input is one line on standard error and exit code 2; Ctrl+C is exit code 130; anything else is a bug and shows its
traceback.
"""

import contextlib
import importlib
import io
import re
import sys
from dataclasses import dataclass

import tyro
from rich.console import Console

from thinkling import settings
from thinkling.errors import UserError
from thinkling.terminal import print_anywhere


@dataclass(frozen=True)
class Command:
    """Which settings a command reads, and which `module:function` does the work (imported when it is needed)."""

    settings: type
    work: str

    @property
    def summary(self) -> str:
        return self.settings.__doc__.strip().split("\n")[0]


COMMANDS = {
    "tour": Command(settings.Tour, "thinkling.commands.demo:main"),
    "generate": Command(settings.Generate, "thinkling.commands.generate:main"),
    "chat": Command(settings.Chat, "thinkling.serve.chat:main"),
    "prompts": Command(settings.Prompts, "thinkling.scale.prompts:main"),
    "explain": Command(settings.Explain, "thinkling.commands.explain:main"),
    "eval": Command(settings.Eval, "thinkling.commands.eval:main"),
    "scale": Command(settings.Scale, "thinkling.commands.scale:main"),
    "scorers": Command(settings.Scorers, "thinkling.commands.scorers:main"),
    "grade": Command(settings.Grade, "thinkling.commands.grade:main"),
    "lint-data": Command(settings.LintData, "thinkling.commands.lint:lint_data"),
    "lint-reward": Command(settings.LintReward, "thinkling.commands.lint:lint_reward"),
    "grpo": Command(settings.Grpo, "thinkling.train.rl.trainer:main"),
    "microscope": Command(settings.Microscope, "thinkling.commands.microscope:main"),
    "explain-objective": Command(settings.ExplainObjective, "thinkling.train.rl.loss:main"),
    "check-loss": Command(settings.CheckLoss, "thinkling.train.rl.check_loss:main"),
    "reward-head": Command(settings.RewardHeadTraining, "thinkling.train.reward_head:main"),
    "pretrain": Command(settings.Pretrain, "thinkling.train.pretrain.trainer:main"),
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
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(usage())
        return
    try:
        if name not in COMMANDS:
            raise UserError(f"unknown command '{name}': use one of {', '.join(COMMANDS)}")
        chosen = parse(name, rest)
        module, function = COMMANDS[name].work.split(":")
        with Console(stderr=True).status("loading"):  # torch takes seconds to import on a cold start
            work = getattr(importlib.import_module(module), function)
        work(chosen)
    except UserError as error:
        print(f"thinkling: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
