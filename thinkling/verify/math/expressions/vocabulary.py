"""What commands and words of mathematics stand for, as tables: functions, names, structures, styles of letters."""

from thinkling.verify.math.expressions.clean import GREEK
from thinkling.verify.math.expressions.tree import INFINITY, PI

FUNCTIONS = {
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "sinh",
    "cosh", "tanh", "arsinh", "arcosh", "artanh", "ln", "log", "exp", "sqrt", "cbrt", "abs", "floor", "ceil", "gcd",
    "lcm", "max", "min", "cis", "Re", "Im", "sgn", "det",
}  # fmt: skip
ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "ceiling": "ceil", "lg": "log",
    "arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh",
}  # fmt: skip
NAMES = {"pi": PI, "infinity": INFINITY, "infty": INFINITY, "inf": INFINITY} | {n: f"\\{n}" for n in GREEK.values()}
STRUCTURES = {
    "frac": "frac", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac",
    "nicefrac": "frac", "binom": "binom",
    "dbinom": "binom",
    "tbinom": "binom", "sqrt": "sqrt", "pm": "±", "mp": "∓", "times": "*", "cdot": "*",
    "ast": "*", "div": "/", "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<",
    "gt": ">", "ne": "≠", "neq": "≠", "approx": "≈", "in": "∈", "notin": "∉", "cup": "∪", "cap": "∩", "setminus": "∖",
    "backslash": "∖", "smallsetminus": "∖",
    "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈",
    "rceil": "⌉", "choose": "choose", "degree": "°", "emptyset": "∅", "varnothing": "∅", "colon": ":", "vee": "or",
    "lor": "or", "land": "and", "wedge": "and", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]",
    "langle": "(", "rangle": ")", "sum": "sum", "prod": "prod", "int": "int", "lim": "lim", "to": "→",
    "rightarrow": "→", "longrightarrow": "→", "pmod": "pmod", "equiv": "≡", "cong": "≅", "sim": "∼",
    "perp": "⊥", "parallel": "∥",
    "lVert": "|", "rVert": "|", "Vert": "|",
}  # fmt: skip
LETTER_STYLES = {
    "mathbf", "vec", "hat", "bar", "overline", "mathcal", "mathbb", "boldsymbol", "bm", "tilde", "dot", "ddot", "Bbb",
    "mathfrak", "overrightarrow", "widehat",
}  # fmt: skip
SIGNS_AS_NAMES = {"hbar", "partial", "nabla", "ell", "aleph", "dagger", "star", "top"}
FIGURES = {
    "angle",
    "measuredangle",
    "triangle",
    "overline",
    "vec",
    "widehat",
    "overleftrightarrow",
    "wideparen",
}
BASES = {
    name: str(base)
    for base, name in enumerate("two three four five six seven eight nine ten eleven twelve".split(), start=2)
} | {"sixteen": "16"}
