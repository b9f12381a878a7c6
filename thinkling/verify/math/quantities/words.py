"""Numbers in words: five, twenty-one, one hundred, negative 5, 3 dozen, 5 twelfths, 3rd, 12^{th}, third.

Read as a second reading under lenient rules only; that "five" is not a variable's name needs no reading.
"""

import re
from fractions import Fraction

_SMALL = {
    word: value for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
} | {"a": 1, "an": 1}  # fmt: skip
_TENS = {
    word: 10 * value for value, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
SCALES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "lakh": 10**5,
    "crore": 10**7, "dozen": 12, "score": 20, "ten": 10, "bn": 10**9, "mn": 10**6,
}  # fmt: skip
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "thirtieth": 30, "fortieth": 40,
    "fiftieth": 50, "sixtieth": 60, "hundredth": 100, "thousandth": 1000, "millionth": 10**6,
}  # fmt: skip
_SHARES = {f"{word}s": value for word, value in _ORDINALS.items() if value > 2} | {
    "half": 2, "halves": 2, "quarter": 4, "quarters": 4,
}  # fmt: skip
_NUMERAL = re.compile(r"-?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_NTH = re.compile(r"([0-9]+)[ -]?(?:\^ ?)?\{? ?(?:\\(?:text|mathrm|textrm)\{ ?)?(st|nd|rd|th) ?\}? ?\}?")
_COMBINED = (
    (re.compile(r"(.+) (?:out of|over|in) (.+)"), lambda top, bottom: top / bottom if bottom else None),  # 1 in 5
    (re.compile(r"(.+) squared"), lambda base: base**2 if 0 <= base < 10**9 else None),
    (re.compile(r"(.+) cubed"), lambda base: base**3 if 0 <= base < 10**9 else None),
    (re.compile(r"([0-9]+) and ([0-9]+)/([0-9]+)"), lambda n, top, bottom: n + top / bottom if top < bottom else None),
)  # fmt: skip
_SIGN = re.compile(r"(?:negative|minus) ")


def value_of(text: str) -> Fraction | None:
    """The number that some words spell; None where they spell none."""
    nth = _NTH.fullmatch(text.strip())
    if nth:
        return Fraction(int(nth[1])) if nth[2] == _suffix(int(nth[1])) else None
    plain = re.sub(r"\\(?:text|mathrm|textrm|textbf|mbox)\{([^{}]*)\}", r" \1 ", text).casefold()
    plain = " ".join(re.sub(r"(?<=[a-z])-(?=[a-z])", " ", plain).split())
    plain = plain.removesuffix(".") if not plain.endswith("..") else plain
    sign = _SIGN.match(plain)
    if sign:
        inner = value_of(plain[sign.end() :])
        return -inner if inner is not None and inner >= 0 else None
    if not plain or len(plain) > 100:
        return None
    for pattern, combined in _COMBINED:
        if found := pattern.fullmatch(plain):
            values = [_spelled(part.split()) for part in found.groups() if part]
            return combined(*values) if None not in values else None
    return _spelled(plain.removesuffix(" only").split())


def _suffix(n: int) -> str:
    return "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")


def _spelled(words: list[str]) -> Fraction | None:
    if words[-1] in _ORDINALS and (
        len(words) == 1 or all(w in _SMALL or w in _TENS or w in SCALES for w in words[:-1])
    ):
        return _ordinal(words)
    if words in (["half"], ["quarter"]):
        return Fraction(1, _SHARES[words[0]])
    if words[-1] in _SHARES and len(words) > 1:
        if "and" in words[:-2]:  # two and a half, two and three quarters
            split = words.index("and")
            whole, count = _whole(words[:split]), _count(words[split + 1 : -1])
            known = whole is not None and count is not None and whole < 100
            return whole + count / _SHARES[words[-1]] if known else None
        count = _count(words[:-1])
        return None if count is None else count / _SHARES[words[-1]]
    return _whole(words)


def _count(words: list[str]) -> Fraction | None:
    return Fraction(1) if words in (["a"], ["an"]) else _whole(words)


def _ordinal(words: list[str]) -> Fraction | None:
    last = _ORDINALS[words[-1]]
    if len(words) == 1:
        return Fraction(last)
    if words[0] == "a" and len(words) == 2:
        return Fraction(1, last) if last > 2 else None
    before = _whole(words[:-1])
    if before is None:
        return None
    if words[-2] in _TENS:
        return before + last if last < 10 else None
    if words[-2] == "a" or (len(words) == 2 and words[0] == "one"):
        return Fraction(1, last) if last > 2 else None
    return None


def _whole(words: list[str]) -> Fraction | None:
    """`two hundred and five`, `1.5 million`, `3 dozen`."""
    total, group, seen, before = Fraction(0), Fraction(0), False, None
    for word in words:
        scale = SCALES.get(word) or SCALES.get(word.removesuffix("s")) if word != "ten" else None
        if _NUMERAL.fullmatch(word):
            if seen:
                return None
            group, seen = Fraction(word.replace(",", "")), True
        elif scale:
            if not seen:
                return None
            if scale == 100 or scale in (12, 20, 10):
                group *= scale
            else:
                total, group = total + group * scale, Fraction(0)
        elif word in _SMALL or word in _TENS:
            value = _SMALL.get(word, _TENS.get(word, 0))
            if seen and before not in ("tens", "scale", "and"):
                return None
            if before == "tens" and not 0 < value < 10:
                return None
            group, seen = group + value, True
        elif word != "and" or not seen:
            return None
        before = "tens" if word in _TENS else "scale" if scale else word if word == "and" else "small"
    return total + group if seen and before != "and" and words not in (["a"], ["an"]) else None
