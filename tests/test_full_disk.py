"""A disk that is full, and a process that is killed, in the middle of what people keep: votes, chats, exported models.
One clear line, and nothing half-written under a final name. Runs and rows: test_bad_input.py, test_eval_runs.py."""

import asyncio
import importlib
import os
import signal
import sys
from io import StringIO
from pathlib import Path

import forked
import pytest
import torch
from no_room import room_for
from rich.console import Console
from scripted import Scripted
from test_distill_data import settings as asked
from test_distill_data import thinker
from test_pth import as_the_book_has_it, network
from test_sft import plan
from test_tokenizer import make as tokenizer_of
from test_web_chat import click, house_of

from thinkling import cli
from thinkling.commands import distill_data, export, sft
from thinkling.errors import FatalError, UserError
from thinkling.evaluate.ranking.votes import read_votes
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model import weights
from thinkling.model.weights import save_model
from thinkling.serve.chat_commands import COMMANDS
from thinkling.serve.conversation import Talk
from thinkling.serve.reply import Reply
from thinkling.serve.web.session import Session


def test_a_module_that_is_loaded_meanwhile_is_not_kept_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this test's own tool: Python kept the first 3,000 bytes of a compiled module, and every later run failed."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "loaded_meanwhile.py").write_text(f"text = {'x' * 500!r}")
    with room_for(100):
        importlib.import_module("loaded_meanwhile")
    assert not (tmp_path / "__pycache__").exists() and not sys.dont_write_bytecode


def test_a_vote_that_has_no_room_can_be_given_again(tiny: LanguageModel, tmp_path: Path) -> None:
    """It was taken for given, and stood in no file."""

    async def test() -> None:
        other = LanguageModel("other", tiny.network, tiny.tokenizer, max_rows=8, max_length=512)
        house = house_of(tiny, other, votes=tmp_path / "votes.jsonl")
        session = Session(house.names, house.names, seed=1)
        for text, number in (("2?", 2), ("3?", 5)):
            await click(house, session, "send", text=text)
            session.grow(number, Reply(answer="two"))
            session.grow(number + 1, Reply(answer="three"))
            before = session.tree
            with room_for(house.votes.stat().st_size + 20 if house.votes.exists() else 20):
                await click(house, session, "vote", number, what="model_b")
            assert "votes.jsonl: File too large: make room there" in session.note and "\n" not in session.note
            assert session.tree == before and session.unvoted == [number]
            await click(house, session, "vote", number, what="model_b")
            assert not session.note and not session.unvoted

    asyncio.run(test())
    assert [vote.winner for vote in read_votes(tmp_path / "votes.jsonl")] == ["model_b", "model_b"]


def test_a_chat_that_has_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    talk = Talk(None, Sampling(), Console(file=StringIO()), None)
    talk.talker = type("Anyone", (), {"name": "x"})
    file = tmp_path / "talk.json"
    talk.messages.append({"role": "user", "content": "a"})
    COMMANDS["/save"].run(talk, str(file))
    kept = file.read_text()
    talk.messages.append({"role": "assistant", "content": "b" * 500})
    with room_for(300), pytest.raises(UserError, match=r"talk\.json: File too large: make room there"):
        COMMANDS["/save"].run(talk, str(file))
    assert file.read_text() == kept and os.listdir(tmp_path) == ["talk.json"]


# --- runs ---


def test_a_full_disk_is_no_problem_to_skip(tmp_path: Path) -> None:
    """--on-error skip gave up one problem after the other, each for want of room."""
    traces = asked(tmp_path, on_error="skip")
    with room_for(700), pytest.raises(FatalError, match=r"traces\.answers\.jsonl: File too large: make room there"):
        distill_data.make(traces, Scripted(thinker))
    assert not traces.out.exists()
    _, _, failures = distill_data.make(traces, Scripted(thinker))
    assert traces.out.exists() and failures == []


def test_a_checkpoint_that_has_no_room_is_said_once_and_the_run_goes_on(tiny: LanguageModel, tmp_path: Path) -> None:
    with room_for(3000), pytest.raises(UserError) as error:
        sft.train(plan(tmp_path, "run", epochs=1), tiny)
    best = tmp_path / "run" / "checkpoints" / "best"
    assert str(error.value).startswith(
        f"{best}: cannot be saved ({best}/tokenizer.json: File too large): make room, or"
    )
    assert not any(best.parent.iterdir())
    assert sft.train(plan(tmp_path, "run", epochs=1), tiny).name == "step-00003"


# --- models ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small network as a checkpoint (in), and as the book has it."""
    (tmp_path / "in").mkdir()
    made = network(False)
    save_model(tmp_path / "in" / "model", made, tokenizer_of("qwen"))
    torch.save(as_the_book_has_it(made), tmp_path / "in" / "m.pth")
    return tmp_path


def commands(folder: Path) -> dict[str, list[str]]:
    made, book, out = folder / "in" / "model", folder / "in" / "m.pth", folder / "out"
    return {
        "export": ["export", "--model", str(made), "--gguf", str(out / "m.gguf"), "--device", "cpu"],
        "convert": ["convert", str(book), "--out", str(out / "converted"), "--tokenizer", str(made)],
    }


@pytest.mark.parametrize(("command", "room"), [("export", 3000), ("convert", 100), ("convert", 60_000)])
def test_a_model_that_has_no_room(command: str, room: int, folder: Path, capsys: pytest.CaptureFixture) -> None:
    """convert: no room for the first small file, or for the weights."""
    with room_for(room), pytest.raises(SystemExit) as end:
        cli.main(commands(folder)[command])
    line = capsys.readouterr().err
    assert end.value.code == 2 and line.count("\n") == 1 and "File too large" in line and "make room there" in line
    assert str(folder / "out") in line and ".new-" not in line
    assert not any((folder / "out").iterdir())
    cli.main(commands(folder)[command])
    assert any((folder / "out").iterdir())


def killed(*words: str) -> None:
    """The command, which is killed when all is written and nothing has its name yet, or before the weights."""

    def kill(*given: object, **more: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if words[0] == "export":
        export.os.replace = kill
    else:
        weights._save_weights = kill
    cli.main(list(words))


@pytest.mark.parametrize("command", ["export", "convert"])
def test_killed_in_the_middle(command: str, folder: Path) -> None:
    """What has a final name is whole or absent, and the same command then works."""
    words = commands(folder)[command]
    process = forked.start(folder / "said", killed, *words)
    process.join(300)
    assert process.exitcode == -signal.SIGKILL, (folder / "said").read_text()
    left = os.listdir(folder / "out")
    assert left and all(name.startswith(".") or name.endswith(".tmp") for name in left)
    cli.main(words)
    made = folder / "out" / ("m.gguf" if command == "export" else "converted")
    assert LanguageModel.load(str(made), device="cpu").network.config.num_hidden_layers == 2


def test_killed_between_an_exports_two_files(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file was there then, and the same command was refused for it."""
    words = commands(folder)["export"]
    replace, calls = os.replace, []

    class Killed(BaseException):
        """As good as a kill: nobody catches it."""

    def second(*given: object) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise Killed
        replace(*given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", second)
        cli.main(words)
    assert os.listdir(folder / "out") == ["Modelfile"]
    cli.main(words)
    assert sorted(os.listdir(folder / "out")) == ["Modelfile", "m.gguf"]
    (folder / "out" / "m.gguf").unlink()
    (folder / "out" / "Modelfile").write_text("another's")
    with pytest.raises(SystemExit):
        cli.main(words)
    assert "Modelfile: already there, and it is not replaced" in capsys.readouterr().err
    assert (folder / "out" / "Modelfile").read_text() == "another's"
