"""The table of `thinkling fresh-numbers`: accuracy on old and on fresh numbers, and the gap."""

from collections.abc import Sequence

from thinkling.evaluate.fresh_numbers import Gap, Side
from thinkling.report.tables import MUCH_TRUNCATED, Sheet, interval


def table(found: Sequence[Gap]) -> Sheet:
    rows = [(gap.family or "all", cell(gap.old), cell(gap.fresh), f"{100 * gap.gap:+.1f} {interval(gap.low, gap.high)}")
            for gap in found]  # fmt: skip
    headers = ("problems", "old numbers", "fresh numbers", "gap, in points")
    whole = found[0]
    caption = f"{whole.old.num:,} old problems, {whole.fresh.num:,} fresh ones; in brackets, 95% intervals."
    if len(found) > 1:
        caption += " The gaps of the families hold all together 95% of the time."
    return Sheet(headers, rows, caption=caption, border=None)


def cell(side: Side) -> str:
    return f"{side.accuracy:.1%} {interval(side.low, side.high)}"


def verdict(gap: Gap) -> str:
    """What the gap over all problems says, and what it does not."""
    where = f"[{100 * gap.low:.1f}, {100 * gap.high:.1f}]"
    if gap.low > 0:
        said = f"Better on old numbers: the gap's interval {where} is above zero, so some answers were learnt by heart."
    elif gap.high < 0:
        said = f"Worse on old numbers: the gap's interval {where} is below zero, so the sides differ otherwise too."
    else:
        said = f"No gap can be told: its interval {where} holds zero; it may be up to {100 * gap.high:.1f} points."
    share = (gap.old.truncated + gap.fresh.truncated) / (gap.old.num + gap.fresh.num)
    return said + (f" {share:.1%} of the responses were cut off: raise --max-tokens." if share > MUCH_TRUNCATED else "")
