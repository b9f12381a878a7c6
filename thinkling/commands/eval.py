"""`thinkling eval`: from settings to a model, a method, problems and a report on the screen."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import ScalingSettings
from thinkling.errors import UserError
from thinkling.scale.methods import METHODS_HELP, MethodName, ScorerName
from thinkling.scale.prompts import Template

if TYPE_CHECKING:
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.method import Method
    from thinkling.scale.methods import Recipe

DEFAULT_SAMPLES = 8  # of a method that takes several


@dataclass(frozen=True, kw_only=True)
class Eval(ScalingSettings):
    """Measure a model and a method on problems: accuracy with its interval, repeats, truncation, tokens.

    Writes OUT/report.json, the same for people as report.html and report.md, every response to OUT/samples.jsonl, and
    what it was made of to OUT/manifest.json. An interrupted run resumes when it is started again.
    """

    out: Path
    """The run's folder; it must hold no finished run."""
    method: Annotated[MethodName, tyro.conf.arg(help=METHODS_HELP)] = "direct"
    scorer: ScorerName | None = None
    """For best-of-n, beam and dvts (default mean-logprob), for refine to keep what is not worse (default: always the
    revision), for self-consistency to weigh the votes."""
    template: Template | None = None
    """Another way to put the question than the method's own; for a checkpoint try boxed, chat or chat-thinking."""
    num_samples: int | None = None
    """Samples per problem. A method that takes several chooses among so many (default 8; at most, for adaptive and
    deepconf). Any other answers each problem so often (default 1), and the report has avg@n, pass@k and maj@k."""
    rounds: int = 1
    """Of critique and revision, for refine."""
    thinking_tokens: int = 128
    """For budget-forcing at most, for wait at least."""
    temperature: float | None = None
    """Default: 0 (greedy) for one answer, 1 for several."""
    fail_on_truncation: bool = False
    """End with exit code 1 if more than 5% of the completions were cut off: then the accuracy is one of the limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, rounds=self.rounds, thinking_tokens=self.thinking_tokens)
        if self.num_samples is not None:
            at_least(1, num_samples=self.num_samples)


def recipe_of(settings: Eval) -> tuple[Recipe, int]:
    """The method by name, and how much it may spend."""
    from thinkling.scale.methods import KINDS, Recipe

    kind = KINDS[settings.method]
    if settings.scorer is not None and kind.scorer is None:
        able = ", ".join(name for name, other in KINDS.items() if other.scorer is not None)
        raise UserError(f"--scorer has no meaning for {settings.method}: use it with one of {able}")
    temperature = kind.temperature if settings.temperature is None else settings.temperature
    if repeats_of(settings) > 1 and temperature == 0:
        if settings.temperature == 0:
            raise UserError("temperature 0 makes every sample alike: raise it above 0, or leave --num-samples out")
        temperature = 1.0
    recipe = Recipe(
        settings.method, settings.scorer or kind.scorer or "", settings.template or kind.template, temperature
    )
    num_samples = DEFAULT_SAMPLES if settings.num_samples is None else settings.num_samples
    budgets = {"samples": num_samples, "paths": num_samples, "rounds": settings.rounds}
    return recipe, budgets.get(kind.unit, settings.thinking_tokens)


def repeats_of(settings: Eval) -> int:
    """How many times each problem is answered."""
    from thinkling.scale.methods import KINDS

    takes_several = KINDS[settings.method].unit in ("samples", "paths")
    return 1 if takes_several else settings.num_samples or 1


def sampling_of(settings: Eval) -> Sampling:
    from thinkling.generate.sampling import Sampling

    return Sampling(max_tokens=settings.max_tokens, seed=settings.seed)


def method_of(settings: Eval, number: int = 0) -> Method:
    """The method; number: for which of a problem's answers. A direct one's are the samples of a vote."""
    from thinkling.commands.load import scorer_from
    from thinkling.generate.sampling import derive_seed
    from thinkling.scale.direct import Direct
    from thinkling.scale.methods import build

    recipe, budget = recipe_of(settings)
    sampling = sampling_of(settings)
    method = build(recipe, budget, sampling, lambda name: scorer_from(settings, name, recipe.template))
    if isinstance(method, Direct) or number == 0:
        return replace(method, number=number) if number else method
    sampling = replace(sampling, seed=derive_seed(settings.seed, "answer", number))
    return build(recipe, budget, sampling, lambda name: scorer_from(settings, name, recipe.template))


def main(settings: Eval) -> None:
    from rich.console import Console

    from thinkling.commands.load import model_of, problems_of
    from thinkling.evaluate import manifest
    from thinkling.evaluate.refinement_changes import changes, tell
    from thinkling.evaluate.run import evaluate
    from thinkling.evaluate.saved import read_run
    from thinkling.generate.cached import CachedModel
    from thinkling.report.eval_files import write_files
    from thinkling.report.eval_report import table
    from thinkling.report.eval_words import cut_off, loud, sentences
    from thinkling.report.tables import MUCH_TRUNCATED
    from thinkling.runs import alone_in, check_run, open_run, write_json
    from thinkling.scale.failures import refuse, too_long
    from thinkling.scale.failures import tell as tell_failures
    from thinkling.scale.methods import saying_what_needs_it
    from thinkling.scale.prompts import manifest as prompts

    methods = [method_of(settings, number) for number in range(repeats_of(settings))]
    check_run(settings.out, settings, "report.json")
    problems, unasked = problems_of(settings)
    model, (recipe, _) = model_of(settings), recipe_of(settings)
    skipped = unasked if settings.on_error == "skip" else None
    if skipped is None:
        refuse(too_long(model, [recipe.template], problems), settings.tasks)
    out = open_run(settings.out, settings, "report.json")
    with alone_in(out), saying_what_needs_it([recipe]):
        sampling = replace(sampling_of(settings), temperature=recipe.temperature)
        made_of = manifest.manifest_of(model, problems, recipe.template, sampling, settings.adapter)
        manifest.keep(out / "manifest.json", made_of)
        write_json(out / "prompts.json", prompts(model, [recipe.template], problems[0].question))
        pool = CachedModel(model, out / "pool.jsonl")
        report, samples = evaluate(pool, methods, problems, out, settings.method, skipped)
        run = read_run(out)
        write_files(run)
    console = Console()
    advice = f"what they would have answered is not known, so raise --max-tokens (now {settings.max_tokens})"
    console.print(table([report], advice))
    for line in sentences(run.details):
        if line != cut_off(run.details):  # the table says it
            style = "bold red" if line in loud(run.details) else None
            console.print(line, style=style, markup=False, highlight=False)
    tell_failures(skipped or [], "left out of every number above", out / "report.json", console)
    tell(console, changes(samples))
    console.print(f"Every response: {out / 'samples.jsonl'}, to be read in {out / 'report.html'}", soft_wrap=True)
    if settings.fail_on_truncation and run.details.truncated > MUCH_TRUNCATED:
        sys.exit(1)
