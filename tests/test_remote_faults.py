"""What real servers, gateways and networks have been seen to do to a client, each as a server of one function."""

import asyncio
import gzip
import json
import math
import socketserver
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from test_remote import GREEDY, NO_LOGPROBS, VLLM, Server, ask, choice, refusal, remote, strict, told, waits

from thinkling.errors import FatalError, UserError
from thinkling.generate.model import NoLogprobs
from thinkling.generate.openai import connection
from thinkling.generate.openai.format import Chat, request_of
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling
from thinkling.runs import append_jsonl, read_jsonl

__all__ = ["waits"]  # a fixture
MEASURED = Sampling(temperature=0.0, max_tokens=8, measure=True)


def chat(message: dict, **more: Any) -> str:
    """The text that is made of a chat's reply."""
    answer = {"choices": [{"message": message, "finish_reason": "stop"} | more],
              "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip
    model = remote(Server(answer))
    return asyncio.run(model.complete(model.chat_prompt([], thinking=True), GREEDY)).text


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"a\ud83d", "a\ufffd"),  # the first half, where a server has cut at its token limit
        (r"\ude00b", "\ufffdb"),
        (r"\ud83d\ude00", "\N{GRINNING FACE}"),
        (r"\ud83d\ud83d\ude00", "\ufffd\N{GRINNING FACE}"),
        (r"\\ud83d", r"\ud83d"),  # a backslash and letters: TeX, or Python's source
        (r"\\\ud83d", "\\\ufffd"),
    ],
)
def test_half_a_surrogate_pair_can_be_written_down(escaped: str, text: str, tmp_path: Any) -> None:
    body = json.dumps(choice("TEXT")).replace("TEXT", escaped)
    found = ask(Server(httpx.Response(200, content=body.encode()))).text
    assert found == text
    append_jsonl(tmp_path / "a.jsonl", [{"text": found}])
    assert next(read_jsonl(tmp_path / "a.jsonl"))["text"] == text


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    body = json.dumps(choice("TEXT")).encode().replace(b"TEXT", b"\xed\xa0\xbd!")  # a half, as if it were a character
    assert ask(Server(httpx.Response(200, content=body))).text == "\ufffd" * 3 + "!"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "4"}, {"type": "text", "text": "2"}], "42"),
        ([{"type": "output_text", "text": "4"}, {"type": "image_url", "image_url": {}}], "4"),
        (["4", "2"], "42"),
        ([], ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "add"}]}, {"type": "text", "text": "4"}],
         "<think>\nadd\n</think>\n\n4"),
    ],
)  # fmt: skip
def test_content_in_parts(content: list, text: str) -> None:
    assert chat({"content": content}) == text


# --- counts and log-probabilities -----------------------------------------------------------------------------------


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {"prompt_tokens": None}}])
def test_without_usage_the_tokens_are_estimated_aloud(usage: dict) -> None:
    def said(text: str, finish: str, **more: Any) -> dict:
        return {"choices": [{"text": text, "finish_reason": finish, **more}], **usage}

    with pytest.warns(UserWarning, match="counts no tokens"):
        found = ask(Server(said("nine bytes", "stop")), GREEDY)
    assert (len(found.tokens), found.prompt_tokens, found.text) == (3, (), "nine bytes")  # 10 / 4, rounded up
    with pytest.warns(UserWarning, match="counts no tokens"):
        assert len(ask(Server(said("x", "length"))).tokens) == GREEDY.max_tokens
    assert len(ask(Server(said("ab", "stop", logprobs=told(("a", -1.0), ("b", -1.0))))).tokens) == 2  # no guess


@pytest.mark.parametrize("number", [1e12, -1, 1.5, "9", math.nan, math.inf, 10**12])
def test_counts_that_cannot_be_are_one_line(number: Any) -> None:
    """10**12 tokens were once made a tuple."""
    body = json.dumps(choice("4") | {"usage": {"prompt_tokens": 1, "completion_tokens": number}})
    with pytest.raises(UserError, match=r"not as OpenAI.s API has it.*completion_tokens is"):
        ask(Server(httpx.Response(200, text=body)))


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_logprob_that_is_no_number_is_not_told(value: float | None) -> None:
    """Where nothing needs it, the answer counts; where something does, this answer has failed. No NaN is passed on."""
    logprobs = told(("a", -1.0), ("b", value)) | {"top_logprobs": [{"a": -1.0, "c": -2.0}, {"b": -1.0, "c": -3.0}]}
    server = Server(httpx.Response(200, text=json.dumps(choice("ab", logprobs=logprobs))))
    found = ask(server)
    assert (found.text, found.logprobs, len(found.tokens)) == ("ab", (), 2)
    with pytest.raises(UserError, match="log-probability is null or NaN") as caught:
        ask(server, MEASURED)
    assert not isinstance(caught.value, FatalError)


def test_what_is_told_of_the_likeliest_is_finite() -> None:
    top = {"a": -1.0, "b": -math.inf, "c": math.nan, "d": -3.0}
    answer = choice("a", logprobs=told(("a", -math.inf)) | {"top_logprobs": [top]})
    found = ask(Server(httpx.Response(200, text=json.dumps(answer))), MEASURED)
    assert found.logprobs == (-9999.0,)  # vLLM's number for it
    assert found.confidence == ((1 + 3 + 9999) / 3,)


def test_a_column_that_a_part_lacks_the_whole_lacks() -> None:
    """The mean over half of the tokens would pass for the mean over all."""
    model = remote(Server(VLLM))
    known = ask(Server(choice("a", logprobs=told(("a", -1.0)))))
    unknown = ask(Server(choice("b")))
    both = model.joined(known, unknown)
    assert (both.text, len(both.tokens), both.logprobs, both.pieces) == ("ab", 2, (), ())


@pytest.mark.parametrize(
    "message",
    ["You are not allowed to request logprobs from this model", "Log probabilities are not available for this model"],
)
def test_a_403_for_logprobs_is_no_matter_of_the_key(message: str) -> None:
    server = strict("logprobs", then=NO_LOGPROBS)
    refusing = Server(lambda request: refusal(message, 403) if "logprobs" in request.content.decode()
                      else httpx.Response(200, json=NO_LOGPROBS))  # fmt: skip
    assert ask(refusing).text == ask(server).text == " 4"
    with pytest.raises(NoLogprobs, match=message):
        ask(refusing, MEASURED)


CHAT = {
    "choices": [
        {
            "message": {"content": [{"type": "text", "text": "4"}], "reasoning_content": "add", "reasoning": None},
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {"token": "4", "logprob": -1.0, "top_logprobs": [{"token": t, "logprob": -1.0} for t in "45"]}
                ]
            },
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}
JUNK = [None, [], {}, "x", -1, 1e400, math.nan, True, [[]], [None], {"a": {}}, [{}], {"type": "text"}]


def spoilt(value: Any) -> Iterator[Any]:
    """The value with junk in one place, once for each place in it and each kind of junk."""
    yield from JUNK
    if isinstance(value, dict | list):
        for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            for worse in spoilt(inner):
                copied = value.copy()
                copied[key] = worse
                yield copied


@pytest.mark.filterwarnings("ignore:.*counts no tokens")
@pytest.mark.parametrize("answer", [VLLM, CHAT], ids=["text", "chat"])
def test_junk_anywhere_in_an_answer_is_a_line_or_does_not_matter(answer: dict, waits: list[float]) -> None:
    """Whatever comes back is a completion that a file can hold, or a UserError."""

    answers = [httpx.Response(200, text=json.dumps(worse)) for worse in spoilt(answer)]
    model = remote(Server(*answers), retries=0)
    prompt = model.chat_prompt([], thinking=True) if answer is CHAT else "P"

    async def completed() -> list:
        asked = (model.complete(prompt, MEASURED if number % 2 else GREEDY) for number in range(len(answers)))
        return [(await asyncio.gather(one, return_exceptions=True))[0] for one in asked]

    for found in asyncio.run(completed()):
        if isinstance(found, UserError):
            assert "\n" not in str(found)
        else:
            json.dumps([found.text, found.logprobs, found.confidence, found.margin, found.pieces], allow_nan=False)
            assert all(isinstance(token, int) for token in (*found.tokens, *found.prompt_tokens)), found


# --- failures inside an answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failed",
    [
        {"error": {"message": "the upstream is busy", "code": 502}},
        {"error": {"message": "the upstream is busy", "code": "server_error"}},
        {"error": "the upstream is busy"},
        {"error": {"message": "the upstream is busy", "code": 429}, "choices": []},
        {"choices": [{"text": "4", "finish_reason": "error", "error": {"message": "the upstream is busy"}}]},
    ],
)
def test_an_error_that_comes_with_200_is_tried_again_and_told(failed: dict, waits: list[float]) -> None:
    assert ask(Server(failed, VLLM)).text == " 4" and len(waits) == 1
    with pytest.raises(UserError, match="HTTP 200 with an error, the upstream is busy"):
        ask(Server(failed), retries=1)


def test_an_error_with_200_that_no_other_try_would_change(waits: list[float]) -> None:
    with pytest.raises(UserError, match=r"refuses the request .too long."):
        ask(Server({"error": {"message": "too long", "code": 400}}))
    with pytest.raises(FatalError, match=r"asks for an API key .HTTP 200 with an error: who are you"):
        ask(Server({"error": {"message": "who are you", "code": "401"}}))
    assert not waits


def test_an_error_that_is_null_is_none() -> None:
    assert ask(Server(VLLM | {"error": None})).text == " 4"


def test_an_aborted_answer_is_tried_again(waits: list[float]) -> None:
    assert ask(Server(choice("half an", "abort"), VLLM)).text == " 4"
    with pytest.raises(UserError, match="finish_reason 'abort'"):
        ask(Server(choice("half an", "abort")), retries=1)


@pytest.mark.parametrize("reason", ["content_filter", "insufficient_system_resource", "tool_calls", "SAFETY"])
def test_what_is_withheld_is_a_failure_and_no_answer_to_grade(reason: str) -> None:
    with pytest.raises(UserError, match=f"finish_reason '{reason}'") as caught:
        ask(Server(choice("I must not", reason)))
    assert not isinstance(caught.value, FatalError)  # of this request alone


# --- addresses, statuses, waits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://host", "https://host/v1/completions"),
        ("https://host/", "https://host/v1/completions"),
        ("https://host/v1/", "https://host/v1/completions"),
        ("https://host/api/v3", "https://host/api/v3/completions"),
        ("https://host/openai", "https://host/openai/completions"),
        ("https://host/a%2Fb/v1?api-version=2&k=x#top", "https://host/a%2Fb/v1/completions?api-version=2&k=x"),
    ],
)
def test_a_path_is_taken_as_it_is_and_a_bare_host_gets_v1(url: str, asked: str) -> None:
    server = Server(VLLM)
    model = remote(server, url=url)
    asyncio.run(model.complete("P", GREEDY))
    assert str(server.requests[0].url) == asked
    assert "k=x" not in model.name  # it may be a secret


@pytest.mark.parametrize("status", [520, 522, 524, 529, 425, 507])
def test_what_stands_before_a_server_may_recover(status: int, waits: list[float]) -> None:
    assert ask(Server(httpx.Response(status, text="<html>"), VLLM)).text == " 4" and len(waits) == 1


def test_retry_after_0_is_no_leave_to_hammer(waits: list[float]) -> None:
    server = Server(*[httpx.Response(429, headers={"Retry-After": "0"})] * 4, VLLM)
    assert ask(server).text == " 4"
    for wait, plan in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert 0.5 * plan <= wait <= 1.5 * plan


@pytest.mark.parametrize("value", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 99 Zzz 99999 99:99:99 GMT", "-1"])
def test_a_retry_after_that_cannot_be(value: str, waits: list[float]) -> None:
    server = Server(httpx.Response(503, headers={"Retry-After": value}, text="later"))
    with pytest.raises(UserError, match="HTTP 503, later"):
        ask(server, retries=1)
    assert all(wait < 1 for wait in waits)


def test_a_server_that_is_gone_for_good_ends_the_run(waits: list[float]) -> None:
    model = remote(Server(VLLM, httpx.ConnectError("refused")))
    assert asyncio.run(model.complete("P", GREEDY)).text == " 4"
    with pytest.raises(FatalError, match="at try 5 for good: refused"):
        asyncio.run(model.complete("P", GREEDY))


def test_a_server_that_fails_again_and_again_ends_the_run() -> None:
    """With --on-error skip a server that hangs would turn all of a run into failures, at its own pace."""
    answers = [*[httpx.Response(500)] * 60, VLLM, *[httpx.Response(500)] * 100]
    model = remote(Server(*answers), retries=0)
    kinds = []
    for _ in answers:
        try:
            asyncio.run(model.complete("P", GREEDY))
        except UserError as error:
            kinds.append(type(error))
    assert kinds == [UserError] * 159 + [FatalError]


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_bad_gzip_is_one_line(waits: list[float]) -> None:
    def compressed(body: bytes) -> Server:
        async def parts() -> AsyncIterator[bytes]:
            yield body

        return Server(lambda request: httpx.Response(200, content=parts(), headers={"Content-Encoding": "gzip"}))

    assert ask(compressed(gzip.compress(json.dumps(VLLM).encode()))).text == " 4"
    with pytest.raises(UserError, match=r"at try 2 for good: .*header"):
        ask(compressed(b"this is no gzip"), retries=1)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"choices": ' * 100_000, '{"choices": ' + "9" * 5000 + "}"])
def test_json_that_cannot_be_read_is_one_line(body: str) -> None:
    with pytest.raises(UserError, match="does not answer as an OpenAI-compatible one does") as caught:
        ask(Server(httpx.Response(200, text=body)))
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_one_odd_reply_of_a_server_that_works_is_of_that_request_alone() -> None:
    model = remote(Server(VLLM, httpx.Response(200, text="<html>hello</html>")))
    asyncio.run(model.complete("P", GREEDY))
    with pytest.raises(UserError) as caught:
        asyncio.run(model.complete("P", GREEDY))
    assert not isinstance(caught.value, FatalError)


def test_a_message_cannot_steer_the_terminal() -> None:
    with pytest.raises(UserError) as caught:
        ask(Server(refusal("\x1b[2Jgone\r\n\u202eback")))
    assert str(caught.value).isprintable()


def test_an_endless_body_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LARGEST_REPLY", 100_000)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 10_000
            yield b" " * 10_000

    server = Server(lambda request: httpx.Response(200, content=endless()))
    with pytest.raises(UserError, match="without an end"):
        ask(server)
    assert sent <= 100_000 + 8 * 8192 + 10_000 and len(server.requests) == 1


class Dripping(socketserver.StreamRequestHandler):
    """Sends a byte of its body every 20 ms: no read ever takes long, and the answer never comes."""

    def handle(self) -> None:
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not self.server.over.wait(0.02):
                self.wfile.write(b" ")
        except OSError:
            pass  # the client has gone, as it should


@contextmanager
def dripping() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dripping) as server:
        server.over, server.daemon_threads = threading.Event(), True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.over.set()
        server.shutdown()


def test_the_timeout_is_of_the_whole_answer() -> None:
    with dripping() as url:
        model = RemoteModel(url, "m", timeout=0.2, retries=0)
        with pytest.raises(UserError, match=r"did not answer within 0\.2 s"):
            asyncio.run(asyncio.wait_for(model.complete("P", GREEDY), 5.0))


def test_penalties_are_sent_where_they_are_on_and_where_a_server_may_have_another_default() -> None:
    """vLLM takes a repetition penalty of 1.05 from Qwen2.5's checkpoints, for greedy answers too."""
    prompt = Chat(({"role": "user", "content": "1?"},), False)
    for sampling in (Sampling(), Sampling(temperature=0.0)):
        _, plain = request_of(prompt, sampling, 1)
        assert {name: value for name, value in plain.items() if "penalty" in name} == {"repetition_penalty": 1.0}
    _, fields = request_of(prompt, Sampling(presence_penalty=0.5, repetition_penalty=1.2), 1)
    wanted = {"presence_penalty": 0.5, "frequency_penalty": 0.0, "repetition_penalty": 1.2}
    assert {name: fields[name] for name in wanted} == wanted


def test_a_server_is_given_no_beginning_of_a_reply() -> None:
    with pytest.raises(UserError, match="takes no beginning of a reply"):
        RemoteModel("http://127.0.0.1:1", "m").chat_prompt([{"role": "user", "content": "1?"}], False, prefill="So")
