"""What each click in the web chat makes of a session: a table of actions, and the vote on two replies.

An action changes the session at once and says which replies are now wanted. Pure: no model, no page, no clock. Left
out: how replies are drawn (answering.py) and how it all looks (transcript.py).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.serve.arena import matches
from thinkling.serve.reply import Reply
from thinkling.serve.web.session import Pair, Session, Told, Wanted
from thinkling.serve.web.tree import ROOT, Turn


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
    epoch = session.epoch + 1
    vars(session).update(vars(Session(session.models, session.who, session.seed, session.browser, epoch)))
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
