"""Are two answers equal? By type first, so that brackets, order and openness count; then by value (see arithmetic.py).

`difference` is None for equal answers and a reason in words for unequal ones. Symmetric, and everything equals itself.
It is not transitive, on purpose, where one of two answers leaves something out: a missing unit agrees with any unit,
`50%` with both `0.5` and `50`, and `x = 5` with `5`.
"""

from collections import Counter

import thinkling.verify.math.expressions.equations as equations
import thinkling.verify.math.expressions.residues as residues
import thinkling.verify.math.quantities.magnitudes as magnitudes
from thinkling.verify.math.expressions.arithmetic import Calculator
from thinkling.verify.math.expressions.build import SETS, as_set, flat
from thinkling.verify.math.expressions.exact import Undefined
from thinkling.verify.math.expressions.free_names import renamed_function, renamings
from thinkling.verify.math.expressions.inequalities import solved
from thinkling.verify.math.expressions.matrices import as_tuple
from thinkling.verify.math.expressions.reals import NotReal, differ, openness, pieces
from thinkling.verify.math.expressions.relations import defines, heads, in_order, named_values, one_name
from thinkling.verify.math.expressions.residues import as_residue
from thinkling.verify.math.expressions.show import show
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    EXPRESSIONS,
    NOUNS,
    Apply,
    Choice,
    Interval,
    Listing,
    Number,
    Numeral,
    Qualified,
    Ratio,
    Relation,
    Residue,
    Set,
    SetOperation,
    Solution,
    Symbol,
    Tuple,
    Unread,
    Words,
)  # fmt: skip
from thinkling.verify.math.rules import STRICT


def difference(
    answer: object, reference: object, rules: frozenset[str] = STRICT, calculator: Calculator | None = None
) -> str | None:
    """Why the answer is not the reference, in words; None where it is. Raises CannotTell.

    `rules` names what is allowed beyond equality (rules.py). With "rounding" a decimal reference may be rounded: that
    shows where the answer has no finite decimal (1/3, π), so that no decimal could equal it, or where the reference was
    measured. By strict rules the relation is symmetric. Several comparisons may share a calculator, and its budget.
    """
    compare = _Comparison(rules, calculator or Calculator())
    why = compare.difference(answer, reference)
    if why is not None and "free names" in rules:
        other = renamed_function(answer, reference)
        if other is not None and compare.difference(other, reference) is None:
            return None
        for renamed in renamings(answer, reference):
            if compare.difference(renamed, reference) is None:
                return None
    return why


class _Comparison:
    """One comparison of two answers, with its budget of work."""

    def __init__(self, rules: frozenset[str], calculator: Calculator) -> None:
        self.rules, self.calculator = rules, calculator

    def difference(self, a: object, b: object) -> str | None:
        if Unread("", "") in (a, b):
            return "there is nothing to compare"
        if a == b:
            return None
        self.calculator.spend(7)
        if isinstance(a, Qualified) or isinstance(b, Qualified):
            return self._qualified(a, b)
        if isinstance(a, Unread | Words | Choice) or isinstance(b, Unread | Words | Choice):
            return self._texts(a, b)
        a, b = self._as_bounds(a, b), self._as_bounds(b, a)
        if isinstance(a, Solution) and isinstance(b, Solution) and a.name != b.name:
            return f"it bounds {a.name}, the reference {b.name}"
        a, b = _without_name(a), _without_name(b)
        if isinstance(a, Relation | Listing) and isinstance(b, Relation | Listing):
            named, wanted = named_values(a), named_values(b)
            if named is not None and wanted is not None:
                return equations.by_name(self, named, wanted)
        for relation, other in ((a, b), (b, a)):
            if isinstance(relation, Relation) and isinstance(other, Tuple) and (named := named_values(relation)):
                values = in_order(named, relation)
                return self.entries(*((values, b.items) if relation is a else (a.items, values)), "entry")
        if isinstance(a, Relation) or isinstance(b, Relation):
            if isinstance(a, Residue) or isinstance(b, Residue):
                return residues.difference(self, as_residue(a, b), as_residue(b, a))
            return equations.difference(self, a, b)
        if any(isinstance(side, Listing) for side in (a, b)):
            return self._listings(a, b)
        if isinstance(a, SETS) or isinstance(b, SETS):
            return self._sets(a, b)
        if isinstance(a, Residue) or isinstance(b, Residue):
            return residues.difference(self, a, b)
        if isinstance(a, Ratio) or isinstance(b, Ratio):
            return self._ratios(a, b)
        if isinstance(a, Numeral) or isinstance(b, Numeral):
            return self._numerals(a, b)
        if isinstance(a, Tuple) or isinstance(b, Tuple):
            if "vectors" in self.rules:
                a, b = as_tuple(a, b), as_tuple(b, a)
            return _kinds(a, b) if type(a) is not type(b) else self.entries(a.items, b.items, "entry")
        return magnitudes.difference(self, a, b)

    def _as_bounds(self, node: object, other: object) -> object:
        """An inequality that is to be solved, or several bounds with commas, as the set that it is beside a set."""
        if not isinstance(other, (Solution, Tuple, Listing, Relation, *SETS)):
            return node
        if isinstance(node, Relation) and not (isinstance(other, Relation) and set(other.operators) <= {"=", "≈"}):
            return solved(node, self.calculator) or node
        if isinstance(node, Listing) and isinstance(other, (Solution, Tuple, *SETS)) and not isinstance(other, Set):
            names = {item.name for item in node.items if isinstance(item, Solution)}
            parts = [as_set(item.values if isinstance(item, Solution) else item) for item in node.items]
            if None in parts or len(names) > 1 or (isinstance(other, Tuple) and not names):
                return node  # two points are no union
            try:
                overlap = pieces(SetOperation("∩", tuple(parts)), self.calculator) if names else []
            except (NotReal, Undefined):
                return node
            union = SetOperation("∩" if overlap else "∪", tuple(parts))
            return Solution(names.pop(), union) if names else union
        return node

    def _qualified(self, a: object, b: object) -> str | None:
        """A condition that one states and the other does not is no contradiction; two different ones are."""
        value, conditions = (a.value, a.conditions) if isinstance(a, Qualified) else (a, ())
        wanted, theirs = (b.value, b.conditions) if isinstance(b, Qualified) else (b, ())
        conditions, theirs = _beside(conditions, theirs), _beside(theirs, conditions)
        if conditions and theirs and self.entries(conditions, theirs, "condition"):
            return _is_not(a, b)
        told = any(not isinstance(condition, Words) for condition in (*conditions, *theirs))
        if told and bool(conditions) != bool(theirs) and "conditions" not in self.rules:
            return f"only {'the answer' if conditions else 'the reference'} states a condition"
        return self.difference(value, wanted)

    def _texts(self, a: object, b: object) -> str | None:
        if isinstance(a, Unread | Words) and isinstance(b, Unread | Words):
            return None if a.text == b.text else _is_not(a, b)
        for choice, other in ((a, b), (b, a)):
            if isinstance(choice, Choice) and isinstance(other, Symbol | Choice):
                name = other.letter if isinstance(other, Choice) else other.name
                if choice.letter.casefold() != name.casefold():
                    return _is_not(a, b)
                contents = (choice.content, other.content if isinstance(other, Choice) else None)
                return self.difference(*contents) if None not in contents else None
            if isinstance(choice, Choice) and choice.content is not None:
                return self.difference(choice.content, b) if choice is a else self.difference(a, choice.content)
        return _kinds(a, b)

    # Numbers and expressions.

    def _numerals(self, a: object, b: object) -> str | None:
        if not (isinstance(a, Numeral) and isinstance(b, Numeral)):
            if (a if isinstance(a, Numeral) else b).base == 10:
                return self.difference(*(Number(s.value) if isinstance(s, Numeral) else s for s in (a, b)))
            base = a.base if isinstance(a, Numeral) else b.base
            return f"only {'the answer' if isinstance(a, Numeral) else 'the reference'} states its base, {base}"
        return None if (a.base, a.value) == (b.base, b.value) else _is_not(a, b)

    def _ratios(self, a: object, b: object) -> str | None:
        if not (isinstance(a, Ratio) and isinstance(b, Ratio)):
            whole, other = (a, b) if isinstance(a, Ratio) else (b, a)
            if len(whole.terms) != 2 or not isinstance(other, EXPRESSIONS):
                return _kinds(a, b)
            return None if magnitudes.same(self, Apply("/", whole.terms), other, exactly=True) else _is_not(a, b)
        if len(a.terms) != len(b.terms) or (_looks_like_time(a) and _looks_like_time(b)):
            return _is_not(a, b)
        for x, y in zip(a.terms[1:], b.terms[1:], strict=True):
            if not magnitudes.same(self, Apply("*", (x, b.terms[0])), Apply("*", (y, a.terms[0])), exactly=True):
                return _is_not(a, b)
        return None

    # Several values.

    def entries(self, a: tuple, b: tuple, noun: str) -> str | None:
        if len(a) != len(b):
            return f"{len(a)} {_plural(noun, len(a))}, the reference has {len(b)}"
        for i, (x, y) in enumerate(zip(a, b, strict=True), 1):
            why = self.difference(x, y)
            if why is not None:
                return f"{noun} {i}: {why}"
        return None

    def _listings(self, a: object, b: object) -> str | None:
        if isinstance(a, Tuple) and (named := named_values(b)):
            return self.entries(a.items, in_order(named, b), "entry")
        if isinstance(b, Tuple) and (named := named_values(a)):
            return self.entries(in_order(named, a), b.items, "entry")
        if isinstance(a, Tuple) or isinstance(b, Tuple):
            return _kinds(a, b)
        if not isinstance(a, Listing | Set) or not isinstance(b, Listing | Set):
            listing, single = (a, b) if isinstance(a, Listing) else (b, a)
            bounded = {item.name for item in listing.items if isinstance(item, Solution)}
            several = max(len(named_values(listing) or ()), len(bounded)) > 1  # x = 5, y = 5 is not 5
            if not several and all(self.difference(item, single) is None for item in listing.items):  # 15/2 or 7.5
                return None
            count = len(listing.items)
            return f"{count} answers, the reference has one" if isinstance(a, Listing) else f"one of {count} answers"
        if Symbol(ELLIPSIS) in a.items or Symbol(ELLIPSIS) in b.items:
            return self.entries(a.items, b.items, "term")
        if heads(a.items) and heads(b.items) and heads(a.items) != heads(b.items):
            return _is_not(a, b)  # y = 1, y = 2 is neither x = 1, y = 2 nor x = 1, x = 2
        for named, other in ((a, b), (b, a)):
            if len(heads(named.items)) > 1 and not heads(other.items):
                return self._labelled(named, other)
        return self._unordered(one_name(a.items), one_name(b.items))

    def _labelled(self, named: object, other: object) -> str | None:
        """`x = 1, y = 2` and `1, 2`: the names are labels, so the order counts."""
        if "labels" not in self.rules or isinstance(other, Set):
            return "only one of them names its values"
        values = tuple(item.sides[1] if defines(item) else item for item in named.items)
        return self.entries(values, other.items, "answer")

    def _unordered(self, a: tuple, b: tuple) -> str | None:
        """Each of a's items has its own equal among b's."""
        common = Counter(a) & Counter(b)
        left, right = list((Counter(a) - common).elements()), list((Counter(b) - common).elements())
        for item in left.copy():
            match = next((i for i, other in enumerate(right) if self.difference(item, other) is None), None)
            if match is None:
                return f"{show(item)} is not among the reference's {_plural('answer', len(b))}"
            left.remove(item)
            del right[match]
        return f"{show(right[0])} is missing" if right else None

    def _sets(self, a: object, b: object) -> str | None:
        if isinstance(a, Set) and isinstance(b, Set):
            return self._unordered(self._distinct(a.items), self._distinct(b.items))
        first, second = as_set(a), as_set(b)
        if first is None or second is None:
            return _kinds(a, b)
        try:
            mine, wanted = pieces(first, self.calculator), pieces(second, self.calculator)
            if not differ(mine, wanted, self.calculator):
                return None
            return openness(mine, wanted, self.calculator) or _is_not(first, second)
        except (NotReal, Undefined):  # ends without a value, or without an order
            if isinstance(first, Interval) and isinstance(second, Interval):
                ends = self.entries((first.low, first.high), (second.low, second.high), "end")
                closed = (first.low_closed, first.high_closed) == (second.low_closed, second.high_closed)
                return ends or (None if closed else _is_not(a, b))
            return self._operations(first, second) and _is_not(a, b)

    def _operations(self, a: object, b: object) -> str | None:
        """A ∪ B and B ∪ A, of sets that are only names."""
        if not (isinstance(a, SetOperation) and isinstance(b, SetOperation)) or a.operator != b.operator:
            return "another operation"
        return self.entries(a.parts, b.parts, "set") if a.operator == "∖" else self._unordered(flat(a), flat(b))

    def _distinct(self, items: tuple) -> tuple:
        kept: list = []
        for item in dict.fromkeys(items):
            if not any(self.difference(item, other) is None for other in kept):
                kept.append(item)
        return tuple(kept)


def _without_name(node: object) -> object:
    return node.values if isinstance(node, Solution) else node


def _looks_like_time(ratio: Ratio) -> bool:
    if len(ratio.terms) != 2 or not all(isinstance(term, Number) for term in ratio.terms):
        return False
    hour, minute = (term.value for term in ratio.terms)
    return hour <= 24 and (minute == 0 or 10 <= minute <= 59)


def _beside(conditions: tuple, others: tuple) -> tuple:
    """Without "real", which contradicts nothing but "integer" and "natural"."""
    whole = any(isinstance(other, Words) for other in others)
    return tuple(condition for condition in conditions if whole or condition != Words("real"))


def _is_not(a: object, b: object) -> str:
    return f"{show(a)} is not {show(b)}"


def _kinds(a: object, b: object) -> str:
    first, second = NOUNS[type(a)], NOUNS[type(b)]
    return f"{first} is not {second}" if first != second else _is_not(a, b)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else {"entry": "entries"}.get(noun, noun + "s")
