r"""Which text after a number is a unit: "12 apples", `\text{ m/s}^2`, `\mathrm{~kg} \cdot \mathrm{m}`, "60 km/h".

A unit is a list of known ones (units.py), or a plain counted noun in the plural. A word that could change the number
("5 below zero", "5 in debt") makes a phrase no unit, and the answer is then not read.
"""

import re
from functools import lru_cache

from thinkling.verify.math.expressions.clean import STYLE
from thinkling.verify.math.quantities.units import known, many

_WORDS = re.compile(r"([A-Za-z]+(?:(?: per |[ /-]|\. )[A-Za-z]+){0,5})\.?(?: ?\^ ?\{? ?([23]) ?\}?)?")
_CHANGING_WORDS = """
    or and to not no non nor vs versus between from about than less more least most fewer plus minus times over by
    if is are was at for when where with wrong right false incorrect invalid unless but except excluded excluding
    without divided power squared cubed factorial choose base mod modulo remainder pi sqrt root log ln exp sin cos
    tan cot sec csc infinity infty half halve third fourth quarter fifth sixth seventh eighth ninth tenth hundredth
    thousandth millionth one two three four five six seven eight nine ten eleven twelve dozen score hundred thousand
    million billion trillion pair alpha beta gamma delta epsilon theta lambda mu nu phi psi rho sigma tau omega lakh
    crore bn below above under before after until past behind ahead beyond down up off back backward backwards late
    early ago earlier later left zero noon midnight negative positive opposite reciprocal inverse conjugate
    complement supplement loss losse lost lose losing debt debit deficit deficient short shortage shortfall missing
    owed owing overdue overdrawn withdrawn withdrawal decrease decreased reduced reduction discount increase
    increased gain fold double triple twice thrice multiple imaginary undefined absolute decline declined drop fall
    fell fallen lower higher greater smaller unknown hence apiece exponent percentage bar repeating recurring
    approximately almost nearly roughly around maybe perhaps possibly probably impossible never none neither red
    south north east west many extra other another spare too underground underwater undersea uphill downhill downward
    upward downwards upwards clockwise counterclockwise anticlockwise refunded bankrupt deducted subtracted stolen
    forfeited unpaid overweight underweight penalty mil mln mio mrd milliard grand thou myriad remainder thereabout
    alternate frost colder onward hole younger incorrecta fail
"""
CHANGING = frozenset(_CHANGING_WORDS.split())
_ERAS = ("BC", "BCE")  # a year before the first; small, they are names of other things
_SKIPPING = re.compile(r"\bevery (?:second|third|fourth|few)\b [a-z]")  # every second day
_IRREGULAR = frozenset("people children men women feet mice geese teeth fish sheep deer dice cattle oxen".split())
_NO_PLURAL = ("ss", "us", "is", "ous")
_TAILS = frozenset(
    "total altogether each old tall long wide high deep away apart all overall only square sq cubic".split()
)
_SAME_UNIT = {
    "degree": "°", "dollar": "$", "percent": "%", "inche": "inch", "deg": "°", "pct": "%", "usd": "$", "feet": "foot",
    "euro": "€", "centurie": "century", "person": "people",
}  # fmt: skip
_PIECE = re.compile(
    rf" *(?:\\(?P<style>{STYLE})(?![A-Za-z])\*? ?\{{(?P<styled>(?:[^{{}}]|\{{[^{{}}]*\}})*)\}}"
    r"|\\frac ?\{(?P<top>(?:[^{}]|\{[^{}]*\})+)\} ?\{(?P<bottom>(?:[^{}]|\{[^{}]*\})+)\}"
    r"|(?P<sign>\\(?:mu|upmu|Omega|ohm|cdot|pounds)(?![A-Za-z])|[/*]|[€£¥₹¢])"
    r"|\^ ?(?P<power>-?[1-9](?![0-9])|\{ ?-?[1-9] ?\})|(?P<letters>[A-Za-zµμΩÅ]+)\.?)"
)
_SIGNS = {"\\mu": "μ", "\\upmu": "μ", "\\Omega": "Ω", "\\ohm": "Ω", "\\cdot": "·", "\\pounds": "£", "*": "·"}
_NAME = re.compile(r"(°[CF]?|[A-Za-zµμΩÅ]+|[€£¥₹¢$])(?:\^(-?[1-9]))?")
_MAX_PIECES = 12

Parts = list[tuple[str, int]]


def unit_at(text: str, at: int, before: str, one: bool = False) -> tuple[str, int] | None:
    """The unit that starts at a place of a cleaned text, and where it ends; None where none does.

    It is as long as it can be, and a phrase is never cut: in "5 degrees below zero" there is no unit. `before` is the
    kind of the token before it, for after a variable a single letter is mostly another one.
    """
    pieces = []
    end = at
    while len(pieces) < _MAX_PIECES and (piece := _PIECE.match(text, end)):
        over = [_plain(piece["top"]), _plain(piece["bottom"])] if piece["top"] is not None else []
        if any("\\" in part or part.isdigit() for part in over):
            break  # \frac{\pi}{2}, \frac12: no part of a unit
        if over and any(one["top"] is not None for one in pieces):
            break  # a unit has one fraction
        pieces.append(piece)
        end = piece.end()
    for count in range(len(pieces), 0, -1):
        unit = _unit(pieces[:count], before, one)
        if unit is not None:
            following = pieces[count] if count < len(pieces) else None
            word = (following["letters"] or following["styled"] or "").strip() if following else ""
            if len(word) > 1 and word.casefold() not in ("and", "or"):
                return None
            return unit, pieces[count - 1].end()
    return None


def _unit(pieces: list[re.Match], before: str, one: bool) -> str | None:
    """The unit that some pieces spell together; single plain letters are units only in a quotient: the h of km/h."""
    spelled, plain = "", True
    for place, piece in enumerate(pieces):
        if piece["letters"] is not None:
            single = len(piece["letters"]) == 1 and not (place == 0 and _is_over_word(pieces))
            if single and (place == 0 or (plain and pieces[place - 1]["sign"] not in ("/", "\\mu"))):
                return None
            spelled += f" {piece['letters']}"
        elif piece["styled"] is not None:
            plain = False
            spelled += f" {_plain(piece['styled'])}"
        elif piece["power"] is not None:
            spelled += f"^{piece['power'].strip('{ }')}"
        elif piece["sign"] is not None:
            spelled += _SIGNS.get(piece["sign"], piece["sign"])
        else:
            plain = False
            spelled += f" {_plain(piece['top'])}/{_plain(piece['bottom'])}"
    spelled = re.sub(r"(?<= per )(\w+) squared", r"\1^2", spelled.replace("per cent", "percent"))
    spelled = re.sub(r"([μµ]) (?=[A-Za-z])|([kM]) (?=Ω)", r"\1\2", spelled.strip())
    if not spelled or spelled[0] in "/·^" or spelled[-1] in "/·":
        return None
    parts = _symbols(spelled, splits=not plain)
    if parts is not None:
        if before == "symbol" and len(parts) == 1 and len(parts[0][0]) == 1 and parts[0][0] not in "msghl":
            return None
        return _canonical(parts)
    return unit_of(spelled.replace("·", " "), styled=not plain, one=one)


def _is_over_word(pieces: list[re.Match]) -> bool:
    """Whether a lone letter stands over a longer name of a unit, as the g of g/mol."""
    below = pieces[2]["letters"] if len(pieces) > 2 and pieces[1]["sign"] == "/" else None
    return below is not None and len(below) > 1 and known(below) is not None and known(pieces[0]["letters"]) is not None


@lru_cache(1024)
def _plain(content: str) -> str:
    """What stood in `\\mathrm{}`, without LaTeX: `m\\cdot s^{-1}` is m·s^-1."""
    content = re.sub(r"\\(?:text|mathrm|rm) ?\{([^{}]*)\}", r" \1 ", content)
    content = re.sub(r"\\[A-Za-z]+ ?", lambda found: _SIGNS.get(found[0].strip(), found[0]), content)
    content = re.sub(r"\^ ?\{ ?(-?[0-9]) ?\}", r"^\1", re.sub(r"\\[ ,;:!]|~", " ", content).replace("*", "·"))
    content = re.sub(r"/ ?\(([^()/]*)\)\Z", r"/\1", content.strip())  # J/(kg·K)
    content = re.sub(r"(\^-?[0-9])(?=[A-Za-zΩμ])", r"\1 ", content)  # g^-1K^-1
    return " ".join(content.split()).strip(" ,.")


def _symbols(spelled: str, splits: bool) -> Parts | None:
    """`m s^-1`, `kg·m/s^2`, `km per h`: names with powers; None where one of them is no known symbol."""
    parts, sign = [], 1
    for word in re.sub(r" ?([/·]) ?| +", lambda found: f" {found[1] or ''} ", spelled).split():
        if word in ("/", "per"):
            sign = -1
            continue
        name = _NAME.fullmatch(word)
        if word == "·":
            continue
        if name is None or (len(name[1]) > 4 and name[1].isalpha()) or known(name[1]) is None:
            split = splits and name and len(name[1]) == 2 and all(map(known, name[1])) and name[1] not in _ERAS
            if not split:
                return None
            parts.append((name[1][0], sign))
            parts.append((name[1][1], sign * int(name[2] or 1)))
            continue
        if name[1] in CHANGING and not (name[1] == "sec" and sign < 0):  # m/sec
            return None
        parts.append((name[1], sign * int(name[2] or 1)))
    return parts or None


def _canonical(parts: Parts) -> str:
    def written(name: str, power: int) -> str:
        name = _SAME_UNIT.get(name, name)
        name = name if len(name) < 3 else _singular(name)
        return f"{name}^{power}" if power > 1 else name

    top = [written(name, power) for name, power in parts if power > 0]
    bottom = [written(name, -power) for name, power in parts if power < 0]
    return " ".join([*top, *(["per", *bottom] if bottom else [])])


def unit_of(words: str, styled: bool, one: bool = False) -> str | None:
    """The unit that English words spell, singular: "square inches" is "inch^2"; None where they are no unit.

    `styled`: the words stood in `\\text{}` or the like, where "m" can only be the metre. `one`: the number is 1, so
    that its noun stands in the singular.
    """
    spelled = _WORDS.fullmatch(" ".join(words.split()))
    if spelled is None or spelled[1] in _ERAS:
        return None
    parts = spelled[1].replace("/", " per ").replace(".", " ").replace("-", " ").split()
    parts = [part if len(part) < 4 and known(part) else part.casefold() for part in parts]
    singular = [part if len(part) < 3 else _singular(part) for part in parts]
    if not CHANGING.isdisjoint([*singular, *parts]) or _SKIPPING.search(spelled[1]) or any(map(many, singular)):
        return None
    units = [known(part) is not None for part in singular]
    counted = one or any(part in _IRREGULAR or part in _TAILS or _is_plural(part) for part in parts)
    if not (any(units) or counted):
        return None
    for part, name, unit in zip(parts, singular, units, strict=True):
        if unit:
            if len(name) == 1 and name.isalpha() and not styled and "per" not in parts:
                return None
        elif name not in ("per", "of", "in", "sq") and (len(name) < 3 or not set(name) & set("aeiouy")):
            return None
        elif part.endswith("ths") and part not in ("months", "myths", "moths", "cloths", "paths", "baths"):
            return None  # sixteenths
    power = spelled[2]
    if singular[0] in ("square", "sq", "cubic") and len(singular) > 1 and not power:
        power, singular = ("3" if singular[0] == "cubic" else "2"), singular[1:]
    if singular[0] == "°" and singular[1:] in (["celsius"], ["fahrenheit"]):
        return "°C" if singular[1] == "celsius" else "°F"
    return " ".join(singular) + (f"^{power}" if power else "")


def _singular(word: str) -> str:
    one = word.removesuffix("s") if len(word) > 2 and word not in ("celsius", "gas") else word
    return _SAME_UNIT.get(one, one)


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and not word.endswith(_NO_PLURAL)
