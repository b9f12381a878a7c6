"""The parts that a reward is made of, as the command line names them. What each is worth: train/rl/rewards.py."""

import math
import re
from typing import Literal, get_args

from thinkling.errors import UserError

RewardName = Literal["correct", "score", "partial", "format", "conditional-format", "length", "overlong", "random"]
NAMES = get_args(RewardName)


def is_own(name: str) -> bool:
    """Does the part name a function of the user's own?"""
    return name.rpartition(":")[0].endswith(".py")


def reward_weights(parts: tuple[str, ...]) -> dict[str, float]:
    """The weight of each part of `--reward correct format=0.2 mine.py:short`: 1 where none is said.

    `format-only` is `format`, spelt so that nobody misses what such a run is for.
    """
    weights: dict[str, float] = {}
    for part in parts:
        name, _, weight = part.rpartition("=") if re.search(r"=[^=:/]*$", part) else (part, "", "")
        name = "format" if name == "format-only" else name
        if name not in NAMES and not is_own(name):
            raise UserError(f"unknown part of a reward '{name}': use {', '.join(NAMES)}, or FILE.py:FUNCTION, each "
                            "with =WEIGHT or without")  # fmt: skip
        if name in weights:
            raise UserError(f"--reward names '{name}' twice: say it once, with the weight that it is to have")
        try:
            weights[name] = float(weight) if weight else 1.0
        except ValueError:
            weights[name] = math.nan
        if not math.isfinite(weights[name]):
            raise UserError(f"--reward {part}: the weight behind = must be a number")
    if not weights:
        raise UserError("--reward needs at least one part, such as correct")
    return weights
