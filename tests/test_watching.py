"""What watches over a training run: preflight before it, the watchdog and validation during it, trackers."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import rl_steps
import torch

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import load_model, resolve
from thinkling.problem import Problem
from thinkling.tasks.benchmarks import load_problems
from thinkling.train import checkpoint
from thinkling.train.rl import live_table, rollout
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.guard import preflight, validation, watchdog
from thinkling.train.rl.guard.watchdog import SILENT, alarm
from thinkling.train.rl.live_table import LiveTable
from thinkling.train.rl.metrics import StepMetrics, describe, length_reward
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.update import Updater
from thinkling.train.trackers import numbers
from thinkling.verify.math.grade import grade

CALM = StepMetrics(
    step=0, asked=4, reward=0.5, parts={"correct": 0.5}, right=0.5, signal=0.5, all_right=0.25, all_wrong=0.25,
    length=50.0, length_right=40.0, length_wrong=60.0, length_reward=-0.1, truncated=0.02, repetitive=0.0, entropy=0.3,
    clipped=0.0, kl=0.0, mismatch=1e-6, mismatch_max=1e-5, ess=1.0, grad_norm=0.1, tokens=1600, generate_seconds=1.0,
    score_seconds=0.0, train_seconds=1.0,
)  # fmt: skip
PROBLEM = Problem("p", "6 * 7?", "42")


def rollouts(*texts: str, lengths: list[int] | None = None, reason: str = "stop") -> list[Rollout]:
    found = []
    for text, n in zip(texts, lengths or [4] * len(texts), strict=True):
        verdict = grade(text, "42", "strict")
        completion = Completion((1,), tuple(range(n)), (-0.1,) * n, reason, text=text)
        found.append(Rollout(PROBLEM, completion, verdict, float(verdict.correct), parts=(float(verdict.correct),)))
    return found


# --- metrics ------------------------------------------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    right, wrong = r"\boxed{42}", r"\boxed{41}"
    groups = [rollouts(right, wrong, lengths=[2, 6]), rollouts(right, right, lengths=[3, 3])]
    groups.append(rollouts(wrong, wrong, lengths=[8, 8], reason="length"))
    again = replace(groups[2][0].completion, tokens=(5, 6) * 4)
    groups[2][0] = replace(groups[2][0], completion=again)
    found = describe(groups, ("correct",))
    assert (found["asked"], found["reward"], found["right"]) == (3, 0.5, 0.5)
    assert (found["signal"], found["all_right"], found["all_wrong"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (found["length"], found["length_right"], found["length_wrong"]) == pytest.approx((5, 8 / 3, 22 / 3))
    assert (found["truncated"], found["repetitive"], found["tokens"]) == pytest.approx((2 / 6, 1 / 6, 30))
    assert found["parts"] == {"correct": 0.5}
    assert found["length_reward"] == pytest.approx(-1)  # the one group where both vary: longer and worse


def test_correlation_of_length_and_reward_is_within_groups() -> None:
    """An easy problem with short answers and a hard one with long ones say nothing about length."""
    right, wrong = r"\boxed{42}", r"\boxed{41}"
    assert length_reward([rollouts(right, right, lengths=[2, 3]), rollouts(wrong, wrong, lengths=[8, 9])]) is None
    up = rollouts(wrong, right, lengths=[2, 4])
    assert length_reward([up]) == pytest.approx(1)
    assert length_reward([up, rollouts(right, wrong, lengths=[2, 4])]) == pytest.approx(0)


# --- the watchdog -------------------------------------------------------------------------------------------------


def run(num: int = 40, **last: float) -> list[StepMetrics]:
    """Calm steps, the last ten of them with these values."""
    return [CALM] * (num - 10) + [replace(CALM, **last)] * 10


def test_a_calm_run_gives_no_alarm() -> None:
    for num in range(60):
        assert alarm([CALM] * num) is None
    learning = [replace(CALM, right=0.2 + i / 100, entropy=0.3 - i / 200, length=30.0 + i) for i in range(50)]
    assert all(alarm(learning[:num]) is None for num in range(50))


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (dict(entropy=1.6), "entropy rose from 0.30 to 1.60"),
        (dict(truncated=0.6), "60% of the rollouts are cut off"),
        (dict(repetitive=0.3), "say one thing over and over"),
        (dict(kl=1.5), "1.50 nats per token from the reference model"),
        (dict(mismatch=0.3), "sampler and trainer disagree by 0.30"),
        (dict(ess=0.2), "effective sample size 20%"),
        (dict(right=0.2), "right answers fell from 50% to 20%"),
        (dict(length=120.0, length_reward=0.7), "the reward pays for length"),
        (dict(grad_norm=float("nan")), "not finite three times in a row"),
    ],
)
def test_what_gives_alarm(last: dict, words: str) -> None:
    assert words in alarm(run(**last))


@pytest.mark.parametrize(
    "last",
    [
        dict(entropy=1.4), dict(truncated=0.45), dict(repetitive=0.2), dict(kl=0.9), dict(mismatch=0.1), dict(ess=0.4),
        dict(right=0.3), dict(length=120.0, length_reward=0.2), dict(length=120.0, length_reward=0.7, right=0.6),
    ],
)  # fmt: skip
def test_what_gives_none(last: dict) -> None:
    assert alarm(run(**last)) is None


def test_one_gradient_that_is_not_finite_is_forgiven() -> None:
    bad = replace(CALM, grad_norm=float("inf"))
    assert alarm([CALM, bad, bad]) is None
    assert alarm([CALM, bad, bad, bad]).endswith("in a row: lower --lr, or use --dtype float32")
    assert "no step ever was" in alarm([bad, bad, bad])


def test_a_run_without_signal_ends() -> None:
    silent = replace(CALM, signal=0.0)
    assert alarm([CALM] * 20 + [silent] * (SILENT - 1)) is None
    assert f"no group had a signal for {SILENT} steps" in alarm([CALM] * 20 + [silent] * SILENT)


def settings(out: Path, **changes: object) -> Grpo:
    small = dict(
        out=out, steps=4, prompts_per_step=2, rollouts_per_prompt=2, max_tokens=4, preflight=False, eval_every=0
    )
    return Grpo(**(small | changes))


def test_a_run_that_collapses_goes_back_to_a_good_checkpoint(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the window as it is: a test that shrank it to 2 did not see that the two last checkpoints are too young."""
    monkeypatch.setattr(watchdog, "alarm", lambda rows: "it fell apart" if len(rows) == 14 else None)
    for save_every, good in ((1, "step-00001"), (2, "step-00002"), (4, "step-00004")):
        run = tmp_path / f"run-{save_every}"
        assert grpo.train(settings(run, steps=20, save_every=save_every), tiny) == run / "checkpoints" / good
        finished = json.loads((run / "finished.json").read_text())
        assert (finished["steps"], finished["stopped"]) == (14, "it fell apart")
        assert finished["checkpoint"] == str(run / "checkpoints" / good)
    with pytest.raises(UserError, match=r"stopped after 14 steps: it fell apart\. Choose another --out, with --model"):
        grpo.train(settings(tmp_path / "run-4", steps=40, save_every=4), tiny)


def test_without_an_old_checkpoint_it_goes_back_to_the_best_or_the_start(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "alarm", lambda rows: "it fell apart" if len(rows) == 3 else None)
    how = dict(steps=9, save_every=2)
    best = grpo.train(settings(tmp_path / "run", eval_every=9, eval_problems=2, eval_samples=2, **how), tiny)
    assert best == tmp_path / "run" / "checkpoints" / "best"
    assert grpo.train(settings(tmp_path / "other", **how), tiny) == resolve("thinkling-base")
    assert grpo.train(settings(tmp_path / "blind", save_every=0, watchdog=False), tiny).name == "step-00004"


def test_steps_that_trained_on_nothing_are_no_collapse(capsys: pytest.CaptureFixture) -> None:
    """They know no entropy, and once logged it as 0, which reads as a collapse; a yardstick of zeros gave alarm."""
    from rich.console import Console

    nothing = replace(
        CALM, signal=0.0, **dict.fromkeys(("entropy", "clipped", "kl", "mismatch", "mismatch_max", "ess"))
    )
    assert alarm([nothing] * 10 + [replace(CALM, entropy=0.6)] * 15) is None  # 0.6 is what this run begins with
    assert alarm([CALM] * 20 + [nothing] * 10) is None
    assert "entropy rose" in alarm([CALM, nothing] * 10 + [replace(CALM, entropy=1.6), nothing] * 5)
    table = LiveTable(10)
    table(nothing)
    Console(width=100).print(table.render())
    text = capsys.readouterr().out
    assert "correct 0.50; nothing to learn from: all answers to a problem earned the same" in " ".join(text.split())
    assert "KL" not in text and "0.000" not in text
    assert table.words().endswith("tokens  nothing to learn from")


# --- preflight ----------------------------------------------------------------------------------------------------

HEALTHY = preflight.Findings(32, 8, pass_1=0.3, pass_k=0.7, signal=0.5, truncated=0.0, unreadable=())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (dict(truncated=0.6), "60% of the answers are cut off at 4 tokens.*raise --max-tokens"),
        (dict(signal=0.0, pass_k=0.0), "none of 32 problems was answered right in 8 tries"),
        (dict(signal=0.0, pass_1=1.0), r"all 8 answers.*earn the same.*pass@1 is 100%.*take harder problems"),
    ],
)
def test_hopeless_runs_are_refused(tmp_path: Path, found: dict, words: str) -> None:
    preflight.refuse_if_hopeless(HEALTHY, max_tokens=4)
    with pytest.raises(UserError, match=words):
        preflight.refuse_if_hopeless(replace(HEALTHY, **found), max_tokens=4)


def test_preflight_asks_before_training(tiny: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cut off at 4 tokens|answered right"):
        grpo.train(settings(tmp_path / "run", preflight=True), tiny)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_references_that_the_verifier_cannot_read_are_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}?", "reference": "3}{4"}) + "\n" for i in range(5)))
    with pytest.raises(UserError, match=r"does not recognise 5 of 5 references, such as '3}{4'"):
        rl_steps.examine(settings(tmp_path / "run", tasks=(str(path),)), tiny)


def test_preflight_asks_a_short_file_once(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asked five problems six times each and said "none of 32 problems"."""
    path = tmp_path / "short.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}?", "reference": "1"}) + "\n" for i in (1, 2, 3, 4, 5, 1)))
    asked = []
    original = preflight.roll_out
    monkeypatch.setattr(preflight, "roll_out", lambda model, *rest: asked.append(rest[0]) or original(model, *rest))
    monkeypatch.setattr(preflight, "refuse_if_hopeless", lambda *_: None)
    found = rl_steps.examine(settings(tmp_path / "run", tasks=(str(path),)), tiny)
    assert sorted(problem.question for problem in asked[0]) == ["1?", "2?", "3?", "4?", "5?"]
    assert found.num_problems == 5 and found.words.endswith("(5 problems)")
    assert replace(found, num_problems=1).words.endswith("(1 problem)")


def test_the_built_in_model_is_found_healthy(tmp_path: Path) -> None:
    model = LanguageModel.load("thinkling-base")
    found = rl_steps.examine(Grpo(out=tmp_path, rollouts_per_prompt=2), model)
    assert found.unreadable == ()
    assert 0.05 < found.pass_1 < found.pass_k < 1
    assert found.signal > 0.2


# --- held-out accuracy --------------------------------------------------------------------------------------------


def file_of(path: Path, numbers: range) -> str:
    path.write_text("".join(json.dumps({"question": f"{i} + 1?", "reference": i + 1}) + "\n" for i in numbers))
    return str(path)


def asked(plan: Grpo, num: int = 200) -> set[str]:
    """What training asks."""
    aside = rl_steps.problems_of(plan) if plan.eval_every else []
    problems = Curriculum(plan.tasks, plan.seed, False, frozenset(problem.question for problem in aside))
    return {problem.question for problem in problems.ask(num)}


def test_a_share_of_the_tasks_is_kept_aside(tmp_path: Path) -> None:
    """The best checkpoint of a run on a file was once chosen on built-in problems."""
    own = file_of(tmp_path / "own.jsonl", range(60))
    plan = settings(tmp_path / "run", tasks=(own,), eval_every=5)
    aside = {problem.question for problem in rl_steps.problems_of(plan)}
    everything = {f"{i} + 1?" for i in range(60)}
    assert len(aside) == 6 and aside < everything
    assert asked(plan) == everything - aside
    assert asked(replace(plan, eval_every=0)) == everything  # where nothing is measured, nothing is kept aside
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(reversed((tmp_path / "own.jsonl").read_text().splitlines(keepends=True))))
    assert {p.question for p in rl_steps.problems_of(replace(plan, tasks=(str(turned),)))} == aside
    assert len(rl_steps.problems_of(replace(plan, eval_problems=2))) == 2
    with pytest.raises(UserError, match=r"has 3 questions, too few to keep some aside.*--held-out.*--eval-every 0"):
        rl_steps.problems_of(replace(plan, tasks=(file_of(tmp_path / "few.jsonl", range(3)),)))


def test_suites_are_measured_on_their_held_out_problems(tmp_path: Path) -> None:
    plan = settings(tmp_path / "run", eval_every=5, eval_problems=6)
    assert rl_steps.problems_of(plan) == load_problems("quantities", "held-out", 6, validation.SEED)
    both = rl_steps.problems_of(replace(plan, tasks=("larger-numbers", "builtin")))
    assert [problem.id.split("/")[0] for problem in both] == ["larger-numbers", "builtin"] * 3


def test_questions_that_are_trained_on_and_measured_are_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    own, other = file_of(tmp_path / "own.jsonl", range(20)), file_of(tmp_path / "other.jsonl", range(18, 30))
    plan = settings(tmp_path / "run", tasks=("builtin", own), eval_every=5)
    for named, num, example in ((own, 20, "0"), (other, 2, "18")):
        with pytest.raises(UserError, match=rf"have {num} questions in common, such as '{example} \+ 1\?'"):
            grpo.train(replace(plan, held_out=named), tiny)
    assert not (tmp_path / "run").exists()
    apart = file_of(tmp_path / "apart.jsonl", range(20, 30))
    assert len(rl_steps.problems_of(replace(plan, held_out=apart))) == 10
    suite = load_problems("builtin", "train", 1)[0].question
    assert suite not in {p.question for p in Curriculum(("builtin",), 0, False, frozenset([suite])).ask(50)}


def test_held_out_by_hand(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 of 4, 4 of 4 and none right: pass@1 is their mean, 0.5; two of three problems are solved at all."""
    right, wrong = r"\boxed{42}", r"\boxed{41}"
    groups = [rollouts(right, wrong, right, wrong), rollouts(*[right] * 4), rollouts(*[wrong] * 4)]
    monkeypatch.setattr(validation, "roll_out", lambda *_, **__: groups)
    found = rl_steps.measure(settings(tmp_path, eval_samples=4), tiny, step=7)
    assert (found.step, found.pass_1, found.pass_k) == (7, 0.5, pytest.approx(2 / 3))
    half = 4.30265 * 0.5 / 3**0.5  # deviation of (0.5, 1, 0) is 0.5, of two degrees of freedom: clustered by problem
    assert half > 0.5  # so that both ends are cut off: three problems tell little
    assert found.pass_1_interval == (0.0, 1.0)


def test_the_best_model_is_kept(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured 0.1, 0.4, 0.4, 0.2 before the first step, after two, four and five: the best is the first 0.4's."""
    scores, weights = iter([0.1, 0.4, 0.4, 0.2]), []

    def measured(self: validation.Validator, step: int) -> validation.Validation:
        weights.append([w.clone() for w in self.model.network.parameters()])
        score = next(scores)
        return validation.Validation(step, 3, 2, score, (0.0, 1.0), score, (0.0, 1.0), 5.0, 0.0)

    def rewarded(groups: list) -> list:
        return [[replace(r, reward=float(i % 2)) for i, r in enumerate(group)] for group in groups]

    original = Updater.prepare
    monkeypatch.setattr(validation.Validator, "measure", measured)
    monkeypatch.setattr(Updater, "prepare", lambda self, groups: original(self, rewarded(groups)))
    seen = []
    grpo.train(settings(tmp_path / "run", steps=5, eval_every=2, lr=1e-2), tiny, seen.append)
    assert [type(s).__name__ for s in seen] == (
        ["Validation", "StepMetrics", "StepMetrics"] * 2 + ["Validation", "StepMetrics", "Validation"]
    )
    best = load_model(tmp_path / "run" / "checkpoints" / "best")
    for mine, then in zip(best.parameters(), weights[1], strict=True):
        assert torch.equal(mine, then)
    assert not torch.equal(weights[1][0], weights[2][0])
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["best"]["step"] == 2
    rows = [json.loads(line)["step"] for line in (tmp_path / "run" / "validation.jsonl").read_text().splitlines()]
    assert rows == [0, 2, 4, 5]
    assert checkpoint.latest(tmp_path / "run").step == 5


# --- what is shown ------------------------------------------------------------------------------------------------


def test_the_live_table_says_what_was_found(capsys: pytest.CaptureFixture) -> None:
    from rich.console import Console

    table = LiveTable(10)
    measured = validation.Validation(0, 64, 8, 0.302, (0.25, 0.36), 0.828, (0.7, 0.9), 31.0, 0.0)
    for shown in (HEALTHY, measured, CALM):
        table(shown)
    Console(width=80).print(table.render())
    text = capsys.readouterr().out
    assert "before training: pass@1 30%, pass@8 70%, groups with a signal 50%" in text
    assert "held-out after   0 steps: pass@1 30.2% [25.0%, 36.0%], pass@8 82.8%" in text
    assert "1.6k/1.6k" in text
    assert "…" not in text  # nothing is cut off at 80 columns
    table.console = Console(width=40)
    table.console.print(table.render())
    lines = capsys.readouterr().out.splitlines()
    assert any("pass@1 30.2% [25.0%, 36.0%]," in line for line in lines)  # it was broken inside the interval
    assert "after   1 step:  pass@1" in printed_row(replace(measured, step=1))


def test_the_line_says_what_the_run_is_doing(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the same line again and again while held-out problems were asked, for as long as that took."""
    table, said, original = LiveTable(1), [], rollout.judged_groups

    def judged(*given: object) -> list:
        said.append(table.words())
        return original(*given)

    monkeypatch.setattr(rollout, "judged_groups", judged)
    monkeypatch.setattr(preflight, "NUM_PROBLEMS", 2)
    monkeypatch.setattr(preflight, "refuse_if_hopeless", lambda *_: None)
    measured = dict(eval_every=1, eval_problems=2, eval_samples=1)
    grpo.train(settings(tmp_path, steps=1, preflight=True, **measured), tiny, table)
    drawing, (*_, last) = "drawing rollouts", said
    assert said[:3] == [f"GRPO  0/1 steps  now: {what}{drawing}" for what in
                        ("preflight, ", "step 1, held-out measurement, ", "step 1, ")]  # fmt: skip
    assert last.startswith("GRPO  1/1 steps  right ") and last.endswith(f"  now: held-out measurement, {drawing}")
    assert len(said) == 4 and "now" not in table.words()


def test_what_goes_wrong_has_a_line_of_its_own(capsys: pytest.CaptureFixture) -> None:
    """In a log, the message stood behind the table's last row."""
    with pytest.raises(UserError), LiveTable(10) as table:
        table(CALM)
        raise UserError("no")
    assert capsys.readouterr().out.endswith("\n")
    with pytest.raises(UserError), LiveTable(10):
        raise UserError("no")
    assert capsys.readouterr().out.strip() == ""


def printed_row(found: validation.Validation) -> str:
    return live_table.measured_row(found, 80).wide.plain


# --- trackers -----------------------------------------------------------------------------------------------------


def test_numbers_of_a_row() -> None:
    row = {"step": 3, "parts": {"correct": 0.5}, "length_right": None, "name": "x", "right": True}
    assert numbers(row) == {"step": 3.0, "parts/correct": 0.5, "right": 1.0}


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
def test_trackers_get_every_step(
    tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    sent = []
    tracker = SimpleNamespace(
        init=lambda **k: sent.append(("init", k["name"], k["config"]["lr"])),
        log=lambda row, step: sent.append((step, row["right"])),
        finish=lambda: sent.append("finish"),
    )
    monkeypatch.setitem(sys.modules, kind, tracker)
    grpo.train(settings(tmp_path / "run", trackers=(kind,)), tiny)
    assert sent == [("init", "run", 3e-4), (0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), "finish"]


def test_a_tracker_that_is_not_installed(tiny: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UserError, match=r"--trackers trackio needs a library.*pip install -e '\.\[trackio\]'"):
        grpo.train(settings(tmp_path / "run", trackers=("trackio",)), tiny)
