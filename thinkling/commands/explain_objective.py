"""`thinkling explain-objective`: the formula that a preset of grpo optimises."""

from dataclasses import dataclass

from thinkling.train.rl.objective import PRESETS, PresetName


@dataclass(frozen=True, kw_only=True)
class ExplainObjective:
    """Print the formula that a preset of grpo optimises, its source, and where it differs from the paper."""

    preset: PresetName = "dr-grpo"
    """As for thinkling grpo --preset."""


def main(settings: ExplainObjective) -> None:
    from rich.console import Console

    from thinkling.train.rl.loss import in_words

    preset = PRESETS[settings.preset]
    console = Console(highlight=False)
    console.print(f"{settings.preset}: {preset.source}", soft_wrap=True)
    for line in in_words(preset.objective):
        console.print(f"  {line}", soft_wrap=True)
    for deviation in preset.deviations:
        console.print(f"  differs: {deviation}", soft_wrap=True)
