"""Answer text -> a number with its unit, or normalised text.

Reads integers, decimals, fractions, mixed numbers, small powers, percent, currency and units by exact arithmetic.
Leaves out roots, constants, variables, intervals, sets, tuples and matrices: those stay text. Everything is bounded
before it is computed, and no text is ever evaluated.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000
MAX_DIGITS = 300


@dataclass(frozen=True)
class Number:
    """An exact value; `unit` is "" for none, "%" (the value is then already divided by 100), "$", "°" or words."""

    value: Fraction
    unit: str = ""


@dataclass(frozen=True)
class Text:
    """Anything that is not a number: case, spacing and LaTeX styling removed; brackets, order and signs kept."""

    text: str


def parse(text: str) -> Number | Text | None:
    """The value of an answer's text; None where it is empty or longer than MAX_CHARACTERS.

    `1,234` is one number (a comma before exactly three digits); `1,2` and `12,34` are text. `1\\frac{4}{5}` and `1 4/5`
    are 9/5. A number past MAX_DIGITS, or a power whose value would be, is text.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    text = _clean(text)
    number = _number(text)
    if number is not None:
        return number
    normalised = _normalise(text)
    return Text(normalised) if normalised else None


_STYLE = r"\\(?:text|mbox|textrm|textbf|mathrm|mathbf)\s*\{([^{}]*)\}"
_STYLED = re.compile(_STYLE)
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("−", "-"),  # the typographic minus sign
        (r"(?<!\\)\\[()\[\]]", " "),  # \( \) \[ \]: math delimiters
        (r"\\!\s*", ""),
        (r"\{,\}", ","),
        (r"\\(?:left|right)(?![A-Za-z])", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"(?<![0-9])\\,|\\,(?![0-9])|(?<!\\)\\[ ;:]|~|\\q?quad(?![A-Za-z])", " "),  # \, stays between digits
        (r"\s+", " "),
    )
)
_DOLLAR = re.compile(r"(?<!\\)\$")


def _clean(text: str) -> str:
    """Remove what carries no meaning in any answer: math delimiters, thin spaces, one final period."""
    if len(_DOLLAR.findall(text)) % 2 == 0:  # they pair up, so they delimit math; a lone one is a currency sign
        text = _DOLLAR.sub(" ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = text.strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    whole = _STYLED.fullmatch(text)
    return whole.group(1).strip() if whole else text


def _normalise(text: str) -> str:
    text = _STYLED.sub(lambda match: match.group(1), text.replace("\\,", " "))
    text = re.sub(
        r"\\[A-Za-z]+|[^\\]+", lambda m: m[0] if m[0].startswith("\\") else m[0].casefold(), text
    )  # \Pi != \pi
    text = re.sub(r"([_^])\{([0-9A-Za-z])\}", r"\1\2", text)  # x^{2} is x^2
    text = re.sub(r"(?<![^\W_]) | (?![^\W_])", "", text)  # a space counts only between letters or digits
    choice = re.fullmatch(r"\(([a-z])\)", text)  # (B) is B
    return choice.group(1) if choice else text


# Numbers. Each form is a pattern and the function that turns its groups (those that took part) into a value.

_PLAIN = r"(?:[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:\\,[0-9]{3})+)|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_SIGNED = rf"[+-]? ?(?:{_PLAIN})"
_PART = rf"(?:\{{ ?({_SIGNED}) ?\}}| ?([0-9]))"  # {12}, or one bare digit as in \frac12
_WHOLE_PART = r"(?:\{ ?([0-9]+) ?\}| ?([0-9]))"


def _plain(digits: str) -> Fraction:
    sign = -1 if digits.startswith("-") else 1
    whole, _, decimals = digits.replace("\\,", "").replace(",", "").strip("+- ").partition(".")
    return Fraction(sign * int(whole + decimals), 10 ** len(decimals))


def _ratio(top: str, bottom: str) -> Fraction | None:
    return _plain(top) / _plain(bottom) if _plain(bottom) else None


def _mixed(whole: str, top: str, bottom: str) -> Fraction | None:
    """None where the fraction is improper: `2\\frac{9}{5}` may as well be a product."""
    return int(whole) + Fraction(int(top), int(bottom)) if int(top) < int(bottom) else None


def _power(*parts: str) -> Fraction | None:
    *scale, base, exponent = parts
    if len(exponent) > 4 or len(base) * abs(int(exponent)) > MAX_DIGITS or int(base) == 0:
        return None
    return Fraction(int(base)) ** int(exponent) * (_plain(scale[0]) if scale else 1)


_POWER = rf"(?:({_PLAIN}) ?(?:\\times|\\cdot|×|\*) ?)?([0-9]+) ?\^ ?(?:\{{ ?(-?[0-9]+) ?\}}|([0-9]+))"
_FORMS: tuple[tuple[re.Pattern, Callable[..., Fraction | None]], ...] = (
    (re.compile(rf"([0-9]+) ?\\frac{_WHOLE_PART} ?{_WHOLE_PART}"), _mixed),
    (re.compile(r"([0-9]+) ([0-9]+) ?/ ?([0-9]+)"), _mixed),
    (re.compile(rf"\\frac{_PART} ?{_PART}"), _ratio),
    (re.compile(_POWER), _power),
    (re.compile(rf"({_PLAIN}) ?/ ?({_SIGNED})"), _ratio),
    (re.compile(f"({_PLAIN})"), _plain),
)
_PREFIX = re.compile(r"([+-]?) ?(\\?\$)? ?([+-]?) ?")


def _number(text: str) -> Number | None:
    prefix = _PREFIX.match(text)
    form, match = next(((f, m) for p, f in _FORMS if (m := p.match(text, prefix.end()))), (None, None))
    if match is None or (prefix[1] and prefix[3]) or sum(c.isdigit() for c in match[0]) > MAX_DIGITS:
        return None
    unit = _unit(text[match.end() :])
    value = form(*(group for group in match.groups() if group is not None))
    if unit is None or value is None:
        return None
    if "-" in (prefix[1], prefix[3]):
        value = -value
    if prefix[2]:
        return Number(value, "$") if unit != "%" else None
    return Number(value / 100 if unit == "%" else value, unit)


# Units: signs, or one to four plain words that do not change the number: "12 apples" is 12, "12 dozen" is not.

_UNIT = re.compile(
    rf" ?(?:(?P<sign>\\?[%$]|°|\^ ?(?:\\circ|\{{ ?\\circ ?\}}))"
    rf"|(?P<styled>{_STYLE}) ?(?P<power>\^ ?(?:[23]|\{{[23]\}}))?|(?<= )(?P<bare>[A-Za-z].*))"
)
_WORDS = re.compile(r"([A-Za-z]+(?:(?: per |[ /])[A-Za-z]+){0,3})\.?(?:\^\{?([23])\}?)?")
_SHORT_WORDS = "cm mm km kg mg ml ft yd in hr lb oz mph of gb mb kb"  # the rest need a vowel and three letters
_LETTERS = "m g s h l"  # metre, gram, second, hour, litre: units only inside \text{}, variables elsewhere
_CHANGING_WORDS = """
    or and to not no but nor vs versus between from about than less more least most fewer plus minus times over by if
    divided power squared cubed factorial choose base mod modulo pi sqrt root log ln exp sin cos tan cot sec csc
    infinity infty half halve third fourth quarter fifth sixth seventh eighth ninth tenth hundredth thousandth millionth
    one two three four five six seven eight nine ten eleven twelve dozen score hundred thousand million billion trillion
    pair alpha beta gamma delta epsilon theta lambda mu nu phi psi rho sigma tau omega
"""
_SHORT = frozenset(_SHORT_WORDS.split())
_SHORT_STYLED = _SHORT | frozenset(_LETTERS.split())
_CHANGES_THE_NUMBER = frozenset(_CHANGING_WORDS.split())
_SAME_UNIT = {"degree": "°", "dollar": "$", "percent": "%"}


def _unit(rest: str) -> str | None:
    """The unit that the text after a number spells, "" for none; None where it is no unit, and so no number either."""
    if not rest.strip():
        return ""
    match = _UNIT.fullmatch(rest)
    if match is None:
        return None
    if match["sign"]:
        return match["sign"].removeprefix("\\") if match["sign"][-1] in "%$" else "°"
    styled = match["bare"] is None
    content = (match[3] if styled else match["bare"]).strip()
    if not content and not match["power"]:
        return ""
    spelled = _WORDS.fullmatch(content)
    if spelled is None:
        return None
    words = spelled[1].replace("/", " per ").casefold().split()
    singular = [word.removesuffix("s") if len(word) > 2 else word for word in words]
    if not _CHANGES_THE_NUMBER.isdisjoint(words + singular):
        return None
    known = _SHORT_STYLED if styled else _SHORT
    if any((len(word) < 3 or not set(word) & set("aeiou")) and word not in known for word in singular):
        return None  # a variable or a product of variables, such as the "x" of "3 x"
    power = spelled[2] or (match["power"] or "").strip("^ {}")
    unit = " ".join(singular)
    return _SAME_UNIT.get(unit, unit) + (f"^{power}" if power else "")
