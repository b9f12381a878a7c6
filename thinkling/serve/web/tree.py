"""A conversation as a tree of turns: what else was said in a turn's place is kept, and one way leads through it.

Pure and frozen: every change makes another tree. Left out: who answers and how it looks.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from thinkling.errors import UserError
from thinkling.serve.reply import Reply

ROOT = 0  # the parent of first turns
MOST_SAVED = 5000  # turns of a tree that a browser may bring back


@dataclass(frozen=True)
class Turn:
    """A person's message (`said`) or a model's reply. parent: the turn that it follows. model: who replied. pair:
    replies with the same number, not 0, are shown side by side."""

    id: int
    parent: int
    said: str = ""
    reply: Reply | None = None
    model: str = ""
    pair: int = 0

    @property
    def message(self) -> dict:
        return {"role": "user", "content": self.said} if self.reply is None else self.reply.message


@dataclass(frozen=True)
class Tree:
    """turns: by id. chosen: which turn comes next behind each one that has any; behind ROOT, too. A person's message
    follows ROOT or a reply, a reply follows a message."""

    turns: Mapping[int, Turn] = field(default_factory=dict)
    chosen: Mapping[int, int] = field(default_factory=dict)

    # --- reading ---

    @property
    def path(self) -> list[Turn]:
        """The turns from the first to the last, along what is chosen."""
        found, at = [], ROOT
        while at in self.chosen:
            at = self.chosen[at]
            found.append(self.turns[at])
        return found

    def up_to(self, turn: int) -> list[Turn]:
        """The turns from the first to this one; [] for ROOT."""
        found = []
        while turn != ROOT:
            found.append(self.turns[turn])
            turn = self.turns[turn].parent
        return found[::-1]

    def children(self, parent: int) -> list[Turn]:
        """What was said behind a turn, in the order in which it was."""
        return [turn for _, turn in sorted(self.turns.items()) if turn.parent == parent]

    def alternatives(self, turn: int) -> list[list[Turn]]:
        """What was said in this turn's place, itself among it; replies that are shown side by side are one."""
        found: dict[tuple[int, int], list[Turn]] = {}
        for other in self.children(self.turns[turn].parent):
            found.setdefault((other.pair, 0 if other.pair else other.id), []).append(other)
        return list(found.values())

    def place(self, turn: int) -> int:
        """Which of its alternatives a turn is, from 0."""
        return next(i for i, group in enumerate(self.alternatives(turn)) if any(t.id == turn for t in group))

    @property
    def next_id(self) -> int:
        return max(self.turns, default=ROOT) + 1

    # --- changing ---

    def add(self, parent: int, *, said: str = "", reply: Reply | None = None, model: str = "", pair: int = 0) -> "Tree":
        """A new turn behind this one, which is chosen."""
        turn = Turn(self.next_id, parent, said, reply, model, pair)
        return Tree({**self.turns, turn.id: turn}, {**self.chosen, parent: turn.id})

    def put(self, turn: Turn) -> "Tree":
        """A turn as it now stands."""
        return replace(self, turns={**self.turns, turn.id: turn})

    def remove(self, turn: int) -> "Tree":
        """Without a turn that nothing follows; if it was chosen, the latest of the others is."""
        parent = self.turns[turn].parent
        turns = {id: other for id, other in self.turns.items() if id != turn}
        chosen = dict(self.chosen)
        if chosen[parent] == turn:
            others = [other.id for other in self.children(parent) if other.id != turn]
            chosen |= {parent: others[-1]} if others else {}
            chosen = chosen if others else {at: to for at, to in chosen.items() if at != parent}
        return Tree(turns, chosen)

    def choose(self, turn: int) -> "Tree":
        return replace(self, chosen={**self.chosen, self.turns[turn].parent: turn})

    def move(self, turn: int, step: int) -> "Tree":
        """To the alternative so many places further; at the ends it stays. What was chosen behind it stands."""
        groups = self.alternatives(turn)
        at = min(max(self.place(turn) + step, 0), len(groups) - 1)
        return self if any(t.id == turn for t in groups[at]) else self.choose(groups[at][0].id)

    # --- kept in a file or a browser ---

    def saved(self) -> dict:
        """As JSON holds it."""
        turns = [asdict(turn) for _, turn in sorted(self.turns.items())]
        return {"turns": turns, "chosen": {str(at): to for at, to in self.chosen.items()}}


def loaded(saved: object) -> Tree:
    """A tree of what `saved` wrote. It comes from a browser, so nothing of it is trusted: raises UserError."""
    try:
        rows, ways = saved["turns"], saved["chosen"]
        if len(rows) > MOST_SAVED:
            raise ValueError
        turns = [turn_of(row) for row in rows]
        tree = Tree({turn.id: turn for turn in turns}, {int(at): typed(to, int) for at, to in ways.items()})
        check(tree, turns)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError("the conversation that this browser has kept cannot be read: a new one begins") from None
    return tree


def turn_of(row: Mapping) -> Turn:
    names = {"id": int, "parent": int, "said": str, "model": str, "pair": int}
    reply = row["reply"]
    if reply is not None:
        reply = Reply(**{f.name: typed(reply[f.name], f.type) for f in fields(Reply)})
    return Turn(**{name: typed(row[name], kind) for name, kind in names.items()}, reply=reply)


def typed(value: object, kind: type) -> object:
    right = isinstance(value, kind if kind is not float else int | float) and (kind is bool or value is not True)
    if not right or (value is False and kind is not bool) or (kind is float and not math.isfinite(value)):
        raise ValueError
    return value


def check(tree: Tree, turns: list[Turn]) -> None:
    """Raises ValueError or KeyError where this is no tree."""
    right = len(tree.turns) == len(turns) and set(tree.chosen) == {turn.parent for turn in turns}
    for turn in turns:
        above = tree.turns[turn.parent] if turn.parent != ROOT else None
        asks = above is None or above.reply is not None
        right &= turn.parent < turn.id and (turn.reply is None) == asks  # so there is no circle
    right &= all(tree.turns[to].parent == at for at, to in tree.chosen.items())
    if not right or any(id <= ROOT for id in tree.turns):
        raise ValueError
