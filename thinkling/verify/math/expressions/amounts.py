"""Amounts: a sum with a currency before it, a unit behind it, or several units, `2 hours 30 minutes` and `60° 30'`.

Each rule takes the parser (grammar.py), reads on from its place, and gives a node. Which words are units stands in
quantities/.
"""

from fractions import Fraction

from thinkling.verify.math.expressions.build import expression, negated, number
from thinkling.verify.math.expressions.parsing import Parsing
from thinkling.verify.math.expressions.tokens import NotMathematics
from thinkling.verify.math.expressions.tree import Apply, Number, Quantity
from thinkling.verify.math.quantities.units import factor

_OF_A_DEGREE = {"minute": Fraction(1, 60), "second": Fraction(1, 3600)}  # behind degrees they are no times


def side(parser: Parsing) -> object:
    sign = parser.take().kind if parser.kind in ("+", "-") and parser.ahead(1).kind == "$" else ""
    currency = parser.take().text.removeprefix("\\") if parser.kind == "$" else ""
    node = parser.sum()
    node = negated(node) if sign == "-" else node
    if parser.kind in ("unit", "$"):
        unit = parser.take().text.removeprefix("\\")
        if currency:
            unit = _priced(currency, unit)
        return _with_smaller(parser, Quantity(expression(node), unit))
    if currency:
        return Quantity(expression(node), currency)
    return _with_smaller(parser, _quantity(node))


def together(items: list, joins: set[str]) -> Quantity | None:
    """`2 hours and 30 minutes` and `5 feet, 6 inches` as one quantity; None for all that is a list."""
    if len(items) != 2 or not all(isinstance(item, Quantity) for item in items) or not joins <= {"and", ","}:
        return None
    times, parts = _part(*items), items[1].expression
    if times is None or times >= 1 or ("," in joins and items[0].unit == "°" and items[1].unit in _OF_A_DEGREE):
        return None
    small = isinstance(parts, Number) and parts.value * times < 1
    return _total(*items) if small or joins == {"and"} else None


def _with_smaller(parser: Parsing, node: object) -> object:
    while isinstance(node, Quantity) and parser.kind == "number":
        digits, sign = parser.take().text, parser.kind
        if sign not in ("unit", "'"):
            raise NotMathematics("a number directly after a unit")
        node = _total(node, Quantity(number(digits), parser.take().text))
    return node


def _total(first: Quantity, second: Quantity) -> Quantity:
    """`2 hours` and `30 minutes` in the larger unit. Raises NotMathematics where the second is no part of the first."""
    times, numbers = _part(first, second), (first.expression, second.expression)
    if times is None or times >= 1 or not all(isinstance(part, Number) for part in numbers):
        raise NotMathematics("two quantities side by side")
    value = abs(numbers[0].value) + numbers[1].value * times
    return Quantity(Number(-value if numbers[0].value < 0 else value), first.unit)


def _part(first: Quantity, second: Quantity) -> Fraction | None:
    """How much of the first one's unit the second one's is; None where it is none of it."""
    if first.unit == "°" and second.unit in _OF_A_DEGREE:
        return _OF_A_DEGREE[second.unit]
    return factor(second.unit, first.unit)


def _quantity(node: object) -> object:
    """A lone percent or degree sign is a unit; inside a calculation (`\\sin 30°`) it stays a factor."""
    match node:
        case Apply("°" | "%" as unit, (inside,)):
            return Quantity(inside, unit)
        case Apply("neg", (Apply("°" | "%" as unit, (inside,)),)):
            return Quantity(negated(inside), unit)
    return node


def _priced(currency: str, unit: str) -> str:
    """The unit of `$12 each`, `$5 per day`, `$18 dollars`. Raises NotMathematics where the two do not go together."""
    if unit == currency or unit in ("in total", "total", "altogether", "each", "only", "overall"):
        return currency
    if unit.startswith("per "):
        return f"{currency} {unit}"
    raise NotMathematics(f"a currency sign and the unit {unit!r}")
