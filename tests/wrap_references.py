r"""Wrong answers made by wrapping references: in a name, a unit, a qualifier, a set, a phrase, a second box.

    python tests/wrap_references.py --pairs 10000 --seed 0

A wrapper that changes a value (`2(...)`, `... or 4111`, "The answer is not ...") makes an answer that is not the
reference. One that keeps it (`x=...`, `... \text{ cm}`) is right for that reference, and for no other. Nothing else may
be accepted, by lenient rules, which accept the most, in either order. What keeps its value by chance is told by
`is_coincidence`. Left out: right answers in other words, which tests/test_forms.py has.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator

from fuzz_verify import SEEDS
from mutate_references import OWN, references

from thinkling.verify.math.grade import grade

KEEPING = (
    r"@, n\ge1", r"@ \text{ for all } x", "x=@", "f(x)=@", "P(A)=@", "AB=@", r"@\text{ cm}", r"\textbf{(B)}\ @",
    "m+n=@", r"@, k\in\mathbb{Z}", "(@)", r"\{@\}", r"@^\circ", r"@\%", "y=@, x=1", r"@ \text{ per day}",
    r"\text{approximately }@", r"\text{Total: } @", "x=@=@", r"x\in\{@\}", r"\$@", r"@ \text{ apples}", "q=@",
    r"\angle ABC=@", r"|@|", r"@\approx 2.718", r"\begin{cases}x=@\end{cases}", r"@, \text{ where } x>0",
    r"@ \pmod{4111}", "@, @",
)  # fmt: skip
CHANGING = (
    "2(@)", "(@)+1", "0.9(@)", "-(@)-4111", r"\frac{@}{3}", r"@ \text{ or } 4111", r"@, 4111", r"1 \text{ and } @",
    r"@ \text{ million}", r"@ \text{ dozen}", r"\text{not }@", r"@ \text{ is wrong}", r"@ \text{ below zero}",
    r"@ \text{ squared}", r"x>@", r"x\ne @", r"@\to 4111", r"4111=@", r"@=4111", "(@, 4111)", r"[@, @]",
    r"\{@, 4111\}", r"\lfloor @\rfloor+4111", r"(@)i+4111i", "@+C", "f(@)", "(@)^{4111}", r"\sqrt{@+4111}", r"@:4111",
    "@ in 4111", r"@ \text{ of } 4111", r"@x^{4111}", r"0\cdot\infty+@\infty",
    r"\text{Maximum } @, \text{ minimum } 4111",
)  # fmt: skip
RESPONSES = (  # around a box, or without one: what they claim is not the reference
    r"\boxed{@} or \boxed{4111}", r"\boxed{@}. Wait, no: \boxed{4111}", r"<think>\boxed{@}</think> I cannot say.",
    r"\boxed{@", r"<think>\boxed{@}", r"\boxed{4111}, \boxed{@}", "The answer is not $@$.",
    "Neither $@$ nor $1$ is the answer.", "The answer is $@$. Wait, that is wrong.", "The answer is more than $@$.",
    "The answer is $4111$, not $@$.",
)  # fmt: skip


def made(pairs: int, seed: int, own_only: bool = False) -> Iterator[tuple[str, str, str, bool]]:
    """So many (wrapper, reference that is wrapped, the other one, whether the wrapper is a whole response)."""
    rng = random.Random(f"wrapped {seed}")
    pool = [one for one in dict.fromkeys([*SEEDS, *OWN] if own_only else references()) if len(one) < 50]
    for place in range(pairs):
        one, other = rng.sample(pool, 2)
        if place % 3 == 0:
            yield rng.choice(KEEPING), one, other, False
        elif place % 3 == 1:
            yield rng.choice(CHANGING), one, rng.choice((one, other)), False
        else:
            yield rng.choice(RESPONSES), one, one, True


def accepted(pairs: int, seed: int, own_only: bool = False) -> list[tuple[str, str]]:
    """The wrapped answers that are taken for a reference, or references for the answer, and that are no coincidence."""
    found = []
    for wrapper, one, other, whole in made(pairs, seed, own_only):
        wrapped = wrapper.replace("@", one)
        ways = [(wrapped if whole else rf"\boxed{{{wrapped}}}", other)]
        ways += [] if whole else [(rf"\boxed{{{other}}}", wrapped)]
        if is_coincidence(wrapper, one, other):
            continue
        bare = one != other and any(grade(rf"\boxed{{{a}}}", b).correct for a, b in ((one, other), (other, one)))
        found += [way for way in ways if not bare and grade(*way).correct]
    return found


_IS_B = re.compile(r"(?:\\text(?:bf)?\{)?\(B\)\}?")


def is_coincidence(wrapper: str, one: str, other: str) -> bool:
    """Whether a wrapped value is the other one by chance: the next number, twice nothing, a letter with its text."""
    if wrapper == r"\textbf{(B)}\ @" and _IS_B.fullmatch(other):
        return True
    if wrapper == "(@)+1" and one.isdecimal() and other.isdecimal():
        return int(one) + 1 == int(other)
    if one != other or wrapper not in CHANGING:
        return False
    return (
        re.search(r"(?<![\d.])[01]\b", one) is not None
        or re.match(r"\\text(?:bf)?\{\([A-J]\)|\([A-J]\)", one) is not None
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    wrong = list(dict.fromkeys(accepted(settings.pairs, settings.seed)))
    for response, reference in wrong:
        print(f"ACCEPTED {response}   |   {reference}")
    print(f"{settings.pairs:,} wrapped references, {len(wrong)} of them accepted")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
