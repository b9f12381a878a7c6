"""Several processes say what one model says, and what goes wrong in one of them is said here."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from thinkling.commands.eval import Eval
from thinkling.commands.load import model_of
from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion
from thinkling.generate.data_parallel import DataParallelModel, _answer
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.config import ModelConfig
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model

SAMPLING = Sampling(max_tokens=24, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Path:
    config = ModelConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=512, rope_theta=10_000.0,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("model")
    save_model(path, init_weights(Transformer(config), seed=0), tiny_tokenizer)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[DataParallelModel]:
    """With the flags of a command."""
    settings = Eval(out=Path("unused"), model=str(folder), device="cpu", max_length=64, max_rows=8, cache_gb=0.01,
                    data_parallel_size=2)  # fmt: skip
    yield model_of(settings)


def ask(model: LanguageModel, prompts: list[str], sampling: Sampling = SAMPLING) -> list[Completion]:
    async def every() -> list[Completion]:
        own = [replace(sampling, seed=derive_seed(sampling.seed, place)) for place in range(len(prompts))]
        return await asyncio.gather(*(model.complete(p, s) for p, s in zip(prompts, own, strict=True)))

    return asyncio.run(every())


def test_they_say_what_one_model_says(model: DataParallelModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop strings and seeds too; samples of one prompt go to one process, and the others go evenly."""
    asked = {worker.name: [] for worker in model.workers}
    for worker in model.workers:
        own = asked[worker.name]
        monkeypatch.setattr(worker, "_send", lambda order, own=own, send=worker._send: (own.append(order), send(order)))
    prompts = ["What is 1 + 1?"] * 5 + [f"Question {i}: " for i in range(9)] + ["What is 1 + 1?"] * 3
    sampling = replace(SAMPLING, stop=("7", "an"))
    alone = LanguageModel.load(str(folder), "cpu", max_length=64)
    found, expected = ask(model, prompts, sampling), ask(alone, prompts, sampling)
    bare = [[replace(c, logprobs=()) for c in own] for own in (found, expected)]
    assert bare[0] == bare[1]
    for mine, theirs in zip(found, expected, strict=True):  # sums of other batches differ in the last bits
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)
    assert {c.finish_reason for c in found} == {"stop", "length"} and any(c.stop_string for c in found)
    where = [{order[1] for order in orders} for orders in asked.values()]
    assert not where[0] & where[1]
    assert [len(orders) for orders in asked.values()] == [5 + 2 + 3, 5 + 2]
    assert not any(worker.prompts or worker._waiting for worker in model.workers)


def test_one_bad_prompt_harms_no_other(model: DataParallelModel) -> None:
    async def both() -> list:
        asked = [model.complete(text, SAMPLING) for text in ("word " * 80, "What is 2?")]
        return await asyncio.gather(*asked, return_exceptions=True)

    error, right = asyncio.run(both())
    assert type(error) is UserError and "64" in str(error)
    assert isinstance(right, Completion)


def test_who_is_cancelled_is_forgotten(model: DataParallelModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this end, which says so, and by the process, which still has others to answer."""
    sent = []
    for worker in model.workers:
        monkeypatch.setattr(worker, "_send", lambda order, send=worker._send: (sent.append(order), send(order)))

    async def give_up() -> Completion:
        task = asyncio.create_task(model.complete("What is 3?", SAMPLING))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await model.complete("What is 4?", SAMPLING)

    assert len(asyncio.run(give_up()).tokens) > 1
    (first, *_), (again, *nothing), _ = sent
    assert first == again and nothing == [None, None]
    assert not any(worker.prompts or worker._waiting for worker in model.workers)


def test_a_process_ends_what_is_cancelled() -> None:
    ended, before_the_end, orders = [], [], [(0, (5,), SAMPLING), (1, (6,), SAMPLING), (0, None, None)]

    class Forever:
        async def complete(self, tokens: tuple, sampling: Sampling) -> None:
            try:
                if tokens == (5,):
                    await asyncio.Event().wait()
                ended.append((tokens, "answered"))
            except asyncio.CancelledError:
                ended.append((tokens, "cancelled"))
                raise

    class Pipe(SimpleNamespace):
        def recv(self) -> tuple:
            time.sleep(0.05)  # what came before is under way
            if not orders:
                before_the_end.extend(ended)
                raise EOFError
            return orders.pop(0)

    sent = []
    asyncio.run(_answer(Pipe(send=sent.append), Forever()))
    assert before_the_end == [((6,), "answered"), ((5,), "cancelled")] and sent == [(1, None)]


def test_a_process_that_dies_ends_the_run_and_says_how(folder: Path) -> None:
    model = DataParallelModel.start(1, str(folder), "cpu", max_length=64)
    (worker,) = model.workers
    assert len(ask(model, ["Hello"])) == 1

    async def lose() -> None:
        task = asyncio.create_task(model.complete("What is 4?", replace(SAMPLING, max_tokens=60)))
        await asyncio.sleep(0)
        os.kill(worker._process.pid, signal.SIGKILL)
        await task

    with pytest.raises(FatalError, match=r"process 1 of 1 has ended \(signal 9\).*lower --data-parallel-size"):
        asyncio.run(lose())
    with pytest.raises(FatalError, match="has ended"):  # and nobody waits for it later
        ask(model, ["again"])


def test_it_ends_with_the_model(folder: Path) -> None:
    model = DataParallelModel.start(1, str(folder), "cpu", max_length=64)
    process = model.workers[0]._process
    del model
    process.join(timeout=30)
    assert process.exitcode is not None


def test_each_has_its_share_of_memory(model: DataParallelModel) -> None:
    assert model.limits["cache_gb"] == 0.01 / 2


@pytest.mark.parametrize(
    "flags, why",
    [
        ({"data_parallel_size": 0}, "--data-parallel-size must be at least 1"),
        ({"data_parallel_size": 2, "server": "http://localhost:1"}, "name several servers"),
    ],
)
def test_what_cannot_be_is_refused(flags: dict, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Eval(out=Path("unused"), **flags)


def test_it_is_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = SimpleNamespace(network=SimpleNamespace(device=SimpleNamespace(type="cuda")))
    monkeypatch.setattr(DataParallelModel, "load", lambda *how, **limits: elsewhere)
    with pytest.raises(UserError, match="is for a CPU"):
        DataParallelModel.start(2, "unused")
