"""The web chat with a model on a server: the replies and what is told of them are those of the model itself."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from thinkling import cli
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.serve.api import Api, Limits
from thinkling.serve.desk import Desk
from thinkling.serve.far import Far, TextFact, characters
from thinkling.serve.metrics import Metrics
from thinkling.serve.reply import seed_of
from thinkling.serve.security import Access
from thinkling.serve.served import Served
from thinkling.serve.talkers import There
from thinkling.serve.web import answering
from thinkling.serve.web.actions import Fields, act
from thinkling.serve.web.answering import Controls
from thinkling.serve.web.known import Known
from thinkling.serve.web.page import UNTOLD, House, run
from thinkling.serve.web.session import Session
from thinkling.serve.web.transcript import transcript
from thinkling.serve.web.tree import ROOT

CLIENT, LATER = httpx.Client, httpx.AsyncClient
LISTED = {"data": [{"id": "tiny", "max_model_len": 512}, {"id": "other", "max_model_len": 300}]}


class Server(httpx.AsyncBaseTransport):
    """Our server around a model, in this process; what it was asked, and how it answered."""

    def __init__(self, model: LanguageModel) -> None:
        self.api = Api(Served.of(model, None, 0), Limits(), Access("127.0.0.1"))
        self.app, self.asked = httpx.ASGITransport(self.api.app()), []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.api.desk = self.api.desk or Desk(self.api.served.model, 64, Metrics())
        self.asked.append(json.loads(request.content))
        reply = await self.app.handle_async_request(request)
        self.asked[-1]["status"] = reply.status_code
        return reply


def there(monkeypatch: pytest.MonkeyPatch, transport: httpx.AsyncBaseTransport | None, name: str = "tiny") -> There:
    """A model on a server that lists it and answers by this transport."""
    lists = httpx.MockTransport(lambda request: httpx.Response(200, json=LISTED))
    with monkeypatch.context() as patch:
        patch.setattr(httpx, "Client", lambda **more: CLIENT(transport=lists, **more))
        found = There("http://127.0.0.1", name, "key")
    monkeypatch.setattr(httpx, "AsyncClient", lambda **more: LATER(transport=transport, **more))
    return found


def house_of(*models: LanguageModel | There, known: tuple[Problem, ...] = ()) -> House:
    return House(models, Sampling(max_tokens=24, seed=4), "xhigh", Path("votes.jsonl"), Known(known))


@pytest.fixture(autouse=True)
def seeds_that_every_server_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is asked with the seed modulo 2**31, for some take no larger one; here the model itself is, too."""
    monkeypatch.setattr(answering, "seed_of", lambda *given: seed_of(*given) % 2**31)


async def click(house: House, session: Session, action: str, turn: int = ROOT, effort: str = "xhigh", vote: int = 0,
                **fields: str) -> None:  # fmt: skip
    controls = Controls(house.sampling, effort, vote, "be brief")
    async for _ in run(house, session, action, turn, Fields(**fields), controls):
        pass


def in_loop(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


def test_a_reply_through_a_server_is_the_models_own(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked, gone on from an edited answer and edited thinking, with a budget: text, counts, pieces and verdicts."""

    async def test() -> None:
        server = Server(tiny)
        problem = Problem("p/1", "2 + 2?", "4")
        here, far = house_of(tiny, known=(problem,)), house_of(there(monkeypatch, server), known=(problem,))
        sessions = []
        for house in (here, far):
            session = Session(house.names, house.names)
            await click(house, session, "send", text="2 + 2?")
            await click(house, session, "answer-on", 2, answer="It is", thinking="")
            await click(house, session, "think-on", 2, thinking="so 2", answer="")
            await click(house, session, "regenerate", 2, effort="none")
            await click(house, session, "send", text="7 " * 440)  # the first turn does not fit
            await click(house, session, "send", text="7 " * 600)  # this one never does
            sessions.append(session)
        mine, theirs = sessions
        assert theirs.note and "tokens long, but only" in theirs.note and len(mine.tree.turns) == len(theirs.tree.turns)
        for id, turn in mine.tree.turns.items():
            other = theirs.tree.turns[id]
            if turn.reply is None:
                assert turn == other
                continue
            names = ("thinking", "answer", "num_tokens", "cut", "stopped")
            assert [getattr(turn.reply, n) for n in names] == [getattr(other.reply, n) for n in names]
            assert turn.reply.num_tokens and theirs.told[id].verdict == mine.told[id].verdict
            assert theirs.told[id].dropped == mine.told[id].dropped and not theirs.told[id].silent
            here, far = ([(p.text, p.thinking) for p in s.told[id].pieces if not re.fullmatch("<.*>|", p.text)]
                         for s in sessions)  # fmt: skip
            assert here == far  # but for control tokens, which a server tells, too
            assert "data-tip" in transcript(theirs, "")
        assert theirs.told[7].dropped == 1 and theirs.told[2].verdict is not None
        assert server.api.desk.taken == 0

    in_loop(test)


def test_what_else_could_have_stood_there(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        own, other = house_of(tiny), house_of(there(monkeypatch, Server(tiny)))
        found = []
        for house in (own, other):
            session = Session(house.names, house.names)
            await click(house, session, "send", text="2 + 2?")
            found.append(session.told[2].pieces)
        assert len(found[0]) == len(found[1]) > 10
        for here, far in zip(*found, strict=True):
            assert far.probability == pytest.approx(here.probability) and len(far.alternatives) == 5
            assert [p for _, p in far.alternatives] == pytest.approx([p for _, p in here.alternatives])

    in_loop(test)


def test_a_vote_and_a_budget_are_asked_for(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        server = Server(tiny)
        house = house_of(there(monkeypatch, server))
        session = Session(("tiny",), ("tiny",))
        await click(house, session, "send", vote=3, effort="low", text="2 + 2?")
        assert "3 completions" in session.tree.turns[2].reply.thinking and not session.told[2].silent
        await click(house, session, "send", effort="low", text="and?")
        assert [(row["model"], row.get("reasoning_effort"), row.get("logprobs"), row["status"])
                for row in server.asked] == [("tiny+vote@3", None, None, 200), ("tiny", "low", True, 200)]  # fmt: skip

    in_loop(test)


# --- other servers ---


def chunk(**delta: object) -> bytes:
    logprobs = delta.pop("logprobs", None)
    choice = {"delta": delta, "logprobs": logprobs, "finish_reason": None}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


END = (b'data: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\n'
       b'data: {"choices": [], "usage": {"completion_tokens": 7}}\n\ndata: [DONE]\n\n')  # fmt: skip
SAID = chunk(reasoning_content="so") + chunk(content="1") + chunk(content="2") + END


def test_a_server_that_tells_no_logprobs_is_told_of_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses them is asked again without, and from then on without; one that leaves them out, once."""

    async def test(refuses: bool) -> None:
        asked = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(json.loads(request.content))
            if refuses and "logprobs" in asked[-1]:
                return httpx.Response(400, json={"error": {"message": "`logprobs` is not supported"}})
            return httpx.Response(200, content=SAID)

        house = house_of(there(monkeypatch, httpx.MockTransport(answer)))
        session = Session(("tiny",), ("tiny",))
        for text in ("one", "two"):
            await click(house, session, "send", text=text)
        reply = session.tree.turns[4].reply
        assert (reply.thinking, reply.answer, reply.num_tokens, reply.num_thinking) == ("so", "12", 7, 0) and reply.cut
        page = transcript(session, "")
        assert page.count("no alternatives of tokens: the server tells no log-probabilities") == 2
        assert 'data-what="tokens"' not in page and not session.note
        assert ["logprobs" in body for body in asked] == ([True, False, False] if refuses else [True, True])

    for refuses in (True, False):
        asyncio.run(test(refuses))


@pytest.mark.parametrize("tag", [("</think>",), ()])
def test_thinking_ends_where_its_tag_does(tag: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within a piece that says both; where no tag is told, behind that piece, though the next says nothing yet."""

    def told(*tokens: str) -> dict:
        return {"content": [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]}

    said = chunk(reasoning_content="so", logprobs=told("so"))
    said += chunk(reasoning_content=" it", content="1", logprobs=told(" it", *tag, "1"))
    said += chunk(content="", logprobs=told("2")) + chunk(content="2") + END

    async def test() -> None:
        house = house_of(there(monkeypatch, httpx.MockTransport(lambda request: httpx.Response(200, content=said))))
        session = Session(("tiny",), ("tiny",))
        await click(house, session, "send", text="7 + 5?")
        thinks = [("so", True), (" it", True), *((text, True) for text in tag), ("1", not tag), ("2", False)]
        assert [(piece.text, piece.thinking) for piece in session.told[2].pieces] == thinks
        reply = session.tree.turns[2].reply
        assert (reply.thinking, reply.answer, reply.num_thinking, reply.num_tokens) == ("so it", "12", 3, 7)

    in_loop(test)


def test_what_goes_wrong_on_the_way_is_said_and_what_was_said_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield chunk(content="It is")
            raise httpx.ReadError("lost\non the way")

    lost = b'data: {"error": {"message": "no more"}}\n\n'
    replies = [
        (httpx.Response(200, stream=Breaks()), "does not answer (lost on the way)", "It is"),
        (httpx.Response(200, content=chunk(content="a") + lost), "no more", "a"),
        (httpx.Response(200, content=chunk(content="b") + b"data: <html>\n\n"), "as OpenAI's API has it", "b"),
        (httpx.Response(429, json={"error": {"message": "the queue is full"}}), "refuses (the queue is full)", None),
        (httpx.Response(502, content=b"<h1>Bad\n Gateway</h1>"), "refuses (<h1>Bad Gateway</h1>)", None),
    ]  # fmt: skip

    async def test() -> None:
        left = [reply for reply, _, _ in replies]
        house = house_of(there(monkeypatch, httpx.MockTransport(lambda request: left.pop(0))))
        for _, words, kept in replies:
            session = Session(("tiny",), ("tiny",))
            await click(house, session, "send", text="7 + 5?")
            assert words in session.note and "\n" not in session.note and not session.live
            said = [turn.reply.answer for turn in session.tree.path if turn.reply]
            assert said == ([kept] if kept else [])
        assert not left

    in_loop(test)


def test_a_stop_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so does a new conversation: the server then gives up the request."""
    closed = []

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(300):
                yield chunk(content="x ")
                await asyncio.sleep(0)
            closed.append("at its end")

        async def aclose(self) -> None:
            closed.append(1)

    async def test() -> None:
        house = house_of(there(monkeypatch, httpx.MockTransport(lambda request: httpx.Response(200, stream=Endless()))))
        for action in ("stop", "clear"):
            session = Session(("tiny",), ("tiny",))
            async for _ in run(house, session, "send", ROOT, Fields(text="go"), Controls(house.sampling)):
                if session.tree.turns and session.tree.turns[2].reply.answer:
                    act(session, action)
            for _ in range(10):  # and not only when the loop ends, and with it everything
                await asyncio.sleep(0)
            assert closed.pop() == 1 and not closed and not session.live
            assert action == "clear" or session.tree.turns[2].reply.stopped

    in_loop(test)
    assert closed == []


def test_halves_of_characters_are_put_together() -> None:
    def fact(data: bytes) -> TextFact:
        return TextFact(data, -0.5, (), False)

    euro = "€".encode()
    facts = [fact(euro[:1]), fact(euro[1:]), fact(b"a"), fact(b"\xff"), fact(euro[:2])]
    assert [text for text, _ in characters(facts)] == ["€", "a", "\ufffd"]
    assert characters(facts)[0][1] is facts[0]


# --- the command ---


def test_the_command_takes_a_server_and_two_of_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded here; the smallest context holds; the server's token is not the page's."""
    from thinkling.serve.web import server

    served = []
    monkeypatch.setattr(server, "serve", lambda house, access, port: served.append((house, access)))
    monkeypatch.setitem(sys.modules, "gradio", sys)  # it need not be there
    monkeypatch.setenv("THINKLING_API_KEY", "secret")
    monkeypatch.setattr(LanguageModel, "load", None)
    there(monkeypatch, None)
    lists = httpx.MockTransport(lambda request: httpx.Response(200, json=LISTED))
    monkeypatch.setattr(httpx, "Client", lambda **more: CLIENT(transport=lists, **more))
    cli.main(["chat", "--web", "--server", "http://127.0.0.1", "--model", "tiny", "--compare", "other", "--port", "0"])
    ((house, access),) = served
    assert house.names == ("tiny", "other") and house.context == 300 and access.token is None
    assert house.sampling.temperature == 0 and UNTOLD > 300
    assert all(isinstance(model, There) for model in house.models)

    async def hosts() -> None:
        assert all(isinstance(host, Far) for host in house.hosted.values())

    asyncio.run(hosts())
