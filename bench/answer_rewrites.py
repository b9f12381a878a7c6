r"""Rewrites of an answer that keep its value: (kind, text) pairs. Each states the same by construction.

Left out is whatever one could argue about: rounded decimals, a base left away, `\text{east}` as a direction's angle.
"""

import random
import re
from collections.abc import Iterator
from fractions import Fraction
from math import gcd

import sympy
from answer_types import Known, read, scalar

Made = Iterator[tuple[str, str]]
NUMBERS = ("integer", "decimal", "fraction", "mixed", "number")


def rewrites(known: Known, rng: random.Random) -> Made:
    """Everything that this file knows to say the same as `known`."""
    yield from _spelled(known)
    if known.type in NUMBERS:
        yield from _numbers(known)
        if known.type != "mixed":
            yield "x = put in front", f"x = {known.text}"
    if known.type in ("number", "expression"):
        yield from _reordered(known)
        yield from _surds(known)
    makers = {
        "integer": _integers, "decimal": _decimals, "fraction": _fractions, "mixed": _fractions,
        "expression": _polynomials, "degrees": _degrees, "money": _units, "unit": _units, "interval": _intervals,
        "union": _intervals, "matrix": _matrices, "equation": _equations, "solution": _equations,
        "list": _collections, "set": _collections, "pm": _collections, "tuple": _collections,
        "words": _words, "choice": _words, "base": _words,
    }  # fmt: skip
    if known.type in makers:
        yield from makers[known.type](known, rng)


# --- any type: how the text looks ---


def _spelled(known: Known) -> Made:
    text = known.text
    plain = re.sub(r"\\[dt]frac", r"\\frac", text)
    if r"\frac" in plain:
        yield r"\dfrac, \tfrac", plain.replace(r"\frac", r"\dfrac")
        yield r"\dfrac, \tfrac", plain.replace(r"\frac", r"\tfrac")
    short = re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", plain)
    if short != plain:
        yield r"\frac12 without braces", short
    if not re.search(r"text|mbox|begin|,\\!|\\\$|\d,\d{3}", text):
        spaced = " ".join(re.sub(r"((?<!\\left)(?<!\\right)[-+=,()\[\]]|(?<=\d)(?=[a-z\\]))", r" \1 ", text).split())
        if spaced != text:
            yield "spaces", spaced
    if text[0] in "([" and text[-1] in ")]" and text.count("(") + text.count("[") == 1:
        yield r"\left \right", rf"\left{text[:-1]}\right{text[-1]}"
    if r"\left" in text:
        yield r"\left \right", text.replace(r"\left", "").replace(r"\right", "")
    yield "dollars", f"${text}$"
    yield r"\( \)", rf"\({text}\)"
    yield "final period", f"{text}."


# --- numbers ---


def _numbers(known: Known) -> Made:
    if known.type in ("integer", "decimal"):
        yield r"\text around a number", rf"\text{{{known.text}}}"
    if known.type in ("integer", "decimal", "fraction"):
        yield "unit added", rf"{known.text} \text{{ cm}}"
        yield "unit added", rf"{known.text}\text{{ square units}}"


def _integers(known: Known, rng: random.Random) -> Made:
    number = int(known.parts[0])
    if abs(number) >= 1000:
        for separator in (",", "{,}", r"\,", r",\!"):
            yield "thousands separator", f"{number:,}".replace(",", separator)
        yield "thousands separator", str(number)
    yield "trailing zeros", f"{number}.0"
    yield "trailing zeros", f"{number}.00"
    factor = rng.randint(2, 9)
    yield "fraction not in lowest terms", rf"\frac{{{number * factor}}}{{{factor}}}"
    power = sympy.perfect_power(number) if number > 1 else None
    if power:
        yield "as a power", f"{power[0]}^{{{power[1]}}}"
    root = f"{'-' if number < 0 else ''}\\sqrt{{{number * number}}}"
    if 1 < abs(number) < 1000:
        yield "as a root", root


def _decimals(known: Known, rng: random.Random) -> Made:
    text = known.parts[0]
    yield "trailing zeros", f"{text}0"
    yield "trailing zeros", f"{text}000"
    if re.match(r"-?\.", text) or re.match(r"-?0\.", text):
        yield "leading zero", text.replace("0.", ".", 1) if "0." in text[:3] else text.replace(".", "0.", 1)
    value = Fraction(text)
    yield "decimal and fraction", fraction(value)


def fraction(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return rf"{'-' if value < 0 else ''}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _fractions(known: Known, rng: random.Random) -> Made:
    if known.type == "mixed":
        whole, top, bottom = map(int, known.parts)
        value = whole + Fraction(top, bottom)
        yield "mixed number", fraction(value)
    else:
        sign, top, bottom = known.parts
        value = Fraction(f"{sign}{top}/{bottom}")
        yield "a/b", f"{sign}{top}/{bottom}"
        factor = rng.randint(2, 9)
        yield "fraction not in lowest terms", rf"{sign}\frac{{{factor * int(top)}}}{{{factor * int(bottom)}}}"
        if sign:
            yield "sign moved", rf"\frac{{-{top}}}{{{bottom}}}"
            yield "sign moved", rf"\frac{{{top}}}{{-{bottom}}}"
        elif int(top) > int(bottom) and int(top) % int(bottom):
            yield "mixed number", rf"{int(top) // int(bottom)}\frac{{{int(top) % int(bottom)}}}{{{bottom}}}"
    decimal = f"{float(value)}"
    if "e" not in decimal and Fraction(decimal) == value:  # it terminates
        yield "decimal and fraction", decimal


def terms(plain: str) -> list[str]:
    """The signed terms of a sum, split at its top level."""
    depth, parts = 0, [""]
    for character in plain:
        if character in "+-" and depth == 0 and parts[-1] not in ("",) and parts[-1][-1] not in "^":
            parts.append("")
        depth += (character in "({") - (character in ")}")
        parts[-1] += character
    return [part if part[0] in "+-" else f"+{part}" for part in parts]


def _reordered(known: Known) -> Made:
    plain = known.parts[0]
    parts = terms(plain)
    if len(parts) > 1:
        yield "sum reordered", "".join(reversed(parts)).removeprefix("+")
        return
    factors = re.fullmatch(r"(-?)((?:\([^()]*\)){2,})", plain)
    if factors:
        pieces = re.findall(r"\([^()]*\)", factors[2])
        yield "product reordered", factors[1] + "".join(reversed(pieces))
        yield "product reordered", factors[1] + r" \cdot ".join(reversed(pieces))
    head = re.fullmatch(r"(-?)(\d+)(\\(?:sqrt\{?\d+\}?|pi))", plain)
    if head:
        yield "product reordered", rf"{head[1]}{head[3]} \cdot {head[2]}"
        yield "product sign", rf"{head[1]}{head[2]} \cdot {head[3]}"
        yield "product sign", rf"{head[1]}{head[2]} \times {head[3]}"


def _surds(known: Known) -> Made:
    root = re.fullmatch(r"(-?)(\d+)\\sqrt\{?(\d+)\}?", known.parts[0])
    if root:
        yield "factor into the root", rf"{root[1]}\sqrt{{{int(root[2]) ** 2 * int(root[3])}}}"
    quotient = re.fullmatch(r"\\frac\{(\d*)\\sqrt\{(\d+)\}\}\{(\d+)\}", known.parts[0])
    if quotient:
        times, inside, bottom = int(quotient[1] or 1), int(quotient[2]), int(quotient[3])
        common = gcd(times * inside, bottom)
        below = "" if bottom == common else str(bottom // common)
        yield "rationalised", rf"\frac{{{times * inside // common}}}{{{below}\sqrt{{{inside}}}}}"
        square = Fraction(times * times * inside, bottom * bottom)
        yield "factor into the root", rf"\sqrt{{{fraction(square)}}}"


def _polynomials(known: Known, rng: random.Random) -> Made:
    value = scalar(known.parts[0])
    for form in (sympy.expand(value), sympy.factor(value), sympy.together(value)):
        text = sympy.latex(form)
        if sympy.latex(value) != text:
            yield "expanded or factored", text


# --- units, sets, intervals, matrices, equations, words ---


def _degrees(known: Known, rng: random.Random) -> Made:
    for sign in (r"^\circ", r"^{\circ}", "°", " degrees", r"\text{ degrees}", r" \text{ degrees}"):
        yield "degrees spelled", f"{known.parts[0]}{sign}"
    yield "unit dropped", known.parts[0]


def _units(known: Known, rng: random.Random) -> Made:
    yield "unit dropped", known.parts[0]
    if known.type == "money":
        yield "money spelled", rf"\${float(known.parts[0]):,.2f}"
        yield "money spelled", rf"{known.parts[0]} \text{{ dollars}}"
        return
    for style in (r"\text{%s}", r"\ \text{ %s}", r"\,\mathrm{%s}", r"\mbox{ %s}"):
        yield "unit spelled", known.parts[0] + style % known.parts[1] + known.parts[2]


def _intervals(known: Known, rng: random.Random) -> Made:
    if known.type == "union":
        yield "union reordered", r" \cup ".join(reversed(known.parts))
        pieces = [read(part) for part in known.parts]
        if all(piece and piece.type == "interval" for piece in pieces):
            yield "interval as an inequality", r" \text{ or } ".join(inequality(piece.parts) for piece in pieces)
        return
    yield "interval as an inequality", inequality(known.parts)
    yield "interval as an inequality", inequality(known.parts, turned=True)


def inequality(parts: tuple[str, ...], turned: bool = False) -> str:
    opened, low, high, closed = parts
    if low.endswith(r"\infty") or high.endswith(r"\infty"):
        above = high.endswith(r"\infty")
        end, strict = (low, opened == "(") if above else (high, closed == ")")
        return rf"{end} {_sign(not above, strict)} x" if turned else rf"x {_sign(above, strict)} {end}"
    if turned:
        return rf"{high} {_sign(True, closed == ')')} x {_sign(True, opened == '(')} {low}"
    return rf"{low} {_sign(False, opened == '(')} x {_sign(False, closed == ')')} {high}"


def _sign(greater: bool, strict: bool) -> str:
    return (">" if strict else r"\ge") if greater else ("<" if strict else r"\le")


def _collections(known: Known, rng: random.Random) -> Made:
    if known.type == "pm":
        plus, minus = (f"{known.parts[0]} {sign} {known.parts[1]}" for sign in "+-")
        yield r"\pm as two values", f"{plus}, {minus}"
        yield r"\pm as two values", rf"{minus} \text{{ and }} {plus}"
        return
    entries = list(known.parts)
    if known.type == "tuple":
        if any(r"\frac" in entry for entry in entries):
            yield "a/b in a tuple", f"({', '.join(re.sub(FRAC, slash, entry) for entry in entries)})"
        return
    turned = entries[::-1]
    if known.type == "set":
        yield "set reordered", rf"\{{{', '.join(turned)}\}}"
        yield "set reordered", rf"\left\{{{','.join(turned)}\right\}}"
        return
    yield "list reordered", ", ".join(turned)
    yield "list joined by and", rf"{', '.join(entries[:-1])} \text{{ and }} {entries[-1]}"
    yield "x = put in front", ", ".join(f"x = {entry}" for entry in entries)


FRAC = re.compile(r"\\frac\{(\\?\w+)\}\{(\\?\w+)\}")


def slash(match: re.Match) -> str:
    return f"{match[1]}/{match[2]}"


def _matrices(known: Known, rng: random.Random) -> Made:
    rows = [row.split("&") for row in known.parts]
    for name, join in (("bmatrix", " & "), ("pmatrix", "&"), ("pmatrix", "  &  ")):
        body = (r" \\ " if join != "&" else r"\\").join(join.join(row) for row in rows)
        yield "matrix spelled", rf"\begin{{{name}}}{body}\end{{{name}}}"
    if any("/" in entry for row in rows for entry in row):
        body = r" \\ ".join(
            " & ".join(re.sub(r"(\d+)/(\d+)", r"\\frac{\1}{\2}", entry) for entry in row) for row in rows
        )
        yield "matrix spelled", rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"


def _equations(known: Known, rng: random.Random) -> Made:
    left, right = known.parts
    if known.type == "solution":
        yield "x = left away", right
        yield "equation turned round", f"{right} = {left}"
        return
    yield "equation turned round", f"{right} = {left}"
    difference = sympy.expand(scalar(left) - scalar(right))
    yield "equation rearranged", f"{sympy.latex(difference)} = 0"
    yield "equation rearranged", f"{sympy.latex(-difference)} = 0"
    yield "equation rearranged", f"{sympy.latex(sympy.expand(2 * difference))} = 0"


def _words(known: Known, rng: random.Random) -> Made:
    if known.type == "base":
        digits, base = known.parts
        yield "base spelled", f"{digits}_{{{base}}}"
        yield "base spelled", rf"{digits}_{base}"
        yield "base spelled", rf"{digits}_{{\text{{{base}}}}}"
    elif known.type == "choice":
        letter = known.parts[0]
        for text in (
            letter,
            f"({letter})",
            rf"\text{{{letter}}}",
            rf"\textbf{{({letter})}}",
            rf"\mathrm{{({letter})}}",
        ):
            yield "choice spelled", text
    else:
        word = known.parts[0]
        for text in (word, word.lower(), rf"\textbf{{{word}}}", rf"\mathrm{{{word}}}", rf"\text{{ {word} }}"):
            yield "word spelled", text
