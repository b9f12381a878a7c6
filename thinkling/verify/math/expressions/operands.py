"""What a product is made of: numbers with all that may follow them, names with subscripts, functions with arguments.

Each rule takes the parser (grammar.py), reads on from its place, and gives a node.
"""

from fractions import Fraction

import thinkling.verify.math.expressions.build as build
from thinkling.verify.math.expressions.build import expression, number
from thinkling.verify.math.expressions.parsing import Parsing
from thinkling.verify.math.expressions.tokens import NotMathematics, Token
from thinkling.verify.math.expressions.tree import (
    ELLIPSIS,
    EULER,
    IMAGINARY,
    PI,
    Apply,
    Number,
    Set,
    Symbol,
    Tuple,
    variables,
    walk,
)

JOINS = (",", ";", "or", "and")
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot", "sec": "arcsec", "csc": "arccsc",
             "sinh": "arsinh", "cosh": "arcosh", "tanh": "artanh"}  # fmt: skip
_ENDS = ("end", ")", "]", "}", "\\}", ",", "+", "-", "*", "/", "=", "≈", "<", ">", "≤", "≥")
_OF_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
_SEVERAL = ("gcd", "lcm", "max", "min")


def mixed(parser: Parsing) -> Number | None:
    """`1\\frac{4}{5}` and `1 4/5` are 9/5. `2\\frac{9}{5}` is a product, since no mixed number is improper."""
    first, second = parser.tokens[parser.at], parser.ahead(1)
    if first.kind != "number" or not first.text.isdigit() or second.kind not in ("frac", "number"):
        return None
    if second.kind == "frac" and not _is_plain(parser):
        return None  # else every level of 1\frac{1\frac{...}{7}}{7} would be read twice
    start, kept = parser.at, parser.tokens.copy()
    parser.take()
    if second.kind == "frac":
        fraction = parser.atom()
    elif second.spaced and parser.ahead(1).kind == "/" and parser.ahead(2).kind == "number":
        top, _, bottom = parser.take(), parser.take(), parser.take()
        if not (top.text.isdigit() and bottom.text.isdigit()):
            raise NotMathematics("two numbers side by side")
        fraction = Apply("/", (number(top.text), number(bottom.text)))
    else:
        fraction = None
    match fraction:
        case Apply("/", (Number(top, None), Number(bottom, None))) if 0 < top < bottom:
            return Number(int(first.text) + top / bottom)
    parser.at, parser.tokens = start, kept
    return None


def _is_plain(parser: Parsing) -> bool:
    """Whether the fraction ahead has nothing but digits above and below, as \\frac{4}{5} or \\frac45."""
    place = 2
    for _ in range(2):
        braced = parser.ahead(place).kind == "{"
        if parser.ahead(place + braced).kind != "number":
            return False
        if not braced and len(parser.ahead(place).text) > 1:  # \frac45
            return True
        if braced and parser.ahead(place + 2).kind != "}":
            return False
        place += 3 if braced else 1
    return True


def number_of(parser: Parsing, digits: str) -> object:
    if parser.kind == "_":
        return numeral(parser, digits)
    if parser.kind == "symbol" and parser.tokens[parser.at].text == ELLIPSIS and "." in digits:
        parser.take()
        return build.continued(digits)
    return number(digits)


def numeral(parser: Parsing, digits: str) -> object:
    parser.take("_")
    braced = parser.kind == "{" and parser.take()
    base = parser.take("number").text
    if braced:
        parser.take("}")
    return build.numeral(digits, base)


def symbol(parser: Parsing, name: str) -> object:
    while parser.kind == "'":
        name += parser.take().text
    if parser.kind == "_":
        parser.take()
        name += "_" + _subscript(parser)
    if name in parser.functions and [parser.ahead(place).text for place in range(6)] == list("^{-1}("):
        name += "⁻¹"
        parser.at += 5
    if name == "C" and parser.kind == "(" and _holds_two(parser):
        parser.take()
        several, _ = parser.items()
        parser.take(")")
        return Apply("binom", tuple(map(expression, several)))
    glued = parser.at > 1 and parser.tokens[parser.at - 2].kind == "symbol" and not parser.tokens[parser.at - 1].spaced
    product = glued and name in "gh" and parser.ahead(2).kind != ")"  # mg(sin x - 1)
    if (
        name.rstrip("'⁻¹") in parser.functions
        and parser.kind == "("
        and not parser.tokens[parser.at].spaced
        and not product
    ):
        parser.take()
        arguments, _ = parser.items()
        parser.take(")")
        return Apply(f"{name}()", tuple(map(expression, arguments)))
    return Symbol(name)


def _holds_two(parser: Parsing) -> bool:
    """Whether the bracket ahead is the (10, 3) of C(10, 3)."""
    kinds = [parser.ahead(place).kind for place in range(1, 9)]
    end = kinds.index(")") if ")" in kinds else 0
    inside = kinds[:end]
    plain = {"number", "symbol", "+", "-"}.issuperset(kind for kind in inside if kind != ",")
    return plain and inside.count(",") == 1 and "," not in (inside[0], inside[-1])


def _subscript(parser: Parsing) -> str:
    if parser.kind != "{":
        return parser.take("number", "symbol").text
    text, depth = "", 0
    while True:
        token = parser.take()
        if token.kind == "end":
            raise NotMathematics("an unclosed subscript")
        depth += {"{": 1, "}": -1}.get(token.kind, 0)
        if not depth:
            return text.removeprefix("{")
        text += token.text


def function(parser: Parsing, name: str) -> object:
    power = base = None
    while parser.kind in ("^", "_"):
        if parser.take().kind == "^":
            power = parser.exponent()
        else:
            base = _digit_of_base(parser) or expression(parser.atom())
    if power == Number(Fraction(-1)) and name in _INVERSES:
        name, power = _INVERSES[name], None
    if parser.kind in ("(", "[", "{", "\\{"):
        inside = parser.atom()
        several = inside.items if name in _SEVERAL and isinstance(inside, Tuple | Set) else (inside,)
    else:
        several = (_bare_argument(parser, name),)
    arguments = tuple(map(expression, several)) + ((base,) if base else ())
    if base and name != "log":
        raise NotMathematics(f"{name} with a base")
    unknown = name in _SEVERAL and len(arguments) == 1 and variables(arguments[0])  # the greatest value of f, not f
    if name in _SEVERAL and len(arguments) == 1 and not unknown:
        raise NotMathematics(f"the {name} of one number")
    node = Apply(f"{name}()" if unknown else name, arguments)
    return node if power is None else Apply("^", (node, power))


def _digit_of_base(parser: Parsing) -> Number | None:
    r"""The 2 of `\log_25`, where no other argument follows: TeX takes one digit."""
    token, after = parser.tokens[parser.at], parser.ahead(1).kind
    if token.kind != "number" or len(token.text) < 2 or not token.text.isdigit() or after not in _ENDS:
        return None
    parser.tokens[parser.at] = Token("number", token.text[1:], False)
    return number(token.text[0])


def _bare_argument(parser: Parsing, name: str) -> object:
    """What `\\sin 2\\pi x` takes the sine of: up to the next sign, bracket or function, or behind a sign of degrees.

    A root behind a number belongs to an angle, or to what is an angle's tangent: `\\arctan 2\\sqrt2`.
    `\\cos \\pi/3` is the cosine of π/3, and `\\cos \\pi(x+1)` that of π(x+1), for nobody divides or multiplies cos π.
    Raises NotMathematics at `\\sin \\pi x/2` and `\\sin \\frac{\\pi}{6}(3)`, which are read in two ways.
    """
    factors = [parser.signed()]
    while (parser.kind == "symbol" and parser.tokens[parser.at - 1].kind != "°") or (
        parser.kind == "sqrt" and isinstance(factors[-1], Number) and (name in _OF_ANGLES or name[:3] == "arc")
    ):
        factors.append(parser.power())
    inside = build.product(tuple(map(expression, factors)))
    if name not in _OF_ANGLES or Symbol(PI) not in walk(inside):
        return inside
    if parser.kind == "/":
        parser.take()
        inside = Apply("/", (inside, expression(parser.power())))
        if variables(inside) or parser.kind in ("symbol", "number", "("):
            raise NotMathematics(f"an unclear argument of {name}: what is divided?")
    while parser.kind == "(" and not variables(inside):
        inside = build.product((inside, expression(parser.power())))
        if not variables(inside):
            raise NotMathematics(f"an unclear argument of {name}: up to which bracket?")
    return inside


def argument(parser: Parsing) -> object:
    """An argument of \\frac or \\binom: a group, or a single digit or symbol, as in \\frac12."""
    token = parser.tokens[parser.at]
    if token.kind == "number" and len(token.text) > 1:
        if not token.text.isdigit():
            raise NotMathematics("a decimal directly after \\frac")
        parser.tokens[parser.at] = Token("number", token.text[1:], False)
        return number(token.text[0])
    return expression(parser.atom())


def root(parser: Parsing) -> Apply:
    index = None
    if parser.kind == "[":
        parser.take()
        index = expression(parser.sum())
        parser.take("]")
    inside = expression(parser.atom())
    return Apply("sqrt", (inside,)) if index is None else Apply("root", (inside, index))


def defined_functions(found: list[Token]) -> set[str]:
    """The names that stand as `P(x) =`, `T(n) =` or `P(A) ≈` at the start of an item: they are functions."""
    names = set()
    for at, token in enumerate(found[:-4]):
        if token.kind != "symbol" or found[at + 1].kind != "(" or token.text in (EULER, IMAGINARY, PI):
            continue
        if at and found[at - 1].kind not in (*JOINS, "begin", "\\\\", "&"):
            continue
        end = at + 2
        while found[end].kind in ("symbol", "number", ","):
            end += 1
        inside = {argument.text for argument in found[at + 2 : end]}
        called = found[end].kind == ")" and found[end + 1].kind in ("=", "≈", "≡")
        usual = "tsn0123" + {"y": "x", "z": "xy", "x": ""}.get(token.text, "")
        if called and inside and token.text not in inside and (token.text not in "xyz" or inside <= set(usual)):
            names.add(token.text)
    return names
