"""What a judge is worth, for people: tables and sentences in the terminal, and the picture of a score corrected."""

from collections.abc import Sequence
from pathlib import Path

from thinkling.evaluate.judging.injections import INJECTIONS
from thinkling.evaluate.judging.reports import GradeReport, InjectionReport, Interval, PairReport
from thinkling.report.interval_plots import Row, as_png
from thinkling.report.tables import Sheet, interval
from thinkling.runs import write_bytes
from thinkling.words import counted


def scores(report: GradeReport) -> list[tuple[str, Interval | None]]:
    return [
        ("the judge alone", report.judged),
        (f"corrected by {counted(report.labelled, 'label')}, Rogan-Gladen", report.rogan_gladen),
        (f"corrected by {counted(report.labelled, 'label')}, prediction-powered", report.prediction_powered),
        (f"the {counted(report.labelled, 'label')} alone", report.labels_alone),
        (f"the verifier, on all {report.num}", report.truth),
    ]


def grade_tables(report: GradeReport) -> list[Sheet]:
    rows = [(name, percent(found)) for name, found in scores(report)]
    a = report.agreement
    worth = [
        ("sensitivity: right answers that it calls right", percent(report.sensitivity)),
        ("specificity: wrong answers that it calls wrong", percent(report.specificity)),
        ("kappa: agreement beyond chance", kappa(report.kappa)),
        ("abstained", f"{a.abstained} of {report.num}"),
        ("a wrong answer judged right is longer than one judged wrong", percent(report.longer)),
    ]
    return [
        Sheet(("share of right answers, says", "with its 95% interval"), rows),
        Sheet(("the judge beside the verifier", "with its 95% interval"), worth),
    ]


def grade_lines(report: GradeReport) -> list[str]:
    """What the tables mean, in sentences."""
    if report.labelled == report.num:
        return [
            "Every response is a label: there is nothing left to correct. Take fewer --labelled, to see what they do."
        ]
    if report.rogan_gladen is None:
        return ["Rogan-Gladen's correction needs labels of right and of wrong answers, and a judge that is no coin on "
                "them: take more --labelled."]  # fmt: skip
    if report.rogan_gladen[1:] == (0.0, 1.0):
        return ["On these labels the judge cannot be told from a coin: Rogan-Gladen's correction knows nothing, and "
                "the prediction-powered one leans on the labels."]  # fmt: skip
    low, high = report.judged[1:]
    if not low <= report.truth[0] <= high:
        return ["The judge's own interval misses the verifier's score: it knows how many were judged, not how well."]
    return []


def pair_tables(report: PairReport) -> list[Sheet]:
    right, neither, wrong = report.decided
    rows = [
        (f"{report.model_a} wins", f"{report.a}"),
        (f"{report.model_b} wins", f"{report.b}"),
        ("ties: the orders disagree, or both say so", f"{report.ties}"),
        ("abstained", f"{report.abstained}"),
    ]
    worth = [
        ("says the same in both orders", percent(report.position.consistent)),
        ("of its calls for one, for the one shown first (fair: 50%)", percent(report.position.first)),
        ("where the verifier calls both equal, for the longer one (fair: 50%)", percent(report.longer)),
        (f"where one is right, for that one ({right} of {right + neither + wrong}; {neither} ties)",
         percent(report.accuracy)),
        ("kappa: agreement with the verifier beyond chance", kappa(report.kappa)),
    ]  # fmt: skip
    return [
        Sheet((f"the judge, on {counted(report.num, 'pair')}", "pairs"), rows),
        Sheet(("the judge beside the verifier", "with its 95% interval"), worth),
    ]


def injection_lines(report: InjectionReport) -> list[str]:
    """How many verdicts the injections moved, and by which."""
    if not report.tried:
        return ["No injection was tried: the judge called no wrong response wrong."]
    tries = report.tried * len(INJECTIONS)
    lines = [f"Injections moved {report.total} of {counted(tries, 'verdict')} on wrong responses."]
    for text, num in sorted(report.moved.items(), key=lambda item: -item[1])[:5]:
        kind = next(injection.kind for injection in INJECTIONS if injection.text == text)
        lines.append(f"  {num} of {report.tried} by {kind}: {' '.join(text.split())[:60]!r}")
    return lines


def write_png(path: Path, report: GradeReport) -> None:
    """The score and its corrections, with the verifier's score as a line."""
    found: Sequence[tuple[str, Interval | None]] = scores(report)
    names = ("the judge alone", "Rogan-Gladen", "prediction-powered", "the labels alone", "the verifier")
    rows = [Row(name, *own, loud=name not in ("the judge alone", "the verifier"))
            for name, (_, own) in zip(names, found, strict=True) if own is not None]  # fmt: skip
    label = "share of right answers; dashed: the verifier's"
    write_bytes(path, as_png(rows, label, "thinkling judge", truth=report.truth[0], percent=True))


def percent(found: Interval | None) -> str:
    return "unknown" if found is None else f"{found[0]:.1%} {interval(*found[1:])}"


def kappa(found: Interval | None) -> str:
    return "unknown" if found is None else f"{found[0]:.2f} [{found[1]:.2f}, {found[2]:.2f}]"
