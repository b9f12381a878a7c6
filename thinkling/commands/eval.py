"""`thinkling eval`: from settings to a model, a method, problems and a report on the screen."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import ScalingSettings, ThinkingSettings
from thinkling.errors import UserError
from thinkling.scale.methods import METHODS_HELP, MethodName, ScorerName
from thinkling.scale.prompts import Template

if TYPE_CHECKING:
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.method import Method
    from thinkling.scale.methods import Recipe

DEFAULT_SAMPLES = 8  # of a method that takes several


@dataclass(frozen=True, kw_only=True)
class Eval(ThinkingSettings, ScalingSettings):
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
    """Samples per problem. A method that takes several chooses among this many (default 8; for adaptive and deepconf
    the most it draws). Any other method answers each problem this many times (default 1), and the report has avg@n,
    pass@k and maj@k."""
    rounds: int = 1
    """Of critique and revision, for refine."""
    thinking_tokens: int = 128
    """For budget-forcing at most, for wait at least."""
    temperature: float | None = None
    """Default: what the checkpoint's generation_config.json recommends; else 0 (greedy) for one answer, 1 for
    several."""
    fail_on_truncation: bool = False
    """End with exit code 1 if more than 5% of the completions were cut off: then the accuracy is one of the limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, rounds=self.rounds, thinking_tokens=self.thinking_tokens)
        if self.num_samples is not None:
            at_least(1, num_samples=self.num_samples)


def recipe_of(settings: Eval, recommended: float | None = None) -> tuple[Recipe, int]:
    """The method by name, and how much it may spend. recommended: the checkpoint's temperature."""
    from thinkling.scale.methods import KINDS, Recipe

    kind = KINDS[settings.method]
    if settings.scorer is not None and kind.scorer is None:
        able = ", ".join(name for name, other in KINDS.items() if other.scorer is not None)
        raise UserError(f"--scorer has no meaning for {settings.method}: use it with one of {able}")
    wanted = (settings.temperature, recommended, kind.temperature)
    temperature = next(value for value in wanted if value is not None)
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


def methods_of(settings: Eval, own: Mapping[str, float] | None = None) -> tuple[list[Method], Recipe, Sampling]:
    """The method once for each of a problem's answers, its recipe, and how it samples. A direct one's answers are the
    samples of a vote. own: how the flags and the checkpoint sample; before there is a model, the flags alone."""
    from thinkling.commands.load import flags_of, scorer_from
    from thinkling.generate.sampling import Sampling, derive_seed
    from thinkling.scale.direct import Direct
    from thinkling.scale.methods import build

    own = flags_of(settings) if own is None else own
    recipe, budget = recipe_of(settings, own.get("temperature"))
    if settings.max_thinking_tokens is not None and recipe.kind.unit not in ("", "samples"):
        raise UserError(f"--max-thinking-tokens has no meaning for {settings.method}, which does not draw whole "
                        "responses: leave it out")  # fmt: skip
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed,
                        max_thinking_tokens=settings.max_thinking_tokens, **own)  # fmt: skip

    def method(number: int) -> Method:
        drawn = sampling if number == 0 else replace(sampling, seed=derive_seed(settings.seed, "answer", number))
        return build(recipe, budget, drawn, lambda name: scorer_from(settings, name, recipe.template))

    first = method(0)
    more = range(1, repeats_of(settings))
    others = [replace(first, number=number) if isinstance(first, Direct) else method(number) for number in more]
    return [first, *others], recipe, replace(sampling, temperature=recipe.temperature)


def main(settings: Eval) -> None:
    from rich.console import Console

    from thinkling.commands.load import flags_of, model_of, own_sampling, problems_of, warn_of_greedy_thinking
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
    from thinkling.scale.prompts import CHATS
    from thinkling.scale.prompts import manifest as prompts

    methods_of(settings)  # what cannot be is refused before a model is loaded
    check_run(settings.out, settings, "report.json")
    problems, unasked = problems_of(settings)
    model = model_of(settings)
    own = own_sampling(model, flags_of(settings))
    methods, recipe, sampling = methods_of(settings, own)
    warn_of_greedy_thinking(model, bool(CHATS.get(recipe.template)) and recipe.temperature == 0)
    skipped = unasked if settings.on_error == "skip" else None
    if skipped is None:
        refuse(too_long(model, [recipe.template], problems), settings.tasks)
    out = open_run(settings.out, settings, "report.json")
    with alone_in(out), saying_what_needs_it([recipe]):
        if own:
            write_json(out / "sampling.json", own)
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
