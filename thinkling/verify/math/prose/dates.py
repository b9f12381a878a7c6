"""Dates and times of day, each in one spelling: `March 5, 2024`, `5 March 2024` and `2024-03-05`; `5:30 p.m.` and noon.

Left out is `03/05/2024`, which is one day in America and another in Europe.
"""

import re

from thinkling.verify.math.expressions.tree import Number, Ratio, Words

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = rf"({'|'.join(_MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.?"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? (?:the )?)?"
_DAY = r"([0-3]?[0-9])(?: ?(?:st|nd|rd|th))?"
_YEAR = r"(?:,? ([0-9]{4}))?"
_MONTH_FIRST = re.compile(rf"{_WEEKDAY}{_MONTH} (?:the )?{_DAY}{_YEAR}")
_DAY_FIRST = re.compile(rf"{_WEEKDAY}(?:the )?{_DAY} (?:of )?{_MONTH}{_YEAR}")
_MONTH_AND_YEAR = re.compile(rf"{_MONTH},? ([0-9]{{4}})")
_ISO = re.compile(r"([0-9]{4})([-/])(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])")
_TIME = re.compile(r"([0-9]{1,2})(?:[:.]([0-5][0-9]))? ?([ap])\.? ?m\.?")
_NAMED = {"noon": "12:00 pm", "midnight": "12:00 am"}
_WHY = "it is a time of day"
_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2}) ([ap])m")


def date_of(plain: str) -> Words | None:
    """A date as words in one spelling, of a text without style; None: another form."""
    plain = plain.casefold()
    iso = _ISO.fullmatch(plain)
    if iso:
        return _date(iso[4], _MONTHS[int(iso[3]) - 1], iso[1])
    if (found := _MONTH_FIRST.fullmatch(plain)) is not None:
        return _date(found[2], found[1], found[3])
    if (found := _DAY_FIRST.fullmatch(plain)) is not None:
        return _date(found[1], found[2], found[3])
    found = _MONTH_AND_YEAR.fullmatch(plain)
    return Words(f"{_whole(found[1])} {found[2]}", "it is a date") if found else None


def _date(day: str, month: str, year: str | None) -> Words | None:
    if not 1 <= int(day) <= 31:
        return None
    return Words(f"{_whole(month)} {int(day)}" + (f", {year}" if year else ""), "it is a date")


def _whole(month: str) -> str:
    return next(name for name in _MONTHS if name.startswith(month[:3]))


def time_of(plain: str) -> Words | None:
    """`5:30 p.m.`, `5 pm` and noon as words in one spelling; None: another form."""
    plain = plain.casefold()
    named = re.fullmatch(r"(?:12(?::00)? )?(noon|midnight)", plain)
    if named:
        return Words(_NAMED[named[1]], _WHY)
    time = _TIME.fullmatch(plain)
    return Words(f"{int(time[1])}:{time[2] or '00'} {time[3]}m", _WHY) if time else None


def agrees(clock: object, time: object) -> bool:
    """Whether `15:30`, or a `3:30` without a.m. and p.m., may be the time of day that the other side states."""
    stated = _OF_DAY.fullmatch(time.text) if isinstance(time, Words) else None
    if stated is None or not isinstance(clock, Ratio) or len(clock.terms) != 2:
        return False
    if not all(isinstance(term, Number) and term.value.denominator == 1 for term in clock.terms):
        return False
    hours, minutes = (int(term.value) for term in clock.terms)
    hour = int(stated[1]) % 12 + 12 * (stated[3] == "p")
    return minutes == int(stated[2]) and hours in (hour, int(stated[1]))
