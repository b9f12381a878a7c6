"""`thinkling rank`: votes in, a leaderboard out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.checks import above_zero, at_least, finite
from thinkling.errors import UserError
from thinkling.evaluate.ranking.votes import Ties


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Rate models by votes: Bradley-Terry with intervals of ratings and of ranks; and Elo.

    SOURCES are files of votes (.jsonl or .csv; each row has model_a, model_b and winner: model_a, model_b, tie or both
    bad), as `thinkling arena` and `thinkling judge` write them and LM Arena publishes them; or the folders of two or
    more eval runs, where on each problem the run that the verifier calls correct wins.
    """

    sources: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")]
    """Files of votes, or folders of eval runs."""
    out: Path | None = None
    """A folder for ranking.json, report.html and ratings.png."""
    ties: Ties = "davidson"
    """What a tie is: an outcome of its own (Davidson), or half a win for each, as LM Arena counts it."""
    both_bad: Literal["tie", "drop"] = "tie"
    """What "both bad" is: a tie, or no vote."""
    cluster: str = "problem"
    """The field of a row that says which votes are about the same prompt, and so are not independent; for LM Arena's
    files question_id or conversation_id. Where it is missing, each vote is on its own."""
    length: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Control for the length of responses: rate as if both were equally long. Needs length_a and length_b."""
    anchor: str | None = None
    """The model whose rating is fixed; without it the mean of all ratings is."""
    anchor_rating: float = 1000.0
    """At which number it is fixed."""
    prior: float = 0.0
    """Give each model this many votes against an imaginary average one, half of them won. 1 makes ratings finite where
    a model has never lost; 0 is none, and then such votes are refused."""
    bootstrap: int = 200
    """Resamples of prompts for the second interval; 0 for none."""
    orders: int = 200
    """Random orders of the votes, for what the order does to Elo."""
    k: float = 32.0
    """Elo's step: points for a vote that nobody expected."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(0, prior=self.prior, bootstrap=self.bootstrap, seed=self.seed)
        at_least(1, orders=self.orders)
        above_zero(k=self.k)


def main(settings: Rank) -> None:
    from rich.console import Console

    from thinkling.device import facts
    from thinkling.evaluate.ranking.leaderboard import Rules, leaderboard
    from thinkling.evaluate.ranking.votes import is_run, named_runs, read_votes, votes_of_runs
    from thinkling.report.rank_report import table, told, write_page, write_png
    from thinkling.runs import config_in, write_json

    if settings.out is not None:
        config_in(settings.out, settings)  # a report would stand in another command's run
    for source in settings.sources:
        if not source.exists():
            raise UserError(f"{source}: no such file or folder: give files of votes, or folders of eval runs")
    runs = [source for source in settings.sources if source.is_dir()]
    for source in runs:
        if not is_run(source):
            raise UserError(f"{source} holds no samples.jsonl: give the folder of an eval run, or a file of votes")
    if len(runs) == 1:
        raise UserError(f"{runs[0]} is one run: give at least two, to compare them")
    votes = [vote for path in settings.sources if path not in runs for vote in read_votes(path, settings.cluster)]
    votes += votes_of_runs(named_runs(runs)) if runs else []
    rules = Rules(ties=settings.ties, both_bad_as_tie=settings.both_bad == "tie", prior=settings.prior,
                  length=settings.length, anchor=settings.anchor, anchor_rating=settings.anchor_rating,
                  num_resamples=settings.bootstrap, num_orders=settings.orders, k=settings.k,
                  seed=settings.seed)  # fmt: skip
    board, console = leaderboard(votes, rules), Console()
    console.print(table(board))
    for line in told(board):
        console.print(line, highlight=False, markup=False)
    if settings.out is not None:
        known = facts() | {"votes": ", ".join(map(str, settings.sources))}
        write_json(settings.out / "ranking.json", {"settings": settings, "facts": known, "leaderboard": board})
        write_page(settings.out / "report.html", board, known)
        write_png(settings.out / "ratings.png", board)
        console.print(f"The report: {settings.out / 'report.html'}", highlight=False, markup=False, soft_wrap=True)
