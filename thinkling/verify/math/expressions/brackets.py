"""What stands in brackets: groups, tuples, intervals, absolute values, floors, and sets with and without a condition.

Each rule takes the parser (grammar.py), reads on from its place, and gives a node.
"""

from fractions import Fraction
from itertools import pairwise

import thinkling.verify.math.expressions.build as build
import thinkling.verify.math.expressions.notation as notation
import thinkling.verify.math.expressions.operands as operands
import thinkling.verify.math.expressions.vectors as vectors
from thinkling.verify.math.expressions.build import expression
from thinkling.verify.math.expressions.joins import joined
from thinkling.verify.math.expressions.parsing import Parsing
from thinkling.verify.math.expressions.polynomials import polynomial, roots_of
from thinkling.verify.math.expressions.tokens import NotMathematics
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    EXPRESSIONS,
    Apply,
    Number,
    Relation,
    Set,
    Solution,
    Symbol,
    Tuple,
    variables,
)

_FENCES = {"⌊": ("⌋", "floor"), "⌈": ("⌉", "ceil")}


def bracketed(parser: Parsing, opening: str) -> object:
    r"""`(...)`, `[...]` and `{...}`; also the outward brackets of `]0, 1[`."""
    bars, parser.bars = parser.bars, 0
    items, joins = parser.items()
    parser.bars = bars
    if opening == "{" and parser.kind == "choose":
        parser.take()
        items = [Apply("binom", (expression(items[0]), expression(parser.sum())))]
    outward = ("[",) if opening in ("]", "[") and len(items) == 2 else ()
    closing = parser.take("}").kind if opening == "{" else parser.take(")", "]", *outward).kind
    if opening == "]" or closing == "[":
        opening, closing = {"]": "("}.get(opening, opening), {"[": ")"}.get(closing, closing)
    node = build.bracketed(opening, tuple(items), joins, closing)
    if parser.kind == "_" and isinstance(node, Number) and node.value.denominator == 1 and node.value >= 0:
        return operands.numeral(parser, str(node.value))
    return node


def absolute(parser: Parsing) -> Apply:
    parser.bars += 1
    inside = parser.sum()
    parser.bars -= 1
    parser.take("|")
    if isinstance(inside, Tuple):
        return vectors.length(inside)
    return Apply("abs", (expression(inside),))


def fenced(parser: Parsing, opening: str) -> Apply:
    closing, name = _FENCES[opening]
    inside = expression(parser.sum())
    parser.take(closing)
    return Apply(name, (inside,))


def braced_set(parser: Parsing) -> object:
    r"""`\{1, 2\}`, `\{x : x > 2\}` and the cases of an array with one brace."""
    if parser.kind == "\\}":
        parser.take()
        return Set(())
    if parser.kind == "begin" and parser.tokens[parser.at].text == "array":
        parser.take()
        return notation.environment(parser, "cases")  # its closing brace is \\right.
    bars, parser.bars = parser.bars, 1
    items, _ = parser.items(expand=True)
    if parser.kind in ("|", ":") and len(items) == 1:
        parser.take()
        items = [_such_that(items[0], *parser.items())]
        parser.bars = bars
        parser.take("\\}")
        return items[0].values if isinstance(items[0], Solution) else items[0]
    parser.bars = bars
    parser.take("\\}")
    return _bounded(items) if any(isinstance(item, Solution) for item in items) else Set(_written_out(items))


def _bounded(items: list) -> object:
    r"""`\{x > 1, x < 5\}`: what all the bounds allow. Raises NotMathematics where something else stands beside them."""
    whole = joined(items, {"and"}) if all(isinstance(item, Solution) for item in items) else None
    if not isinstance(whole, Solution):
        raise NotMathematics("a set of bounds and other things")
    return whole.values


def _such_that(head: object, conditions: list, joins: set[str]) -> object:
    r"""What stands behind the bar: bounds, several of them, an equation or an inequality of the name before it.

    An inequality stands for the set that it bounds; of an equation the real roots are taken, or the whole ones of
    `\{x \in \mathbb{Z} : ...\}`. Raises NotMathematics where these are not known.
    """
    condition = joined(conditions, {"and"} if joins == {","} else joins)
    name = head.name if isinstance(head, Symbol | Solution) else ""
    if not isinstance(condition, Relation) or variables(condition) != {name}:
        return build.such_that(head, [condition])
    within = head.values if isinstance(head, Solution) else build.REALS
    if "=" not in condition.operators and within == build.REALS:
        return condition
    roots = _roots(condition, name) if condition.operators == ("=",) else None
    if roots is None or within not in (build.REALS, *build.WHOLE):
        raise NotMathematics("a set whose condition is no bound")
    whole = [root for root in roots if isinstance(root, Number) and root.value.denominator == 1]
    return Set(tuple(roots if within == build.REALS else whole))


def _roots(equation: Relation, name: str) -> list | None:
    left, right = equation.sides
    if not all(isinstance(side, EXPRESSIONS) for side in equation.sides):
        return None
    inside = polynomial(Apply("+", (left, Apply("neg", (right,)))), name)
    return roots_of(inside) if inside is not None else None


def _written_out(items: list) -> tuple:
    r"""`\{1, 2, \ldots, 10\}` in full, where equal steps lead from the first numbers to the last."""
    *first, dots, last = items if len(items) > 2 else (None, None)
    numbers = [*first, last]
    if dots != Symbol(ELLIPSIS) or not all(isinstance(item, Number) for item in numbers):
        return tuple(items)
    steps = {b.value - a.value for a, b in pairwise(first)} or {1}
    step = steps.pop()
    count = (last.value - first[0].value) / step if step and not steps else Fraction(0)
    if count.denominator != 1 or not len(first) <= count < build.MAX_LISTED:
        return tuple(items)
    return tuple(Number(first[0].value + place * step) for place in range(int(count) + 1))
