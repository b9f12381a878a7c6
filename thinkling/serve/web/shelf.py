"""What a browser keeps is one tree for all its tabs: what was said in another tab stands beside it as a branch.

A browser has one place for the page's data, which each tab writes whole. So the server knows, as long as it runs, what
the tabs of a browser have written, and gives each of them all of it to keep. Left out: conversations longer than
MOST_TEXT, of which each tab keeps its own.
"""

import re
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from thinkling.serve.web.tree import MOST_SAVED, ROOT, Tree, Turn

MOST_BROWSERS = 200  # the longest unused is forgotten
MOST_TEXT = 400_000  # characters of a tree: what a browser brings back must pass the door


class Shelf:
    """By browser, what its tabs have written. A browser's name is known to itself alone."""

    def __init__(self) -> None:
        self.trees: OrderedDict[str, Tree] = OrderedDict()

    def put(self, browser: str, tree: Tree) -> Tree:
        """A tab's conversation as it stands; returns what the browser is to keep, this one being shown. Of a browser
        without a name, nothing is put together."""
        if not browser:
            return tree
        kept = merged(tree, self.trees.get(browser, Tree()))
        self.trees[browser] = kept
        self.trees.move_to_end(browser)
        if len(self.trees) > MOST_BROWSERS:
            self.trees.popitem(last=False)
        return kept

    def take_away(self, browser: str, tree: Tree) -> None:
        """A tab begins a new conversation in the place of this one."""
        if browser in self.trees:
            self.trees[browser] = without(self.trees[browser], tree)


def browser_of(saved: object) -> str:
    """The name that a browser brings, or a new one."""
    name = saved.get("browser") if isinstance(saved, Mapping) else None
    return name if isinstance(name, str) and re.fullmatch(r"[\w-]{43}", name) else secrets.token_urlsafe(32)


def merged(mine: Tree, other: Tree) -> Tree:
    """A tree with what another has besides; what is shown is mine."""
    found, added = placed(other, mine), dict(mine.turns)
    chosen, at = dict(mine.chosen), {ROOT: ROOT} | found
    for id, turn in sorted(other.turns.items()):
        if id not in found:
            at[id] = max(added, default=ROOT) + 1
            added[at[id]] = replace(turn, id=at[id], parent=at[turn.parent])
    for parent, child in other.chosen.items():
        chosen.setdefault(at[parent], at[child])
    whole = Tree(added, chosen)
    return whole if len(added) <= MOST_SAVED and text_of(whole) <= MOST_TEXT else mine


def without(tree: Tree, gone: Tree) -> Tree:
    """A tree without the turns of another, but for those that lead to what the other does not have."""
    same = set(placed(gone, tree).values())
    stays = {turn.id for id in tree.turns if id not in same for turn in tree.up_to(id)}
    turns = {id: turn for id, turn in tree.turns.items() if id in stays}
    chosen = {turn.parent: id for id, turn in sorted(turns.items())}
    chosen |= {parent: child for parent, child in tree.chosen.items() if child in stays}
    return Tree(turns, chosen)


def placed(other: Tree, tree: Tree) -> dict[int, int]:
    """For each turn of another tree that this one has as well, at the end of the same way, its number here. What was
    said twice in one place is there twice: the first is the first."""
    here: Counter = Counter()
    known: dict[tuple, int] = {}
    for id, turn in sorted(tree.turns.items()):
        known[nth(here, turn.parent, turn)] = id
    at, seen = {ROOT: ROOT}, Counter()
    for id, turn in sorted(other.turns.items()):
        if turn.parent in at:
            same = known.get(nth(seen, at[turn.parent], turn))
            at |= {} if same is None else {id: same}
    return {id: place for id, place in at.items() if id != ROOT}


def nth(counts: Counter, parent: int, turn: Turn) -> tuple:
    """What was said behind this parent, and for which time."""
    words = (turn.said, None if turn.reply is None else (turn.reply.thinking, turn.reply.answer))
    counts[parent, words] += 1
    return parent, words, counts[parent, words]


def text_of(tree: Tree) -> int:
    """Characters."""
    return sum(len(turn.said) + (len(turn.reply.thinking + turn.reply.answer) if turn.reply else 0)
               for turn in tree.turns.values())  # fmt: skip
