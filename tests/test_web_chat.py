"""The web chat without its page: the tree of turns, what clicks make of a session, replies as they are drawn, and the
HTML of it all. The page itself is tried by test_web_page.py."""

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import boxed

from thinkling.errors import UserError
from thinkling.evaluate.ranking.votes import Vote, read_votes
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.serve.reply import Reply
from thinkling.serve.reply_parser import Delta
from thinkling.serve.security import Access
from thinkling.serve.web.actions import ACTIONS, Fields, act, decide
from thinkling.serve.web.answering import Controls, classes_of, margin_of
from thinkling.serve.web.door import COOKIE, Door
from thinkling.serve.web.known import Known
from thinkling.serve.web.page import House, controls_of, run, wire
from thinkling.serve.web.session import Class, Piece, Session, Told
from thinkling.serve.web.transcript import text_html, transcript
from thinkling.serve.web.tree import ROOT, Tree, loaded

# --- the tree ---

CLICKS = st.lists(st.tuples(st.sampled_from([*ACTIONS, "vote", "done"]), st.integers(0, 12), st.sampled_from("ab ")))


def well_formed(tree: Tree) -> None:
    """A person's message and a reply by turns on every way; each way is chosen at every fork."""
    for turn in tree.turns.values():
        above = tree.turns.get(turn.parent)
        assert (turn.reply is None) == (above is None or above.reply is not None)
        assert turn in tree.children(turn.parent) and tree.up_to(turn.id)[-1] == turn
        assert any(turn in group for group in tree.alternatives(turn.id))
    assert set(tree.chosen) == {turn.parent for turn in tree.turns.values()}
    assert all(tree.turns[to].parent == at for at, to in tree.chosen.items())
    assert [turn.parent for turn in tree.path] == [ROOT, *(turn.id for turn in tree.path)][: len(tree.path)]


@settings(max_examples=30)
@given(CLICKS, st.booleans())
def test_whatever_is_clicked_the_conversation_stays_a_tree(clicks: list[tuple[str, int, str]], two: bool) -> None:
    """Nothing that was said is ever changed or lost, but replies that say nothing; and what is saved comes back."""
    session = Session(("m", "n"), ("m", "n") if two else ("m",), seed=1)
    for action, turn, text in clicks:
        before, epoch = session.tree, session.epoch
        try:
            if action == "vote":
                decide(session, turn, "model_b")
            elif action == "done":
                for number in sorted(session.live):
                    session.grow(number, session.tree.turns[number].reply.grown(Delta(text.strip(), text.strip()), 1.0))
                    session.end(number)
            else:
                act(session, action, turn, Fields(text, text, text, text.strip(), "fold"))
        except UserError:
            assert session.tree == before  # what is refused changes nothing
        well_formed(session.tree)
        for turn in session.tree.turns.values():
            assert turn.reply != Reply() or turn.id in session.live  # what says nothing goes
        assert all(session.tree.turns[id].reply is not None for id in session.live)
        if session.epoch == epoch:
            kept = {id: turn for id, turn in before.turns.items() if turn.reply is None}
            assert kept.items() <= session.tree.turns.items()
        transcript(session, "hello")
        saved = session.kept().saved()
        assert loaded(json.loads(json.dumps(saved))).saved() == saved


def test_moving_there_and_back_is_where_one_was() -> None:
    tree = Tree().add(ROOT, said="a").add(1, reply=Reply(answer="x")).add(2, said="b").add(3, reply=Reply(answer="y"))
    other = tree.add(1, reply=Reply(answer="z"))
    assert [turn.id for turn in other.path] == [1, 5]
    assert other.move(5, -1).path == tree.path and other.move(5, -1).move(2, 1) == other
    assert other.move(5, 7) == other and other.move(5, -7).path == tree.path
    assert other.remove(5) == tree


def test_what_a_browser_brings_is_not_trusted() -> None:
    good = Tree().add(ROOT, said="a").add(1, reply=Reply(answer="x", seconds=1.0)).saved()
    assert loaded(good).saved() == good
    wrong = [None, 7, [], {}, {"turns": [], "chosen": {"0": 1}}, {"turns": good["turns"], "chosen": {}}]
    for change in ({"parent": 2}, {"parent": 9}, {"parent": "0"}, {"id": True}, {"said": 5}, {"reply": {}},
                   {"id": 2}, {"parent": -1}, {"reply": dict.fromkeys(good["turns"][1]["reply"], 1)}):  # fmt: skip
        wrong.append({"turns": [good["turns"][0] | change, good["turns"][1]], "chosen": good["chosen"]})
    for saved in wrong:
        with pytest.raises(UserError, match="a new one begins"):
            loaded(saved)


# --- clicks ---


def talked(answer: str = "12", thinking: str = "7 + 5") -> Session:
    """A question that has been answered."""
    session = Session(("m",), ("m",))
    (want,) = act(session, "send", fields=Fields(text="7 + 5?"))
    session.grow(want.turn, Reply(thinking, answer, num_tokens=4))
    session.end(want.turn)
    return session


def test_edited_thinking_and_edited_answers_are_gone_on_from() -> None:
    session = talked()
    act(session, "edit", 2)
    (want,) = act(session, "think-on", 2, Fields(thinking="7 + 6\n", answer="12"))
    assert (want.begun_thinking, want.begun) == ("7 + 6", None)  # the answer is drawn anew
    assert session.tree.turns[want.turn].reply == Reply("7 + 6") and session.editing == ROOT
    session.end(want.turn)
    (want,) = act(session, "answer-on", 2, Fields(thinking="", answer="It is"))
    assert (want.begun_thinking, want.begun) == (None, "It is")
    session.end(want.turn)
    assert act(session, "keep", 2, Fields(answer="13")) == []
    assert [turn.reply.answer for turn in session.tree.children(1)] == ["12", "", "It is", "13"]
    assert session.tree.path[-1].reply.answer == "13" and session.told[5].yours == (0, 2)


def test_while_a_reply_is_written_only_the_view_changes() -> None:
    session = talked()
    (want,) = act(session, "regenerate", 2)
    for action in ("send", "resend", "regenerate", "edit", "keep", "think-on", "answer-on"):
        with pytest.raises(UserError, match="stop it first"):
            act(session, action, 2 if action != "resend" else 1, Fields("x", "x", "x", "x"))
    act(session, "earlier", want.turn)
    act(session, "toggle", 2, Fields(what="fold"))
    stopped = []
    session.stop = lambda: stopped.append(1)
    act(session, "stop")
    assert stopped == [1] and session.tree.path[-1].id == 2
    session.drop(want.turn)
    with pytest.raises(UserError, match="older than the conversation"):
        act(session, "edit", 99)


def test_a_reply_that_says_nothing_goes() -> None:
    """The message stays, and may be answered again or said otherwise."""
    session = Session(("m",), ("m",))
    (want,) = act(session, "send", fields=Fields(text="7 + 5?"))
    session.end(want.turn)
    well_formed(session.tree)
    assert [turn.id for turn in session.tree.path] == [1] and not session.live
    (want,) = act(session, "send", fields=Fields(text="7 + 6?"))
    assert [turn.said for turn in session.tree.children(ROOT)] == ["7 + 5?", "7 + 6?"]
    session.end(want.turn)
    (want,) = act(session, "regenerate", 2)
    assert session.tree.turns[want.turn].parent == 2


def test_the_same_reply_again_is_told() -> None:
    session = talked()
    (want,) = act(session, "regenerate", 1)
    session.grow(want.turn, Reply("7 + 5", "12"))
    session.end(want.turn)
    assert "The same reply once more" in session.note


def test_until_the_vote_nothing_tells_whose_a_reply_is() -> None:
    sides = set()
    for seed in range(8):
        session = Session(("secret-one", "secret-two"), ("secret-one", "secret-two"), seed=seed)
        wanted = act(session, "send", fields=Fields(text="7 + 5?"))
        for want, answer in zip(wanted, ("12", "13"), strict=True):
            session.grow(want.turn, Reply(answer=answer))
        with pytest.raises(UserError, match="no vote open"):
            decide(session, 2, "tie")
        for want in wanted:
            session.end(want.turn)
            session.told[want.turn] = Told(verdict=("correct", "is 12"))
        shown = transcript(session, "")
        assert "secret" not in shown + json.dumps(session.kept().saved()) and "is 12" not in shown
        with pytest.raises(UserError, match="vote first"):
            act(session, "edit", wanted[0].turn)
        pair = decide(session, 2, "model_b")
        assert session.tree.turns[wanted[1].turn].model == pair.match.second and session.tree.path[-1].id == 3
        shown = transcript(session, "")
        assert f"You voted for {pair.match.second}" in shown and "A · " + pair.match.first in shown and "is 12" in shown
        with pytest.raises(UserError, match="a vote is final"):
            decide(session, 2, "tie")
        sides.add(pair.match.first)
    assert sides == {"secret-one", "secret-two"}


# --- HTML ---


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.said = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b onmouseover=a>&lt;</textarea></span>$\\frac{1}{2}$"
)


def test_text_is_never_markup() -> None:
    """In messages, thinking, answers, tokens, votes, verdicts, editors and notes."""
    session = talked(2 * HOSTILE, 2 * HOSTILE)
    session.tree = session.tree.put(replace(session.tree.turns[1], said=HOSTILE))
    pieces = tuple(Piece(HOSTILE, thinking, 0.5, ((HOSTILE, 0.5),)) for thinking in (True, False))
    session.told[2] = Told(
        pieces, yours=(len(HOSTILE), len(HOSTILE)), classes=(Class(HOSTILE, 2),), verdict=("incorrect", HOSTILE)
    )
    session.note = HOSTILE
    seen = []
    for toggled, editing in ((set(), ROOT), ({("tokens", 2)}, ROOT), (set(), 2), (set(), 1)):
        session.toggled, session.editing = toggled, editing
        page = Tags(transcript(session, HOSTILE))
        assert "<script>alert(1)</script><img src=x onerror=alert(1)>\"'>" in page.said
        assert not {tag for tag, _ in page.seen} & {"script", "img"}
        assert not [name for _, attributes in page.seen for name in attributes if name.startswith("on")]
        seen += [tag for tag, _ in page.seen]
    assert "mfrac" in seen and "textarea" in seen


@settings(max_examples=50)
@given(st.text("ab\n $1", max_size=12), st.lists(st.text("ab\n $1", min_size=1, max_size=3), max_size=6))
def test_tokens_in_spans_are_the_text(yours: str, tokens: list[str]) -> None:
    """Whatever the tokens are, the words of the page are those of the reply; and each token has its alternatives."""
    text = yours + "".join(tokens).strip("\n")
    pieces = [Piece(token, False, 0.25, ((token.replace(" ", "·"), 0.25), ("x", 0.1))) for token in tokens]
    page = Tags(text_html(text, pieces, len(yours), raw=True))
    assert page.said == text
    spans = [attributes["data-tip"] for tag, attributes in page.seen if tag == "span"]
    assert len(spans) <= len(tokens) and all(re.search("x +10.0%", tip) for tip in spans)
    if tokens and "\n" not in "".join(tokens):
        assert len(spans) == len(tokens) and spans[0].startswith("▸ " + tokens[0].replace(" ", "·") + "  25.0%")


def test_thinking_is_folded_in_earlier_turns() -> None:
    session = talked(thinking="so it is")
    assert "so it is" in transcript(session, "") and "Thought" in transcript(session, "")
    act(session, "toggle", 2, Fields(what="fold"))
    assert "so it is" not in transcript(session, "")
    act(session, "toggle", 2, Fields(what="fold"))
    act(session, "send", fields=Fields(text="sure?"))
    assert "so it is" not in transcript(session, "")


# --- replies, drawn by a tiny model ---


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def house_of(*models: LanguageModel, votes: Path = Path("votes.jsonl"), known: tuple[Problem, ...] = ()) -> House:
    return House(models, Sampling(max_tokens=24, seed=4), "xhigh", votes, Known(known))


async def click(house: House, session: Session, action: str, turn: int = ROOT, vote: int = 0, **fields: str) -> int:
    """Do it, to its end; how often there was something to be seen."""
    controls = Controls(house.sampling, house.effort, vote)
    return len([None async for _ in run(house, session, action, turn, Fields(**fields), controls)])


def test_a_reply_is_drawn_and_told(tiny: LanguageModel) -> None:
    """As the engine draws it, with the alternatives of its tokens; from where an edit left off; and with a vote."""

    async def test() -> None:
        house, session = house_of(tiny, known=(Problem("p/1", "2 +\n2?", "4"),)), Session(("tiny",), ("tiny",))
        assert await click(house, session, "send", text="2 + 2?") >= 2
        reply, told = session.tree.turns[2].reply, session.told[2]
        assert reply.num_tokens == 24 and reply.cut and not reply.stopped and reply.seconds > 0
        text = "".join(piece.text for piece in told.pieces)
        assert (reply.thinking + reply.answer).strip("\n") == text.strip("\n")
        assert all(piece.probability == pytest.approx(dict(piece.alternatives).get(name, piece.probability))
                   for piece in told.pieces for name in [piece.text] if len(piece.text) == 1)  # fmt: skip
        assert all(len(piece.alternatives) == 5 for piece in told.pieces)
        assert told.verdict is not None and told.verdict[0] in ("incorrect", "unparsed")
        await click(house, session, "regenerate", 2)
        assert session.tree.turns[3].reply.answer != reply.answer  # a seed of its own
        await click(house, session, "answer-on", 2, answer="It is", thinking="")
        begun = session.tree.turns[4].reply
        assert begun.answer.startswith("It is") and len(begun.answer) > 5 and session.told[4].yours == (0, 5)
        await click(house, session, "send", text="and?", vote=3)
        classes = session.told[6].classes
        assert sum(one.votes for one in classes) == 3 and "3 completions" in session.tree.turns[6].reply.thinking
        assert house.hosted["tiny"].desk.taken == 0 and not session.live

    in_loop(test)


def test_stop_and_refusals(tiny: LanguageModel) -> None:
    async def test() -> None:
        house = house_of(tiny)
        house = replace(house, sampling=replace(house.sampling, max_tokens=400))
        session = Session(("tiny",), ("tiny",))
        controls = Controls(house.sampling)
        async for _ in run(house, session, "send", ROOT, Fields(text="2 + 2?"), controls):
            if session.tree.turns[2].reply.num_tokens >= 2:
                act(session, "stop")
        reply = session.tree.turns[2].reply
        assert reply.stopped and 2 <= reply.num_tokens < 400 and not session.live
        async for _ in run(house, session, "regenerate", 2, Fields(), controls):
            if session.tree.turns and session.tree.turns[max(session.tree.turns)].reply.num_tokens >= 2:
                act(session, "clear")  # a new conversation in the middle of a reply
        assert session.tree == Tree() and not session.live
        tiny.engine_thread.wait_until_idle()
        await click(house, session, "send", text="7 " * 600)
        assert re.search(r"tokens long, but only \d+ fit", session.note) and not session.live
        assert [turn.reply for turn in session.tree.path] == [None]  # the message stays, to be changed
        await click(house, session, "send", text=" ")
        assert session.note == "write a message first"

    in_loop(test)


def test_a_new_conversation_begins_while_a_reply_is_judged(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        house, session = house_of(tiny), Session(("tiny",), ("tiny",))
        monkeypatch.setattr(Known, "verdict", lambda *_: act(session, "clear"))
        await click(house, session, "send", text="2 + 2?")
        assert session.tree == Tree() and not session.live and not session.told and not session.note

    in_loop(test)


def test_what_the_page_calls_runs_in_the_loop(tiny: LanguageModel) -> None:
    """Stop, New chat and a closed tab came from threads, and touched tasks and events of the loop."""
    called = []

    class Part:
        """Of a page: whatever is wired to it is kept."""

        def __getattr__(self, name: str) -> Callable:
            return lambda *given, **more: called.append(next(filter(callable, given)))

    gradio = SimpleNamespace(EventData=object, Request=object, on=Part().on)
    wire(gradio, Part(), house_of(tiny), None, None, Part(), SimpleNamespace(submit=None),
         tuple(SimpleNamespace(click=Part().click) for _ in range(4)), {})  # fmt: skip
    assert len(called) == 7
    assert all(inspect.iscoroutinefunction(own) or inspect.isasyncgenfunction(own) for own in called)


def test_two_users_at_once_and_a_vote_that_rank_reads(tiny: LanguageModel, tmp_path: Path) -> None:
    async def test() -> None:
        other = LanguageModel("other", tiny.network, tiny.tokenizer, max_rows=8, max_length=512)
        house = house_of(tiny, other, votes=tmp_path / "votes.jsonl", known=(Problem("p/1", "2 + 2?", "4"),))
        one, two = (Session(house.names, house.names, seed=seed) for seed in (1, 2))
        await asyncio.gather(*(click(house, s, "send", text=t) for s, t in ((one, "2 + 2?"), (two, "3 + 3?"))))
        assert "3 + 3" not in transcript(one, "") and "2 + 2" not in transcript(two, "")
        for session in (one, two):
            session.grow(3, Reply(answer="four"))
            await click(house, session, "vote", 2, what="model_b")
        await click(house, one, "send", text="and?")
        await click(house, one, "vote", 5, what="shown")  # no vote
        first, second = read_votes(house.votes)
        pair = one.pairs[2]
        length = len(one.tree.turns[2].reply.answer)
        assert first == Vote(pair.match.first, pair.match.second, "model_b", "p/1", length, 4, "person")
        assert second.problem.startswith("chat/") and len(second.problem) == 17

    in_loop(test)


def test_classes_of_a_vote() -> None:
    problem = Problem("chat", "?", "")
    found = classes_of(problem, [boxed("1/2"), boxed(3), boxed("0.5"), boxed(None), boxed(4)])
    assert found == (Class("1/2", 2), Class("3", 1), Class("4", 1), Class("", 1)) and margin_of(found) == 1
    assert margin_of(found[:1]) == 2 and margin_of(()) == 0


def test_settings_that_make_no_sense_are_refused() -> None:
    values = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_p": 0, "max_tokens": 50, "seed": 3, "effort": "low",
              "vote": 8, "system": None}  # fmt: skip
    assert controls_of(values) == Controls(Sampling(0.7, 5, 0.9, 0.0, 50, seed=3), "low", 8, "")
    for wrong, words in (({"vote": 1}, "at least 2"), ({"top_p": 0}, "top-p"), ({"seed": None}, "needs a number"),
                         ({"temperature": "x"}, "needs a number"), ({"effort": "huge"}, "effort")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            controls_of(values | wrong)


# --- the door ---


def knock(door: Door, path: str = "/", method: str = "GET", query: str = "", **headers: str) -> tuple[int, dict]:
    given = {"host": "localhost:7860"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {"type": "http", "path": path, "method": method, "query_string": query.encode(),
             "headers": [(name.encode(), value.encode()) for name, value in given.items()]}  # fmt: skip
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(door(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


async def inside(scope: dict, receive: object, send: Callable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_the_door() -> None:
    own = Door(inside, Access("127.0.0.1"))
    status, headers = knock(own)
    assert status == 200 and b"connect-src 'self'" in headers[b"content-security-policy"]
    join = "/gradio_api/queue/join"
    for refused, asked in (
        (403, {"host": "evil.example"}), (403, {"origin": "http://evil.example"}), (404, {"path": "/monitoring"}),
        (404, {"path": "/gradio_api/file=/etc/passwd"}), (404, {"path": "/gradio_api/proxy=http://x"}),
        (404, {"path": "/gradio_api/upload"}), (404, {"path": "/assets/x y"}), (413, {"method": "POST", "path": join}),
        (413, {"method": "POST", "path": join, "content_length": "9999999"}), (404, {"method": "DELETE"}),
    ):  # fmt: skip
        assert knock(own, **asked)[0] == refused, asked
    assert knock(own, join, "POST", content_length="9", origin="http://localhost:7860")[0] == 200
    far = Door(inside, Access("0.0.0.0", "secret"))
    assert knock(far)[0] == 401 and knock(far, query="token=wrong")[0] == 401
    status, headers = knock(far, query="token=secret")
    cookie = headers[b"set-cookie"].decode()
    assert status == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie and headers[b"location"] == b"/"
    assert knock(far, "/config", cookie=f"{COOKIE}=secret")[0] == 200
    assert knock(far, "/config", cookie=f"{COOKIE}=secreT")[0] == 401
    assert knock(far, "/config", query="token=secret")[0] == 401  # only the page itself takes it
