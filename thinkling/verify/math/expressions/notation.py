r"""Sums, products, integrals, limits, cases and matrices: notation with an environment or bounds of its own.

Each rule takes the parser (grammar.py), reads on from its place, and gives a node. A bound name is written as • and its
depth, so that \sum_k k and \sum_i i are one tree.
"""

import re
from fractions import Fraction
from itertools import takewhile

import thinkling.verify.math.expressions.build as build
from thinkling.verify.math.expressions.build import expression
from thinkling.verify.math.expressions.parsing import Parsing
from thinkling.verify.math.expressions.tokens import NotMathematics, Token
from thinkling.verify.math.expressions.tree import (
    BOUND,
    INFINITY,
    Apply,
    Listing,
    Matrix,
    Number,
    Relation,
    Solution,
    Symbol,
    replace,
    walk,
)

MATRICES = ("pmatrix", "bmatrix", "Bmatrix", "matrix", "smallmatrix", "array", "vmatrix", "Vmatrix")
SYSTEMS = ("cases", "dcases", "rcases", "aligned", "align", "gathered", "gather", "split", "alignedat", "multline",
           "equation", "eqnarray", "alignat", "displaymath")  # fmt: skip
MAX_NAMED = 12  # terms of a sum of x_k that are written out, and nodes of each
_CASES = ("cases", "dcases", "rcases")


def big_operator(parser: Parsing, name: str) -> Apply:
    r"""`\sum_{k=1}^{n} k^2` or `\prod`: sum(body, low, high), of the bound name."""
    bounds = _bounds(parser)
    low, high = bounds.get("_"), bounds.get("^")
    if not (isinstance(low, Relation) and low.operators == ("=",) and isinstance(low.sides[0], Symbol)):
        if low is None and high is None:
            return Apply(name, (expression(_body(parser)),))
        if low is None:
            raise NotMathematics(f"a {name} that ends and does not begin")
        index = low.name if isinstance(low, Symbol) else _name_of(low)
        body = _body(parser)
        return Apply(name, (bound(body, index, parser.level), bound(_as_expression(low), index, parser.level)))
    index = low.sides[0].name
    parser.level += 1
    body = bound(_body(parser), index, parser.level)
    node = Apply(name, (body, low.sides[1], expression(high) if high is not None else Symbol(INFINITY), _mark(parser)))
    parser.level -= 1
    return _written_out(node)


def _written_out(node: Apply) -> Apply:
    r"""`\sum_{k=1}^{3} x_k` as x_1 + x_2 + x_3; every other sum or product as it is."""
    body, low, high, index = node.arguments
    ends = [end.value for end in (low, high) if isinstance(end, Number) and end.value.denominator == 1]
    names = {part.function for part in walk(body) if isinstance(part, Apply) and part.function.endswith(f"_{BOUND}()")}
    if not names or len(ends) < 2 or not 0 < ends[1] - ends[0] < MAX_NAMED or sum(1 for _ in walk(body)) > MAX_NAMED:
        return node

    def term(place: int) -> object:
        def changed(part: object) -> object | None:
            if isinstance(part, Apply) and part.function in names and part.arguments == (index,):
                return Symbol(f"{part.function.removesuffix(f'{BOUND}()')}{place}")
            return Number(Fraction(place)) if part == index else None

        return replace(body, changed)

    return Apply("+" if node.function == "sum" else "*", tuple(map(term, range(int(ends[0]), int(ends[1]) + 1))))


def integral(parser: Parsing) -> Apply:
    r"""`\int_0^1 f(x)\,dx`: integral(body, low, high) of the bound name; without bounds it keeps its name."""
    bounds = _bounds(parser)
    inside, index, end = _integrand(parser, parser.at)
    parser.level += 1
    level = parser.level
    body = expression(parser.inside([*inside, Token("end", "", False)]))
    parser.level -= 1
    parser.at = end
    if "_" not in bounds and "^" not in bounds:
        return Apply("antiderivative", (body, Symbol(index)))
    ends = tuple(_as_expression(bounds.get(side, Symbol(INFINITY))) for side in "_^")
    return Apply("integral", (bound(body, index, level), *ends, Symbol(f"{BOUND}{level}")))


def _integrand(parser: Parsing, start: int) -> tuple[list[Token], str, int]:
    r"""The tokens of an integral's body without its `d x`, the name of x, and where what follows begins.

    The `d x` stands behind the body, or at the end of a fraction's numerator: \int \frac{dx}{x}.
    """
    one, tokens = Token("number", "1", False), parser.tokens
    depth, inner, over = 0, 0, -1  # brackets, integrals inside, and where the fraction at depth 0 began
    for at in range(start, len(tokens) - 1):
        kind = tokens[at].kind
        depth += (kind in _OPENS) - (kind in _CLOSES)
        if depth < 0:
            break
        inner += kind == "int" and depth == 0
        over = at if kind == "frac" and depth == 0 else over
        if (kind, tokens[at].text) != ("symbol", "d") or tokens[at + 1].kind != "symbol":
            continue
        above = depth == 1 and over >= 0 and tokens[over + 1].kind == "{" and tokens[at + 2].kind == "}" and not inner
        if depth == 0 and inner:
            inner -= 1
        elif depth == 0:
            return tokens[start:at] or [one], tokens[at + 1].text, at + 2
        elif above and at < _closing(tokens, over + 1):
            top = tokens[start:at] + ([one] if at == over + 2 else [])
            end = _closing(tokens, at + 3) + 1 if tokens[at + 3].kind == "{" else at + 4
            return [*top, *tokens[at + 2 : end]], tokens[at + 1].text, end
    raise NotMathematics("an integral without its dx")


_OPENS, _CLOSES = ("(", "[", "{", "\\{"), (")", "]", "}", "\\}")


def _closing(tokens: list[Token], start: int) -> int:
    """Where the bracket that opens at `start` is closed."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at].kind in _OPENS) - (tokens[at].kind in _CLOSES)
        if depth == 0:
            return at
    raise NotMathematics("a bracket that is not closed")


def limit(parser: Parsing) -> Apply:
    r"""`\lim_{x \to 0} f(x)`: lim(body, to) of the bound name."""
    parser.take("_")
    open_at = parser.at
    parser.take("{")
    index = parser.take("symbol").text
    parser.take("→")
    close = _closing(parser.tokens, open_at)
    end, side = close, ""
    braced = parser.tokens[end - 1].kind == "}" and parser.tokens[end - 3].kind == "{"
    mark = end - 2 if braced else end - 1
    if parser.tokens[mark].kind in ("+", "-") and parser.tokens[mark - 1 - braced].kind == "^":
        end, side = mark - 1 - braced, parser.tokens[mark].kind  # 0^+ and 0^{+}
    to = expression(parser.inside([*parser.tokens[parser.at : end], Token("end", "", False)]))
    parser.at = close + 1
    parser.level += 1
    body = bound(_body(parser), index, parser.level)
    node = Apply(f"lim{side}", (body, to, _mark(parser)))
    parser.level -= 1
    return node


def _mark(parser: Parsing) -> Symbol:
    return Symbol(f"{BOUND}{parser.level}")


def _bounds(parser: Parsing) -> dict[str, object]:
    found: dict[str, object] = {}
    while parser.kind in ("_", "^") and parser.kind not in found:
        side = parser.take().kind
        if parser.kind == "{":
            parser.take()
            found[side] = parser.relation()
            parser.take("}")
        else:
            found[side] = parser.atom_argument()
    return found


def _body(parser: Parsing) -> object:
    return expression(parser.product())


def _as_expression(node: object) -> object:
    return Apply("set", (Symbol(repr(node)),)) if isinstance(node, Relation | Solution) else expression(node)


def _name_of(node: object) -> str:
    return node.name if isinstance(node, Solution) else ""


def bound(node: object, name: str, level: int) -> object:
    """The node with its bound name as • and its depth; x_k is then an unknown function of •, as f(k) is."""
    mark = Symbol(f"{BOUND}{level}")

    def changed(part: object) -> object | None:
        if not isinstance(part, Symbol):
            return None
        if part.name == name:
            return mark
        head, _, subscript = part.name.partition("_")
        pieces = re.findall(r"\\[A-Za-z]+|[A-Za-z]+|.", subscript) if name in subscript else ()
        short = [piece.replace(name, BOUND) if len(piece) < 3 or piece == name else piece for piece in pieces]  # no min
        return Apply(f"{head}_{''.join(short)}()", (mark,)) if BOUND in "".join(short) else None

    return replace(node, changed) if name else node


def environment(parser: Parsing, name: str) -> object:
    if name in SYSTEMS or (name == "array" and _has_equations(parser)):
        return _system(parser, name in _CASES)
    if name not in MATRICES:
        raise NotMathematics(f"the environment {name[:40]!r}")
    return _matrix(parser, name)


def _has_equations(parser: Parsing) -> bool:
    rest = iter(parser.tokens[parser.at :])
    return any(token.kind == "=" for token in takewhile(lambda token: token.kind != "end environment", rest))


def _matrix(parser: Parsing, name: str) -> object:
    rows, sign = [[]], ""
    while sign != "end environment":
        rows[-1].append(expression(parser.side()))
        sign = parser.take("&", "\\\\", "end environment").kind
        if sign == "\\\\" and parser.kind == "end environment":
            sign = parser.take().kind
        elif sign == "\\\\":
            rows.append([])
    if len({len(row) for row in rows}) > 1:
        raise NotMathematics("a matrix whose rows differ in length")
    matrix = Matrix(tuple(map(tuple, rows)))
    return Apply("det", (matrix,)) if name[0] in "vV" else matrix


def _system(parser: Parsing, cases: bool) -> object:
    """Rows of equations are a listing; rows of a value and its condition are one function by cases.

    A row that begins with = goes on with the row before it, outside of cases: x = 2 + 3 and = 5 are x = 2 + 3 = 5.
    """
    rows: list = []
    pieces: list = []
    while True:
        while parser.kind == "&":
            parser.take()
        row = _further(parser, rows.pop()) if rows and parser.kind in ("=", "≈") and not cases else _row(parser)
        while parser.kind in (",", ";", "&", "if"):
            parser.take()
        if parser.kind == "otherwise":
            parser.take()
            pieces += [expression(row), Number(Fraction(1))]
        elif parser.kind not in ("\\\\", "end environment"):
            pieces += [expression(row), condition(parser.relation())]
        else:
            rows.append(row)
        while parser.kind in (",", ";", "."):
            parser.take()
        if parser.take("\\\\", "end environment").kind == "end environment":
            break
        if parser.kind == "end environment":
            parser.take()
            break
    if rows and pieces:
        raise NotMathematics("cases of which only some have a condition")
    if pieces:
        return Apply("cases", tuple(pieces))
    if cases and len(rows) == 1 and not isinstance(rows[0], Relation | Solution):
        raise NotMathematics("the environment of cases with one row")
    return rows[0] if len(rows) == 1 else Listing(tuple(rows))


def _row(parser: Parsing) -> object:
    """A relation whose sign of equality may stand between two marks of alignment, `x &= 5` or `x &=& 5`."""
    parser.tokens[parser.at :] = [
        token for place, token in enumerate(parser.tokens[parser.at :], parser.at)
        if not (token.kind == "&" and _beside_equals(parser.tokens, place))
    ]  # fmt: skip
    return parser.relation()


def _beside_equals(tokens: list[Token], place: int) -> bool:
    return "=" in (tokens[place - 1].kind, tokens[place + 1].kind)


def _further(parser: Parsing, before: object) -> Relation:
    sides, operators = (before.sides, before.operators) if isinstance(before, Relation) else ((before,), ())
    operator = parser.take().kind
    more = _row(parser)
    more_sides, more_operators = (more.sides, more.operators) if isinstance(more, Relation) else ((more,), ())
    return Relation((*sides, *more_sides), (*operators, operator, *more_operators))


def condition(node: object) -> object:
    """A relation as an expression that is 1 where it holds, else 0."""
    relation = build.as_relation(node)
    if relation is None:
        raise NotMathematics("a condition that is no comparison")
    tests = []
    for left, operator, right in zip(relation.sides, relation.operators, relation.sides[1:], strict=False):
        if operator in (">", "≥"):
            left, operator, right = right, {">": "<", "≥": "≤"}[operator], left
        if operator not in ("<", "≤", "=", "≠"):
            raise NotMathematics(f"{operator} in a condition")
        tests.append(Apply(operator, (expression(left), expression(right))))
    return tests[0] if len(tests) == 1 else Apply("*", tuple(tests))
