"""Which column of a file is which: named by the person, or guessed from the names that benchmarks use.

A guess is told (`told`), so that nobody measures the wrong column without knowing.
"""

import json
import re
from collections.abc import Mapping, Sequence

from thinkling.errors import UserError

# What a column holds -> the names that it has in published benchmarks, the likelier first. Case, spaces, dashes and
# underscores do not count.
NAMES: dict[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "query", "input", "instruction", "stem"),
    "reference": ("reference", "answer", "target", "gold", "label", "correct answer", "answer key", "expected answer",
                  "final answer", "ground truth"),
    "options": ("options", "choices"),
    "subject": ("subject", "category", "subdomain", "topic"),
    "level": ("level", "difficulty"),
    "solution": ("solution", "rationale", "explanation", "cot content"),
    "verifier": ("verifier",),
    "metadata": ("metadata",),
}  # fmt: skip
AS_THEY_ARE = {"question": ("question", "problem"), "reference": ("reference", "answer")}  # which need no telling


def named_by(pairs: Sequence[str]) -> dict[str, str]:
    """The columns that a person named, as ROLE=COLUMN. Raises UserError where that is not what was written."""
    found = {}
    for pair in pairs:
        role, equals, column = pair.partition("=")
        if role not in NAMES or not equals or not column:
            raise UserError(f"--columns {pair}: write what the column holds and its name, as question=Problem: what it "
                            f"holds is one of {', '.join(NAMES)}")  # fmt: skip
        found[role] = column
    return found


class Columns:
    """Looks up what a row holds, and remembers which column it was found in."""

    def __init__(self, chosen: Mapping[str, str] | None = None) -> None:
        """chosen: role -> column; the other roles are guessed."""
        self.chosen = dict(chosen or {})
        self.found: dict[tuple[str, str], None] = {}
        self._names: dict[str, dict[str, str]] = {}

    def of(self, row: Mapping, role: str) -> object:
        """What this row holds in that role, or None."""
        column = self.chosen.get(role) or self._guess(row, role)
        value = None if column is None else row.get(column)
        if value is not None:
            self.found[role, column] = None
        return value

    def _guess(self, row: Mapping, role: str) -> str | None:
        plain = {simple(name): name for name in reversed(row) if isinstance(name, str) and row[name] is not None}
        return next((plain[name] for name in map(simple, NAMES[role]) if name in plain), None)

    def check(self, row: Mapping, where: str) -> None:
        """Raises UserError where a column that the person named is not there."""
        for role, column in self.chosen.items():
            if column not in row:
                there = ", ".join(sorted(map(str, row)))[:200]
                raise UserError(f"{where}: no column {column!r} for the {role}: it has {there}")

    def told(self) -> str:
        """The guesses in words, such as "question from 'Problem', options from 'choices'"; "" where there were none."""
        guessed = [(role, column) for role, column in self.found
                   if role not in self.chosen and column not in AS_THEY_ARE.get(role, (role,))]  # fmt: skip
        return ", ".join(f"{role} from {column!r}" for role, column in guessed)


def simple(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()


def as_json(value: object) -> object:
    """A list or an object that a table's cell holds as text, as what it is."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
