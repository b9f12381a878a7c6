r"""What restricts an answer, behind it: `2^n - 1, n \ge 1`, `k\pi \text{ for any integer } k`, `y = 2x \ (x > 0)`.

That a name is any restricts nothing, and is left out; of a real or a whole one only that is kept.
"""

import re

_WORD = r"(?:for (?:all|any|every|each)|for|where|with|when|if|as long as|provided(?: that)?|such that|given that)"
_SIGN = r"(?:\\in|\\ge|\\le|\\ne|\\geq|\\leq|\\neq|\\forall|<|>)(?![a-z])"
_NAME = r"[A-Za-z](?:_\{?[0-9]\}?)?"
_KIND = "(?:prime|odd|even|constant|arbitrary|integer|natural|real)"
_BEHIND = (
    re.compile(rf"(.+?)[,;]? ?\\(?:text|mathrm|textrm)\{{ ?,? ?{_WORD}\b ?(.*)"),
    re.compile(rf"(.+?)[,;]? \b{_WORD} (.+)"),
    re.compile(rf"(.+?) ?\(((?:[^()]|\([^()]*\))*{_SIGN}(?:[^()]|\([^()]*\))*)\)"),
    re.compile(rf"(.+?) ?[,;] ?({_NAME} ?\\text ?\{{ ?(?:is )?(?:an? |any )?{_KIND}\b.*)"),
    re.compile(rf"(.+?) ?[,;] ?(?:\\forall ?)?((?:{_NAME} ?, ?)*{_NAME} ?{_SIGN}.+)"),
)  # fmt: skip
_FILLER = re.compile(
    r"\b(?:all|any|every|each|some|an?|is|are|arbitrary|constants?|numbers?|values? of|the|and|of)\b|\\forall|[,.]",
    re.I,
)
_SETS = (
    (re.compile(r"\\in ?\\(?:mathbb|mathbf) ?\{? ?R ?\}?|\\in ?\\R(?![A-Za-z])|\breals?\b", re.I), "real"),
    (re.compile(r"\\in ?\\(?:mathbb|mathbf) ?\{? ?Z ?\}?|\\in ?\\Z(?![A-Za-z])"), "integer"),
    (re.compile(r"\bpositive integers?\b|\bnatural\b|\\in ?\\mathbb ?\{? ?(?:N|Z ?\}? ?[_^] ?\{?\+) ?\}?"), "natural"),
    (re.compile(r"\bintegers?\b|\bwhole\b", re.I), "integer"),
)  # fmt: skip
_OF_NUMBERS = re.compile(
    r"(?:(?:all|any|every|each|positive|negative|non-?negative|non-?zero|odd|even|prime|real|whole|rational|complex"
    r"|integers?|reals?|numbers?|primes?|values?) ?)+"
)
_HEAD = re.compile(r"([A-Za-z]) ?=")
KINDS = ("integer", "natural", "real")
_NAMES = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_ARTICLE = re.compile(r"\b(?:is|are|an?) an? ")
_STYLED = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{([^{}]*)\}")
_POINT = r"(?:north|south|east|west)"
_COMPASS = re.compile(rf"(.+?) ?\\text\{{ ?{_POINT} of {_POINT} ?\}}|(.+?) {_POINT} of {_POINT}", re.IGNORECASE)


def split(cleaned: str) -> tuple[str, str] | None:
    """The answer and its condition, "" where the condition restricts nothing; None where there is none."""
    compass = _COMPASS.fullmatch(cleaned)
    if compass:
        return (compass[1] or compass[2]).strip(), cleaned[len(compass[1] or compass[2]) :].strip().casefold()
    for pattern in _BEHIND:
        found = pattern.fullmatch(cleaned)
        if found is None:
            continue
        answer, condition = found[1].strip(" ,;"), _STYLED.sub(lambda match: f" {match[1]} ", found[2]).strip(" ,;.")
        if answer.count("{") != answer.count("}"):
            continue
        condition = condition.replace("}", "", 1) if condition.count("}") > condition.count("{") else condition
        condition = " ".join(condition.split())
        names = set(_NAMES.findall(_ARTICLE.sub(" ", _without_sets(condition))))
        if not names <= set(re.sub(r"\\[A-Za-z]+", "", answer)):
            return None  # a condition on a name that the answer does not have
        kind = _in_short(condition)
        if kind and kind not in KINDS and not _NAMES.search(condition) and not _OF_NUMBERS.fullmatch(condition):
            return None  # a condition on nothing: 5 for 6, 5 with remainder 2
        head = _HEAD.match(answer)
        return answer, condition if head and names == {head[1]} else kind  # x = kπ for whole x is not for whole k
    return None


def _without_sets(condition: str) -> str:
    return re.sub(r"\\(?:mathbb|mathbf|R|Z)(?![a-z]) ?\{? ?[A-Z]? ?\}?", "", condition)


def _in_short(condition: str) -> str:
    """What a condition says of its names: "integer", "natural", "real", "" for any; all else as it is written."""
    kind, rest = "", condition
    for pattern, name in _SETS:
        if pattern.search(rest):
            kind, rest = name if kind in ("", "real") else kind, pattern.sub(" ", rest)
    if not _NAMES.sub("", _FILLER.sub(" ", rest)).strip(" (){}"):
        return kind
    return condition
