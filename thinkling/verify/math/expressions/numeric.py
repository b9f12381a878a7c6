"""The value of an expression to so many digits, with mpmath. Sizes are bounded first, in logarithms."""

import os
import threading
from collections.abc import Callable

from mpmath import MPContext

from thinkling.verify.math.expressions.exact import CannotTell, Undefined, bits
from thinkling.verify.math.expressions.tree import EULER, IMAGINARY, PI, Apply, Number, Symbol, variables

MAX_EXPONENT_BITS = 10_000  # mpmath writes out a whole exponent; only a base beside 1 passes the next bound with one
MAX_LOG2 = 2.0**40  # of a value: mpmath's exponents are exact integers, so this costs nothing


MP = MPContext()
LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):  # a process forked while another thread held the lock would never get it

    def _new_lock() -> None:
        global LOCK
        LOCK = threading.Lock()

    os.register_at_fork(after_in_child=_new_lock)

_TRIGONOMETRIC = {
    "sin": MP.sin, "cos": MP.cos, "tan": MP.tan, "cot": MP.cot, "sec": MP.sec, "csc": MP.csc,
}  # fmt: skip
_POLES = {"tan": MP.cos, "sec": MP.cos, "cot": MP.sin, "csc": MP.sin}
_HYPERBOLIC = {"sinh": MP.sinh, "cosh": MP.cosh, "tanh": MP.tanh, "exp": MP.exp}
_INVERSE = {
    "arcsin": MP.asin, "arccos": MP.acos, "arctan": MP.atan, "arcsec": MP.asec, "arccsc": MP.acsc,
    "arsinh": MP.asinh, "arcosh": MP.acosh, "artanh": MP.atanh,
}  # fmt: skip


def digits(value: object) -> str:
    """The first fifteen digits, the same for the same number however it was computed."""
    return MP.nstr(value, 15)


class Numeric:
    """Evaluates an expression without variables at the context's precision. `real`: a complex value is Undefined."""

    def __init__(self, spend: Callable[[int], None], digits: int, real: bool, log_base: int | None) -> None:
        self.spend, self.digits, self.real, self.log_base = spend, digits, real, log_base
        self.lost = False  # a term was too small to leave a trace in its sum at this precision
        self.scale = MP.mpf(0)  # the largest term of any sum
        self.arithmetic, self.function = 3 + digits // 200, 25 + digits**2 // 1000  # as mpmath takes

    def value(self, node: object) -> object:
        """An mpf or mpc. Raises Undefined or CannotTell."""
        self.spend(self.arithmetic)
        match node:
            case Number(value):
                self.lost |= bits(value) > MP.prec + 40
                return MP.mpf(value.numerator) / value.denominator
            case Symbol(name):
                return self._symbol(name)
            case Apply("+", terms):
                return self._sum([self.value(term) for term in terms])
            case Apply("*", factors):
                return self._real(MP.fprod([self.value(factor) for factor in factors]))
            case Apply("/", (top, bottom)):
                over, under = self.value(top), self.value(bottom)
                if under == 0:
                    raise Undefined("a division by zero")
                return self._real(over / under)
            case Apply("neg", (part,)):
                return -self.value(part)
            case Apply("^", (base, exponent)):
                return self._real(self._power(base, exponent))
            case Apply(function, arguments):
                self.spend(self.function)
                values = [self.value(argument) for argument in arguments]
                if any(isinstance(value, MP.mpc) for value in values):
                    self.spend(2 * self.function)
                return self._real(self._apply(function, values))
        raise Undefined("not an expression")

    def is_huge(self, node: object) -> bool:
        """Whether a power as a whole is certainly larger than all that is computed here, such as 5^5^5^5."""
        match node:
            case Apply("^", (base, exponent)) if not variables(node):
                b = self.value(base)
                if isinstance(b, MP.mpc) or b < 2:
                    return False
                if self.is_huge(exponent):
                    return True
                e = self.value(exponent)
                return not isinstance(e, MP.mpc) and e * MP.log(b, 2) > MAX_LOG2
        return False

    def _symbol(self, name: str) -> object:
        constants = {PI: MP.pi, EULER: MP.e, IMAGINARY: MP.j}
        if name not in constants:
            raise Undefined(f"{name} inside a calculation")
        return +constants[name]

    def _real(self, value: object) -> object:
        if isinstance(value, MP.mpc):
            if value.imag == 0:
                return value.real
            if self.real:
                raise Undefined("a complex value")
        return value

    def _sum(self, terms: list) -> object:
        sizes = [abs(term) for term in terms if term != 0]
        if sizes:
            largest, smallest = max(sizes), min(sizes)
            self.scale = max(self.scale, largest)
            self.lost |= MP.mag(largest) - MP.mag(smallest) > MP.prec - 30
        return self._real(MP.fsum(terms))

    def _power(self, base: object, exponent: object) -> object:
        b = self.value(base)
        if isinstance(exponent, Number) and b < 0 if not isinstance(b, MP.mpc) else False:
            p, q = exponent.value.numerator, exponent.value.denominator
            if q % 2:  # the real root: (-8)^(1/3) is -2
                size = self._positive_power(-b, self.value(exponent))
                return -size if p % 2 else size
        e = self.value(exponent)
        if b == 1 and isinstance(base, Number) and base.value == 1:
            return b  # mpmath would write out the exponent of 1^{9^{9^9}}, all its 370 million digits
        if b == 0:
            if isinstance(e, MP.mpc) or e <= 0:
                raise Undefined("zero to a power that is not positive")
            return b
        if isinstance(b, MP.mpc) or isinstance(e, MP.mpc) or b < 0:
            if self.real:
                raise Undefined("a complex value")
            self.spend(6 * self.function)
            self._check_size(abs(e) * (abs(MP.log(abs(b), 2)) + 5))
            return MP.power(b, e)
        return self._positive_power(b, e)

    def _positive_power(self, base: object, exponent: object) -> object:
        self.spend(2 * self.function)
        self._check_size(abs(exponent * MP.log(base, 2)))
        if exponent and MP.mag(exponent) > MAX_EXPONENT_BITS:
            raise CannotTell("a power too large to compare")
        return MP.power(base, exponent)

    def _check_size(self, log2: object) -> None:
        if log2 > MAX_LOG2:
            raise CannotTell("a power too large to compare")

    def _apply(self, function: str, values: list) -> object:
        x = values[0]
        if function in _TRIGONOMETRIC or function == "cis":
            if x != 0 and MP.mag(x) > 200:
                raise CannotTell(f"the {function} of a number too large")
            if function == "cis":
                return MP.expj(x)
            if function in _POLES and abs(_POLES[function](x)) < MP.mpf(10) ** (8 - self.digits):
                raise Undefined(f"{function} at a pole")
            return _TRIGONOMETRIC[function](x)
        if function in _HYPERBOLIC:
            self._check_size(abs(x) * 2)
            return _HYPERBOLIC[function](x)
        if function in _INVERSE or function == "arccot":
            if x == 0 and function in ("arcsec", "arccsc", "arccot"):
                return self._arc_of_zero(function)
            return MP.pi / 2 - MP.atan(x) if function == "arccot" else _INVERSE[function](x)
        if function in ("ln", "log"):
            return self._log(function, values)
        if function in ("sqrt", "root", "cbrt"):
            return self._root(x, {"sqrt": 2, "cbrt": 3}.get(function) or values[1])
        if function == "°":
            return x * MP.pi / 180
        if function == "%":
            return x / 100
        if function == "abs":
            return abs(x)
        if function in ("Re", "Im"):
            return x.real if function == "Re" else x.imag
        return self._of_reals(function, values)

    def _arc_of_zero(self, function: str) -> object:
        if function != "arccot":
            raise Undefined(f"{function} of zero")
        return MP.pi / 2

    def _log(self, function: str, values: list) -> object:
        if 0 in values:
            raise Undefined("the logarithm of zero")
        if function == "ln" or (len(values) == 1 and self.log_base is None):
            return MP.log(values[0])
        base = MP.log(values[1] if len(values) == 2 else self.log_base)
        if base == 0:
            raise Undefined("a logarithm to base one")
        return MP.log(values[0]) / base

    def _root(self, x: object, index: object) -> object:
        if not MP.isint(index) or not 1 <= index <= 1000:
            raise Undefined("a root whose index is no whole number up to 1000")
        if isinstance(x, MP.mpc) or x >= 0:
            return MP.root(x, int(index))
        return -MP.root(-x, int(index)) if int(index) % 2 else MP.root(x, int(index))

    def _of_reals(self, function: str, values: list) -> object:
        if any(isinstance(value, MP.mpc) for value in values):
            raise Undefined(f"{function} of a complex number")
        x = values[0]
        match function:
            case "floor" | "ceil":
                nearest = MP.nint(x)
                if abs(x - nearest) < MP.mpf(10) ** (-self.digits // 2):
                    return nearest
                return MP.floor(x) if function == "floor" else MP.ceil(x)
            case "max":
                return max(values)
            case "min":
                return min(values)
            case "!":
                if x < 0 and MP.isint(x):
                    raise Undefined("the factorial of a negative number")
                if abs(x) > 10**12 or self.digits > 300:
                    raise CannotTell("the factorial of a number too large")
                self.spend(20 * self.function)
                return MP.factorial(x)
            case "binom" if 0 <= x <= 10**9 and abs(values[1]) <= 10**9 and self.digits <= 300:
                self.spend(60 * self.function)
                return MP.binomial(x, values[1])
        raise Undefined(f"{function} of these numbers")
