r"""Changes to an answer that must not keep its value: (kind, text) pairs.

Where a change could by chance keep the value (a digit of `0/3`), the reader of `answer_types.py` must be sure that it
does not; where it is not sure, the case is left out. So is what one could argue about: another unit, another case of a
letter, a column written as a row.
"""

import random
import re
from fractions import Fraction
from itertools import pairwise

from answer_rewrites import NUMBERS, Made, fraction, inequality, terms
from answer_types import Known, differ, read, scalar, tidy

_DIGITS = re.compile(r"(?<![\d.])(?:\d[\d.,!\\ ]*)?\d")
_STRICTNESS = {"<": r"\le", ">": r"\ge", r"\le": "<", r"\ge": ">"}


def changes(known: Known, rng: random.Random) -> Made:
    """Everything that this file knows to say something else than `known`."""
    for kind, text in _text_changes(known, rng):
        other = read(text)
        if other and differ(known, other) is True and not _odd(other):
            yield kind, text
    yield from _by_construction(known, rng)


def _odd(other: Known) -> bool:
    """Leading zeros and intervals that end before they begin, which no fair pair should hang on."""
    if other.type == "interval" and (scalar(other.parts[2]) - scalar(other.parts[1])).n() <= 0:
        return True
    return bool(re.search(r"(?<![\d.])0\d", tidy(other.text)))


def _text_changes(known: Known, rng: random.Random) -> Made:
    text = known.text
    top = 10 if known.type != "base" else int(known.parts[1])
    places = [match.start() for match in re.finditer(r"\d", text.partition("_")[0])]
    for place in rng.sample(places, min(4, len(places))):
        digit = rng.choice([d for d in map(str, range(top)) if d != text[place]])
        yield "digit changed", text[:place] + digit + text[place + 1 :]
    for place, after in pairwise(places):
        if after == place + 1 and text[place] != text[after]:
            yield "digits swapped", text[:place] + text[after] + text[place] + text[after + 1 :]
    for match in re.finditer(r"(?<![\\^])[-+]", text):
        other = "+" if match[0] == "-" else "-"
        first = not re.search(r"[\w})]\s*$", text[: match.start()])
        kind = "sign dropped" if first else "sign changed"
        yield kind, text[: match.start()] + ("" if first else other) + text[match.end() :]
    if known.type in (*NUMBERS, "expression", "degrees", "unit") and text[0] not in "-0":
        sum_of = known.type in ("number", "expression") and len(terms(known.parts[0])) > 1
        yield "sign added", f"-({text})" if sum_of else f"-{text}"
    if known.type in ("tuple", "list", "set"):
        entries = list(known.parts)
        place = rng.randrange(len(entries))
        entries[place] = entries[place][1:] if entries[place][0] == "-" else f"-{entries[place]}"
        yield "sign of one entry", _rebuilt(known, entries)
    for match in re.finditer(r"\^\{?(\d)\}?", text):
        yield "exponent changed", text[: match.start()] + f"^{int(match[1]) % 9 + 1}" + text[match.end() :]
        yield "exponent dropped", text[: match.start()] + text[match.end() :]
    for match in re.finditer(r"\\sqrt\{?(\d+)\}?", text):
        kept = match[1] if not re.search(r"\d\s*$", text[: match.start()]) else rf" \cdot {match[1]}"
        yield "root dropped", text[: match.start()] + kept + text[match.end() :]
    yield from _number_changes(known, rng)


def _number_changes(known: Known, rng: random.Random) -> Made:
    text = known.text
    if known.type == "fraction":
        sign, top, bottom = known.parts
        yield "fraction inverted", rf"{sign}\frac{{{bottom}}}{{{top}}}"
        for a, b in ((int(top) + 1, bottom), (int(top) - 1, bottom)):
            yield "numerator changed", rf"{sign}\frac{{{a}}}{{{b}}}"
        yield "denominator changed", rf"{sign}\frac{{{top}}}{{{int(bottom) + 1}}}"
        yield "denominator dropped", f"{sign}{top}"
        yield "unbarred", f"{sign}{top}{bottom}"
    if known.type == "decimal":
        moved = re.fullmatch(r"(-?\d*)\.(\d)(\d*)", known.parts[0])
        yield "decimal point moved", f"{moved[1]}{moved[2]}.{moved[3]}".rstrip(".").lstrip("0") or "0"
        yield "decimal point moved", re.sub(r"(\d)\.", r".\1", known.parts[0])
        yield "decimal point dropped", (moved[1] + moved[2] + moved[3]).lstrip("0")
    if known.type == "integer" and known.parts[0] != "0":
        yield "decimal point moved", f"{known.parts[0]}0"
        yield "decimal point moved", f"{known.parts[0][:-1]}.{known.parts[0][-1]}".replace("-.", "-0.")
    if r"\pi" in text and known.type == "number":
        yield "pi dropped", re.sub(r"\\frac\{\}", r"\\frac{1}", text.replace(r"\pi", "")).strip()
    if known.type == "mixed":
        whole, top, bottom = known.parts
        yield "mixed number read as a product", rf"\frac{{{int(whole) * int(top)}}}{{{bottom}}}"
        yield "whole part dropped", rf"\frac{{{top}}}{{{bottom}}}"
    if known.type == "base":
        digits, base = known.parts
        for other in (int(base) + 1, int(base) - 1):
            if 1 < other < 10 and int(max(digits)) < other:
                yield "base changed", f"{digits}_{other}"
    if known.type in ("integer", "fraction"):
        value = Fraction("".join(known.parts)) if known.type == "integer" else Fraction("/".join(known.parts[1:]))
        near = value * Fraction(1_000_001, 1_000_000)
        if known.type == "fraction":
            yield "off by a millionth", known.parts[0] + fraction(near)
        elif abs(value) < 10**6:
            whole, rest = divmod(abs(near.numerator * (10**6 // near.denominator)), 10**6)
            yield "off by a millionth", f"{'-' if value < 0 else ''}{whole}.{rest:06}"


def _rebuilt(known: Known, entries: list[str]) -> str:
    body = ", ".join(entries)
    return {"tuple": f"({body})", "set": rf"\{{{body}\}}", "list": body}[known.type]


def _by_construction(known: Known, rng: random.Random) -> Made:
    parts = known.parts
    match known.type:
        case "interval":
            yield from _interval_changes(known)
        case "union":
            yield "part of a union dropped", parts[0]
            yield "union as an intersection", r" \cap ".join(parts)
        case "tuple":
            if len(set(parts)) == len(parts):
                yield "order of a tuple", f"({', '.join(parts[::-1])})"
            yield "entry dropped", f"({', '.join(parts[:-1])})" if len(parts) > 2 else parts[0]
            yield "entry added", f"({', '.join((*parts, '17'))})"
        case "set" | "list":
            yield "entry dropped", _rebuilt(known, list(parts[1:]))
            yield "entry added", _rebuilt(known, [*parts, "1723"])
        case "pm":
            yield r"\pm dropped", f"{parts[0]} + {parts[1]}"
            yield r"\pm dropped", f"{parts[0]} - {parts[1]}"
        case "matrix":
            rows = [row.split("&") for row in parts]
            if rows[0] != rows[-1]:
                yield "rows swapped", _matrix(rows[::-1])
            yield "row dropped", _matrix(rows[:-1])
        case "words":
            word = parts[0]
            yield "word changed", rf"\text{{{word[:-1]}}}"
            yield "word changed", rf"\text{{not {word}}}"
            yield "word changed", rf"\text{{{''.join(sorted(word))}}}" if sorted(word) != list(word) else word[::-1]
            yield "word changed", rf"\text{{{word[0]}{rng.choice('zqj')}{word[2:]}}}"
        case "choice":
            for letter in sorted(set("ABCDE") - {parts[0]})[:3]:
                yield "letter changed", rf"\text{{({letter})}}"
        case "expression":
            letters = sorted(map(str, scalar(parts[0]).free_symbols))
            other = rng.choice(sorted(set("xyzmnt") - set(letters)))
            yield "letter changed", re.sub(rf"(?<![\\A-Za-z]){letters[0]}(?![A-Za-z])", other, known.text)
    if known.type in NUMBERS and not set(known.text) & set(",!"):
        number = scalar(parts[0]) if known.type != "fraction" else None
        wrong = str(int(parts[0]) + rng.randint(1, 5)) if known.type == "integer" else str(rng.randint(1701, 1799))
        if number is None or number != int(wrong):
            for join in (r" \text{ or } ", ", ", " or "):
                pair = [known.text, wrong] if rng.random() < 0.5 else [wrong, known.text]
                yield "alternatives", join.join(pair)
            yield "alternatives", rf"\{{{known.text}, {wrong}\}}"


def _matrix(rows: list[list[str]]) -> str:
    body = r" \\ ".join(" & ".join(row) for row in rows)
    return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"


def _interval_changes(known: Known) -> Made:
    opened, low, high, closed = known.parts
    if not low.endswith(r"\infty"):
        yield "bracket opened or closed", f"{'[' if opened == '(' else '('}{low}, {high}{closed}"
        yield "ends swapped", f"{opened}{high}, {low}{closed}"
    if not high.endswith(r"\infty"):
        yield "bracket opened or closed", f"{opened}{low}, {high}{']' if closed == ')' else ')'}"
    stated = inequality(known.parts)
    signs = list(re.finditer(r"<|>|\\le|\\ge", stated))
    for sign in signs:
        yield "strictness of an inequality", stated[: sign.start()] + _STRICTNESS[sign[0]] + stated[sign.end() :]
    turned = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
    if len(signs) == 1:
        yield "inequality turned round", stated.replace(signs[0][0], turned[signs[0][0]])


def another(known: Known, others: list[Known], rng: random.Random) -> Made:
    """The answer of another problem, where it surely states something else."""
    for other in rng.sample(others, 3):
        if differ(known, other) is True:
            yield "another problem's answer", other.text
