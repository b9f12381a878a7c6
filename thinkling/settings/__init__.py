"""Every command's settings: one frozen dataclass each, the only home of each default.

The command line, the Python API and a run's config.json all come from here. Nothing heavy is imported, so that `--help`
is instant.
"""

from thinkling.settings.asking import Chat, Explain, Generate, Prompts
from thinkling.settings.base import MethodName, ModelSettings, Policy, ScorerName, Split, Template, above_zero, at_least
from thinkling.settings.measuring import Eval, Grade, LintData, LintReward, Scale, ScalingSettings, Scorers
from thinkling.settings.training import (
    CheckLoss,
    ExplainObjective,
    Grpo,
    Microscope,
    Pretrain,
    RewardHeadTraining,
    Tour,
)
from thinkling.train.rl.objective import PRESETS, Objective

__all__ = [
    "PRESETS",
    "Chat",
    "CheckLoss",
    "Eval",
    "Explain",
    "ExplainObjective",
    "Generate",
    "Grade",
    "Grpo",
    "LintData",
    "LintReward",
    "MethodName",
    "Microscope",
    "ModelSettings",
    "Objective",
    "Policy",
    "Pretrain",
    "Prompts",
    "RewardHeadTraining",
    "Scale",
    "ScalingSettings",
    "ScorerName",
    "Scorers",
    "Split",
    "Template",
    "Tour",
    "above_zero",
    "at_least",
]
