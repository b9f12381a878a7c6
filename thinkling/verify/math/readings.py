r"""Second readings of an answer, each a rule of lenient grading: tried where the first reading is not the reference.

A reading is a tree that the text may also have. It is told what stands on the other side, for "45,135" is a list only
beside a list, and an equation is its roots only beside a set.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from thinkling.verify.math.expressions.clean import clean
from thinkling.verify.math.expressions.joins import LETTERS
from thinkling.verify.math.expressions.polynomials import polynomial, roots_of
from thinkling.verify.math.expressions.relations import named_values
from thinkling.verify.math.expressions.tree import (
    EXPRESSIONS,
    IMAGINARY,
    Apply,
    Choice,
    Interval,
    Listing,
    Matrix,
    Number,
    Quantity,
    Ratio,
    Relation,
    Set,
    Symbol,
    Tuple,
    Unread,
    Words,
    replace,
    unknowns,
    variables,
    walk,
)
from thinkling.verify.math.latex import parse
from thinkling.verify.math.prose.dates import agrees
from thinkling.verify.math.prose.forms import without_style
from thinkling.verify.math.quantities.phrases import CHANGING
from thinkling.verify.math.quantities.words import value_of

MAX_CHARACTERS = 300

_DECIMAL_COMMA = re.compile(r"(-?)([0-9]{1,3}(?:[. ][0-9]{3})+|[0-9]+),([0-9]+)((?: |\\)[^0-9,;]{1,40}|)")
_POINTED = re.compile(r"-?[1-9][0-9]{0,2}(?:(?:\.[0-9]{3}){2,}|(?:'[0-9]{3})+)")  # 1.234.567, 1'234'567
_INDIAN = re.compile(r"-?[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?")
_IN_BRACKETS = re.compile(r"(?<![0-9,])([1-9][0-9]{0,2}(?:,[0-9]{3})+)(?![0-9])(?=, | ?[)\]}\\])")
_UNSPACED = re.compile(r"(?<=[0-9]),(?=[0-9])")
_LABELLED = re.compile(
    r"(?:[Tt]he )?([A-Z]?[a-z]{2,}(?: [a-z]+){0,3}?)( ?[:=] ?| is | are | )"
    r"((?:[-+$(\[]|\\(?![A-Za-z]*name)|[0-9])[^:=]*)\.?"
)
_ODDS = re.compile(r"([0-9]+(?:\.[0-9]+)?) to ([0-9]+(?:\.[0-9]+)?)")
_SAID = re.compile(r"([A-Za-z]) (?:is|equals|is equal to) ([-+\\0-9].*)")  # x equals 5
_STEPS = re.compile(r"[^{}]*\\begin ?\{(?!d?cases|rcases|[a-zA-Z]*matrix).*\\end ?\{[a-z*]+\}[^{}]*")
_NO_LABELS = frozenset("error mistake guess fail fails hint example".split())
_ASKED = frozenset(
    "maximum minimum total half quarter percentage average left right remaining gain loss higher lower max min".split()
)
_NAMES_A_VALUE = frozenset(
    """
    maximum minimum max min total sum product difference value answer ans result length width height depth base radius
    diameter area volume perimeter distance speed time age cost price average mean median mode range probability ratio
    number count of the is are it there about approximately exactly roughly around only just a nearly almost
    """.split()
)
_FILLERS = frozenset(
    """
    value answer ans result number count total of the is are it there about exactly roughly around only just a an and
    """.split()
)
_LABELS = {"max": "maximum", "min": "minimum"}
_SAYS = frozenset(
    "has have had makes make earns earn needs need gets get costs cost pays pay sells sell saves save".split()
)
_CROSS = re.compile(r"(?<=[0-9]) ?(?:[xX]|by) ?(?=[0-9])")
_RUN_OF_LETTERS = re.compile(r"[A-J]{2,6}")
_SPELLED_UNIT = re.compile(r"((?:[a-z]+[ -])+)([a-z]+)")
_NOT_ANOTHER = re.compile(r"(-?[0-9][0-9.,/]*?) ?,? (?:and |but )?not -?[0-9][0-9.,/]*")
_POINT = re.compile(r"[A-Z]'?(?:_\{?[0-9]\}?)?(\(.+,.+\))")
_SAME_IN_BRACKETS = re.compile(
    r"([^=]+?) ?\( ?((?:or|=|i\.e\.,?|that is|\\approx|approximately|approx\.|about) ?|(?=[0-9.]+ ?\\?%\)))"
    r"([^()=]+)\)"
)
_IN_WORDS_TOO = re.compile(r"([^()]+?) ?\(([^()]+)\)")
_BASES = tuple(tuple(Symbol(f"\\{style}{{{letter}}}") for letter in "ijk") for style in ("hat", "vec"))
_BASES += (tuple(map(Symbol, "ijk")),)  # \mathbf{i} + 2\mathbf{j}


def readings(text: str, tree: object, other: object) -> Iterator[tuple[str, object]]:
    """The rule's name and the tree of each second reading of a text, beside another answer's tree."""
    if len(text) > MAX_CHARACTERS:
        return
    cleaned = clean(text)
    value = value_of(cleaned)
    if value is not None:
        yield "number words", Number(value)
    if isinstance(other, Ratio) and (found := _ODDS.fullmatch(without_style(cleaned))):
        yield "number words", Ratio(tuple(Number(Fraction(part)) for part in found.groups()))
    for rule, spelled in (*_separated(cleaned, other), *_spelled(cleaned, other)):
        separated = parse(spelled)
        if not isinstance(separated, Unread | Words):
            yield rule, separated
    if _is_letters(other) and _RUN_OF_LETTERS.fullmatch(cleaned) and sorted(set(cleaned)) == list(cleaned):
        yield "choice", Listing(tuple(map(Choice, cleaned)))  # AC of A, C
    if (spelled := _SPELLED_UNIT.fullmatch(without_style(cleaned).casefold())) is not None:
        count = value_of(spelled[1].strip())
        unit = parse(f"{1 if count == 1 else 2} {spelled[2]}") if count is not None else None
        if isinstance(unit, Quantity):
            yield "number words", Quantity(Number(count), unit.unit)
    labelled = None if isinstance(other, Relation) else _labelled(cleaned)
    if (said := _SAID.fullmatch(without_style(cleaned))) is not None:
        yield "labels", parse(f"{said[1]} = {said[2]}")
    if labelled is not None:
        yield "labels", labelled
    if isinstance(tree, Listing) and _STEPS.fullmatch(cleaned) and not (named_values(tree) or _is_system(tree)):
        both_signs = all(isinstance(item, Listing) for item in tree.items)
        yield "steps", Listing(tuple(item.items[-1] for item in tree.items)) if both_signs else tree.items[-1]
    if isinstance(tree, Relation) and isinstance(other, Set | Listing):
        roots = _roots(tree, Symbol(IMAGINARY) in walk(other), 2 if isinstance(other, Set) else 3)
        if roots or (roots is not None and other == Set(())):
            yield "roots", Set(tuple(roots))
    if agrees(tree, other):
        yield "clock", other
    if isinstance(other, Tuple | Interval | Matrix):
        vector = _vector(tree)
        if vector is not None:
            yield "vectors", vector


def alike(text: str, other: str) -> bool:
    """Whether the labels of two answers are the same words, as far as both have one: Ann has 5 is not Bob has 5."""
    first, second = (
        {_LABELS.get(word, word) for word in re.findall("[a-z]{2,}", without_style(clean(side)).casefold())}
        - _FILLERS
        - _SAYS
        for side in (text, other)
    )
    return not first or not second or first == second


def _is_system(tree: Listing) -> bool:
    """Whether the last item and another one are equations of several names, as x + y = 5 and x - y = 1."""
    *earlier, last = (
        item.sides[0] if isinstance(item, Relation) and len(variables(item.sides[0])) > 1 else None
        for item in tree.items
    )
    return last is not None and any(side is not None and side != last for side in earlier)


def _separated(cleaned: str, other: object) -> Iterator[tuple[str, str]]:
    """Commas read in the other way: as a list's, as thousands in brackets, as a decimal point, in the Indian way."""
    bare = other.expression if isinstance(other, Quantity) else other
    if isinstance(other, Listing | Set | Tuple):
        if _UNSPACED.search(cleaned) and ",0" not in cleaned:
            yield "separators", _UNSPACED.sub(", ", cleaned)
        if _IN_BRACKETS.search(cleaned):
            yield "separators", _IN_BRACKETS.sub(lambda found: found[1].replace(",", ""), cleaned)
    elif isinstance(bare, Number) or (isinstance(bare, Apply) and not unknowns((bare,))):
        decimal = _DECIMAL_COMMA.fullmatch(cleaned)
        if decimal and (len(decimal[3]) != 3 or "." in decimal[2] or " " in decimal[2]):
            yield "separators", f"{decimal[1]}{re.sub('[. ]', '', decimal[2])}.{decimal[3]}{decimal[4]}"
        if _POINTED.fullmatch(cleaned):
            yield "separators", re.sub("[.']", "", cleaned)
        if _INDIAN.fullmatch(cleaned):
            yield "separators", cleaned.replace(",", "")


def _spelled(cleaned: str, other: object) -> Iterator[tuple[str, str]]:
    """A sign of multiplication that is a letter, a point's own name, a value beside one that it is not (18, not 20),
    and one said twice: 1/2 (or 50%)."""
    if _CROSS.search(cleaned) and not variables(other):
        crossed, product = _CROSS.sub(r" \\times ", cleaned), isinstance(other, Apply) and other.function == "*"
        sides = Counter(re.findall("[0-9.]+", crossed)), Counter(part for part in _numbers(other))
        if "=" in crossed or (sides[0] == sides[1] if product else "by" not in cleaned):
            yield "times sign", crossed
    if isinstance(other, Tuple | Interval) and (point := _POINT.fullmatch(cleaned)) is not None:
        yield "labels", point[1]
    if (denied := _NOT_ANOTHER.fullmatch(without_style(cleaned))) is not None:
        yield "labels", denied[1]
    if (spelled := _IN_WORDS_TOO.fullmatch(without_style(cleaned))) is not None:
        first, second = map(value_of, spelled.groups())
        if first is not None and first == second and any(map(str.isalpha, cleaned)):  # 5 (five), five (5)
            yield "number words", str(first)
    if (twice := _SAME_IN_BRACKETS.fullmatch(without_style(cleaned))) is not None:
        sign = r"\approx" if re.match(r"\\?app|about", twice[2]) else "="
        yield "labels", f"{twice[1]} {sign} {twice[3]}"


def _numbers(node: object) -> list[str]:
    return [str(part.value) for part in walk(node) if isinstance(part, Number)]


def _is_letters(node: object) -> bool:
    items = node.items if isinstance(node, Listing) else (None,)
    return all(isinstance(item, Choice) or (isinstance(item, Symbol) and item.name in LETTERS) for item in items)


def _labelled(cleaned: str) -> object | None:
    """`Maximum = 2, Minimum = 1` as values by name; `Total: 45` as 45. None: another form, or words that change it."""
    values, names = [], []
    for item in re.split(r"[,;] ?(?:and )?| and ", without_style(cleaned)):
        found = _LABELLED.fullmatch(item.strip())
        if found is None:
            return None
        words = found[1].casefold().split()
        value = parse(found[3])
        asked = _ASKED if found[2].strip() else _NAMES_A_VALUE
        words_in_one = {one for word in words if word not in asked for one in (word, word.removesuffix("s"))}
        changed = not words_in_one.isdisjoint(CHANGING | _NO_LABELS)
        named = found[2].strip() or _NAMES_A_VALUE.issuperset(words) or words[-1] in _SAYS  # "April 5" is not 5
        if changed or not named or len(words[-1]) < 2 or isinstance(value, Unread | Words | Relation):
            return None
        values.append(value)
        names.append(" ".join(_LABELS.get(word, word) for word in words))
    if len(values) == 1 or len(set(names)) < len(names):
        return values[0] if len(values) == 1 else None
    if set(names) == {"maximum", "minimum"}:  # beside a list they say themselves which is which
        ordered = values if names[0] == "maximum" else values[::-1]
        rises = all(isinstance(value, Number) for value in values) and ordered[0].value < ordered[1].value
        return None if rises else Listing(tuple(values))
    return Listing(tuple(Relation((Symbol(name), value), ("=",)) for name, value in zip(names, values, strict=True)))


def _roots(tree: Relation, complex_too: bool, terms: int) -> list[object] | None:
    """The roots of a polynomial equation in one variable: the real ones, and the others beside a set that has i.

    None: another equation, or one with fewer coefficients than `terms`.
    """
    names = variables(tree)
    if tree.operators != ("=",) or len(names) != 1 or not all(isinstance(side, EXPRESSIONS) for side in tree.sides):
        return None
    inside = polynomial(Apply("+", (tree.sides[0], Apply("neg", (tree.sides[1],)))), next(iter(names)))
    return roots_of(inside, complex_too) if inside is not None and len(inside) >= terms else None


def _vector(tree: object) -> Tuple | None:
    r"""`3\hat{i} + 4\hat{j}` as (3, 4)."""
    value = tree.sides[-1] if isinstance(tree, Relation) else tree
    names = {part.name for part in walk(value) if isinstance(part, Symbol)} if isinstance(value, EXPRESSIONS) else set()
    basis = next((basis for basis in _BASES if basis[0].name in names), _BASES[0])
    if len({unit.name for unit in basis} & names) < 2:
        return None
    if not all(
        isinstance(term, Symbol) or (isinstance(term, Apply) and term.function in ("*", "neg", "/"))
        for term in _terms(value)
    ):
        return None
    size = 3 if basis[2].name in names else 2
    zero, one = Number(Fraction(0)), Number(Fraction(1))

    def part(of: Symbol) -> object:
        return replace(value, lambda node: (one if node == of else zero) if node in basis else None)

    return Tuple(tuple(part(unit) for unit in basis[:size]))


def _terms(value: object) -> tuple:
    return value.arguments if isinstance(value, Apply) and value.function == "+" else (value,)
