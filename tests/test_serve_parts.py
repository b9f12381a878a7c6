"""The server's parts without a server: the parser of replies, what of a chat fits, checks of bodies and parameters."""

import asyncio
import json
import re
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.responses import Response

from thinkling import cli
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.chat_template import Mark
from thinkling.model.tokenizer import Tokenizer
from thinkling.scale.method import Answer
from thinkling.scale.methods import parse
from thinkling.serve import methods, server
from thinkling.serve.answering import Answering, as_refusal
from thinkling.serve.api import Api, Limits
from thinkling.serve.asks import chat_ask
from thinkling.serve.body import MOST_DEPTH, PARTS, depth_of, parsed
from thinkling.serve.context import Chat, fitted, turns_of
from thinkling.serve.desk import Desk, Generation, Plan, follow
from thinkling.serve.methods import MethodRun
from thinkling.serve.metrics import Metrics
from thinkling.serve.openapi import document
from thinkling.serve.parameters import CHAT, RESPONSES, TEXT, TOKENIZE, of_endpoint, read
from thinkling.serve.refusals import ApiError
from thinkling.serve.reply_parser import ReplyParser, StopSearch, TokenFact, joined
from thinkling.serve.security import Access, Guard, escaped, host_name
from thinkling.serve.served import Served, public_name
from thinkling.serve.shapes import TokenWords

# --- the parser of replies ---

THINK, END = Mark("<think>"), Mark("</think>")


def parsed_reply(tokenizer: Tokenizer, pieces: list[str], **how: object) -> list[tuple[str, str]]:
    """What comes out for each token, and at the end."""
    parser = ReplyParser(tokenizer, **how)
    out = []
    for token in tokenizer.encode_pieces(pieces):
        out.append(parser.push(token))
        if parser.stopped:
            break
    return [*out, parser.finish()]


def both(out: list[tuple[str, str]]) -> tuple[str, str]:
    return "".join(thinking for thinking, _ in out), "".join(answer for _, answer in out)


@pytest.mark.parametrize(
    ("pieces", "how", "wanted"),
    [
        ([THINK, "\n7 + 5\n", END, "\n\nIt is 12"], {}, ("7 + 5", "It is 12")),
        (["\n7 + 5\n\nso", END, "12"], {"opened": True}, ("7 + 5\n\nso", "12")),
        ([THINK, "\n7 + 5 is\n"], {}, ("7 + 5 is\n", "")),  # never closed: no answer, and nothing is lost
        (["\n\n", THINK, "a", END, "b"], {}, ("a", "b")),
        (["\n\n It is 12"], {}, ("", "\n\n It is 12")),
        (["a </think> b"], {"opened": True}, ("a </think> b", "")),  # spelt in text, not the token
        (["12", END, "13"], {}, ("", "12</think>13")),  # closes nothing
        ([THINK, "a", END, "b", THINK, "c"], {}, ("a", "b<think>c")),  # only the first one opens
        (["\n more\n", END, "\n12"], {"opened": True, "continued": True}, ("\n more", "12")),
        ([THINK, "\na\n", END, "\n\nb"], {"merged": True}, ("", "<think>\na\n</think>\n\nb")),
        (["a", END, "b"], {"merged": True, "opened": True}, ("", "<think>a</think>b")),
        ([THINK, "a STOP b", END, "\nc STOP d"], {"stops": ["STOP"]}, ("a STOP b", "c ")),
        ([THINK, "a", END, "b"], {"split": False}, ("", "<think>a</think>b")),
        (["a", Mark("<|im_start|>"), "b"], {}, ("", "ab")),
        (["🙂 中文 é"], {}, ("", "🙂 中文 é")),
    ],
)
def test_thinking_and_answer(tiny_tokenizer: Tokenizer, pieces: list[str], how: dict, wanted: tuple) -> None:
    assert both(parsed_reply(tiny_tokenizer, pieces, **how)) == wanted


def test_tags_as_text(tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has no tokens for the tags writes them, cut anywhere."""
    monkeypatch.setattr(Tokenizer, "has_think_tokens", False)
    parser = ReplyParser(tiny_tokenizer)
    out = [parser.push(byte) for byte in tiny_tokenizer.encode("<think>\nja\n</think>\n\n中 <b")]
    assert both([*out, parser.finish()]) == ("ja", "中 <b")
    assert 0 < parser.num_thinking < parser.num_tokens


@settings(max_examples=40)
@given(st.lists(st.sampled_from([THINK, END, "\n", "a", "b ", "ab", "🙂", "中"]), max_size=12), st.booleans(),
       st.booleans(), st.lists(st.sampled_from(["ab", "b a", "🙂🙂", "\n\n"]), max_size=2))  # fmt: skip
def test_a_stream_is_never_taken_back(
    tiny_tokenizer: Tokenizer, pieces: list[str], opened: bool, merged: bool, stops: list[str]
) -> None:
    """Pieces joined are what the whole would be: no stop string is in the answer, and none was passed over."""
    out = parsed_reply(tiny_tokenizer, pieces, opened=opened, merged=merged, stops=stops)
    thinking, answer = both(out)
    free = both(parsed_reply(tiny_tokenizer, pieces, opened=opened, merged=merged))
    assert "\ufffd" not in thinking + answer
    if not merged:
        assert not any(stop in answer for stop in stops)
        cut = min((free[1].find(stop) for stop in stops if stop in free[1]), default=len(free[1]))
        assert answer == free[1][:cut]


def test_nothing_of_a_stop_string_is_shown() -> None:
    search = StopSearch(["END", "EN!"])
    assert [search.push(text) for text in ("aE", "N", "x E", "ND b", "more")] == ["a", "", "ENx ", "", ""]
    assert search.hit == "END" and search.finish() == ""
    other = StopSearch(["END"])
    assert other.push("an E") + other.finish() == "an E"


# --- what of a chat fits ---


def turn(number: int, size: int = 20) -> list[dict]:
    thought = {"reasoning_content": "hidden"} if number % 2 else {}
    return [{"role": "user", "content": f"q{number} " + "7 " * size}, {"role": "assistant", "content": "r"} | thought]


def test_whole_turns_are_dropped_the_oldest_first(tiny: LanguageModel) -> None:
    system = {"role": "system", "content": "be brief"}
    chat = Chat((system, *turn(1), *turn(2), *turn(3), {"role": "user", "content": "last"}))
    whole = fitted(tiny, chat, 500)
    assert whole.dropped == 0 and "hidden" not in tiny.tokenizer.decode(whole.tokens)
    for dropped in (1, 2, 3):
        shorter = Chat((system, *(m for n in range(dropped + 1, 4) for m in turn(n)), chat.messages[-1]))
        room = len(fitted(tiny, shorter, 500).tokens)
        found = fitted(tiny, chat, room)
        assert (found.dropped, found.tokens) == (dropped, fitted(tiny, shorter, 500).tokens)
    with pytest.raises(UserError, match=r"is \d+ tokens long, but only 5 fit"):
        fitted(tiny, chat, 5)
    with pytest.raises(UserError, match="the chat is"):
        fitted(tiny, chat, len(whole.tokens) - 1, drop=False)


def test_an_old_turn_of_a_million_characters_is_no_trouble(tiny: LanguageModel) -> None:
    chat = Chat((*turn(1, 500_000), {"role": "user", "content": "last"}))
    assert fitted(tiny, chat, 100).dropped == 1
    with pytest.raises(UserError, match="characters long"):
        fitted(tiny, Chat((*turn(1), {"role": "user", "content": "7 " * 500_000})), 100)


def test_a_reply_is_gone_on_from(tiny: LanguageModel) -> None:
    question = {"role": "user", "content": "2 + 2"}
    base = tiny.chat_prompt([question], True)

    def prompt(**begun: object) -> str:
        return tiny.tokenizer.decode(fitted(tiny, Chat((question,), **begun), 500).tokens[len(base) :])

    assert prompt(begun="It is") == "It is"
    assert prompt(begun_thinking="so 2") == "<think>\nso 2"
    assert prompt(begun_thinking="so 2", begun="It") == "<think>\nso 2\n</think>\n\nIt"
    assert turns_of([question, question]) == ([], [[question], [question]])


def asked(**body: object) -> object:
    return chat_ask(read({"messages": [{"role": "user", "content": "hi"}], **body}, CHAT))


HI = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [  # lm-evaluation-harness, for chats, generated texts and log-likelihoods; vLLM's bench; LangChain; AutoGen
        (CHAT, {"messages": [HI | {"type": "text"}], "model": "m", "max_tokens": 256, "temperature": 0, "stop": [],
                "seed": 1234}),
        (TEXT, {"prompt": ["a", "b"], "model": "m", "max_tokens": 256, "temperature": 0, "stop": ["Q:"], "seed": 1234}),
        (TEXT, {"model": "m", "prompt": [[1, 2], [3]], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234,
                "echo": True}),
        (TEXT, {"model": "m", "prompt": "a", "repetition_penalty": 1.0, "max_tokens": 9, "logprobs": None,
                "stream": True, "stream_options": {"include_usage": True}}),
        (CHAT, {"messages": [HI | {"content": [{"type": "text", "text": "hi"}]}], "model": "m", "stream": True,
                "max_completion_tokens": 9, "stream_options": {"include_usage": True}}),
        (CHAT, {"messages": [{"role": "system", "content": "x"}, HI], "model": "m", "n": 1, "stop": None, "tools": [],
                "tool_choice": None, "logit_bias": {}, "user": "me", "store": False, "metadata": {}, "stream": False,
                "response_format": {"type": "text"}, "presence_penalty": 0, "frequency_penalty": 0, "top_p": 1}),
        (CHAT, {"messages": [HI | {"name": "Ann"}], "model": "m"}),
    ],
)  # fmt: skip
def test_what_known_clients_send_is_read(endpoint: str, body: dict) -> None:
    values = read(parsed(json.dumps(body).encode()), endpoint)
    assert endpoint == TEXT or chat_ask(values).chat.messages[-1]["content"] == "hi"


def test_a_host_and_an_origin_are_known_however_they_were_typed() -> None:
    access = Access("127.0.0.1", hosts=("My.example",), origins=("https://Page.example/",))
    guard = Guard(Response(), access, Metrics(), ())
    asked = [("Host", "my.example", 200), ("Origin", "https://page.example", 200), ("Host", "your.example", 403),
             ("Origin", "https://page.example.org", 403)]  # fmt: skip
    for name, value, status in asked:

        async def ask(headers: dict) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://localhost") as client:
                return await client.get("/", headers=headers)

        assert asyncio.run(ask({name: value})).status_code == status


def test_who_speaks_is_told_to_the_template() -> None:
    """AutoGen and LangGraph name the speaker of each message, and were refused."""
    (message,) = asked(messages=[{"role": "user", "content": "hi", "name": "Ann"}]).chat.messages
    assert message == {"role": "user", "content": "hi", "name": "Ann"}


def test_how_a_reply_begins_is_read_from_the_last_message() -> None:
    def begun(**last: object) -> tuple:
        messages = [{"role": "user", "content": "hi"}, {"role": "assistant", **last}]
        chat = asked(messages=messages).chat
        return chat.begun, chat.begun_thinking

    assert begun(content="It is") == ("It is", None)
    assert begun(content="", reasoning="so") == (None, "so")
    assert begun(content="It", reasoning_content="so") == ("It", "so")
    assert begun(content="<think>\nso") == (None, "\nso")
    assert begun(content="<think>\nso\n</think>\n\nIt") == ("It", "\nso\n")


# --- the desk ---


def on_a_desk(model: LanguageModel, work: Callable) -> object:
    async def run() -> object:
        return await work(Desk(model, 4, Metrics()))

    return asyncio.run(run())


def drawn(model: LanguageModel, *plans: Plan) -> list:
    async def work(desk: Desk) -> list:
        found: list[list] = [[] for _ in plans]
        async for some in follow([Generation(desk, plan) for plan in plans]):
            for i, delta in some:
                found[i].append(delta)
        return found

    return on_a_desk(model, work)


def test_a_budget_closes_the_thinking_by_its_token(tiny: LanguageModel) -> None:
    begin, end = tiny.tokenizer.special_id("<think>"), tiny.tokenizer.special_id("</think>")
    sampling = Sampling(temperature=0.7, max_tokens=30, seed=3, max_thinking_tokens=7)
    plan = Plan((5, begin), sampling, split=True, opened=True, told=True, tell=1)
    whole = joined(drawn(tiny, plan)[0])
    ids, free = [fact.id for fact in whole.tokens], replace(sampling, max_thinking_tokens=None)
    free = [f.id for f in joined(drawn(tiny, replace(plan, sampling=free))[0]).tokens]
    assert ids[:7] == free[:7]  # what was thought before is not changed
    assert ids[7:10] == tiny.tokenizer.encode_pieces(["\n", END, "\n\n"]) and ids.index(end) == 8
    assert whole.num_thinking == 8 and whole.num_tokens == len(ids)
    assert [fact.thinking for fact in whole.tokens] == [True] * 9 + [False] * (len(ids) - 9)
    assert all(fact.logprob < 0 for fact in whole.tokens)


def test_a_source_that_is_closed_is_cancelled_within_one_step(tiny: LanguageModel) -> None:
    plan = Plan((5, 6), Sampling(max_tokens=400, seed=1))
    steps = 0
    own = tiny.engine.step

    def step() -> list:
        nonlocal steps
        steps += 1
        return own()

    tiny.engine.step = step

    async def work(desk: Desk) -> int:
        grown = follow([Generation(desk, plan)])
        await anext(grown)
        await grown.aclose()
        seen = steps
        await desk.complete((7,), Sampling(max_tokens=1))  # its step is the next, or the one after
        assert not tiny.engine.running
        return steps - seen

    assert on_a_desk(tiny, work) <= 3


def test_an_answer_to_a_loop_that_has_ended_does_not_end_the_engine(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread died of it, and whoever asked later waited for ever."""
    began, ended, died, own = threading.Event(), threading.Event(), [], tiny.engine.step
    monkeypatch.setattr(threading, "excepthook", died.append)

    def step() -> list:
        outcomes = own()
        began.set()
        ended.wait()
        return outcomes

    async def work(desk: Desk) -> None:
        asked = asyncio.ensure_future(desk.complete((7,), Sampling(max_tokens=1)))
        await asyncio.to_thread(began.wait)
        assert not asked.done()

    tiny.engine.step = step
    on_a_desk(tiny, work)
    ended.set()
    while not (died or tiny.engine_thread._idle):
        time.sleep(0.01)
    assert not died and tiny.complete_all([[7]], Sampling(max_tokens=1))


def test_the_desk_is_full(tiny: LanguageModel) -> None:
    async def work(desk: Desk) -> None:
        assert desk.places == 36
        desk.take(35)
        with pytest.raises(ApiError) as full:
            desk.take(2)
        assert full.value.status == 429 and int(full.value.headers["Retry-After"]) >= 1
        desk.give_back(35, 1.0)
        with pytest.raises(ApiError) as never:
            desk.take(37)
        assert never.value.status == 400

    on_a_desk(tiny, work)


# --- parameters and bodies ---


@pytest.mark.parametrize(
    ("endpoint", "body", "param"),
    [
        (CHAT, {"temprature": 1}, "temprature"),
        (CHAT, {"temperature": "hot"}, "temperature"),
        (CHAT, {"temperature": True}, "temperature"),
        (CHAT, {"top_p": 0}, "top_p"),
        (CHAT, {"n": 1.5}, "n"),
        (CHAT, {"stop": ["a", 3]}, "stop"),
        (CHAT, {"stop": [""]}, "stop[0]"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user", "content": "x", "weight": 1}]}, "messages[0].weight"),
        (CHAT, {"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        (CHAT, {"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        (CHAT, {"tools": [{"type": "function"}]}, "tools"),
        (CHAT, {"store": True}, "store"),
        (CHAT, {"chat_template": "{{ x }}"}, "chat_template"),
        (TEXT, {"prompt": [[1, "a"]]}, "prompt[0]"),
        (TEXT, {"best_of": 2}, "best_of"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"text": {"format": {"type": "json_object"}}}, "text.format.type"),
    ],
)
def test_what_cannot_be_is_named(endpoint: str, body: dict, param: str) -> None:
    with pytest.raises(ApiError) as error:
        read(body, endpoint)
    assert error.value.status == 400 and error.value.param == param and param in error.value.message


def test_null_and_what_asks_for_nothing_is_taken() -> None:
    for endpoint in (CHAT, TEXT, RESPONSES):
        rows = of_endpoint(endpoint)
        assert read(dict.fromkeys(rows), endpoint) == read({}, endpoint)
        for row in rows.values():
            for value in row.nothing:
                read({row.name: value}, endpoint)
            if row.nothing and row.nothing[0] is False:
                with pytest.raises(ApiError):  # 0 is not false
                    read({row.name: 0}, endpoint)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}, "reasoning_effort"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "x", "reasoning": "y"}]}, "messages[0].reasoning"),
    ],
)
def test_what_does_not_go_together_is_named(body: dict, param: str) -> None:
    with pytest.raises(ApiError) as error:
        asked(**body)
    assert error.value.param == param


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,]", b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": Infinity}', b"\xff", b'{"a": "\\ud800"}',
     b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 5000,
     b'{"a": 1e999}'],
)  # fmt: skip
def test_bodies_that_are_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as error:
        parsed(body)
    assert error.value.status == 400


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON Schema's integers have 64.0 among them, and schemathesis found it refused."""
    found = parsed(b'{"max_tokens": 64.0, "n": 2e0, "seed": -5.0, "temperature": 0.5, "top_k": 1e300}')
    assert read(found | {"messages": [{"role": "user"}], "top_k": 5}, CHAT)["max_tokens"] == 64
    assert list(map(type, found.values())) == [int, int, int, float, float]


def test_the_document_requires_what_the_server_does() -> None:
    paths = document("m")["paths"]
    for endpoint, body in ((CHAT, {"messages": [{}]}), (CHAT, {}), (TEXT, {}), (TOKENIZE, {}),
                           (TOKENIZE, {"prompt": "a", "messages": [{"role": "user", "content": "a"}]})):  # fmt: skip
        schema = paths[endpoint]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert not Draft202012Validator(schema).is_valid(body)


NULLS = [
    (CHAT, {"messages": [{"role": "user", "content": "a", "reasoning": None}], "n": None, "stop": None}),
    (CHAT, {"messages": [{"role": "user", "content": "a"}], "stream": True, "stream_options": {"include_usage": None}}),
    (TEXT, {"prompt": "a", "model": None, "stream_options": None}),
    (RESPONSES, {"input": "a", "top_logprobs": None, "reasoning": {"effort": None}, "text": {"format": None}}),
    (TOKENIZE, {"prompt": None, "messages": [{"role": "user", "content": "a"}], "return_token_strs": None}),
]


def test_the_document_has_null_where_the_server_takes_it() -> None:
    """Clients send null for what they leave out; schemathesis found it taken, and not in the document."""
    paths = document("m")["paths"]
    for endpoint, body in NULLS:
        schema = paths[endpoint]["post"]["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator(schema).validate(body)
        read(body, endpoint)
    for endpoint, body in ((CHAT, {"messages": None}), (TEXT, {"prompt": None}), (TOKENIZE, {"prompt": None})):
        schema = paths[endpoint]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert not Draft202012Validator(schema).is_valid(body)


def test_depth_is_counted_outside_of_texts() -> None:
    assert depth_of(b'{"a": "[[[[", "b": [[1], "\\"["]}') == 3
    assert parsed(json.dumps({"a": "[" * 1000}).encode()) == {"a": "[" * 1000}
    assert parsed(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)


def test_a_text_that_never_ends_is_looked_at_once() -> None:
    """Each escaped quote in it was tried as the beginning of another text: 100 KB held the server up for minutes."""
    for end in (b"", b"\\", b"[["):
        assert len(PARTS.findall(b'"' + b'\\"' * 1000 + end)) == 1
    assert depth_of(b'[{"' + b'\\"' * 2_000_000) == 2
    with pytest.raises(ApiError):
        parsed(b'["' + b'\\"' * 2_000_000 + b"\\")


# --- what others get to see ---


def test_what_a_client_learns_of_an_error(caplog: pytest.LogCaptureFixture) -> None:
    told = as_refusal(FileNotFoundError("/home/someone/secret"), 1.0)
    assert told.status == 500 and "secret" not in told.message
    assert "secret" in caplog.text  # the log says it


def test_logs_and_hosts() -> None:
    assert escaped('a\n\x1b[31m"\u202e中') == r"a\n\x1b[31m\x22\u202e\u4e2d"
    names = ("LocalHost:80", "[::1]:80", "127.0.0.1", "evil.example:80", "")
    assert [host_name(host) for host in names] == ["localhost", "::1", "127.0.0.1", "evil.example", ""]


def test_away_from_this_machine_there_is_always_a_token(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    ran = []
    monkeypatch.setattr(server.uvicorn.Server, "run", lambda self, sockets: ran.append(self.config.app))
    for bind, wanted in (("127.0.0.1", None), ("0.0.0.0", "made up")):
        server.serve(tiny, None, Access(bind), 0, server.Limits(), 1)
        token = ran[-1].access.token
        assert (token is None) == (wanted is None)
        if token is not None:
            assert len(token) > 40 and token in capsys.readouterr().err


def test_a_port_is_free_at_once_after_its_server_was_killed() -> None:
    """A connection that the server's side has closed stays with the system for a minute (TIME_WAIT)."""
    first = server.listening("127.0.0.1", 0)
    port = first.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as client:
        first.accept()[0].close()
        assert client.recv(1) == b""
    first.close()
    with server.listening("127.0.0.1", port), pytest.raises(UserError, match="choose another --port"):
        server.listening("127.0.0.1", port)


def test_a_port_that_is_taken_is_said_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(LanguageModel, "load", None)
    monkeypatch.setitem(sys.modules, "gradio", sys)  # it need not be there
    with server.listening("127.0.0.1", 0) as taken:
        for command in (["serve"], ["chat", "--web"]):
            with pytest.raises(SystemExit):
                cli.main([*command, "--port", str(taken.getsockname()[1])])
            assert "(Address already in use): choose another --port" in capsys.readouterr().err


def test_names_of_models(tiny: LanguageModel) -> None:
    served = Served.of(tiny, None, 0)
    assert served.names == ["tiny", "tiny+vote@8", "tiny+best@8", "tiny+refine"]
    assert served.method("tiny") is None and served.method(None) is None
    vote = served.method("tiny+vote@3")
    assert (vote.name, vote.budgets, vote.temperature) == ("self-consistency", (3,), 1.0)
    assert served.method("tiny+deepconf@4").name == "deepconf"
    for name in ("other", "tiny+nothing", "tiny+vote@8@9", "../tiny", "tiny+vote@", "TINY"):
        with pytest.raises(ApiError) as error:
            served.method(name)
        assert error.value.status == 404
    with pytest.raises(ApiError, match="not a budget"):
        served.method("tiny+vote@1000")


# --- methods as models ---


def test_a_methods_samples_are_told_while_others_are_drawn(tiny: LanguageModel) -> None:
    """Each sample waits until the client has read of the one before it; no clock decides, only whose turn it is."""
    body = {"model": "tiny+vote@3", "stream": True, "messages": [{"role": "user", "content": "What is 2 + 3?"}]}
    told, read_before = [], []

    async def complete(prompt: list[int], sampling: Sampling, watch: object, client: str) -> Completion:
        number = len(read_before)
        read_before.append(None)
        for _ in range(1000):  # turns of the loop
            if len(told) >= number:
                break
            await asyncio.sleep(0)
        read_before[number] = len(told)
        tokens = tuple(tiny.tokenizer.encode(rf"\boxed{{{number}}}"))
        return Completion(tuple(prompt), tokens, (-0.1,) * len(tokens), "stop", "")

    async def receive() -> dict:
        await asyncio.sleep(0)
        return asking.pop() if asking else await asyncio.Future()

    async def send(message: dict) -> None:
        told.extend(re.findall(rb'"reasoning":"(\d)\. ', message.get("body", b"")))

    async def run() -> None:
        api = Api(Served.of(tiny, None, 0), Limits(), Access("127.0.0.1"))
        api.desk = Desk(tiny, 4, Metrics())
        api.desk.complete = complete
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b"",
                 "client": ("127.0.0.1", 1), "headers": headers}  # fmt: skip
        await api.app()(scope, receive, send)

    asking = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    asyncio.run(run())
    assert read_before == [0, 1, 2] and told == [b"1", b"2", b"3"]


def test_whatever_goes_wrong_with_a_method_is_told(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an answer without completions the client heard nothing until its time was over."""

    async def nothing(model: object, problem: object) -> Answer:
        return Answer("4", "4", ())

    async def work(desk: Desk) -> None:
        monkeypatch.setattr(methods, "build", lambda *_: nothing)
        run = MethodRun(desk, parse("self-consistency=2"), Chat((HI,)), Sampling(), None, 400)
        await asyncio.wait([run.task])
        with pytest.raises(IndexError):
            run.take()

    on_a_desk(tiny, work)


def test_an_answer_that_takes_too_long_is_refused_and_counted(tiny: LanguageModel) -> None:
    async def parts() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async def never() -> dict:
        return await asyncio.Future()

    async def work(desk: Desk) -> None:
        desk.take(1, "me")
        sent: list[dict] = []

        async def send(message: dict) -> None:
            sent.append(message)

        await Answering(desk, "me", 1, 0.01, parts, streams=True)({"type": "http"}, never, send)
        assert sent[0]["status"] == 504 and desk.taken == 0
        assert "thinkling_cancelled_total 1" in desk.metrics.text().splitlines()

    on_a_desk(tiny, work)


def test_text_offsets_are_places_in_the_text(tiny_tokenizer: Tokenizer) -> None:
    """A character in several tokens begins with the first; it was counted by none, so all behind it stood too far in
    front."""
    words, text = TokenWords(tiny_tokenizer), "aé🙂日 7 é"
    tokens = tiny_tokenizer.encode(text)
    told = words.of_text([TokenFact(token, -1.0) for token in tokens], 0)
    at, wanted = 0, []
    for token in tokens:
        whole = text.encode()[:at].decode(errors="ignore")
        wanted.append(len(whole) + (whole.encode() != text.encode()[:at]))
        at += len(tiny_tokenizer.token_bytes(token))
    assert at == len(text.encode()) and told["text_offset"] == wanted and len(tokens) > len(text)
    whole = [(start, word) for start, word in zip(wanted, told["tokens"], strict=True) if not word.startswith("bytes:")]
    assert all(text.startswith(word, start) for start, word in whole)


def test_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    metrics.count("requests", path="/a\n", status=200)
    metrics.count("requests", 2, path="/a\n", status=200)
    for seconds in (0.02, 0.02, 500.0):
        metrics.observe("request_seconds", seconds)
    lines = metrics.text().splitlines()
    assert r'thinkling_requests_total{path="/a\n",status="200"} 3' in lines
    assert 'thinkling_request_seconds_bucket{le="0.01"} 0' in lines
    assert 'thinkling_request_seconds_bucket{le="0.03"} 2' in lines
    assert 'thinkling_request_seconds_bucket{le="+Inf"} 3' in lines
    assert "thinkling_request_seconds_sum 500.04" in lines


def test_a_model_is_called_as_its_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of Qwen3-0.6B was served as Qwen3-0, since what stands behind a dot looked like a kind of file."""
    (tmp_path / "Qwen3-0.6B").mkdir()
    (tmp_path / "tiny-1.5.gguf").touch()
    assert public_name(str(tmp_path / "Qwen3-0.6B")) == public_name(f"{tmp_path}/Qwen3-0.6B/") == "Qwen3-0.6B"
    assert public_name(str(tmp_path / "tiny-1.5.gguf")) == "tiny-1.5"
    assert public_name("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    monkeypatch.chdir(tmp_path / "Qwen3-0.6B")
    assert public_name(".") == "Qwen3-0.6B"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}, b"[DONE]"),
        (TEXT, {"prompt": "hi", "max_tokens": 3}, b"[DONE]"),
        (RESPONSES, {"input": "hi", "max_output_tokens": 3}, b"event: response.incomplete"),
    ],
)
def test_a_place_is_free_when_the_last_piece_arrives(
    tiny: LanguageModel, path: str, body: dict, end: bytes, stream: bool
) -> None:
    """A client that reads `[DONE]` and asks again at once was told that the queue is full."""
    api = Api(Served.of(tiny, "tiny", 0), Limits(queue=0), Access("127.0.0.1"))
    taken: list[int] = []

    async def work() -> None:
        api.desk = Desk(tiny, 0, Metrics())
        asked = [{"type": "http.request", "body": json.dumps(body | {"stream": stream}).encode(), "more_body": False}]

        async def receive() -> dict:
            return asked.pop() if asked else await asyncio.Future()

        async def send(message: dict) -> None:
            if message.get("status", 200) != 200:
                pytest.fail(str(message))
            if message.get("body") and (end in message["body"] or not stream):
                taken.append(api.desk.taken)

        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        await api.app()({"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers,
                         "query_string": b"",
                         "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}, receive, send)  # fmt: skip

    asyncio.run(work())
    assert taken == [0] and api.desk.taken == 0
