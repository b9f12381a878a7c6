"""`thinkling eval`: from settings to a model, a method, problems and a report on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import ScalingSettings
from thinkling.errors import UserError
from thinkling.scale.methods import METHODS_HELP, MethodName, ScorerName
from thinkling.scale.prompts import Template

if TYPE_CHECKING:
    from thinkling.scale.method import Method
    from thinkling.scale.methods import Recipe


@dataclass(frozen=True, kw_only=True)
class Eval(ScalingSettings):
    """Measure a model and a method on problems: accuracy with its interval, truncation, tokens, seconds.

    Writes OUT/report.json and every response to OUT/samples.jsonl. An interrupted run resumes when it is started again.
    """

    out: Path
    """The run's folder; it must hold no finished run."""
    method: Annotated[MethodName, tyro.conf.arg(help=METHODS_HELP)] = "direct"
    scorer: ScorerName | None = None
    """For best-of-n, beam and dvts (default mean-logprob), for refine to keep what is not worse (default: always the
    revision), for self-consistency to weigh the votes."""
    template: Template | None = None
    """Another way to put the question than the method's own; for a checkpoint try boxed, chat or chat-thinking."""
    num_samples: int = 8
    """Samples or paths per problem, for the methods that take several; at most, for adaptive and deepconf."""
    rounds: int = 1
    """Of critique and revision, for refine."""
    thinking_tokens: int = 128
    """For budget-forcing at most, for wait at least."""
    temperature: float | None = None
    """Default: what the checkpoint's generation_config.json recommends; else 0 (greedy) for one answer, 1 for
    several."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_samples=self.num_samples, rounds=self.rounds, thinking_tokens=self.thinking_tokens)


def recipe_of(settings: Eval, recommended: float | None = None) -> tuple[Recipe, int]:
    """The method by name, and how much it may spend. recommended: the checkpoint's temperature."""
    from thinkling.scale.methods import KINDS, Recipe

    kind = KINDS[settings.method]
    if settings.scorer is not None and kind.scorer is None:
        able = ", ".join(name for name, other in KINDS.items() if other.scorer is not None)
        raise UserError(f"--scorer has no meaning for {settings.method}: use it with one of {able}")
    wanted = (settings.temperature, recommended, kind.temperature)
    temperature = next(value for value in wanted if value is not None)
    recipe = Recipe(
        settings.method, settings.scorer or kind.scorer or "", settings.template or kind.template, temperature
    )
    budgets = {"samples": settings.num_samples, "paths": settings.num_samples, "rounds": settings.rounds}
    return recipe, budgets.get(kind.unit, settings.thinking_tokens)


def method_of(settings: Eval, own: Mapping[str, float] | None = None) -> Method:
    """own: how the flags and the checkpoint sample; before there is a model, the flags alone."""
    from thinkling.commands.load import flags_of, scorer_from
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.methods import build

    own = flags_of(settings) if own is None else own
    recipe, budget = recipe_of(settings, own.get("temperature"))
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed, **own)
    return build(recipe, budget, sampling, lambda name: scorer_from(settings, name, recipe.template))


def main(settings: Eval) -> None:
    from rich.console import Console

    from thinkling.commands.load import flags_of, model_of, own_sampling, problems_of, warn_of_greedy_thinking
    from thinkling.evaluate.refinement_changes import changes, tell
    from thinkling.evaluate.run import evaluate
    from thinkling.generate.cached import CachedModel
    from thinkling.report.eval_report import table
    from thinkling.runs import alone_in, check_run, open_run, write_json
    from thinkling.scale.failures import refuse, too_long
    from thinkling.scale.failures import tell as tell_failures
    from thinkling.scale.methods import saying_what_needs_it
    from thinkling.scale.prompts import CHATS, manifest

    method_of(settings)  # what cannot be is refused before a model is loaded
    check_run(settings.out, settings, "report.json")
    problems, unasked = problems_of(settings)
    model = model_of(settings)
    own = own_sampling(model, flags_of(settings))
    method, (recipe, _) = method_of(settings, own), recipe_of(settings, own.get("temperature"))
    warn_of_greedy_thinking(model, bool(CHATS.get(recipe.template)) and recipe.temperature == 0)
    skipped = unasked if settings.on_error == "skip" else None
    if skipped is None:
        refuse(too_long(model, [recipe.template], problems), settings.tasks)
    out = open_run(settings.out, settings, "report.json")
    with alone_in(out), saying_what_needs_it([recipe]):
        if own:
            write_json(out / "sampling.json", own)
        write_json(out / "prompts.json", manifest(model, [recipe.template], problems[0].question))
        pool = CachedModel(model, out / "pool.jsonl")
        report, samples = evaluate(pool, method, problems, out, settings.method, skipped)
    console = Console()
    advice = f"what they would have answered is not known, so raise --max-tokens (now {settings.max_tokens})"
    console.print(table([report], advice))
    if report.unparsed:
        console.print(f"{report.unparsed:.1%} of the problems got no answer that could be read.")
    tell_failures(skipped or [], "left out of every number above", out / "report.json", console)
    tell(console, changes(samples))
    console.print(f"Every response: {out / 'samples.jsonl'}")
