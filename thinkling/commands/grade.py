"""`thinkling grade`: a file of responses and references in, the same rows with verdicts out, and a summary.

With --audit it also prints every row on which Math-Verify disagrees. Leaves out models: it judges what is written.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.errors import UserError
from thinkling.evaluate.stats import wilson_interval
from thinkling.isolated import Call
from thinkling.problem import Problem
from thinkling.progress import tracked
from thinkling.runs import numbered_rows, write_text
from thinkling.tasks.benchmarks import verifier_from
from thinkling.terminal import visible
from thinkling.verify.adversarial.audit import auditor
from thinkling.verify.verifier import RuleSet, Verdict, verify
from thinkling.words import counted

SHOWN = 5  # rules, reasons and rows in the summary


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Judge responses against reference answers: correct, incorrect or unparsed, and why.

    FILE is JSON Lines: each row has a response and a reference (a text, or a list of them, any of which is right). Out
    come a summary, the first rows that are not correct, and with --out the same rows with status, answer, reason and
    rule added.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The .jsonl file to grade."""
    out: Path | None = None
    """Where the graded rows go."""
    verbose: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the graded rows on standard output, and the summary on standard error."""
    strict: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """By the rules of rewards: only a box is an answer, and nothing is rounded or read twice."""
    lenient: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """By the rules of evaluation, the default: a stated answer counts too, a reference may be rounded, and more."""
    audit: Literal["math-verify"] | None = None
    """Run this verifier beside ours, and print where the two disagree."""


def main(settings: Grade) -> None:
    if settings.out is not None and settings.out.is_dir():
        raise UserError(f"--out {settings.out} is a folder: name a file")
    if settings.strict and settings.lenient:
        raise UserError("--strict and --lenient are two sets of rules: name one")
    numbered = list(numbered_rows(settings.file, ("response", "reference")))
    if not numbered:
        raise UserError(f"{settings.file}: no rows in this file")
    numbers, rows = zip(*numbered, strict=True)
    jobs = [references_of(settings.file, number, row) for number, row in numbered]
    verifiers = [
        verifier_from(settings.file, f"{settings.file}, line {number}", row.get("verifier") or "math")
        for number, row in numbered
    ]
    if settings.audit:
        second = auditor()  # its absence is said before the work begins
    verdicts = [
        verdict_on(row, wanted, verifier, "strict" if settings.strict else "lenient")
        for row, wanted, verifier in tracked(zip(rows, jobs, verifiers, strict=True), "grading", len(rows))
    ]
    text = "".join(graded_line(row, verdict) for row, verdict in zip(rows, verdicts, strict=True))
    if settings.verbose:
        sys.stdout.write(text)
    if settings.out is not None:
        write_text(settings.out, text)
    summary = sys.stderr if settings.verbose else sys.stdout
    asked = list(zip(numbers, rows, jobs, verdicts, strict=True))
    print(*summary_lines(verdicts), *([] if settings.verbose else failed_lines(asked)), sep="\n", file=summary)
    if settings.audit:
        with second:
            print(*audit_lines(second, asked), sep="\n", file=summary)


def references_of(path: Path, number: int, row: dict) -> str | list[str]:
    """The row's reference or references. Raises UserError, naming the line, where a field is no text."""
    response, reference = row["response"], row["reference"]
    if not isinstance(response, str):
        raise UserError(f"{path}, line {number}: the field 'response' must be a string, not {named(response)}")
    several = isinstance(reference, list)
    if not isinstance(reference, str) and not (several and all(isinstance(one, str) for one in reference)):
        wanted = "a string or a list of strings"
        raise UserError(f"{path}, line {number}: the field 'reference' must be {wanted}, not {named(reference)}")
    if not reference:
        raise UserError(f"{path}, line {number}: the field 'reference' is empty")
    return reference


def verdict_on(row: dict, wanted: str | list[str], verifier: str, mode: RuleSet) -> Verdict:
    """The best of the verdicts by each reference, any of which is right."""
    references = [wanted] if isinstance(wanted, str) else wanted
    asked = Problem("", str(row.get("question", "")), "", verifier=verifier, metadata=row.get("metadata") or {})
    verdicts = [verify(replace(asked, reference=one), row["response"], mode) for one in references]
    return min(verdicts, key=lambda verdict: ("correct", "incorrect", "unparsed").index(verdict.status))


def named(value: object) -> str:
    return "null" if value is None else f"{type(value).__name__} {json.dumps(value)[:40]}"


def graded_line(row: dict, verdict: Verdict) -> str:
    added = {"status": verdict.status, "answer": verdict.answer, "reason": verdict.reason, "rule": verdict.rule}
    line = json.dumps(row | added, ensure_ascii=False)
    if re.search("[\ud800-\udfff]", line):  # half a surrogate pair has no UTF-8
        line = json.dumps(row | added)
    return line + "\n"


# The summary


def summary_lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    num = len(verdicts)
    statuses = Counter(verdict.status for verdict in verdicts)
    yield f"{counted(num, 'row')}; in brackets the 95% interval (Wilson)"
    for status in ("correct", "incorrect", "unparsed"):
        count = statuses[status]
        low, high = wilson_interval(count, num)
        yield f"  {status:<9}  {count:>7}  {count / num:6.1%}  [{low:.1%}, {high:.1%}]"
    yield from commonest("rules that found the answer", (v.rule for v in verdicts if v.answer is not None))
    for status in ("incorrect", "unparsed"):
        yield from commonest(f"why {status}", (kind_of(v.reason) for v in verdicts if v.status == status))


def commonest(title: str, texts: Iterator[str]) -> Iterator[str]:
    counts = Counter(texts).most_common()
    if not counts:
        return
    yield f"{title}:"
    for text, count in counts[:SHOWN]:
        yield f"  {count:>7}  {text}"
    if len(counts) > SHOWN:
        yield f"  {sum(count for _, count in counts[SHOWN:]):>7}  others"


def kind_of(reason: str) -> str:
    """A reason without the answers that it quotes, so that alike ones can be counted."""
    if " was not read as mathematics: " in reason:
        return "not mathematics: " + reason.rpartition(" was not read as mathematics: ")[2]
    head, colon, why = reason.partition(": ")
    if " is not " in head:
        return why if colon else "another value"
    return reason


Asked = tuple[int, dict, str | list[str], Verdict]  # line, row, references, our verdict


def failed_lines(asked: Sequence[Asked]) -> Iterator[str]:
    """The first rows that are not correct, each in a line."""
    failed = [(number, references, verdict) for number, _, references, verdict in asked if not verdict.correct]
    if failed:
        yield f"not correct{f', the first {SHOWN}' if len(failed) > SHOWN else ''} (--verbose prints every row):"
    for number, references, verdict in failed[:SHOWN]:
        yield visible(f"  line {number}, reference {short(references)}: {' '.join(verdict.reason.split())}")


# The audit


def audit_lines(second: Callable[..., Call], asked: Sequence[Asked]) -> Iterator[str]:
    """Every disagreement about correct or not, and every row on which Math-Verify gave no verdict; then the counts."""
    disagreements = silent = 0
    for number, row, references, verdict in tracked(asked, "Math-Verify", len(asked)):
        theirs = opinion(second, row["response"], [references] if isinstance(references, str) else references)
        if theirs in ("correct", "incorrect", "unparsed"):
            if (theirs == "correct") == verdict.correct:
                continue
            disagreements += 1
        else:
            silent += 1
        yield f"line {number}: answer {short(verdict.answer)}, reference {short(references)}"
        yield f"  ours: {verdict.status} ({verdict.reason})"
        yield f"  Math-Verify: {theirs}"
    yield f"Math-Verify disagrees on {disagreements} of {counted(len(asked), 'row')}, and gave no verdict on {silent}"


def opinion(second: Callable[..., Call], response: str, references: Sequence[str]) -> str:
    """Math-Verify's verdict, correct where it is for any of the references; or why there is none, in words."""
    said = []
    for reference in references:
        call = second(response, reference)
        said.append(call.value if call.ended == "returned" else f"no verdict: {call.why}")
        if said[-1] == "correct":
            break
    weakest_first = ("unparsed", "incorrect", "no verdict", "correct")
    return max(said, key=lambda status: weakest_first.index(status.partition(":")[0]))


def short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else text[:77] + "..."
