"""`thinkling eval`: from settings to a model, a method, problems and a report on the screen."""

import os

from rich.console import Console

from thinkling.errors import UserError
from thinkling.evaluate.refinement_changes import changes, tell
from thinkling.evaluate.run import Report, evaluate
from thinkling.generate.cached import CachedModel
from thinkling.generate.language_model import LanguageModel, Model
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling
from thinkling.report.eval_report import MUCH_TRUNCATED, table
from thinkling.report.plots import Row
from thinkling.runs import alone_in, check_run, open_run, write_json
from thinkling.scale.direct import Method
from thinkling.scale.judge import Judge
from thinkling.scale.methods import KINDS, Recipe, build, scorer_for
from thinkling.scale.prompts import manifest
from thinkling.scale.scorers import Scorer
from thinkling.settings import Eval, ScalingSettings
from thinkling.tasks.benchmarks import load_problems


def model_of(settings: ScalingSettings) -> Model:
    """The model that the flags name, loaded here or on a server."""
    if settings.server is None:
        return LanguageModel.from_settings(settings)
    return on_server(settings, settings.server, settings.model)


def on_server(settings: ScalingSettings, url: str, name: str) -> RemoteModel:
    key = os.environ.get(settings.api_key_env)
    return RemoteModel(url, name, key, concurrency=settings.max_rows, timeout=settings.timeout)


def scorer_from(settings: ScalingSettings, name: str, template: str) -> Scorer:
    judge = None
    if settings.judge_server is not None:
        grading = Sampling(temperature=0.0, max_tokens=settings.max_tokens, seed=settings.seed)
        judge = Judge(on_server(settings, settings.judge_server, settings.judge_model), grading)
    return scorer_for(name, template, settings.confidence_window, settings.model, judge)


def recipe_of(settings: Eval) -> tuple[Recipe, int]:
    """The method by name, and how much it may spend."""
    kind = KINDS[settings.method]
    if settings.scorer is not None and kind.scorer is None:
        able = ", ".join(name for name, other in KINDS.items() if other.scorer is not None)
        raise UserError(f"--scorer has no meaning for {settings.method}: use it with one of {able}")
    temperature = kind.temperature if settings.temperature is None else settings.temperature
    recipe = Recipe(
        settings.method, settings.scorer or kind.scorer or "", settings.template or kind.template, temperature
    )
    budgets = {"samples": settings.num_samples, "paths": settings.num_samples, "rounds": settings.rounds}
    return recipe, budgets.get(kind.unit, settings.thinking_tokens)


def method_of(settings: Eval) -> Method:
    recipe, budget = recipe_of(settings)
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    return build(recipe, budget, sampling, lambda name: scorer_from(settings, name, recipe.template))


def row_of(name: str, report: Report) -> Row:
    """A report as a line of the table."""
    return Row(name, report.accuracy, *report.interval, report.tokens_per_problem, report.seconds, report.num_problems,
               report.truncated)  # fmt: skip


def main(settings: Eval) -> None:
    method = method_of(settings)
    check_run(settings.out, settings, "report.json")
    problems = load_problems(settings.tasks, settings.split, settings.num_problems)
    model = model_of(settings)
    out = open_run(settings.out, settings, "report.json")
    with alone_in(out):
        write_json(out / "prompts.json", manifest([recipe_of(settings)[0].template], problems[0].question))
        pool = CachedModel(model, out / "pool.jsonl")
        report, samples = evaluate(pool, method, problems, out, f"{settings.method} on {settings.tasks}")
    console = Console()
    console.print(table([row_of(settings.method, report)]))
    if report.truncated > MUCH_TRUNCATED:
        console.print(
            f"[bold red]{report.truncated:.0%} of the completions were cut off[/]: what they would have answered is "
            f"not known. Raise --max-tokens (now {settings.max_tokens})."
        )
    if report.unparsed:
        console.print(f"{report.unparsed:.1%} of the problems got no answer that could be read.")
    tell(console, changes(samples))
    console.print(f"Every response: {out / 'samples.jsonl'}")
