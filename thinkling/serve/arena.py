"""A blind arena in the terminal: two responses to one question, whose they are is not said, and a person's vote.

Each vote is written and flushed at once, as a row that `thinkling rank` reads; what was voted on before is not asked
again. Leaves out where responses come from (commands/arena.py) and what becomes of the votes (evaluate/ranking/).
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from thinkling.evaluate.ranking.votes import Response, Vote, Winner, read_votes
from thinkling.generate.cached import drop_half_line
from thinkling.generate.sampling import derive_seed
from thinkling.runs import append_jsonl
from thinkling.terminal import visible
from thinkling.words import counted

KEYS: dict[str, Winner] = {
    "a": "model_a", "b": "model_b", "t": "tie", "tie": "tie", "x": "both bad", "both bad": "both bad",
}  # fmt: skip
HELP = "a or b is better   t: tie   x: both bad   s: skip   q: quit"


@dataclass(frozen=True)
class Match:
    """Two models that meet on a problem; first: whose response is shown as A."""

    problem: str
    first: str
    second: str


def matches(models: Sequence[str], problems: Sequence[str], seed: int) -> list[Match]:
    """Every pair on every problem, in random order and with random sides; the same for the same seed."""
    found = []
    for problem in problems:
        for pair in combinations(sorted(models), 2):
            side = derive_seed(seed, "side", problem, *pair) % 2
            found.append(Match(problem, *(pair if side else pair[::-1])))
    random.Random(derive_seed(seed, "arena")).shuffle(found)
    return found


def voted(path: Path) -> set[tuple[str, frozenset[str]]]:
    """The problems and pairs that this file has votes on."""
    if not path.exists() or not path.stat().st_size:
        return set()
    drop_half_line(path)
    return {(vote.problem, frozenset((vote.model_a, vote.model_b))) for vote in read_votes(path)}


def hold(
    open_matches: Sequence[Match], respond: Callable[[str, Match], Response], path: Path, console: Console
) -> list[Vote]:
    """Ask for votes until there are no more matches or the person quits; returns what was voted.

    respond: the response of a model in a match. Two responses of the same text are not asked about.
    """
    votes, alike, lines = [], 0, typed(console)
    for number, match in enumerate(open_matches, start=1):
        a, b = respond(match.first, match), respond(match.second, match)
        if a.text.strip() == b.text.strip():
            alike += 1
            continue
        show(console, f"{number} of {len(open_matches)}", a, b)
        said = next(lines, "q")
        while said not in KEYS and said not in ("s", "skip", "q", "quit"):
            console.print(HELP, markup=False)
            said = next(lines, "q")
        if said in ("q", "quit"):
            break
        if said in KEYS:
            votes.append(cast(path, match, KEYS[said], a.text, b.text))
    if alike:
        console.print(f"Not asked, for both responses were the same text: {alike}.")
    return votes


def cast(path: Path, match: Match, winner: Winner, a: str, b: str) -> Vote:
    """A person's vote on the texts that were shown as A and B, written at once."""
    vote = Vote(match.first, match.second, winner, match.problem, len(a), len(b), "person")
    append_jsonl(path, [vote])
    return vote


def typed(console: Console) -> Iterator[str]:
    """What the person says, lower case, until the end of the input or Ctrl+C."""
    while True:
        console.print("vote> ", end="", style="bold")
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            line = ""
        if not line:
            console.print()
            return
        yield " ".join(line.lower().split())


def show(console: Console, place: str, a: Response, b: Response) -> None:
    console.print(Rule(Text(place), align="left", style="dim"))
    console.print(Text(visible(a.question), "bold"))
    for name, response in (("A", a), ("B", b)):
        console.print(Rule(Text(name), align="left"))
        console.print(Text(visible(response.text.strip()) or "(no text)"))
    console.print(Text(HELP, "dim"))


def tally(votes: Sequence[Vote]) -> str:
    """Who won how often, once the voting is over: "x 3, y 1, 2 ties, 1 both bad"."""
    wins = Counter({"model_a": v.model_a, "model_b": v.model_b}.get(v.winner, v.winner) for v in votes)
    ties, both_bad = wins.pop("tie", 0), wins.pop("both bad", 0)
    said = [f"{name} {num}" for name, num in wins.most_common()]
    return ", ".join(
        [*said, *([counted(ties, "tie")] if ties else []), *([f"{both_bad} both bad"] if both_bad else [])]
    )
