"""Which words after a number are a unit: "12 apples" is 12, "12 dozen" and "3 x" are not.

Leaves out conversion: 12 cm and 0.12 m are different answers.
"""

import re

_WORDS = re.compile(r"([A-Za-z]+(?:(?: per |[ /])[A-Za-z]+){0,3})\.?(?: ?\^ ?\{? ?([23]) ?\}?)?")
_SHORT_WORDS = "cm mm km kg mg ml ft yd in hr lb oz mph of gb mb kb"  # the rest need a vowel and three letters
_LETTERS = "m g s h l"  # metre, gram, second, hour, litre: units only inside \text{}, variables elsewhere
_CHANGING_WORDS = """
    or and to not no but nor vs versus between from about than less more least most fewer plus minus times over by if
    is are was at for when where with wrong right
    divided power squared cubed factorial choose base mod modulo pi sqrt root log ln exp sin cos tan cot sec csc
    infinity infty half halve third fourth quarter fifth sixth seventh eighth ninth tenth hundredth thousandth millionth
    one two three four five six seven eight nine ten eleven twelve dozen score hundred thousand million billion trillion
    pair alpha beta gamma delta epsilon theta lambda mu nu phi psi rho sigma tau omega
"""
_SHORT = frozenset(_SHORT_WORDS.split())
_SHORT_STYLED = _SHORT | frozenset(_LETTERS.split())
_CHANGES_THE_NUMBER = frozenset(_CHANGING_WORDS.split())
_SAME_UNIT = {"degree": "°", "dollar": "$", "percent": "%", "inche": "inch"}


def unit_of(words: str, styled: bool) -> str | None:
    """The unit that words spell, singular: `\\text{ inches}^2` is "inch^2"; None where they are no unit.

    `styled`: the words stood in `\\text{}` or the like, where "m" can only be the metre.
    """
    spelled = _WORDS.fullmatch(words.strip())
    if spelled is None:
        return None
    parts = spelled[1].replace("/", " per ").casefold().split()
    singular = [part.removesuffix("s") if len(part) > 2 else part for part in parts]
    if not _CHANGES_THE_NUMBER.isdisjoint(parts + singular):
        return None
    known = _SHORT_STYLED if styled else _SHORT
    if any((len(part) < 3 or not set(part) & set("aeiou")) and part not in known for part in singular):
        return None
    power = spelled[2]
    if singular[0] in ("square", "sq", "cubic") and len(singular) > 1 and not power:
        power, singular = ("3" if singular[0] == "cubic" else "2"), singular[1:]
    unit = " ".join(_SAME_UNIT.get(part, part) for part in singular)
    return unit + (f"^{power}" if power else "")
