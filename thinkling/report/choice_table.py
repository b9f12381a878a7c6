"""The table of `thinkling choice`: each way to ask, beside what blind guessing would get."""

from collections import Counter
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from rich import box

from thinkling.evaluate.multiple_choice import Outcome
from thinkling.problem import Problem
from thinkling.report.tables import MUCH_TRUNCATED, Sheet, interval
from thinkling.words import counted

FEW_ON_LETTERS = 0.5


def table(found: Sequence[Outcome], band: tuple[float, float], num_options: int) -> Sheet:
    """num_options: of the problem that has most."""
    low, high = band
    letters = ascii_uppercase[:num_options]
    rows = []
    for one in found:
        beside = "below" if one.accuracy < low else "above" if one.accuracy > high else "within"
        chosen = "/".join(str(one.letters.get(letter, 0)) for letter in letters)
        rows.append((one.way, f"{one.accuracy:.1%} {interval(one.low, one.high)}", beside,
                     f"{one.unparsed:.1%}", chosen))  # fmt: skip
    headers = ("way", "right", "beside\nguessing", "no\nletter", f"chosen\n{'/'.join(letters)}")
    caption = (f"{counted(found[0].num, 'problem')}; in brackets, 95% intervals. A blind guesser gets from {low:.1%} "
               f"to {high:.1%}, 95% of the time.")  # fmt: skip
    return Sheet(headers, rows, left=(0, 2, 4), caption=caption, border=box.SIMPLE_HEAD)


def remarks(found: Sequence[Outcome], problems: Sequence[Problem], max_tokens: int) -> Iterator[str]:
    """What a reader should know before comparing these numbers."""
    letter, times = Counter(problem.reference for problem in problems).most_common(1)[0]
    yield f"Always answering {letter} would get {times / len(problems):.1%}."
    for one in found:
        if one.on_letters is not None and one.on_letters < FEW_ON_LETTERS:
            yield (
                f"All letters together have a probability of {one.on_letters:.1g}: this model would rather say "
                "something else there, so which letter is likelier says little. Try another --form, --chat or --shots."
            )
        if one.truncated > MUCH_TRUNCATED:
            yield (f"{one.truncated:.1%} of the responses were cut off, and counted as wrong: raise --max-tokens (now "
                   f"{max_tokens}).")  # fmt: skip
