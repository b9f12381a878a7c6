"""The scale report's pictures: accuracy against a cost with every method in it, and one small panel for each method.

Each is drawn once and comes out as inline SVG, in the page's colours, or as PNG. A method keeps its colour and marker
in all of them. Leaves out which points are on the front (frontier.py) and the page (scale_page.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from thinkling.evaluate.frontier import CostName, pareto, rivals
from thinkling.evaluate.result import Result
from thinkling.report.page import svg
from thinkling.report.palette import LIGHT, MARKERS, ON_PAGE, SERIES
from thinkling.report.plots import dress, new_axes, png, rounded, spread, ticks
from thinkling.report.scale_words import COSTS, UNITS, label

MAKER = "thinkling scale"
WIDE, NARROW, PANEL = (1000, 530), (420, 340), (210, 150)  # points; on the page a plot scales with its column
LONGEST_NAME = 56  # characters of a name beside a curve; the tables have all of it
FRONT, OTHERS = "staircase: the Pareto front", "grey: all other methods"

Look = tuple[str, str, str]  # the name of a colour, a marker, and a line style


def looks(points: Sequence[Result]) -> dict[str, Look]:
    """Colour, marker and line of each method that is on some cost's front, the tokens' first; the others are grey."""
    fronts = [point for cost in COSTS for point in pareto(points, cost)]
    names = list(dict.fromkeys(point.method for point in fronts))
    markers, lines = list(MARKERS), ("-", "--", ":")
    return {
        name: (SERIES[n % len(SERIES)], markers[n % len(markers)], lines[n // len(SERIES) % len(lines)])
        for n, name in enumerate(names)
    }


def on_front(points: Sequence[Result], cost: CostName) -> dict[str, Look]:
    """The looks of the methods on this cost's front."""
    everyone = looks(points)
    return {point.method: everyone[point.method] for point in pareto(points, cost)}


def curves(points: Sequence[Result], cost: CostName = "tokens") -> dict[str, list[Result]]:
    """The points of each method whose cost is known, by rising budget; methods as in the table, oracles last."""
    found: dict[str, list[Result]] = {}
    for point in sorted(points, key=lambda point: point.oracle):
        if getattr(point, cost) is not None:
            found.setdefault(point.method, []).append(point)
    return {name: sorted(own, key=lambda point: (point.budget or 0, point.tokens)) for name, own in found.items()}


def drawable(points: Sequence[Result], cost: CostName) -> bool:
    """Whether there is anything to draw against this cost: a method for which it is known and not nothing."""
    return any(getattr(point, cost) > 0 for point in rivals(points, cost))


def cost_svg(points: Sequence[Result], cost: CostName, wide: bool) -> str:
    """Inline SVG: accuracy against this cost; if wide, with the methods' names beside the curves."""
    axes = draw_cost(points, cost, WIDE if wide else NARROW, ON_PAGE, names=wide)
    front = ", ".join(f"{label(point)} {point.accuracy:.0%}" for point in pareto(points, cost))
    told = f"Accuracy with its 95% interval against {COSTS[cost]} per problem. The Pareto front: {front}."
    return svg(axes, f"{cost}-{'wide' if wide else 'narrow'}", told)


def cost_png(points: Sequence[Result], cost: CostName) -> bytes:
    return png(draw_cost(points, cost, WIDE, LIGHT, names=True).figure, MAKER)


def panel_svg(points: Sequence[Result], method: str, number: int) -> str:
    """Inline SVG: one method's accuracy against tokens, over the front of all."""
    axes = new_axes(PANEL, (0.17, 0.16, 0.8, 0.79), ON_PAGE)
    draw_panel(axes, points, method, ON_PAGE)
    return svg(axes, f"panel-{number}", f"Accuracy of {method} against tokens per problem.")


def panels_png(points: Sequence[Result]) -> bytes:
    """All methods' panels in one picture, three or four in a row."""
    from matplotlib.figure import Figure

    methods = list(curves(points))
    columns = min((4, 3), key=lambda number: -len(methods) % number)  # the fewest empty places
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(columns * 3.4, rows * 2.5), layout="constrained", facecolor=LIGHT["paper"])
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.08)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place < len(methods):
            draw_panel(axes, points, methods[place], LIGHT)
            axes.set_title(short(methods[place]), fontsize=8.5, color=LIGHT["ink"], loc="left", parse_math=False)
        else:
            axes.set_visible(False)
    for say, words in ((figure.supxlabel, "tokens per problem; thin: the Pareto front of all methods here"),
                       (figure.supylabel, "accuracy, with its 95% interval")):  # fmt: skip
        say(words, fontsize=10, color=LIGHT["muted"])
    return png(figure, MAKER)


def named(points: Sequence[Result], cost: CostName) -> dict[str, Result]:
    """The last point of each curve that has its name beside it: the methods on this cost's front, and the oracles."""
    chosen = on_front(points, cost)
    return {name: own[-1] for name, own in curves(points, cost).items() if name in chosen or own[0].oracle}


def draw_cost(
    points: Sequence[Result], cost: CostName, size: tuple[int, int], ink: Mapping[str, str], names: bool
) -> Any:
    """The axes of the whole picture. ink: the colour of each role; names: write the methods' names beside them."""
    font = 12.5 if names else 11.5
    shown = named(points, cost) if names else {}
    gutter = 46 + 0.6 * font * max(map(len, map(short, [*shown, FRONT]))) if names else 8  # points right of the axes
    left, bottom, top = 3.6 * font, 3.6 * font, 2 * font
    width, height = size[0] - left - gutter, size[1] - bottom - top
    box = (left / size[0], bottom / size[1], width / size[0], height / size[1])
    axes = new_axes(size, box, ink)
    place, chosen = _place(points, cost), on_front(points, cost)
    _dress(axes, points, cost, ink, font)
    for method, own in curves(points, cost).items():
        xs, ys = [place(point) for point in own], [point.accuracy for point in own]
        if own[0].oracle:
            axes.plot(xs, ys, ":", color=ink["muted"], linewidth=1.8, zorder=3)
        elif method not in chosen:
            marker = {"marker": "o", "markersize": 2.6 if len(own) > 1 else 4}
            axes.plot(xs, ys, color=ink["muted"], alpha=0.4, linewidth=0.8, zorder=1, **marker)
        else:
            colour, marker, line = chosen[method]
            lows, highs = [point.low for point in own], [point.high for point in own]
            axes.fill_between(xs, lows, highs, color=ink[colour], alpha=0.09, linewidth=0, zorder=2)
            if len(own) == 1:
                axes.vlines(xs, lows, highs, color=ink[colour], alpha=0.35, linewidth=2.5, zorder=2)
            style = {"marker": marker, "markersize": MARKERS[marker][1], "markeredgecolor": ink["paper"]}
            axes.plot(xs, ys, line, color=ink[colour], linewidth=1.8, zorder=5, markeredgewidth=0.7, **style)
    _draw_front(axes, points, cost, ink["ink"], 2.2)
    if names:
        _say_budgets(axes, points, cost, ink)
        _name_curves(axes, points, cost, shown, ink, font)
    return axes


def draw_panel(axes: Any, points: Sequence[Result], method: str, ink: Mapping[str, str]) -> None:
    """One method's curve with its band, over the front of all."""
    own, place = curves(points)[method], _place(points, "tokens")
    _dress(axes, points, "tokens", ink, 10, panel=True)
    _draw_front(axes, points, "tokens", ink["muted"], 1.2)
    colour, marker, line = looks(points).get(method, ("muted" if own[0].oracle else "ink", "o", "-"))
    xs, lows, highs = [place(point) for point in own], [point.low for point in own], [point.high for point in own]
    axes.fill_between(xs, lows, highs, color=ink[colour], alpha=0.16, linewidth=0)
    if len(own) == 1:
        axes.vlines(xs, lows, highs, color=ink[colour], alpha=0.35, linewidth=2.5)
    style = {"marker": marker, "markersize": 0.75 * MARKERS[marker][1], "markeredgewidth": 0}
    shares = [point.accuracy for point in own]
    axes.plot(xs, shares, ":" if own[0].oracle else line, color=ink[colour], linewidth=1.8, **style)


def short(name: str) -> str:
    name = name.encode("utf-8", "replace").decode("utf-8")
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _place(points: Sequence[Result], cost: CostName) -> Any:
    """From a point to its x. What costs nothing has no place on a logarithmic axis: it stands at half the least."""
    known = [getattr(point, cost) for point in points if getattr(point, cost) is not None]
    least = min((value for value in known if value > 0), default=1.0)
    return lambda point: max(getattr(point, cost), least / 2) / UNITS[cost]


def _dress(axes: Any, points: Sequence[Result], cost: CostName, ink: Mapping[str, str], font: float,
           panel: bool = False) -> None:  # fmt: skip
    """Scales, limits, ticks, grid and titles: the same for all pictures of one cost."""
    from matplotlib.ticker import FixedLocator, MultipleLocator, NullLocator

    place = _place(points, cost)
    costs = [place(point) for point in points if getattr(point, cost) is not None]
    room = max((max(costs) / min(costs)) ** 0.03, 1.15)
    left, right = min(costs) / room, max(costs) * room
    low, high = min(point.low for point in points), max(point.high for point in points)
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if (high - low) / step <= (3 if panel else 7) or step == 0.2)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(max(0, low - 0.02), min(1.005, high + 0.02))
    axes.xaxis.set_major_locator(FixedLocator(ticks(left, right, 3 if panel else 9)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: rounded(value))
    axes.yaxis.set_major_locator(MultipleLocator(step))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    dress(axes, ink, font, "" if panel else f"{COSTS[cost]} per problem", "" if panel else "accuracy")


def _draw_front(axes: Any, points: Sequence[Result], cost: CostName, colour: str, width: float) -> None:
    """The front as a staircase: at each cost, the best accuracy that it buys."""
    front, place = pareto(points, cost), _place(points, cost)
    if front:
        xs, ys = [place(point) for point in front], [point.accuracy for point in front]
        axes.plot([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], color=colour, linewidth=width, alpha=0.75, zorder=4,
                  drawstyle="steps-post", solid_joinstyle="miter", solid_capstyle="butt")  # fmt: skip


def _say_budgets(axes: Any, points: Sequence[Result], cost: CostName, ink: Mapping[str, str]) -> None:
    """Above each point of the front, its budget, where there is room for it."""
    place, last = _place(points, cost), (0.0, 0.0)
    for point in pareto(points, cost):
        x, y = axes.transData.transform((place(point), point.accuracy))
        if point.budget is not None and (x - last[0] > 45 or y - last[1] > 14):
            axes.annotate(f"n = {point.budget:,}", (place(point), point.accuracy), (-3, 7), textcoords="offset points",
                          ha="right", fontsize=10, color=ink["ink"], zorder=6)  # fmt: skip
            last = x, y


def _name_curves(
    axes: Any,
    points: Sequence[Result],
    cost: CostName,
    shown: Mapping[str, Result],
    ink: Mapping[str, str],
    font: float,
) -> None:
    """The names in a column right of the axes, each led to from its curve's end; under them, what is grey."""
    chosen, place = on_front(points, cost), _place(points, cost)
    to_points, back = axes.transData.transform, axes.transData.inverted().transform
    ends = [tuple(to_points((place(point), point.accuracy))) for point in shown.values()]
    box = axes.bbox
    heights = spread([y for _, y in ends], 1.5 * font, box.y0 + 4 * font, box.y1)
    marks, knee = box.x1 + 30, box.x1 + 6

    def entry(name: str, height: float, colour: str, marker: str, line: str) -> None:
        """A short piece of the curve, and its name."""
        style = {"marker": marker, "markersize": 1.1 * MARKERS[marker][1]} if marker else {}
        ends = back([(marks - 11, height), (marks, height), (marks + 11, height)])
        style |= {"linewidth": 2.2 if colour == "ink" else 1.8 if marker else 1.2}
        axes.plot(*zip(*ends, strict=True), line, color=ink[colour], clip_on=False, markevery=[1], markeredgewidth=0,
                  **style)  # fmt: skip
        where = back((marks + 16, height))
        axes.text(*where, short(name), fontsize=font, color=ink["ink" if marker else "muted"],
                  va="center_baseline", parse_math=False)  # fmt: skip

    for name, (x, y), height in zip(shown, ends, heights, strict=True):
        colour, marker, line = chosen.get(name, ("muted", "", ":"))
        lead = back([(x, y), (max(x, knee), y), (marks - 13, height)])
        axes.plot(*zip(*lead, strict=True), color=ink[colour], linewidth=0.9, alpha=0.7, zorder=0, clip_on=False,
                  linestyle=(0, (1, 3)))  # fmt: skip
        entry(name, height, colour, marker, line)
    rest = [(FRONT, "ink")] + [(OTHERS, "muted")] * bool(set(curves(points, cost)) - set(shown))
    for row, (name, colour) in enumerate(reversed(rest)):
        entry(name, box.y0 + (0.5 + 1.5 * row) * font, colour, "", "-")
