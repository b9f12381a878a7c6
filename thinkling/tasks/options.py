"""Multiple choice: a stem and its options as a problem, read from the forms of benchmarks; options in another order.

The problem's question lists the options by letter and its reference is a letter, so any method of `thinkling eval` can
ask it and the verifier `choice` judge it. Its metadata keep the stem and the options apart.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from string import ascii_uppercase

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.tasks.columns import Columns, as_json, simple

HOW = "Answer with the letter of the right option."
# An option that speaks of the others, or of their places, means something else in another order.
_ABOUT_OTHERS = re.compile(r"\b(?:all|both|none|neither|any|each|two|three)\b.*\b(?:above|below|these|following)\b"
                           r"|\b(?:above|below)\b|\b[A-J] (?:and|or|nor) [A-J]\b", re.IGNORECASE)  # fmt: skip


def question_of(stem: str, options: Sequence[str]) -> str:
    return "\n".join([stem, *listed(options), HOW])


def listed(options: Sequence[str]) -> list[str]:
    return [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]


def with_options(problem: Problem, options: Sequence[str], right: int) -> Problem:
    """The problem, whose question is the stem, as multiple choice; right: the place of the right option, from 0."""
    stem = problem.metadata.get("stem", problem.question)
    return replace(problem, question=question_of(stem, options), reference=ascii_uppercase[right], verifier="choice",
                   metadata={**problem.metadata, "stem": stem, "options": list(options)})  # fmt: skip


def options_of(problem: Problem) -> list[str]:
    """Raises UserError where the problem is no multiple choice."""
    found = problem.metadata.get("options")
    if problem.verifier != "choice" or not found:
        raise UserError(f"{problem.id} has no options to choose from: give multiple choice, such as mmlu, "
                        "choice:builtin or a file with a column 'options'")  # fmt: skip
    return list(found)


def shuffled(problem: Problem, seed: int) -> Problem:
    """The same problem, by the same id, with its options in an order that the seed and the id give.

    Options that speak of each other ("all of the above", "both A and B") stay where they are.
    """
    options = options_of(problem)
    if any(_ABOUT_OTHERS.search(option) for option in options):
        return problem
    order = Random(f"options/{seed}/{problem.id}").sample(range(len(options)), len(options))
    right = ascii_uppercase.index(problem.reference)
    return with_options(problem, [options[place] for place in order], order.index(right))


# Rows


def from_row(where: str, row: Mapping, columns: Columns) -> tuple[list[str], int] | None:
    """The options of a row and the place of the right one, from 0; None where the row has no options.

    Raises UserError where it has, and which one is right cannot be told.
    """
    names = {simple(name): name for name in row if isinstance(name, str)}
    if "correctanswer" in names and "incorrectanswer1" in names:  # GPQA's: the right one stands first
        wrong = [row[names[f"incorrectanswer{i}"]] for i in range(1, 26) if f"incorrectanswer{i}" in names]
        return checked(where, [row[names["correctanswer"]], *(option for option in wrong if option is not None)]), 0
    options, labels = found_in(where, columns.of(row, "options"), row, names)
    if not options:
        return None
    options = checked(where, options)
    return options, place_of(where, columns.of(row, "reference"), options, labels)


def found_in(where: str, value: object, row: Mapping, names: Mapping[str, str]) -> tuple[list, list[str]]:
    """The options, and the labels that a row gives them, where these are not A, B, C, ...: from a list,
    {"text": [...], "label": [...]}, {"A": ..., "B": ...}, or the columns A, B, C, ... (also option_a, choice_a)."""
    value = as_json(value)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        return value["text"], [str(label) for label in value.get("label") or []]
    if isinstance(value, Mapping):
        return list(value.values()), [str(label) for label in value]
    if isinstance(value, list):
        return value, []
    if value is not None:
        raise UserError(f"{where}: the field 'options' must be a list or an object, not {value!r:.60}")
    for prefix in ("", "option", "choice"):
        columns = [names[key] for letter in ascii_uppercase if (key := f"{prefix}{letter.lower()}") in names]
        if len(columns) >= 2:
            filled = [(name, row[name]) for name in columns if row[name] is not None]
            labels = [name[-1].upper() for name, _ in filled]
            return [option for _, option in filled], [] if "".join(labels) in ascii_uppercase else labels
    return [], []


def checked(where: str, options: Sequence[object]) -> list[str]:
    if not all(isinstance(option, str | int | float) for option in options):
        raise UserError(f"{where}: the options must be texts or numbers, not {options!r:.80}")
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise UserError(f"{where}: {len(options)} options: multiple choice has from 2 to {len(ascii_uppercase)}")
    return [str(option).strip() for option in options]


def place_of(where: str, reference: object, options: Sequence[str], labels: Sequence[str]) -> int:
    """Which option a reference names: by its label, its letter, its text, or, as a whole number, its place from 0."""
    text = str(reference).strip() if reference is not None else ""
    readings = set()
    if isinstance(reference, int) and not isinstance(reference, bool) and not labels:
        readings = {reference} & set(range(len(options)))
    elif text in labels:
        readings = {labels.index(text)}
    elif options.count(text) == 1:
        readings = {options.index(text)}
        readings |= {ascii_uppercase.index(text)} if text in ascii_uppercase[: len(options)] else set()
    elif len(text) == 1 and text.upper() in ascii_uppercase[: len(options)]:
        readings = {ascii_uppercase.index(text.upper())}
    elif text.isdecimal() and int(text) < len(options):
        readings = {int(text)}
    if len(readings) != 1:
        what = "may name two of" if readings else "names none of"
        raise UserError(f"{where}: the reference {text[:40]!r} {what} its {len(options)} options: give a letter, the "
                        "option's own text, or its place as a whole number from 0")  # fmt: skip
    return readings.pop()
