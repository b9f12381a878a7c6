"""RemoteModel against servers made of one function each; no network. Answers are as real servers give them."""

import asyncio
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Model
from thinkling.generate.openai import connection
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling

URL = "http://server:8000"
GREEDY = Sampling(temperature=0.0, max_tokens=8)

# What vLLM 0.32 gives for "2 + 2 =", shortened.
VLLM = {
    "choices": [
        {
            "text": " 4",
            "finish_reason": "stop",
            "stop_reason": None,
            "token_ids": [17, 998],
            "prompt_token_ids": [5, 6, 7],
            "logprobs": {
                "tokens": [" 4", "<|endoftext|>"],
                "token_logprobs": [-0.25, -0.5],
                "top_logprobs": [{" 4": -0.25, " 5": -1.75}, {" 6": -3.0, "<|endoftext|>": -0.5}],
                "text_offset": [0, 2],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
NO_LOGPROBS = {
    "choices": [{"text": " 4", "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


class Server:
    """Answers each POST with the next of `answers` (the last one again and again), and keeps what it was sent."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.requests, self.bodies = list(answers), [], []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.method == "POST":
            self.bodies.append(json.loads(request.content))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def remote(server: Callable, **options: Any) -> RemoteModel:
    return RemoteModel(options.pop("url", URL), "m", transport=httpx.MockTransport(server), **options)


def ask(server: Callable, sampling: Sampling = GREEDY, prompt: str = "2 + 2 =", **options: Any) -> Completion:
    return asyncio.run(remote(server, **options).complete(prompt, sampling))


def refusal(message: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": {"message": message, "code": status}})


def choice(text: str, finish: str = "stop", **more: Any) -> dict:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    return {"choices": [{"text": text, "finish_reason": finish} | more], "usage": usage}


def told(*pairs: tuple[str, float | None]) -> dict:
    return {"tokens": [text for text, _ in pairs], "token_logprobs": [logprob for _, logprob in pairs]}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before another try, which take no time."""
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    monkeypatch.setattr(connection, "sleep", sleep)
    return seen


# --- what is asked, and what is made of the answer ------------------------------------------------------------------


def test_a_completion_as_vllm_tells_it() -> None:
    server = Server(VLLM)
    completion = ask(server)
    assert completion == Completion((5, 6, 7), (17, 998), (-0.25, -0.5), "stop", " 4", pieces=(" 4", "<|endoftext|>"))
    assert remote(server).pieces(completion) == [b" 4", b"<|endoftext|>"]
    assert str(server.requests[0].url) == f"{URL}/v1/completions"
    assert server.bodies == [
        {"model": "m", "prompt": "2 + 2 =", "temperature": 0.0, "max_tokens": 8, "logprobs": 1,
         "return_token_ids": True, "repetition_penalty": 1.0}
    ]  # fmt: skip


def test_what_is_off_is_said_because_servers_have_other_defaults() -> None:
    """vLLM takes defaults from the checkpoint: with Qwen3's, an unsaid top-k would be 20, and the samples others."""
    server = Server(VLLM)
    ask(server, Sampling(seed=2**62 + 5, stop=("\n", "Q:")))
    assert server.bodies[0].items() >= {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "seed": 5}.items()
    assert server.bodies[0]["stop"] == ["\n", "Q:"]
    ask(server, Sampling(top_k=7, top_p=0.5, min_p=0.1))
    assert server.bodies[1].items() >= {"top_p": 0.5, "top_k": 7, "min_p": 0.1}.items()
    assert "stop" not in server.bodies[1]


def test_a_server_that_tells_only_text_still_tells_counts() -> None:
    completion = ask(Server(NO_LOGPROBS))
    assert completion.prompt_tokens == (-1,) * 3 and completion.tokens == (-1,) * 2
    assert completion.logprobs == () and completion.text == " 4"
    with pytest.raises(UserError, match="does not tell the tokens"):
        remote(Server(VLLM)).pieces(completion)


def test_logprobs_in_the_form_of_llama_cpp() -> None:
    content = [{"token": " 4", "logprob": -0.25, "top_logprobs": [{"token": " 4", "logprob": -0.25}]}]
    completion = ask(Server(choice(" 4", logprobs={"content": content})))
    assert completion.logprobs == (-0.25,) and completion.pieces == (" 4",) and completion.tokens == (-1,)


def test_one_logprob_per_token_even_if_the_server_counts_more() -> None:
    """llama.cpp counts the tokens of a stop string, but gives no log-probabilities for them."""
    answer = NO_LOGPROBS | {"choices": [{"text": "a", "finish_reason": "stop", "logprobs": told(("a", -1.0))}]}
    assert len(ask(Server(answer)).tokens) == 1


def test_measures_by_hand() -> None:
    server = Server(VLLM)
    completion = ask(server, Sampling(temperature=0.0, measure=True))
    assert server.bodies[0]["logprobs"] == 20
    assert completion.confidence == (1.0, 1.75)  # (0.25 + 1.75) / 2 and (3 + 0.5) / 2
    expected = (math.exp(-0.25) - math.exp(-1.75), math.exp(-0.5) - math.exp(-3.0))
    assert completion.margin == pytest.approx(expected)
    assert completion.certainty == ()
    assert ask(Server(VLLM)).confidence == ()


def test_confidence_takes_the_20_likeliest_though_vllm_adds_the_drawn_one() -> None:
    top = {f"t{i}": -float(i) for i in range(1, 21)} | {"drawn": -99.0}
    answer = choice("drawn", logprobs=told(("drawn", -99.0)) | {"top_logprobs": [top]})
    assert ask(Server(answer), Sampling(measure=True)).confidence == (10.5,)  # the mean of 1 to 20


def test_an_empty_completion() -> None:
    answer = {"choices": [{"text": "", "finish_reason": "stop", "logprobs": {"tokens": [], "token_logprobs": []}}],
              "usage": {"prompt_tokens": 3, "completion_tokens": 0}}  # fmt: skip
    assert ask(Server(answer)) == Completion((-1,) * 3, (), (), "stop")
    assert ask(Server(answer), Sampling(measure=True)).confidence == ()


@pytest.mark.parametrize(
    ("told_as", "reason"),
    [("stop", "stop"), ("eos_token", "stop"), ("length", "length"), ("repetition", "repetition"),
     ("max_tokens", "length"), (None, "length")],
)  # fmt: skip
def test_finish_reasons(told_as: str | None, reason: str) -> None:
    assert ask(Server(choice("x", told_as))).finish_reason == reason


STOPS = Sampling(temperature=0.0, stop=("\n", "##"))


@pytest.mark.parametrize(
    "answer",
    [
        choice("one", stop_reason="##"),  # vLLM
        choice("one", matched_stop="##"),  # SGLang
        choice("one## and more"),  # a server that does not cut: transformers
        choice("one## and", "length"),
        choice("one", logprobs=told(("one", -1.0), ("##\n", -1.0))),  # one that cuts, but tells the tokens
    ],
)
def test_the_stop_string_is_found_and_cut(answer: dict) -> None:
    completion = ask(Server(answer), STOPS)
    assert (completion.text, completion.stop_string, completion.finish_reason) == ("one", "##", "stop")


def test_a_stop_token_is_no_stop_string() -> None:
    assert ask(Server(choice("one", stop_reason=151643)), STOPS).stop_string is None
    assert ask(Server(choice("one", matched_stop=151643)), STOPS).stop_string is None
    assert ask(Server(choice("one", "length")), STOPS).finish_reason == "length"


# --- prompts --------------------------------------------------------------------------------------------------------


def test_it_is_a_model() -> None:
    assert isinstance(remote(Server(VLLM)), Model)


def test_extend_and_joined() -> None:
    model = remote(Server(VLLM))
    first = Completion((1,), (2, 3), (-1.0, -2.0), "stop", "a", stop_string="\n", margin=(0.1, 0.2),
                       pieces=("a", "\n"), seconds=1.0)  # fmt: skip
    second = Completion((1, 2, 3), (4,), (-3.0,), "length", "b", margin=(0.3,), pieces=("b",), seconds=2.0)
    assert model.extend("P", first) == "Pa\n"  # behind all that was sampled
    assert model.extend("P", first, "; ", "so") == "Pa; so"  # behind the text
    assert model.extend("P", second) == "Pb"
    longer = replace(first, pieces=("a", "\n\n"))  # the token that held the stop string held more
    assert model.extend("P", longer) == "Pa\n\n" and model.joined(longer, second).text == "a\n\nb"
    assert model.extend("P", replace(first, pieces=())) == "Pa\n"  # the server tells of no tokens
    ended = Completion((1,), (2, 3), (-1.0, -2.0), "stop", "a", pieces=("a", "<|endoftext|>"))
    assert model.extend("P", ended) == "Pa"
    joined = model.joined(first, second)
    assert joined == Completion((1,), (2, 3, 4), (-1.0, -2.0, -3.0), "length", "a\nb", margin=(0.1, 0.2, 0.3),
                                pieces=("a", "\n", "b"))  # fmt: skip
    assert joined.seconds == 3.0


def test_a_chat_goes_to_the_chat_endpoint() -> None:
    content = [{"token": "4", "logprob": -0.5, "top_logprobs": []}]
    message = {"role": "assistant", "content": "4"}
    server = Server({"choices": [{"message": message, "finish_reason": "stop", "logprobs": {"content": content}}],
                     "usage": {"prompt_tokens": 9, "completion_tokens": 1}})  # fmt: skip
    model = remote(server)
    prompt = model.chat_prompt([{"role": "user", "content": "2 + 2?"}], thinking=False)
    completion = asyncio.run(model.complete(prompt, GREEDY))
    assert (completion.text, completion.logprobs, len(completion.prompt_tokens)) == ("4", (-0.5,), 9)
    assert server.requests[0].url.path == "/v1/chat/completions"
    assert server.bodies[0].items() >= {"logprobs": True, "chat_template_kwargs": {"enable_thinking": False}}.items()
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "2 + 2?"}]
    assert "top_logprobs" not in server.bodies[0]  # OpenAI takes it only beside logprobs, which may be refused
    with pytest.raises(UserError, match="use a text template"):
        model.extend(prompt, completion)
    with pytest.raises(UserError, match="use a text template"):
        asyncio.run(model.logprob_of(prompt, "4"))


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "4"}, "4"),
        ({"content": None}, ""),
        ({"content": "4", "reasoning_content": "\nadd\n"}, "<think>\nadd\n</think>\n\n4"),
        ({"content": "4", "reasoning": "add"}, "<think>\nadd\n</think>\n\n4"),
        ({"content": None, "reasoning": "still add"}, "<think>\nstill add\n"),  # out of tokens: never closed
    ],
)
def test_thinking_that_a_server_takes_out_is_put_back(message: dict, text: str) -> None:
    answer = {"choices": [{"message": message, "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip
    model = remote(Server(answer))
    assert asyncio.run(model.complete(model.chat_prompt([], thinking=True), GREEDY)).text == text


# --- log-probabilities ----------------------------------------------------------------------------------------------


def test_first_tokens_are_in_order_and_only_the_drawn_one_can_end() -> None:
    top = {"b": -1.5, "<|endoftext|>": -0.5, "c": -2.5}
    answer = choice("", logprobs=told(("<|endoftext|>", -0.5)) | {"top_logprobs": [top]}, token_ids=[998])
    server = Server(answer)
    first, second = asyncio.run(remote(server).first_tokens("P", 2))
    assert (first.text, first.logprobs, first.tokens, first.finish_reason) == ("", (-0.5,), (998,), "stop")
    assert (second.text, second.logprobs, second.tokens, second.finish_reason) == ("b", (-1.5,), (-1,), "length")
    assert first.margin == second.margin == (math.exp(-0.5) - math.exp(-1.5),)
    assert server.bodies[0]["max_tokens"] == 1 and server.bodies[0]["temperature"] == 0.0


def echoed(*pairs: tuple[str, float | None]) -> Server:
    """A server that repeats the prompt with these tokens, and draws one more."""
    answer = choice("...", "length", logprobs=told(*pairs, ("drawn", -100.0)))
    return Server(answer | {"usage": {"prompt_tokens": len(pairs), "completion_tokens": 1}})


def scored(server: Server, prompt: str, text: str) -> float:
    return asyncio.run(remote(server).logprob_of(prompt, text))


def test_logprob_of_sums_the_tokens_of_the_text() -> None:
    server = echoed(("<s>", None), ("2+", -9.0), ("2=", -4.0), (" 4", -0.5), ("!", -0.25))
    assert scored(server, "2+2=", " 4!") == -0.75
    assert server.bodies[0].items() >= {"prompt": "2+2= 4!", "echo": True, "max_tokens": 1}.items()


def test_logprob_of_counts_a_token_that_spans_the_border() -> None:
    assert scored(echoed(("2", None), ("=\n", -4.0), ("x", -0.5)), "2=", "\nx") == -4.5


def test_logprob_of_counts_every_token_of_a_split_character() -> None:
    """vLLM tells the first tokens of a character as empty, and the last as the whole character."""
    assert scored(echoed(("Q", None), ("", -1.0), ("é", -2.0), ("", -4.0), ("∑", -8.0)), "Qé", "∑") == -12.0


def test_logprob_of_nothing_needs_no_server() -> None:
    server = Server(VLLM)
    assert scored(server, "P", "") == 0.0 and not server.requests


@pytest.mark.parametrize("server", [Server(VLLM), Server(NO_LOGPROBS), Server(refusal("echo is not supported"))])
def test_logprob_of_where_the_server_does_not_echo(server: Server) -> None:
    """Some servers take `echo` and do nothing; the completion's own tokens must not be taken for the text's."""
    with pytest.raises(UserError, match=r"log-probabilities|echo"):
        scored(server, "2 + 2 =", " 5")


def test_hidden_states_need_the_weights() -> None:
    with pytest.raises(UserError, match="load the weights"):
        asyncio.run(remote(Server(VLLM)).hidden_states("P", Completion((), (), (), "stop")))


@pytest.mark.parametrize(
    "sampling", [Sampling(min_confidence=1.0), Sampling(max_repeats=4), Sampling(max_thinking_tokens=9)], ids=str
)
def test_what_a_server_cannot_watch(sampling: Sampling) -> None:
    with pytest.raises(UserError, match="min-confidence, max-repeats or max-thinking-tokens"):
        ask(Server(VLLM), sampling)


# --- strict servers -------------------------------------------------------------------------------------------------


def strict(*unknown: str, status: int = 422, then: Any = VLLM) -> Server:
    """Refuses requests that have any of these fields, as transformers does; it names all of them at once."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = sorted(set(json.loads(request.content)) & set(unknown))
        if found:
            return httpx.Response(status, json={"detail": f"Unexpected fields in the request: {found}"})
        return httpx.Response(200, json=then)

    return Server(answer)


def test_refused_fields_are_left_out_and_remembered() -> None:
    server = strict("return_token_ids", "logprobs")
    model = remote(server)
    for _ in range(2):
        assert asyncio.run(model.complete("P", Sampling())).text == " 4"
    assert len(server.bodies) == 3  # refused once; then right at once
    assert not {"return_token_ids", "logprobs"} & set(server.bodies[2])


def test_a_refused_field_that_was_asked_for_is_an_error_also_later() -> None:
    model = remote(strict("top_k"))
    with pytest.warns(UserWarning):
        asyncio.run(model.complete("P", Sampling()))
    with pytest.raises(UserError, match="do without top_k"):
        asyncio.run(model.complete("P", Sampling(top_k=5)))
    model = remote(strict("repetition_penalty"))
    with pytest.warns(UserWarning, match="own repetition penalty holds"):
        asyncio.run(model.complete("P", GREEDY))
    with pytest.raises(UserError, match="do without repetition_penalty"):
        asyncio.run(model.complete("P", Sampling(repetition_penalty=1.1)))


def test_refused_logprobs() -> None:
    model = remote(strict("logprobs", status=400, then=NO_LOGPROBS))
    assert asyncio.run(model.complete("P", GREEDY)).logprobs == ()
    with pytest.raises(UserError, match="logprobs"):
        asyncio.run(model.complete("P", Sampling(measure=True)))
    with pytest.raises(UserError, match="logprobs"):
        asyncio.run(model.first_tokens("P", 2))


def test_too_many_logprobs_asked_for_does_not_end_asking_for_one() -> None:
    server = Server(refusal("Requested logprobs of 20, which is greater than max allowed: 5"), VLLM)
    model = remote(server)
    with pytest.raises(UserError, match="greater than max allowed: 5"):
        asyncio.run(model.complete("P", Sampling(measure=True)))
    assert asyncio.run(model.complete("P", GREEDY)).logprobs == (-0.25, -0.5)


def test_ignored_logprobs_are_an_error_only_for_those_who_need_them() -> None:
    assert ask(Server(NO_LOGPROBS)).logprobs == ()
    with pytest.raises(UserError, match="gives no log-probabilities"):
        ask(Server(NO_LOGPROBS), Sampling(measure=True))


def test_what_a_refused_field_means_is_told_once() -> None:
    model = remote(strict("seed", "top_k", "return_token_ids"))
    with pytest.warns(UserWarning) as told:

        async def run() -> None:
            await asyncio.gather(*(model.complete("P", Sampling()) for _ in range(4)))

        asyncio.run(run())
        asyncio.run(run())
    messages = sorted(str(warning.message) for warning in told)
    assert len(messages) == 2 and "'seed'" in messages[0] and "own top-k holds" in messages[1]


def test_the_newer_name_of_max_tokens() -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    server = Server(refusal(message), VLLM)
    ask(server)
    assert "max_tokens" not in server.bodies[1] and server.bodies[1]["max_completion_tokens"] == 8


def test_context_exceeded_says_so_in_the_servers_words() -> None:
    """vLLM's message names both fields, and is no request to use the other one."""
    message = "'max_tokens' or 'max_completion_tokens' is too large: 8. This model's maximum context length is 4."
    server = Server(refusal(message))
    with pytest.raises(UserError, match=r"context length is 4.*lower max-tokens"):
        ask(server)
    assert len(server.requests) == 1


def test_a_list_of_wrong_fields_does_not_count_the_request_it_repeats() -> None:
    entry = {"loc": ["body", "stop"], "msg": "too long", "input": {"seed": 1, "logprobs": 1}}
    with pytest.raises(UserError, match=r"body\.stop: too long"):
        ask(Server(httpx.Response(422, json={"detail": [entry]})))


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/v1", f"{URL}/v1/", f" {URL}/v1 "])
def test_the_url_may_end_in_v1_or_not(url: str) -> None:
    server = Server(VLLM)
    ask(server, url=url)
    assert str(server.requests[0].url) == f"{URL}/v1/completions"


def test_a_path_before_v1_is_kept() -> None:
    server = Server(VLLM)
    ask(server, url="https://host/models/a/v1")
    assert str(server.requests[0].url) == "https://host/models/a/v1/completions"


@pytest.mark.parametrize("url", ["localhost:8000", "server", "ftp://x", "http://", "http://a:b:c"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(UserError, match="write it like http"):
        RemoteModel(url, "m")


def test_nothing_listens_is_said_at_once(waits: list[float]) -> None:
    server = Server(httpx.ConnectError("All connection attempts failed"))
    with pytest.raises(UserError, match=f"nothing answers at {URL} .*check the URL"):
        ask(server)
    assert len(server.requests) == 1 and not waits


def test_a_server_that_goes_away_is_waited_for(waits: list[float]) -> None:
    model = remote(Server(VLLM, httpx.ConnectError("refused"), httpx.ReadError("reset"), VLLM))
    for _ in range(2):
        assert asyncio.run(model.complete("P", GREEDY)).text == " 4"
    assert len(waits) == 2


def test_busy_and_broken_servers_are_asked_again_ever_later(waits: list[float]) -> None:
    server = Server(*(httpx.Response(status) for status in (429, 500, 502, 503)), VLLM)
    assert ask(server).text == " 4"
    assert len(server.requests) == 5
    for wait, plan in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert 0.5 * plan <= wait <= 1.5 * plan
    assert len({wait / plan for wait, plan in zip(waits, (0.5, 1.0, 2.0, 4.0), strict=True)}) > 1  # jitter


def test_giving_up_names_the_last_failure(waits: list[float]) -> None:
    server = Server(refusal("out of memory", 503))
    with pytest.raises(UserError, match=r"at try 3 .*HTTP 503, out of memory"):
        ask(server, retries=2)
    assert len(server.requests) == 3 and len(waits) == 2


def test_retry_after_is_honoured_as_seconds_and_as_date(waits: list[float]) -> None:
    for value in ("7", formatdate(time.time() + 60, usegmt=True), "soon"):
        ask(Server(httpx.Response(429, headers={"Retry-After": value}), VLLM))
    # Its seconds, and 0.25 to 0.75 more, so that not all who wait come back at once.
    assert 7.25 <= waits[0] <= 7.75 and 55 < waits[1] <= 60.75 and waits[2] < 1


def test_a_server_that_asks_for_a_day_is_not_waited_for(waits: list[float]) -> None:
    server = Server(httpx.Response(429, headers={"Retry-After": "86400"}, json={"error": {"message": "daily limit"}}))
    with pytest.raises(UserError, match="daily limit"):
        ask(server)
    assert len(server.requests) == 1 and not waits


def test_a_timeout_is_asked_again_but_not_for_ever(waits: list[float]) -> None:
    """One among thousands must not end a run; what times out three times is too long."""
    assert ask(Server(httpx.ReadTimeout(""), httpx.ReadTimeout(""), VLLM)).text == " 4"
    server = Server(httpx.ReadTimeout(""))
    with pytest.raises(UserError, match=r"at try 3 .*did not answer within 2\.5 s"):
        ask(server, timeout=2.5)
    assert len(server.requests) == 3


def not_found(models: httpx.Response) -> Server:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"detail": "Not Found"}) if request.method == "POST" else models

    return Server(answer)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (httpx.Response(200, json={"data": [{"id": "a"}, {"id": "b"}]}), "has no model 'm'; it has: a, b"),
        (httpx.Response(200, json={"data": [{"id": "m"}]}), "does not offer /v1/completions"),
        (httpx.Response(404), "no OpenAI-compatible server"),
        (httpx.Response(200, json={"models": []}), "no OpenAI-compatible server"),
        (httpx.Response(200, text="<html>"), "no OpenAI-compatible server"),
    ],
)
def test_what_is_missing(models: httpx.Response, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ask(not_found(models))


def test_the_api_key_is_sent_and_never_said() -> None:
    server = Server(refusal("wrong key sk-secret", 401))
    with pytest.raises(UserError, match=r"another API key \(HTTP 401: wrong key \*\*\*\)") as caught:
        ask(server, api_key="sk-secret\n")
    assert server.requests[0].headers["authorization"] == "Bearer sk-secret"
    assert "secret" not in str(caught.value)
    with pytest.raises(UserError, match="an API key"):
        ask(Server(httpx.Response(401)))
    assert "secret" not in repr(remote(server, api_key="sk-secret")) + remote(server, api_key="sk-secret").name
    with pytest.raises(UserError, match="characters that no HTTP header may hold") as caught:
        ask(server, api_key="sk-sec\nret")
    assert "ret" not in str(caught.value)


def test_a_password_in_the_url_is_used_and_never_said() -> None:
    server = Server(httpx.Response(403))
    with pytest.raises(UserError) as caught:
        ask(server, url="http://me:hidden@server/v1")
    assert "http://server" in str(caught.value) and "hidden" not in str(caught.value)
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    for nonsense in ("ftp://me:hidden@x", "http://me:hidden@x:y"):
        with pytest.raises(UserError, match="write it like http") as caught:
            RemoteModel(nonsense, "m")
        assert "hidden" not in str(caught.value)
    ask(server := Server(VLLM), api_key="Basic bWU6aGlkZGVu")
    assert server.requests[0].headers["authorization"] == "Basic bWU6aGlkZGVu"


@pytest.mark.parametrize("body", ["<html>\nhello</html>", "[]", '"x"', "", "{"])
def test_an_answer_that_is_not_a_json_object(body: str) -> None:
    with pytest.raises(UserError, match=rf"the server at {URL} does not answer as .*check the URL"):
        ask(Server(httpx.Response(200, text=body)))


@pytest.mark.parametrize(
    "answer",
    [{}, {"choices": []}, {"choices": [{"text": ""}]}, {"choices": 1}, choice({}), choice([{"type": "text"}]),
     choice("") | {"usage": 1},
     choice("a", logprobs={"tokens": ["a", "b"], "token_logprobs": [-1.0]}), choice("a", logprobs=told(("a", None))),
     choice("a", logprobs=told(("a", -1.0))), choice("a", logprobs=told(("a", -1.0)) | {"top_logprobs": [{"a": -1}]})],
)  # fmt: skip
def test_an_answer_of_another_form(answer: dict) -> None:
    with pytest.raises(UserError, match=f"the server at {URL} gives an answer that is not as OpenAI's API has it"):
        ask(Server(answer), Sampling(measure=True))


def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(UserError, match=r"HTTP 302 .*check the URL"):
        ask(Server(httpx.Response(302, headers={"Location": "http://other"})))


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"timeout": 0.0}, {"retries": -1}])
def test_limits_are_checked(options: dict) -> None:
    with pytest.raises(UserError, match="concurrency"):
        remote(Server(VLLM), **options)


# --- many at once ---------------------------------------------------------------------------------------------------


class Gate:
    """A server that answers when it is told to: answer(n) lets the n-th request through."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Event] = []
        self.at_once = self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.waiting.append(asyncio.Event())
        try:
            await self.waiting[-1].wait()
        finally:
            self.at_once -= 1
        return httpx.Response(200, json=VLLM)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_no_more_than_so_many_are_under_way() -> None:
    gate = Gate()

    async def run() -> list[Completion]:
        model = remote(gate, concurrency=3)
        tasks = [asyncio.create_task(model.complete("P", GREEDY)) for _ in range(8)]
        while not all(task.done() for task in tasks):
            await settle()
            for event in gate.waiting:
                event.set()
        return [task.result() for task in tasks]

    assert len(asyncio.run(run())) == 8
    assert gate.most == 3


def test_each_is_charged_its_share_of_the_servers_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runs from 0 to 4 s and B from 2 to 10 s: A is charged 2 + 2/2, B 2/2 + 6; then idle time, which is free."""
    now = [0.0]
    monkeypatch.setattr(connection.time, "monotonic", lambda: now[0])
    gate = Gate()

    async def run() -> list[float]:
        model = remote(gate)
        tasks = []
        for at, begins, ends in [(0, "A", None), (2, "B", None), (4, None, 0), (10, None, 1), (50, "C", None),
                                 (51, None, 2)]:  # fmt: skip
            now[0] = float(at)
            if begins:
                tasks.append(asyncio.create_task(model.complete(begins, GREEDY)))
            else:
                gate.waiting[ends].set()
            await settle()
        return [task.result().seconds for task in tasks]

    assert asyncio.run(run()) == [3.0, 7.0, 1.0]


def test_a_cancelled_request_gives_its_place_back() -> None:
    gate = Gate()

    async def run() -> Completion:
        model = remote(gate, concurrency=1)
        lost = asyncio.create_task(model.complete("P", GREEDY))
        await settle()
        lost.cancel()
        found = asyncio.create_task(model.complete("P", GREEDY))
        await settle()
        assert gate.at_once == 1 and len(gate.waiting) == 2
        gate.waiting[1].set()
        return await found

    assert asyncio.run(run()).text == " 4"


class Closing(httpx.MockTransport):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


def test_each_event_loop_has_its_own_connections_and_closes_them() -> None:
    """evaluate() calls asyncio.run more than once in a process; a client of an ended loop would raise there."""

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return httpx.Response(200, json=VLLM)

    transport = Closing(slow)
    model = RemoteModel(URL, "m", concurrency=1, transport=transport)

    async def run() -> None:
        await asyncio.gather(*(model.complete("P", GREEDY) for _ in range(3)))

    for number in (1, 2, 3):
        asyncio.run(run())
        assert transport.closed == number
        assert len(model._connection._lanes) == 1  # those of ended loops are forgotten
