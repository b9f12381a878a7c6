"""The typed tree that an answer's text becomes. How it is written in a message stands in show.py.

An expression is a Number, a Symbol, an Apply or a Matrix; all else says what kind of answer it is. Brackets, order and
openness are part of the type, so that they carry meaning when two answers are compared (see equal.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

INFINITY, PI, EULER, IMAGINARY, ELLIPSIS = "∞", "π", "e", "i", "…"
BOUND = "•"  # begins the name of a variable that a sum, an integral or a limit binds


@dataclass(frozen=True, slots=True)
class Number:
    """An exact value; `decimals` is how many digits stood after the decimal point (None: it was not a decimal)."""

    value: Fraction
    decimals: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable (`x`, `x_1`, `\\alpha`) or one of the constants π, e, i, ∞."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of expressions: `+ * / ^ neg ! sqrt root log sin ...`. Sums and products are flat."""

    function: str
    arguments: tuple


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple, ...]


@dataclass(frozen=True, slots=True)
class Numeral:
    """Digits in a stated base, `40_9`: the base is part of the answer."""

    digits: str
    base: int

    @property
    def value(self) -> Fraction:
        return Fraction(int(self.digits, self.base))


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression with a unit: "%", "°", "$" or words such as "cm^2"."""

    expression: object
    unit: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """`3:4`, or a time of day, which looks the same."""

    terms: tuple


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(1, 2)`: order counts. Two entries in round brackets are an open interval just as well."""

    items: tuple


@dataclass(frozen=True, slots=True)
class Interval:
    low: object
    high: object
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True, slots=True)
class SetOperation:
    """`∪`, `∩` or `∖` between sets."""

    operator: str
    parts: tuple


@dataclass(frozen=True, slots=True)
class Set:
    items: tuple


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers with no brackets, `3, 5` or `x = 3 or x = 5` or `1 ± 2`: order does not count."""

    items: tuple


@dataclass(frozen=True, slots=True)
class Solution:
    """A set with the name of the variable that it bounds: `x ≤ 2`, `x ∈ [0, 1]`."""

    name: str
    values: object


@dataclass(frozen=True, slots=True)
class Relation:
    """`a = b`, `a < b ≤ c`: one operator fewer than sides."""

    sides: tuple
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Residue:
    """`x ≡ 3 (mod 7)`; the name is empty in `3 (mod 7)`."""

    name: str
    value: object
    modulus: object


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice letter that was marked as one, `(B)`, `\\text{B}`; and what stood behind it: `(B) 42`."""

    letter: str
    content: object = None


@dataclass(frozen=True, slots=True)
class Qualified:
    """An answer and what restricts it: `2^n - 1, n ≥ 1`; that a name is whole or real restricts nothing."""

    value: object
    conditions: tuple


@dataclass(frozen=True, slots=True)
class Words:
    """Plain words, case and spacing normalised; and why they were not read as mathematics."""

    text: str
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Unread:
    """Text that is neither mathematics nor plain words, normalised, and why it could not be read; "" equals nothing."""

    text: str
    why: str = field(compare=False)


EXPRESSIONS = (Number, Symbol, Apply, Matrix, Numeral)
NOUNS = {
    Number: "a number", Symbol: "a symbol", Apply: "an expression", Matrix: "a matrix",
    Numeral: "a numeral in a stated base", Quantity: "a quantity", Ratio: "a ratio", Tuple: "a tuple",
    Interval: "an interval", SetOperation: "a set", Set: "a set", Listing: "a list of answers", Solution: "a set",
    Relation: "a relation", Residue: "a residue",
    Choice: "a choice letter", Qualified: "a qualified answer", Words: "words", Unread: "unread text",
}  # fmt: skip


def children(node: object) -> tuple:
    """The trees directly under a node."""
    kind = type(node)
    if kind is Apply:  # these three first: nearly all nodes are of them
        return node.arguments
    if kind is Number or kind is Symbol:
        return ()
    match node:
        case Tuple(parts) | Set(parts) | Listing(parts) | Ratio(parts):
            return parts
        case SetOperation(parts=parts) | Relation(sides=parts):
            return parts
        case Matrix(rows):
            return tuple(entry for row in rows for entry in row)
        case Quantity(expression=part) | Solution(values=part):
            return (part,)
        case Interval(low, high, _, _):
            return (low, high)
        case Residue(_, value, modulus):
            return (value, modulus)
        case Qualified(value, conditions):
            return (value, *conditions)
        case Choice(_, content) if content is not None:
            return (content,)
    return ()


def walk(node: object) -> Iterator[object]:
    """Every node of a tree, a node before what is under it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        below = children(node)
        if below:
            waiting.extend(reversed(below))


def variables(node: object) -> set[str]:
    """The names of the variables in a tree: its symbols without the constants."""
    names = {part.name for part in walk(node) if isinstance(part, Symbol)}
    return {name for name in names if name[0] != BOUND} - {INFINITY, PI, EULER, IMAGINARY, ELLIPSIS}


def unknowns(trees: tuple) -> bool:
    """Whether a variable or an unknown function stands in one of them."""
    return any(variables(tree) or has_unknown(tree) for tree in trees)


def has_unknown(tree: object) -> bool:
    return any(isinstance(node, Apply) and node.function.endswith("()") for node in walk(tree))


def replace(node: object, change: Callable[[object], object | None]) -> object:
    """The tree with every part for which `change` returns something put in that part's place."""
    changed = change(node)
    if changed is not None:
        return changed
    below = children(node)
    if not below:
        return node
    parts = tuple([replace(child, change) for child in below])
    match node:
        case Apply(function, _):
            return Apply(function, parts)
        case Tuple() | Set() | Listing() | Ratio():
            return type(node)(parts)
        case SetOperation(operator, _):
            return SetOperation(operator, parts)
        case Relation(_, operators):
            return Relation(parts, operators)
        case Matrix(rows):
            return Matrix(tuple(parts[i : i + len(rows[0])] for i in range(0, len(parts), len(rows[0]))))
        case Quantity(_, unit):
            return Quantity(parts[0], unit)
        case Solution(name, _):
            return Solution(name, parts[0])
        case Interval(_, _, low_closed, high_closed):
            return Interval(*parts, low_closed, high_closed)
        case Residue(name, _, _):
            return Residue(name, *parts)
        case Qualified():
            return Qualified(parts[0], parts[1:])
        case Choice(letter, content) if content is not None:
            return Choice(letter, *parts)
    return node
