"""The table of `thinkling quantize-report`: weights as they are beside weights of 8 bits."""

from thinkling.evaluate.quantization import Cost, Estimate
from thinkling.report.tables import MUCH_TRUNCATED, Sheet, interval
from thinkling.words import counted


def table(found: Cost, dtype: str) -> Sheet:
    plain, small = found.plain, found.small
    change = f"{100 * found.difference.mean:+.1f} points {interval(found.difference.low, found.difference.high)}"
    rows = [
        ("accuracy", share(plain.accuracy), share(small.accuracy), change),
        ("weights", megabytes(plain.bytes), megabytes(small.bytes), f"{small.bytes / plain.bytes:.2f} times"),
        ("tokens per second", f"{plain.rate:,.0f}", f"{small.rate:,.0f}",
         f"{found.speed:.2f} times ({found.slowest:.2f} to {found.fastest:.2f})"),
        ("KL per token", "", "", f"{found.divergence.mean:.4f} nats "
                                 f"[{found.divergence.low:.4f}, {found.divergence.high:.4f}]"),
        ("same likeliest token", "", "", share(found.agreement)),
    ]  # fmt: skip
    caption = (f"{counted(found.num_problems, 'problem')}, {found.num_tokens:,} tokens read by both; in brackets, 95% "
               "intervals; in parentheses, the slowest and the fastest turn.")  # fmt: skip
    return Sheet(("", dtype, "int8", "change"), rows, caption=caption, border=None)


def share(found: Estimate) -> str:
    return f"{found.mean:.1%} {interval(found.low, found.high)}"


def megabytes(num: int) -> str:
    return f"{num / 1e6:,.1f} MB"


def verdict(found: Cost, fast: bool) -> list[str]:
    """What the numbers say, and what they do not. fast: does this CPU have instructions for int8?"""
    low, high = (100 * end for end in (found.difference.low, found.difference.high))
    only = (f"{found.only_plain} of the problems are right only without int8, {found.only_small} only with it "
            f"(p = {found.p:.2g})")  # fmt: skip
    if low <= 0 <= high:
        said = f"No difference in accuracy can be told: it may lie between {low:+.1f} and {high:+.1f} points"
    else:
        said = f"Accuracy {'rises' if low > 0 else 'falls'} by {min(abs(low), abs(high)):.1f} points at least"
    lines = [f"{said}; {only}."]
    if not fast:
        lines.append("This CPU has no instructions for int8 (AVX-512 VNNI or AMX), so products are made in float32: "
                     "the same numbers in as little memory, but no speed is gained.")  # fmt: skip
    cut = max(found.plain.truncated, found.small.truncated)
    if cut > MUCH_TRUNCATED:
        lines.append(f"{cut:.1%} of the responses were cut off: raise --max-tokens.")
    return lines
