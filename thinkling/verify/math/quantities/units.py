"""The units that are known, each with its dimension and size: 60 km/h is 1 km/min, and 12 cm is not 12 m.

A unit is a text such as "kg m per s^2": names, powers, and what it is divided by. Sizes are exact fractions of the SI's
base units, so a conversion loses nothing. Left out are temperatures' offsets (7 °C is only 7 °C) and pint, whose tables
are far larger than what answers need, and whose import alone takes longer than a thousand verdicts.
"""

from fractions import Fraction
from functools import lru_cache

Measure = tuple[Fraction, tuple]
"""A unit's size in base units, and its dimension: pairs of a base unit and its power, sorted."""

PREFIXES = {
    "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "μ": -6, "µ": -6, "n": -9, "p": -12, "f": -15,
    "T": 12,
}  # fmt: skip
_WORD_PREFIXES = {"giga": 9, "mega": 6, "kilo": 3, "deci": -1, "centi": -2, "milli": -3, "micro": -6, "nano": -9}
# symbol and words: size, base units; those in the first table take prefixes
_PREFIXED = """
    m meter metre: 1 m            g gram gramme: 1/1000 kg     s sec second: 1 s          A amp ampere: 1 A
    K kelvin: 1 K                 mol mole: 1 mol              N newton: 1 kg m s^-2      J joule: 1 kg m^2 s^-2
    W watt: 1 kg m^2 s^-3         Pa pascal: 1 kg m^-1 s^-2    Hz hertz: 1 s^-1           C coulomb: 1 A s
    V volt: 1 kg m^2 s^-3 A^-1    Ω ohm: 1 kg m^2 s^-3 A^-2    F farad: 1 kg^-1 m^-2 s^4 A^2
    T tesla: 1 kg s^-2 A^-1       H henry: 1 kg m^2 s^-2 A^-2  Wb weber: 1 kg m^2 s^-2 A^-1
    L l liter litre: 1/1000 m^3   eV electronvolt: 801088317/5000000000000000000000000000 kg m^2 s^-2
    cal calorie: 523/125 kg m^2 s^-2   bar: 100000 kg m^-1 s^-2   B byte: 8 bit   bit: 1 bit   cd candela: 1 cd
    pc parsec: 1 pc               Wh: 3600 kg m^2 s^-2         M molar: 1000 mol m^-3     lm lumen: 1 cd
    ton: 1 ton      Sv sievert: 1 m^2 s^-2        Bq becquerel: 1 s^-1         S siemens: 1 kg^-1 m^-2 s^3 A^2
"""
_PLAIN = """
    min minute: 60 s              h hr hour: 3600 s            d day: 86400 s             wk week: 604800 s
    month mo: 1/12 year           yr year: 1 year              decade: 10 year            century: 100 year
    in inch: 127/5000 m           ft foot feet: 381/1250 m     yd yard: 1143/1250 m       mi mile: 201168/125 m
    AU: 149597870700 m            ly: 9460730472580800 m       Å angstrom: 1/10000000000 m
    lb pound: 45359237/100000000 kg   oz ounce: 45359237/1600000000 kg   tonne: 1000 kg
    acre: 316160658/78125 m^2     ha hectare: 10000 m^2        cc: 1/1000000 m^3
    gal gallon: 473176473/125000000000 m^3   qt quart: 473176473/500000000000 m^3   pt pint: 473176473/1000000000000 m^3
    cup: 473176473/2000000000000 m^3   tablespoon tbsp: 473176473/32000000000000 m^3
    teaspoon tsp: 157725491/32000000000000 m^3
    mph: 1397/3125 m s^-1         kph kmh kmph: 5/18 m s^-1    knot kn: 463/900 m s^-1    mpg: 1 mpg
    atm atmosphere: 101325 kg m^-1 s^-2   torr: 20265/152 kg m^-1 s^-2   psi: 1 psi   mmHg: 1 mmHg
    hp horsepower: 1 hp           u amu: 1 u                   dB decibel: 1 dB           ppm: 1/1000000
    rpm: 1/60 turn s^-1           rev revolution: 1 turn       gon: 1 gon
    $ dollar: 1 USD               cent ¢: 1/100 USD            dime: 1/10 USD             nickel: 1/20 USD
    penny pennie: 1/100 USD       € euro EUR: 1 EUR            £ GBP: 1 GBP               ¥ yen: 1 JPY
    ₹ rupee Rs: 1 INR             yuan rmb: 1 CNY              peso: 1 peso               won: 1 won
    °C celsius: 1 °C              °F fahrenheit: 1 °F          ° degree deg: 1 °          rad radian: 1 rad
    ' arcminute: 1/60 °           % percent pct: 1 %
"""


def _read(table: str, known: dict[str, Measure]) -> set[str]:
    names: set[str] = set()
    for entry in table.replace("   ", "\n").split("\n"):
        if not entry.strip():
            continue
        spelled, _, value = entry.strip().partition(":")
        size, *bases = value.split()
        dimension = {}
        for base in bases:
            name, _, power = base.partition("^")
            dimension[name] = int(power or 1)
        for name in spelled.split():
            known[name] = (Fraction(size), tuple(sorted(dimension.items())))
            names.add(name)
    return names


_KNOWN: dict[str, Measure] = {}
_WITH_PREFIX = _read(_PREFIXED, _KNOWN)
_read(_PLAIN, _KNOWN)


@lru_cache(4096)
def known(name: str) -> Measure | None:
    """The size and dimension of one name, with or without a prefix: km, kilometer, hours; None: it is no unit."""
    for spelled in (name, *((name[:-1],) if len(name) > 2 and name.endswith("s") else ())):
        if spelled in _KNOWN:
            return _KNOWN[spelled]
        for prefixes in (PREFIXES, _WORD_PREFIXES):
            for prefix, power in prefixes.items():
                rest = spelled.removeprefix(prefix)
                if (
                    rest != spelled
                    and rest in _WITH_PREFIX
                    and (len(rest) >= 3 if prefixes is _WORD_PREFIXES else len(rest) <= 3)
                ):
                    size, dimension = _KNOWN[rest]
                    return size * Fraction(10) ** power, dimension
    return None


def many(name: str) -> bool:
    """Whether a name is a multiple of a unit that has none, and so is a number: the kilo of kilodollar."""
    rests = [name.removeprefix(prefix) for prefix in _WORD_PREFIXES if name.startswith(prefix)]
    return known(name) is None and any(known(rest) is not None for rest in rests)


@lru_cache(4096)
def measure(unit: str) -> Measure | None:
    """The size and dimension of a unit such as "km per h" or "kg m per s^2"; None where a part of it is not known."""
    size, powers, sign = Fraction(1), {}, 1
    for part in unit.split():
        if part == "per":
            sign = -1
            continue
        name, _, power = part.partition("^")
        found = known(name)
        if found is None or not (power or "1").isdigit() or len(power) > 2:
            return None
        times = sign * int(power or 1)
        size *= found[0] ** times
        for base, exponent in found[1]:
            powers[base] = powers.get(base, 0) + exponent * times
    return size, tuple(sorted((base, power) for base, power in powers.items() if power))


def factor(unit: str, wanted: str) -> Fraction | None:
    """What a number in `unit` is multiplied by to be in `wanted`; None where they measure different things."""
    first, second = measure(unit), measure(wanted)
    if first is None or second is None or first[1] != second[1]:
        return None
    return first[0] / second[0]
