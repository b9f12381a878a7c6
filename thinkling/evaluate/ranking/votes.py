"""Votes between two models: read from files, written one by one, or made of the problems that two runs have in common.

A row is a JSON object with model_a, model_b and winner (model_a, model_b, tie or both bad), as LM Arena's data has
them. Leaves out what becomes of votes (bradley_terry.py, elo.py).
"""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from thinkling.errors import UserError
from thinkling.runs import numbered_rows, told_apart

Winner = Literal["model_a", "model_b", "tie", "both bad"]
TIES = {"davidson": "an outcome of its own (Davidson 1970)",
        "half": "half a win for each"}  # what a tie is to a rating  # fmt: skip
Ties = Literal[*TIES]
SPELT = {  # what data sets write for a winner
    "model_a": "model_a", "model_b": "model_b", "tie": "tie", "both bad": "both bad", "both_bad": "both bad",
    "bothbad": "both bad", "tie (bothbad)": "both bad",
}  # fmt: skip


@dataclass(frozen=True)
class Vote:
    """One comparison of two models' responses to the same question.

    problem: which question; votes with the same one are not independent. "" stands for one of its own. length_a,
    length_b: of the responses, in characters or tokens, None where it is not known. source: who voted, such as
    person, judge or verifier.
    """

    model_a: str
    model_b: str
    winner: Winner
    problem: str = ""
    length_a: float | None = None
    length_b: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Response:
    """What a model answered to a problem, and what the verifier, whose name it is, said of it: correct, incorrect or
    unparsed."""

    problem: str
    question: str
    text: str
    status: str
    verifier: str = "math"

    @property
    def correct(self) -> bool:
        return self.status == "correct"


def read_votes(path: Path, cluster: str = "problem") -> list[Vote]:
    """The votes of a .jsonl or .csv file. cluster: the field that says which votes belong together; a file may lack it.

    Raises UserError naming the line.
    """
    rows = numbered_csv(path) if path.suffix == ".csv" else numbered_rows(path, ("model_a", "model_b", "winner"))
    votes = [vote_of(row, f"{path}, line {number}", cluster) for number, row in rows]
    if not votes:
        raise UserError(f"{path}: no votes in this file: each row needs model_a, model_b and winner")
    return votes


def numbered_csv(path: Path) -> Iterator[tuple[int, dict]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in ("model_a", "model_b", "winner") if name not in (reader.fieldnames or ())]
        if lacking:
            raise UserError(f"{path}: the column '{lacking[0]}' is missing; it has {reader.fieldnames or 'none'}")
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if value != ""}


def vote_of(row: dict, place: str, cluster: str) -> Vote:
    names = []
    for field in ("model_a", "model_b"):
        name = row.get(field)
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{place}: '{field}' must be a model's name, not {name!r}")
        names.append(name.strip())
    if names[0] == names[1]:
        raise UserError(f"{place}: {names[0]} is compared with itself, which says nothing: remove the row")
    said = row.get("winner")
    winner = SPELT.get(said.strip().lower()) if isinstance(said, str) else None
    if winner is None:
        raise UserError(f"{place}: the winner is {said!r}: it must be model_a, model_b, tie or both bad")
    lengths = [length_of(row.get(field), field, place) for field in ("length_a", "length_b")]
    problem = row.get(cluster)
    return Vote(*names, winner, "" if problem is None else str(problem), *lengths, str(row.get("source") or ""))


def length_of(value: object, field: str, place: str) -> float | None:
    if value is None:
        return None
    try:
        length = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        length = math.nan
    if not (math.isfinite(length) and length >= 0):
        raise UserError(f"{place}: '{field}' must be a number from 0 on, not {value!r}")
    return length


def is_run(folder: Path) -> bool:
    return (folder / "samples.jsonl").is_file()


def responses_of(run: Path) -> dict[str, list[Response]]:
    """What an eval run answered, by problem; problems that failed are not in it."""
    path = run / "samples.jsonl"
    if not path.is_file():
        raise UserError(f"{run} holds no samples.jsonl: give the folder of an eval run")
    if (run / "config.json").exists() and not (run / "report.json").exists():  # short responses come first
        raise UserError(
            f"{run} has no report.json: the run is not finished: the `thinkling eval` that began it resumes it"
        )
    found = defaultdict(list)
    for number, row in numbered_rows(path, ("id", "status")):
        if row["status"] == "failed":
            continue
        fields = [row.get(name) for name in ("id", "question", "response", "status")]
        if not all(isinstance(field, str) for field in fields):
            raise UserError(f"{path}, line {number}: id, question, response and status must be texts")
        found[fields[0]].append(Response(*fields, str(row.get("verifier", "math"))))
    if not found:
        raise UserError(f"{path}: no responses in this file")
    return dict(found)


def in_common(runs: dict[str, dict[str, list[Response]]]) -> list[str]:
    """The problems that all these runs have, in the first one's order. Raises UserError if there are none, or if two
    runs put another question under the same id."""
    first, *others = runs.values()
    shared = [problem for problem in first if all(problem in other for other in others)]
    if not shared:
        raise UserError(f"{' and '.join(runs)} have no problem in common: run them on the same --tasks and --split")
    for problem in shared:
        if len({run[problem][0].question for run in runs.values()}) > 1:
            raise UserError(f"{' and '.join(runs)} have different questions under the id {problem}: compare runs on "
                            "the same problems")  # fmt: skip
    return shared


def votes_of_runs(runs: dict[str, dict[str, list[Response]]]) -> list[Vote]:
    """Each pair of runs on each problem that they share: the one that the verifier calls correct wins. Both correct is
    a tie, and neither is both bad."""
    votes = []
    for one, other in combinations(runs, 2):
        for problem in in_common({one: runs[one], other: runs[other]}):
            for a, b in zip(runs[one][problem], runs[other][problem], strict=False):  # as many as both have
                outcomes = {(True, False): "model_a", (False, True): "model_b", (True, True): "tie"}
                winner = outcomes.get((a.correct, b.correct), "both bad")
                votes.append(Vote(one, other, winner, problem, len(a.text), len(b.text), "verifier"))
    return votes


def named_runs(folders: Sequence[Path]) -> dict[str, dict[str, list[Response]]]:
    """The runs by the names of their folders: as much of each path as tells them apart."""
    return {name: responses_of(folder) for name, folder in zip(told_apart(folders), folders, strict=True)}


def models_in(votes: Iterable[Vote]) -> list[str]:
    """All models that were voted on, by name."""
    return sorted({name for vote in votes for name in (vote.model_a, vote.model_b)})
