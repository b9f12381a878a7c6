"""The pictures of a run of `thinkling scale`, drawn anew from its table: of all its methods, or of some.

    python bench/scale_pictures.py runs/scale --out runs/scale/plots
    python bench/scale_pictures.py runs/scale --out pictures --methods "plain, vote of n" "plain, refinement x n"

guide/pictures/04-budget.png is accuracy-tokens.png of the first, 05-scorers.png is methods.png of a choice like the
second. Nothing is measured here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.errors import UserError
from thinkling.evaluate.result import Result
from thinkling.report.scale_page import write_pngs


@dataclass(frozen=True, kw_only=True)
class Pictures:
    run: Annotated[Path, tyro.conf.Positional]
    """The folder of `thinkling scale --out`."""
    out: Path = Path("pictures")
    methods: tuple[str, ...] = ()
    """As the report calls them, without a budget; all if none is named."""


def points(table: Path, methods: tuple[str, ...]) -> list[Result]:
    rows = json.loads(table.read_text(encoding="utf-8"))["points"]
    found = [Result(**row | {"correct": tuple(row["correct"])}) for row in rows]
    names = list(dict.fromkeys(point.method for point in found))
    unknown = [name for name in methods if name not in names]
    if unknown:
        raise UserError(f"{table} has no method {unknown[0]!r}; it has: {'; '.join(names)}")
    return [point for point in found if not methods or point.method in methods]


def main(pictures: Pictures) -> None:
    for path in write_pngs(pictures.out, points(pictures.run / "table.json", pictures.methods)):
        print(path)


if __name__ == "__main__":
    main(tyro.cli(Pictures))
