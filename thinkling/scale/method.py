"""What a method is, what it answers, and the row that each file of this folder has for the command line: `Kind`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.scorers import Scorer, exponential


@dataclass(frozen=True)
class Answer:
    """What a method answers to one problem, and what it cost.

    text: the response that is graded. final: the answer found in it, or None. completions: all that was sampled for it.
    rounds: where a method revises, the response as it stood after each round, the draft first.
    """

    text: str
    final: str | None
    completions: tuple[Completion, ...]
    rounds: tuple[str, ...] = ()


# Any such function, or object with `__call__`, is a method: it can be evaluated, batched, and run on any model.
Method = Callable[[Model, Problem], Awaitable[Answer]]


@dataclass(frozen=True)
class Parts:
    """What a method is built of. budget: samples, paths, rounds or thinking tokens, as its kind counts. scorer: None
    where it has none; weigh: what makes weights of votes of its scores."""

    sampling: Sampling
    budget: int
    template: str
    scorer: Scorer | None = None
    weigh: Callable[[Sequence[float]], list[float]] = exponential


@dataclass(frozen=True)
class Kind:
    """A method as the command line offers it: a row of the table in methods.py, written beside the method.

    name: as flags take it. title: what people call it, n standing for the budget. help: what it does, as the end of a
    sentence that begins with its name. build: the method from its parts. unit: what the budget counts, "" if there is
    none; budget: its default. temperature, template: the default ones. scorer: the default one; "" may have one but
    needs none, None can use none. measures: must every completion be measured (Sampling.measure)?
    """

    name: str
    title: str
    help: str
    build: Callable[[Parts], Method]
    unit: str = ""
    budget: int = 1
    temperature: float = 0.0
    template: str = "plain"
    scorer: str | None = None
    measures: bool = False
