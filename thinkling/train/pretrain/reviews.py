"""Drafts of solutions with one planted mistake, and the reviews they deserve.

A mistake is one that a solver makes: a wrong result, a wrong sign, a number of the wrong sentence, or another line's
result. It spreads: the lines behind it are worked out from it. A review names the line and the reason.
"""

import re
from dataclasses import replace
from random import Random

from thinkling.tasks.quantities import Made, apply, line, operands, results

NO_MISTAKE = "No mistake."
NEAR = (-10, -2, -1, 1, 2, 10)


def spoil_quantities(made: Made, random: Random) -> tuple[list[str], str, int] | None:
    """The draft's lines, its review, and the answer that it arrives at; None where this mistake cannot be made, or
    leads to the right answer."""
    values = results(made.steps)
    place = random.randrange(len(made.steps))
    step = made.steps[place]
    left, right = operands(step, values)
    wrong, result, reason = step, None, ""
    kind = random.choice(("result", "result", "sign", "operand", "operand"))
    if not step.sign or kind == "operand":
        side = random.choice(("left", "right") if step.sign else ("left",))
        truth = left if side == "left" else right
        others = [value for value in [*map(int, re.findall(r"\d+", made.question)), *values[:place]] if value != truth]
        if not others:
            return None
        other = random.choice(others)
        wrong = replace(step, **{side: other})
        given = getattr(step, side) >= 0
        reason = f"the problem says {truth}, not {other}" if given else (
            f"{lower(made.steps[~getattr(step, side)].label)} is {truth}, not {other}")  # fmt: skip
    elif kind == "sign":
        sign = random.choice([sign for sign in "+-*/" if sign != step.sign])
        wrong, reason = replace(step, sign=sign), f"the sign should be {step.sign}, not {sign}"
    else:
        result = max(0, values[place] + random.choice(NEAR))
        reason = f"{left} {step.sign} {right} is {values[place]}, not {result}"
    if kind != "result" and step.sign:
        reason += f", so {left} {step.sign} {right} = {values[place]}"
    steps = [*made.steps[:place], wrong, *made.steps[place + 1 :]]
    drafted: list[int] = []
    text = []
    for i, own in enumerate(steps):
        a, b = operands(own, drafted)
        value = result if i == place and result is not None else apply(own.sign, a, b)
        if value is None:
            return None
        drafted.append(value)
        text.append(line(own, a, b, value))
    if drafted[-1] == values[-1]:
        return None
    return text, f"Line {place + 1} is wrong: {reason}.", drafted[-1]


def lower(label: str) -> str:
    return f"the number of {label}" if " in " in label or "'s " in label else label


def grade_of(draft_lines: int, wrong_line: int | None, boxed_only: bool) -> int:
    """What a strict reader gives, from 0 to 10: right and reasoned 10, right and bare 9; wrong, the more the later."""
    if wrong_line is None:
        return 9 if boxed_only else 10
    return 0 if boxed_only else round(4 * (wrong_line - 1) / draft_lines)
