"""The numbers of the scale report as words: a point's name, what a step gains, whether it is worth it.

Plain text, or HTML where the name says so. Leaves out the terminal's tables (scale_terminal.py) and the page
(scale_page.py).
"""

import re
from collections.abc import Mapping, Sequence

from thinkling.evaluate.frontier import CostName, FrontierStep, Reached, pareto, rivals
from thinkling.evaluate.result import Result
from thinkling.report.page import safe
from thinkling.report.tables import interval
from thinkling.words import counted

COSTS: dict[CostName, str] = {"tokens": "tokens", "seconds": "seconds", "flops": "GFLOPs"}
UNITS: dict[CostName, float] = {"tokens": 1, "seconds": 1, "flops": 1e9}
CAUTION = (
    "The front was picked by looking at these very problems, so it flatters itself a little, most where many methods "
    "lie close together: measure on fresh problems what you mean to rely on."
)

ORACLE = (
    "pass@n is what a perfect judge would choose from n samples; it needs to know the answers: a bound, not a method."
)


def label(point: Result) -> str:
    """The method at its budget: "plain, vote of 8" for "plain, vote of n", else "vote · 8 samples"."""
    if point.budget is None:
        return point.method
    named = re.sub(r"\bn\b", f"{point.budget:,}", point.method)
    return named if named != point.method else f"{point.method} · {budget(point)}"


def budget(point: Result) -> str:
    if point.budget is None:
        return ""
    unit = point.unit.removesuffix("s") if point.budget == 1 else point.unit
    return f"{point.budget:,} {unit}".rstrip()


def number(value: float) -> str:
    """Three digits, or all of a whole number: 1,234, 56.7, 0.0123; "<0.001" for less."""
    if value == 0 or value >= 99.95:
        return f"{value:,.0f}"
    for least, digits in ((9.995, 1), (0.9995, 2), (0.09995, 3), (0.001, 4)):
        if value >= least:
            return f"{value:.{digits}f}"
    return "<0.001"


def amount(point: Result, cost: CostName) -> str:
    value = getattr(point, cost)
    return "" if value is None else number(value / UNITS[cost])


def accuracy(point: Result) -> str:
    return f"{point.accuracy:.1%} {interval(point.low, point.high)}"


def span(goals: Sequence[Reached]) -> str:
    """The targets of these goals, which rise: "50%", "50% to 70%"."""
    first, last = goals[0].target, goals[-1].target
    return f"{first:.0%}" if first == last else f"{first:.0%} to {last:.0%}"


def sure(goals: Sequence[Reached]) -> str:
    """Whether the whole interval of the point that reaches all of these reaches them too: "✓", "✓ to 60%" or ""."""
    reached = [goal.target for goal in goals if goal.sure]
    return "✓" if len(reached) == len(goals) else f"✓ to {reached[-1]:.0%}" if reached else ""


def known_costs(points: Sequence[Result]) -> list[CostName]:
    return [cost for cost in COSTS if any(getattr(point, cost) is not None for point in points)]


def fronts(points: Sequence[Result]) -> dict[CostName, set[int]]:
    """The points, by identity, on the front of each cost that is known."""
    return {cost: {id(point) for point in pareto(points, cost)} for cost in COSTS if rivals(points, cost)}


def marks(point: Result, fronts: Mapping[CostName, set[int]]) -> str:
    """On which fronts it is: "T S F"."""
    return " ".join(cost[0].upper() for cost, front in fronts.items() if id(point) in front)


def marks_explained(fronts: Mapping[CostName, set[int]]) -> str:
    listed = ", ".join(f"{cost[0].upper()} in {COSTS[cost]}" for cost in fronts)
    return f"front: nothing else that costs no more is as accurate ({listed})."


def gain(step: FrontierStep) -> str:
    return f"{100 * step.difference:+.1f} {interval(step.low, step.high)}"


def times(before: float, after: float) -> str:
    """How many times as much: "1.9x", "31x"; a dash if it was nothing before."""
    if before <= 0:
        return "–"
    ratio = after / before
    return f"{ratio:,.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x" if ratio >= 1.095 else f"{ratio:.2f}x"


def price(step: FrontierStep) -> str:
    """More tokens per problem for each point of accuracy."""
    if step.difference <= 0:
        return "–"
    return number((step.after.tokens - step.before.tokens) / (100 * step.difference))


def p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.0995 else f"{value:.2f}"


def verdict(step: FrontierStep) -> str:
    """ "clear" if it would be below 5% even for so many steps at once; "hint" if only alone; else "unsure"."""
    return "clear" if step.adjusted < 0.05 else "hint" if step.p_value < 0.05 else "unsure"


def how_tested(num_steps: int) -> str:
    asked = "one step" if num_steps == 1 else f"{num_steps} steps at once"
    return (
        "Points of accuracy gained, with the 95% interval for the same problems (Tango's score interval). p: how often "
        f"two equal methods would differ this much (exact McNemar test); Holm's p allows for asking about {asked}. "
        "clear: below 0.05 by Holm. hint: below 0.05 alone. unsure: it may be chance."
    )


def headline_html(points: Sequence[Result]) -> str:
    """What more compute bought, in one sentence: the cheapest point against the most accurate one."""
    front = pareto(points)
    first, best = front[0], front[-1]
    start = (
        f"Of {counted(first.num_problems, 'problem')}, <b>{safe(label(first))}</b> solves <b>{first.accuracy:.1%}</b> "
        f"with {number(first.tokens)} tokens each"
    )
    if best is first:
        return f"{start}, and nothing dearer does better."
    more = times(first.tokens, best.tokens).removesuffix("x")
    cost = f"with {more} times the tokens" if first.tokens > 0 else f"with {number(best.tokens)} tokens"
    return f"{start}; <b>{safe(label(best))}</b> solves <b class=best>{best.accuracy:.1%}</b>, {cost}."


def step_html(step: FrontierStep, num_steps: int) -> str:
    """One step in a sentence."""
    more, holm = times(step.before.tokens, step.after.tokens), ""
    if num_steps > 1:
        holm = f" ({p_value(step.adjusted)} among {num_steps} steps)"
    cost = f"{more.removesuffix('x')} times the tokens" if more != "–" else f"{number(step.after.tokens)} tokens"
    each = f": {price(step)} more per problem for each point" if step.difference > 0 else ""
    says = {"clear": "a clear gain", "hint": "a hint of a gain", "unsure": "it may be chance"}[verdict(step)]
    value = p_value(step.p_value)
    return (
        f"<b>{100 * step.difference:+.1f} points</b> {interval(step.low, step.high)} for <b>{cost}</b>{each}. "
        f"It solves {step.gained:,} that the other misses, and misses {step.lost:,} that the other solves; "
        f"p {value if value[0] == '<' else '= ' + value}{holm}: <b class={verdict(step)}>{says}</b>."
    )
