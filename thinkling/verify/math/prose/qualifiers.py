r"""What restricts an answer, behind it: `2^n - 1, n \ge 1`, `k\pi \text{ for any integer } k`, `y = 2x \ (x > 0)`.

That a name is whole, real or any restricts nothing that a value could show, and is left out.
"""

import re

_WORD = r"(?:for all|for any|for every|for each|for|where|with|when|if|as long as|provided that|provided|such that|given that)"
_BEHIND = (
    re.compile(rf"(.+?)[,;]? ?\\(?:text|mathrm|textrm)\{{ ?,? ?{_WORD}\b ?(.*)"),
    re.compile(rf"(.+?)[,;]? \b{_WORD} (.+)"),
    re.compile(r"(.+?) ?\(((?:[^()]|\([^()]*\))*(?:\\in|\\ge|\\le|\\ne|\\geq|\\leq|\\neq|\\forall|<|>)(?![a-z])(?:[^()]|\([^()]*\))*)\)"),
    re.compile(r"(.+?) ?[,;] ?(?:\\forall ?)?((?:[A-Za-z](?:_[0-9])? ?, ?)*[A-Za-z](?:_\{?[0-9]\}?)? ?(?:\\in(?![a-z])|\\ge|\\le|\\ne|\\geq|\\leq|\\neq|<|>).+)"),
)  # fmt: skip
_NOTHING = re.compile(
    r"(?:(?:all|any|every|each|some|an?|is|are|arbitrary|constants?|integers?|whole|real|natural|positive|numbers?|values? of|the"
    r"|\\forall|and|\\in|\\mathbb ?\{? ?[RZNQC] ?\}?(?:\^\+|_\+|\^\*)?|\\mathbf ?\{? ?[RZ] ?\}?|\\Z|\\R|[A-Za-z](?:_\{?[0-9]\}?)?|[,.{}() ])(?![a-z]))+",
    re.IGNORECASE,
)
_STYLED = re.compile(r"\\(?:text|mbox|textrm|mathrm)\s*\{([^{}]*)\}")
_COMPASS = re.compile(r"(.+?) ?\\text\{ ?(?:north|south|east|west) of (?:north|south|east|west) ?\}|(.+?) (?:north|south|east|west) of (?:north|south|east|west)", re.I)  # fmt: skip


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
        return answer, "" if _NOTHING.fullmatch(condition) else condition
    return None
