"""Training a base model: documents that do not see each other, text that can be resumed anywhere, exact resuming."""

import asyncio
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from thinkling import cli
from thinkling.commands import pretrain
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.config import SIZES, ModelConfig
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model, resolve
from thinkling.train.config import OptimizerConfig
from thinkling.train.pretrain import packing, trainer
from thinkling.train.pretrain.config import CorpusName, TextConfig
from thinkling.train.pretrain.deeper import deepened
from thinkling.train.pretrain.packing import Batch, Batches, batches_from, laid_out, packed_batches
from thinkling.train.pretrain.trainer import PretrainMetrics, Trainer, weighted_loss

SMALL = ("--size", "tiny", "--rows", "2", "--length", "100", "--warmup-steps", "1", "--no-compile", "--device", "cpu",
         "--dtype", "float32")  # fmt: skip


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few documents to choose from, so that a stream begins at once."""
    monkeypatch.setattr(packing, "POOL_SIZE", 20)


def shape(vocab_size: int) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, rope_theta=10_000.0,
    )  # fmt: skip


def network(vocab_size: int, seed: int = 0) -> Transformer:
    return init_weights(Transformer(shape(vocab_size)), seed)


def test_the_corpora_are_those_of_the_flag() -> None:
    assert set(CorpusName.__args__) == set(packing.CORPORA)


# --- documents ---


def loss_alone(model: Transformer, batch: Batch) -> torch.Tensor:
    """The same loss, each document read by itself; between two of them nothing but the first token's loss crosses."""
    total = weight = torch.tensor(0.0)
    for tokens, weights, numbers in zip(batch.tokens, batch.weights, batch.documents, strict=True):
        for place in range(len(tokens) - 1):
            first = int((numbers == numbers[place]).nonzero()[0])
            logits = model.logits(model(tokens[None, first : place + 1]))[0, -1]
            total = total + weights[place + 1] * F.cross_entropy(logits, tokens[place + 1])
            weight = weight + weights[place + 1]
    return total / weight


def test_a_document_is_read_as_if_it_stood_alone() -> None:
    """The loss and every gradient of packed rows are those of documents that are read one by one, token by token."""
    random, model = torch.Generator().manual_seed(3), network(50)
    lengths = ((5, 1, 6), (8, 3))
    rows = [
        [packing.Document(torch.randint(50, (n,), generator=random).tolist(), [0.5] * (n - 1) + [1.0]) for n in own]
        for own in lengths
    ]
    batch = laid_out(rows, 13, end=49)
    assert batch.documents[0].tolist() == [0] * 5 + [1] + [2] * 6 + [3]
    assert batch.documents[1].tolist() == [0] * 8 + [1] * 3 + [2] * 2
    assert batch.weights[1].tolist() == [0.5] * 7 + [1, 0.5, 0.5, 1, 0, 0]
    packed, alone = weighted_loss(model, batch), loss_alone(model, batch)
    assert packed.item() == pytest.approx(alone.item(), abs=1e-6)
    parameters = list(model.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(packed, parameters), torch.autograd.grad(alone, parameters), strict=True
    ):
        assert torch.allclose(mine, theirs, atol=1e-6)


# --- streams of text ---


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.documents, other.documents)


def test_a_stream_can_be_entered_anywhere(tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew every three batches here, so that never more than two are made for nothing."""
    backend, text = tiny_tokenizer.backend, TextConfig(rows=2, length=100)
    monkeypatch.setattr(packing, "STREAM_TOKENS", 600)
    whole = list(islice(batches_from(backend, text, "s", 0), 8))
    made = []

    def counting(*args: object, **more: object):
        for batch in packed_batches(*args, **more):
            made.append(batch)
            yield batch

    monkeypatch.setattr(packing, "packed_batches", counting)
    for first in range(8):
        made.clear()
        assert same(next(batches_from(backend, text, "s", first)), whole[first])
        assert len(made) == first % 3 + 1
    assert not any(same(whole[i], whole[j]) for i in range(8) for j in range(i))


def test_the_workers_take_turns_from_any_step_on(tiny_tokenizer: Tokenizer) -> None:
    text = TextConfig(rows=2, length=100, workers=2)

    def from_step(step: int, num: int) -> list[Batch]:
        data = Batches(tiny_tokenizer.backend.to_str(), text, step)
        return list(islice(torch.utils.data.DataLoader(data, batch_size=None, num_workers=2), num))

    whole = from_step(0, 5)
    for step in (1, 2):
        assert all(same(a, b) for a, b in zip(from_step(step, 3), whole[step : step + 3], strict=True))


# --- the run ---


@pytest.fixture
def small_size(monkeypatch: pytest.MonkeyPatch, tiny_tokenizer: Tokenizer) -> None:
    """A network that is small, with a tokenizer that is there already; test_cli.py trains both as they are."""
    monkeypatch.setitem(SIZES, "tiny", shape(512))
    monkeypatch.setattr(pretrain, "new_tokenizer", lambda settings: tiny_tokenizer.backend)


def run(out: Path, *more: str) -> Path:
    cli.main(["pretrain", "--out", str(out), "--num-tokens", "1200", "--dtype", "float32", *SMALL, *more])
    return resolve(str(out))


def rows_of(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_a_run_that_died_ends_with_the_same_bits(
    tmp_path: Path, small_size: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in its fifth step of six, behind a checkpoint at the fourth: rows and weights are those of one that did
    not. Once it began anew from the start, or lost the optimizer's moments, these would differ."""
    whole = run(tmp_path / "whole", "--save-every", "2")
    take = Trainer.take

    def dies(self: Trainer, step: int) -> PretrainMetrics:
        if step == 4:
            raise KeyboardInterrupt
        return take(self, step)

    monkeypatch.setattr(Trainer, "take", dies)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(tmp_path / "died", "--save-every", "2")
    with pytest.raises(UserError, match="a training run that is not finished: run its command again"):
        resolve(str(tmp_path / "died"))
    monkeypatch.setattr(Trainer, "take", take)
    died = run(tmp_path / "died", "--save-every", "2")
    assert rows_of(tmp_path / "died") == rows_of(tmp_path / "whole")
    assert [row["tokens"] for row in rows_of(tmp_path / "died")] == [200, 400, 600, 800, 1000, 1200]
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (died, whole))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_run_may_move_and_be_loaded_by_its_folder(tmp_path: Path, small_size: None) -> None:
    async def asked() -> None:  # as from a notebook, whose event loop runs
        run(tmp_path / "run")

    asyncio.run(asked())
    (tmp_path / "run").rename(tmp_path / "moved")
    folder = resolve(str(tmp_path / "moved"))
    assert folder == tmp_path / "moved" / "checkpoints" / "step-00006"
    assert load_model(folder).config == shape(512)


def test_a_run_that_diverges_says_so_and_keeps_what_it_learnt(
    tmp_path: Path, small_size: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """From the third step on the loss is NaN. It went on to the end of the hours that it was given, and a resumed one
    ended in a TypeError where it showed the steps without a loss. Nobody else may write to its folder meanwhile."""
    seen = iter(range(9))

    def loss(model: Transformer, batch: Batch) -> torch.Tensor:
        number = next(seen)
        if number == 1:
            with pytest.raises(SystemExit):
                run(tmp_path / "run", "--num-tokens", "2000")
            assert "another process is writing to this run" in capsys.readouterr().err
        return weighted_loss(model, batch) * (float("nan") if number >= 2 else 1.0)

    monkeypatch.setattr(trainer, "weighted_loss", loss)
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            run(tmp_path / "run", "--num-tokens", "2000")
        said = capsys.readouterr().err
        assert end.value.code == 2 and said.count("\n") == 1
        assert "not finite in 3 steps in a row" in said and "--start-from" in said
    rows = rows_of(tmp_path / "run")
    assert [row["loss"] is None for row in rows] == [False, False] + [True] * 4
    kept = load_file(tmp_path / "run" / "checkpoints" / "step-00006" / "model.safetensors")
    assert all(weight.isfinite().all() for weight in kept.values())


def test_a_process_that_makes_text_may_die(
    tiny_tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a RuntimeError with a dozen frames. Not killed here: torch would raise wherever pytest is just then."""

    def dies(self: Trainer, step: int) -> PretrainMetrics:
        raise RuntimeError("DataLoader worker (pid(s) 7403) exited unexpectedly")

    model = LanguageModel("tiny", network(tiny_tokenizer.backend.get_vocab_size()), tiny_tokenizer)
    monkeypatch.setattr(pretrain, "new_model", lambda settings, last: model)
    monkeypatch.setattr(Trainer, "take", dies)
    with pytest.raises(UserError, match="a process that makes text has died"):
        pretrain.train(pretrain.Pretrain(out=tmp_path / "run", device="cpu", dtype="float32", compile=False))


def test_a_deeper_network_begins_where_its_start_ended(
    tmp_path: Path, small_size: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Three layers more change no logit, and then they learn: even the matrices whose gradient is zero at first."""
    start = run(tmp_path / "start", "--num-tokens", "400")
    monkeypatch.setitem(SIZES, "deep", replace(shape(512), num_hidden_layers=5))
    monkeypatch.setitem(SIZES, "wide", replace(shape(512), num_hidden_layers=5, intermediate_size=64))
    monkeypatch.setitem(SIZES, "shallow", replace(shape(512), num_hidden_layers=1))
    settings = pretrain.Pretrain(out=tmp_path, size="deep", start_from=str(start), device="cpu", dtype="float32")
    tokens, before = torch.arange(60).view(3, 20), load_model(start)
    after = pretrain.new_model(settings, None).network
    assert after.config == SIZES["deep"]
    assert torch.equal(after.logits(after(tokens)), before.logits(before(tokens)))
    again = replace(settings, size="tiny")
    for same_size in (again, replace(again, size=None)):
        assert pretrain.new_model(same_size, None).network.config == shape(512)
    deep = load_model(run(tmp_path / "deep", "--size", "deep", "--start-from", str(start), "--seed", "1"))
    assert deep.config == SIZES["deep"]
    for name, weight in deep.model.layers[2:].named_parameters():
        assert not torch.equal(weight, after.model.layers[2:].get_parameter(name)), name
    monkeypatch.setitem(SIZES, "deep", replace(SIZES["deep"], vocab_size=700))  # the tokenizer says how many there are
    assert pretrain.new_model(settings, None).network.config == replace(shape(512), num_hidden_layers=5)
    for size, said in (("wide", "intermediate_size 48, not 64"), ("shallow", "2 layers, more than 1")):
        with pytest.raises(SystemExit):
            run(tmp_path / size, "--size", size, "--start-from", str(start))
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and said in error and "can only add layers to" in error
        assert not (tmp_path / size).exists()


@torch.no_grad()
def test_a_mixture_becomes_deeper() -> None:
    experts = dict(model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    wanted = replace(shape(50), num_hidden_layers=5, mlp_only_layers=(0, 3), **experts)
    start = init_weights(Transformer(replace(wanted, num_hidden_layers=2)), seed=1)
    deep, tokens = deepened(start, wanted, 2, "", ""), torch.arange(40).view(2, 20)
    assert deep.config == wanted and torch.equal(deep.logits(deep(tokens)), start.logits(start(tokens)))


def test_the_rate_falls_with_the_minutes(tiny_tokenizer: Tokenizer) -> None:
    """A run by time has as many steps as its pace lets expect: after 30 of 60 seconds and ten steps, twenty."""
    model = LanguageModel("tiny", network(tiny_tokenizer.backend.get_vocab_size()), tiny_tokenizer)
    trainer = Trainer(model, TextConfig(rows=1, length=64), OptimizerConfig(name="muon"), None, minutes=1.0)
    trainer.seconds = 30.0
    assert trainer.steps_expected(10) == pytest.approx(20)
    trainer.seconds = 90.0
    assert trainer.steps_expected(10) == 10  # over
