r"""Our verifier beside Math-Verify on the same labelled pairs, in one run: time for one verdict, and wrong verdicts.

    python bench/verify.py --out runs/verify.jsonl

Each side lives in a process of its own, imports nothing of the other, and times itself, by the clock and by the CPU
time that it used, which a busy machine changes less; they take turns, chunk by chunk. A call of ours is `grade` on the
boxed answer; one of Math-Verify is `parse` on the reference, `parse` on the answer (both boxed) and `verify`, with its
own time limits of five seconds left on. A call that outlives --cap is killed and counts as hung, at that time. The
labels come from `answer_pairs.py`. Left out: prose around the answer.
"""

import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Measure grading beside Math-Verify. Example: python bench/verify.py --out runs/verify.jsonl"""

    math: Path | None = None
    """MATH-500: a JSON list whose rows have `answer`. Without it ../shared/data/math500_test.json."""
    gsm8k: Path | None = None
    """GSM8K: JSON lines whose `answer` ends in "#### N". Without it ../shared/data/gsm8k_test.jsonl."""
    sample: int | None = None
    """Only this many of the pairs, at random with the seed."""
    chunk: int = 50
    """Pairs in one turn of a side."""
    cap: float = 20.0
    """Seconds after which a call is killed."""
    seed: int = 0
    show_wrong: bool = False
    """List every wrong verdict of either side."""
    out: Path | None = None
    """Write every verdict as JSON lines: the pair, and for each side the status and the seconds."""


# --- the two sides: (answer, reference) -> correct, incorrect or unparsed ---


def ours() -> Callable[[str, str], str]:
    from thinkling.verify.math.grade import grade  # here, and not above: a process holds only what it times

    return lambda answer, reference: grade(rf"\boxed{{{answer}}}", reference).status


def math_verify() -> Callable[[str, str], str]:
    try:
        from math_verify import parse, verify
    except ImportError:
        raise UserError("Math-Verify is missing: pip install 'math-verify>=0.9'") from None

    def judge(answer: str, reference: str) -> str:
        gold, given = parse(rf"\boxed{{{reference}}}"), parse(rf"\boxed{{{answer}}}")
        if verify(gold, given):
            return "correct"
        return "incorrect" if gold and given else "unparsed"

    return judge


SIDES = {"ours": ours, "Math-Verify": math_verify}


def work(pipe: object, name: str) -> None:
    """Answers every (answer, reference) with (status, seconds, seconds of CPU time)."""
    judge = SIDES[name]()
    while True:
        answer, reference = pipe.recv()
        started, used = time.perf_counter(), time.process_time()
        status = judge(answer, reference)
        pipe.send((status, time.perf_counter() - started, time.process_time() - used))


class Judge:
    """A side in its process, which is started anew when a call had to be killed or ended it."""

    def __init__(self, name: str, warm_up: list, cap: float) -> None:
        self.name, self.warm_up, self.cap = name, warm_up, cap
        self.start()

    def start(self) -> None:
        from sides import Side  # here: it brings torch, which the sides' processes do without

        self.side = Side(work, self.name)
        for pair in self.warm_up:
            self.side.ask((pair.answer, pair.reference))

    def judge(self, answer: str, reference: str) -> tuple[str, float, float | None]:
        started = time.perf_counter()
        self.side.pipe.send((answer, reference))
        try:
            if self.side.pipe.poll(self.cap):
                return self.side.pipe.recv()
            status, seconds = "hung", self.cap
        except (EOFError, ConnectionError):
            status, seconds = "crashed", time.perf_counter() - started
        self.side.stop()
        self.start()
        return status, seconds, None


def measure(settings: Verify, pairs: list) -> list[dict]:
    """A row for each pair: the pair, and under each side's name its status, its seconds and those of the CPU."""
    warm_up = [pair for pair in pairs if pair.kind != "field"][:20]
    judges = {name: Judge(name, warm_up, settings.cap) for name in SIDES}
    rows = [dict(vars(pair)) for pair in pairs]
    for first in range(0, len(rows), settings.chunk):
        names = list(judges) if first // settings.chunk % 2 == 0 else list(judges)[::-1]
        for name in names:
            for row in rows[first : first + settings.chunk]:
                status, seconds, cpu = judges[name].judge(row["answer"], row["reference"])
                row[name] = {"status": status, "seconds": seconds, "cpu": cpu, "wrong": wrong(row, status)}
    for judge in judges.values():
        judge.side.stop()
    return rows


def wrong(row: dict, status: str) -> bool:
    return (status == "correct") != row["should_be_equal"]


def table(rows: list[dict]) -> None:
    """Times and verdicts, one line a side, and the ratio of the means."""
    heads = ("mean ms", "median", "p99", "worst", "wrongly correct", "wrongly incorrect", "unparsed", "hung", "crashed")
    print(f"{len(rows)} pairs, {sum(row['should_be_equal'] for row in rows)} of them equal")
    print(f"  {'':12}" + "".join(f"{head:>{max(10, len(head) + 2)}}" for head in heads))
    means, used = {}, {}
    for name in SIDES:
        seconds = sorted(row[name]["seconds"] for row in rows)
        means[name] = statistics.mean(seconds)
        used[name] = sorted(row[name]["cpu"] for row in rows if row[name]["cpu"] is not None)  # None: it was killed
        times = [f"{1000 * t:,.2f}" for t in (means[name], statistics.median(seconds), p99(seconds), seconds[-1])]
        count = Counter(row[name]["status"] for row in rows)
        mistakes = Counter(row["should_be_equal"] for row in rows if row[name]["wrong"])
        counts = (mistakes[False], mistakes[True], count["unparsed"], count["hung"], count["crashed"])
        cells = zip((*times, *map(str, counts)), heads, strict=True)
        print(f"  {name:12}" + "".join(f"{cell:>{max(10, len(head) + 2)}}" for cell, head in cells))
    for name, seconds in used.items():
        times = [f"{what} {1000 * t:,.2f}" for what, t in
                 (("mean", statistics.mean(seconds)), ("p99", p99(seconds)), ("worst", seconds[-1]))]  # fmt: skip
        print(f"  {name:12}  CPU ms: {', '.join(times)}")
    on_cpu = {name: statistics.mean(seconds) for name, seconds in used.items()}
    clock, cpu = (numbers["Math-Verify"] / numbers["ours"] for numbers in (means, on_cpu))
    print(f"  mean of Math-Verify / mean of ours: {clock:.1f}x by the clock, {cpu:.1f}x by CPU time\n")


def p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def by_kind(rows: list[dict]) -> None:
    print(f"wrong verdicts by kind:\n{'':12}{'kind':36}{'pairs':>6}" + "".join(f"{name:>13}" for name in SIDES))
    kinds = sorted({(not row["should_be_equal"], row["kind"]) for row in rows})
    for differs, kind in kinds:
        same = [row for row in rows if (not row["should_be_equal"], row["kind"]) == (differs, kind)]
        counts = "".join(f"{sum(row[name]['wrong'] for row in same):13}" for name in SIDES)
        print(f"{'not equal' if differs else 'equal':12}{kind:36}{len(same):6}{counts}")
    print("".join(f"{name}: {sum(row[name]['wrong'] for row in rows)} wrong.  " for name in SIDES))


def show(rows: list[dict]) -> None:
    """Every wrong verdict: who, the label, the kind, the reference and the answer."""
    for row in sorted(rows, key=lambda row: (not row["should_be_equal"], row["kind"])):
        who = [f"{name}: {row[name]['status']}" for name in SIDES if row[name]["wrong"]]
        if who:
            label = "equal" if row["should_be_equal"] else "not equal"
            print(f"{label}, {row['kind']}:  {row['reference'][:80]}  |  {row['answer'][:80]}  ({'; '.join(who)})")


def main(settings: Verify) -> None:
    import torch
    from answer_pairs import Pairs, make
    from sides import machine

    given = {name: getattr(settings, name) for name in ("math", "gsm8k") if getattr(settings, name)}
    pairs = make(Pairs(seed=settings.seed, **given))
    if settings.sample:
        pairs = random.Random(settings.seed).sample(pairs, min(settings.sample, len(pairs)))
    math_verify()  # an error here, if it is missing, and not in the process
    print(f"{machine(torch.device('cpu'))}\nsides take turns of {settings.chunk} pairs\n", flush=True)
    rows = measure(settings, pairs)
    derived = [row for row in rows if row["kind"] != "field"]
    for title, part in (("made from MATH-500 and GSM8K", derived), ("the field's own", [*filter(is_field, rows)])):
        if part:
            print(f"{title}: ", end="")
            table(part)
    by_kind(rows)
    if settings.show_wrong:
        show(rows)
    if settings.out:
        settings.out.parent.mkdir(parents=True, exist_ok=True)
        settings.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


def is_field(row: dict) -> bool:
    return row["kind"] == "field"


if __name__ == "__main__":
    try:
        main(tyro.cli(Verify))
    except UserError as error:
        sys.exit(str(error))
