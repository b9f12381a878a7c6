"""What sways a judge that should not: where a response stands, and how long it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from thinkling.evaluate.judging.agreement import share
from thinkling.evaluate.judging.ask import Preference


@dataclass(frozen=True)
class PositionBias:
    """consistent: of the pairs with two verdicts, the share where both orders name the same winner, or both a tie.
    first: of the calls that name a winner, the share that names the one shown first; half is fair. Each with its 95%
    interval, None where nothing was counted."""

    consistent: tuple[float, float, float] | None
    first: tuple[float, float, float] | None


def position_bias(preferences: Sequence[Preference]) -> PositionBias:
    whole = [p for p in preferences if p.winner is not None]
    same = sum((p.a_first, p.b_first) in (("1", "2"), ("2", "1"), ("tie", "tie")) for p in whole)
    calls = [call for p in preferences for call in (p.a_first, p.b_first) if call in ("1", "2")]
    return PositionBias(share(same, len(whole)), share(calls.count("1"), len(calls)))


def length_bias(preferred_longer: Sequence[bool | None]) -> tuple[float, float, float] | None:
    """Of the pairs that the verifier calls equal and of which the judge prefers one, the share where that is the longer
    one, with its interval; half is fair. None in the sequence: no preference, or equal lengths."""
    told = [longer for longer in preferred_longer if longer is not None]
    return share(sum(told), len(told))
