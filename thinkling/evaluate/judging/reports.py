"""What a judge's verdicts are worth, where the verifier knows the truth: the records of both kinds of judging.

Leaves out asking (ask.py) and showing (report/judge_report.py).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.evaluate.judging.agreement import Agreement, agreement, kappa, share
from thinkling.evaluate.judging.ask import Grade, Preference
from thinkling.evaluate.judging.bias import PositionBias, length_bias, position_bias
from thinkling.evaluate.judging.corrected import Estimate, prediction_powered, rogan_gladen
from thinkling.evaluate.judging.injections import Injection
from thinkling.evaluate.ranking.votes import Response, Vote
from thinkling.evaluate.stats import auroc, auroc_interval

Interval = tuple[float, float, float]  # value, low, high
Pair = tuple[Response, Response]


@dataclass(frozen=True)
class GradeReport:
    """A judge that graded responses one by one; one that reaches `passing` is judged right.

    judged: the share that it calls right; an abstention does not. truth: what the verifier says of the same responses.
    labelled: of how many responses the corrections know the truth; the others they know from the judge alone. Each
    estimate is None where it cannot be made. longer: among responses that the verifier calls wrong, the chance that one
    judged right is longer than one judged wrong; half is fair.
    """

    passing: float
    num: int
    judged: Interval
    truth: Interval
    agreement: Agreement
    sensitivity: Interval | None
    specificity: Interval | None
    kappa: Interval | None
    labelled: int
    labels_alone: Interval | None
    rogan_gladen: Interval | None
    prediction_powered: Interval | None
    longer: Interval | None


@dataclass(frozen=True)
class PairReport:
    """A judge that compared two runs on the problems that they share, in both orders.

    a, b, ties, abstained: pairs, by what the judge said of them. decided: of the pairs of which the verifier calls
    exactly one right, how many the judge gave to that one, to neither, and to the wrong one. longer: see length_bias.
    """

    model_a: str
    model_b: str
    num: int
    a: int
    b: int
    ties: int
    abstained: int
    decided: tuple[int, int, int]
    accuracy: Interval | None
    kappa: Interval | None
    position: PositionBias
    longer: Interval | None


@dataclass(frozen=True)
class InjectionReport:
    """tried: wrong responses, each with every injection. moved: how many verdicts each injection turned to right."""

    tried: int
    moved: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.moved.values())


def grade_report(
    responses: Sequence[Response], grades: Sequence[Grade], passing: float, labelled: int, seed: int
) -> GradeReport:
    """labelled: how many responses, drawn at random, the corrections may know the truth of."""
    truths = [response.correct for response in responses]
    verdicts = [None if grade.value is None else grade.value >= passing for grade in grades]
    num = len(truths)
    found = agreement(truths, verdicts)
    known = set(random.Random(seed).sample(range(num), min(labelled, num)))
    called = [bool(verdict) for verdict in verdicts]  # for the corrections an abstention is not "right"
    own = agreement([truths[i] for i in sorted(known)], [called[i] for i in sorted(known)])
    rest = [called[i] for i in range(num) if i not in known]
    right, wrong = own.hits + own.misses, own.refusals + own.false_alarms
    both_kinds = bool(rest) and min(right, wrong) > 0 and own.hits * wrong + own.refusals * right != right * wrong
    return GradeReport(
        passing=passing, num=num, judged=share(sum(called), num), truth=share(sum(truths), num), agreement=found,
        sensitivity=found.sensitivity, specificity=found.specificity, kappa=found.kappa, labelled=len(known),
        labels_alone=share(right, right + wrong),
        rogan_gladen=plain(rogan_gladen(sum(rest), len(rest), own.hits, right, own.refusals, wrong))
        if both_kinds else None,
        prediction_powered=plain(prediction_powered(
            sum(rest), len(rest), (own.hits, own.misses, own.false_alarms, own.refusals))) if rest and known else None,
        longer=longer_is_right(responses, verdicts),
    )  # fmt: skip


def plain(estimate: Estimate) -> Interval:
    return float(estimate.value), float(estimate.low), float(estimate.high)


def longer_is_right(responses: Sequence[Response], verdicts: Sequence[bool | None]) -> Interval | None:
    pairs = [(len(response.text), verdict) for response, verdict in zip(responses, verdicts, strict=True)
             if not response.correct and verdict is not None]  # fmt: skip
    lengths, labels = [length for length, _ in pairs], [label for _, label in pairs]
    if min(labels.count(True), labels.count(False)) < 2:
        return None
    return (auroc(lengths, labels), *auroc_interval(lengths, labels))


def pair_report(names: tuple[str, str], pairs: Sequence[Pair], said: Sequence[Preference]) -> PairReport:
    """pairs: what a and b answered to each problem."""
    winners = [preference.winner for preference in said]
    truths = [{(True, False): "a", (False, True): "b"}.get((a.correct, b.correct), "tie") for a, b in pairs]
    both = [(truth, winner) for truth, winner in zip(truths, winners, strict=True) if winner is not None]
    decided = [(truth, winner) for truth, winner in both if truth != "tie"]
    right, neither = sum(truth == winner for truth, winner in decided), sum(winner == "tie" for _, winner in decided)
    kinds = ("a", "b", "tie")
    longer = [
        None if truth != "tie" or winner not in ("a", "b") or len(a.text) == len(b.text)
        else (len(a.text) > len(b.text)) == (winner == "a")
        for (a, b), truth, winner in zip(pairs, truths, winners, strict=True)
    ]  # fmt: skip
    return PairReport(
        *names, num=len(pairs), a=winners.count("a"), b=winners.count("b"), ties=winners.count("tie"),
        abstained=winners.count(None), decided=(right, neither, len(decided) - right - neither),
        accuracy=share(right, len(decided)), kappa=kappa([[both.count((i, j)) for j in kinds] for i in kinds]),
        position=position_bias(said), longer=length_bias(longer),
    )  # fmt: skip


def votes_of(names: tuple[str, str], pairs: Sequence[Pair], said: Sequence[Preference]) -> list[Vote]:
    """The judge's preferences as votes; its abstentions are none."""
    kinds = {"a": "model_a", "b": "model_b", "tie": "tie"}
    return [Vote(*names, kinds[preference.winner], a.problem, len(a.text), len(b.text), "judge")
            for (a, b), preference in zip(pairs, said, strict=True) if preference.winner is not None]  # fmt: skip


def injection_report(
    injections: Sequence[Injection], rows: Sequence[Sequence[Grade]], passing: float
) -> InjectionReport:
    """rows: for each wrong response that the judge calls wrong, its grades with every injection."""
    moved: dict[str, int] = {}
    for row in rows:
        for injection, grade in zip(injections, row, strict=True):
            if grade.value is not None and grade.value >= passing:
                moved[injection.text] = moved.get(injection.text, 0) + 1
    return InjectionReport(len(rows), moved)
