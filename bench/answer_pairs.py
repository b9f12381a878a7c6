r"""Pairs of answer and reference with labels by construction, from MATH-500 and GSM8K, to measure verifiers on.

    python bench/answer_pairs.py --out runs/pairs.jsonl --show 3

Every pair is a reference and a text that a rewrite or a change of a known kind made of it; no verifier labels it. To
the data sets' references come some of our own, for types that are rare there. Left out is what one could argue about.
"""

import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import sympy
import tyro
from answer_changes import another, changes
from answer_rewrites import NUMBERS, rewrites
from answer_types import differ, read

from thinkling.errors import UserError
from thinkling.runs import read_jsonl

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Make labelled answer pairs. Example: python bench/answer_pairs.py --out runs/pairs.jsonl"""

    math: Path = DATA / "math500_test.json"
    """MATH-500: a JSON list whose rows have `answer`."""
    gsm8k: Path = DATA / "gsm8k_test.jsonl"
    """GSM8K: JSON lines whose `answer` ends in "#### N"."""
    per_kind: int = 60
    """At most this many pairs of a kind."""
    rounds: int = 12
    """How many of our own references of each type there are."""
    seed: int = 0
    show: int = 0
    """Print this many pairs of every kind."""
    out: Path | None = None
    """Write the pairs as JSON lines."""


@dataclass(frozen=True)
class Pair:
    """An answer, the reference it is judged against, the true verdict, and how the answer was made."""

    answer: str
    reference: str
    should_be_equal: bool
    kind: str


# The issue threads that these come from are named in the guide's chapter on verifiers: reference, answer, verdict.
FIELD = (
    ("1/2004!", "1/2006!", False),
    ("1/2^{99}", "1/2^{98}", False),
    (r"1-1/\mathrm{e}", r"1+1/\mathrm{e}", False),
    ("1-1/e", "1+1/e", False),
    ("(2^{2005}+1)/(3*2^{2006})", "1/(3*2^{2006})", False),
    (r"1,2,\ldots,n", r"1,3,5,\ldots,2n-1", False),
    ("4", r"4\sqrt(2)", False),
    ("3x-y+13=0", "3x+4y+14=0", False),
    ("2x+4y-3=0", r"y=-\frac12 x+\frac34", True),
    ("(0,12.5)", "0<x<12.5", True),
    ("0<x<12.5", "(0,12.5)", True),
    ("(0,1]", "[0,1)", False),
    (r"\{1,2\}", r"\{2,1\}", True),
    ("(1,2)", "(2,1)", False),
    (r"\sqrt{\frac14}", r"\frac12", True),
    (r"0.\overline{3}", r"\frac13", True),
    (r"\text{13}", "13", True),
    (r"\text{seat}", r"\text{east}", False),
    (r"1\frac{4}{5}", "4/5", False),
    (r"288\pi", r"288 \pi", True),
    ("5", "4, 5, 6", False),
    ("5", "", False),
    ("1", "9^{9^9}", False),
    ("1", "(10^9)!", False),
    ("1", "5^{5^{5^5}}", False),
    ("1", "__import__('os').getpid()", False),
    ("1", "(" * 5000, False),
)


def references(settings: Pairs) -> tuple[list[str], list[str]]:
    """The reference answers of MATH-500 and of GSM8K, each once."""
    for path in (settings.math, settings.gsm8k):
        if not path.is_file():
            raise UserError(f"no file {path}: name MATH-500 with --math and GSM8K with --gsm8k")
    math = [row["answer"] for row in json.loads(settings.math.read_text())]
    gsm8k = [row["answer"].rpartition("####")[2].strip() for row in read_jsonl(settings.gsm8k, ("answer",))]
    return list(dict.fromkeys(math)), list(dict.fromkeys(gsm8k))


def own_references(rng: random.Random, rounds: int) -> list[str]:
    """References like MATH-500's, of the types that are rare there."""
    x, found = sympy.Symbol("x"), []
    for _ in range(rounds):
        a, b, c, d = (rng.choice([-1, 1]) * n for n in rng.sample(range(2, 30), 4))
        p, q, r, s = sorted(map(abs, (a, b, c, d)))
        prime = rng.choice((2, 3, 5, 7, 11, 13))
        unit = rng.choice(("cm", "inches", "meters", "hours", "feet", "miles", "dollars", "minutes"))
        factored = (x - a) * (x - b) * rng.choice((1, 1, x - c))
        found += [
            rf"\frac{{{p}\sqrt{{{prime}}}}}{{{q}}}", rf"\{{{a}, {b}, {c}\}}", rf"\{{{a}, \frac{{{p}}}{{{s}}}\}}",
            rf"[{p}, {r})", rf"(-{q}, {s}]", rf"[{p}, \infty)", rf"(-\infty, {a})",
            rf"(-\infty, {p}] \cup [{q}, \infty)", rf"[{p}, {q}) \cup ({r}, {s}]",
            rf"{r} \text{{ {unit}}}", rf"{r}.5 \text{{ {unit}}}", f"{a}, {b}, {c}", rf"{a} \pm {p}\sqrt{{{prime}}}",
            rf"\begin{{pmatrix}} {a} & {b} \\ {c} & {d} \end{{pmatrix}}", f"({a}, {b}, {c})", f"{a}+{p}i",
            f"{a} + {p}\\sqrt{{{prime}}}", f"y = {a}x + {p}", f"{p}x + {q}y = {r}", f"x = {a}",
            rf"{p}\frac{{{q}}}{{{s + 1}}}",
            sympy.latex(factored), sympy.latex(sympy.expand(factored)), f"{p}.{q}", f"{p}x^2 - {q}x + {r}",
            rf"\${p},{s:03}", rf"{p * 9}^\circ", rf"-\frac{{{q}}}{{{s}}}", rf"{p}x^3y^2", f"{1000 * r + s}",
        ]  # fmt: skip
    words = ("blue", "Tuesday", "parabola", "hyperbola", "odd", "north", "Maria", "increasing", "circle", "isosceles")
    bases = ("".join(str(rng.randrange(1, base)) for _ in range(3)) + f"_{base}" for base in (5, 6, 7, 8, 9) * 3)
    letters = (rf"\text{{({letter})}}" for letter in "ACDF")
    return list(dict.fromkeys((*found, *(rf"\text{{{word}}}" for word in words), *bases, *letters)))


def labelled(texts: list[str], others: list[str], rng: random.Random) -> Iterator[Pair]:
    """Every pair that these references give. Raises AssertionError where a rewrite is seen to change the value."""
    math = [known for text in others if (known := read(text))]
    for text in texts:
        known = read(text)
        if known is None:
            continue
        for kind, answer in rewrites(known, rng):
            again = read(answer)
            comparable = again and (again.type == known.type or {again.type, known.type} <= set(NUMBERS))
            assert not comparable or differ(known, again) is not True, f"{answer} is not {text} ({kind})"
            if answer != text:
                yield Pair(answer, text, True, kind)
                if kind == "interval as an inequality":  # Math-Verify means to treat the two orders differently
                    yield Pair(text, answer, True, "inequality as an interval")
        for kind, answer in (*changes(known, rng), *another(known, math, rng)):
            yield Pair(answer, text, False, kind)


def make(settings: Pairs) -> list[Pair]:
    """At most `per_kind` pairs of each kind, at random with the seed, in random order; then the field's own."""
    rng = random.Random(settings.seed)
    math, gsm8k = references(settings)
    found = defaultdict(list)
    for texts in (math, own_references(rng, settings.rounds), rng.sample(gsm8k, min(len(gsm8k), 120))):
        for pair in dict.fromkeys(labelled(texts, math, rng)):
            found[pair.kind].append(pair)
    chosen = [pair for kind in found.values() for pair in rng.sample(kind, min(len(kind), settings.per_kind))]
    rng.shuffle(chosen)
    return chosen + [Pair(answer, reference, equal, "field") for reference, answer, equal in FIELD]


def main(settings: Pairs) -> None:
    pairs = make(settings)
    counts = Counter((pair.should_be_equal, pair.kind) for pair in pairs)
    for (equal, kind), count in sorted(counts.items()):
        print(f"{'equal' if equal else 'not equal':10}{kind:34}{count:5}")
        same = [pair for pair in pairs if (pair.should_be_equal, pair.kind) == (equal, kind)]
        for pair in same[: settings.show]:
            print(f"    {pair.reference[:70]}   |   {pair.answer[:70]}")
    print(f"{len(pairs)} pairs, {sum(pair.should_be_equal for pair in pairs)} of them equal")
    if settings.out:
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text("".join(json.dumps(asdict(pair)) + "\n" for pair in pairs))


if __name__ == "__main__":
    try:
        main(tyro.cli(Pairs))
    except UserError as error:
        sys.exit(str(error))
