"""The two rule sets, as one table: what strict grading (rewards) allows, and what lenient grading (evaluation) adds.

Strict rules are a part of the lenient ones, and lenient grading asks them first, so that what earns credit in training
earns it in evaluation. The guide, the commands' help and the tests read this table.
"""

from dataclasses import dataclass

from thinkling.verify.verifier import RuleSet


@dataclass(frozen=True)
class Rule:
    """A named rule, in words, and whether strict grading has it; lenient grading has every rule."""

    name: str
    says: str
    strict: bool


RULES = (
    Rule("box", "the last closed box is the answer; boxes side by side are one; one that is taken back is none", True),
    Rule("types", "a number, a set, an interval, a point, an equation is compared as what it is", True),
    Rule("value", "two expressions are equal where they have the same value at every point", True),
    Rule("missing unit", "a missing unit agrees with any; two stated units are converted", True),
    Rule("named value", "m + n = 73 is also 73, f(x) = 2x also 2x; a chain counts by its last exact side", True),
    Rule("choice", "(B) 42 answers both B and 42", True),
    Rule("scales", "5 million, 3 dozen and 5 lakh are numbers", True),
    Rule("unboxed", "without a box: a stated answer, an answer tag, the last formula, or a bare answer", False),
    Rule("cut-off box", "where the last box was cut off, an earlier one counts, or what is stated behind it", False),
    Rule("rounding", "a reference that was rounded is agreed with to its own digits", False),
    Rule("number words", "five, negative 5, 3rd and two thirds are numbers", False),
    Rule("labels", "Maximum = 2, Minimum = 1 are 2 and 1; words around a value, a point's name are passed over", False),
    Rule("separators", "45,135 is a list where the reference is one; 2,74 is a decimal beside a number", False),
    Rule("free names", "the k of kπ and the C of Ce^{2x} may have any name", False),
    Rule("conditions", "a condition that only one side states, as n ≥ 1, is passed over", False),
    Rule("letter units", "60 m/s without \\text is 60 in metres per second", False),
    Rule("times sign", "3 x 4 is 3 times 4 where the reference has no x; 3 by 4 beside that product", False),
    Rule("clock", "15:30 is 3:30 p.m., and a time without a.m. or p.m. agrees with either", False),
    Rule("steps", "of the steps in an align environment the last one counts, unless they are values by name", False),
    Rule("vectors", "3i + 4j with hats, or a matrix of one column or row, is the point (3, 4)", False),
    Rule("solved", "a = F/m is F = ma, an equation that was solved for another name", False),
    Rule("roots", "an equation answers for the set of its roots where the reference is that set", False),
)  # fmt: skip

LENIENT = frozenset(rule.name for rule in RULES)
STRICT = frozenset(rule.name for rule in RULES if rule.strict)


def rules_of(mode: RuleSet) -> frozenset[str]:
    return STRICT if mode == "strict" else LENIENT
