"""What `thinkling contamination` prints: the share of dirty problems, by subject, and examples side by side."""

import textwrap
from collections.abc import Iterator, Sequence

from thinkling.evaluate.stats import wilson_interval
from thinkling.report.tables import interval
from thinkling.tasks.contamination import COMMON, FEWEST, Overlap, Summary
from thinkling.words import counted

SHOWN = 5  # subjects


def lines(
    tasks: str, found: Sequence[Overlap], told: Summary, families: Sequence[tuple[str, int, int]], num_documents: int,
    num_short: int, words: int, examples: int, width: int,
) -> Iterator[str]:  # fmt: skip
    low, high = wilson_interval(told.dirty, told.num)
    yield f"{tasks}: {counted(told.num, 'problem')} against {counted(num_documents, 'training document')}"
    yield (f"{told.dirty:,} ({told.dirty / told.num:.1%} {interval(low, high)}) share a run of {words} words with the "
           "training data")  # fmt: skip
    if told.dirty:
        parts = ", ".join(f"{share} or more in {num:,}" for share, num in told.at_least.items())
        yield f"how much of a question's words: {parts.replace('100% or more', 'all')}"
    if told.common:
        yield f"{told.common:,} of them share only common phrases, which more than {COMMON} training documents have"
    if num_short:
        yield f"{counted(num_short, 'problem')} of fewer than {min(FEWEST, words)} words left out: too short to tell"
    if len(families) > 1 and told.dirty:
        yield "by subject: " + ", ".join(f"{name} {dirty} of {num}" for name, dirty, num in families[:SHOWN])
    dirty = sorted((one for one in found if one.dirty), key=lambda one: (one.common, -one.share, one.id))
    for one in dirty[:examples]:
        yield ""
        yield f"{one.id}: {one.share:.0%} of its words{', common phrases only' if one.common else ''}"
        yield wrapped("asks    ", " ".join(one.question.split()), width)
        yield wrapped("shared  ", one.run, width)
        yield wrapped("read in ", f"{one.place}: ... {one.excerpt} ...", width)


def wrapped(label: str, text: str, width: int) -> str:
    short, width, indent = textwrap.shorten(text, 400, placeholder=" ..."), max(40, min(100, width)), " " * 2
    return textwrap.fill(short, width, initial_indent=indent + label, subsequent_indent=indent + " " * len(label))
