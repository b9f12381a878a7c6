"""Points as vectors: `(1, 2) + t(3, 4)` is the point (1 + 3t, 2 + 4t); a product of two is the dot or the cross."""

from fractions import Fraction

from thinkling.verify.math.expressions.build import expression, negated
from thinkling.verify.math.expressions.tokens import NotMathematics
from thinkling.verify.math.expressions.tree import Apply, Number, Symbol, Tuple


def total(terms: list) -> Tuple:
    """A sum of points. Raises NotMathematics where one term is none, or has another length."""
    if not all(isinstance(term, Tuple) for term in terms) or len({len(term.items) for term in terms}) > 1:
        raise NotMathematics("a sum of points and what is no point of that length")
    columns = zip(*(term.items for term in terms), strict=True)
    return Tuple(tuple(Apply("+", tuple(map(expression, column))) for column in columns))


def opposite(point: Tuple) -> Tuple:
    return Tuple(tuple(map(negated, point.items)))


def length(point: Tuple) -> Apply:
    """`|(3, 4)|`, the root of the sum of the squares."""
    two = Number(Fraction(2))
    return Apply("sqrt", (Apply("+", tuple(Apply("^", (expression(entry), two)) for entry in point.items)),))


def product(factors: list, signs: list[str], under: list) -> object:
    r"""Numbers times a point, or two points with `\cdot` or `\times` between them. `signs` stand before the factors.

    Raises NotMathematics for all else: (1, 2)(3, 4) may be two cycles, and A(1, 2) is a point's name.
    """
    points = [factor for factor in factors if isinstance(factor, Tuple)]
    scalars = [expression(factor) for factor in factors if not isinstance(factor, Tuple)]
    if under or len(points) > 2 or not isinstance(factors[-1], Tuple):
        raise NotMathematics("a tuple inside a calculation")
    if len(points) == 1:
        if signs[-1] == "" and isinstance(factors[-2], Symbol) and factors[-2].name[:1].isupper():
            raise NotMathematics("a tuple behind a name")
        return Tuple(tuple(Apply("*", (*scalars, expression(entry))) for entry in points[0].items))
    left, right = (tuple(map(expression, point.items)) for point in points)
    if scalars or len(left) != len(right) or signs[-1] not in ("cdot", "times"):
        raise NotMathematics("two tuples side by side")
    if signs[-1] == "cdot":
        return Apply("+", tuple(Apply("*", pair) for pair in zip(left, right, strict=True)))
    if len(left) != 3:
        raise NotMathematics("a cross product that is not of three dimensions")
    places = ((1, 2), (2, 0), (0, 1))
    return Tuple(tuple(_minus(left[i], right[j], left[j], right[i]) for i, j in places))


def is_cross(factors: list) -> bool:
    return len(factors) == 2 and all(isinstance(side, Symbol) and side.name.startswith("\\vec{") for side in factors)


def cross(a: Symbol, b: Symbol) -> Apply:
    r"""`\vec{a} \times \vec{b}`: an unknown of its two names, of the other sign where they are exchanged."""
    return Apply("cross()", (a, b)) if a.name <= b.name else Apply("neg", (Apply("cross()", (b, a)),))


def _minus(a: object, b: object, c: object, d: object) -> Apply:
    return Apply("+", (Apply("*", (a, b)), negated(Apply("*", (c, d)))))
