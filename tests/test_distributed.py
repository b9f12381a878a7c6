"""Several ranks train as one does: same losses and weights, same completions; and none waits for ever."""

import copy
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import on_ranks, values
from safetensors.torch import load_file

from thinkling import cli, distributed
from thinkling.commands import distill, grpo, pretrain, sft
from thinkling.commands.distill import Distill
from thinkling.commands.grpo import Grpo
from thinkling.commands.pretrain import Pretrain
from thinkling.commands.sft import Sft
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import derive_seed
from thinkling.model.config import SIZES
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model
from thinkling.runs import read_jsonl
from thinkling.train import checkpoint, sharding
from thinkling.train.config import OptimizerConfig
from thinkling.train.optim import Optimizer
from thinkling.train.pretrain import packing
from thinkling.train.rl import sampler
from thinkling.train.sft.trainer import SftMetrics
from thinkling.train.trackers import numbers

RANKS = int(os.environ.get("RANKS", "2"))  # that learn as one does; 4 in `make fuzz`
FOUR = 4  # where the same is tried on four ranks, too, which costs more: a part of it

# --- who does what ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 5))
def test_shares_are_neighbours_that_make_the_whole_and_are_about_equal(costs: list[int], world: int) -> None:
    found = []
    for rank in range(world):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(distributed, "_ranks", distributed.Ranks(rank, world, None, None))
            found.append(costs[distributed.share(costs)])
    assert [cost for own in found for cost in own] == costs
    for own in found:
        assert abs(sum(own) - sum(costs) / world) <= max(costs, default=0)


def passes(own: dict[int, list[str]]) -> list[tuple[str, bool]]:
    return list(distributed.same_number(own[distributed.rank()], "spare"))


def test_every_rank_makes_equally_many_passes() -> None:
    found = values(on_ranks(3, passes, {0: ["a", "b"], 1: [], 2: ["c"]}))
    assert found == [
        [("a", True), ("b", True)],
        [("spare", False), ("spare", False)],
        [("c", True), ("spare", False)],
    ]
    assert passes({0: ["a"]}) == [("a", True)]  # alone: what it has


def told() -> tuple:
    rank = distributed.rank()
    return (
        distributed.all_gather(rank * 10),
        distributed.broadcast(rank + 5),
        distributed.in_shares("abcde", lambda some, first: [f"{first + i}{c}{rank}" for i, c in enumerate(some)]),
    )


def test_what_ranks_tell_each_other() -> None:
    assert values(on_ranks(2, told)) == 2 * [([0, 10], 5, ["0a0", "1b0", "2c1", "3d1", "4e1"])]
    assert told() == ([0], 5, ["0a0", "1b0", "2c0", "3d0", "4e0"])


def test_what_a_process_alone_is_doing_ends_with_it() -> None:
    with distributed.phase("step 7"):
        with pytest.raises(UserError), distributed.phase("drawing"):
            raise UserError("no")
        with ThreadPoolExecutor(1) as other, distributed.phase("learning"):  # what is drawn meanwhile
            with distributed.phase("a pass"):
                beside = distributed.phase("drawing")  # kept, or it would end here
                other.submit(beside.__enter__).result()
            assert distributed.doing() == "step 7, learning"
    assert distributed.doing() == ""


# --- a network that is dealt out ----------------------------------------------------------------------------------


def passed(network: Transformer, number: int) -> torch.Tensor:
    tokens = torch.randint(500, (1, 5 + number), generator=torch.Generator().manual_seed(number))
    return network.logits(network(tokens)).float().logsumexp(-1).sum()


def gradients(start: Transformer) -> tuple[dict[str, torch.Tensor], set[torch.dtype]]:
    """Of three passes, two of which are rank 0's."""
    network = sharding.learner(copy.deepcopy(start))
    own = {0: [0, 1], 1: [2]}.get(distributed.rank(), [])
    for number, counts in distributed.same_number(own, spare=0):
        (passed(network, number) * counts).backward()
    named = dict(network.named_parameters())
    return {n: sharding.whole(w.grad) for n, w in named.items()}, {w.dtype for w in named.values()}


def test_gradients_add_up_over_ranks_in_float32(tiny_network: Transformer) -> None:
    """Also where an expert is chosen on one rank only, where head and embedding are two, and in bfloat16."""
    more = dict(model_type="qwen3_moe", num_experts=8, num_experts_per_tok=1, moe_intermediate_size=16)
    sparse = init_weights(Transformer(replace(tiny_network.config, tie_word_embeddings=False, **more)), seed=0)
    half = copy.deepcopy(tiny_network).bfloat16()
    starts = [sparse, half]
    found = values(on_ranks(RANKS, lambda: [gradients(start) for start in starts]))
    for start, (own, dtypes) in zip(starts, found[0], strict=True):
        exact = start.float()
        sum(passed(exact, number) for number in range(3)).backward()
        for name, weight in exact.named_parameters():
            wanted = torch.zeros_like(weight) if weight.grad is None else weight.grad
            apart, size = float((own[name] - wanted).norm()), float(wanted.norm())
            assert apart <= (0.02 if start is half else 1e-5) * size + 1e-6, name
        assert dtypes == {torch.float32} and own["model.norm.weight"].dtype == torch.float32


# --- learning from examples ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh(tiny: LanguageModel) -> Callable[[], LanguageModel]:
    """The tiny model as it began, one for each run."""
    return lambda: LanguageModel("tiny", copy.deepcopy(tiny.network), tiny.tokenizer, **tiny.limits)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, random = tmp_path_factory.mktemp("data") / "rows.jsonl", Random(0)
    pairs = [(random.randint(1, 99), random.randint(1, 9)) for _ in range(25)]
    path.write_text("".join(json.dumps({"question": f"{a} + {b}?", "response": f"{a + b}" + " ok" * b}) + "\n"
                            for a, b in pairs))  # fmt: skip
    return path


def plan(out: Path, rows: Path, **changes: object) -> Sft:
    """Batches of 8 and one of a single example, which leaves a rank without work; several passes for a batch."""
    small = dict(out=out, data=rows, epochs=1, batch_size=8, lr=1e-2, save_every=2, micro_batch_tokens=60)
    return Sft(**(small | dict(eval_every=2, validation_records=3) | changes))


def metrics_of(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in numbers(row).items() if not name.endswith("seconds")} for row in rows]


def saved(out: Path) -> dict[str, torch.Tensor]:
    folder = checkpoint.latest(out).folder
    files = (folder / "model.safetensors", folder / "training" / "optimizer.safetensors")
    return {f"{path.name}/{name}": tensor for path in files for name, tensor in load_file(path).items()}


def assert_alike(one: Path, other: Path, weights: float, rows: float) -> None:
    """Numbers of both runs, step by step, and the weights and the optimizer's state at the end, nearly the same."""
    for a, b in zip(metrics_of(one), metrics_of(other), strict=True):
        assert a == pytest.approx(b, rel=rows, abs=1e-6)
    a, b = saved(one), saved(other)
    assert a.keys() == b.keys()
    apart = {name: float((a[name].double() - b[name].double()).abs().max()) for name in a}
    assert max(apart.values()) < weights, sorted(apart.items(), key=lambda pair: -pair[1])[:5]


SUMS = str(Path(__file__).with_name("sums.jsonl"))
KINDS = {"muon": {"optimizer": "muon", "recompute": True}, "half": {}}


def test_several_ranks_learn_from_examples_as_one_does(
    tiny: LanguageModel, fresh: Callable[[], LanguageModel], tmp_path: Path, rows: Path
) -> None:
    """Weights move by about lr in each of 3 steps, 0.03 in all; what they differ by is a thousandth of that, and less.
    A bfloat16 model (half) rounds its gradients, and with them every step; it is its float32 masters, rounded."""

    def learn(name: str, kinds: Iterable[str] = KINDS) -> None:
        for kind in kinds:
            model = fresh()
            model.network.to(torch.bfloat16 if kind == "half" else torch.float32)
            sft.train(plan(tmp_path / name / kind, rows, **KINDS[kind]), model)

    learn("alone")
    values(on_ranks(RANKS, learn, "both"))
    values(on_ranks(FOUR, learn, "four", ["muon"]))
    both, alone = (tmp_path / name / "half" for name in ("both", "alone"))
    for a, b in zip(metrics_of(both), metrics_of(alone), strict=True):
        assert a == pytest.approx(b, rel=0.02)
    for own in (both, alone):
        tensors = saved(own)
        masters = [tensor for name, tensor in tensors.items() if "/master." in name]
        weights = [tensor for name, tensor in tensors.items() if name.startswith("model.")]
        sums = [sorted(float(w.double().sum()) for w in part) for part in (weights, [m.bfloat16() for m in masters])]
        assert sums[0] == sums[1] and all(not torch.equal(m, m.bfloat16().float()) for m in masters)
    for name in ("both", "four"):
        assert_alike(tmp_path / name / "muon", tmp_path / "alone" / "muon", weights=1e-5, rows=1e-5)


def test_moments_of_8_bits_are_for_one_process(tiny_network: Transformer) -> None:
    with pytest.raises(UserError, match="--optimizer adamw-8bit is for one process"):
        Optimizer(tiny_network, OptimizerConfig(name="adamw-8bit"), copy.deepcopy(tiny_network))


# --- learning from rollouts ---------------------------------------------------------------------------------------


def asked(out: Path, **changes: object) -> Grpo:
    """Three problems for two ranks, so that one draws twice as much as the other; short passes, unequally many."""
    small = dict(out=out, steps=3, prompts_per_step=3, rollouts_per_prompt=4, max_tokens=12, lr=1e-3, save_every=2)
    small |= dict(eval_every=2, eval_problems=3, eval_samples=2, preflight=False, micro_batch_tokens=80, tasks=(SUMS,))
    return Grpo(**(small | changes))


OBJECTIVES = {
    "whiten": {"preset": "reinforce++", "kl": "k3", "kl_coef": 0.1, "updates_per_batch": 2},
    "dapo": {"preset": "dapo", "dynamic_sampling": 1, "curriculum": True, "eval_every": 0},
}


@pytest.fixture
def mostly_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network is never right. Its rewards are made up: a group in two has no signal, and in the third step
    none has, so that its passes are skipped on every rank."""
    original = sampler.roll_out

    def rewarded(*arguments: object) -> list:
        groups = original(*arguments)
        silent = arguments[3].seed in (derive_seed(0, "rollout", 2), derive_seed(0, "rollout", 2, 1))
        return [
            [replace(r, reward=float(not silent and i % 2 == 0 and sum(r.completion.tokens) % 2)) for r in group]
            for i, group in enumerate(groups)
        ]

    monkeypatch.setattr(sampler, "roll_out", rewarded)


def test_several_ranks_learn_from_rollouts_as_one_does(
    fresh: Callable[[], LanguageModel], tmp_path: Path, mostly_alike: None
) -> None:
    """Whichever rank draws a problem's completions, they are the same; and so is what is learnt from them."""

    def learn(name: str, kinds: Iterable[str] = OBJECTIVES) -> None:
        for kind in kinds:
            grpo.train(asked(tmp_path / name / kind, **OBJECTIVES[kind]), fresh())

    learn("alone")
    values(on_ranks(RANKS, learn, "both"))
    values(on_ranks(FOUR, learn, "four", ["dapo"]))  # three problems: one rank draws nothing
    for name, kind in (("both", "whiten"), ("both", "dapo"), ("four", "dapo")):
        several, alone = tmp_path / name / kind, tmp_path / "alone" / kind
        a, b = ([(row["id"], row["tokens"], row["reward"]) for row in read_jsonl(own / "samples.jsonl")]
                for own in (several, alone))  # fmt: skip
        assert a == b, kind
        assert_alike(several, alone, weights=1e-5, rows=1e-4)
        norms = [row["grad_norm"] for row in metrics_of(several)]
        assert min(norms[:2]) > 0 and (norms[2] == 0) == (kind == "dapo"), kind  # a KL term needs no signal
    a, b = (list(read_jsonl(tmp_path / name / "whiten" / "validation.jsonl")) for name in ("both", "alone"))
    assert a == b and len(a) == 3


def test_rollouts_that_overlap_are_for_one_process(fresh: Callable[[], LanguageModel], tmp_path: Path) -> None:
    outcomes = on_ranks(2, grpo.train, asked(tmp_path / "run", overlap=True), fresh())
    assert {own.error for own in outcomes} == {"UserError", "SystemExit"}
    assert any("--overlap is for one process" in own.words for own in outcomes)


# --- a base model, and a teacher ----------------------------------------------------------------------------------


def base(out: Path, tokenizer: Path, **changes: object) -> Pretrain:
    small = dict(out=out, tokenizer=tokenizer, size="thinkling-tiny", rows=3, length=64, num_tokens=3 * 64 * 3)
    return Pretrain(**(small | dict(dtype="float32", compile=False, save_every=2) | changes))


def taught(out: Path, rows: Path, **changes: object) -> Distill:
    small = dict(out=out, data=rows, teacher="", epochs=1, batch_size=8, lr=1e-3, save_every=2, micro_batch_tokens=60)
    small |= dict(eval_every=0, steps=2, prompts_per_step=3, rollouts_per_prompt=2, max_tokens=8)
    return Distill(**(small | changes))


DISTILLED = {
    "soft": {"method": "soft", "top_k": 5},
    "sampled": {"method": "on-policy", "lora_rank": 2},
    "full": {"method": "on-policy", "score": "full"},
}


def test_several_ranks_pretrain_and_distil_as_one_does(
    fresh: Callable[[], LanguageModel], tmp_path: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three rows for two ranks; a loss with two passes through the network that learns (full); credits of a teacher."""
    monkeypatch.setitem(SIZES, "thinkling-tiny", fresh().network.config)
    monkeypatch.setattr(packing, "POOL_SIZE", 20)  # so that text begins at once
    teacher = fresh()
    init_weights(teacher.network, seed=1)
    backend = tmp_path / "tokenizer.json"
    backend.write_text(teacher.tokenizer.backend.to_str())

    def learn_all(where: Path) -> None:
        pretrain.train(base(where / "base", backend))
        for kind, changes in DISTILLED.items():
            distill.train(taught(where / kind, rows, **changes), fresh(), teacher=teacher)

    learn_all(tmp_path / "alone")
    values(on_ranks(RANKS, learn_all, tmp_path / "both"))
    for kind in ("base", *DISTILLED):
        assert_alike(tmp_path / "both" / kind, tmp_path / "alone" / kind, weights=1e-5, rows=1e-4)


# --- a rank that fails --------------------------------------------------------------------------------------------


def failing(model: LanguageModel, settings: Sft, at: int, fail: Callable[[], None]) -> None:
    """A run whose rank 1 fails in step `at`, counted from 0, when the weights have moved and are not saved."""

    def show(shown: object) -> None:
        if distributed.rank() == 1 and isinstance(shown, SftMetrics) and shown.step == at:
            fail()

    sft.train(settings, model, show)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_rank_ends_the_run_and_it_resumes_on_any_number_of_ranks(
    fresh: Callable[[], LanguageModel], tmp_path: Path, rows: Path
) -> None:
    """On as many ranks it ends with the bits of a run that nothing interrupted; on four, and then on one, nearly so."""
    whole, broken = (plan(tmp_path / name, rows, save_every=1, eval_every=0) for name in ("whole", "broken"))
    survivor, gone = on_ranks(2, failing, fresh(), broken, 1, killed)
    assert gone.signal == signal.SIGKILL
    assert survivor.error == "UserError"
    assert "rank 0 of 2, at 'step 2': the other processes do not answer" in survivor.words
    assert "rank 1 was at 'step 2'" in survivor.words
    assert survivor.words.endswith("the same command resumes from the last checkpoint")
    assert checkpoint.latest(broken.out).step == 1
    shutil.copytree(broken.out, tmp_path / "other")

    def both() -> None:
        sft.train(broken, fresh())
        sft.train(whole, fresh())

    values(on_ranks(RANKS, both))
    if RANKS == 2:
        assert metrics_of(broken.out) == metrics_of(whole.out)
        a, b = saved(broken.out), saved(whole.out)
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert_alike(broken.out, whole.out, weights=1e-5, rows=1e-4)
    other = replace(whole, out=tmp_path / "other")
    again = on_ranks(FOUR, failing, fresh(), other, 2, no_room)
    assert [own.error for own in again] == ["SystemExit", "UserError", "SystemExit", "SystemExit"]
    assert checkpoint.latest(other.out).step == 2
    sft.train(other, fresh())
    assert_alike(other.out, whole.out, weights=1e-5, rows=1e-4)


def waiting(fail: Callable[[], None]) -> None:
    """All wait for rank 1, which fails."""
    with distributed.phase("step 7"):
        if distributed.rank() == 1:
            with distributed.phase("grading"):
                fail()
        distributed.barrier()


def hung() -> None:
    time.sleep(3600)


def no_room() -> None:
    raise UserError("the disk is full")


def ended() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(3600)


def test_a_rank_that_hangs_is_named() -> None:
    for_it, _ = on_ranks(2, waiting, hung, wait_minutes=1 / 60)
    assert for_it.error == "UserError"
    assert "rank 0 of 2, at 'step 7': the other processes do not answer (Timed out waiting" in for_it.words
    assert "rank 1 was at 'step 7, grading'" in for_it.words


def test_a_rank_that_fails_says_why_and_the_others_say_nothing() -> None:
    silent, speaks = on_ranks(2, waiting, no_room)
    assert (speaks.error, speaks.words) == ("UserError", "rank 1 of 2, at 'step 7, grading': the disk is full")
    assert (silent.error, silent.words) == ("SystemExit", "2")


def test_a_rank_that_is_told_to_end_says_where_it_was() -> None:
    _, speaks = on_ranks(2, waiting, ended)
    assert speaks.error == "UserError"
    assert "rank 1 of 2, at 'step 7, grading': told to end (SIGTERM)" in speaks.words


def test_a_mistake_keeps_its_traceback() -> None:
    silent, speaks = on_ranks(2, waiting, lambda: 1 / 0)
    assert speaks.error == "ZeroDivisionError" and "waiting" in speaks.words
    assert silent.error == "SystemExit"


# --- the command line ---------------------------------------------------------------------------------------------


def test_rank_0_alone_speaks_and_writes(
    tiny: LanguageModel, tmp_path: Path, rows: Path, capfd: pytest.CaptureFixture
) -> None:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    flags = ["--model", str(tmp_path / "model"), "--data", str(rows), "--out", str(tmp_path / "run"), "--device", "cpu"]
    values(on_ranks(RANKS, cli.main, ["sft", *flags, "--epochs", "1", "--eval-every", "0"], joins=False))
    said = capfd.readouterr()
    assert said.out.count("The trained model:") == 1
    assert [row["step"] for row in metrics_of(tmp_path / "run")] == [0]
    outcomes = on_ranks(2, cli.main, ["tasks"], joins=False)
    assert {own.words for own in outcomes} == {"2"}
    assert "thinkling tasks runs in one process: start it without torchrun" in capfd.readouterr().err
