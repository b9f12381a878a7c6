"""Antiderivatives in one variable: a polynomial times a power of x, or times one factor that is e^u, sin u, ln x, ...

Other names may stand in them. Left out is what needs more than integration by parts.
"""

from collections.abc import Callable
from fractions import Fraction

from thinkling.verify.math.expressions.exact import Undefined, exact
from thinkling.verify.math.expressions.polynomials import Polynomial, polynomial, quotient, times, trimmed
from thinkling.verify.math.expressions.quotients import ONE, ZERO, Part, Unknown, of_quotient, polynomial_part, tree_of
from thinkling.verify.math.expressions.tree import EULER, Apply, Number, Symbol, walk

MAX_DEGREE = 6  # of a polynomial beside e^u, sin u or cos u


def antiderivative(node: object, x: Symbol, spend: Callable[[int], None]) -> list[Part]:
    """The terms of an antiderivative in x. Raises Unknown."""
    spend(20 + 8 * sum(1 for _ in walk(node)))
    if x not in walk(node):
        return [Part(Apply("*", (node, x)))]
    plain = polynomial(node, x.name)
    if plain is not None:
        return [polynomial_part(plain, x)]
    match node:
        case Apply("neg", (inside,)):
            return scaled_parts(antiderivative(inside, x, spend), Number(Fraction(-1)))
        case Apply("+", terms):
            return [part for term in terms for part in antiderivative(term, x, spend)]
    fraction = quotient(node, x.name)
    if fraction is not None:
        spend(100 * len(fraction[0]))
        return of_quotient(*fraction, x)
    constants, factors = factors_of(node, x)
    if constants:
        parts = antiderivative(factors[0] if len(factors) == 1 else Apply("*", tuple(factors)), x, spend)
        return scaled_parts(parts, constants[0] if len(constants) == 1 else Apply("*", tuple(constants)))
    return _of_factors(factors, x)


def scaled_parts(parts: list[Part], by: object) -> list[Part]:
    def scaled(value: object | None) -> object | None:
        return value if value is None or value == ZERO else Apply("*", (by, value))

    return [Part(scaled(p.tree), (scaled(p.endless[0]), scaled(p.endless[1])), p.apart, p.above) for p in parts]


def factors_of(node: object, x: Symbol) -> tuple[list, list]:
    """The factors of a product or a quotient, those without x and those with it; of what divides, to the power -1."""
    match node:
        case Apply("*", arguments):
            found = [factors_of(factor, x) for factor in arguments]
            return [c for constants, _ in found for c in constants], [f for _, factors in found for f in factors]
        case Apply("neg", (inside,)):
            constants, factors = factors_of(inside, x)
            return [Number(Fraction(-1)), *constants], factors
        case Apply("/", (top, bottom)):
            constants, factors = factors_of(top, x)
            under, rest = factors_of(bottom, x)
            return [*constants, *(Apply("/", (ONE, c)) for c in under)], [*factors, *map(_inverse, rest)]
    return ([], [node]) if x in walk(node) else ([] if node == ONE else [node], [])


def _inverse(node: object) -> object:
    match node:
        case Apply("^", (base, Number(power))):
            return Apply("^", (base, Number(-power)))
        case Apply("^", (base, power)):
            return Apply("^", (base, Apply("neg", (power,))))
    return Apply("^", (node, Number(Fraction(-1))))


def _of_factors(factors: list, x: Symbol) -> list[Part]:
    """A polynomial, a power of x, and at most one factor of another kind."""
    inside, power, kernels = [Fraction(1)], Fraction(0), []
    for factor in factors:
        plain, own = polynomial(factor, x.name), _power_of(factor, x)
        if plain is not None:
            inside = times(inside, plain)
        elif own is not None:
            power += own
        else:
            kernels.append(factor)
        if inside is None:
            raise Unknown
    if not kernels:
        return [_power_part(c, power + i, x) for i, c in enumerate(inside) if c]
    if power and power.denominator == 1 and power > 0:
        inside, power = times(inside, [Fraction(0)] * int(power) + [Fraction(1)]), Fraction(0)
    if power or inside is None or len(inside) > MAX_DEGREE + 1:
        raise Unknown
    if len(kernels) == 2 and len(inside) == 1:
        return scaled_parts(_two_waves(*kernels, x), Number(inside[0]))
    if len(kernels) > 1:
        raise Unknown
    return _kernel(trimmed(inside), kernels[0], x)


def _power_of(node: object, x: Symbol) -> Fraction | None:
    """The r of x^r, √x or 1/x."""
    base, power = _as_power(node)
    return power if base == x else None


def _as_power(node: object) -> tuple[object, Fraction]:
    """(u, r) of u^r, however it is written: √u is u^(1/2). But √(u²) is |u|, and so no power of u."""
    match node:
        case Apply("^", (base, Number(times))):
            pass
        case Apply("sqrt" | "cbrt" as function, (base,)):
            times = Fraction(1, 2 if function == "sqrt" else 3)
        case Apply("root", (base, Number(index))) if index > 0:
            times = 1 / index
        case _:
            return node, Fraction(1)
    inner, own = _as_power(base)
    hidden = (own * times).denominator == 1 and max(own.denominator, times.denominator) > 1
    return (node, Fraction(1)) if hidden else (inner, own * times)


def _power_part(c: Fraction, r: Fraction, x: Symbol) -> Part:
    if r == -1:
        return Part(Apply("*", (Number(c), Apply("ln", (Apply("abs", (x,)),)))), apart=(x,))
    tree = Apply("*", (Number(c / (r + 1)), Apply("^", (x, Number(r + 1)))))
    far = ZERO if r < -1 else None
    if r.denominator == 1:
        return Part(tree, (far, far), apart=() if r >= 0 else (x,))
    return Part(tree, (None, far), apart=(x,) if r < -1 else (), above=(x,))


def linear(node: object, x: Symbol) -> tuple[object, object] | None:
    """(a, b) of a·x + b, where a and b are trees without x; None for all else."""
    if x not in walk(node):
        return ZERO, node
    match node:
        case Symbol():
            return ONE, ZERO
        case Apply("neg", (inside,)):
            inner = linear(inside, x)
            return inner and (Apply("neg", (inner[0],)), Apply("neg", (inner[1],)))
        case Apply("+", terms):
            inner = [linear(term, x) for term in terms]
            if None in inner:
                return None
            return Apply("+", tuple(a for a, _ in inner)), Apply("+", tuple(b for _, b in inner))
        case Apply("*", factors):
            moving = [factor for factor in factors if x in walk(factor)]
            inner = linear(moving[0], x) if len(moving) == 1 else None
            rest = tuple(factor for factor in factors if x not in walk(factor))
            return inner and (Apply("*", (inner[0], *rest)), Apply("*", (inner[1], *rest)))
        case Apply("/", (top, bottom)) if x not in walk(bottom):
            inner = linear(top, x)
            return inner and (Apply("/", (inner[0], bottom)), Apply("/", (inner[1], bottom)))
    return None


def _kernel(inside: Polynomial, kernel: object, x: Symbol) -> list[Part]:
    """A polynomial times one other factor."""
    match kernel:
        case Apply("sin" | "cos" | "sinh" | "cosh" as function, (u,)):
            return [_by_parts(inside, function, u, x)]
        case Apply("exp", (u,)):
            return [_exponential(inside, Symbol(EULER), u, x)]
        case Apply("^", (Symbol(name) as base, u)) if name == EULER:
            return [_exponential(inside, base, u, x)]
        case Apply("^", (Number(value) as base, u)) if value > 0 and value != 1:
            return [_exponential(inside, base, u, x)]
        case Apply("^", (Apply("sin" | "cos" as function, (u,)), Number(power))) if power == 2:
            double = Apply("*", (Number(Fraction(2)), u))  # (1 ± cos 2u) / 2
            half = Fraction(1 if function == "cos" else -1, 2)
            wave = scaled_parts([_by_parts(inside, "cos", double, x)], Number(half))
            return [polynomial_part([c / 2 for c in inside], x), *wave]
        case Apply("ln", (u,)):
            return _logarithm(inside, u, x)
    if len(inside) > 1:
        raise Unknown
    return scaled_parts(_root_of_quadratic(kernel, x), Number(inside[0]))


def _two_waves(first: object, second: object, x: Symbol) -> list[Part]:
    """sin u cos u is sin(2u) / 2."""
    match (first, second):
        case (Apply("sin" | "cos" as one, (u,)), Apply("sin" | "cos" as other, (v,))) if u == v and one != other:
            double = Apply("*", (Number(Fraction(2)), u))
            return scaled_parts([_by_parts([Fraction(1)], "sin", double, x)], Number(Fraction(1, 2)))
    raise Unknown


def _slope(u: object, x: Symbol) -> object:
    line = linear(u, x)
    if line is None or line[0] == ZERO:
        raise Unknown
    return line[0]


def _by_parts(inside: Polynomial, function: str, u: object, x: Symbol) -> Part:
    """∫ P f = P F₁ - P' F₂ + P'' F₃ - ..., where each F is an antiderivative of the one before."""
    slope, sign = _slope(u, x), Fraction(1)
    terms, power = [], 1
    while any(inside):
        function, turned = {"sin": ("cos", -1), "cos": ("sin", 1), "sinh": ("cosh", 1), "cosh": ("sinh", 1)}[function]
        sign *= turned
        wave = Apply(function, (u,))
        over = Apply("*", (Number(sign), tree_of(inside, x), wave))
        terms.append(Apply("/", (over, Apply("^", (slope, Number(Fraction(power)))))))
        inside, sign, power = [i * c for i, c in enumerate(inside)][1:] or [Fraction(0)], -sign, power + 1
    return Part(Apply("+", tuple(terms)))


def _exponential(inside: Polynomial, base: object, u: object, x: Symbol) -> Part:
    """∫ P b^u = b^u (P/s - P'/s² + ...), with s the slope of u times ln b."""
    slope, power = _slope(u, x), Apply("^", (base, u))
    falls = _sign(slope) * (1 if base == Symbol(EULER) or base.value > 1 else -1)
    if base != Symbol(EULER):
        slope = Apply("*", (slope, Apply("ln", (base,))))
    terms, sign, count = [], Fraction(1), 1
    while any(inside):
        over = Apply("*", (Number(sign), tree_of(inside, x), power))
        terms.append(Apply("/", (over, Apply("^", (slope, Number(Fraction(count)))))))
        inside, sign, count = [i * c for i, c in enumerate(inside)][1:] or [Fraction(0)], -sign, count + 1
    endless = (ZERO if falls > 0 else None, ZERO if falls < 0 else None)
    return Part(Apply("+", tuple(terms)), endless)


def _sign(node: object) -> int:
    """The sign of a rational constant; 0 where it is none."""
    try:
        value = exact(node, lambda units: None)
    except Undefined:
        return 0
    return (value.value > 0) - (value.value < 0) if isinstance(value, Number) else 0


def _logarithm(inside: Polynomial, u: object, x: Symbol) -> list[Part]:
    """∫ xⁿ ln(cx) = x^(n+1) ln(cx) / (n+1) - x^(n+1) / (n+1)², for c > 0."""
    line = polynomial(u, x.name)
    if line is None or len(line) != 2 or line[0] or line[1] <= 0:
        raise Unknown
    terms = []
    for n, c in enumerate(inside):
        power = Apply("^", (x, Number(Fraction(n + 1))))
        terms.append(Apply("*", (Number(c / (n + 1)), power, Apply("ln", (u,)))))
        terms.append(Apply("*", (Number(-c / (n + 1) ** 2), power)))
    return [Part(Apply("+", tuple(terms)), above=(x,))]


def _root_of_quadratic(kernel: object, x: Symbol) -> list[Part]:
    """√(c - x²) and 1/√(c - x²), and powers of a linear expression."""
    u, power = _as_power(kernel)
    inside = polynomial(u, x.name)
    if inside is None:
        raise Unknown
    if len(inside) == 2:
        if power.denominator == 1:
            raise Unknown  # a quotient of polynomials
        tree = Apply("/", (Apply("^", (u, Number(power + 1))), Number((power + 1) * inside[1])))
        return [Part(tree, apart=(u,) if power < -1 else (), above=(u,))]
    if len(inside) != 3 or inside[1] or inside[2] != -1 or inside[0] <= 0 or abs(power) != Fraction(1, 2):
        raise Unknown
    arc = Apply("arcsin", (Apply("/", (x, Apply("sqrt", (Number(inside[0]),)))),))
    if power < 0:
        return [Part(arc, above=(u,))]
    half = Number(Fraction(1, 2))
    tree = Apply("+", (Apply("*", (half, x, Apply("sqrt", (u,)))), Apply("*", (Number(inside[0] / 2), arc))))
    return [Part(tree, above=(u,))]
