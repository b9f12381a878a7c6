"""Which problems to ask next: the stream as it comes, or rather those that the model gets right half of the time.

A group that is all right or all wrong teaches nothing, and a problem's spread p (1 - p) says how far it is from both
(learnability; arXiv:2502.12272). The curriculum keeps the mean spread of each kind of problem, draws more candidates
than it needs, and picks those whose kind has much of it. A kind is a template of the built-in problems, a family of the
larger numbers with so many digits, or one problem of a file, which comes again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice
from random import Random

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import derive_seed
from thinkling.problem import Problem
from thinkling.scale.failures import Failure, refuse, too_long
from thinkling.tasks.benchmarks import is_file, load_problems, problem_stream

CANDIDATES = 4  # drawn for every problem that is asked
MEMORY = 10  # groups of a kind that its mean is about
FLOOR = 0.05  # the weight of a kind that has no spread: it is asked now and then, for it may have changed


class Curriculum:
    """The problems of a run, in an order that seed and past groups decide. `state` is all that must be kept of it."""

    def __init__(self, tasks: Sequence[str], seed: int, by_spread: bool, without: frozenset[str] = frozenset()) -> None:
        """without: questions that are never asked."""
        self.seed, self.by_spread, self.without = seed, by_spread, without
        sources = [source(own, seed, without) for own in tasks]
        self.problems = chain.from_iterable(zip(*sources, strict=True))  # they take turns
        self.num_drawn = 0
        self.spread: dict[str, list[float]] = {}  # of a kind: its mean, and the groups that it is from, up to MEMORY

    def ask(self, num: int) -> list[Problem]:
        if not self.by_spread:
            self.num_drawn += num
            return list(islice(self.problems, num))
        self.num_drawn += CANDIDATES * num
        return pick(list(islice(self.problems, CANDIDATES * num)), num, self.weight,
                    Random(derive_seed(self.seed, "curriculum", self.num_drawn)))  # fmt: skip

    def weight(self, problem: Problem) -> float:
        """Above 0; 1 for a kind that has not been seen yet."""
        return max(FLOOR, self.spread.get(kind_of(problem), [1.0, 0])[0])

    def learn(self, problem: Problem, pass_rate: float) -> None:
        """A group of this problem has come back."""
        mean, num = self.spread.get(kind_of(problem), [0.0, 0])
        num = min(num + 1, MEMORY)
        self.spread[kind_of(problem)] = [mean + (4 * pass_rate * (1 - pass_rate) - mean) / num, num]

    @property
    def state(self) -> dict:
        return {"num_drawn": self.num_drawn, "spread": {kind: list(known) for kind, known in self.spread.items()}}

    def resume(self, state: dict) -> None:
        """From the start of a run to where this state was."""
        next(islice(self.problems, state["num_drawn"], state["num_drawn"]), None)
        self.num_drawn, self.spread = state["num_drawn"], state["spread"]


def kind_of(problem: Problem) -> str:
    return problem.kind or problem.id


def pick(candidates: Sequence[Problem], num: int, weight: Callable[[Problem], float], random: Random) -> list[Problem]:
    """`num` of them without replacement, with probabilities by weight, in the order in which they came.

    Each gets the key u^(1 / weight) and the highest win (Efraimidis and Spirakis 2006).
    """
    keys = [random.random() ** (1 / weight(problem)) for problem in candidates]
    best = sorted(range(len(candidates)), key=lambda i: -keys[i])[:num]
    return [candidates[i] for i in sorted(best)]


def unaskable(model: LanguageModel, tasks: Iterable[str], template: str, skip: bool) -> list[Failure]:
    """The problems of the files among these tasks whose prompt does not fit into the context.

    Raises UserError that names the first, unless they may be skipped.
    """
    found = []
    for own in dict.fromkeys(tasks):
        long = too_long(model, [template], load_problems(own, "train")) if is_file(own) else []
        if not skip:
            refuse(long, own)
        found += long
    return found


def source(tasks: str, seed: int, without: frozenset[str]) -> Iterator[Problem]:
    """The problems of a source, without end. Raises UserError at once where there is no such source."""
    if is_file(tasks):
        return epochs(tasks, seed, without)
    return (problem for problem in stream(tasks, seed) if problem.question not in without)


def stream(made: str, seed: int) -> Iterator[Problem]:
    """The problems that a source makes; one that ends begins again, with another seed."""
    first = problem_stream(made, "train", f"grpo/{seed}")
    return chain(first, chain.from_iterable(problem_stream(made, "train", f"grpo/{seed}/{i}") for i in count(1)))


def epochs(path: str, seed: int, without: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """The problems of a file, again and again, each time in another order. Raises UserError at once."""
    found = [problem for problem in load_problems(path, "train") if problem.question not in without]
    if not found:
        raise UserError(f"{path}: none of its problems can be asked")
    orders = (Random(derive_seed(seed, "epoch", epoch)).sample(found, len(found)) for epoch in count())
    return chain.from_iterable(orders)
