"""A run that is killed goes on as if nothing had happened: the same bits in weights, optimizer and rollouts."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import Mock

import forked
import pytest
import rl_steps
import torch
from safetensors import SafetensorError

from thinkling import cli, runs
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import NotWritten, UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import load_model, save_model
from thinkling.train import checkpoint
from thinkling.train.rl import sampler
from thinkling.train.rl.guard.watchdog import WINDOW
from thinkling.train.rl.metrics import StepMetrics

STEPS = 5
SUMS = str(Path(__file__).with_name("sums.jsonl"))  # short questions, soon read
KILLS = int(os.environ.get("KILLS", "1"))  # of the real command, at random moments: some seconds each
KILL_SEED = int(os.environ.get("KILL_SEED", "0"))  # of these moments


def plan(out: Path, **changes: object) -> Grpo:
    small = dict(out=out, steps=STEPS, prompts_per_step=2, rollouts_per_prompt=4, max_tokens=10, lr=1e-2, save_every=2)
    small |= dict(preflight=False, eval_every=0, tasks=(SUMS,))
    return Grpo(**(small | changes))


@pytest.fixture
def start(tiny: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in tiny.network.state_dict().items()}


@pytest.fixture(autouse=True)
def some_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny network is never right. Its rewards here are made up, so that there is a gradient."""
    original = sampler.roll_out

    def rewarded(*arguments: object) -> list:
        return [[replace(r, reward=float(sum(r.completion.tokens) % 2)) for r in g] for g in original(*arguments)]

    monkeypatch.setattr(sampler, "roll_out", rewarded)


def outcome(out: Path) -> tuple:
    """Everything that must not depend on an interruption."""
    last = checkpoint.latest(out)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in metrics]
    optimizer = (last.folder / "training" / "optimizer.safetensors").read_bytes()
    weights = (last.folder / "model.safetensors").read_bytes()
    return last.step, weights, optimizer, timeless, (out / "samples.jsonl").read_text()


class Killed(Exception):
    pass


def train(tiny: LanguageModel, start: dict, settings: Grpo, die_at: int | None = None) -> None:
    tiny.network.load_state_dict(start)

    def show(metrics: StepMetrics) -> None:
        if metrics.step == die_at:
            raise Killed

    if die_at is None:
        grpo.train(settings, tiny, show)
    else:
        with pytest.raises(Killed):
            grpo.train(settings, tiny, show)


@pytest.fixture(scope="module")
def whole_runs() -> dict[str, Path]:
    return {}


@pytest.fixture
def whole(
    whole_runs: dict[str, Path], tiny: LanguageModel, start: dict, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The folder of a run of these settings that nothing interrupted; the tests of one process share it."""

    def whole(**changes: object) -> Path:
        if str(changes) not in whole_runs:
            out = whole_runs[str(changes)] = tmp_path_factory.mktemp("whole") / "run"
            train(tiny, start, plan(out, **changes))
            assert not torch.equal(next(iter(start.values())), next(iter(tiny.network.state_dict().values())))
        return whole_runs[str(changes)]

    return whole


@pytest.mark.parametrize("preset", ["dr-grpo", "grpo"])
@pytest.mark.parametrize("die_at", [0, 1, 2, 4])
def test_a_run_that_died_ends_with_the_same_bits(
    tiny: LanguageModel, start: dict, tmp_path: Path, whole: Callable[..., Path], die_at: int, preset: str
) -> None:
    """At step 1 there is no checkpoint yet; at step 4 there are two, and rows past the newer one."""
    train(tiny, start, plan(tmp_path / "broken", preset=preset), die_at)
    with open(tmp_path / "broken" / "samples.jsonl", "a") as file:
        file.write('{"step": 1, "id": "cut sho')
    train(tiny, start, plan(tmp_path / "broken", preset=preset))
    assert outcome(tmp_path / "broken") == outcome(whole(preset=preset))


@pytest.mark.parametrize("die_at", [1, 2, 3])
@pytest.mark.parametrize(
    "extra",
    [
        dict(overlap=True), dict(curriculum=True, dynamic_sampling=2), dict(lr_decay=1.0),
        dict(eval_every=2, eval_problems=2, eval_samples=2),
    ],
    ids=lambda extra: next(iter(extra)),
)  # fmt: skip
def test_so_does_one_with_more_to_remember(
    tiny: LanguageModel, start: dict, tmp_path: Path, whole: Callable[..., Path], die_at: int, extra: dict
) -> None:
    """Rollouts in flight, what the curriculum has seen, the schedule, and the best model so far."""
    train(tiny, start, plan(tmp_path / "broken", **extra), die_at)
    train(tiny, start, plan(tmp_path / "broken", **extra))
    assert outcome(tmp_path / "broken") == outcome(whole(**extra))
    for name in ("validation.jsonl", "finished.json", "checkpoints/best/model.safetensors"):
        files = [tmp_path / "broken" / name, whole(**extra) / name]
        assert [f.exists() for f in files] == [name == "finished.json" or "eval_every" in extra] * 2
        if name != "finished.json" and files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()


def test_earlier_steps_are_shown_again(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    train(tiny, start, plan(tmp_path / "run"), die_at=3)
    seen = []
    grpo.train(plan(tmp_path / "run"), tiny, lambda metrics: seen.append(metrics.step))
    assert seen == list(range(STEPS))


def test_few_checkpoints_are_kept_and_the_last_is_a_model(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    """The last two, and the first, which the watchdog may need one day."""
    train(tiny, start, plan(tmp_path / "run", save_every=1))
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00001", "step-00004", "step-00005"]
    for a, b in zip(load_model(tmp_path / "run" / "checkpoints" / "step-00005").parameters(),
                    tiny.network.parameters(), strict=True):  # fmt: skip
        assert torch.equal(a, b)


@pytest.mark.parametrize("save_every", [1, 2, 3, 4, 7, 10, 20, 50])
def test_there_is_always_one_from_before_the_window(save_every: int) -> None:
    """Once only the last two were kept: with save_every 1, 2 or 4 all 179 steps at which the watchdog can stop a run of
    200 found no checkpoint that is older than its window."""
    kept: set[int] = set()
    for step in range(1, 201):
        if step % save_every == 0:
            kept = checkpoint.retained({*kept, step}, WINDOW)
            assert step in kept and len(kept) <= 4
        old = [saved for saved in kept if saved <= step - WINDOW]
        assert bool(old) == (step - WINDOW >= save_every)
        assert not old or step - max(old) <= 2 * WINDOW + save_every


def test_the_checkpoints_that_are_kept_by_hand() -> None:
    assert checkpoint.retained({1, 9, 10, 11}, window=10) == {1, 9, 10, 11}  # 9 is the next to be ten steps old
    assert checkpoint.retained({1, 9, 17, 18, 19}, window=10) == {9, 17, 18, 19}
    assert checkpoint.retained({20, 40, 60}, window=10) == {40, 60}
    assert checkpoint.retained({1, 2, 3}, window=0) == {2, 3}


def test_the_newest_checkpoint_is_that_of_the_most_steps(tiny: LanguageModel, tmp_path: Path) -> None:
    """Not of the name that sorts last: step-100000 sorts before step-99999, and was removed as soon as it was saved."""
    optimizer = rl_steps.adam(tiny.network, 1e-3)
    for step in (99_998, 99_999, 100_000):
        saved = checkpoint.save(tmp_path, step, 0.0, lambda f: checkpoint.save_model_state(f, tiny, optimizer))
        assert saved.is_dir()
    assert [checkpoint.step_of(folder) for folder in checkpoint.folders(tmp_path)] == [99_999, 100_000]
    assert checkpoint.latest(tmp_path).step == 100_000


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    """Of a run that another user began: the advice was to make room."""

    def refuses(_: Path) -> None:
        raise PermissionError(13, "Permission denied", "x")

    for save in (lambda: checkpoint.save(tmp_path, 1, 0.0, refuses), lambda: checkpoint.save_best(tmp_path, refuses)):
        with pytest.raises(UserError, match=r"cannot be saved \(.*Permission denied.*make the folder writable"):
            save()


def test_what_a_kill_during_a_save_leaves_is_removed(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    train(tiny, start, plan(tmp_path / "run"), die_at=3)
    home = tmp_path / "run" / "checkpoints"
    for name in ("growing-00004", ".growing-00004.new-123", ".growing-best.new-7", "growing-old-best"):
        shutil.copytree(home / "step-00002", home / name)
    train(tiny, start, plan(tmp_path / "run"))
    assert {path.name for path in home.iterdir()} == {"step-00002", "step-00004", "step-00005", "best"}


def test_rows_end_at_newlines_and_nowhere_else(tmp_path: Path) -> None:
    """A text may hold U+2028 or U+0085, at which `str.splitlines` cuts: such rollouts were dropped on every resume."""
    path = tmp_path / "samples.jsonl"
    rows = [
        {"step": step, "response": text} for step, text in enumerate(["a\u2028b", "c\u0085d", "\u2029\x1c\x0b", "e"])
    ]
    runs.append_jsonl(path, rows)
    with open(path, "ab") as file:
        file.write('{"step": 1, "response": "cut short é'.encode()[:-1])
    checkpoint.keep_rows(path, 3)
    assert list(runs.read_jsonl(path)) == rows[:3]


def test_a_finished_run_goes_on_with_more_steps(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    """To the same bits as one that had as many from the start; and it knows what it had measured at its first end."""
    how = dict(eval_every=2, eval_problems=2, eval_samples=2)
    train(tiny, start, plan(tmp_path / "whole", **how))
    train(tiny, start, plan(tmp_path / "run", steps=3, **how))
    first = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert first["steps"] == 3
    with pytest.raises(UserError, match="already holds a run"):
        grpo.train(plan(tmp_path / "run", steps=3, **how), tiny)
    with pytest.raises(UserError, match=r"with --lr 0\.01, not 0\.1"):
        grpo.train(plan(tmp_path / "run", lr=0.1, **how), tiny)
    train(tiny, start, plan(tmp_path / "run", **how))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == STEPS
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == STEPS
    assert [row["step"] for row in runs.read_jsonl(tmp_path / "run" / "validation.jsonl")] == [0, 2, 3, 4, 5]


def test_a_damaged_checkpoint_is_passed_over(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    train(tiny, start, plan(tmp_path / "whole"))
    train(tiny, start, plan(tmp_path / "run"), die_at=4)
    home = tmp_path / "run" / "checkpoints"
    assert checkpoint.latest(tmp_path / "run").step == 4
    weights = home / "step-00004" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert checkpoint.latest(tmp_path / "run").step == 2
    (home / "step-00002" / "training" / "files.json").unlink()
    assert checkpoint.latest(tmp_path / "run") is None
    train(tiny, start, plan(tmp_path / "run"))  # from the start, then
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_a_full_disk_loses_nothing_that_was_saved(
    tiny: LanguageModel, start: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny, start, plan(tmp_path / "whole"))
    train(tiny, start, plan(tmp_path / "run"), die_at=3)

    full = "No space left on device"
    for call, error in (("save_file", OSError(28, full)), ("save_file", SafetensorError(full)),
                        ("write_json", NotWritten(full))):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, call, Mock(side_effect=error))
            with pytest.raises(UserError, match=r"No space left on device.*start the same command again"):
                grpo.train(plan(tmp_path / "run"), tiny)
        assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00002"]
    train(tiny, start, plan(tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_other_flags_are_refused_and_a_finished_run_is_kept(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    train(tiny, start, plan(tmp_path / "run"), die_at=2)
    with pytest.raises(UserError, match=r"unfinished run with --lr 0\.01, not 0\.1"):
        grpo.train(plan(tmp_path / "run", lr=0.1), tiny)
    train(tiny, start, plan(tmp_path / "run"))
    with pytest.raises(UserError, match="already holds a run"):
        grpo.train(plan(tmp_path / "run"), tiny)


def test_minutes_count_what_was_spent_before(tiny: LanguageModel, start: dict, tmp_path: Path) -> None:
    train(tiny, start, plan(tmp_path / "run", minutes=5.0), die_at=3)
    state = tmp_path / "run" / "checkpoints" / "step-00002" / "training" / "progress.json"
    saved = json.loads(state.read_text())
    assert 0 < saved["seconds"] < 60
    checkpoint.write_json(state, saved | {"seconds": 400.0})
    files = state.with_name("files.json")
    listed = json.loads(files.read_text()) | {"training/progress.json": checkpoint.digest(state)}
    checkpoint.write_json(files, listed)
    train(tiny, start, plan(tmp_path / "run", minutes=5.0))  # they are over: no step more
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == 2
    train(tiny, start, plan(tmp_path / "run", minutes=60.0))  # with more of them it goes on
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == STEPS


def test_masters_of_a_bfloat16_model_come_back(tiny: LanguageModel, tmp_path: Path) -> None:
    """A weight rounded to bfloat16 is not enough: the float32 master must be the same."""
    network = tiny.network.to(torch.bfloat16)
    optimizer = rl_steps.adam(network, 1e-4)

    def step(seed: int) -> None:
        torch.manual_seed(seed)
        for weight in network.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()

    step(1)
    checkpoint.save(tmp_path, 1, 0.0, lambda folder: checkpoint.save_model_state(folder, tiny, optimizer))
    step(2)
    wanted = [master.clone() for master in optimizer.masters]
    step(3)
    optimizer = rl_steps.adam(network, 1e-4)
    checkpoint.restore_model_state(checkpoint.latest(tmp_path).folder, tiny, optimizer)
    step(2)
    assert all(torch.equal(a, b) for a, b in zip(optimizer.masters, wanted, strict=True))


@pytest.mark.long
def test_killed_at_any_moment(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command, killed with SIGKILL while it trains and saves after every step; then once more, to the end.

    On a tiny network, which is never right, so that drawing and saving take their turns quickly; with rewards that are
    made up, so that it learns."""
    monkeypatch.undo()  # its rewards are the command's own
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    flags = ["--model", str(tmp_path / "model"), "--steps", "8", "--prompts-per-step", "4", "--rollouts-per-prompt",
             "4", "--max-tokens", "16", "--save-every", "1", "--no-preflight", "--eval-every", "0", "--no-watchdog",
             "--reward", "random", "--tasks", SUMS]  # fmt: skip

    def start_run(out: Path) -> BaseProcess:
        return forked.start(tmp_path / "said", cli.main, ["grpo", "--out", str(out), *flags])

    def finish(out: Path) -> tuple:
        process = start_run(out)
        process.join(600)
        assert process.exitcode == 0, (tmp_path / "said").read_text()
        return outcome(out)

    whole = finish(tmp_path / "whole")
    assert sum(row["grad_norm"] > 0 for row in whole[3]) >= 3  # it learns, so there is something to lose
    print(f"moments of the kills: KILL_SEED={KILL_SEED}")
    torch.manual_seed(KILL_SEED)
    for round_number in range(KILLS):
        out = tmp_path / f"killed-{round_number}"
        process = start_run(out)
        rows = int(torch.randint(1, 6, ()))
        metrics = out / "metrics.jsonl"
        while process.is_alive() and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= rows):
            time.sleep(0.01)
        time.sleep(float(torch.rand(())) * 0.2)  # a step and its save take about as long
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "said").read_text()
        assert finish(out) == whole
        assert not [path for path in (out / "checkpoints").iterdir() if "growing" in path.name]  # no half-saved model
        shutil.rmtree(out)
