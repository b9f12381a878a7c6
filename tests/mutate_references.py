r"""Wrong answers made from right ones: one digit, sign, name, bound, bracket, word or operator of a reference changed.

    python tests/mutate_references.py --pairs 50000 --seed 0

None may be accepted, by lenient rules, which accept the most. A change can keep the value by chance (the base of 1^n,
the order of a set that is one letter long): those pairs are listed in COINCIDENCES, each with its reason, or told by
`is_coincidence`. And twenty thousand pairs of unlike references of MATH-500 and GSM8K, where these are at hand: those that
are accepted are printed, and are the same number in another spelling. Left out: changes of more than one place.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz_verify import SEEDS

from thinkling.verify.math.grade import grade

DATA = Path(__file__).parents[2] / "shared" / "data"
OWN = (
    "n 2^{n-1}", "(n-2)2^n+1", "m+n=73", "AB=5", "f(3)=5", r"P(A)=\frac{1}{2}", r"\angle A=73^\circ", r"x=\frac13\approx0.33",
    r"\sqrt2\approx1.414", "P(x)=x^2+1", "x(t)=3e^{-2t}", "T(n)=2^n-1", "2^n-1, n\\ge1", r"x=k\pi, k\in\mathbb{Z}",
    r"f(x)=2x \text{ for } x>3", r"\textbf{(B)}\ 73", "(C) 42", r"5\text{ N}", r"60\text{ km/h}", r"9.8\,\mathrm{m/s^2}",
    r"2.5\text{ hours}", "€45", "5 kg", r"2.998\times10^8", r"6.67\%", r"\{1\}\cup[2,3)", "|x|<3", "2x+3>7", "x^2-5x+6\\le0",
    r"\sum_{k=1}^{n}k^2", r"\prod_{k=1}^{n}(k+2)", r"\int_0^1 x^2\,dx", r"\int_0^2 e^{-x^2}\,dx", r"\lim_{x\to 3} f(x)",
    r"x\equiv 7\pmod{11}", r"3\pmod{7}", r"\begin{cases} x+1 & x\ge 0 \\ 2-x & x<0 \end{cases}", r"\dot{x}=-kx",
    r"|n-2025|+n", r"\max(x,-5)", r"\min(n,1000)", r"\gcd(n,1009)", r"\left\lfloor\frac{n}{300}\right\rfloor", "|x+10|-10",
    r"\binom{n}{2}", r"\frac{n!}{2(n-2)!}", "45, 135", "(1000, 5)", r"y=Ce^{2x}", r"\frac{x^3}{3}+C", r"mg\sin\theta", "ab+c",
    r"\frac{\hbar^2}{2m}", r"A\equiv B", r"\text{Maximum } 7, \text{ minimum } 2", "12 apples", "5 million", "3 dozen", "7:30 pm",
    r"30^\circ 15'", r"5\text{ ft }6\text{ in}", "(2+3i)x", "2x+3y=6", r"3\hat{i}+4\hat{j}", "(x,y)=(1,2)", "x=1, y=2",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}\begin{pmatrix} 1 \\ 5 \end{pmatrix}", "3rd", "twenty-one", r"\mathbb{R}\setminus\{4\}",
    r"\sin(3x)", r"\cos\frac{x}{7}", "f(x)=ax+b", r"\log_2 x", r"\frac{x-1}{x+2}\ge0", "5 degrees", "north", "increasing",
    r"\int_1^2 x e^{x}\,dx", r"\int_1^{3}\frac{2x+1}{x+3}\,dx", r"\lim_{x\to 0}\frac{1-\cos 3x}{x^2}", r"\sum_{k=2}^{\infty}\frac{3^k}{k!}",
    r"\sum_{n=1}^{\infty}\frac{1}{n(n+2)}", r"\int_0^{\pi}x\sin x\,dx", r"\sum_{k=1}^{\infty}\frac{1}{k^4}", r"\lim_{n\to\infty}(1+\frac{2}{n})^{3n}",
)  # fmt: skip
COINCIDENCES = {
    (r"73\pmod{7}", r"3\pmod{7}"), (r"\binom{10}{7}", r"\binom{10}{3}"), (r"1\frac{9}{5}", r"1\frac{4}{5}"),
    (r"6.667\%", r"6.67\%"), (r"\text{(b)}", r"\text{(B)}"), (r"x=\frac13\approx0.333", r"x=\frac13\approx0.33"), (r"\sum_{k=0}^{n}k^2", r"\sum_{k=1}^{n}k^2"),
    (r"\int_0^11 x^2\,dx", r"\int_0^1 x^2\,dx"), ("1a_{16}", "1A_{16}"), (r"\sin 390^\circ", r"\sin 30^\circ"), (r"0.\overline{33}", r"0.\overline{3}"),
    ("1 squared", "1"), (r"1 \text{ squared}", "1"), (r"2.9978\times10^8", r"2.998\times10^8"),  # which rounds it
    *((rf"\lfloor 3.{tail} \rfloor", r"\lfloor 3.7 \rfloor") for tail in (*"012345689", *(f"{d}7" for d in "123456789"))),
    *((rf"\lfloor 3.7{digit} \rfloor", r"\lfloor 3.7 \rfloor") for digit in "0123456789"),
}  # fmt: skip
_NAMES = "abcdkmnpqrstuvwxyzABCDKMNXY"
_WORDS = (
    "below zero",
    "loss",
    "million",
    "dozen",
    "squared",
    "more",
    "fewer",
    "negative",
    "in debt",
    "under par",
    "ago",
)
_OPERATORS = (("+", "-"), ("-", "+"), ("<", ">"), (">", "<"), (r"\le ", "<"), (r"\ge ", ">"), (r"\cup", r"\cap"), (r"\sin", r"\cos"),
              (r"\cos", r"\tan"), (r"\max", r"\min"), (r"\min", r"\max"), (r"\sum", r"\prod"), (r"\le", r"\ge"), (r"\ge", r"\le"),
              (r"\lfloor", r"\lceil"), ("=", r"\ne "), (r"\log", r"\ln"), (r"\pi", r"e"), (r"\times", "+"), (r"\frac", r"\binom"))  # fmt: skip


def mutations(reference: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Every kind of change once, where it can be made: (kind, text)."""
    digits = [m.start() for m in re.finditer(r"\d", reference)]
    if digits:
        at = rng.choice(digits)
        other = rng.choice([d for d in "0123456789" if d != reference[at]])
        yield "digit", reference[:at] + other + reference[at + 1 :]
        at = rng.choice(digits)
        yield "digit added", reference[:at] + rng.choice("123456789") + reference[at:]
    signs = [m.start() for m in re.finditer(r"(?<![\\^{(\[,=<>])[-+](?=[\w\\(])", reference)]
    if signs:
        at = rng.choice(signs)
        yield "sign", reference[:at] + ("+" if reference[at] == "-" else "-") + reference[at + 1 :]
    if re.match(r"[\d\\(]", reference):
        yield "sign in front", f"-({reference})" if re.fullmatch(r"[^=<>,:]+", reference) else f"-{reference}"
    names = [m.start() for m in re.finditer(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])", reference)]
    if names:
        at = rng.choice(names)
        other = rng.choice([name for name in _NAMES if name != reference[at]])
        yield "name", reference[:at] + other + reference[at + 1 :]
        yield "case", reference[:at] + reference[at].swapcase() + reference[at + 1 :]
    brackets = [m.start() for m in re.finditer(r"(?<!\\)[\[\]()]", reference)]
    if brackets:
        at = rng.choice(brackets)
        yield "bracket", reference[:at] + {"[": "(", "]": ")", "(": "[", ")": "]"}[reference[at]] + reference[at + 1 :]
    if re.fullmatch(r"-?[\d.,]+", reference):
        yield "word", f"{reference} {rng.choice(_WORDS)}"
        yield "word in text", rf"{reference} \text{{ {rng.choice(_WORDS)}}}"
        yield "name behind", reference + rng.choice("xnkm")
    pairs = [
        (m.start(), a, b)
        for a, b in _OPERATORS
        for m in re.finditer(re.escape(a) + (r"(?![a-z])" if a[0] == "\\" else ""), reference)
    ]
    if pairs:
        at, before, after = rng.choice(pairs)
        yield "operator", reference[:at] + after + reference[at + len(before) :]
    words = [
        m for m in re.finditer(r"[A-Za-z]{4,}", reference) if m.start() == 0 or reference[m.start() - 1] not in "\\{"
    ]
    if words:
        word = rng.choice(words)
        yield "word cut", reference[: word.start()] + word[0][:-2] + reference[word.end() :]


def references() -> list[str]:
    """The fuzzer's seeds and our own; and, where they stand beside the project, MATH-500's and GSM8K's."""
    found = [*SEEDS, *OWN]
    if (DATA / "math500_test.json").is_file():
        found += [row["answer"] for row in json.loads((DATA / "math500_test.json").read_text(encoding="utf-8"))]
    if (DATA / "gsm8k_test.jsonl").is_file():
        rows = (DATA / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
        found += [json.loads(row)["answer"].rpartition("####")[2].strip() for row in rows]
    return list(dict.fromkeys(found))


def made(pairs: int, seed: int, own_only: bool = False) -> Iterator[tuple[str, str, str]]:
    """So many (kind, answer, reference); every reference is as likely as any other."""
    rng = random.Random(seed)
    pool = list(dict.fromkeys([*SEEDS, *OWN])) if own_only else references()
    count = 0
    while True:
        reference = rng.choice(pool)
        for kind, answer in mutations(reference, rng):
            if answer == reference or re.search(r"(?<![\d.])0\d", answer):
                continue
            yield kind, answer, reference
            count += 1
            if count == pairs:
                return


def accepted(pairs: int, seed: int, own_only: bool = False) -> list[tuple[str, str, str]]:
    """The made pairs that lenient grading calls correct, and that are no coincidence."""
    return [
        one for one in made(pairs, seed, own_only)
        if grade(rf"\boxed{{{one[1]}}}", one[2]).correct and not is_coincidence(*one)
    ]  # fmt: skip


def is_coincidence(kind: str, answer: str, reference: str) -> bool:
    """Whether the change kept the value, or is one that lenient rules pass over. Each with its reason."""
    if re.fullmatch(r"-?\(?0\)?(?:[a-z]| .*)?", answer) and reference == "0":
        return True  # nothing times nothing
    if answer == f"-{reference}" and re.match("0(?![.0-9])", reference):
        return True  # -0 < x
    if answer.casefold() == reference.casefold() and re.fullmatch(
        r"\\text\{\([A-Z]\)\}|\([A-Z]\).*|[0-9A-F]+_\{16\}|.*p\.m\.|.*pm|[0-9.]+e[0-9]+", reference
    ):
        return True  # choice letters, digits past nine, p.m. and e8 have no case
    if kind in ("name", "case") and re.search(r"\+C$|Ce\^|ax\+b", reference):
        return True  # a free constant
    if kind in ("name", "case") and re.match(r"[A-Za-z]\([a-z]\)=", reference) and answer[1:] == reference[1:]:
        return True  # a function that is defined has any name
    if kind == "word cut" and re.search(r"inches|inimum", reference):
        return True  # inch is inches; a label is passed over
    return (answer, reference) in COINCIDENCES


def same_by_chance(pairs: int, seed: int) -> list[tuple[str, str]]:
    """Of random pairs of references that are spelt differently, those that are equal."""
    rng, known = random.Random(f"pairs {seed}"), sorted(set(references()) - set(OWN))
    drawn = (rng.sample(known, 2) for _ in range(pairs if known else 0))
    return [(answer, other) for answer, other in drawn if grade(rf"\boxed{{{answer}}}", other).correct]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    wrong = accepted(settings.pairs, settings.seed)
    for kind, answer, reference in dict.fromkeys(wrong):
        print(f"ACCEPTED {kind}: {answer}   |   {reference}")
    print(
        f"{settings.pairs:,} wrong answers, {len(set(wrong))} of them accepted: {dict(Counter(one[0] for one in set(wrong)))}"
    )
    for answer, other in same_by_chance(20_000, settings.seed):
        print(f"equal, of 20,000 pairs of unlike references: {answer}   |   {other}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
