"""A leaderboard for people: a table in the terminal, sentences, one HTML page, and the picture of its ratings.

Leaves out how ratings and ranks are found (evaluate/ranking/).
"""

from collections.abc import Mapping
from pathlib import Path

from thinkling.evaluate.ranking.leaderboard import Leaderboard, Standing
from thinkling.evaluate.ranking.votes import TIES
from thinkling.report.interval_plots import Row, as_png, as_svg
from thinkling.report.page import header, how_it_was_made, page, safe, section
from thinkling.report.tables import Sheet
from thinkling.runs import write_bytes, write_text
from thinkling.words import counted

HEADERS = ("rank", "model", "rating", "bootstrap", "won", "lost", "tied", "both\nbad", "Elo", "Elo in other\norders")


def table(board: Leaderboard) -> Sheet:
    return Sheet(HEADERS, [cells(standing) for standing in board.standings], left=(0, 1), keep=2, narrow="blocks")


def cells(s: Standing) -> tuple[str, ...]:
    again = "" if s.resampled_low is None else points(s.resampled_low, s.resampled_high)
    return (f"{s.rank} {ranks(s)}".rstrip(), s.model, f"{s.rating:.0f} {points(s.low, s.high)}", again, f"{s.wins}",
            f"{s.losses}", f"{s.ties}", f"{s.both_bad}", f"{s.elo:.0f}", points(s.elo_low, s.elo_high))  # fmt: skip


def points(low: float, high: float) -> str:
    low, high = (round(end) + 0 for end in (low, high))
    return f"[{low}, {high}]"


def ranks(s: Standing) -> str:
    return "" if s.rank_low == s.rank_high else f"[{s.rank_low}, {s.rank_high}]"


def told(board: Leaderboard) -> list[str]:
    """What the table says, and what it does not, in sentences: the leader first."""
    lines, rules = [leader(board)], board.rules
    clusters = board.num_problems != board.num_votes
    votes = counted(board.num_votes, "vote") + (f" on {counted(board.num_problems, 'prompt')}" if clusters else "")
    where = f"{rules.anchor} is fixed at" if rules.anchor else "their mean is"
    lines.append(
        f"{votes}. Brackets are 95% intervals: of ratings ({where} {rules.anchor_rating:.0f}) by a sandwich "
        "estimate, and by the bootstrap of prompts; of ranks, for all models at once."
    )
    if any(s.ties + s.both_bad for s in board.standings):
        lines.append(f"A tie counts as {TIES[rules.ties]}.")
    if board.tie_chance is not None:
        lines.append(f"Two equal models would tie {board.tie_chance:.0%} of the time.")
    if board.length_points is not None:
        lines.append(f"Twice the length is worth {board.length_points:.0f} points "
                     f"{points(board.length_low, board.length_high)}; the ratings are for equal lengths.")  # fmt: skip
    widest = max(board.standings, key=lambda s: s.elo_high - s.elo_low)
    lines.append(f"Elo depends on the order of the votes: that of {widest.model} is {widest.elo:.0f} in this one, and "
                 f"{widest.elo_low:.0f} to {widest.elo_high:.0f} in 95% of {counted(rules.num_orders, 'random order')}"
                 ".")  # fmt: skip
    if rules.prior:
        votes = "vote" if rules.prior == 1 else "votes"
        lines.append(f"A prior of {rules.prior:g} pulls every rating to the mean: {rules.prior:g} imaginary {votes} "
                     "for each model against an average one, half of them won.")  # fmt: skip
    if board.unbounded:
        lines.append(f"Only the prior makes the ratings finite: {board.unbounded}.")
    if board.unrated_resamples:
        lines.append(f"{board.unrated_resamples:.1%} of the bootstrap's samples had no finite ratings and are left "
                     "out: there are few votes, and its intervals are too short.")  # fmt: skip
    return lines


def leader(board: Leaderboard) -> str:
    """Who leads, and from whom it cannot be told apart."""
    first, *others = board.standings
    rivals = [other.model for other in others if other.rank_low == 1]
    if not rivals:
        return f"{first.model} is the best: no other model may share its rank."
    shown = rivals if len(rivals) <= 3 else [*rivals[:3], f"{len(rivals) - 3} more"]
    named = " and ".join([*filter(None, [", ".join(shown[:-1])]), shown[-1]])
    return f"{first.model} leads, but {named} may be as good: each may share the first rank."


def rows_of(board: Leaderboard) -> list[Row]:
    return [
        Row(f"{s.rank}  {s.model}", s.rating, s.low, s.high, (s.elo_low, s.elo_high), s.elo) for s in board.standings
    ]


KEY = ("Blue: the Bradley-Terry rating with its 95% interval. Orange: Elo in the votes' own order (the diamond), and "
       "where 95% of random orders end.")  # fmt: skip


def write_page(path: Path, board: Leaderboard, facts: Mapping[str, str]) -> None:
    """Write the page, whole or not at all."""
    first, *notes = told(board)
    described = "; ".join(f"{s.model} {s.rating:.0f} {points(s.low, s.high)}" for s in board.standings)
    picture = as_svg(rows_of(board), "rating", "ratings", f"Ratings with their 95% intervals: {described}.")
    heads = "".join(f'<th scope="col">{safe(name)}</th>' for name in HEADERS[1:])
    body = ""
    for first_cell, *others in map(cells, board.standings):
        body += (
            f'<tr><th scope="row">{safe(first_cell)}</th>{"".join(f"<td>{safe(cell)}</td>" for cell in others)}</tr>'
        )
    parts = [
        header("Leaderboard", safe(first)),
        section("Ratings", f"<figure>{picture}<figcaption>{KEY}</figcaption></figure>"),
        section("Every model", f'<div class=scroll><table class=ranking><thead><tr><th scope="col">rank</th>{heads}'
                f"</tr></thead><tbody>{body}</tbody></table></div>"),
        section("To keep in mind", f"<ul class=notes>{''.join(f'<li>{safe(note)}</li>' for note in notes)}</ul>"),
        how_it_was_made(facts),
    ]  # fmt: skip
    write_text(path, page("Leaderboard", parts, STYLE))


def write_png(path: Path, board: Leaderboard) -> None:
    write_bytes(path, as_png(rows_of(board), "rating; orange: Elo in 95% of random orders", "thinkling rank"))


STYLE = """
figure { max-width: 48rem; }
.scroll { overflow-x: auto; }
.ranking { font-size: .9375rem; }
.ranking td:nth-child(2), .ranking th:nth-child(2) { text-align: left; font-weight: 600; }
.ranking tbody th[scope=row] { min-width: 0; white-space: nowrap; }
.notes { margin: 0; padding-left: 1.1rem; max-width: 58rem; }
.notes li { margin: .3rem 0; }
@media (max-width: 46rem) {
  .ranking { display: table; }
  .ranking thead { display: table-header-group; }
  .ranking tbody { display: table-row-group; }
  .ranking tr { display: table-row; }
  .ranking th, .ranking td, .ranking thead th:first-child { display: table-cell; padding: .4rem .75rem .4rem 0;
    border-bottom: 1px solid var(--rule); }
}
"""
