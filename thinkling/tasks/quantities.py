"""Problems over a random graph of quantities, after iGSM (Ye et al., arXiv:2407.20311): nothing to know by heart.

Some named quantities: each is a number, or so many more, fewer, times as many or a part of another, or two together,
or the difference of two. The sentences are shuffled, some are not needed, one quantity is asked for. The solution
states only the needed ones, each behind those it is made from, one line each; their number is the difficulty. All
values are whole and between 2 and 99.

  train       2 to 7 steps; question hashes to the training side
  held-out    the same, on the other side: structures never seen
  longer      8 to 10 steps, on that other side too
  rephrased   2 to 7 steps, every sentence put in a way that the other splits never use

The suite `longer-quantities` is of 8 to 10 steps throughout: its split train is what a model can learn them from, its
held-out is `longer`.

Left out: rounding, rates, anything that needs knowledge of the world. The English is in `scenes.py`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from thinkling.errors import UserError
from thinkling.problem import Problem, is_held_out
from thinkling.tasks import scenes

SPLITS = ("train", "held-out", "longer", "rephrased")
STEPS = {"quantities": (2, 7), "longer-quantities": (8, 10)}  # the fewest and the most of each suite
LARGEST = 99
SIGNS = {"more": "+", "fewer": "-", "times": "*", "part": "/", "sum": "+", "difference": "-"}


@dataclass(frozen=True)
class Relation:
    """How a quantity is made: kind given, more, fewer, times, part, sum or difference; the quantities it is made from,
    by place; its number, 0 for sum and difference."""

    kind: str
    sources: tuple[int, ...]
    number: int


@dataclass(frozen=True)
class Step:
    """A needed quantity. Left and right are numbers, or steps before (as ~place); sign is "" for a given number, its
    left."""

    label: str
    sign: str
    left: int
    right: int


@dataclass(frozen=True)
class Made:
    """A problem with what it was made from; the last step is asked for."""

    question: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Line:
    """A line of a solution: of which step, and whether it works its value out or only says what it is made from."""

    place: int
    worked: bool


def stream(split: str, seed: str, suite: str = "quantities") -> Iterator[Problem]:
    """Problems of a split without end; a question may come again."""
    for made in made_stream(split, seed, suite=suite):
        digest = hashlib.sha256(made.question.encode()).hexdigest()
        solution, answer = "\n".join(lines(made.steps)), str(results(made.steps)[-1])
        kind, level = f"quantities/{len(made.steps)}", {"level": len(made.steps)}  # reports have a row for each level
        yield Problem(f"quantities/{digest[:12]}", made.question, answer, "quantities", solution, kind, metadata=level)


def made_stream(split: str, seed: str, shares: tuple[int, ...] = (), suite: str = "quantities") -> Iterator[Made]:
    """The same problems, before they are written down. shares: how often each number of steps comes, else equal."""
    splits = SPLITS if suite == "quantities" else SPLITS[:2]
    if split not in splits:
        raise UserError(f"unknown split '{split}' of {suite}: use one of {', '.join(splits)}")
    if (suite, split) == ("quantities", "longer"):
        suite, split = "longer-quantities", "held-out"
    random = Random(f"{suite}/{split}/{seed}")
    fewest, most = STEPS[suite]
    numbers = range(fewest, most + 1)
    while True:
        made = make(random, random.choices(numbers, shares or None)[0], split == "rephrased")
        held_out = is_held_out(hashlib.sha256(made.question.encode()).hexdigest())
        if split == "rephrased" or held_out == (split != "train"):
            yield made


def make(random: Random, num_steps: int, unseen: bool = False) -> Made:
    """One problem of so many steps; `unseen`: in the words of `rephrased`."""
    relations, values = None, []
    while relations is None:
        relations, values = _needed(random, num_steps)
    root = relations[-1]
    asks_both = root.kind in ("sum", "difference") and random.random() < 0.5
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))):
        found = _relation(random, random.choice(KINDS), values, _sources(random, list(range(len(values)))))
        if found is not None:
            relations.append(found[0])
            values.append(found[1])
    if asks_both:  # nothing may be made from what has no name
        relations = [r for r in relations if num_steps - 1 not in r.sources]
        relations = [r for r in relations if max(r.sources, default=0) < num_steps]
    things = scenes.things(random, len(relations))
    told = [
        scenes.sentence(random, r.kind, r.number, things[i], [things[s] for s in r.sources], unseen)
        for i, r in enumerate(relations) if not (asks_both and i == num_steps - 1)
    ]  # fmt: skip
    random.shuffle(told)
    sources = [things[s] for s in root.sources]
    told.append(scenes.question(random, root.kind, None if asks_both else things[num_steps - 1], sources, unseen))
    labels = [thing.label for thing in things]
    if asks_both:
        labels[num_steps - 1] = "together" if root.kind == "sum" else "difference"
    return Made(" ".join(told), _steps(relations, labels, num_steps - 1))


# --- the graph -----------------------------------------------------------------------------------------------------

KINDS = ("given", "more", "more", "fewer", "fewer", "times", "part", "sum", "difference")


def _needed(random: Random, num_steps: int) -> tuple[list[Relation] | None, list[int]]:
    """Relations of which the last needs every other one, and their values; None if the numbers did not come out."""
    relations: list[Relation] = []
    values: list[int] = []
    unused: list[int] = []
    for place in range(num_steps):
        left = num_steps - 1 - place  # relations to come; each can use up one more than it adds
        found = None
        for _ in range(20):
            kind = random.choice(KINDS)
            sources = _sources(random, unused) if random.random() < 0.85 else _sources(random, list(range(place)))
            relation = _relation(random, kind, values, sources)
            if relation is None:
                continue
            open_now = [u for u in unused if u not in relation[0].sources]
            if len(open_now) <= left and (left or not open_now):
                found = relation
                break
        if found is None:
            return None, []
        relations.append(found[0])
        values.append(found[1])
        unused = [*open_now, place]
    return relations, values


def _sources(random: Random, places: list[int]) -> list[int]:
    """Two different ones, in any order; fewer where there are fewer."""
    if len(places) < 2:
        return places
    first, second = int(random.random() * len(places)), int(random.random() * (len(places) - 1))
    return [places[first], places[second + (second >= first)]]


def _relation(random: Random, kind: str, values: list[int], sources: list[int]) -> tuple[Relation, int] | None:
    """A relation of this kind with its value, or None where no number fits."""
    if kind == "given":
        value = random.randint(2, random.choice((20, 50, LARGEST)))
        return Relation(kind, (), value), value
    if not sources or (kind in ("sum", "difference") and len(sources) < 2):
        return None
    first = values[sources[0]]
    number, chosen = 0, tuple(sources[:1])
    if kind in ("sum", "difference"):
        chosen = tuple(sources)
        value = first + values[sources[1]] if kind == "sum" else first - values[sources[1]]
    elif kind in ("more", "fewer"):
        most = LARGEST - first if kind == "more" else first - 2
        if most < 1:
            return None
        number = random.randint(1, min(most, random.choice((10, 30, 60))))
        value = first + number if kind == "more" else first - number
    else:
        fitting = [k for k in range(2, 6) if (first * k <= LARGEST if kind == "times" else first % k == 0)]
        if not fitting:
            return None
        number = random.choice(fitting)
        value = first * number if kind == "times" else first // number
    return (Relation(kind, chosen, number), value) if 2 <= value <= LARGEST else None


# --- the solution --------------------------------------------------------------------------------------------------


def _steps(relations: list[Relation], labels: list[str], root: int) -> tuple[Step, ...]:
    """Depth first from what is asked for: every quantity right behind the last of those it is made from."""
    order: list[int] = []

    def visit(place: int) -> None:
        for source in relations[place].sources:
            if source not in order:
                visit(source)
        order.append(place)

    visit(root)
    steps = []
    for place in order:
        relation = relations[place]
        refs = [~order.index(source) for source in relation.sources]
        sign = SIGNS.get(relation.kind, "")
        both = [relation.number, refs[0]] if relation.kind == "times" else [*refs, relation.number][:2]
        steps.append(Step(labels[place], sign, both[0], both[1] if sign else 0))
    return tuple(steps)


def order(steps: tuple[Step, ...]) -> list[Line]:
    """The lines of a solution from the last step, the one asked for."""
    found: list[Line] = []

    def visit(place: int) -> None:
        step = steps[place]
        if step.sign:
            found.append(Line(place, False))
            for side in (step.left, step.right):
                if side < 0 and Line(~side, True) not in found:
                    visit(~side)
        found.append(Line(place, True))

    visit(len(steps) - 1)
    return found


def operands(step: Step, values: list[int]) -> tuple[int, int]:
    """The two numbers of a step, given the results of the lines before."""
    left, right = (values[~side] if side < 0 else side for side in (step.left, step.right))
    return left, right


def apply(sign: str, left: int, right: int) -> int | None:
    """None where the result is negative or no whole number."""
    if sign == "/":
        return left // right if right and left % right == 0 else None
    result = {"": left, "+": left + right, "-": left - right, "*": left * right}[sign]
    return result if result >= 0 else None


def results(steps: tuple[Step, ...]) -> list[int]:
    values: list[int] = []
    for step in steps:
        values.append(apply(step.sign, *operands(step, values)))
    return values


def lines(steps: tuple[Step, ...]) -> list[str]:
    values = results(steps)
    return write(steps, [(*operands(step, values), value) for step, value in zip(steps, values, strict=True)])


def write(steps: tuple[Step, ...], numbers: list[tuple[int, int, int]]) -> list[str]:
    """The lines, given each step's two numbers and its result."""
    found = [
        worked(steps[own.place], *numbers[own.place]) if own.worked else relation(steps[own.place], steps)
        for own in order(steps)
    ]
    return [text[0].upper() + text[1:] for text in found]


def relation(step: Step, steps: tuple[Step, ...]) -> str:
    """What a sentence says of a quantity that is made from others."""
    left, right = (steps[~side].label if side < 0 else side for side in (step.left, step.right))
    return f"{step.label} = {left} {step.sign} {right}"


def worked(step: Step, left: int, right: int, value: int) -> str:
    return f"{step.label} = {left} {step.sign} {right} = {value}" if step.sign else f"{step.label} = {value}"
