"""From a method's name to the method: what the command line can ask for, and what each method's budget counts."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import get_args

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.openai.remote import NoLogprobs
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.beam import BeamSearch
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.budget_forcing import BudgetForcing
from thinkling.scale.cot_decoding import CoTDecoding
from thinkling.scale.deepconf import DeepConf
from thinkling.scale.direct import Direct, Method
from thinkling.scale.judge import Judge, PTrue
from thinkling.scale.names import ScorerName, Template
from thinkling.scale.refine import Refine
from thinkling.scale.reward_head import RewardHead
from thinkling.scale.scorers import ALONE, Scorer, deepconf, exponential, proportional
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency

# Logarithms, so that as the weight of a vote they are e^score. The other scores weigh what they are.
LOGARITHMS = frozenset({"mean-logprob", "sum-logprob", "answer-logprob", "p-true", "reward-head"})

# What looks at nothing but text, so that any model can do it.
TEXT_SCORERS = frozenset({"", "heuristic", "judge"})
NUMBER_METHODS = frozenset({"deepconf", "cot-decoding"})


@dataclass(frozen=True)
class Kind:
    """title: what people call it, n standing for the budget. unit: what the budget counts, "" if there is none. budget:
    its default. scorer: the default one; "" may have one but needs none, None can use none."""

    title: str
    unit: str = ""
    budget: int = 1
    temperature: float = 0.0
    template: str = "plain"
    scorer: str | None = None


KINDS: dict[str, Kind] = {
    "direct": Kind("one answer"),
    "step-by-step": Kind("one answer", template="step-by-step"),
    "self-consistency": Kind("vote of n", "samples", 8, 1.0, scorer=""),
    "adaptive": Kind("adaptive vote of at most n", "samples", 8, 1.0),
    "deepconf": Kind("DeepConf's vote of n", "samples", 8, 1.0),
    "best-of-n": Kind("best of n", "samples", 8, 1.0, scorer="mean-logprob"),
    "refine": Kind("refinement x n", "rounds", 1, scorer=""),
    "budget-forcing": Kind("cut at n tokens", "thinking tokens", 128, template="step-by-step"),
    "wait": Kind("kept thinking for n tokens", "thinking tokens", 128, template="step-by-step"),
    "beam": Kind("beam search with n paths", "paths", 8, 1.0, "step-by-step", "mean-logprob"),
    "dvts": Kind("DVTS with n paths", "paths", 8, 1.0, "step-by-step", "mean-logprob"),
    "cot-decoding": Kind("CoT-decoding with n paths", "paths", 8),
}


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
        if self.name in NUMBER_METHODS:
            return self.name
        return "" if self.scorer in TEXT_SCORERS else f"the scorer {self.scorer}"

    @property
    def measures(self) -> bool:
        """Must every completion be measured (Sampling.measure)?"""
        return self.name in NUMBER_METHODS or self.scorer == "self-certainty" or self.scorer.startswith("confidence-")

    def title(self, budget: int | None = None) -> str:
        """What people call it: "step by step, vote of 8"; without a budget "step by step, vote of n"."""
        named = self.kind.title if budget is None else re.sub(r"\bn\b", f"{budget:,}", self.kind.title)
        by = f" by {self.scorer}" if self.scorer else ""
        warm = f", T = {self.temperature:g}" if self.temperature != self.kind.temperature else ""
        return f"{self.template.replace('-', ' ')}, {named}{by}{warm}"

    def __str__(self) -> str:
        warm = f", T = {self.temperature:g}" if self.temperature != self.kind.temperature else ""
        return self.name + (f" by {self.scorer}" if self.scorer else "") + f", {self.template}{warm}"


def parse(text: str, budgets: tuple[int, ...] = ()) -> Recipe:
    """NAME[:SCORER][@TEMPLATE][~TEMPERATURE][=BUDGET,BUDGET,...] as a recipe.

    budgets: for the methods that count samples or paths and name none of their own.

    Raises UserError that names the part that is wrong.
    """
    head, _, listed = text.partition("=")
    head, _, warm = head.partition("~")
    head, _, template = head.partition("@")
    name, _, scorer = head.partition(":")
    for what, given, allowed in (("method", name, KINDS), ("scorer", scorer, get_args(ScorerName)),
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
    temperature = float(warm) if warm else kind.temperature
    return Recipe(name, scorer or kind.scorer or "", template or kind.template, temperature, own if kind.unit else (1,))


def build(recipe: Recipe, budget: int, sampling: Sampling, scorer_named: Callable[[str], Scorer]) -> Method:
    """The method with this much to spend: samples, rounds, paths or thinking tokens, as its kind counts.

    Drawn at the temperature of the recipe, and else as `sampling` says. Raises UserError where samples would all be
    alike.
    """
    template, name = recipe.template, recipe.name
    if recipe.temperature == 0 and recipe.kind.temperature > 0 and budget > 1:
        raise UserError(f"{name}: temperature 0 makes every sample alike: raise it above 0, or take one sample")
    sampling = replace(sampling, temperature=recipe.temperature)
    scorer = scorer_named(recipe.scorer) if recipe.scorer else None
    if recipe.measures:
        sampling = replace(sampling, measure=True)
    if name == "self-consistency":
        weigh = proportional if recipe.scorer and recipe.scorer not in LOGARITHMS else exponential
        return SelfConsistency(sampling, budget, template, scorer, weigh)
    if name == "adaptive":
        return AdaptiveConsistency(sampling, budget, template)
    if name == "deepconf":
        return DeepConf(sampling, budget, template=template)
    if name == "best-of-n":
        return BestOfN(sampling, scorer, budget, template)
    if name == "refine":
        return Refine(sampling, scorer, budget, template)
    if name == "budget-forcing":
        return BudgetForcing(sampling, budget, template=template)
    if name == "wait":
        return BudgetForcing(sampling, sampling.max_tokens, min_thinking=budget, template=template)
    if name in ("beam", "dvts"):
        width = min(4, budget)
        return BeamSearch(sampling, scorer, budget, width, budget // width if name == "dvts" else 1, template)
    if name == "cot-decoding":
        return CoTDecoding(sampling, budget, template)
    return Direct(sampling, template)


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
    """The scorer of this name. window: tokens in a group of DeepConf. model: whose reward head. judge: whom to ask."""
    if name.startswith("confidence-"):
        return deepconf(name.removeprefix("confidence-"), window)
    if name == "p-true":
        return PTrue(template)
    if name == "reward-head":
        return RewardHead.for_model(model)
    if name == "judge":
        if judge is None:
            raise UserError("the scorer judge needs a model to ask: name its server with --judge-server")
        return judge
    return ALONE[name]


def remembered(scorer: Scorer) -> Scorer:
    """The scorer, asked once for each completion."""
    known: dict[int, tuple[Completion, float]] = {}  # by identity; kept, so that no other can take its place

    async def remembering(model: Model, problem: Problem, completion: Completion) -> float:
        if id(completion) not in known:
            known[id(completion)] = completion, await scorer(model, problem, completion)
        return known[id(completion)][1]

    return remembering
