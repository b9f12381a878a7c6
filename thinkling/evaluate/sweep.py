"""Many methods at many budgets on one pool of samples: one `Result` for each, charged as if it had run alone.

Every sample is drawn once (generate/cached.py). A scorer's own reading of a completion (p-true, reward-head) is not
counted as tokens: nothing is sampled for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from thinkling.evaluate.refinement_changes import Round, changes
from thinkling.evaluate.result import Result
from thinkling.evaluate.run import Sample, evaluate, summarise
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.cached import CachedModel
from thinkling.generate.sampling import Sampling
from thinkling.model.config import ModelConfig
from thinkling.problem import Problem
from thinkling.scale.failures import Failure
from thinkling.scale.methods import Recipe, build, remembered
from thinkling.scale.scorers import Scorer
from thinkling.verify.verifier import verify


class Sweep:
    """Measures points one after the other, from one pool of samples.

    sampling: how every method draws, but for its own temperature. scorer: gives one by its name and template. config:
    the network's shape, if it is known, from which floating-point operations are counted. skip: leave a problem that
    gets no answer out of every number, instead of ending. skipped: those problems; some may be there from the start.
    """

    def __init__(
        self, model: CachedModel, problems: Sequence[Problem], sampling: Sampling,
        scorer: Callable[[str, str], Scorer], config: ModelConfig | None = None, skip: bool = False,
        skipped: Sequence[Failure] = (),
    ) -> None:  # fmt: skip
        self.model, self.sampling, self.config, self.skip = model, sampling, config, skip
        self.rows = {problem.id: row for row, problem in enumerate(problems, start=1)}
        self.skipped, gone = list(skipped), {failure.row for failure in skipped}
        self.problems = [problem for row, problem in enumerate(problems, start=1) if row not in gone]
        self._make_scorer = scorer
        self.points: list[Result] = []
        self.rounds: dict[str, list[Round]] = {}
        self._scorers: dict[tuple[str, str], Scorer] = {}

    def scorer(self, name: str, template: str) -> Scorer:
        if (name, template) not in self._scorers:
            self._scorers[name, template] = remembered(self._make_scorer(name, template))
        return self._scorers[name, template]

    def measure_all(self, recipes: Sequence[Recipe], show: Callable[[Recipe, int, Result], None]) -> None:
        """A point for each recipe and budget, all of the same problems: if some were skipped meanwhile, every point is
        measured once more without them, from the pool."""
        while True:
            num = len(self.problems)
            for recipe in recipes:
                for budget in recipe.budgets:
                    show(recipe, budget, self.measure(recipe, budget))
            if len(self.problems) == num:
                return
            self.points.clear()
            self.rounds.clear()

    def measure(self, recipe: Recipe, budget: int) -> Result:
        method = build(recipe, budget, self.sampling, lambda name: self.scorer(name, recipe.template))
        failed: list[Failure] | None = [] if self.skip else None
        _, samples = evaluate(self.model, method, self.problems, None, recipe.title(budget), failed)
        if failed:
            lost = {failure.id for failure in failed}
            self.skipped += [replace(failure, row=self.rows[failure.id]) for failure in failed]
            self.problems = [problem for problem in self.problems if problem.id not in lost]
        point = self.point(recipe.title(), recipe.kind.unit, budget, samples)
        self.points.append(point)
        if budget == max(recipe.budgets):
            if samples[0].answer.rounds:
                self.rounds[recipe.title()] = changes(samples)
            if recipe.name == "self-consistency" and not recipe.scorer:
                self.points += self.oracle(recipe, samples)
        return point

    def point(self, name: str, unit: str, budget: int, samples: Sequence[Sample]) -> Result:
        flops = fmean(self.flops(sample) for sample in samples) if self.config else None
        found = summarise(name, samples, 0.0)  # with a pool, how long it took says nothing
        return replace(found, budget=budget if unit else None, unit=unit, flops=flops)

    def flops(self, sample: Sample) -> float:
        """Of one answer: every prompt read once, and every token sampled behind it."""
        completions = sample.answer.completions
        prompts = {c.prompt_tokens for c in completions}
        sampled = sum(self.config.flops(len(c.tokens), len(c.prompt_tokens)) for c in completions)
        return sampled + sum(self.config.flops(len(prompt)) for prompt in prompts)

    def oracle(self, recipe: Recipe, samples: Sequence[Sample]) -> list[Result]:
        """pass@n: what a perfect judge would choose from the very samples of each vote, so never less than the vote. It
        needs to know the answers."""
        right = [[verify(s.problem, c.text).correct for c in s.answer.completions] for s in samples]
        found, name = [], recipe.title().replace(recipe.kind.title, "pass@n, the oracle")
        for vote in self.points[-len(recipe.budgets) :]:
            correct = tuple(any(row[: vote.budget]) for row in right)
            low, high = wilson_interval(sum(correct), len(correct))
            share = fmean(correct)
            found.append(replace(vote, method=name, correct=correct, accuracy=share, low=low, high=high, oracle=True))
        return found
