"""What each point of accuracy costs, in the terminal: every row, the cheapest way to each accuracy, the steps.

Leaves out what can be said of the points (frontier.py), the words for it (scale_words.py) and the page
(scale_page.py).
"""

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from thinkling.evaluate.frontier import cheapest, check_measured, pareto, round_targets, steps_of
from thinkling.evaluate.result import Result
from thinkling.report import scale_words as words
from thinkling.report.scale_plots import curves
from thinkling.report.scale_words import COSTS
from thinkling.report.tables import MUCH_TRUNCATED

LOUD = {"clear": "bold green", "hint": "yellow", "unsure": "dim"}


def terminal(points: Sequence[Result]) -> list[RenderableType]:
    """The full table, the cheapest way to each accuracy, and the steps along the front; for 80 columns and more.

    Raises UserError if there is no method among the points.
    """
    check_measured(points)
    rows, ways, steps = _all_rows(points), _ways(points), _steps(points)
    return [rows, *([ways] if ways.row_count else []), *([steps] if steps else [])]


def _all_rows(points: Sequence[Result]) -> Text:
    """Not a rich table, for a method's name has a line of its own: in a column it would crowd out the numbers."""
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
    drawn.append(
        f"{num:,} problems; in brackets, the 95% interval. {words.marks_explained(fronts)}\n", style="dim italic"
    )
    return drawn


def _ways(points: Sequence[Result]) -> Table:
    drawn = Table(title="Cheapest way to reach", title_justify="left", box=box.SIMPLE_HEAD)
    for header in ("accuracy", "by", "measured", "tokens"):
        drawn.add_column(header, justify="left" if header == "by" else "right", no_wrap=header != "by")
    for goal in cheapest(points, round_targets(pareto(points))):
        measured = words.accuracy(goal.point) + (" ✓" if goal.sure else "  ")
        drawn.add_row(f"{goal.target:.0%}", Text(words.label(goal.point)), Text(measured),
                      words.amount(goal.point, "tokens"))  # fmt: skip
    drawn.caption, drawn.caption_justify = "✓ its whole 95% interval reaches there.", "left"
    return drawn


def _steps(points: Sequence[Result]) -> Text:
    steps, whole = steps_of(points)
    drawn = Text()
    if not steps:
        return drawn
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
    return drawn.append(f"{words.how_tested(len(steps))} {words.CAUTION}\n", style="dim italic")
