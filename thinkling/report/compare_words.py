"""What a comparison of two runs says, in words and as a table: for the terminal and the page alike."""

from collections.abc import Sequence

from thinkling.evaluate.compare import Comparison, Decided
from thinkling.report.tables import Sheet, interval
from thinkling.words import counted

HEADERS = ("second minus first", "accuracies", "difference", "p", "p, Holm", "won", "lost")


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cells(found: Comparison) -> tuple[str, ...]:
    a, b = found.accuracies
    return (f"{found.second} - {found.first}", f"{b:.1%} - {a:.1%}",
            f"{points(found.difference)} {interval(found.low, found.high)}", p_value(found.p), p_value(found.p_holm),
            f"{len(found.won):,}", f"{len(found.lost):,}")  # fmt: skip


def table(comparisons: Sequence[Comparison]) -> Sheet:
    first = comparisons[0]
    caption = f"{counted(first.num_problems, 'problem')}; in points, with the 95% interval, which counts problems"
    if len(comparisons) > 1:
        caption += f"; p by Holm over {len(comparisons)} pairs"
    return Sheet(HEADERS, [cells(found) for found in comparisons], caption=f"{caption}.")


def sentences(found: Comparison) -> list[str]:
    """The verdict, then what the comparison could have found."""
    return [verdict(found), reach(found)]


def verdict(found: Comparison) -> str:
    pair = f"{found.second} and {found.first}"
    span = interval(found.low, found.high)
    if found.apart:
        word = "better" if found.difference > 0 else "worse"
        return (f"{found.second} is {word} than {found.first}, by {abs(100 * found.difference):.1f} points {span} "
                f"(p {equals(found.p_holm)}).")  # fmt: skip
    if found.low <= 0 <= found.high:
        return f"{pair} cannot be told apart: the interval {span} holds zero (p {equals(found.p_holm)})."
    why = "with so few problems" if found.p >= 0.05 else "after Holm's correction for all pairs"
    return f"{pair} cannot be told apart: the interval {span} leaves zero out, but p {equals(found.p_holm)} {why}."


def equals(p: float) -> str:
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def reach(found: Comparison) -> str:
    """What difference would have been found, and what it would take for the one that was seen."""
    said = (f"With {counted(found.num_problems, 'problem')} a true difference of {100 * found.detectable:.1f} points "
            "is found four times in five")  # fmt: skip
    if found.enough is None:
        said += "; none was seen."
    elif found.enough <= found.num_problems:
        said += "."
    else:
        said += f"; for the {abs(100 * found.difference):.1f} seen it takes about {rounded(found.enough)} problems."
    if found.sampling_share is not None and not found.apart:
        more = "would" if found.sampling_share >= 0.5 else "would hardly"
        said += f" {found.sampling_share:.0%} of the noise is sampling: more samples {more} help."
    return said


def rounded(num: int) -> str:
    """To two digits: it is an estimate."""
    digits = max(0, len(str(num)) - 2)
    return f"{-(-num // 10**digits) * 10**digits:,}"


def decided_words(found: Comparison, show: int) -> list[str]:
    """Problems that one side answers more often, the clearest first."""
    lines = []
    for verb, decided in (("wins", found.won), ("loses", found.lost)):
        if decided and show:
            lines.append(f"{found.second} {verb} {counted(len(decided), 'problem')}, such as:")
            lines += [f"  {one.first:.0%} -> {one.second:.0%}  {question(one)}" for one in decided[:show]]
    return lines


def question(one: Decided) -> str:
    flat = " ".join(one.question.split())
    return flat if len(flat) <= 90 else f"{flat[:87]}..."
