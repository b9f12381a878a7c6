"""`thinkling judge`: a model judges the responses of one eval run, or compares two; and what its verdicts are worth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import OnError, ServerSettings
from thinkling.errors import FatalError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from thinkling.evaluate.judging import ask
    from thinkling.evaluate.ranking.votes import Response

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Judge(ServerSettings):
    """Let a model judge an eval run, or compare two, and measure what its verdicts are worth.

    RUNS is the folder of one eval run (each response gets a grade from 0 to 10) or of two (which is better, asked in
    both orders; where they disagree it is a tie). The judge is --model, here or on a --server. What is judged is fenced
    as data, and only a marked line of the reply is read. An interrupted run resumes when it is started again.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN...")]
    """The folders of one or two eval runs."""
    out: Path
    """The judge's own folder: report.json, judgements.jsonl, and votes.jsonl (of two runs) or scores.png (of one)."""
    reading: Literal["reply", "solve", "logprob"] = "reply"
    """Where a verdict comes from: the judge's reply; its own solution, whose answer is compared with the response's; or
    the log-probabilities of Yes and No (of 1 and 2). A small base model cannot follow the protocol of replies."""
    template: Literal["chat", "chat-thinking", "none"] = "chat"
    """How a judge that replies is asked: as a chat, with or without thinking, or as plain text."""
    rubric: Path | None = None
    """A text file that says what to judge by, in place of whether the response is right."""
    passing: float = 5.0
    """The grade from which a response counts as judged right."""
    labelled: int = 100
    """How many responses, drawn at random, count as labelled: corrected scores use the verifier's verdict on them."""
    injections: int = 0
    """Also try every injection on this many wrong responses: does one move a verdict? (24 calls for each.)"""
    num_problems: int | None = None
    """How many problems, from the start of the run. Default: all. Of several responses to one the first counts."""
    temperature: float = 0.0
    """Of the judge."""
    max_tokens: int = 512
    """Length of the judge's reply at most, in tokens."""
    on_error: OnError = "stop"
    """What happens after a failed call: stop ends the run; skip counts it as an abstention."""
    seed: int = 0
    """Of what is drawn at random: the same seed gives the same answers again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, max_tokens=self.max_tokens)
        at_least(0, temperature=self.temperature, labelled=self.labelled, injections=self.injections)
        if self.num_problems is not None:
            at_least(1, num_problems=self.num_problems)
        if not 0 <= self.passing <= 10:
            raise UserError(f"--passing must be a grade from 0 to 10, not {self.passing:g}")


def main(settings: Judge) -> None:
    from rich.console import Console

    from thinkling.commands.load import model_of
    from thinkling.evaluate.judging.ask import Judge as Asker
    from thinkling.evaluate.ranking.votes import in_common, named_runs
    from thinkling.generate.cached import CachedModel
    from thinkling.generate.sampling import Sampling
    from thinkling.runs import alone_in, check_run, open_run

    if len(settings.runs) not in (1, 2):
        raise UserError(f"judge takes the folder of one eval run, or of two to compare, not {len(settings.runs)}")
    if settings.injections and len(settings.runs) == 2:
        raise UserError("--injections are tried on the responses of one run: leave the other run out")
    rubric = rubric_of(settings.rubric)
    runs = named_runs(settings.runs)
    problems = in_common(runs)[: settings.num_problems]
    columns = [[run[problem][0] for problem in problems] for run in runs.values()]
    check_run(settings.out, settings, "report.json")
    model = model_of(settings)
    out, console = open_run(settings.out, settings, "report.json"), Console(highlight=False)
    with alone_in(out):
        sampling = Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=settings.seed)
        pool = CachedModel(model, out / "pool.jsonl")
        judge = Asker(pool, sampling, secret_of(out), settings.reading, settings.template, rubric)
        if len(runs) == 1:
            grade_run(settings, judge, columns[0], out, console)
        else:
            compare_runs(settings, judge, tuple(runs), list(zip(*columns, strict=True)), out, console)


def grade_run(settings: Judge, judge: ask.Judge, responses: list[Response], out: Path, console: Console) -> None:
    from thinkling.device import facts
    from thinkling.evaluate.judging.ask import Grade
    from thinkling.evaluate.judging.injections import INJECTIONS, injected
    from thinkling.evaluate.judging.reports import grade_report, injection_report
    from thinkling.report.judge_report import grade_lines, grade_tables, injection_lines, write_png
    from thinkling.runs import write_json, write_jsonl

    failed = Grade(None, "")
    grades = ask_all("judging", [lambda r=r: judge.grade(r) for r in responses], failed, settings)
    report = grade_report(responses, grades, settings.passing, settings.labelled, settings.seed)
    wrong = [r for r, grade in zip(responses, grades, strict=True)
             if r.status == "incorrect" and grade.value is not None and grade.value < settings.passing]  # fmt: skip
    tried = wrong[: settings.injections]
    jobs = [lambda r=r, i=i: judge.grade(injected(r, i)) for r in tried for i in INJECTIONS]
    rows = ask_all("injections", jobs, failed, settings) if jobs else []
    size = len(INJECTIONS)
    moved = injection_report(INJECTIONS, [rows[n * size : (n + 1) * size] for n in range(len(tried))], settings.passing)
    write_jsonl(out / "judgements.jsonl", [
        {"problem": r.problem, "truth": r.status, "grade": grade.value, "reply": grade.reply}
        for r, grade in zip(responses, grades, strict=True)
    ])  # fmt: skip
    write_png(out / "scores.png", report)
    write_json(out / "report.json", {"facts": facts() | {"judge": judge.model.name}, "report": report,
                                     "injections": moved})  # fmt: skip
    for part in grade_tables(report):
        console.print(part)
    for line in grade_lines(report) + (injection_lines(moved) if settings.injections else []):
        console.print(line, markup=False)
    console.print(f"Every verdict: {out / 'judgements.jsonl'}", markup=False, soft_wrap=True)


def compare_runs(
    settings: Judge, judge: ask.Judge, names: tuple[str, str], pairs: list[tuple[Response, Response]], out: Path,
    console: Console,
) -> None:  # fmt: skip
    from thinkling.device import facts
    from thinkling.evaluate.judging.ask import Preference
    from thinkling.evaluate.judging.reports import pair_report, votes_of
    from thinkling.report.judge_report import pair_tables
    from thinkling.runs import write_json, write_jsonl

    jobs = [lambda a=a, b=b: judge.prefer(a, b) for a, b in pairs]
    said = ask_all("judging", jobs, Preference(None, None), settings)
    report = pair_report(names, pairs, said)
    write_jsonl(out / "judgements.jsonl", [
        {"problem": a.problem, "truth": [a.status, b.status], "winner": preference.winner, **asdict(preference)}
        for (a, b), preference in zip(pairs, said, strict=True)
    ])  # fmt: skip
    write_jsonl(out / "votes.jsonl", votes_of(names, pairs, said))
    write_json(out / "report.json", {"facts": facts() | {"judge": judge.model.name}, "report": report})
    for part in pair_tables(report):
        console.print(part)
    console.print(f"Votes: thinkling rank {out / 'votes.jsonl'}", markup=False, soft_wrap=True)


def ask_all(label: str, jobs: Sequence[Callable[[], Awaitable[T]]], failed: T, settings: Judge) -> list[T]:
    """What each of these calls comes to; where one fails, `failed` or the end of the run, as --on-error says."""
    from thinkling.anywhere import run_anywhere
    from thinkling.evaluate.run import all_of
    from thinkling.progress import Progress

    found: list[T] = [failed] * len(jobs)

    async def run() -> None:
        with Progress(label, len(jobs)) as progress:

            async def one(place: int, job: Callable[[], Awaitable[T]]) -> None:
                try:
                    found[place] = await job()
                except FatalError:
                    raise
                except UserError as error:
                    if settings.on_error == "stop":
                        raise UserError(f"{error} (--on-error skip counts it as an abstention)") from error
                progress.advance()

            await all_of([asyncio.create_task(one(place, job)) for place, job in enumerate(jobs)])

    run_anywhere(run())
    return found


def rubric_of(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"--rubric {path} cannot be read: name a text file in UTF-8") from None
    if not text:
        raise UserError(f"--rubric {path} is empty: say what to judge by")
    return text


def secret_of(out: Path) -> str:
    """What the keys of this run's prompts are made with: drawn once, so that a run that resumes asks the same."""
    import secrets

    from thinkling.runs import write_text

    path = out / "secret"
    if not path.exists():
        write_text(path, secrets.token_hex(16))
    return path.read_text()
