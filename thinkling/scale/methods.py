"""From a method's name to the method: what the command line can ask for, and what each method's budget counts."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model, NoLogprobs
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale import beam, best_of_n, budget_forcing, cot_decoding, deepconf, direct, refine, vote
from thinkling.scale.judge import Judge, PTrue
from thinkling.scale.method import Kind, Method, Parts
from thinkling.scale.prompts import STOPS, Template
from thinkling.scale.scorers import (
    Scorer,
    answer_logprob,
    exponential,
    heuristic,
    mean_logprob,
    proportional,
    self_certainty,
    sum_logprob,
    trace_scorer,
)

FILES = (direct, vote, deepconf, best_of_n, refine, budget_forcing, beam, cot_decoding)
KINDS: dict[str, Kind] = {kind.name: kind for file in FILES for kind in file.KINDS}
MethodName = Literal[*KINDS]
METHODS_HELP = ", ".join(f"{kind.name} {kind.help}" for kind in KINDS.values()) + "."


@dataclass(frozen=True)
class ScorerContext:
    """What some scorers want to know. template: of the question. window: tokens in a group of DeepConf. model: whose
    reward head. judge: whom to ask."""

    template: str
    window: int
    model: str
    judge: Judge | None = None


def trained_head(context: ScorerContext) -> Scorer:
    from thinkling.scale.reward_head import RewardHead  # the one scorer that needs torch

    return RewardHead.for_model(context.model)


def other_judge(context: ScorerContext) -> Scorer:
    if context.judge is None:
        raise UserError("the scorer judge needs a model to ask: name its server with --judge-server")
    return context.judge


@dataclass(frozen=True)
class ScorerKind:
    """A scorer as the command line offers it.

    make: the scorer. text_only: does it look at nothing but text, so that any model can do it? measures: must every
    completion be measured (Sampling.measure)? logarithm: is the score one, so that its vote weighs e^score? Others
    weigh what they are.
    """

    make: Callable[[ScorerContext], Scorer]
    text_only: bool = False
    measures: bool = False
    logarithm: bool = False


SCORERS: dict[str, ScorerKind] = {
    "heuristic": ScorerKind(lambda c: heuristic, text_only=True),
    "mean-logprob": ScorerKind(lambda c: mean_logprob, logarithm=True),
    "sum-logprob": ScorerKind(lambda c: sum_logprob, logarithm=True),
    "answer-logprob": ScorerKind(lambda c: answer_logprob, logarithm=True),
    "self-certainty": ScorerKind(lambda c: self_certainty, measures=True),
    "confidence-mean": ScorerKind(lambda c: trace_scorer("mean", c.window), measures=True),
    "confidence-group": ScorerKind(lambda c: trace_scorer("group", c.window), measures=True),
    "confidence-bottom": ScorerKind(lambda c: trace_scorer("bottom", c.window), measures=True),
    "confidence-tail": ScorerKind(lambda c: trace_scorer("tail", c.window), measures=True),
    "p-true": ScorerKind(lambda c: PTrue(c.template), logarithm=True),
    "reward-head": ScorerKind(trained_head, logarithm=True),
    "judge": ScorerKind(other_judge, text_only=True),
}
ScorerName = Literal[*SCORERS]


@dataclass(frozen=True)
class Recipe:
    """A method by name, before it has a budget: what `parse` makes of "best-of-n:heuristic@plain~0.7=2,4,8"."""

    name: str
    scorer: str = ""
    template: str = "plain"
    temperature: float = 0.0
    budgets: tuple[int, ...] = ()

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def needs(self) -> str:
        """What of it needs more of a model than text: its scorer or itself, by name; "" if nothing does."""
        if self.kind.measures:
            return self.name
        return "" if not self.scorer or SCORERS[self.scorer].text_only else f"the scorer {self.scorer}"

    @property
    def measures(self) -> bool:
        """Must every completion be measured (Sampling.measure)?"""
        return self.kind.measures or bool(self.scorer and SCORERS[self.scorer].measures)

    def title(self, budget: int | None = None) -> str:
        """What people call it: "step by step, vote of 8"; without a budget "step by step, vote of n"."""
        named = self.kind.title if budget is None else re.sub(r"\bn\b", f"{budget:,}", self.kind.title)
        by = f" by {self.scorer}" if self.scorer else ""
        warm = f", T = {self.temperature:g}" if self.temperature != self.kind.temperature else ""
        return f"{self.template.replace('-', ' ')}, {named}{by}{warm}"

    def __str__(self) -> str:
        warm = f", T = {self.temperature:g}" if self.temperature != self.kind.temperature else ""
        return self.name + (f" by {self.scorer}" if self.scorer else "") + f", {self.template}{warm}"


def parse(text: str, budgets: tuple[int, ...] = (), temperature: float | None = None) -> Recipe:
    """NAME[:SCORER][@TEMPLATE][~TEMPERATURE][=BUDGET,BUDGET,...] as a recipe.

    budgets: for the methods that count samples or paths and name none of their own. temperature: for those that name
    none, in place of the method's own.

    Raises UserError that names the part that is wrong.
    """
    head, _, listed = text.partition("=")
    head, _, warm = head.partition("~")
    head, _, template = head.partition("@")
    name, _, scorer = head.partition(":")
    for what, given, allowed in (("method", name, KINDS), ("scorer", scorer, SCORERS),
                                 ("template", template, get_args(Template))):  # fmt: skip
        if given not in allowed and (given or what == "method"):
            raise UserError(f"'{text}': there is no {what} '{given}': use one of {', '.join(allowed)}")
    kind = KINDS[name]
    if scorer and kind.scorer is None:
        raise UserError(f"'{text}': {name} uses no scorer: leave out ':{scorer}'")
    if warm and not re.fullmatch(r"\d+(\.\d+)?", warm):
        raise UserError(f"'{text}': a temperature is a number of 0 or more, not '{warm}'")
    parts = [part.strip() for part in listed.split(",")] if listed else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"'{text}': budgets are whole numbers above 0 with commas between them, not '{listed}'")
    shared = budgets if kind.unit in ("samples", "paths") else ()
    own = tuple(sorted(set(map(int, parts)))) or shared or (kind.budget,)
    if warm or temperature is None:
        temperature = float(warm) if warm else kind.temperature
    return Recipe(name, scorer or kind.scorer or "", template or kind.template, temperature, own if kind.unit else (1,))


def build(recipe: Recipe, budget: int, sampling: Sampling, scorer_named: Callable[[str], Scorer]) -> Method:
    """The method with this much to spend: samples, rounds, paths or thinking tokens, as its kind counts.

    Drawn at the temperature of the recipe, up to where its template ends an answer, and else as `sampling` says. Raises
    UserError where samples would all be alike.
    """
    kind = recipe.kind
    if recipe.temperature == 0 and kind.temperature > 0 and budget > 1:
        raise UserError(f"{kind.name}: temperature 0 makes every sample alike: raise it above 0, or take one sample")
    stop = (*sampling.stop, *STOPS.get(recipe.template, ()))
    measure = sampling.measure or recipe.measures
    sampling = replace(sampling, temperature=recipe.temperature, stop=stop, measure=measure)
    if not recipe.scorer:
        return kind.build(Parts(sampling, budget, recipe.template))
    weigh = exponential if SCORERS[recipe.scorer].logarithm else proportional
    return kind.build(Parts(sampling, budget, recipe.template, scorer_named(recipe.scorer), weigh))


@contextmanager
def saying_what_needs_it(recipes: Iterable[Recipe]) -> Iterator[None]:
    """Where the model gives no log-probabilities, name those of these recipes that need them."""
    try:
        yield
    except NoLogprobs as error:
        needs = list(dict.fromkeys(recipe.needs for recipe in recipes if recipe.needs))
        raise UserError(f"{', '.join(needs)}: needs log-probabilities, but {error}, or choose a method and a scorer "
                        "that need none, such as self-consistency and heuristic") from error  # fmt: skip


def scorer_for(name: ScorerName, template: str, window: int, model: str, judge: Judge | None = None) -> Scorer:
    """The scorer of this name; the rest as in `ScorerContext`."""
    return SCORERS[name].make(ScorerContext(template, window, model, judge))


def remembered(scorer: Scorer) -> Scorer:
    """The scorer, asked once for each completion."""
    known: dict[int, tuple[Completion, float]] = {}  # by identity; kept, so that no other can take its place

    async def remembering(model: Model, problem: Problem, completion: Completion) -> float:
        if id(completion) not in known:
            known[id(completion)] = completion, await scorer(model, problem, completion)
        return known[id(completion)][1]

    return remembering
