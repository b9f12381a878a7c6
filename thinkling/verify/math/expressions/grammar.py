"""Tokens -> a typed tree: a precedence parser for the mathematics that models and benchmarks write. Bounded in depth.

Its rules call one another in a circle, down to atoms and up again inside brackets, so they stand in one file. The
grammar, from whole answers down to atoms:

    answer   = item {("," | ";" | "or" | "and") item}
    item     = union {("=" | "<" | "≤" | ... | "∈") union}          5 < x ≤ 7, x ∈ [0, 1]
    union    = side {("∪" | "∩" | "∖") side} | side {":" side}      (0,1) ∪ (2,3), 3:4
    side     = ["$"] sum [unit]
    sum      = ["+" | "-" | "±"] product {("+" | "-" | "±") product}
    product  = power {["*" | "/"] power}
    power    = atom {"!" | "°" | "%"} ["^" power]
"""

from collections.abc import Callable
from functools import wraps

import thinkling.verify.math.expressions.amounts as amounts
import thinkling.verify.math.expressions.brackets as brackets
import thinkling.verify.math.expressions.build as build
import thinkling.verify.math.expressions.notation as notation
import thinkling.verify.math.expressions.operands as operands
import thinkling.verify.math.expressions.vectors as vectors
from thinkling.verify.math.expressions.build import SIGN, expression, negated
from thinkling.verify.math.expressions.joins import joined
from thinkling.verify.math.expressions.tokens import NotMathematics, Token
from thinkling.verify.math.expressions.tree import IMAGINARY, Apply, Number, Ratio, Set, Symbol, Tuple, walk

MAX_DEPTH = 30


def _bounded(rule: Callable) -> Callable:
    """A rule that can contain itself: counts its depth, so that no text overflows the stack."""

    @wraps(rule)
    def counted(self: "Parser", *arguments: object) -> object:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotMathematics(f"nested more than {MAX_DEPTH} deep")
        node = rule(self, *arguments)
        self.depth -= 1
        return node

    return counted


_RELATIONS = ("=", "<", ">", "≤", "≥", "≠", "≈", "∈", "∉", "≡", "≅", "∼", "⊥", "∥")
_STARTS = frozenset(
    ["number", "symbol", "function", "sqrt", "frac", "binom", "(", "[", "{", "\\{", "|", "⌊", "⌈", "begin", "sum",
     "prod", "int", "lim"]
)  # fmt: skip
_BEHIND_A_SET = ("end", "∪", "∩", "∖", ",", ";", "or", "and", "}", "\\}")
_TOGETHER = 10_000  # a ∓ shows that the signs go together: it counts as this many ±


def _alternates(item: object, signs: int) -> bool:
    """`a ± b` is two answers; where several ± might be signs of their own, they stay unexpanded."""
    return (signs == 1 or signs >= _TOGETHER) and SIGN in walk(item)


class Parser:
    """One rule of the grammar, one method. Each takes the tokens that it needs, or raises NotMathematics."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens, self.at, self.depth = found, 0, 0
        self.bars = 0  # inside |...| or a set, a bar closes or divides; it does not open a factor
        self.signs = 0  # how many ± were seen
        self.level = 0  # how deep sums, integrals and limits stand in one another
        self.functions = {"f", "g", "h", *operands.defined_functions(found)}

    @property
    def kind(self) -> str:
        return self.tokens[self.at].kind

    def ahead(self, count: int) -> Token:
        return self.tokens[min(self.at + count, len(self.tokens) - 1)]

    def take(self, *kinds: str) -> Token:
        token = self.tokens[self.at]
        if kinds and token.kind not in kinds:
            raise NotMathematics(f"unexpected {token.text!r}" if token.text else "it ends too early")
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def answer(self) -> object:
        if self.kind == "∼" and self.ahead(1).kind == "symbol":
            raise NotMathematics("a name behind a tilde: about it, or not it?")
        if self.kind in ("=", "≈", "∼"):
            self.take()  # a calculation whose beginning stands outside the box
        items, joins = self.items(expand=True)
        self.take("end")
        if items == [Symbol("\\mathbb{R}")]:
            return build.REALS
        return amounts.together(items, joins) or joined(items, joins)

    def items(self, expand: bool = False) -> tuple[list, set[str]]:
        """Items up to what is no item any more, and the words or signs that joined them."""
        found, joins = [], set()
        while True:
            before = self.signs
            item = self.relation()
            found.extend(
                [build.with_sign(item, 1), build.with_sign(item, -1)]
                if expand and _alternates(item, self.signs - before)
                else [item]
            )
            if self.kind not in operands.JOINS:
                return found, joins
            joins.add(self.take().kind)
            if self.kind in ("or", "and"):
                joins.add(self.take().kind)

    def relation(self) -> object:
        sides, operators = [self.union()], []
        while self.kind in _RELATIONS:
            operators.append(self.take().kind)
            sides.append(self.union())
        if self.kind == "pmod":
            self.take()
            self.take("{")
            modulus = expression(self.sum())
            self.take("}")
            return build.residue(tuple(sides), tuple(operators), modulus)
        return build.relation(tuple(sides), tuple(operators)) if operators else sides[0]

    def union(self) -> object:
        parts = [self.side()]
        if self.kind == ":" and not self.bars:
            while self.kind == ":":
                self.take()
                parts.append(self.side())
            return Ratio(tuple(parts))
        node, count = parts[0], 0
        while self.kind in ("∪", "∩", "∖"):
            count += 1
            if count > MAX_DEPTH:
                raise NotMathematics(f"more than {MAX_DEPTH} set operations")
            node = build.set_operation(self.take().kind, node, self.side())
        return node

    def side(self) -> object:
        return amounts.side(self)

    def sum(self) -> object:
        terms = []
        while not terms or self.kind in ("+", "-", "±", "∓"):
            sign = self.take().kind if self.kind in ("+", "-", "±", "∓") else "+"
            term = self.product()
            if sign == "-" and isinstance(term, Set) and len(terms) == 1:
                return build.set_operation("∖", terms[0], term)  # ℝ - {1}
            if isinstance(term, Tuple) and sign in "+-":
                terms.append(vectors.opposite(term) if sign == "-" else term)
                continue
            if sign in "±∓":
                self.signs += 1 if sign == "±" else _TOGETHER
                term = build.product((SIGN if sign == "±" else negated(SIGN), expression(term)))
            terms.append(negated(term) if sign == "-" else term)
        if len(terms) == 1:
            return terms[0]
        if any(isinstance(term, Tuple) for term in terms):
            return vectors.total(terms)
        return Apply("+", tuple(map(expression, terms)))

    def product(self) -> object:
        over, under, signs = [self.power()], [], [""]
        while True:
            if self.kind in ("*", "/"):
                sign = self.take()
                (over if sign.kind == "*" else under).append(self.signed())
                signs.append(sign.text)
            elif self.kind == "number" and self.tokens[self.at - 1].kind == "°":
                break  # the minutes of 60° 30'
            elif self.kind in _STARTS and not (self.kind == "|" and self.bars) and not self._closes_outward():
                if self.kind == "number" and not self._may_precede_number(over[-1]):
                    raise NotMathematics("a number directly after another factor")
                over.append(self.power())
                signs.append("")
            else:
                break
        if len(over) == 1 and not under:
            return over[0]
        if any(isinstance(factor, Tuple) for factor in over):
            return vectors.product(over, signs, under)
        if "times" in signs and not under and vectors.is_cross(over):
            return vectors.cross(*over)
        top = build.product(tuple(map(expression, over)))
        return Apply("/", (top, build.product(tuple(map(expression, under))))) if under else top

    def _closes_outward(self) -> bool:
        """Whether a [ ends an interval that is open there, as in [0, 1[."""
        return self.kind == "[" and self.ahead(1).kind in _BEHIND_A_SET

    def _may_precede_number(self, factor: object) -> bool:
        """`n 2^n`, `2^3 3^2` and `a 3` are products; `2 3` and `x2` are slips."""
        token, after = self.tokens[self.at], self.ahead(1).kind
        before = self.tokens[self.at - 1].kind
        if after == "^" and isinstance(factor, Apply) and factor.function == "/":
            return True
        if isinstance(factor, Number) or before in ("%", "unit") or (before == "!" and after not in ("^", "!")):
            return False
        if (
            isinstance(factor, Apply)
            and factor.function == "/"
            and all(isinstance(p, Number) for p in factor.arguments)
        ):
            return False
        return token.spaced or after == "^" or not isinstance(factor, Symbol) or factor == Symbol(IMAGINARY)

    @_bounded
    def signed(self, rule: Callable | None = None) -> object:
        """What a rule reads, a power where none is given, behind any signs."""
        if self.kind in ("+", "-"):
            sign = self.take().kind
            node = self.signed(rule)
            return negated(node) if sign == "-" else node
        return (rule or self.power)()

    def power(self) -> object:
        base = self.postfix(operands.mixed(self) or self.atom())
        if self.kind != "^":
            return base
        self.take()
        if isinstance(base, Tuple) and [self.kind, self.tokens[self.at].text] == ["symbol", "T"]:
            self.take()
            return base
        return self.postfix(Apply("^", (expression(base), self.exponent())))

    def exponent(self) -> object:
        """`^` binds to the right: 2^3^2 is 2^9."""
        return self.signed(self._exponent)

    def _exponent(self) -> object:
        node = expression(self.postfix(self.atom()))
        if self.kind == "^":
            self.take()
            return Apply("^", (node, self.exponent()))
        return node

    def postfix(self, node: object) -> object:
        if self.kind not in ("!", "°", "%"):
            return node
        sign = self.take().kind
        if sign == "!" and self.kind == "!":
            sign += self.take().kind
        if self.kind in ("!", "°", "%"):
            raise NotMathematics(f"{self.kind!r} directly after {sign!r}")
        return Apply(sign, (expression(node),))

    @_bounded
    def atom(self) -> object:
        token = self.take()
        match token.kind:
            case "number":
                node = operands.number_of(self, token.text)
                while self.kind == "scale" and isinstance(node, Number):
                    node = Number(node.value * int(self.take().text))
                return node
            case "symbol":
                return operands.symbol(self, token.text)
            case "function":
                return operands.function(self, token.text)
            case "frac":
                return Apply("/", (operands.argument(self), operands.argument(self)))
            case "binom":
                return Apply("binom", (operands.argument(self), operands.argument(self)))
            case "sqrt":
                return operands.root(self)
            case "(" | "[" | "{":
                return brackets.bracketed(self, token.kind)
            case "]" if self.at == 1 or self.tokens[self.at - 2].kind in ("∪", "∩", "∖", "=", "∈"):
                return brackets.bracketed(self, token.kind)
            case "\\{":
                return brackets.braced_set(self)
            case "∅":
                return Set(())
            case "|":
                return brackets.absolute(self)
            case "⌊" | "⌈":
                return brackets.fenced(self, token.kind)
            case "begin":
                return notation.environment(self, token.text)
            case "sum" | "prod":
                return notation.big_operator(self, token.kind)
            case "int":
                return notation.integral(self)
            case "lim":
                return notation.limit(self)
        raise NotMathematics(f"unexpected {token.text!r}" if token.text else "it ends too early")

    def inside(self, found: list[Token]) -> object:
        """A sum that stands in tokens of its own, as the body of an integral does."""
        kept = self.tokens, self.at
        self.tokens, self.at = found, 0
        node = self.sum()
        self.take("end")
        self.tokens, self.at = kept
        return node

    def atom_argument(self) -> object:
        return expression(operands.argument(self))
