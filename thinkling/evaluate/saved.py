"""A run of `thinkling eval` read back from its folder, and its responses judged anew.

Runs of earlier versions can be read too; they have one sample a problem, and no manifest.
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from thinkling.errors import UserError
from thinkling.evaluate.details import Details, by_problem, details_of, problem_of
from thinkling.progress import tracked
from thinkling.runs import read_jsonl, read_object, write_json, write_jsonl
from thinkling.verify.verifier import Verdict, verify

FIELDS = ("id", "question", "reference", "response", "status", "completions")


@dataclass(frozen=True)
class Run:
    """rows: of samples.jsonl, problem by problem in their order, but for problems that failed; those are in `failed`.
    settings: config.json. report: report.json. manifest: {} in runs of earlier versions."""

    folder: Path
    rows: tuple[dict, ...]
    failed: tuple[dict, ...]
    settings: dict
    report: dict
    manifest: dict

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def details(self) -> Details:
        return details_of(self.rows)


def read_run(folder: Path) -> Run:
    """The finished run in this folder. Raises UserError where there is none, or its rows are not those of one."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: give the --out of a `thinkling eval`")
    for name in ("samples.jsonl", "config.json", "report.json"):
        if not (folder / name).is_file():
            why = "the run is not finished" if (folder / "samples.jsonl").is_file() else "it holds no eval run"
            raise UserError(f"{folder} has no {name}: {why}: give the --out of a `thinkling eval` that has ended")
    found = list(read_jsonl(folder / "samples.jsonl"))
    failed = [row for row in found if row.get("status") == "failed"]
    gone = {row["row"] for row in failed}
    rows = [complete(folder, row, place) for place, row in enumerate(found, start=1) if row.get("status") != "failed"]
    rows = [row for row in rows if row["row"] not in gone]
    if not rows:
        raise UserError(f"{folder / 'samples.jsonl'}: no responses in this file")
    groups = sorted(by_problem(rows), key=lambda own: own[0]["row"])
    if len({len(own) for own in groups}) > 1:
        raise UserError(
            f"{folder / 'samples.jsonl'}: its problems differ in their number of samples: a line is missing"
        )
    manifest = read_object(folder / "manifest.json") if (folder / "manifest.json").is_file() else {}
    return Run(folder.resolve(), tuple(row for own in groups for row in own), tuple(failed),
               read_object(folder / "config.json"), read_object(folder / "report.json"), manifest)  # fmt: skip


def complete(folder: Path, row: dict, place: int) -> dict:
    """The row with what rows of earlier versions lack. Raises UserError where a field is missing."""
    missing = next((field for field in FIELDS if field not in row), None)
    if missing is not None:
        raise UserError(f"{folder / 'samples.jsonl'}, row {place}: the field '{missing}' is missing")
    return {"row": place, "sample": 0, "family": "", "answer": None, "reason": ""} | row


def regraded(run: Run) -> tuple[Run, list[tuple[dict, Verdict]]]:
    """The run with verdicts of today's verifiers, and what has changed: each old row with its new verdict."""
    rows, changed = [], []
    for row in tracked(run.rows, "regrading", len(run.rows)):
        verdict = verify(problem_of(row), row["response"])
        new = row | {name: getattr(verdict, name) for name in ("status", "answer", "reason", "rule", "parsed", "score")}
        rows.append(new)
        if (verdict.status, verdict.answer) != (row["status"], row["answer"]):
            changed.append((row, verdict))
    return replace(run, rows=tuple(rows)), changed


def rewrite(run: Run, verifier: dict[str, str]) -> Run:
    """Write the run's rows, and the numbers of report.json that they give; times and costs stay as they are.

    verifier: the versions that judged, for the manifest.
    """
    details = run.details
    right = [one.num_correct == 1 for one in details.problems] if details.num_samples == 1 else []
    counted = {"accuracy": details.accuracy.value, "low": details.accuracy.low, "high": details.accuracy.high,
               "correct": right, "unparsed": details.unparsed, "details": asdict(details)}  # fmt: skip
    new = replace(run, report=run.report | counted, manifest=run.manifest | {"verifier": verifier})
    write_jsonl(run.folder / "samples.jsonl", [*run.rows, *run.failed])
    write_json(run.folder / "report.json", new.report)
    if run.manifest:
        write_json(run.folder / "manifest.json", new.manifest)
    return new
