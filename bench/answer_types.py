r"""Reads the answers that MATH-500, GSM8K and `answer_pairs.py` itself write, so that pairs can be labelled.

A small reader of trusted data, with SymPy for the arithmetic. It shares nothing with the verifiers under test, and
says None wherever it is not sure. It leaves out all that a model might write: that is what is being tested.
"""

import random
import re
from dataclasses import dataclass
from itertools import permutations

import sympy

_NAME = re.compile(r"\\(sqrt|frac|pi|infty|cdot|times)(?![A-Za-z])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_BRACKETS = {"(": ")", "{": "}"}


class Unsure(Exception):
    """The text is not one that this reader was made for."""


def tidy(text: str) -> str:
    """The text without what only looks: `\\left`, thin spaces, `\\dfrac`, spaces."""
    text = re.sub(r"\\left(?![A-Za-z])|\\right(?![A-Za-z])|\\[!,]|~", "", text)
    return re.sub(r"\s+", "", re.sub(r"\\[dt]frac", r"\\frac", text))


class _Scalar:
    """Recursive descent over a text without spaces: sum, product, power, atom."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def take(self, pattern: re.Pattern) -> str | None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match[0] if match else None

    def next(self) -> str:
        return self.text[self.at : self.at + 1]

    def sum(self) -> sympy.Expr:
        total = sympy.Integer(0)
        sign = -1 if self.next() == "-" else 1
        self.at += self.next() in ("-", "+") and self.next() != ""
        while True:
            total += sign * self.product()
            if self.next() not in ("+", "-") or not self.next():
                return total
            sign = -1 if self.next() == "-" else 1
            self.at += 1

    def product(self) -> sympy.Expr:
        value = self.power()
        while self.next() and self.next() not in "+-)}=,":
            if self.next() == "/":
                self.at += 1
                value = value / self.power()
                continue
            self.take(re.compile(r"\\cdot|\\times|\*"))
            value = value * self.power()
        return value

    def power(self) -> sympy.Expr:
        base = self.atom()
        if self.next() != "^":
            return base
        self.at += 1
        return base ** self.argument()

    def argument(self) -> sympy.Expr:
        """What a command takes: a group, or one digit, letter or command."""
        if self.next().isdigit():
            self.at += 1
            return sympy.Integer(self.text[self.at - 1])
        return self.atom()

    def atom(self) -> sympy.Expr:
        number = self.take(_NUMBER)
        if number:
            return sympy.Rational(number)
        name = self.take(_NAME)
        if name == r"\sqrt":
            return sympy.sqrt(self.argument())
        if name == r"\frac":
            top, bottom = self.argument(), self.argument()
            return top / bottom
        if name in (r"\pi", r"\infty"):
            return sympy.pi if name == r"\pi" else sympy.oo
        character = self.next()
        self.at += 1
        if character in _BRACKETS:
            value = self.sum()
            if self.next() != _BRACKETS[character]:
                raise Unsure
            self.at += 1
            return value
        if re.fullmatch("[A-Za-z]", character):
            return sympy.I if character == "i" else sympy.Symbol(character)
        raise Unsure


def scalar(text: str) -> sympy.Expr | None:
    """A number or expression; None where the reader is not sure, or the value is not finite and not infinity."""
    reader = _Scalar(tidy(text))
    try:
        value = reader.sum()
    except Unsure:
        return None
    return None if reader.at < len(reader.text) or value.has(sympy.zoo, sympy.nan) else value


@dataclass(frozen=True)
class Known:
    """An answer of known type: its text as it stands, and its parts as tidy text. An interval: `(`, low, high, `]`."""

    text: str
    type: str
    parts: tuple[str, ...]


_FORMS = (  # tried in this order
    ("words", r"\\text\{\s*([A-Za-z]{2,})\s*\}"),
    ("choice", r"\\text\{\(([A-J])\)\}"),
    ("money", r"\\\$(\d+(?:,\d{3})*(?:\.\d+)?)"),
    ("degrees", r"(.+?)(?:\^\\circ|\^\{\\circ\}|\\text\{degrees\})"),
    ("unit", r"(.+?)\\(?:text|mbox)\{([a-z]+)\}((?:\^2)?)"),
    ("base", r"([0-9]+)_\{?([2-9])\}?"),
    ("integer", r"(-?\d{1,3}(?:,\d{3})+|-?\d+)"),
    ("decimal", r"(-?\d*\.\d+)"),
    ("fraction", r"(-?)\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d))"),
    ("mixed", r"(\d+)\\frac\{?(\d+)\}?\{?(\d+)\}?"),
    ("pm", r"([^,{}]*(?:\{[^{}]*\}[^,{}]*)*)\\pm(.+)"),
    ("solution", r"([a-z])=(-?[^a-z=]*)"),
    ("equation", r"([^=<>]+)=([^=<>]+)"),
)


def read(text: str) -> Known | None:
    """The answer and its type; None where this reader does not know it."""
    plain = tidy(text)
    known = _bracketed(text, plain)
    if known:
        return known
    for name, form in _FORMS:
        match = re.fullmatch(form, plain)
        if match:
            parts = tuple(part for part in match.groups() if part is not None)
            if name in ("integer", "money"):
                parts = (parts[0].replace(",", ""),)
            numbers = {"words": 0, "choice": 0, "degrees": 1, "unit": 1, "base": 0, "fraction": 0}.get(name, len(parts))
            skip = 1 if name == "solution" else 0
            return Known(text, name, parts) if all(scalar(p) is not None for p in parts[skip:numbers]) else None
    entries = split(plain)
    if len(entries) > 1:
        return Known(text, "list", entries) if all(scalar(entry) is not None for entry in entries) else None
    value = scalar(plain)
    if value is None or value is sympy.oo:
        return None
    return Known(text, "expression" if value.free_symbols else "number", (plain,))


def _bracketed(text: str, plain: str) -> Known | None:
    matrix = re.fullmatch(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", plain)
    if matrix:
        rows = tuple(row for row in matrix[1].split(r"\\") if row)
        numeric = all(scalar(entry) is not None for row in rows for entry in row.split("&"))
        return Known(text, "matrix", rows) if numeric else None
    if plain.startswith(r"\{") and plain.endswith(r"\}"):
        entries = split(plain[2:-2])
        return Known(text, "set", entries) if all(scalar(entry) is not None for entry in entries) else None
    if r"\cup" in plain:
        pieces = [_bracketed(piece, piece) for piece in plain.split(r"\cup")]
        fine = all(piece and len(piece.parts) in (2, 4) for piece in pieces)
        return Known(text, "union", tuple(plain.split(r"\cup"))) if fine else None
    if plain[:1] not in ("(", "[") or plain[-1:] not in (")", "]"):
        return None
    entries = split(plain[1:-1])
    if len(entries) < 2 or any(scalar(entry) is None for entry in entries):
        return None
    if len(entries) == 2 and (plain[0] == "[" or plain[-1] == "]" or r"\infty" in plain):
        return Known(text, "interval", (plain[0], *entries, plain[-1]))
    return Known(text, "tuple", entries) if plain[0] + plain[-1] == "()" else None


def split(plain: str) -> tuple[str, ...]:
    """At the commas that no bracket holds."""
    depth, parts = 0, [""]
    for character in plain:
        depth += (character in "({[") - (character in ")}]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(parts)


def differ(a: Known, b: Known) -> bool | None:
    """Do two answers state different values? None where that is arguable or past this reader."""
    numbers = ("integer", "decimal", "fraction", "mixed", "number", "expression")
    if a.type in numbers and b.type in numbers:
        return _differ(_value(a), _value(b))
    if a.type != b.type:
        clear = ("matrix", "interval", "union", "words", "tuple", "set")
        kinds = {a.type, b.type}
        if kinds == {"tuple", "interval"} or kinds == {"interval", "union"}:
            return None
        return True if (a.type in clear or b.type in clear) and "choice" not in kinds else None
    match a.type:
        case "words" | "choice":
            return a.parts[0].casefold() != b.parts[0].casefold()
        case "base":
            return int(a.parts[0], int(a.parts[1])) != int(b.parts[0], int(b.parts[1]))
        case "money" | "degrees":
            return _differ(scalar(a.parts[0]), scalar(b.parts[0]))
        case "unit":
            return _differ(scalar(a.parts[0]), scalar(b.parts[0])) if a.parts[1:] == b.parts[1:] else None
        case "interval":
            return (a.parts[0], a.parts[3]) != (b.parts[0], b.parts[3]) or _differ_in_order(a.parts[1:3], b.parts[1:3])
        case "union":
            return all(_pieces_differ(a.parts, order) for order in permutations(b.parts))
        case "tuple" | "matrix":
            entries = [re.split("[&,]", ",".join(known.parts)) for known in (a, b)]
            return len(a.parts) != len(b.parts) or _differ_in_order(*entries)
        case "list" | "set" | "pm":
            values = [sorted(map(str, map(_evaluated, members(known)))) for known in (a, b)]
            return values[0] != values[1]
        case "solution" | "equation":
            return _equations_differ(a.parts, b.parts)


def _pieces_differ(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    brackets = [re.findall(r"[()\[\]]", ",".join(parts)) for parts in (a, b)]
    ends = [[end for part in parts for end in split(part[1:-1])] for parts in (a, b)]
    return brackets[0] != brackets[1] or _differ_in_order(*ends)


def members(known: Known) -> list[sympy.Expr]:
    if known.type != "pm":
        return [scalar(part) for part in known.parts]
    middle, change = scalar(known.parts[0]) if known.parts[0] else sympy.Integer(0), scalar(known.parts[1])
    return [middle + change, middle - change]


def _value(known: Known) -> sympy.Expr:
    if known.type == "integer":
        return sympy.Integer(known.parts[0])
    if known.type == "fraction":
        return sympy.Rational(int(known.parts[1]), int(known.parts[2])) * (-1 if known.parts[0] else 1)
    if known.type == "mixed":
        return sympy.Integer(known.parts[0]) + sympy.Rational(int(known.parts[1]), int(known.parts[2]))
    return scalar(known.parts[0])


def _evaluated(value: sympy.Expr) -> sympy.Expr:
    """At a point of its own for every letter, to 25 digits."""
    rng = random.Random(7)
    letters = sorted(value.free_symbols, key=str)
    return value.subs({letter: sympy.Rational(rng.randint(100, 999), 301) for letter in letters}).n(25)


def _differ(a: sympy.Expr, b: sympy.Expr) -> bool | None:
    if a.has(sympy.oo) or b.has(sympy.oo):
        return a != b
    if sympy.expand(a - b) == 0:
        return False
    gap = abs(_evaluated(a - b).n(25))
    scale = max(abs(_evaluated(a)), abs(_evaluated(b)), sympy.Rational(1, 10**6))
    return True if a.free_symbols != b.free_symbols or gap > scale * 1e-12 else None


def _differ_in_order(a: tuple, b: tuple) -> bool:
    pairs = zip(a, b, strict=False)
    return len(a) != len(b) or any(x != y and _differ(scalar(x), scalar(y)) is True for x, y in pairs)


def _equations_differ(a: tuple, b: tuple) -> bool | None:
    first, second = (scalar(left) - scalar(right) for left, right in (a, b))
    if first == 0 or second == 0:
        return None
    ratio = sympy.cancel(first / second)
    return bool(ratio.free_symbols)
