"""Are two parsed answers equal? Exact rationals; no tolerance, no guessing.

Symmetric, and every value equals itself. Not transitive, on purpose, in two places, where benchmarks leave a sign out:
a missing unit agrees with any unit, and `50%` agrees with both `0.5` and a bare `50`.
"""

from thinkling.verify.latex import Number, Text


def equal(a: Number | Text, b: Number | Text) -> bool:
    """True where two answers say the same thing.

    Numbers: their exact values, and their units where both have one (12 cm is 12, and is not 12 m). A percent is its
    hundredth; beside a number with no unit, the sign may also just be missing. Text: the normalised text, letter by
    letter. A number never equals a text.
    """
    if not (isinstance(a, Number) and isinstance(b, Number)):
        return a == b
    if a.unit and b.unit:
        return a == b
    return a.value == b.value or _without_sign(a) == _without_sign(b)


def _without_sign(number: Number) -> object:
    return number.value * 100 if number.unit == "%" else number.value
