r"""The forms that only a whole answer has: `(B) 42`, `5:30 p.m.`, `5' 6"`, "all real numbers", a name and its value.

Each takes a cleaned answer, and says None where it has another form. What stands inside is parsed by the caller.
"""

import re
from fractions import Fraction

import thinkling.verify.math.prose.dates as dates
from thinkling.verify.math.expressions.build import REALS
from thinkling.verify.math.expressions.tree import (
    Choice,
    Interval,
    Listing,
    Number,
    Numeral,
    Quantity,
    Set,
    SetOperation,
    Symbol,
    Words,
)
from thinkling.verify.math.prose.short_words import cased
from thinkling.verify.math.quantities.phrases import CHANGING

_NO_LIMIT = Words("does not exist", "it says that there is none")
_NONZERO = SetOperation("∖", (REALS, Set((Number(Fraction(0)),))))
_POSITIVE = Interval(Number(Fraction(0)), REALS.high, False, False)
_WHOLE = Symbol("\\mathbb{Z}")
PHRASES = {
    "all real numbers": REALS, "all reals": REALS, "all real": REALS, "real numbers": REALS, "the real numbers": REALS,
    "the set of all real numbers": REALS, "empty set": Set(()), "no solution": Set(()), "no solutions": Set(()),
    "no real solution": Set(()), "no real solutions": Set(()), "the empty set": Set(()),
    "there is no solution": Set(()),
    "no solution exists": Set(()), "no solutions exist": Set(()), "there are no solutions": Set(()),
    "there are no real solutions": Set(()), "all real x": REALS, "all real numbers x": REALS, "any real number": REALS,
    "every real number": REALS, "all real values of x": REALS, "dne": _NO_LIMIT, "does not exist": _NO_LIMIT,
    "doesn't exist": _NO_LIMIT, "it does not exist": _NO_LIMIT, "limit does not exist": _NO_LIMIT,
    "the limit does not exist": _NO_LIMIT, "all nonzero real numbers": _NONZERO, "all non-zero real numbers": _NONZERO,
    "all positive real numbers": _POSITIVE, "positive real numbers": _POSITIVE, "positive reals": _POSITIVE,
    "all positive reals": _POSITIVE, "nonzero real numbers": _NONZERO,
    "all integers": _WHOLE, "the integers": _WHOLE, "integers": _WHOLE,
    "the set of integers": _WHOLE, "the set of all integers": _WHOLE,
}  # fmt: skip
_CHOICE = re.compile(r"\(([A-Ja-d])\)|([A-Ja-d])\)|\[([A-J])\]")
_STYLE = r"\\(?:text|textbf|mbox|mathbf|mathrm|textrm|bf)"
_STYLED_CHOICE = re.compile(rf"\s*\$?\s*{_STYLE}\s*\{{\s*\(?([A-Ja-d])\)?\.?\s*\}}\s*\$?\s*\.?")
_WITH_TEXT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_STYLE} ?\{{ ?\(([A-J])\) ?[.:]? ?\}} ?[.:]? ?(.+)",  # \textbf{(A)} 42
        rf"{_STYLE} ?\{{ ?\(?([A-J])(?:\)|[.:]) ?[.:]? ?\}} ?(.+)",  # \text{A: } x = 3
        r"\(([A-J])\)(?: +[:.]? ?|[:.] ?)(.+)",  # (A) 42
        r"([A-J])(?:\) ?|[.:] +)(.+)",  # A. 42
        r"\(?([A-J])\)? [-–—] ([A-Z][a-z]{3,}.*)",  # A - Paris
    )
)
_CHOSEN = re.compile(
    r"(?:the )?(?:correct |right |final )?(?:option|choice|answer)(?: is)?:? \(?([A-J])\)?[.:]?", re.IGNORECASE
)
_CHOSEN_TEXT = re.compile(r"(?:\\text(?:bf)? ?\{ ?)?(?:[Oo]ption|[Cc]hoice|[Aa]nswer) \(?([A-J])\)?[.:] ?\}? ?(.+)")
_NO_TEXT = re.compile(  # what stands behind a letter and is not its text: (B) or 42, (B) is wrong, (B), 41
    r"[,;/&→] ?|\\(?:to|rightarrow|Rightarrow)\b"
    r"|(?:or|and|of|is|isn't|are|could be|may be|wrong|incorrect|not correct|million|dozen)\b",
    re.IGNORECASE,
)
_OTHER_CHOICE = re.compile(
    r"(?<![A-Za-z])\([A-J]\)|(?<![A-Za-z(])[A-J]\)|(?:\A|[,;/&] ?| or )\(?[A-J]\)?\.?\Z|(?<![A-J] )(?:[A-J] )++[A-J]\Z"
)
_SEVERAL = re.compile(
    r"(?:both )?\(?([A-J])\)?(?:, ?| ?(?:,? ?and|&) ?)\(?([A-J])\)?(?:(?:, ?| ?(?:,? ?and|&) ?)\(?([A-J])\)?)?", re.I
)
_DESCRIBED = re.compile(
    r"\(?([A-J])\)? \((?!(?:or|and|not|maybe|perhaps|possibly|could|wrong)\b)([^()]*)\)"
)  # A (the first)
_LETTERED_NUMERAL = re.compile(r"\(?([0-9A-Za-z]*[A-Za-z][0-9A-Za-z]*)\)? ?_ ?\{? ?([0-9]{1,2}) ?\}?")
_FEET = re.compile(r"([0-9]+) ?' ?([0-9]+(?:\.[0-9]+)?) ?(?:\"|''|\^\{''\})")
_STYLED = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")


def whole(text: str, cleaned: str) -> object | None:
    """The tree of a form without anything to parse inside; None: another form."""
    choice = _CHOICE.fullmatch(cleaned) or _STYLED_CHOICE.fullmatch(text)
    if choice:
        return Choice(choice[choice.lastindex].upper())
    plain = without_style(cleaned)
    spellings = (cleaned, plain.replace(" ", "")) if "_" in cleaned else ()
    numeral = next(filter(None, map(_LETTERED_NUMERAL.fullmatch, spellings)), None)
    if numeral and 10 < int(numeral[2]) <= 36 and all(int(digit, 36) < int(numeral[2]) for digit in numeral[1]):
        return Numeral(numeral[1].upper(), int(numeral[2]))
    chosen = _CHOSEN.fullmatch(plain)
    described = _DESCRIBED.fullmatch(plain)
    if chosen or (described and set(re.findall(r"\b[A-J]\b", described[2])) <= {described[1]}):
        return Choice((chosen or described)[1].upper())
    several = _SEVERAL.fullmatch(plain) if plain[0] in "(bB" and len(plain) > 2 else None
    letters = [letter for letter in several.groups() if letter] if several else []
    if letters and plain.count("(") in (0, len(letters)) and "".join(letters).isupper():  # (a, b) is a point
        return Listing(tuple(map(Choice, letters)))
    time = dates.time_of(plain) or dates.date_of(plain)
    if time:
        return time
    feet = _FEET.fullmatch(cleaned)
    if feet:
        return Quantity(Number(Fraction(feet[1]) + Fraction(feet[2]) / 12), "foot")
    return PHRASES.get(plain.casefold())


def choice_with_text(cleaned: str) -> tuple[str, str] | None:
    """The letter and the text of `(A) 42`, `\\textbf{(B)}\\ 73`, `A. Paris`."""
    for pattern in (*_WITH_TEXT, _CHOSEN_TEXT):
        found = pattern.fullmatch(cleaned)
        text = without_style(found[2]) if found else ""
        if text and not _NO_TEXT.match(text) and not _OTHER_CHOICE.search(text):
            return found[1], found[2].strip()
    return None


# A quantity's name before its value


_DERIVATIVE = re.compile(
    r"(\\d?frac ?\{ ?(?:d|\\partial)(?![a-z]{2})[^{}=]{0,12}\} ?\{ ?(?:d|\\partial) ?[a-zA-Z](?:\^ ?\{?[2-9]\}?)? ?\}"
    r"(?: ?[a-zA-Z]?(?:\([a-z0-9, ]*\))?)?) ?=(.+)"
)
_OF_X = re.compile(r"\\d?frac\{d(?:\^\{?([23])\}?)?([a-zA-Z])\}\{dx(?:\^\{?([23])\}?)?\}")  # y' and y''
_NAME = re.compile(
    r"(?:\\(?:text|mathrm|operatorname|mathbb|mathbf|mathcal|Pr|angle|triangle|overline"
    r"|det|lim|arg|dim|deg|ker|max|min|sup|inf|#)|[A-Za-z#\[|]).{0,70}"
)
_ASKED = frozenset("maximum minimum total half quarter percentage average left right remaining gain loss".split())


def derivative(cleaned: str) -> tuple[str, str] | None:
    """The name and the value of `\\frac{dy}{dx} = 2x`."""
    found = _DERIVATIVE.fullmatch(cleaned)
    if found is None:
        return None
    name = found[1].replace(" ", "")
    of_x = _OF_X.fullmatch(name)
    return (of_x[2] + "'" * int(of_x[1] or 1) if of_x and of_x[1] == of_x[3] else name), found[2]


def named_value(cleaned: str) -> tuple[str, str] | None:
    """The name and the value of `P(X > 3) = 0.5`, `E[X] = 3`, `\\angle ABC = 60^\\circ`, `\\frac{dy}{dx} = 2x`."""
    at = _top_level_equals(cleaned)
    if at is None:
        return None
    name, value = cleaned[:at].strip(), cleaned[at + 1 :].strip()
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", name))
    changed = any(word.casefold() in CHANGING and word.casefold() not in _ASKED for word in words)
    if (
        not value
        or not _NAME.fullmatch(name)
        or not _balanced(name)
        or changed
        or len(words) > 6
        or name.endswith(("<", ">", "!", "\\"))
    ):
        return None
    return re.sub(r" +", "", name) if not words else " ".join(without_style(name).casefold().split()), value


def _balanced(text: str) -> bool:
    opened: list[str] = []
    for sign in text:
        if sign in "([{":
            opened.append({"(": ")", "[": "]", "{": "}"}[sign])
        elif sign in ")]}" and (not opened or opened.pop() != sign):
            return False
    return not opened


def _top_level_equals(text: str) -> int | None:
    """Where the one `=` stands that no bracket holds; None where there is none, or more than one."""
    depth, found = 0, []
    for at, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "=" and depth == 0:
            found.append(at)
    return found[0] if len(found) == 1 else None


def plain_words(cleaned: str, why: str) -> Words | None:
    """Letters, digits and the punctuation of a phrase, with at least one word of two letters; None for all else."""
    plain = without_style(cleaned)
    if not re.search(r"[^\W\d_]{2}", plain) or not _WORDS.fullmatch(plain):
        return None
    plain = _ARTICLE.sub("", _LETTERS.sub(lambda word: cased(word[0]), plain.rstrip(".!?")))
    return Words(re.sub(r",? and ", ", ", plain), why)  # a list of names keeps its order


_ARTICLE = re.compile(r"\A(?:the|an?) (?=\w{3})")
_LETTERS = re.compile(r"[^\W_]+")
_WORDS = re.compile(r"[^\W_]+(?:[ ,.'!?&-]+[^\W_]+)*[.!?]?")


def without_style(text: str) -> str:
    return " ".join(_STYLED.sub(lambda match: f" {match[1]} ", text).split())


def spelled_alike(cleaned: str) -> str:
    """Unread text for comparing letter by letter: its case counts, its spaces do not.

    A space stays between two numbers, between words, and behind a command's name, where it divides.
    """
    text = _STYLED.sub(lambda match: match[1], cleaned)
    text = re.sub(r"([_^]) ?\{ ?([0-9A-Za-z]) ?\}", r"\1\2", text)  # x^{2} is x^2
    text = re.sub(r"\\(?:long)?rightarrow(?![A-Za-z])|→|->", r"\\to ", text)
    text = re.sub(r"\\[lcv]?dots[bcmio]?(?![A-Za-z])|\.\.\.", r"\\ldots ", text)  # wherever on the line they stand
    pieces = re.findall(r"\\[A-Za-z]+|\\.|[0-9]+|[^\W\d_]+|\S", text)
    spelled, at = "", 0
    for before, piece in zip(["", *pieces], pieces, strict=False):
        start = text.index(piece, at)
        spaced, at = start > at, start + len(piece)
        both = spaced and before[-1:].isalnum() and piece[0].isalnum()
        divides = both and (
            before[-1].isdigit() == piece[0].isdigit() and (piece[0].isdigit() or min(len(before), len(piece)) > 1)
        )
        command = len(before) > 1 and before[0] == "\\" and before[1].isalpha() and piece[0].isalpha()
        spelled += (" " if divides or command else "") + piece
    return spelled
