"""`thinkling quantize-report`: what 8-bit weights cost in accuracy, and what they save."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import ModelSettings, Split
from thinkling.scale.prompts import Template


@dataclass(frozen=True, kw_only=True)
class QuantizeReport(ModelSettings):
    """Ask a model the same problems with its weights as they are and in 8 bits.

    Prints accuracy before and after with the paired difference, how far the next-token distributions are apart, memory,
    and speed, for which both take turns.

    Example: thinkling quantize-report thinkling-base --num-problems 200
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = "thinkling-base"
    """A built-in model's name, a checkpoint's folder or .gguf file, smollm2-135m, or a Hub id."""
    quantize: Literal["int8"] = "int8"
    """What to compare with the weights as they are."""
    tasks: str = "quantities"
    """A built-in suite, a benchmark, or a file of problems: see thinkling eval."""
    split: Split = "held-out"
    """Of the built-in problems."""
    num_problems: int | None = None
    """How many problems. Default: all of a file, else 500."""
    template: Template = "step-by-step"
    """How the question is put."""
    max_tokens: int = 384
    """Length of one response at most, in tokens."""
    temperature: float = 0.0
    """Divides the logits; 0 always takes the likeliest token."""
    seed: int = 0
    """Of what the model samples, at a temperature above 0."""
    out: Path | None = None
    """A folder for report.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, max_tokens=self.max_tokens)
        if self.num_problems is not None:
            at_least(2, num_problems=self.num_problems)


def main(settings: QuantizeReport) -> None:
    from dataclasses import replace

    from rich.console import Console

    from thinkling.commands.load import language_model
    from thinkling.errors import UserError
    from thinkling.evaluate.quantization import cost
    from thinkling.generate.sampling import Sampling
    from thinkling.model.int8 import has_int8_instructions
    from thinkling.report.quantization_table import table, verdict
    from thinkling.runs import new_run, write_json
    from thinkling.scale.failures import refuse, too_long, unusable
    from thinkling.tasks.benchmarks import load_problems

    problems = load_problems(settings.tasks, settings.split, settings.num_problems)
    refuse(unusable(settings.tasks, problems), settings.tasks)
    if len(problems) < 2:
        raise UserError(f"{settings.tasks}: one problem tells nothing of a difference: give at least two")
    small = language_model(settings)
    plain = language_model(replace(settings, quantize=None))
    refuse(too_long(plain, [settings.template], problems), settings.tasks)
    out = None if settings.out is None else new_run(settings.out, settings)
    sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    found = cost(plain, small, problems, settings.template, sampling)
    console = Console()
    console.print(table(found, str(plain.network.dtype).removeprefix("torch.")))
    for line in verdict(found, has_int8_instructions()):
        console.print(line, markup=False, highlight=False)
    if out is not None:
        write_json(out / "report.json", asdict(found))
