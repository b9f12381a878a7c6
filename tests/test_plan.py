"""thinkling plan: its memory is that of the tensors which a run really holds; its time is arithmetic, by hand."""

import copy
from dataclasses import replace

import pytest
import torch
from ranks import on_ranks, values

from thinkling import cli
from thinkling.commands.plan import size_of
from thinkling.errors import UserError
from thinkling.generate.score import score_packed
from thinkling.model.config import SIZES
from thinkling.model.transformer import Transformer
from thinkling.train import memory
from thinkling.train.config import OptimizerConfig
from thinkling.train.memory import Workload
from thinkling.train.optim import Optimizer
from thinkling.train.plan import Job, Machine, RunPlan, Shares, drawing, parts_of_rank, plan_run, seconds_of
from thinkling.train.sharding import learner

WORK = Workload(num_rollouts=8, max_tokens=64, max_length=192, max_rows=256, cache_gb=1.0, micro_batch_tokens=256)
JOB = Job(num=8, tokens=32, longest=64)


def held(start: Transformer) -> dict[str, float]:
    """GB of the tensors that a rank holds behind a step and before its gradients go."""
    whole, size = copy.deepcopy(start), lambda t: (t.to_local() if hasattr(t, "to_local") else t).nbytes
    own = learner(whole)
    optimizer = Optimizer(whole, OptimizerConfig(lr=1e-3), own)
    found = {}

    def look() -> None:
        found["gradients"] = sum(size(w.grad) for w in own.parameters())

    own.logits(own(torch.tensor([[1, 2, 3]]))).float().sum().backward()
    look()
    optimizer.step()
    states = [v for part in optimizer.parts for state in part.state.values() for v in state.values()]
    found["state"] = sum(size(v) for v in states if v.ndim)
    found["learns"] = sum(size(w) for w in own.parameters())
    found["whole"] = sum(size(w) for w in whole.parameters())
    return {name: num / 1e9 for name, num in found.items()}


def test_what_a_rank_holds_is_what_the_plan_says(tiny_network: Transformer) -> None:
    config = tiny_network.config
    alone = parts_of_rank(config, torch.float32, WORK, JOB)
    own = held(tiny_network)
    assert own["whole"] == pytest.approx(alone["weights"], rel=0.02)
    assert own["gradients"] == pytest.approx(alone["gradients"], rel=0.02)
    assert own["state"] == pytest.approx(alone["adamw's state"], rel=0.02)
    dealt = parts_of_rank(config, torch.float32, WORK, replace(JOB, ranks=2))
    for own in values(on_ranks(2, held, tiny_network)):
        assert own["whole"] == pytest.approx(dealt["whole network, to draw and to save"], rel=0.02)
        assert own["learns"] == pytest.approx(dealt["shard of the weights"], rel=0.2)
        assert own["gradients"] == pytest.approx(dealt["shard of the gradients"], rel=0.2)
        assert own["state"] == pytest.approx(dealt["shard of adamw's state"], rel=0.2)


def test_activations_are_those_that_a_pass_keeps(tiny_network: Transformer) -> None:
    """Four completions of 64 tokens, each of a prompt of its own: what autograd keeps, within a fifth of the plan's."""
    own = {weight.untyped_storage().data_ptr() for weight in tiny_network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = score_packed(tiny_network, [[0] * 128] * 4, [[[0] * 64]] * 4, 1.0)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 1e9
    found = plan_run(tiny_network.config, torch.float32, WORK, JOB, MADE_UP, Shares())
    assert hidden[0].shape == (256,) and found.tokens == 256
    logits = 256 * tiny_network.config.vocab_size * 4 * 2 / 1e9  # of the head, which the plan counts by chunks
    assert found.parts["activations of a pass"] == pytest.approx(measured - logits, rel=0.2)


# --- time, by hand ---

MADE_UP = Machine(gb=80, tflops=100, gbs=1000, links=100, network=10)
EVERYTHING = Shares(learning=0.5, reading=0.5, drawing=0.5, telling=0.5, kernels=1e-9)


def test_drawing_by_hand() -> None:
    """8 rows on 2 servers; each of 64 passes reads all weights, and 4 rows' keys and values, at 500 GB/s."""
    config = SIZES["Qwen3-0.6B"]
    rows, cache = 4, 28 * 2 * 8 * 128 * 2  # layers, keys and values, heads, width, bytes
    one = (config.num_parameters() * 2 + rows * (128 + 16) * cache) / 500e9
    prompt = rows / 8 * config.flops(128) / 50e12
    found = drawing(config, torch.bfloat16, replace(JOB, servers=2), MADE_UP, EVERYTHING)
    assert found == pytest.approx(prompt + 64 * one, rel=1e-6)
    turns = drawing(config, torch.bfloat16, replace(JOB, servers=2), MADE_UP, EVERYTHING, at_once=1)
    one = (config.num_parameters() * 2 + (128 + 16) * cache) / 500e9
    assert turns == pytest.approx(prompt + 4 * 32 * one, rel=1e-6)  # one after the other, each as long as the mean
    slow = drawing(config, torch.bfloat16, JOB, MADE_UP, replace(EVERYTHING, kernels=1.0))
    assert slow == pytest.approx(64 * 28, rel=0.01)  # a second a layer


def test_learning_is_computing_or_telling_whichever_takes_longer() -> None:
    config, dtype = SIZES["Qwen3-0.6B"], torch.bfloat16
    job, work = replace(JOB, num=1000, ranks=4), replace(WORK, num_rollouts=1000)
    found = seconds_of(config, dtype, work, job, MADE_UP, EVERYTHING, tokens=10**9)
    computing = 3 * 1000 * config.flops(48) / (4 * 50e12)
    assert found["learning"] == pytest.approx(computing, rel=1e-6)
    often = seconds_of(config, dtype, work, job, MADE_UP, EVERYTHING, tokens=48)
    assert often["learning"] == pytest.approx(250 * config.num_parameters() * 8 / 50e9, rel=1e-6)
    again = seconds_of(config, dtype, replace(work, recompute=True), job, MADE_UP, EVERYTHING, tokens=10**9)
    assert again["learning"] == pytest.approx(computing * 4 / 3, rel=1e-6)
    far = seconds_of(config, dtype, work, replace(job, ranks=16), MADE_UP, EVERYTHING, tokens=48)
    assert far["learning"] == pytest.approx(63 * config.num_parameters() * 8 / 5e9, rel=1e-6)  # over the network


def test_what_is_drawn_ahead_by_hand() -> None:
    """Two copies: three caches share what is left, so each has room for a third of the answers at once. Where servers
    draw, a step takes as long as the drawing or all the rest."""
    config, dtype, work = SIZES["Qwen3-0.6B"], torch.bfloat16, replace(WORK, num_rollouts=600, num_copies=2)
    row = 192 * 28 * 2 * 8 * 128 * 2 / 1e9  # length, layers, keys and values, heads, width, bytes
    work, job = replace(work, max_rows=600, cache_gb=1000), replace(JOB, num=600)
    whole = plan_run(config, dtype, work, job, replace(MADE_UP, gb=1000), EVERYTHING)
    assert whole.parts["key-value cache"] == pytest.approx(3 * 600 * row)
    small = replace(MADE_UP, gb=(whole.gb - 3 * 500 * row) / 0.92)
    found = plan_run(config, dtype, work, job, small, EVERYTHING)
    assert found.parts["key-value cache"] == pytest.approx(3 * 100 * row)
    assert found.seconds["drawing"] == pytest.approx(drawing(config, dtype, job, MADE_UP, EVERYTHING, at_once=100))
    seconds = {"drawing": 5.0, "learning": 3.0, "pushing": 1.0}
    assert RunPlan({}, 1, 0, seconds).step == 9
    assert RunPlan({}, 1, 0, seconds, overlap=True).step == 5
    assert RunPlan({}, 1, 0, seconds | {"learning": 6.0}, overlap=True).step == 7


# --- the command ---


def test_the_command_says_what_fits(capsys: pytest.CaptureFixture) -> None:
    cli.main(["plan", "Qwen3-8B", "--gpus", "8", "--recompute"])
    said = " ".join(capsys.readouterr().out.split())
    assert "fits:" in said and "8 ranks: each a whole network, and 1/8 of what learns" in said and "assumed:" in said
    cli.main(["plan", "Qwen3-8B"])
    said = " ".join(capsys.readouterr().out.split())
    assert "does not fit" in said and "Try --recompute" in said
    cli.main(["plan", "Qwen3-0.6B", "--command", "eval", "--gpus", "2", "--gpu", "rtx4090"])
    said = capsys.readouterr().out
    assert "gradients" not in said and "2 servers" in " ".join(said.split())
    cli.main(["plan", "Qwen3-0.6B", "--overlap", "--max-stale", "2"])
    said = " ".join(capsys.readouterr().out.split())
    assert "copies that draw ahead 2.38" in said and "meanwhile" not in said  # 596 million weights of 2 bytes, twice
    cli.main(["plan", "Qwen3-0.6B", "--overlap", "--gpus", "4", "--servers", "3"])
    said = " ".join(capsys.readouterr().out.split())
    assert "copies" not in said and "pushing 0.596; drawing goes on meanwhile)" in said


@pytest.mark.parametrize(
    ("flags", "why"),
    [("--gpus 8 --servers 8", "leaves a GPU of --gpus 8 to learn"),
     ("--gpus 8 --servers 1 --command sft", "--servers 1 is for grpo"),
     ("--gpus 8 --optimizer adamw-8bit", "is for one GPU"),
     ("--gpus 8 --overlap", "--overlap is for grpo in one process"),
     ("--command sft --overlap", "--overlap is for grpo in one process"),
     ("--max-stale 2", "--max-stale 2 is for rollouts that are drawn ahead: add --overlap")],
)  # fmt: skip
def test_what_cannot_be_is_said(flags: str, why: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["plan", "Qwen3-8B", *flags.split()])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gb", "said"),
    [(115.2, "115 GB"), (9.96, "10 GB"), (9.94, "9.9 GB"), (1.0, "1.0 GB"), (0.9996, "1.0 GB"), (0.048, "48 MB"),
     (0.0021, "2.1 MB")],
)  # fmt: skip
def test_a_size_is_never_said_to_be_zero(gb: float, said: str) -> None:
    """A small model needed "0 GB of main memory"."""
    assert size_of(gb) == said


def test_a_size_that_nobody_knows_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"Qwen9-8B: no such .* Sizes known by name: .*Qwen3-8B"):
        memory.config_of("Qwen9-8B")


def test_counting_a_large_network_touches_no_weights() -> None:
    """Of Qwen3-32B a layer has half a billion weights; to fill them took seconds and gigabytes."""
    with pytest.raises(UserError, match="is too little"):
        memory.plan(replace(WORK, memory_gb=1.0), SIZES["Qwen3-32B"], torch.bfloat16)
    network = memory.unfilled(replace(SIZES["Qwen3-32B"], num_hidden_layers=1, vocab_size=8), torch.bfloat16)
    assert network.dtype == torch.bfloat16 and torch.get_default_dtype() == torch.float32
    assert not network.model.layers[0].mlp.up_proj.weight.any()  # fresh pages are zeros
