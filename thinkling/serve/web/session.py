"""What one user of the web chat has before them, and what each of their clicks makes of it.

An action changes the session at once and says which replies are now wanted. Pure: no model, no page, no clock. Left
out: how replies are drawn (answering.py) and how it all looks (transcript.py).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from thinkling.errors import UserError
from thinkling.evaluate.ranking.votes import Winner
from thinkling.problem import Problem
from thinkling.serve.arena import Match, matches
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
    answer that a person wrote. classes: of a vote, the winner first. verdict: the status and why."""

    pieces: tuple[Piece, ...] = ()
    dropped: int = 0
    yours: tuple[int, int] = (0, 0)
    classes: tuple[Class, ...] = ()
    verdict: tuple[str, str] | None = None


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
    are shown. epoch: counts the conversations that were begun. live: turns whose reply is being drawn. editing: a turn
    that is open for changes, or ROOT. toggled: (what, turn) that is shown otherwise than by default. note: one line to
    the user. stop: called to end what is being drawn."""

    models: tuple[str, ...]
    who: tuple[str, ...] = ()
    seed: int = 0
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

    def saved(self) -> dict:
        """What the browser keeps: nothing of it tells whose the replies are before the vote."""
        hidden = set(self.unvoted)
        turns = {id: replace(turn, pair=0, model="" if turn.pair in hidden else turn.model)
                 for id, turn in self.tree.turns.items()}  # fmt: skip
        return replace(self.tree, turns=turns).saved()

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


def cleaned(text: str) -> str:
    """Text from a browser, without halves of characters, which no tokenizer reads."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n")


# --- actions: (session, turn, what was typed) -> the replies that are wanted ---


@dataclass(frozen=True)
class Fields:
    """What was typed: a message (text), a message said otherwise (said), a reply's changed parts; what: is toggled."""

    text: str = ""
    said: str = ""
    thinking: str = ""
    answer: str = ""
    what: str = ""

    @classmethod
    def of(cls, given: Mapping) -> "Fields":
        """From a browser: what is no text is left out."""
        names = ("text", "said", "thinking", "answer", "what")
        return cls(**{name: cleaned(given[name]) for name in names if isinstance(given.get(name), str)})


def send(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """A message behind all that is shown; in the place of one that has no reply."""
    path = session.tree.path
    last = path[-1] if path else None
    parent = ROOT if last is None else last.parent if last.reply is None else last.id
    return asked(session, parent, fields.text)


def resend(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """A message said otherwise: a branch."""
    return asked(session, of_kind(session, turn, replied=False).parent, fields.said)


def asked(session: Session, parent: int, text: str) -> list[Wanted]:
    idle(session)
    said = text.strip()
    if not said:
        raise UserError("write a message first")
    session.tree = session.tree.add(parent, said=said)
    return replies(session, session.tree.next_id - 1)


def regenerate(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """One more reply to a message, or in the place of a reply."""
    idle(session)
    here = session.tree.turns[turn]
    return replies(session, turn if here.reply is None else here.parent)


def replies(session: Session, question: int) -> list[Wanted]:
    """Empty replies to a message, one for each who answers; of two, it is hidden whose they are."""
    session.editing = ROOT
    first = session.tree.next_id
    pair = first if len(session.who) > 1 else 0  # a number that no other pair has
    (match,) = matches(session.who, [str(first)], session.seed) if pair else (None,)
    for model in (match.first, match.second) if match else session.who:
        session.tree = session.tree.add(question, reply=Reply(), model=model, pair=pair)
    made = tuple(range(first, session.tree.next_id))
    if pair:
        session.tree = session.tree.choose(first)
        session.pairs[pair] = Pair(match, made)
    session.live.update(made)
    return [Wanted(turn) for turn in made]


def edit(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    idle(session)
    pair = session.pairs.get(session.tree.turns[turn].pair)
    if pair is not None and not pair.winner:
        raise UserError("vote first, or look at the names: an edited reply has its model's name")
    session.editing = turn
    return []


def cancel(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    session.editing = ROOT
    return []


def keep(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """A reply as the person changed it, beside the one that it was."""
    idle(session)
    here = of_kind(session, turn, replied=True)
    changed = Reply(fields.thinking, fields.answer)
    if not (changed.thinking or changed.answer):
        raise UserError("nothing is left of the reply: leave a word, or go back")
    session.tree = session.tree.add(here.parent, reply=changed, model=here.model)
    session.told[session.tree.next_id - 1] = Told(yours=(len(changed.thinking), len(changed.answer)))
    session.editing = ROOT
    return []


def think_on(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """Go on from the thinking as it was changed; the answer behind it is drawn anew."""
    return continued(session, turn, fields.thinking.strip("\n"), None)


def answer_on(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """Go on from the answer as it was changed, behind the thinking as it was changed."""
    thinking = fields.thinking.strip("\n")
    return continued(session, turn, thinking or None, fields.answer)


def continued(session: Session, turn: int, thinking: str | None, answer: str | None) -> list[Wanted]:
    idle(session)
    here = of_kind(session, turn, replied=True)
    begun = Reply(thinking or "", answer or "")
    session.tree = session.tree.add(here.parent, reply=begun, model=here.model)
    made = session.tree.next_id - 1
    session.told[made] = Told(yours=(len(begun.thinking), len(begun.answer)))
    session.live.add(made)
    session.editing = ROOT
    return [Wanted(made, thinking, answer)]


def earlier(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    return moved(session, turn, -1)


def later(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    return moved(session, turn, 1)


def moved(session: Session, turn: int, step: int) -> list[Wanted]:
    session.tree, session.editing = session.tree.move(turn, step), ROOT
    return []


def follow_this(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """Of two replies side by side: the one that the conversation goes on from."""
    session.tree = session.tree.choose(turn)
    return []


def toggle(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    session.toggled ^= {(fields.what, turn)}
    return []


def stop(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    session.stop()
    return []


def clear(session: Session, turn: int, fields: Fields) -> list[Wanted]:
    """A new conversation."""
    session.stop()
    vars(session).update(vars(Session(session.models, session.who, session.seed, session.epoch + 1)))
    return []


ACTIONS: dict[str, Callable[[Session, int, Fields], list[Wanted]]] = {
    "send": send, "resend": resend, "regenerate": regenerate, "edit": edit, "cancel": cancel, "keep": keep,
    "think-on": think_on, "answer-on": answer_on, "earlier": earlier, "later": later, "follow": follow_this,
    "toggle": toggle, "stop": stop, "clear": clear,
}  # fmt: skip


def act(session: Session, action: str, turn: int = ROOT, fields: Fields | None = None) -> list[Wanted]:
    """Do what was clicked. Raises UserError where that cannot be; then nothing has changed."""
    session.note = ""
    known = turn in session.tree.turns or (turn == ROOT and action in ("send", "stop", "clear", "cancel"))
    if action not in ACTIONS or not known:
        raise UserError("this page is older than the conversation: load it again")
    return ACTIONS[action](session, turn, fields or Fields())


def idle(session: Session) -> None:
    if session.live:
        raise UserError("a reply is still being written: stop it first")


def of_kind(session: Session, turn: int, replied: bool) -> Turn:
    found = session.tree.turns[turn]
    if (found.reply is not None) != replied:
        raise UserError("this page is older than the conversation: load it again")
    return found


# --- the vote ---


def question_of(session: Session, pair: Pair) -> Turn:
    return session.tree.turns[session.tree.turns[pair.turns[0]].parent]


def decide(session: Session, number: int, winner: str) -> Pair:
    """The vote on a pair, from which on the names are shown; the better reply is gone on from."""
    pair = session.pairs.get(number)
    if pair is None or pair.winner or set(pair.turns) & session.live:
        raise UserError("there is no vote open here: both replies must be complete, and a vote is final")
    if winner not in ("model_a", "model_b", "tie", "both bad", "shown"):
        raise UserError("this page is older than the conversation: load it again")
    pair.winner = winner
    if winner in ("model_a", "model_b"):
        session.tree = session.tree.choose(pair.turns[winner == "model_b"])
    return pair


def problem_id(session: Session, pair: Pair, known: Callable[[str], Problem | None]) -> str:
    """What the votes on one question have in common: the problem's id, or a digest of the conversation up to it."""
    found = known(question_of(session, pair).said)
    said = [turn.message for turn in session.tree.up_to(question_of(session, pair).id)]
    return found.id if found else "chat/" + hashlib.sha256(repr(said).encode()).hexdigest()[:12]
