"""A session as HTML: the turns that are shown, and the buttons on each (their data-act is one of actions.ACTIONS).

Text of models and persons is never markup: everything goes through `safe`, formulas become MathML of listed elements.
Left out: how it looks (style.py) and what a click does (page.py hands it to actions.act).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from thinkling.report.explain_words import percent, with_signs
from thinkling.report.formulas import html_of, pieces
from thinkling.report.formulas import tree as mathml
from thinkling.report.page import safe
from thinkling.serve.reply import Reply
from thinkling.serve.web.answering import margin_of
from thinkling.serve.web.session import Pair, Piece, Session, Told
from thinkling.serve.web.tree import Turn
from thinkling.words import counted

VERDICTS = {"correct": ("✓", "correct"), "incorrect": ("✗", "incorrect"), "unparsed": ("?", "no answer found")}
VOTES = (("model_a", "A is better"), ("model_b", "B is better"), ("tie", "Tie"), ("both bad", "Both bad"),
         ("shown", "Show names, no vote"))  # fmt: skip


def transcript(session: Session, greeting: str) -> str:
    """All that is shown of a session."""
    path = session.tree.path
    shown = "".join(turn_html(session, turn, last=turn is path[-1]) for turn in path)
    note = f'<p class="note loud" role="alert">{safe(session.note)}</p>' if session.note else ""
    return (shown or f'<p class="greeting">{safe(greeting)}</p>') + note


def turn_html(session: Session, turn: Turn, last: bool) -> str:
    if turn.reply is None:
        return question_html(session, turn, last)
    pair = session.pairs.get(turn.pair)
    if pair is None:
        return reply_html(session, turn, last)
    sides = [session.tree.turns[id] for id in pair.turns]
    both = "".join(reply_html(session, side, last, name) for side, name in zip(sides, "AB", strict=True))
    return f'<div class="pair">{both}</div>{vote_html(session, turn.pair, pair)}'


def question_html(session: Session, turn: Turn, last: bool) -> str:
    if session.editing == turn.id:
        form = f"{area('said', 'Your message', turn.said)}{bar(button('resend', turn, 'Send as a branch'), back(turn))}"
        return f'<article class="person" data-form>{form}</article>'
    tools = [steps(session, turn), button("edit", turn, "Edit")]
    tools += [button("regenerate", turn, "Answer")] if last else []
    return f'<article class="person"><div class="text">{text_html(turn.said)}</div>{bar(*tools)}</article>'


def reply_html(session: Session, turn: Turn, last: bool, side: str = "") -> str:
    told, reply = session.told.get(turn.id, Told()), turn.reply
    if session.editing == turn.id:
        return f'<article class="model" data-form>{editor(turn)}</article>'
    live, raw = turn.id in session.live, ("tokens", turn.id) in session.toggled
    who = session.model_shown(turn)
    name = f"<header><b>{safe(' · '.join(filter(None, (side, who))))}</b></header>" if side or who else ""
    answer = text_html(reply.answer, [p for p in told.pieces if not p.thinking], told.yours[1], raw)
    waits = '<span class="waits" aria-label="a reply is being written"></span>' if live else ""
    body = f'<div class="text">{answer}{waits}</div>' if answer or waits else ""
    tools = "" if live else tools_html(session, turn, told, side)
    kind = f"model{' live' if live else ''}{' raw' if raw else ''}"
    return (
        f'<article class="{kind}">{name}{thought_html(session, turn, told, last, raw)}{body}'
        f"{classes_html(told)}{verdict_html(session, turn, told)}{tools}</article>"
    )


def thought_html(session: Session, turn: Turn, told: Told, last: bool, raw: bool) -> str:
    """The thinking: open while it goes on and in the last turn, else folded; a click says otherwise."""
    reply = turn.reply
    if not reply.thinking:
        return ""
    folded = (not last) != (("fold", turn.id) in session.toggled)
    busy = turn.id in session.live and not reply.answer
    facts = [f"{reply.thought_seconds:.1f} s"] if reply.thought_seconds else []
    facts += [counted(reply.num_thinking, "token")] if reply.num_thinking else []
    title = " · ".join(["Thinking" if busy else "Thought", *facts])
    text = text_html(reply.thinking, [p for p in told.pieces if p.thinking], told.yours[0], raw)
    body = "" if folded else f'<div class="text">{text}</div>'
    state = f'aria-expanded="{"false" if folded else "true"}"'
    head = button("toggle", turn, ("▸ " if folded else "▾ ") + title, f'data-what="fold" {state}')
    return f'<section class="thought">{head}{body}</section>'


def classes_html(told: Told) -> str:
    """The answers of a vote, each as a bar."""
    if not told.classes:
        return ""
    most = sum(one.votes for one in told.classes)
    rows = "".join(
        f'<li style="--share:{one.votes / most:.1%}"><b>{safe(one.answer[:60]) or "no answer"}</b><i></i>'
        f"<span>{one.votes}</span></li>"
        for one in told.classes
    )
    return (f'<div class="classes"><ul>{rows}</ul><p>{counted(most, "sample")} · the first is ahead by '
            f"{margin_of(told.classes)}</p></div>")  # fmt: skip


def verdict_html(session: Session, turn: Turn, told: Told) -> str:
    """What the verifier says; of two replies that are voted on only after the vote, which it would else decide."""
    if told.verdict is None or turn.pair in session.unvoted:
        return ""
    status, reason = told.verdict
    sign, words = VERDICTS[status]
    return f'<p class="verdict {status}"><b>{sign} {words}</b> {safe(reason)}</p>'


def tools_html(session: Session, turn: Turn, told: Told, side: str) -> str:
    reply, hidden = turn.reply, side and not session.model_shown(turn)
    tools = [steps(session, turn) if side in ("", "A") else ""]
    tools += [] if hidden else [button("edit", turn, "Edit")]
    tools += [button("regenerate", turn, "Again")] if side in ("", "A") else []
    if told.pieces:
        shown = ("tokens", turn.id) in session.toggled
        tools.append(button("toggle", turn, "Text" if shown else "Tokens", 'data-what="tokens"'))
    if side and not hidden:
        chosen = session.tree.chosen[turn.parent] == turn.id
        tools.append(
            '<span class="fact">goes on from here</span>' if chosen else button("follow", turn, "Go on from here")
        )
    return bar(*tools, f'<span class="fact">{safe(figures(reply, told))}</span>')


def figures(reply: Reply, told: Told) -> str:
    parts = []
    if reply.num_tokens:
        parts.append(
            f"{counted(reply.num_tokens, 'token')}, {reply.num_tokens / max(reply.seconds, 1e-9):,.0f} per second"
        )
    parts += ["stopped"] if reply.stopped else ["cut off at its longest"] if reply.cut else []
    if any(told.yours):
        parts.append("begun by you" if reply.num_tokens else "changed by you")
    parts += [f"the {counted(told.dropped, 'oldest turn')} did not fit"] if told.dropped else []
    parts += ["no alternatives of tokens: the server tells no log-probabilities"] if told.silent else []
    return " · ".join(parts)


def vote_html(session: Session, number: int, pair: Pair) -> str:
    """The buttons of a vote; once it is cast, what it was."""
    if set(pair.turns) & session.live:
        return ""
    a, b = (session.tree.turns[id].reply for id in pair.turns)
    if not pair.winner:
        same = a.answer.strip() == b.answer.strip()
        offered = VOTES[-1:] if same else VOTES
        buttons = "".join(
            f'<button type="button" data-act="vote" data-turn="{number}" data-what="{winner}">{words}</button>'
            for winner, words in offered
        )
        said = "Both answered the same: nothing to vote on." if same else "Which is better? Names are shown afterwards."
        return f'<div class="vote"><p>{said}</p>{buttons}</div>'
    names = dict(zip(("model_a", "model_b"), (pair.match.first, pair.match.second), strict=True))
    said = {"tie": "You voted for a tie.", "both bad": "You found both bad.", "shown": "No vote was given."}
    return f'<div class="vote"><p>{safe(said.get(pair.winner) or f"You voted for {names[pair.winner]}.")}</p></div>'


def editor(turn: Turn) -> str:
    """A reply open for changes."""
    reply = turn.reply
    thinks = area("thinking", "Thinking", reply.thinking) if reply.thinking else ""
    on = [button("think-on", turn, "Go on thinking from here")] if reply.thinking else []
    on += [button("answer-on", turn, "Go on from this answer"), button("keep", turn, "Keep it so"), back(turn)]
    return f"{thinks}{area('answer', 'Answer', reply.answer)}{bar(*on)}"


# --- parts ---


def button(action: str, turn: Turn, words: str, more: str = "") -> str:
    return f'<button type="button" data-act="{action}" data-turn="{turn.id}" {more}>{words}</button>'


def back(turn: Turn) -> str:
    return button("cancel", turn, "Back")


def bar(*tools: str) -> str:
    return f'<div class="bar">{"".join(tools)}</div>'


def area(name: str, label: str, text: str) -> str:
    rows = min(14, max(2, text.count("\n") + 1 + len(text) // 80))
    return f'<label>{label}<textarea data-field="{name}" rows="{rows}">\n{safe(text)}</textarea></label>'


def steps(session: Session, turn: Turn) -> str:
    """The way to what else was said in a turn's place."""
    num, at = len(session.tree.alternatives(turn.id)), session.tree.place(turn.id)
    if num == 1:
        return ""
    before = button("earlier", turn, "‹", f'aria-label="the one before"{"" if at else " disabled"}')
    after = button("later", turn, "›", f'aria-label="the next one"{"" if at < num - 1 else " disabled"}')
    return f'<span class="steps">{before}<span>{at + 1} of {num}</span>{after}</span>'


def text_html(text: str, tokens: Sequence[Piece] = (), yours: int = 0, raw: bool = False) -> str:
    """Text with its formulas, unless it is raw, and each token with its alternatives in data-tip. yours: characters
    that a person wrote, before the first token."""
    return drawn(text, tuple(tokens), yours, raw)


@lru_cache(maxsize=256)
def drawn(text: str, tokens: tuple[Piece, ...], yours: int, raw: bool) -> str:
    places = list(spans(text, tokens, yours))
    made, at = [], 0
    for piece in [text] if raw else pieces(text):
        formula = None if isinstance(piece, str) else mathml(piece[0], piece[1])
        written = piece if isinstance(piece, str) else piece[2]
        end = at + len(written)
        made.append(html_of(formula) if formula is not None else within(text, places, at, end))
        at = end
    return "".join(made)


def spans(text: str, tokens: Sequence[Piece], yours: int) -> Iterator[tuple[int, int, Piece]]:
    """Where each token stands in the text; nothing where they do not make it up. (They also have the tags of thinking,
    and the line breaks next to those.)"""
    whole, rest = "".join(token.text for token in tokens), text[yours:]
    start = whole.find(rest.strip("\n"))
    if start < 0 or not rest:
        return
    at = yours + len(rest) - len(rest.lstrip("\n")) - start
    for token in tokens:
        low, high = max(at, yours), min(at + len(token.text), len(text))
        if low < high:
            yield low, high, token
        at += len(token.text)


def within(text: str, places: Sequence[tuple[int, int, Piece]], start: int, end: int) -> str:
    """A part of the text, escaped, its tokens in spans."""
    made, at = [], start
    for low, high, token in places:
        low, high = max(low, at), min(high, end)
        if low < high:
            made += [safe(text[at:low]), token_html(text[low:high], token)]
            at = high
    return "".join([*made, safe(text[at:end])])


def token_html(text: str, token: Piece) -> str:
    own = with_signs(token.text).replace(" ", "·")
    rows = [("▸ " if name == own else "  ", name, share) for name, share in token.alternatives]
    rows += [] if any(sign.strip() for sign, _, _ in rows) else [("▸ ", own, token.probability)]
    width = max(len(name) for _, name, _ in rows)
    tip = "\n".join(f"{sign}{name:<{width}}  {percent(share)}" for sign, name, share in rows)
    heat = f"{1 - min(1.0, token.probability):.0%}"
    return f'<span class="t" style="--heat:{heat}" data-tip="{safe(tip)}">{safe(text)}</span>'
