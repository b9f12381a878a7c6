"""Matrix arithmetic: sums, products, powers and multiples of written-out matrices become one matrix."""

import random
from fractions import Fraction

from thinkling.verify.math.expressions.exact import CannotTell
from thinkling.verify.math.expressions.tree import Apply, Matrix, Number, Symbol, Tuple, replace, variables, walk

MAX_ENTRIES, MAX_POWER, MAX_INVERTED = 64, 8, 4
_TRANSPOSE = ("T", "\\top")


def as_matrix(node: object) -> object:
    """An expression of matrices as one matrix; everything else as it is. Raises CannotTell where the shapes differ."""
    match node:
        case Apply("*", factors):
            return _product([as_matrix(factor) for factor in factors], node)
        case Apply("+", terms):
            return _sum([as_matrix(term) for term in terms], node)
        case Apply("/", (top, bottom)) if isinstance(whole := as_matrix(top), Matrix):
            return _each(whole, lambda entry: Apply("/", (entry, bottom)))
        case Apply("neg", (part,)) if isinstance(whole := as_matrix(part), Matrix):
            return _each(whole, lambda entry: Apply("neg", (entry,)))
        case Apply("^", (base, Symbol(name))) if name in _TRANSPOSE and isinstance(whole := as_matrix(base), Matrix):
            return Matrix(tuple(zip(*whole.rows, strict=True)))
        case Apply("^", (base, Number(power))) if isinstance(whole := as_matrix(base), Matrix):
            if power == -1:
                return _inverse(whole)
            if power.denominator != 1 or not 1 <= power <= MAX_POWER:
                return node
            return _product([whole] * int(power), node)
    return node


def as_tuple(node: object, other: object) -> object:
    """A matrix of one column or one row beside a tuple, as a tuple; every other node as it is."""
    if not isinstance(other, Tuple) or not isinstance(matrix := as_matrix(node), Matrix):
        return node
    rows = matrix.rows if len(matrix.rows) == 1 else tuple(zip(*matrix.rows, strict=True))
    return Tuple(rows[0]) if len(rows) == 1 else node


def drawn(a: object, b: object) -> tuple[object, object] | None:
    """Two expressions with a matrix drawn for each capital letter, where one is transposed: A^T B is not B A^T."""
    turned = [name for tree in (a, b) for part in walk(tree) for name in _turned(part)]
    if not turned:
        return None
    rng, put = random.Random(20260102), {}
    for name in sorted(
        {*turned, *(name for name in variables(a) | variables(b) if name.isupper())} - {*_TRANSPOSE, "I"}
    ):
        put[name] = Matrix(tuple(tuple(Number(Fraction(rng.randint(1, 99))) for _ in "12") for _ in "12"))
    put["I"] = Matrix(tuple(tuple(Number(Fraction(i == j)) for j in (0, 1)) for i in (0, 1)))
    sides = [replace(tree, lambda part: put.get(part.name) if isinstance(part, Symbol) else None) for tree in (a, b)]
    return as_matrix(sides[0]), as_matrix(sides[1])


def _turned(part: object) -> tuple[str, ...]:
    """The names that `A^T`, `x^\\top` or `(AB)^T` transposes; none in (1 + r)^T."""
    match part:
        case Apply("^", (base, Symbol(sign))) if sign in _TRANSPOSE:
            letters = base.arguments if isinstance(base, Apply) and base.function == "*" else (base,)
            names = tuple(letter.name for letter in letters if isinstance(letter, Symbol))
            fits = sign == "\\top" or all(name.isupper() for name in names)
            return names if fits and len(names) == len(letters) else ()
    return ()


def _each(matrix: Matrix, change: object) -> Matrix:
    return Matrix(tuple(tuple(map(change, row)) for row in matrix.rows))


def _product(factors: list, node: object) -> object:
    matrices = [factor for factor in factors if isinstance(factor, Matrix)]
    if not matrices:
        return node
    result = matrices[0]
    for other in matrices[1:]:
        result = _times(result, other)
    others = tuple(factor for factor in factors if not isinstance(factor, Matrix))
    return _each(result, lambda entry: Apply("*", (*others, entry))) if others else result


def _times(a: Matrix, b: Matrix) -> Matrix:
    if len(a.rows[0]) != len(b.rows):
        raise CannotTell("a product of matrices whose shapes do not fit")
    if len(a.rows) * len(b.rows[0]) * len(b.rows) > MAX_ENTRIES:
        raise CannotTell("matrices too large to multiply")
    columns = list(zip(*b.rows, strict=True))
    rows = [
        tuple(Apply("+", tuple(Apply("*", pair) for pair in zip(row, column, strict=True))) for column in columns)
        for row in a.rows
    ]
    return Matrix(tuple(rows))


def _inverse(matrix: Matrix) -> Matrix:
    """Exactly, by Gauss and Jordan's elimination. Raises CannotTell where an entry is no plain number."""
    size = len(matrix.rows)
    rows = [[_plain(entry) for entry in row] for row in matrix.rows]
    if size > MAX_INVERTED or any(len(row) != size or None in row for row in rows):
        raise CannotTell("the inverse of a matrix that is not square, is large, or has entries that are no numbers")
    rows = [[*row, *(Fraction(i == j) for j in range(size))] for i, row in enumerate(rows)]
    for column in range(size):
        pivot = next((i for i in range(column, size) if rows[i][column]), None)
        if pivot is None:
            raise CannotTell("the inverse of a matrix that has none")
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for i in range(size):
            if i != column:
                times = rows[i][column]
                rows[i] = [a - times * b for a, b in zip(rows[i], rows[column], strict=True)]
    return Matrix(tuple(tuple(Number(entry) for entry in row[size:]) for row in rows))


def _plain(entry: object) -> Fraction | None:
    match entry:
        case Number(value):
            return value
        case Apply("neg", (Number(value),)):
            return -value
        case Apply("/", (Number(top), Number(bottom))) if bottom:
            return top / bottom
        case Apply("neg", (Apply("/", (Number(top), Number(bottom))),)) if bottom:
            return -top / bottom
    return None


def _sum(terms: list, node: object) -> object:
    if not any(isinstance(term, Matrix) for term in terms):
        return node
    shapes = {(len(term.rows), len(term.rows[0])) if isinstance(term, Matrix) else None for term in terms}
    if len(shapes) > 1:
        raise CannotTell("a sum of matrices whose shapes differ")
    entries = zip(*(tuple(entry for row in term.rows for entry in row) for term in terms), strict=True)
    flat, width = [Apply("+", each) for each in entries], len(terms[0].rows[0])
    return Matrix(tuple(tuple(flat[i : i + width]) for i in range(0, len(flat), width)))
