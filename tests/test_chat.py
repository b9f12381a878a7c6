"""The chat in the terminal: what is asked, what is kept, and what its commands do."""

import json
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.tokenizer import Tokenizer
from thinkling.serve.chat_commands import COMMANDS
from thinkling.serve.conversation import Talk
from thinkling.serve.reply_parser import Delta, joined
from thinkling.serve.talkers import Here, Say, There


class Scripted:
    """Says what it is told to, piece by piece, and keeps what it was asked. An exception in the script is raised."""

    def __init__(self, *replies: list) -> None:
        self.replies, self.asked = list(replies), []
        self.name, self.context, self.used, self.can_think = "scripted", 100, 40, True

    def reply(self, say: Say) -> Iterator[Delta]:
        self.asked.append(say)
        for i, item in enumerate(self.replies.pop(0), start=1):
            if isinstance(item, BaseException):
                raise item
            item = item if isinstance(item, Delta) else Delta(content=item)
            yield replace(item, num_tokens=i, num_thinking=i if item.reasoning else 0)


def talk_of(*replies: list, terminal: bool = False, **more: object) -> Talk:
    console = Console(file=StringIO(), width=80, force_terminal=terminal, color_system=None)
    return Talk(Scripted(*replies), Sampling(seed=3), console, lambda name: Scripted([f"I am {name}"]), **more)


def shown(talk: Talk) -> str:
    return talk.console.file.getvalue()


def run(talk: Talk, line: str) -> None:
    word, _, argument = line.partition(" ")
    COMMANDS[word].run(talk, argument)


THOUGHT = [Delta("7 + "), Delta("5"), "It is ", "12"]


def test_a_reply_is_kept_with_its_thinking() -> None:
    talk = talk_of(THOUGHT, ["yes"])
    talk.ask("7 + 5?")
    talk.ask("sure?")
    assert shown(talk) == "7 + 5\nIt is 12\nyes\n"
    kept = {"role": "assistant", "content": "It is 12", "reasoning_content": "7 + 5"}
    assert talk.messages[1] == kept and list(talk.talker.asked[1].messages) == talk.messages[:3]
    assert talk.talker.asked[0].sampling.seed != talk.talker.asked[1].sampling.seed


def test_ctrl_c_stops_the_reply_and_keeps_what_it_said() -> None:
    talk = talk_of(["It is ", KeyboardInterrupt()], [KeyboardInterrupt()], ["more"])
    talk.ask("7 + 5?")
    assert talk.messages[-1] == {"role": "assistant", "content": "It is"}
    talk.ask("and?")  # stopped before anything was said: the question goes, too
    talk.ask("go on")
    assert [m["content"] for m in talk.messages] == ["7 + 5?", "It is", "go on", "more"]


def test_a_refusal_is_said_and_the_message_taken_back() -> None:
    talk = talk_of([UserError("too long: shorten it")], ["ok"])
    talk.ask("x")
    assert "shorten it" in shown(talk) and talk.messages == []


def test_retry_and_edit() -> None:
    talk = talk_of(["a"], ["b"], ["c"], [UserError("no")], [UserError("no")])
    with pytest.raises(UserError, match="ask something first"):
        run(talk, "/retry")
    with pytest.raises(UserError, match="ask something first"):
        run(talk, "/edit x")
    talk.ask("one")
    run(talk, "/retry")
    first, second = talk.talker.asked
    assert first.messages == second.messages and first.sampling.seed != second.sampling.seed
    assert [m["content"] for m in talk.messages] == ["one", "b"]
    run(talk, "/edit two")
    assert [m["content"] for m in talk.messages] == ["two", "c"]
    assert talk.talker.asked[2].sampling.seed == first.sampling.seed
    for line in ("/retry", "/edit three"):  # what fails changes nothing
        run(talk, line)
        assert [m["content"] for m in talk.messages] == ["two", "c"]


def test_settings() -> None:
    talk = talk_of(["a"])
    run(talk, "/temperature 0.7")
    run(talk, "/no_think")
    run(talk, "/vote 8")
    talk.ask("x")
    (say,) = talk.talker.asked
    assert (say.sampling.temperature, say.thinking, say.vote) == (0.7, False, 8)
    assert talk.below() == "scripted · temperature 0.7 · does not think · vote of 8 · 60 of 100 tokens left · /help"
    run(talk, "/model other")
    run(talk, "/think")
    talk.ask("who?")
    assert talk.messages[-1]["content"] == "I am other" and talk.talker.asked[0].thinking
    for line in ("/temperature", "/temperature hot", "/temperature -1", "/temperature nan", "/vote x", "/vote 1",
                 "/vote 65"):  # fmt: skip
        with pytest.raises(UserError, match="takes a number"):
            run(talk, line)
    run(talk, "/reset")
    assert talk.messages == [] and talk.talker.used == 0
    run(talk, "/help")
    assert all(name in shown(talk) for name in COMMANDS)


def test_a_model_that_cannot_think_is_not_said_to(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SmolLM2, whose tokenizer and template have no tags; a template alone that writes them is enough."""
    talk = talk_of()
    talk.talker = Here(tiny)
    assert " · thinks · " in talk.below()
    monkeypatch.setattr(Tokenizer, "has_think_tokens", False)
    for template, thinks in (("{{ messages }}", False), (None, False), ("{{ '<think>' }}", True)):
        monkeypatch.setattr(Tokenizer, "template", template)
        talk.talker = Here(tiny)
        assert f" · {'thinks' if thinks else 'does not think'} · " in talk.below()
        if thinks:
            run(talk, "/think")
        else:
            with pytest.raises(UserError, match="tiny has no tokens to think in"):
                run(talk, "/think")


def test_thinking_folds_to_one_line() -> None:
    talk = talk_of(THOUGHT, THOUGHT, terminal=True)
    run(talk, "/fold")
    talk.ask("x")
    assert "thought for 2 tokens (/show unfolds it)" in shown(talk) and "7 + 5" not in shown(talk)
    run(talk, "/show")
    assert "7 + 5" in shown(talk)
    run(talk, "/fold")
    with pytest.raises(UserError, match="no thinking"):
        run(talk_of(), "/show")


def test_a_conversation_is_saved_and_gone_on_with(tmp_path: Path) -> None:
    talk = talk_of(THOUGHT)
    talk.ask("7 + 5?")
    file = tmp_path / "talk.json"
    run(talk, f"/save {file}")
    other = talk_of(["b"])
    run(other, f"/load {file}")
    assert other.messages == talk.messages and len(other.messages) == 2
    bad = tmp_path / "bad.json"
    for text in ("", "[]", "{}", '{"messages": [1]}', '{"messages": [{"role": "root", "content": "x"}]}',
                 '{"messages": [{"role": "user", "content": 5}]}'):  # fmt: skip
        bad.write_text(text)
        with pytest.raises(UserError, match="no conversation"):
            run(other, f"/load {bad}")
    with pytest.raises(UserError, match="name a file"):
        run(other, f"/load {tmp_path / 'none'}")
    with pytest.raises(UserError, match="file's name"):
        run(other, "/save")
    assert other.messages == talk.messages


# --- whom one talks to ---


def whole(deltas: Iterator[Delta]) -> Delta:
    return joined(list(deltas))


def test_a_model_here_replies_as_its_engine_does(tiny: LanguageModel) -> None:
    here = Here(tiny)
    sampling = Sampling(temperature=0.8, max_tokens=20, seed=4)
    say = Say(({"role": "user", "content": "2 + 2"},), sampling)
    prompt = tiny.chat_prompt(list(say.messages), True)
    (token, *_) = list(tiny.stream_tokens(prompt, sampling))
    reply = whole(here.reply(say))
    assert reply.num_tokens >= 1 and here.used == len(prompt) + reply.num_tokens
    assert (reply.reasoning + reply.content).startswith(tiny.tokenizer.decode([token]).strip("\n"))
    assert whole(here.reply(say)) == reply
    grown = here.reply(replace(say, sampling=replace(sampling, max_tokens=400)))
    next(grown)
    grown.close()  # as Ctrl+C does
    tiny.engine_thread.wait_until_idle()
    voted = whole(here.reply(replace(say, vote=3)))
    assert "3. " in voted.reasoning and "3 completions" in voted.reasoning
    with pytest.raises(UserError, match=r"tokens long, but only \d+ fit"):
        whole(here.reply(replace(say, messages=({"role": "user", "content": "7 " * 600},))))


def test_a_server_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"at http://127\.0\.0\.1:9/v1 does not answer"):
        There("http://me:hidden@127.0.0.1:9", "m")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 50}]})
        asked.append(json.loads(request.content))
        return replies.pop(0)

    asked: list[dict] = []
    client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: client(transport=httpx.MockTransport(answer), **more))
    there = There("http://server", "m", "key")
    assert there.context == 50
    chunk = {"choices": [{"delta": {"reasoning_content": "so"}}, {"delta": {"content": "12"}, "finish_reason": "stop"}]}
    replies = [
        httpx.Response(200, content=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"),
        httpx.Response(400, json={"error": {"message": "no such thing"}}),
        httpx.Response(200, content='data: {"error": {"message": "lost"}}\n\n'),
        httpx.Response(200, content="data: <html>\n\n"),
    ]
    say = Say(({"role": "user", "content": "x"},), Sampling(temperature=0.0, seed=2**40), thinking=False, vote=2)
    reply = whole(there.reply(say))
    assert (reply.reasoning, reply.content, reply.finish) == ("so", "12", "stop")
    assert asked[0]["model"] == "m+vote@2" and "temperature" not in asked[0] and asked[0]["seed"] == 2**40 % 2**31
    assert asked[0]["chat_template_kwargs"] == {"enable_thinking": False}
    for said in ("no such thing", "lost", "does not answer as OpenAI"):
        with pytest.raises(UserError, match=said):
            whole(there.reply(replace(say, vote=0)))
