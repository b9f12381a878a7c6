"""The table of `thinkling scorers`: how well each scorer ranks right completions above wrong ones."""

from collections.abc import Sequence

from rich import box

from thinkling.evaluate.scorer_quality import Ranking
from thinkling.report.tables import Sheet, interval


def table(found: Sequence[Ranking], num_problems: int, num_samples: int, template: str) -> Sheet:
    rows = []
    for r in found:
        areas = [(r.within, *r.within_interval), (r.overall, *r.overall_interval)]
        cells = ["{} [{}, {}]".format(*map(share, area)) for area in areas]
        rows.append((r.scorer, *cells, f"{r.best:.1%} {interval(*r.best_interval)}"))
    headers = (
        "scorer",
        "right above wrong,\nsame problem",
        "right above wrong,\nany problem",
        f"best of {num_samples}",
    )
    caption = (
        f"{num_problems} problems x {num_samples} samples, {template}; in brackets, 95% intervals. .5 knows nothing."
    )
    return Sheet(headers, rows, caption=caption, border=box.SIMPLE_HEAD)


def share(value: float) -> str:
    """Three decimals, and no zero before the point: .926, 1.000."""
    return f"{value:.3f}".removeprefix("0")
