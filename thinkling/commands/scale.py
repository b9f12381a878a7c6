"""`thinkling scale`: many methods at many budgets on one pool of samples, and the report on what each point costs.

Every sample is drawn once (generate/cached.py); each method is charged for all that it used, as if it had run alone. A
scorer's own reading of a completion (p-true, reward-head) is not counted as tokens: nothing is sampled for it.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from rich.console import Console

from thinkling.commands.eval import model_of, scorer_from
from thinkling.device import facts
from thinkling.evaluate.frontier import Point
from thinkling.evaluate.refinement_changes import Round, changes, in_words, tell
from thinkling.evaluate.run import Sample, evaluate
from thinkling.evaluate.stats import mean_interval, pass_at_k, wilson_interval
from thinkling.generate.cached import CachedModel
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.config import ModelConfig
from thinkling.problem import Problem
from thinkling.report.scale_page import write_page, write_pngs
from thinkling.report.scale_terminal import terminal
from thinkling.runs import alone_in, config_in, write_json
from thinkling.scale.methods import Recipe, build, parse, remembered
from thinkling.scale.prompts import manifest
from thinkling.scale.scorers import Scorer
from thinkling.settings import Scale
from thinkling.tasks.benchmarks import load_problems
from thinkling.verify.math.grade import grade

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


class Measuring:
    """Measures points one after the other, from one pool."""

    def __init__(
        self, settings: Scale, model: CachedModel, problems: Sequence[Problem], config: ModelConfig | None
    ) -> None:
        self.settings, self.model, self.problems, self.config = settings, model, problems, config
        self.points: list[Point] = []
        self.rounds: dict[str, list[Round]] = {}
        self._scorers: dict[tuple[str, str], Scorer] = {}

    def scorer(self, name: str, template: str) -> Scorer:
        if (name, template) not in self._scorers:
            self._scorers[name, template] = remembered(scorer_from(self.settings, name, template))
        return self._scorers[name, template]

    def measure(self, recipe: Recipe, budget: int) -> Point:
        sampling = Sampling(max_tokens=self.settings.max_tokens, seed=self.settings.seed, measure=True)
        method = build(recipe, budget, sampling, lambda name: self.scorer(name, recipe.template))
        _, samples = evaluate(self.model, method, self.problems, None, f"{recipe}, {budget}")
        point = self.point(str(recipe), recipe.kind.unit, budget, samples)
        self.points.append(point)
        if budget == max(recipe.budgets):
            if samples[0].answer.rounds:
                self.rounds[str(recipe)] = changes(samples)
            if recipe.name == "self-consistency" and not recipe.scorer:
                self.points += self.oracle(recipe, samples)
        return point

    def point(self, name: str, unit: str, budget: int, samples: Sequence[Sample]) -> Point:
        correct = tuple(sample.verdict.correct for sample in samples)
        completions = [c for sample in samples for c in sample.answer.completions]
        num = len(samples)
        return Point(
            name, budget if unit else None, unit, correct, sum(correct) / num, *wilson_interval(sum(correct), num),
            tokens=sum(len(c.tokens) for c in completions) / num,
            seconds=sum(c.seconds for c in completions) / num,
            flops=fmean(self.flops(sample) for sample in samples) if self.config else None,
            truncated=sum(c.truncated for c in completions) / len(completions),
        )  # fmt: skip

    def flops(self, sample: Sample) -> float:
        """Of one answer: every prompt read once, and every token sampled behind it."""
        completions = sample.answer.completions
        prompts = {c.prompt_tokens for c in completions}
        sampled = sum(self.config.flops(len(c.tokens), len(c.prompt_tokens)) for c in completions)
        return sampled + sum(self.config.flops(len(prompt)) for prompt in prompts)

    def oracle(self, recipe: Recipe, samples: Sequence[Sample]) -> list[Point]:
        """pass@n: what a perfect judge would choose from the samples of each vote. It needs to know the answers."""
        right = [[grade(c.text, s.problem.reference).correct for c in s.answer.completions] for s in samples]
        found, name = [], f"oracle pass@n{str(recipe).removeprefix(recipe.name)}"
        for vote in self.points[-len(recipe.budgets) :]:
            rates = [pass_at_k(len(row), sum(row), vote.budget) for row in right]
            low, high = mean_interval(rates)
            found.append(replace(vote, method=name, correct=(), accuracy=fmean(rates), low=low, high=high, oracle=True))
        return found


def main(settings: Scale) -> None:
    recipes = [parse(text, settings.budgets) for text in settings.methods or METHODS]
    config_in(settings.out, settings)
    problems = load_problems(settings.tasks, settings.split, settings.num_problems)
    with alone_in(settings.out):
        run(settings, recipes, problems)


def run(settings: Scale, recipes: Sequence[Recipe], problems: Sequence[Problem]) -> None:
    console, started = Console(), time.perf_counter()
    model = model_of(settings)
    config = model.network.config if isinstance(model, LanguageModel) else None
    pool = CachedModel(model, settings.out / "pool.jsonl")
    write_json(settings.out / "config.json", settings)
    write_json(settings.out / "prompts.json", manifest(sorted({r.template for r in recipes}), problems[0].question))
    measuring = Measuring(settings, pool, problems, config)
    for recipe in recipes:
        for budget in recipe.budgets:
            point = measuring.measure(recipe, budget)
            console.print(f"{recipe}, {budget}: {point.accuracy:.1%}, {point.tokens:,.0f} tokens", highlight=False)
    took = time.perf_counter() - started
    report(settings, console, measuring, pool, took)


def report(settings: Scale, console: Console, measuring: Measuring, pool: CachedModel, took: float) -> None:
    out, points = settings.out, measuring.points
    for part in terminal(points):
        console.print(part)
    for name, rounds in measuring.rounds.items():
        console.print(f"\n[bold]{name}[/]")
        tell(console, rounds, examples=0)
    problems = f"{len(measuring.problems)} of {settings.tasks}, {settings.split}"
    run = f"{took:.0f} s, {pool.num_asked:,} answers asked in it"
    known = facts() | {"model": pool.name, "problems": problems, "run": run}
    told = [f"{name}: {line}" for name, rounds in measuring.rounds.items() for line in map(in_words, rounds)]
    table = {"settings": settings, "facts": known, "points": points, "rounds": told}
    write_json(out / "table.json", table)
    write_page(out / "report.html", f"What accuracy costs: {settings.model}", points, known, NOTES + told)
    write_pngs(out / "plots", points)
    console.print(f"\n{len(points)} rows in {took:.0f} s; {pool.num_asked:,} answers asked now, the rest from "
                  f"{pool.path}.\nThe report: [bold]{out / 'report.html'}[/]", highlight=False)  # fmt: skip


NOTES = [
    "Every method met the same problems, with the same samples where methods share them. What it cost is what it would "
    "have cost alone: all that was sampled for it, drafts and critiques included.",
    "Tokens are those sampled. What a scorer reads (p-true, reward-head) is not in them.",
    "Seconds are the engine's time, shared among the requests that were under way; they leave out voting and grading.",
    "pass@n is what a perfect judge would choose from n samples. It needs to know the answers: a bound, not a method.",
]
