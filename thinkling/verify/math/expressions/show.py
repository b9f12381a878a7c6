"""A tree in one short line, for messages. Only as much of it is written as the line has room for."""

from collections.abc import Iterator

from thinkling.verify.math.expressions.tree import (
    Apply,
    Choice,
    Interval,
    Listing,
    Matrix,
    Number,
    Numeral,
    Qualified,
    Quantity,
    Ratio,
    Relation,
    Residue,
    Set,
    SetOperation,
    Solution,
    Symbol,
    Tuple,
    Unread,
    Words,
)

MAX_CHARACTERS = 60


def show(node: object) -> str:
    text = ""
    for piece in _pieces(node):  # none of them is empty
        text += piece
        if len(text) > MAX_CHARACTERS:
            return text[: MAX_CHARACTERS - 3] + "..."
    return text


def _pieces(node: object) -> Iterator[str]:
    match node:
        case Number(value, decimals) if decimals and decimals > 0:
            whole, rest = divmod(abs(value.numerator) * 10**decimals // value.denominator, 10**decimals)
            yield f"{'-' * (value < 0)}{whole}.{rest:0{decimals}}"
        case Number(value):
            too_long = max(value.numerator.bit_length(), value.denominator.bit_length()) > 400
            yield "a number of many digits" if too_long else str(value)
        case Symbol(name):
            yield name
        case Apply("+", terms):
            yield "("
            for place, term in enumerate(terms):
                pieces = _pieces(term)
                first = next(pieces)
                sign = "-" if place and first[0] == "-" else "+"
                yield first if not place else f" {sign} {first.removeprefix('-')}"
                yield from pieces
            yield ")"
        case Apply("*" | "/" | "^" as operator, parts):
            yield from _joined(parts, operator)
        case Apply("neg", (part,)):
            yield "-"
            yield from _pieces(part)
        case Apply("!" | "!!" | "°" | "%" as sign, (part,)):
            bare = isinstance(part, Number | Symbol) or (isinstance(part, Apply) and part.function == "+")
            yield from _pieces(part) if bare else _joined((part,), "", "()")
            yield sign
        case Apply(function, arguments):
            yield function.removesuffix("()")
            yield from _joined(arguments, around="()")
        case _:
            yield from _answer(node)


def _answer(node: object) -> Iterator[str]:
    """What is no expression, and matrices and numerals."""
    match node:
        case Matrix(rows):
            for place, row in enumerate(rows):
                yield "; " if place else "["
                yield from _joined(row)
            yield "]"
        case Numeral(digits, base):
            yield f"{digits}_{base}"
        case Quantity(expression, unit):
            if unit == "$":
                yield unit
            yield from _pieces(expression)
            if unit != "$":
                yield unit if unit in "%°" else f" {unit}"
        case Ratio(terms):
            yield from _joined(terms, ":")
        case Tuple(items):
            yield from _joined(items, around="()")
        case Set(items):
            yield from _joined(items, around="{}")
        case Listing(items):
            yield from _joined(items)
        case Interval(low, high, low_closed, high_closed):
            yield from _joined((low, high), around="(["[low_closed] + ")]"[high_closed])
        case SetOperation(operator, parts):
            yield from _joined(parts, f" {operator} ")
        case Solution(name, values):
            yield f"{name} ∈ "
            yield from _pieces(values)
        case Relation(sides, operators):
            for operator, side in zip(("", *operators), sides, strict=True):
                if operator:
                    yield f" {operator} "
                yield from _pieces(side)
        case Residue(name, value, modulus):
            if name:
                yield f"{name} ≡ "
            yield from _pieces(value)
            yield " (mod "
            yield from _pieces(modulus)
            yield ")"
        case Choice(letter, content) if content is not None:
            yield f"({letter}) "
            yield from _pieces(content)
        case Qualified(value, conditions):
            yield from _joined((value, *conditions))
        case Choice(text, _) | Words(text, _) | Unread(text, _):
            yield text
        case _:
            raise TypeError(f"not a tree: {node!r}")


def _joined(parts: tuple, by: str = ", ", around: str = "") -> Iterator[str]:
    yield from around[:1]
    for place, part in enumerate(parts):
        if place:
            yield by
        yield from _pieces(part)
    yield from around[1:]
