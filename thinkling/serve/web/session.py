"""What one user of the web chat has before them: the tree of turns, and what is known of each.

Pure: no model, no page, no clock. Left out: what clicks make of it (actions.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from thinkling.evaluate.ranking.votes import Winner
from thinkling.serve.arena import Match
from thinkling.serve.reply import Reply
from thinkling.serve.web.tree import ROOT, Tree, Turn


@dataclass(frozen=True)
class Wanted:
    """A reply that is to be drawn into this turn. begun_thinking, begun: how it begins, as a person wrote it; see
    context.Chat."""

    turn: int
    begun_thinking: str | None = None
    begun: str | None = None

    @property
    def goes_on(self) -> bool:
        return self.begun_thinking is not None or self.begun is not None


@dataclass(frozen=True)
class Piece:
    """A piece of a reply's text: a token, or several that make one character; alternatives: the likeliest tokens in its
    place and their probabilities. probability: its own."""

    text: str
    thinking: bool
    probability: float
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Class:
    """Samples of a vote with the same answer; "" for those that have none."""

    answer: str
    votes: int


@dataclass(frozen=True)
class Told:
    """What is known of a reply besides its text. dropped: turns that did not fit. yours: characters of thinking and of
    answer that a person wrote. classes: of a vote, the winner first. verdict: the status and why. silent: does the
    server tell no log-probabilities, and so no pieces?"""

    pieces: tuple[Piece, ...] = ()
    dropped: int = 0
    yours: tuple[int, int] = (0, 0)
    classes: tuple[Class, ...] = ()
    verdict: tuple[str, str] | None = None
    silent: bool = False


@dataclass
class Pair:
    """Two replies to one message, whose they are being hidden. turns: those shown as A and B. winner: "" before the
    vote; "shown" if the names are looked at without one."""

    match: Match
    turns: tuple[int, int]
    winner: Winner | str = ""


@dataclass
class Session:
    """models: all that there are, by name; who: those that answer next, one or two. seed: of the sides on which two
    are shown. browser: that this is a tab of, see Shelf. epoch: counts the conversations that were begun. live: turns
    whose reply is being drawn. editing: a turn that is open for changes, or ROOT. toggled: (what, turn) that is shown
    otherwise than by default. note: one line to the user. stop: called to end what is being drawn."""

    models: tuple[str, ...]
    who: tuple[str, ...] = ()
    seed: int = 0
    browser: str = ""
    epoch: int = 0
    tree: Tree = field(default_factory=Tree)
    told: dict[int, Told] = field(default_factory=dict)
    pairs: dict[int, Pair] = field(default_factory=dict)
    live: set[int] = field(default_factory=set)
    editing: int = ROOT
    toggled: set[tuple[str, int]] = field(default_factory=set)
    note: str = ""
    stop: Callable[[], None] = lambda: None

    # --- what is shown ---

    def model_shown(self, turn: Turn) -> str:
        """Who replied, where there are several and it may be known yet."""
        pair = self.pairs.get(turn.pair)
        return turn.model if len(self.models) > 1 and (pair is None or pair.winner) else ""

    @property
    def unvoted(self) -> list[int]:
        return [number for number, pair in self.pairs.items() if not pair.winner]

    def kept(self) -> Tree:
        """What the browser keeps: nothing of it tells whose the replies are before the vote."""
        hidden = set(self.unvoted)
        turns = {id: replace(turn, pair=0, model="" if turn.pair in hidden else turn.model)
                 for id, turn in self.tree.turns.items()}  # fmt: skip
        return replace(self.tree, turns=turns)

    # --- replies as they come ---

    def grow(self, turn: int, reply: Reply) -> None:
        self.tree = self.tree.put(replace(self.tree.turns[turn], reply=reply))

    def end(self, turn: int) -> None:
        """A reply is complete; one that says nothing goes, and one that was said before is told."""
        self.live.discard(turn)
        here = self.tree.turns[turn]
        said = (here.reply.thinking, here.reply.answer, here.model)
        others = [other for other in self.tree.children(here.parent) if other.id not in (turn, *self.live)]
        if not any(said[:2]):
            self.drop(turn)
        elif said in [(other.reply.thinking, other.reply.answer, other.model) for other in others]:
            self.note = self.note or "The same reply once more: a temperature above 0 makes others."

    def drop(self, turn: int) -> None:
        pair = self.pairs.pop(self.tree.turns[turn].pair, None)
        for other in pair.turns if pair else ():
            self.tree = self.tree.put(replace(self.tree.turns[other], pair=0))
        self.told.pop(turn, None)
        self.live.discard(turn)
        self.tree = self.tree.remove(turn)
