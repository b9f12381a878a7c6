"""`thinkling regrade RUN`: the saved responses of an eval run, judged anew by today's verifiers."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Regrade:
    """Judge the saved responses of an eval run again, and say which verdicts have changed.

    No model is asked. Ends with exit code 1 where a verdict has changed and --write was not given.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    write: bool = False
    """Write the new verdicts into the run, and its report with them."""


def main(settings: Regrade) -> None:
    from rich.console import Console

    from thinkling.evaluate.manifest import verifier_version
    from thinkling.evaluate.saved import read_run, regraded, rewrite
    from thinkling.report.eval_files import write_files
    from thinkling.report.eval_words import share
    from thinkling.runs import alone_in
    from thinkling.words import counted

    run = read_run(settings.run)
    with alone_in(run.folder):
        new, changed = regraded(run)
        console = Console(highlight=False)
        for row, verdict in changed:
            place = f"row {row['row']} ({row['id']})" + (f", sample {row['sample'] + 1}" if row["sample"] else "")
            console.print(
                f"{place}: {row['status']} -> {verdict.status}: {verdict.reason}", markup=False, soft_wrap=True
            )
        was, now = share(run.details.accuracy), share(new.details.accuracy)
        told = f"{counted(len(changed), 'verdict')} of {len(run.rows):,} changed; accuracy {was}"
        console.print(told + (f", now {now}" if changed else ""), markup=False, soft_wrap=True)
        if settings.write:
            named = {row.get("verifier", "math") for row in new.rows}
            new = rewrite(new, {name: verifier_version(name) for name in sorted(named)})
            write_files(new)
            console.print(f"Written: {run.folder / 'report.html'}", markup=False, soft_wrap=True)
    if changed and not settings.write:
        sys.exit(1)
