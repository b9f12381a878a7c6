"""The same work on every device that this machine has, beside the plainest version of it on the CPU in float32.

On a machine without a GPU that is the CPU alone: the same paths, and the same tests.
"""

import copy
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from full_logits import score

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.device import all_memory, free_memory
from thinkling.generate import cuda_graph
from thinkling.generate.engine import Engine
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import score_packed
from thinkling.model.transformer import Transformer
from thinkling.train import checkpoint
from thinkling.train.rl import sampler

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
on_each = pytest.mark.parametrize("device", DEVICES)
PAGE = os.sysconf("SC_PAGE_SIZE")
PROMPTS = [[9] * 7, [3, 4], list(range(5, 30)), [7] * 40]


@on_each
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("recorded", [False, True])
def test_the_engine_says_what_the_plain_loop_says(
    tiny_network: Transformer, monkeypatch: pytest.MonkeyPatch, device: str, temperature: float, recorded: bool
) -> None:
    """Four requests, five rows or two. The longest row ends first and leaves its place, longer than the others are."""
    monkeypatch.setattr(cuda_graph, "POSITIONS", 16)
    samplings = [Sampling(temperature, max_tokens=24 - 4 * i, seed=i) for i in range(len(PROMPTS))]
    wanted = [generate(tiny_network, p, s, ()) for p, s in zip(PROMPTS, samplings, strict=True)]
    for max_rows in (5, 2):
        engine = Engine(copy.deepcopy(tiny_network).to(device), (), max_rows=max_rows, max_length=70)
        engine.runner.decoder = cuda_graph.CudaGraphDecoder(engine.model, engine.runner.cache, 70) if recorded else None
        ids = [engine.submit(p, s) for p, s in zip(PROMPTS, samplings, strict=True)]
        done = {}
        while engine.busy:
            done.update(engine.step())
        for i, one in zip(ids, wanted, strict=True):
            assert done[i].tokens == one.tokens
            assert done[i].logprobs == pytest.approx(one.logprobs, abs=1e-4)
        if recorded:
            shapes = set(engine.runner.decoder.passes)
            assert {rows for rows, _ in shapes} == ({4, 2, 1} if max_rows == 5 else {2, 1})
            assert {length for _, length in shapes} <= {16, 32, 48, 64}


def test_where_nothing_is_recorded(tiny_network: Transformer) -> None:
    assert Engine(tiny_network, ()).runner.decoder is None  # on a CPU
    experts = replace(tiny_network.config, model_type="qwen3_moe", num_experts=4, num_experts_per_tok=2,
                      moe_intermediate_size=16, num_hidden_layers=1)  # fmt: skip
    with torch.device(DEVICES[-1]):
        assert not cuda_graph.can_record(Transformer(experts))


@on_each
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_scores_and_gradients_are_those_of_whole_rows(
    tiny_network: Transformer, device: str, dtype: torch.dtype, close: float, recompute: bool
) -> None:
    """Relative errors, all numbers together: of the log-probabilities, and of their sum's gradient."""
    random = torch.Generator().manual_seed(0)
    completions = [[torch.randint(0, 512, (n,), generator=random).tolist() for n in (30, 1, 17)] for _ in PROMPTS]
    rows = [(p, c) for p, own in zip(PROMPTS, completions, strict=True) for c in own]
    longest = max(len(p) + len(c) for p, c in rows)
    tokens = torch.tensor([[*p, *c, *[0] * (longest - len(p) - len(c))] for p, c in rows])
    mask = torch.tensor([[len(p) <= i < len(p) + len(c) for i in range(longest)] for p, c in rows])
    wanted = score(tiny_network, tokens, mask, 0.8)[0][mask]
    expected = torch.autograd.grad(wanted.sum(), list(tiny_network.parameters()))
    network = copy.deepcopy(tiny_network).to(device, dtype)
    found, _ = score_packed(network, PROMPTS, completions, 0.8, recompute=recompute)
    assert found.dtype == torch.float32
    assert far(found, wanted) < close
    gradients = torch.autograd.grad(found.sum(), list(network.parameters()))
    flat, known = (torch.cat([g.float().cpu().flatten() for g in part]) for part in (gradients, expected))
    assert far(flat, known) < close


def far(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.detach().cpu() - wanted.detach()).norm() / wanted.detach().norm())


class Killed(Exception):
    pass


@on_each
@pytest.mark.parametrize(
    "extra",
    [{}, dict(optimizer="adamw-8bit", recompute=True), dict(optimizer="muon"),
     dict(lora_rank=8, preset="grpo", lora_alpha=8.0), dict(overlap=True, updates_per_batch=2)],
    ids=str,
)  # fmt: skip
def test_bfloat16_training_learns_and_goes_on(
    tiny_network: Transformer,
    tiny: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    device: str,
    extra: dict,
) -> None:
    """Rewarded for low ids, the policy says lower ones. A run that died goes on at its checkpoint's very weights."""
    original = sampler.roll_out

    def rewarded(*arguments: object) -> list:
        return [[replace(r, reward=sum(t < 128 for t in r.completion.tokens) / 10) for r in g]
                for g in original(*arguments)]  # fmt: skip

    monkeypatch.setattr(sampler, "roll_out", rewarded)

    def model() -> LanguageModel:
        network = copy.deepcopy(tiny_network).to(device, torch.bfloat16)
        network.model.embed_tokens.weight.data *= 10  # the head's too: else adapters, which leave it, could say little
        return LanguageModel("tiny", network, tiny.tokenizer, max_rows=64, max_length=512)

    small = dict(out=tmp_path / "run", steps=12, prompts_per_step=4, rollouts_per_prompt=8, max_tokens=10, lr=3e-2,
                 save_every=4, preflight=False, eval_every=0, watchdog=False, device=device,
                 tasks=(str(Path(__file__).with_name("sums.jsonl")),), dtype="bfloat16")  # fmt: skip
    settings = Grpo(**(small | extra))
    rewards = []

    def die(metrics: object) -> None:
        if metrics.step == 5:
            raise Killed

    with pytest.raises(Killed):
        grpo.train(settings, model(), die)
    assert checkpoint.latest(settings.out).step == 4
    grpo.train(settings, model(), lambda metrics: rewards.append(metrics.reward))
    assert len(rewards) == 12
    assert sum(rewards[-4:]) / 4 > sum(rewards[:2]) / 2 + 0.2


# --- the memory that is free ---


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """All that there is to read, by path."""
    found = {"/proc/meminfo": "MemTotal: 999 kB\nMemAvailable:   700 kB\nBuffers: 1 kB\n"}

    def read(self: Path, *_: object, **__: object) -> str:
        if str(self) not in found:
            raise FileNotFoundError(self)
        return found[str(self)]

    monkeypatch.setattr(Path, "read_text", read)
    return found


def test_free_memory_of_this_machine() -> None:
    assert 0 < free_memory() < all_memory()


def test_free_memory_is_what_the_machine_and_its_container_have(files: dict[str, str]) -> None:
    assert free_memory() == 700 * 1024
    files |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "1000\n"}
    assert free_memory() == 700 * 1024
    files["/sys/fs/cgroup/memory.max"] = "5000\n"
    assert free_memory() == 4000
    files["/sys/fs/cgroup/memory.stat"] = "file 800\ninactive_file 300\n"  # that is given back
    assert free_memory() == 4300
    files["/sys/fs/cgroup/memory.max"] = "100\n"  # lowered below what is in use
    assert free_memory() == 0
    files.pop("/proc/meminfo")
    assert free_memory() == all_memory() // 2


def test_free_memory_in_a_container_of_the_first_version(files: dict[str, str]) -> None:
    root = "/sys/fs/cgroup/memory/memory"
    files |= {f"{root}.limit_in_bytes": "9223372036854771712\n", f"{root}.usage_in_bytes": "1000\n"}
    assert free_memory() == 700 * 1024
    files |= {f"{root}.limit_in_bytes": "5000\n", f"{root}.stat": "inactive_file 1\ntotal_inactive_file 300\n"}
    assert free_memory() == 4300


def test_free_memory_of_a_process_that_may_not_grow(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ulimit -v` says."""
    files["/proc/self/statm"] = "3 2 1 0 0 0 0\n"
    for limit, free in ((8 * PAGE, 5 * PAGE), (2 * PAGE, 0), (-1, 700 * 1024)):
        monkeypatch.setattr("resource.getrlimit", lambda kind, limit=limit: (limit, -1))
        assert free_memory() == free


@pytest.mark.parametrize(("line", "root", "most", "used"), [
    ("0::", "/sys/fs/cgroup", "max", "current"), ("4:memory:", "/sys/fs/cgroup/memory", "limit_in_bytes",
                                                  "usage_in_bytes")])  # fmt: skip
def test_free_memory_where_a_batch_system_limits_a_job(
    files: dict[str, str], line: str, root: str, most: str, used: str
) -> None:
    """The limit stands above the group of the process itself."""
    files["/proc/self/cgroup"] = f"9:name=systemd:/other\n{line}/slurm/job_7/step_0\n"
    files |= {f"{root}/slurm/job_7/memory.{most}": "9000\n", f"{root}/slurm/job_7/memory.{used}": "2000\n"}
    assert free_memory() == 7000
    files |= {f"{root}/slurm/job_7/step_0/memory.{most}": "6000\n", f"{root}/slurm/job_7/step_0/memory.{used}": "2\n"}
    assert free_memory() == 5998
