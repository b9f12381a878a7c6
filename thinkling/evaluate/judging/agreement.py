"""How well a judge agrees with the verifier: sensitivity, specificity, Cohen's kappa, each with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from thinkling.evaluate.stats import wilson_interval


@dataclass(frozen=True)
class Agreement:
    """How many responses are right and called right (hits), right and called wrong (misses), wrong and called right
    (false_alarms), wrong and called wrong (refusals); and how many the judge gave no verdict on."""

    hits: int
    misses: int
    false_alarms: int
    refusals: int
    abstained: int = 0

    @property
    def sensitivity(self) -> tuple[float, float, float] | None:
        """Of the right ones, the share called right: value, low, high. None if there are none."""
        return share(self.hits, self.hits + self.misses)

    @property
    def specificity(self) -> tuple[float, float, float] | None:
        """Of the wrong ones, the share called wrong."""
        return share(self.refusals, self.refusals + self.false_alarms)

    @property
    def kappa(self) -> tuple[float, float, float] | None:
        return kappa([[self.hits, self.misses], [self.false_alarms, self.refusals]])


def kappa(table: Sequence[Sequence[int]]) -> tuple[float, float, float] | None:
    """Agreement beyond chance, with its 95% interval: 1 is perfect, 0 is what independent verdicts would have.

    table: how often the truth was of kind i and the verdict of kind j (Cohen 1960). The interval is by the delta method
    (Fleiss, Cohen and Everitt 1969). None where truth or verdict never varies.
    """
    num, kinds = sum(map(sum, table)), range(len(table))
    if not num:
        return None
    cells = [[count / num for count in row] for row in table]
    truth, verdict = [sum(row) for row in cells], [sum(row[j] for row in cells) for j in kinds]
    if max(map(sum, table)) == num or max(sum(row[j] for row in table) for j in kinds) == num:
        return None
    agreed, chance = sum(cells[i][i] for i in kinds), sum(truth[i] * verdict[i] for i in kinds)
    value = (agreed - chance) / (1 - chance)
    pairs = [
        (cells[i][j], ((i == j) * (1 - chance) - (1 - agreed) * (truth[j] + verdict[i])) / (1 - chance) ** 2)
        for i in kinds
        for j in kinds
    ]
    mean = sum(share * slope for share, slope in pairs)
    half = 1.96 * sqrt(max(0.0, sum(share * slope**2 for share, slope in pairs) - mean**2) / num)
    return value, max(-1.0, value - half), min(1.0, value + half)


def agreement(truths: Sequence[bool], verdicts: Sequence[bool | None]) -> Agreement:
    """verdicts: None is an abstention."""
    pairs = list(zip(truths, verdicts, strict=True))
    count = pairs.count
    return Agreement(count((True, True)), count((True, False)), count((False, True)), count((False, False)),
                     sum(verdict is None for verdict in verdicts))  # fmt: skip


def share(hits: int, num: int) -> tuple[float, float, float] | None:
    return (hits / num, *wilson_interval(hits, num)) if num else None
