"""Credit where it is due: a completion's equations, each judged by itself, at its own tokens.

The reward of an answer says that something was wrong, not what. But a worked solution states equations on the way, and
whether `10 + 38 = 58` holds is as checkable as the answer: process supervision (DeepSeekMath, arXiv:2402.03300, section
4.1.3) without a reward model. What stands behind an equals sign is a claim; its tokens get weight x (1 if it holds,
else 0, less the mean over the group's claims), on top of the completion's advantage.

It differs from the paper: a claim's credit stays at its own tokens and is not given to those before it, and it is not
divided by a deviation. Left out: equations with variables, and whether the right equation was set up at all.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.train.rl.trajectory import turns
from thinkling.verify.verifier import verifier_named

NUMBER = r"\$?\(?-?\d+(?:\.\d+)?(?:/\d+)?%?\)?"
WORDS = r"(?: [A-Za-z']{2,}){0,8} ?"  # 8 skeins per poncho + 5 skeins per shawl = 13 skeins
SIDE = rf"{NUMBER}(?:{WORDS}[-+*/] ?{NUMBER})*"
# A whole equation: nothing before it or behind it that would belong to its first or last side.
EQUATION = re.compile(rf"(?<![\w.$])(?<![-+*/(] )(?<![-+*/(]){SIDE}(?:{WORDS}= ?{SIDE})+(?![\w/*%])(?! [-+*/])")


@dataclass(frozen=True)
class Claim:
    """What stands behind an equals sign: its characters in the text, and whether it equals what stands before."""

    start: int
    end: int
    holds: bool


def claims(text: str) -> Iterator[Claim]:
    """Of a = b = c, b is judged against a and c against b."""
    for equation in EQUATION.finditer(text):
        start, sides = equation.start(), []
        for side in equation.group().split("="):
            sides.append((side, start))
            start += len(side) + 1
        for (left, _), (right, at) in pairwise(sides):
            first = at + len(right) - len(right.lstrip())
            yield Claim(first, at + len(right.rstrip()), holds(bare(left), bare(right)))


def bare(side: str) -> str:
    """Its arithmetic, without words and currency."""
    return re.sub(r"[A-Za-z$' ]", "", side)


def holds(left: str, right: str) -> bool:
    """An equation is mathematics, whoever judges the problem."""
    return verifier_named("math").same_answer(left, right)


def credits(texts: Sequence[str], pieces: Sequence[Sequence[bytes]], weight: float) -> list[tuple[float, ...]]:
    """The credit of each token of a group's completions, () for one without a claim.

    pieces: the bytes of each token; together they begin with the text's.
    """
    found = [list(claims(text)) for text in texts]
    every = [claim.holds for own in found for claim in own]
    if all(every) or not any(every):  # also if there is none: nothing to tell apart
        return [()] * len(texts)
    baseline = sum(every) / len(every)
    return [
        at_tokens(text, own, parts, weight, baseline) for text, own, parts in zip(texts, found, pieces, strict=True)
    ]


def trajectory_credits(
    model: LanguageModel, trajectories: Sequence[Completion], weight: float
) -> list[tuple[float, ...]]:
    """The credits of a group's trajectories. Each turn is read by itself: what was given between is no claim of the
    model's."""
    places = [(number, turn) for number, own in enumerate(trajectories) for turn in turns(own)]
    texts = [model.text_of(trajectories[number].tokens[turn]) for number, turn in places]
    pieces = [model.pieces(own) for own in trajectories]
    found = credits(texts, [pieces[number][turn] for number, turn in places], weight)
    values = [[0.0] * len(own.tokens) for own in trajectories]
    for (number, turn), credit in zip(places, found, strict=True):
        values[number][turn] = credit or values[number][turn]
    return [tuple(own) if any(own) else () for own in values]


def at_tokens(
    text: str, own: Sequence[Claim], pieces: Sequence[bytes], weight: float, baseline: float
) -> tuple[float, ...]:
    """A token belongs to a claim if one of its bytes does; the later claim wins."""
    if not own:
        return ()
    ends = list(accumulate(len(piece) for piece in pieces))
    starts = [0, *ends[:-1]]
    values = [0.0] * len(pieces)
    for claim in own:
        first, last = (len(text[:place].encode()) for place in (claim.start, claim.end))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if start < last and end > first:
                values[i] = weight * (claim.holds - baseline)
    return tuple(values)
