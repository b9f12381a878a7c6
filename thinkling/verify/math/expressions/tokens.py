"""Answer text, LaTeX or plain -> tokens. Linear in its length; what they mean together is latex.py's business."""

import re
from typing import NamedTuple

from thinkling.verify.math.expressions.clean import STYLE
from thinkling.verify.math.expressions.tree import ELLIPSIS, EULER, IMAGINARY
from thinkling.verify.math.expressions.vocabulary import (
    ALIASES,
    BASES,
    FIGURES,
    FUNCTIONS,
    LETTER_STYLES,
    NAMES,
    SIGNS_AS_NAMES,
    STRUCTURES,
)
from thinkling.verify.math.prose.short_words import SHORT_WORDS, cased
from thinkling.verify.math.quantities.phrases import unit_at
from thinkling.verify.math.quantities.words import SCALES

MAX_DIGITS = 1000
MAX_TOKENS = 800


class NotMathematics(Exception):
    """The text is not in the language that the verifier reads; the message says why."""


class Token(NamedTuple):
    """`kind` is "number", "symbol", "function", "unit", a structure such as "frac", or the sign itself, such as "+"."""

    kind: str
    text: str
    spaced: bool
    """Whether a space stands before it: `1 4/5` is a mixed number, `14/5` is not."""


_POINTS = re.compile(r" ?(?:\{ ?([A-Z](?:'?[ ]?[A-Z]'?){0,4}'?) ?\}|([A-Z](?: ?[A-Z]){0,4}))(?![a-z])")
_PLAIN = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_REPEATING = r"\\(?:overline|bar) ?(?:\{ ?[0-9]+ ?\}|[0-9])"
_TOKEN = re.compile(
    rf"(?P<repeating>[0-9]*\.[0-9]*{_REPEATING})|(?P<number>{_PLAIN})(?P<exponent>[eE][+-]?[0-9]+(?![0-9A-Za-z.]))?"
    rf"|\\(?P<styled>{STYLE})(?![A-Za-z])\*? *\{{(?P<content>[^{{}}]*)\}}(?P<power> ?\^ ?(?:[23]|\{{ ?[23] ?\}}))?"
    r"|\\(?P<edge>begin|end) ?\{(?P<environment>[A-Za-z]+)\*?\}(?: ?\{[clr| ]*\})?"
    r"|(?P<degrees>\^ ?(?:\\circ(?![A-Za-z])|\{ ?\\circ ?\}))"
    r"(?P<scale> ?(?:\\(?:text|mathrm)\{ ?[CF] ?\}|[CF](?![A-Za-z])))?"
    r"|\\(?P<command>[A-Za-z]+)|(?P<run>[A-Za-z]+)"
    r"|(?P<dots>\.\.\.)|(?P<sign>\\\\|\\[{}%$|]|\*\*|<=|>=|!=|==|[-+*/^_!,;:=<>()\[\]{}|%$'&€£¥₹])"
)
_RUN = re.compile(r"[A-Za-zµμΩÅ]+")
_MAY_BE_UNIT = re.compile(rf"[A-Za-zµμΩÅ€£¥₹¢]|\\(?:{STYLE}|mu|upmu|Omega|ohm|pounds|frac)(?![A-Za-z])")
_SCALE_WORDS = "hundred|thousand|million|billion|trillion|lakh|crore|dozen|bn"
_SCALE = re.compile(rf"\\(?:{STYLE})\{{ ?({_SCALE_WORDS})s? ?\}}|({_SCALE_WORDS})s?(?![A-Za-z])", re.IGNORECASE)
_UNIT_ENDS = re.compile(
    r" *(?:\Z|[,;:=<>)\]}&0-9.]|\\[\\}]|\\(?:approx|text|mathrm|le|ge|leq|geq)(?![A-Za-z])|(?:and|or)\b)"
)
_BEHIND_COMMAND = re.compile(r"\\[A-Za-z]+ \Z")  # of \parallel AB
_LOG_BASE = re.compile(r"(10|2)(?=\()")
_LETTER = re.compile(r" ?(?:\{ ?([A-Za-z]) ?\}|([A-Za-z]))")
_GLUED_ZEROS = re.compile(r"0[0-9]{2}")
_DIGIT_RUN = re.compile(r"[0-9]+")
_SAME_SIGN = {"**": "^", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "\\%": "%", "\\$": "$", "\\|": "|"}
_TAKES_LETTERS = frozenset(["frac", "binom", "sqrt", "^"])  # `\frac ab` is a over b
_LONE = frozenset("+-_,;&'|()[]{}")  # no longer sign begins with one of these
_DEPTHS = {"(": 1, "[": 1, "\\{": 1, ")": -1, "]": -1, "\\}": -1}
_OPERAND_ENDS = frozenset(["number", "scale", "symbol", "°", ")", "}", "\\}", "]"])


def tokens(text: str) -> list[Token]:
    """The tokens of a cleaned text, with an "end" at the end. Raises NotMathematics at what it does not know."""
    found: list[Token] = []
    at, spaced, depth = 0, False, 0
    while at < len(text):
        if text[at] == " ":
            at, spaced = at + 1, True
            continue
        if found and found[-1].kind in _OPERAND_ENDS and _MAY_BE_UNIT.match(text, at):
            unit = _unit_here(text, at, found, spaced)
            if unit is not None:
                found.append(Token("scale" if unit[0][0] == "×" else "unit", unit[0].removeprefix("×"), spaced))
                at, spaced = unit[1], False
                continue
        sign = text[at]
        if sign in _LONE:
            found.append(Token(sign, sign, spaced))
            depth += _DEPTHS.get(sign, 0)
            at, spaced = at + 1, False
            continue
        if len(found) > MAX_TOKENS:
            raise NotMathematics(f"more than {MAX_TOKENS} numbers, names and signs")
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotMathematics(f"unexpected {text[at]!r}")
        at = match.end()
        kind = match.lastgroup
        if match["number"] is not None:
            digits = match["number"]
            if depth and _GLUED_ZEROS.fullmatch(digits) and text[match.start() - 1] == ",":
                raise NotMathematics("zeros behind a comma: thousands, or a number?")
            if depth and "," in digits and ",0" not in digits:  # in brackets a comma separates, but in (3,000, 4)
                digits, at = _DIGIT_RUN.match(digits)[0], match.start() + _DIGIT_RUN.match(digits).end()
                found.append(_number(digits, spaced))
            else:
                found.append(_number(match[0].replace(",", ""), spaced))
        elif match["styled"] is not None:
            found.extend(_styled(match["content"], match["power"], found, spaced))
        elif kind == "run":
            new, at = _run(match[0], text, match.start(), found, spaced)
            found.extend(new)
        elif kind == "command":
            new, at = _command(match["command"], text, at, spaced)
            found.append(new)
        else:
            found.append(_sign(match, text, found, spaced))
            depth += _DEPTHS.get(found[-1].kind, 0)
        spaced = False
    return [*found, Token("end", "", spaced)]


def _unit_here(text: str, at: int, found: list[Token], spaced: bool) -> tuple[str, int] | None:
    """The unit that stands behind an operand: spaced or in `\\text{}`, or glued to a number's digits (5cm)."""
    scale = _SCALE.match(text, at) if found[-1].kind == "number" else None
    if scale:
        return f"×{SCALES[(scale[1] or scale[2]).casefold().removesuffix('s')]}", scale.end()
    if [token.kind for token in found[-3:-1]] == ["sqrt", "{"]:
        return None  # the h of \\sqrt{2hg}
    plain = text[at].isalpha()
    if plain and not spaced and found[-1].kind != "number":
        return None
    if plain and _is_name(text, at):
        return None
    unit = unit_at(text, at, found[-1].kind, one=found[-1].text == "1")
    if unit is not None and plain and not _UNIT_ENDS.match(text, unit[1]):
        return None  # the letters of 2mg sin(x) are factors
    return unit


def _is_name(text: str, at: int) -> bool:
    """A function's or a constant's name is no unit: 2 min(x, y), 3 pi; nor are joining words."""
    run = _RUN.match(text, at)[0]
    lower = ALIASES.get(run.casefold(), run.casefold())
    if lower in FUNCTIONS and lower != "min":
        return True
    return lower in ("or", "and", "u", "union", *NAMES) or text[at + len(run) : at + len(run) + 1] in ("(", "_")


def _number(digits: str, spaced: bool) -> Token:
    if len(digits) > MAX_DIGITS and sum(map(str.isdigit, digits)) > MAX_DIGITS:
        raise NotMathematics(f"a number of more than {MAX_DIGITS:,} digits")
    return Token("number", digits, spaced)


def _sign(match: re.Match, text: str, found: list[Token], spaced: bool) -> Token:
    if match["repeating"] is not None:
        return _number(match[0].replace(" ", ""), spaced)
    if match["degrees"] is not None:
        scale = match["scale"]
        return Token("unit", f"°{scale.strip(' }')[-1]}", spaced) if scale else Token("°", match[0], spaced)
    if match["edge"] is not None:
        return Token("begin" if match["edge"] == "begin" else "end environment", match["environment"], spaced)
    if match["dots"] is not None:
        return Token("symbol", ELLIPSIS, spaced)
    sign = match[0]
    if sign == "!=" and found and found[-1].kind in ("number", ")") and not spaced:
        raise NotMathematics("unclear '!=': a factorial, or unequal?")
    sign = _SAME_SIGN.get(sign, sign)
    return Token("$" if sign in "€£¥₹" else sign, sign, spaced)


def _styled(content: str, power: str | None, found: list[Token], spaced: bool) -> list[Token]:
    """`\\text{...}` and its kin: a joining word, a unit after a number, a function's name, a letter, or a label."""
    words = content.strip(" ,")
    if not words:
        return [Token(",", ",", spaced)] if "," in content else []
    if words.casefold() in ("or", "and"):
        return [Token(words.casefold(), words, True)]
    if words.casefold() in ("if", "when", "for", "otherwise", "else"):
        return [Token("otherwise" if words.casefold() in ("otherwise", "else") else "if", words, True)]
    if words.isdigit() and words.isascii() and not power:
        return [_number(words, spaced)]
    if words in BASES and [token.kind for token in found[-2:]] in (["_", "{"], ["number", "_"]):
        return [Token("number", BASES[words], spaced)]
    if power:
        raise NotMathematics(f"unknown unit {words!r}")
    if ALIASES.get(words, words) in FUNCTIONS:
        return [Token("function", ALIASES.get(words, words), spaced)]
    if len(words) == 1 and words.isalpha():
        return [Token("symbol", words, spaced)]
    if not found:
        return [Token("symbol", f"\\text{{{' '.join(map(cased, words.split()))}}}", spaced)]
    raise NotMathematics(f"the words {words[:40]!r}")


def _command(name: str, text: str, at: int, spaced: bool) -> tuple[Token, int]:
    if name in STRUCTURES:
        return Token(STRUCTURES[name], name, spaced), at
    if ALIASES.get(name, name) in FUNCTIONS:
        return Token("function", ALIASES.get(name, name), spaced), at
    if name in ("ldots", "dots", "cdots", "dotsc"):
        return Token("symbol", ELLIPSIS, spaced), at
    if name in ("infty", "pi"):
        return Token("symbol", NAMES[name], spaced), at
    name = name.removeprefix("var") if name.removeprefix("var") in NAMES else name
    name = "vec" if name == "overrightarrow" else name
    if name in FIGURES and (points := _POINTS.match(text, at)):
        named = (points[1] or points[2]).replace(" ", "")
        if len(named) > 1 or name not in LETTER_STYLES:
            return Token("symbol", f"\\{name.removeprefix('measured')}{{{named}}}", spaced), points.end()
    if name == "Bbb":
        name = "mathbb"
    if f"\\{name}" in NAMES.values() or name in SIGNS_AS_NAMES:
        return Token("symbol", f"\\{name}", spaced), at
    if name in LETTER_STYLES:
        letter = _LETTER.match(text, at)
        if letter is not None:
            plain = letter[1] or letter[2]
            bold = name in ("mathbf", "boldsymbol", "bm", "mathcal") and plain not in (EULER, IMAGINARY)
            return Token("symbol", plain if bold else f"\\{name}{{{plain}}}", spaced), letter.end()
    raise NotMathematics(f"unknown command \\{name[:40]}")


def _run(run: str, text: str, start: int, found: list[Token], spaced: bool) -> tuple[list[Token], int]:
    """A run of plain letters: a known name, a unit, a product of variables. Also where the next token starts."""
    at = start + len(run)
    lower = ALIASES.get(run.casefold(), run.casefold())
    before = found[-1].kind if found else ""
    if lower == "log" and (base := _LOG_BASE.match(text, at)):  # log2(8)
        return [Token("function", "log", spaced), Token("_", "_", False), Token("number", base[0], False)], base.end()
    name = _known(run, lower, before, spaced)
    if name is not None:
        return [name], at
    if len(run) > 1 and before not in _TAKES_LETTERS and not _is_product(run, text, start, at):
        raise NotMathematics(f"the word {run[:40]!r}")
    return [Token("symbol", letter, spaced and i == 0) for i, letter in enumerate(run)], at


def _known(run: str, lower: str, before: str, spaced: bool) -> Token | None:
    """The token of a name: sin, sqrt, pi, alpha, or, and, U between sets; None for other letters."""
    if lower in FUNCTIONS:
        return Token("sqrt" if lower == "sqrt" else "function", lower, spaced)
    if run in NAMES or lower in ("pi", "infinity", "inf"):
        return Token("symbol", NAMES.get(run) or NAMES[lower], spaced)
    if lower in ("or", "and") and spaced:
        return Token(lower, run, spaced)
    if lower in ("u", "union") and spaced and before in (")", "]", "\\}"):
        return Token("∪", run, spaced)
    return None


def _is_product(run: str, text: str, start: int, end: int) -> bool:
    """Whether letters side by side are variables multiplied (`2xy`, `ab + 1`), and not a word.

    A word has a vowel and more than three letters, or is one of a list, or stands between words: "seat" is never s e a
    t, and "no" is never n o.
    """
    if text[end : end + 1] == "^" and len(run) < 4:
        return True
    if run.casefold() in SHORT_WORDS and not _beside_operator(text, start, end):
        return False
    if len(run) > 2 and run[0].isupper() and (run[1:].islower() or (run.isupper() and len(set(run)) < len(run))):
        return False  # a name; HTH is a row of throws
    vowels = any(letter in "aeiouAEIOU" for letter in run)
    if len(run) > (3 if vowels else 6):
        return False
    before, after = text[:start].rstrip(" ")[-1:], text[end:].lstrip(" ")[:1]
    before = "" if _BEHIND_COMMAND.search(text, max(0, start - 20), start) else before
    if not vowels:
        return True
    return not ((text[:start].endswith(" ") and before.isalpha()) or (text[end:].startswith(" ") and after.isalpha()))


def _beside_operator(text: str, start: int, end: int) -> bool:
    """Whether an operator or a number is glued to a run, and no word beside it: the `at` of at+b, the `as` of 2as."""
    glued = (
        text[start - 1 : start].isdigit()
        or text[end : end + 1] in tuple("+-/=")
        or text[start - 1 : start] in tuple("+-/=")
    )
    return glued and not (text[end : end + 1] == " " and text[end : end + 2].strip().isalnum())
