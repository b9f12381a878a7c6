"""thinkling <command>: flags come from each command's frozen settings; parsing needs no torch, so --help is instant.

Bad input is one line on standard error and exit code 2; Ctrl+C is exit code 130; anything else is a bug and shows its
traceback.
"""

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from thinkling import __version__, distributed, flags
from thinkling.allocator import keep_freed_memory
from thinkling.commands import (
    arena,
    chat,
    check_loss,
    choice,
    compare,
    contamination,
    convert,
    data,
    demo,
    distill,
    distill_data,
    env,
    eval,
    explain,
    explain_objective,
    export,
    fresh_numbers,
    generate,
    grade,
    grpo,
    judge,
    lint_data,
    lint_reward,
    microscope,
    plan,
    pretrain,
    prompts,
    push,
    quantize_report,
    rank,
    regrade,
    reward_head,
    scale,
    scorers,
    serve,
    sft,
    tasks,
)
from thinkling.errors import UserError, refusal
from thinkling.runs import check_place
from thinkling.terminal import print_anywhere
from thinkling.threads import wait_passively


@dataclass(frozen=True)
class Command:
    """Which settings a command reads, and what does the work: it imports torch, where it needs it, itself."""

    settings: type
    main: Callable[[Any], object]
    resumes: bool = False  # does the same command, after Ctrl+C, go on where it stopped?
    several: bool = False  # may torchrun start several processes of it?

    @property
    def summary(self) -> str:
        return self.settings.__doc__.strip().split("\n")[0]


# In the order of the story, and of the help.
STAGES = {
    "Ask a model": {
        "demo": Command(demo.Demo, demo.main),
        "generate": Command(generate.Generate, generate.main),
        "chat": Command(chat.Chat, chat.main),
        "prompts": Command(prompts.Prompts, prompts.main),
    },
    "Evaluate it": {
        "tasks": Command(tasks.Tasks, tasks.main),
        "eval": Command(eval.Eval, eval.main, resumes=True),
        "compare": Command(compare.Compare, compare.main),
        "regrade": Command(regrade.Regrade, regrade.main),
        "choice": Command(choice.Choice, choice.main),
        "contamination": Command(contamination.Contamination, contamination.main),
        "fresh-numbers": Command(fresh_numbers.FreshNumbers, fresh_numbers.main),
        "quantize-report": Command(quantize_report.QuantizeReport, quantize_report.main),
        "grade": Command(grade.Grade, grade.main),
        "lint-data": Command(lint_data.LintData, lint_data.main),
        "arena": Command(arena.Arena, arena.main),
        "rank": Command(rank.Rank, rank.main),
        "judge": Command(judge.Judge, judge.main, resumes=True),
    },
    "Scale: more compute for one question": {
        "scale": Command(scale.Scale, scale.main, resumes=True),
        "scorers": Command(scorers.Scorers, scorers.main),
        "reward-head": Command(reward_head.RewardHeadTraining, reward_head.main),
    },
    "Train it": {
        "grpo": Command(grpo.Grpo, grpo.main, resumes=True, several=True),
        "lint-reward": Command(lint_reward.LintReward, lint_reward.main),
        "explain-objective": Command(explain_objective.ExplainObjective, explain_objective.main),
        "check-loss": Command(check_loss.CheckLoss, check_loss.main),
        "distill-data": Command(distill_data.DistillData, distill_data.main, resumes=True),
        "data": Command(data.Data, data.main),
        "sft": Command(sft.Sft, sft.main, resumes=True, several=True),
        "distill": Command(distill.Distill, distill.main, resumes=True, several=True),
        "pretrain": Command(pretrain.Pretrain, pretrain.main, several=True),
        "plan": Command(plan.PlanSettings, plan.main),
    },
    "Serve it, hand it on": {
        "serve": Command(serve.Serve, serve.main),
        "export": Command(export.Export, export.main),
        "push": Command(push.Push, push.main),
        "convert": Command(convert.Convert, convert.main),
    },
    "Look inside": {
        "explain": Command(explain.Explain, explain.main),
        "microscope": Command(microscope.Microscope, microscope.main),
        "env": Command(env.Env, env.main),
    },
}
COMMANDS = {name: command for stage in STAGES.values() for name, command in stage.items()}
# Their --out is a file; any other command's is a folder.
MAKE_FILES = ("explain", "grade", "microscope", "compare", "data", "distill-data")
LIMITS = {
    "num_problems": 1_000_000, "num_samples": 10_000, "budgets": 10_000, "rounds": 1_000, "max_rows": 100_000,
    "max_length": 10_000_000, "max_tokens": 10_000_000, "thinking_tokens": 10_000_000,
    "max_thinking_tokens": 10_000_000, "max_num_batched_tokens": 10_000_000, "speculate": 64, "top": 100_000,
    "prompts_per_step": 100_000, "rollouts_per_prompt": 100_000, "epochs": 1_000_000, "batch_size": 1_000_000,
    "validation_records": 1_000_000, "eval_problems": 1_000_000, "eval_samples": 10_000,
    "max_groups": 1_000_000, "rows": 1_000_000, "length": 10_000_000, "grpo_steps": 10_000_000, "steps": 1_000_000_000,
    "seed": 2**63 - 1, "shuffle_options": 2**63 - 1, "shots": 1_000, "num_training": 10_000_000, "words": 1_000,
    "examples": 100_000, "bootstrap": 100_000, "orders": 10_000, "labelled": 1_000_000, "injections": 10_000,
}  # fmt: skip


def usage() -> str:
    """Every command by its stage, wrapped for this terminal."""
    width, room = max(map(len, COMMANDS)), min(120, shutil.get_terminal_size().columns)

    def wrapped(text: str, first: str = "", later: str = "") -> str:
        return textwrap.fill(text, max(room, len(later) + 20), initial_indent=first, subsequent_indent=later,
                             break_on_hyphens=False)  # fmt: skip

    lines = ["usage: thinkling COMMAND [FLAGS]", "",
             wrapped("Turn a language model into a reasoning model, on your own machine.")]  # fmt: skip
    for stage, commands in STAGES.items():
        lines += ["", stage]
        lines += [wrapped(own.summary, f"  {name:<{width}}  ", " " * (width + 4)) for name, own in commands.items()]
    return "\n".join([*lines, "", wrapped("thinkling help COMMAND explains a command's flags, as thinkling COMMAND "
                                          "--help does.")])  # fmt: skip


def parse(name: str, arguments: list[str]) -> object:
    """The command's settings from its flags. Raises UserError in one line; --help prints and exits."""
    return flags.parse(COMMANDS[name].settings, name, arguments)


def main(arguments: list[str] | None = None) -> None:
    print_anywhere()
    wait_passively()  # before a command imports torch
    keep_freed_memory()
    try:
        try:
            run(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk and a closed pipe are met here, not after the last line of Python
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # as in `thinkling --help | head -1`
        drop_output()
        sys.exit(141)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich has met it, and would end with 1
            sys.exit(141)
        raise
    except OSError as error:
        line = refusal(error)
        if line is None:
            raise
        drop_output()
        fail(line)


def run(arguments: list[str]) -> None:
    """One command, from its words."""
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        return print(usage())
    if name in ("-V", "--version"):
        return print(f"thinkling {__version__}")
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        meant = f": did you mean {near[0]}?" if near else ""
        raise UserError(f"unknown command '{name}'{meant} (thinkling help lists all)")
    chosen = parse(name, rest)
    check_sizes(chosen)
    out = getattr(chosen, "out", None)
    if out is not None:
        check_place(out, folder=name not in MAKE_FILES)
    try:
        with among_ranks(name, chosen):
            COMMANDS[name].main(chosen)
    except KeyboardInterrupt:
        kept = (out / "config.json", out.with_suffix(".answers.jsonl")) if COMMANDS[name].resumes else ()
        resumes = any(path.exists() for path in kept)
        print("\nstopped" + ("; the same command resumes from here" if resumes else ""), file=sys.stderr)
        sys.exit(130)


def among_ranks(name: str, chosen: object) -> AbstractContextManager:
    """What makes this process one of several, where torchrun has started it."""
    if not distributed.launched():
        return nullcontext()
    if not COMMANDS[name].several:
        able = [other for other, command in COMMANDS.items() if command.several]
        raise UserError(f"thinkling {name} runs in one process: start it without torchrun, which is for "
                        f"{', '.join(able)}")  # fmt: skip
    return distributed.joined(chosen.device, chosen.wait_minutes)


def check_sizes(chosen: object) -> None:
    """Raises UserError for a number that is none, or that no machine can do, before anything is done with it."""
    for field in fields(chosen):
        value, flag = getattr(chosen, field.name), f"--{field.name.replace('_', '-')}"
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float) and not math.isfinite(one):
                raise UserError(f"{flag} must be a finite number, not {one}")
            if field.name in LIMITS and one is not None and one > LIMITS[field.name]:
                raise UserError(f"{flag} must be at most {LIMITS[field.name]:,}, not {one:,}")


def fail(line: str) -> None:
    print(f"thinkling: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(2)


def drop_output() -> None:
    """Point standard output at nothing: Python would else try to write once more at its end."""
    if sys.stdout is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
