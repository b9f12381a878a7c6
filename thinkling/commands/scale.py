"""`thinkling scale`: many methods at many budgets on one pool of samples, and the report on what each point costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thinkling.checks import at_least
from thinkling.commands.options import ScalingSettings
from thinkling.words import counted

if TYPE_CHECKING:
    from thinkling.evaluate.result import Result
    from thinkling.evaluate.sweep import Sweep
    from thinkling.generate.cached import CachedModel
    from thinkling.problem import Problem
    from thinkling.scale.failures import Failure
    from thinkling.scale.methods import Recipe

# Without --methods. Steps are sampled at Qwen3's temperature for thinking. What samples or reads the most stops early,
# or is left out (dvts), so that two cores take less than ten minutes for all of it.
METHODS = """
direct step-by-step
self-consistency=1,2,4,8,16,32 self-consistency@step-by-step~0.6=1,2,4,8,16
adaptive=4,8,16,32 adaptive@step-by-step~0.6=4,8,16 deepconf=8,16,32 deepconf@step-by-step~0.6=8,16
self-consistency:mean-logprob=4,8,16,32 self-consistency:reward-head=4,8,16
self-consistency:confidence-group=4,8,16,32 self-consistency:mean-logprob@step-by-step~0.6=4,8,16
best-of-n:heuristic=2,4,8,16 best-of-n:sum-logprob=2,4,8,16 best-of-n:answer-logprob=2,4,8,16
best-of-n:mean-logprob=2,4,8,16,32 best-of-n:self-certainty=2,4,8,16 best-of-n:confidence-mean=2,4,8,16
best-of-n:confidence-group=2,4,8,16 best-of-n:confidence-bottom=2,4,8,16 best-of-n:confidence-tail=2,4,8,16
best-of-n:p-true=2,4 best-of-n:reward-head=2,4,8,16
best-of-n:mean-logprob@step-by-step~0.6=2,4,8,16 best-of-n:heuristic@step-by-step~0.6=2,4,8,16
refine=1,2 refine:heuristic=1,2 refine:mean-logprob=1,2 refine:p-true=1 refine:reward-head=1,2
budget-forcing=16,32,64,128 wait=64 beam=4 cot-decoding=2,4
""".split()


@dataclass(frozen=True, kw_only=True)
class Scale(ScalingSettings):
    """Measure what each point of accuracy costs: many methods at many budgets, on the same problems and samples.

    Samples are drawn once and shared; each method is charged as if it had run alone. Ends with OUT/report.html:
    accuracy against tokens, seconds and FLOPs, the cheapest way to each accuracy, tests between neighbours. Started
    again, it resumes, with other methods or budgets if you like.
    """

    out: Path = Path("runs/scale")
    """The run's folder; the samples in it are used again."""
    methods: tuple[str, ...] = ()
    """Each NAME[:SCORER][@TEMPLATE][~TEMPERATURE][=BUDGETS], such as best-of-n:heuristic@plain~0.7=2,4,8; names as for
    eval --method. The default is a table of about thirty; on a server, those of it that need no log-probabilities."""
    budgets: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Samples or paths, for the methods that name no budgets of their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, budgets=min(self.budgets, default=0))


def main(settings: Scale) -> None:
    from rich.console import Console

    from thinkling.commands.load import flags_of, problems_of
    from thinkling.generate.sampling import Sampling
    from thinkling.runs import alone_in, config_in

    _ = recipes_of(settings), Sampling(**flags_of(settings))  # what cannot be is refused here
    if settings.server is not None and not settings.methods:
        Console().print("Of the default methods those that any server can run; name others with --methods.")
    config_in(settings.out, settings)
    problems, unasked = problems_of(settings)
    with alone_in(settings.out):
        run(settings, problems, unasked)


def recipes_of(settings: Scale, temperature: float | None = None) -> list[Recipe]:
    """The methods by name. temperature: for those that name none."""
    from thinkling.scale.methods import parse

    recipes = [parse(text, settings.budgets, temperature) for text in settings.methods or METHODS]
    if settings.server is not None and not settings.methods:
        return [recipe for recipe in recipes if not recipe.needs]
    return recipes


def run(settings: Scale, problems: Sequence[Problem], unasked: Sequence[Failure]) -> None:
    from rich.console import Console

    from thinkling.commands.load import flags_of, model_of, own_sampling, scorer_from, warn_of_greedy_thinking
    from thinkling.evaluate.sweep import Sweep
    from thinkling.generate.cached import CachedModel
    from thinkling.generate.language_model import LanguageModel
    from thinkling.generate.sampling import Sampling
    from thinkling.runs import write_json
    from thinkling.scale.failures import refuse, too_long
    from thinkling.scale.methods import saying_what_needs_it
    from thinkling.scale.prompts import CHATS, manifest

    console, started = Console(), time.perf_counter()
    model = model_of(settings)
    own = own_sampling(model, flags_of(settings))
    recipes = recipes_of(settings, own.get("temperature"))
    warn_of_greedy_thinking(model, any(CHATS.get(r.template) and r.temperature == 0 for r in recipes))
    config = model.network.config if isinstance(model, LanguageModel) else None
    if settings.on_error == "stop":
        refuse(too_long(model, sorted({r.template for r in recipes}), problems), settings.tasks)
    pool = CachedModel(model, settings.out / "pool.jsonl")
    write_json(settings.out / "config.json", settings)
    if own:
        write_json(settings.out / "sampling.json", own)
    write_json(
        settings.out / "prompts.json", manifest(model, sorted({r.template for r in recipes}), problems[0].question)
    )
    measure = settings.server is None or any(recipe.measures for recipe in recipes)
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed, measure=measure, **own)
    sweep = Sweep(pool, problems, sampling, lambda name, template: scorer_from(settings, name, template), config,
                  skip=settings.on_error == "skip", skipped=unasked)  # fmt: skip

    def told(recipe: Recipe, budget: int, point: Result) -> None:
        console.print(f"{recipe.title(budget)}: {point.accuracy:.1%}, {point.tokens:,.0f} tokens", highlight=False)

    with saying_what_needs_it(recipes):
        sweep.measure_all(recipes, told)
    report(settings, sweep, pool, time.perf_counter() - started)


def report(settings: Scale, sweep: Sweep, pool: CachedModel, took: float) -> None:
    from rich.console import Console

    from thinkling.device import facts
    from thinkling.evaluate.refinement_changes import in_words, tell
    from thinkling.report.scale_page import write_page, write_pngs
    from thinkling.report.scale_terminal import terminal
    from thinkling.runs import write_json
    from thinkling.scale.failures import tell as tell_failures

    console, out, points = Console(), settings.out, sweep.points
    for part in terminal(points):
        console.print(part)
    tell_failures(sweep.skipped, "left out of every number above", out / "table.json", console)
    for name, rounds in sweep.rounds.items():
        console.print(f"\n[bold]{name}[/]")
        tell(console, rounds, examples=0)
    problems = f"{len(sweep.problems)} of {settings.tasks}, {settings.split}"
    run = f"{took:.0f} s, {counted(pool.num_asked, 'answer')} asked in it"
    known = facts() | {"model": pool.name, "problems": problems, "run": run}
    told = [f"{name}: {line}" for name, rounds in sweep.rounds.items() for line in map(in_words, rounds)]
    table = {"settings": settings, "facts": known, "points": points, "rounds": told, "failed": sweep.skipped}
    write_json(out / "table.json", table)
    write_page(out / "report.html", f"What accuracy costs: {settings.model}", points, known, NOTES + told)
    write_pngs(out / "plots", points)
    console.print(f"\n{counted(len(points), 'row')} in {took:.0f} s; {counted(pool.num_asked, 'answer')} asked "
                  f"now, the rest from {pool.path}.\nThe report: [bold]{out / 'report.html'}[/]",
                  highlight=False)  # fmt: skip


NOTES = [
    "Every method met the same problems, with the same samples where methods share them. What it cost is what it would "
    "have cost alone: all that was sampled for it, drafts and critiques included.",
    "Tokens are those sampled. What a scorer reads (p-true, reward-head) is not in them.",
    "Seconds are the engine's time, shared among the requests that were under way; they leave out voting and grading.",
]
