"""Drafts of solutions with one planted mistake, and the reviews they deserve.

A mistake is one that a solver makes: a sentence misread (another sign, another number, another quantity), a wrong
result, or another line's result put in. It spreads: the lines behind it are worked out from it. A review goes from line
to line and ends at the wrong one, with the reason; so each of its lines says only what one line of the draft shows.
"""

import re
from dataclasses import replace
from random import Random

from thinkling.tasks.quantities import Made, Step, apply, operands, order, relation, results, worked, write

NO_MISTAKE = "No mistake."
NEAR = (-10, -2, -1, 1, 2, 10)
MISREAD = 0.6  # of the mistakes; the others are made in working out


def spoil_quantities(made: Made, random: Random) -> tuple[list[str], int, str, int] | None:
    """The draft's lines, the number of the wrong one, what is wrong there, and the answer that the draft arrives at;
    None where this mistake cannot be made, or leads to the right answer."""
    derived = [place for place, step in enumerate(made.steps) if step.sign]
    misread = random.random() < MISREAD
    place = random.randrange(len(made.steps)) if misread else random.choice(derived)
    found = misreading(made, place, random) if misread else slip(made, place, random)
    if found is None:
        return None
    steps, slipped, reason = found
    drafted = _drafted(steps, place, slipped)
    if drafted is None or drafted[0][-1] == results(made.steps)[-1]:
        return None
    values, text = drafted
    worked_wrong = not misread or not made.steps[place].sign
    at = [(own.place, own.worked) for own in order(steps)].index((place, worked_wrong))
    return text, at + 1, reason, values[-1]


def misreading(made: Made, place: int, random: Random) -> tuple[tuple[Step, ...], None, str] | None:
    """The steps with one that the problem does not say."""
    step = made.steps[place]
    if not step.sign or random.random() < 0.5:
        numbers = [side for side in ("left", "right")[: 2 if step.sign else 1] if getattr(step, side) >= 0]
        told = [int(n) for n in re.findall(r"\d+", made.question)]
    else:
        numbers = [side for side in ("left", "right") if getattr(step, side) < 0]
        told = [~other for other in range(place)]
    if not numbers or (step.sign and random.random() < 1 / 3):
        if not step.sign:
            return None
        wrong = replace(step, sign=random.choice([sign for sign in "+-*/" if sign != step.sign]))
    else:
        side = random.choice(numbers)
        others = [other for other in told if other not in (step.left, step.right)]
        if not others:
            return None
        wrong = replace(step, **{side: random.choice(others)})
    right = relation(step, made.steps) if step.sign else worked(step, step.left, 0, step.left)
    return (*made.steps[:place], wrong, *made.steps[place + 1 :]), None, f"the problem says {right}"


def slip(made: Made, place: int, random: Random) -> tuple[tuple[Step, ...], tuple[int, int, int], str] | None:
    """The line that works a step out, as it should not be: its two numbers and the result."""
    step, values = made.steps[place], results(made.steps)
    left, right = operands(step, values)
    equation = f"{left} {step.sign} {right} = {values[place]}"
    if random.random() < 0.5:
        result = max(0, values[place] + random.choice(NEAR))
        return made.steps, (left, right, result), f"{equation}, not {result}"
    sides = [i for i, side in enumerate((step.left, step.right)) if side < 0]
    side = random.choice(sides)
    truth = (left, right)[side]
    others = [value for value in values[:place] if value != truth]
    if not others:
        return None
    both = [left, right]
    both[side] = random.choice(others)
    result = apply(step.sign, *both)
    if result is None:
        return None
    label = made.steps[~(step.left, step.right)[side]].label
    return made.steps, (*both, result), f"{label} = {truth}, not {both[side]}"


def _drafted(
    steps: tuple[Step, ...], place: int, slipped: tuple[int, int, int] | None
) -> tuple[list[int], list[str]] | None:
    """Every step's value and the lines, each worked out from those before; None where one does not come out."""
    values: list[int] = []
    rows: list[tuple[int, int, int]] = []
    for i, step in enumerate(steps):
        left, right = operands(step, values)
        value = apply(step.sign, left, right)
        row = slipped if slipped is not None and i == place else (left, right, value)
        if row[2] is None:
            return None
        rows.append(row)
        values.append(row[2])
    return values, write(steps, rows)


def spoil(solution: str, random: Random) -> tuple[str, str]:
    """Put one wrong result into a worked solution and let it spread; returns the draft and the critique it deserves."""
    lines = solution.split("\n")
    places = [i for i, line in enumerate(lines) if re.search(r"= \$?\d+$|= \$?\d+[ .]", line)] or [len(lines) - 1]
    place = random.choice(places)
    right = re.findall(r"\d+", lines[place])[-1]
    wrong = str(max(0, int(right) + random.choice([-10, -2, -1, 1, 2, 10])))
    if wrong == right:
        wrong = right + "0"
    number = re.compile(rf"(?<![\d.]){right}(?![\d.]*\d)")
    before, after = lines[place].rsplit(right, 1)
    draft = [*lines[:place], f"{before}{wrong}{after}", *(number.sub(wrong, line) for line in lines[place + 1 :])]
    if draft[-1] == lines[-1]:  # the mistake did not reach the answer: an answer that follows from it is wrong too
        answer = re.search(r"\d+", lines[-1]).group()
        spoilt = abs(int(answer) + int(wrong) - int(right))
        draft[-1] = lines[-1].replace(answer, str(spoilt if spoilt != int(answer) else spoilt + 1), 1)
    return "\n".join(draft), f"Step {place + 1} is wrong: {lines[place]}"


def review(num_lines: int, wrong_line: int | None, reason: str = "") -> str:
    """Line by line, up to the wrong one."""
    right = [f"Line {i} is right." for i in range(1, wrong_line or num_lines + 1)]
    return "\n".join([*right, NO_MISTAKE if wrong_line is None else f"Line {wrong_line} is wrong: {reason}."])


def grade_of(draft_lines: int, wrong_line: int | None, boxed_only: bool) -> int:
    """What a strict reader gives, from 0 to 10: right and reasoned 10, right and bare 9; wrong, the more the later."""
    if wrong_line is None:
        return 9 if boxed_only else 10
    return 0 if boxed_only else round(4 * (wrong_line - 1) / draft_lines)
