"""What each point of accuracy costs, in the terminal: every row, the cheapest way to each accuracy, the steps.

Leaves out what can be said of the points (frontier.py), the words for it (scale_words.py) and the page
(scale_page.py).
"""

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import RenderableType
from rich.text import Text

from thinkling.evaluate.frontier import FrontierStep, cheapest, check_measured, pareto, round_targets, steps_of
from thinkling.evaluate.result import Result
from thinkling.report import scale_words as words
from thinkling.report.scale_plots import curves
from thinkling.report.scale_words import COSTS
from thinkling.report.tables import MUCH_TRUNCATED, Either, Sheet
from thinkling.words import counted

LOUD = {"clear": "bold green", "hint": "yellow", "unsure": "dim"}


def terminal(points: Sequence[Result]) -> list[RenderableType]:
    """The full table, the cheapest way to each accuracy, and the steps along the front; in any width.

    Raises UserError if there is no method among the points.
    """
    check_measured(points)
    rows, ways, steps = _all_rows(points), _ways(points), _steps(points)
    return [rows, *([ways] if ways.rows else []), *([steps] if steps else [])]


def _all_rows(points: Sequence[Result]) -> Either:
    """Not one rich table, for a method's name has a line of its own: in a column it would crowd out the numbers."""
    fronts, known = words.fronts(points), words.known_costs(points)
    width = max(10, *(len(words.budget(point)) for point in points))
    heads = [f"{'budget':>{width}}{'accuracy':>21}", *(f"{COSTS[cost]:>8}" for cost in known), " cut off  front\n"]
    drawn = Text()
    drawn.append("What each point costs, per problem\n", style="italic").append("".join(heads), style="bold")
    for name, own in curves(points).items():
        drawn.append(f"{name}\n", style="bold cyan")
        for point in own:
            drawn.append(f"{words.budget(point):>{width}}{words.accuracy(point):>21}")
            drawn.append("".join(f"{words.amount(point, cost):>8}" for cost in known))
            drawn.append(f"{point.truncated:>8.1%}", style="bold red" if point.truncated > MUCH_TRUNCATED else "")
            drawn.append(f"  {words.marks(point, fronts)}".rstrip() + "\n", style="bold green")
    num = max(point.num_problems for point in points)
    note = f"{counted(num, 'problem')}; in brackets, the 95% interval. {words.marks_explained(fronts)}"
    if any(point.oracle for point in points):
        note += f" {words.ORACLE}"
    drawn.append(f"{note}\n", style="dim italic")
    headers = ("point", "accuracy", *(COSTS[cost] for cost in known), "cut off", "front")
    stacked = [
        (Text(words.label(point), "bold cyan"), words.accuracy(point), *(words.amount(point, cost) for cost in known),
         f"{point.truncated:.1%}", words.marks(point, fronts))
        for own in curves(points).values() for point in own
    ]  # fmt: skip
    return Either(
        _needs(drawn), drawn, Sheet(headers, stacked, title="What each point costs, per problem", caption=note)
    )


def _needs(drawn: Text) -> int:
    """Cells for its numbers to stand in columns. Names and notes may be broken."""
    return max(len(line) for line in drawn.plain.split("\n") if line.startswith(" "))


def _ways(points: Sequence[Result]) -> Sheet:
    """A row for each point that is the cheapest way to one accuracy or to several."""
    rows = []
    for point, found in groupby(cheapest(points, round_targets(pareto(points))), lambda goal: goal.point):
        goals = list(found)
        rows.append(
            (words.span(goals), words.label(point), words.accuracy(point), words.sure(goals),
             words.amount(point, "tokens"))
        )  # fmt: skip
    return Sheet(("accuracy", "by", "measured", "", "tokens"), rows, left=(0, 1, 3), title="Cheapest way to reach",
                 caption="✓ its whole 95% interval reaches there.", border=box.SIMPLE_HEAD)  # fmt: skip


def _steps(points: Sequence[Result]) -> Either | None:
    steps, whole = steps_of(points)
    drawn = Text()
    if not steps:
        return None
    heads = f"{'points gained':>31}{'tokens':>9}{'per point':>11}{'p':>9}{'Holm':>8}\n"
    drawn.append("Is the next step worth it?\n", style="italic").append(heads, style="bold")
    drawn.append(f"from {words.label(steps[0].before)}\n", style="bold cyan")
    drawn.append(f"{words.amount(steps[0].before, 'tokens'):>40}\n")
    for step in steps + whole:
        says, holm = words.verdict(step), "" if step in whole else words.p_value(step.adjusted)
        drawn.append("all steps together\n" if step in whole else f"to {words.label(step.after)}\n", style="bold cyan")
        drawn.append(f"{words.gain(step):>31}{words.times(step.before.tokens, step.after.tokens):>9}")
        drawn.append(f"{words.price(step):>11}{words.p_value(step.p_value):>9}{holm:>8}")
        drawn.append(f"  {says}\n", style=LOUD[says])
    note = f"{words.how_tested(len(steps))} {words.CAUTION}"
    drawn.append(f"{note}\n", style="dim italic")
    return Either(_needs(drawn), drawn, _stacked_steps(steps, whole, note))


def _stacked_steps(steps: Sequence[FrontierStep], whole: Sequence[FrontierStep], note: str) -> Sheet:
    first = steps[0].before
    rows = [(Text(f"from {words.label(first)}", "bold cyan"), "", words.amount(first, "tokens"), "", "", "", "")]
    for step in (*steps, *whole):
        name = "all steps together" if step in whole else f"to {words.label(step.after)}"
        says = words.verdict(step)
        rows.append((
            Text(name, "bold cyan"), words.gain(step), words.times(step.before.tokens, step.after.tokens),
            words.price(step), words.p_value(step.p_value), "" if step in whole else words.p_value(step.adjusted),
            Text(says, LOUD[says]),
        ))  # fmt: skip
    headers = ("step", "points gained", "tokens", "per point", "p", "Holm", "")
    return Sheet(headers, rows, title="Is the next step worth it?", caption=note)
