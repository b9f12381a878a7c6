r"""Fuzzing the verifier: answers mutated at random, seeded, each graded against a random reference and against itself.

    python tests/fuzz_verify.py --answers 100000 --seed 0

What must hold: no exception; one of the three statuses; an answer is never incorrect against itself; `same_answer` is
symmetric and reflexive; no call uses more CPU time than --limit-ms (the least of three runs of a slow call, since CPU
time counts what other guests of a machine take); peak resident memory grows by at most --growth-mib after the first
tenth. Exit status 1 where something does not. Left out: whether verdicts are right.
"""

import argparse
import itertools
import random
import re
import sys
import time
from array import array
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from thinkling.verify.math.grade import grade, same_answer

AGAIN_SECONDS = 0.025  # a call that seems to take as long is timed twice more
STATUSES = ("correct", "incorrect", "unparsed")

SEEDS = (
    "9", "-50", "2220", "10,080", r"11,\! 111,\! 111", "1.25", ".35625", "-0.5", r"0.\overline{3}", "3.0e8",
    r"6 \times 10^{23}", r"\frac{14}{3}", r"\frac43", r"\frac9{19}", r"-\dfrac{24}{25}", "7/2", r"1\frac{4}{5}",
    r"137 \frac{1}{2}", r"\tfrac{1}{-3}", r"3\sqrt{13}", r"11\sqrt2", r"\sqrt[3]{7}", r"\frac{3\sqrt{3}}{4}",
    r"\frac{1}{1+\sqrt2}", r"\sqrt{2+\sqrt{3}}", r"288 \pi", r"\frac{20000}{\pi}", "e^2", r"1-\frac{1}{e}",
    r"\ln 2", r"\log_{2} 9", "2^{2005}", "10!", r"\binom{10}{3}", r"|x-3|", r"\lfloor 3.7 \rfloor",
    r"\sin 30^\circ", r"\cos\frac{\pi}{7}", r"\arctan 2", r"\cot x", r"\tan^2 x", r"\exp(x)", "6 - 5i", "1+274i",
    r"2e^{i\pi/3}", r"1 \pm \sqrt{19}", r"3 \pm 2 \sqrt{2}", "p - q", "x^3+3x-6", "(a+5)(b+2)", r"\frac{11+9a}{20}",
    "5r^5", "x_1+x_2", "f(x)=2x+1", r"\frac{x+1}{x-1}", "2^{n+1}-1", "x=5", "y = -2x", "5x - 7y + 11z + 4 = 0",
    "x^2+y^2=25", r"x \ge 3", "0<x<12.5", r"x \neq 2", r"a \approx 3.14", r"\left( 3, \frac{\pi}{2} \right)",
    "(6,31,-1)", "(3,4]", r"(2,\infty)", r"(-\infty, 2) \cup (3, \infty)", r"x \in [-2,7]", r"\{1\pm\sqrt{5},-2\}",
    r"\{1, 2, 3\}", r"\emptyset", r"\mathbb{R}", r"\mathbb{R} \setminus \{0\}", "3, 5, 7", "-2,1",
    r"\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", "3:4",
    "5:30 p.m.", r"90^\circ", r"\frac{270}7\text{ degrees}", r"864 \mbox{ inches}^2", r"5.4 \text{ cents}",
    r"\$32,\!348", r"50\%", "12 cm", "52_8", "4210_{5}", "1A_{16}", r"\text{(C)}", r"\text{Evelyn}", "east",
    r"1,2,\ldots,n", "7 or 8", r"2 \text{ and } 3", r"\int_1^2 x e^{x}\,dx", r"\int_0^{\pi} \frac{x^2+1}{x+3}\,dx",
    r"\lim_{x \to 0} \frac{1-\cos 3x}{x^2}", r"\lim_{n \to \infty} (1+\frac{2}{n})^{n}", r"\sum_{k=1}^{\infty} \frac{(-1)^k}{k}",
    r"\sum_{k=2}^{\infty} \frac{k 3^k}{k!}", r"\sum_{n=1}^{\infty} \frac{1}{n(n+2)}",
)  # fmt: skip

TOKENS = (
    *r"\frac \dfrac \sqrt \left( \right) \left[ \right\} \{ \} \pi \infty \pm \cdot \times \div \le \ge < >".split(),
    *r"\neq \cup \cap \text{ \mathrm{ \boxed{ \begin{pmatrix} \end{pmatrix} \\ & \circ \% \$ $ $$ \( \) \[ \]".split(),
    *r"\, \! \; ~ \quad \sin \cos \log \ln \exp \lim \sum \int \binom \overline{ \lfloor \rceil \ldots".split(),
    *r"\in \to \mid \| \not \operatorname{ + - * / ^ ** ! !! % = == , ; : . ( ) [ ] { } | _ ^{ _{ ' # @ ? `".split(),
    *"or and e i x 0 00 1e9 e99 999999999 <|im_end|> </think> <think> \\ \"".split(),
    *"０ ٣ ² ½ √ π ∞ × ÷ − – ≤ ≠ ∪ ∅ ° ′ € 年 𝟙 ﬁ é 😀 \u200b \u00a0 \u202e \u0000 \ud800".split(" "),
    " ", "\n", "\t",
)  # fmt: skip
WRAPPERS = (
    r"\boxed{{{}}}", r"So \boxed{{{}}}.", "The answer is ${}$.", "#### {}", "**Answer:** {}", r"\[ {} \]", "{}",
)  # fmt: skip
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|\d+|[A-Za-z]+|.", re.DOTALL)


def mutated(answer: str, rng: random.Random) -> str:
    """The answer after one to four changes of its tokens."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        pieces = _PIECE.findall(answer) or [""]
        at = rng.randrange(len(pieces))
        end = rng.randint(at, len(pieces))
        middle = "".join(pieces[at:end])
        before, after = "".join(pieces[:at]), "".join(pieces[end:])
        other = rng.choice(SEEDS)
        answer = rng.choice((
            lambda b=before, a=after: b + a,  # deleted
            lambda b=before, m=middle, a=after: b + m * rng.choice((2, 2, 2, 2, 2, 2, 3, 40)) + a,  # duplicated
            lambda b=before, m=middle, a=after: a + m + b,  # swapped
            lambda b=before, m=middle, a=after: b + nested(m, rng) + a,
            lambda b=before, m=middle, a=after: b + rng.choice(TOKENS) + m + a,  # a token inserted
            lambda b=before, m=middle, a=after: b + m + rng.choice("0123456789") + a,  # a digit inserted
            lambda b=before, a=after: b + rng.choice(TOKENS) + a,  # replaced
            lambda b=before, o=other: b + o[rng.randrange(len(o)) :],  # two answers spliced
            lambda b=before, m=middle, a=after, o=other: f"{b}{m}{rng.choice((' ', ',', '=', '+', '^'))}{o}{a}",
        ))()  # fmt: skip
    return answer


def nested(text: str, rng: random.Random) -> str:
    shape = rng.choice((
        "({})", r"\left({}\right)", r"\{{{}\}}", "[{})", "{{{}}}", r"\sqrt{{{}}}", r"\frac{{{}}}{{7}}", "-({})",
        r"\frac{{1}}{{{}}}", "2^{{{}}}", "({})!", "|{}|", r"\text{{{}}}", r"\boxed{{{}}}", r"\sin({})", "x_{{{}}}",
    ))  # fmt: skip
    for _ in range(rng.choice((1, 1, 1, 1, 1, 1, 1, 2, 3, 80))):
        text = shape.format(text)
        if len(text) > 5000:
            break
    return text


# Made to cost as much as the bounds allow: sizes just under each of them, and what multiplies them; the first is past.
CRAFTED = (
    "+".join(rf"\cos({n}x)^{{{n}}}" for n in range(1, 120)),
    "+".join(f"1/{n}!" for n in range(1700, 1798)),
    "+".join(rf"\frac{{{n}!}}{{{n + 1}^{{999}}}}" for n in range(1000, 1060)),
    "+".join(f"{n}^{{2999}}" for n in range(1001, 1130)),
    "+".join(rf"\sin({n}x)" for n in range(1, 99)),
    "+".join(rf"\cos({n}x)^{{{n}}}" for n in range(1, 66)),
    "+".join(f"(x+{n})!" for n in range(1, 98)),
    ", ".join(rf"\sqrt{{{n}}}" for n in range(2, 155)),
    r"\{" + ", ".join(f"{n}/{n + 1}" for n in range(2, 132)) + r"\}",
    r"\cup".join(rf"(\sqrt{{{n}}},\sqrt{{{n + 1}}})" for n in range(1, 30)),
    r"\begin{pmatrix}" + r"\\".join("&".join(rf"\sqrt{{{i + j + 2}}}" for i in range(8)) for j in range(12)) + r"\end{pmatrix}",
    r"\gcd(" + ",".join(["2000!"] * 50) + ")",
    r"\max(" + ",".join(rf"\sqrt{{{n}}}" for n in range(2, 150)) + ")",
    r"x=\pm" + r"\pm".join(rf"\sqrt{{{n}}}" for n in range(2, 60)),
    "x!!" * 200, "|x|" * 200, r"\tan(1)" * 180, r"\cdot".join(["2^{0.5}"] * 120), "9" * 999 + "/" + "8" * 998, "x^{" + "9" * 900 + "}",
    r"(1+\pi)^{999999999}", "1.0000001^{999999999999}", r"\binom{999999}{500000}", r"\sin(10^{59}\pi)", "(1+i)^{10^{30}}",
    r"\log_2(" * 20 + "5" + ")" * 20, r"\sqrt{" * 25 + "2" + "}" * 25, r"\pi^" * 25 + "2", "f(" * 25 + "x" + ")" * 25,
    "1^{9^{9^9}}", "(1+9^{-9^9})^{9^{9^9}}", r"1\frac{" * 20 + "x" + "}{7}" * 20, r"\sum_{k=1}^{9}(" * 14 + "k" + ")" * 14,
    r"\lim_{x \to 0} \frac{" + "+".join(rf"\sin({n}x)\cos({n}x)" for n in range(1, 14)) + r"-x}{x^3}",
    r"\lim_{x \to 0} " + r"\sqrt{1+\sin(" * 7 + "x" + ")}" * 7,
    r"\lim_{x \to \infty} (" + "+".join(rf"(1+\frac{{{n}}}{{x}})^{{{n}x}}" for n in range(1, 12)) + ")",
    r"\int_0^1 (" + "+".join(rf"x^6 e^{{{n}x}}\sin({n}x)+x^6\cos({n}x)" for n in range(1, 9)) + r")\,dx",
    "+".join(rf"\int_0^{{{n}}} x^6 e^{{{n}x}}\,dx" for n in range(1, 30)),
    "+".join(rf"\int_1^{{{n}}} \frac{{x^9+{n}}}{{x^2+{n}x+7}}\,dx" for n in range(2, 20)),
    r"\sum_{k=50}^{\infty} \frac{k^{12} 20^k}{(k+0)!}", r"\sum_{k=1}^{\infty} \frac{1}{" + "".join(f"(k+{n})^2" for n in range(6)) + "}",
    "+".join(rf"\sum_{{k={n}}}^{{\infty}} \frac{{1}}{{(k+1)^4(k+{n})^4}}" for n in range(1, 22)),
    "".join(rf"\sum_{{{c}=1}}^{{12}}" for c in "abcghjklm") + "".join(f"x_{c}" for c in "abcghjklm"),
    r"\left( 3, " + r"\frac{\pi}{2} " * 39 + r"\right)", r"\lim_{x \to 0}" * 15 + "x", r"\int_0^1" * 15 + "x" + r"\,dx" * 15,
)  # fmt: skip


@dataclass
class Found:
    """What a run found: CPU seconds of every call, statuses, peak memory in MiB at a tenth and at the end, failures."""

    seconds: array = field(default_factory=lambda: array("d"))  # 8 bytes a call, so that memory is the verifier's
    slowest: tuple[float, str] = (0.0, "")
    statuses: Counter = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def timed(self, call: object, *texts: str) -> object:
        """The call's result; None, and a failure, where it raised."""
        started = time.thread_time()
        try:
            return call(*texts)
        except Exception as error:  # whatever it is, it is the finding
            self.failures.append(f"{type(error).__name__}: {error} from {call.__name__}{texts!r}"[:2000])
        finally:
            took = time.thread_time() - started
            for _ in range(2 * (took > AGAIN_SECONDS)):
                started = time.thread_time()
                with suppress(Exception):
                    call(*texts)
                took = min(took, time.thread_time() - started)
            self.seconds.append(took)
            self.slowest = max(self.slowest, (took, f"{call.__name__}{texts!r}"))


def peak_mib() -> float:
    """The most resident memory that this process has had (getrusage's maxrss)."""
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def check(answer: str, reference: str, wrapper: str, found: Found) -> None:
    """One answer: against the reference, against itself, and as a vote in both orders."""
    verdict = found.timed(grade, wrapper.format(answer), reference)
    if verdict is None:
        return
    found.statuses[verdict.status] += 1
    if verdict.status not in STATUSES:
        found.failures.append(f"status {verdict.status!r} for {answer!r}")
    if verdict.answer is not None:
        again = found.timed(grade, rf"\boxed{{{verdict.answer}}}", verdict.answer)
        if again is not None and again.answer == verdict.answer and again.status == "incorrect":
            found.failures.append(f"incorrect against itself: {verdict.answer!r} ({again.reason})")
    there, back = found.timed(same_answer, answer, reference), found.timed(same_answer, reference, answer)
    if there != back:
        found.failures.append(f"not symmetric: {answer!r} and {reference!r}")
    if found.timed(same_answer, answer, answer) is False:
        found.failures.append(f"not the same as itself: {answer!r}")


def fuzz(answers: int, seed: int, measure_memory: bool = True) -> Found:
    """Checks the crafted answers, and that many mutated ones."""
    rng, found = random.Random(seed), Found()
    for answer, reference in itertools.product(CRAFTED, ("1", r"\pi", "x+1", r"\sqrt{2}, \sqrt{3}", r"(0,1)\cup(2,3)")):
        check(answer, reference, r"\boxed{{{}}}", found)
    for answer in CRAFTED:
        check(answer, f"{answer}+0", r"\boxed{{{}}}", found)
        check(answer, answer.replace("2", "3"), r"\boxed{{{}}}", found)
    for number in range(1, answers + 1):
        reference = rng.choice(SEEDS)
        start = reference if rng.random() < 0.3 else rng.choice(SEEDS)  # near its reference, or far
        check(mutated(start, rng), reference, rng.choice(WRAPPERS), found)
        if measure_memory and number in (max(1, answers // 10), answers):
            found.memory.append(peak_mib())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-ms", type=float, default=50.0, help="CPU time that no call may use up")
    parser.add_argument("--growth-mib", type=float, default=16.0, help="peak memory's bound after the first tenth")
    settings = parser.parse_args()
    found = fuzz(settings.answers, settings.seed)
    times = sorted(found.seconds)
    slowest, where = found.slowest
    print(f"{settings.answers:,} answers, {len(times):,} calls; verdicts: {dict(found.statuses)}")
    print(f"CPU time of a call: p99 {1000 * times[int(0.99 * len(times))]:.2f} ms, worst {1000 * slowest:.2f} ms")
    print(f"the slowest: {where[:300]}")
    grown = found.memory[-1] - found.memory[0]
    print(f"peak resident memory: {found.memory[0]:.1f} MiB after a tenth, {found.memory[-1]:.1f} MiB at the end")
    if 1000 * slowest > settings.limit_ms:
        found.failures.append(f"{1000 * slowest:.1f} ms is over the limit of {settings.limit_ms:g} ms: {where[:300]}")
    if grown > settings.growth_mib:
        found.failures.append(f"memory grew by {grown:.1f} MiB, past the bound of {settings.growth_mib:g} MiB")
    for failure in found.failures[:20]:
        print("FAILED:", failure.encode(errors="backslashreplace").decode())
    print(f"{len(found.failures)} failures")
    sys.exit(1 if found.failures else 0)


if __name__ == "__main__":
    main()
