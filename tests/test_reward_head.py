"""The reward head: features and scores by hand, fits with known answers, its file, and the command on a tiny model."""

import asyncio
import hashlib
import io
import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file
from scripted import boxed

from thinkling import cli
from thinkling.commands.reward_head import RewardHeadTraining
from thinkling.errors import UserError
from thinkling.evaluate.stats import auroc
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import load_model, resolve, save_model
from thinkling.problem import Problem
from thinkling.runs import read_jsonl
from thinkling.scale.prompts import prompt_of
from thinkling.scale.reward_head import FILE, RewardHead, features
from thinkling.tasks.builtin import is_held_out, problems
from thinkling.train import head_measure, reward_head
from thinkling.train.head_measure import WAYS, GradedCompletion, chance, measure, table
from thinkling.train.reward_head import fit, read, split
from thinkling.verify.math.grade import Verdict, grade

PROBLEM = Problem("p", "1 + 1?", "2")


def head_of(*weight: float, bias: float = 0.0) -> RewardHead:
    return RewardHead(torch.tensor(weight), torch.tensor(bias), "tiny", "plain,step-by-step")


def examples(problem: str, *rows: tuple[object, float, float, bool]) -> list[GradedCompletion]:
    """Completions of one problem: the answer in the box, its log-probability, the head's score, and if it is right."""
    return [
        GradedCompletion(Problem(problem, "?", "2"), "plain", boxed(answer, logprob), torch.zeros(1), right, score)
        for answer, logprob, score, right in rows
    ]


# --- features and the score ----------------------------------------------------------------------------------------


STATES, LOGPROBS = torch.tensor([[1.0, 2.0], [3.0, -4.0]]), (-0.5, -2.0)


def test_features_by_hand() -> None:
    # the mean of the states, then -0.5 (1, 2) - 2 (3, -4)
    assert features(STATES, LOGPROBS).tolist() == [2.0, -1.0, -6.5, 7.0]
    half = features(STATES.bfloat16(), LOGPROBS)
    assert half.dtype == torch.float32 and half.tolist() == [2.0, -1.0, -6.5, 7.0]
    assert features(STATES[:1], (0.0,)).tolist() == [1.0, 2.0, 0.0, 0.0]  # a single token, drawn for certain


class Seer:
    """A model whose hidden states are known."""

    name = "seer"

    async def hidden_states(self, prompt: object, completion: object) -> torch.Tensor:
        assert prompt == completion.prompt_tokens
        return STATES


def test_the_score_is_the_log_of_the_sigmoid_of_the_linear_form() -> None:
    head = head_of(1.0, 0.5, 1.0, 1.0, bias=-2.0)  # 2 - 0.5 - 6.5 + 7 - 2 = 0
    assert asyncio.run(head(Seer(), PROBLEM, boxed(2, *LOGPROBS))) == pytest.approx(math.log(0.5))
    odds = replace(head, bias=torch.tensor(-2.0 + math.log(3)))  # three to one
    assert math.exp(asyncio.run(odds(Seer(), PROBLEM, boxed(2, *LOGPROBS)))) == pytest.approx(0.75)
    lost = replace(head, bias=torch.tensor(-502.0))
    assert asyncio.run(lost(Seer(), PROBLEM, boxed(2, *LOGPROBS))) == pytest.approx(-500.0)  # no infinity


def test_another_width_is_one_line(tiny: LanguageModel) -> None:
    (completion,) = tiny.complete_all(["Question: 1 + 1?\nAnswer:\n"], Sampling(max_tokens=3))
    with pytest.raises(UserError, match=r"trained for tiny and takes 4 features, but the model gives 64") as error:
        asyncio.run(head_of(1.0, 2.0, 3.0, 4.0)(tiny, PROBLEM, completion))
    assert "\n" not in str(error.value)


def test_nothing_but_the_model_lies_beside_its_config() -> None:
    """vLLM loads every *.safetensors of a folder as weights, and refused the built-in model when the head was there."""
    assert [path.name for path in resolve("thinkling-base").glob("*.safetensors")] == ["model.safetensors"]


def test_the_built_in_model_has_a_head_that_tells_right_from_wrong() -> None:
    """Its card says .97, of 4,000 completions; of 48 on held-out problems it cannot be below .85 by chance."""
    head = RewardHead.for_model("thinkling-base")
    assert head.model == "thinkling-base" and (resolve("thinkling-base") / FILE).stat().st_size < 50_000
    model = LanguageModel.load("thinkling-base", device="cpu")
    asked = [problem for problem in problems("held-out", 24) for _ in range(2)]
    prompts = [prompt_of(model, ("plain", "step-by-step")[i % 2], problem.question) for i, problem in enumerate(asked)]
    completions = model.complete_all(prompts, Sampling(max_tokens=160))

    async def judged() -> list[float]:
        return await asyncio.gather(*(head(model, *pair) for pair in zip(asked, completions, strict=True)))

    scores = asyncio.run(judged())
    assert max(scores) <= 0
    right = [grade(c.text, p.reference, "strict").correct for c, p in zip(completions, asked, strict=True)]
    assert auroc(scores, right) > 0.85


# --- fit ------------------------------------------------------------------------------------------------------------


def test_one_yes_no_feature_gives_the_log_odds() -> None:
    """Without the feature 1 of 4 is right, with it 3 of 4: log odds of -log 3 and +log 3."""
    seen = torch.tensor([[0.0]] * 4 + [[1.0]] * 4)
    labels = torch.tensor([True, False, False, False, True, True, True, False])
    weight, bias = fit(seen, labels, 1e-9)
    assert float(bias) == pytest.approx(-math.log(3), abs=1e-3)
    assert float(weight) == pytest.approx(2 * math.log(3), abs=1e-3)


def test_weight_decay_by_hand() -> None:
    """One feature, standardised to -1 and 1, half of each: at the minimum sigmoid(-w) = decay * w if labels follow it.

    With w = 1 that is a decay of sigmoid(-1); the feature is 10 wide, so its own weight is 1 / 5, its middle 105.
    """
    decay = 1 / (1 + math.e)
    weight, bias = fit(torch.tensor([[100.0], [110.0]]), torch.tensor([False, True]), decay)
    assert float(weight) == pytest.approx(1 / 5, abs=1e-4) and float(bias) == pytest.approx(-105 / 5, abs=1e-2)


def test_fit_recovers_known_coefficients() -> None:
    random = torch.Generator().manual_seed(0)
    seen = torch.randn(20_000, 2, generator=random)
    chances = torch.sigmoid(seen @ torch.tensor([1.5, 0.0]) - 0.5)
    labels = torch.rand(20_000, generator=random) < chances
    weight, bias = fit(seen, labels, 1e-6)
    assert weight.tolist() == pytest.approx([1.5, 0.0], abs=0.07)  # three standard errors
    assert float(bias) == pytest.approx(-0.5, abs=0.06)
    again = fit(seen, labels, 1e-6)
    assert torch.equal(weight, again[0]) and torch.equal(bias, again[1])


def test_fit_separates_what_can_be_separated() -> None:
    """Two clouds, and a feature that never changes: nothing may become infinite."""
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(200) % 2 == 0
    seen = torch.randn(200, 8, generator=random) + 4 * labels[:, None]
    seen[:, 3] = 7.0
    weight, bias = fit(seen, labels, 1e-3)
    assert torch.equal(seen @ weight + bias > 0, labels)
    assert bool(weight.isfinite().all()) and float(weight[3]) == 0


def test_fit_needs_right_and_wrong_examples() -> None:
    with pytest.raises(UserError, match="of 3 completions 0 are right"):
        fit(torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool), 1e-3)
    with pytest.raises(UserError, match="of 3 completions 3 are right"):
        fit(torch.zeros(3, 2), torch.ones(3, dtype=torch.bool), 1e-3)


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_file_gives_back_every_bit(tmp_path: Path) -> None:
    head = replace(head_of(bias=-1 / 3), weight=torch.randn(70, generator=torch.Generator().manual_seed(2)))
    path = head.save(tmp_path / "new")
    assert path == tmp_path / "new" / FILE and [p.name for p in path.parent.iterdir()] == ["weights.safetensors"]
    for again in (RewardHead.load(tmp_path / "new"), RewardHead.for_model("whatever", tmp_path / "new")):
        assert torch.equal(again.weight, head.weight) and torch.equal(again.bias, head.bias)
        assert (again.model, again.templates) == ("tiny", "plain,step-by-step")


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        RewardHead.load(tmp_path)
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(b"\x10\x00")
    with pytest.raises(UserError, match="not safetensors"):
        RewardHead.load(tmp_path)
    for tensors in ({"weight": torch.zeros(4), "bias": torch.zeros(())}, {"other": torch.zeros(4)}):
        save_file(tensors, tmp_path / FILE)  # without the name of its features, or without its tensors
        with pytest.raises(UserError, match="not a reward head of this version"):
            RewardHead.load(tmp_path)
    path = head_of(1.0).save(tmp_path)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    save_file({"weight": torch.zeros(2, 2), "bias": torch.zeros(())}, path, metadata=about)
    with pytest.raises(UserError, match="not a reward head of this version"):
        RewardHead.load(tmp_path)


def test_a_models_own_head_lies_beside_its_weights(tiny: LanguageModel, tmp_path: Path) -> None:
    save_model(tmp_path, tiny.network, tiny.tokenizer)
    name = str(tmp_path)
    with pytest.raises(UserError, match=f"no reward head: train one with thinkling reward-head --model {name}"):
        RewardHead.for_model(name)
    head_of(1.0, 2.0).save(tmp_path)
    assert RewardHead.for_model(name).weight.tolist() == [1.0, 2.0]
    loaded = load_model(tmp_path)  # the head is no part of the network
    assert torch.equal(loaded.lm_head.weight, tiny.network.lm_head.weight)


# --- what it is worth ------------------------------------------------------------------------------------------------


POOL = [
    # two right ones, and the head likes them; log-probability prefers a wrong one
    *examples("a", (2, -1.0, math.log(0.9), True), (2, -3.0, math.log(0.8), True), (7, -0.5, math.log(0.75), False)),
    # wrong answers are in the majority, and the head knows; what it likes best has no answer at all
    *examples("b", (5, -2.0, -3.0, False), (5, -2.0, -3.0, False), (2, -1.0, math.log(0.4), True)),
    *examples("b", (None, -0.1, -0.1, False)),
    # none is right
    *examples("c", (3, -1.0, -2.0, False), (4, -2.0, -1.0, False)),
]  # fmt: skip


def test_ways_of_choosing_by_hand() -> None:
    groups = head_measure.by_problem(POOL)
    assert [group[0].problem.id for group in groups] == ["a", "b", "c"]
    right = {name: [choose(group) for group in groups] for name, choose in WAYS.items()}
    assert right == {
        "majority vote": [True, False, False],
        "best by mean logprob": [False, True, False],
        "best by head": [True, True, False],
        "vote weighed by head": [True, True, False],  # of a: 0.9 + 0.8 against 0.75; of b: 0.4 against 2 e^-3
        "any of them": [True, True, False],
    }


def test_measured_by_hand() -> None:
    found = measure(POOL)
    assert found.num_problems == 3
    assert found.accuracies["one completion"][0] == pytest.approx((2 / 3 + 1 / 4 + 0) / 3)
    assert found.accuracies["majority vote"][0] == pytest.approx(1 / 3)
    # within a every pair is in order; within b the one without an answer stands above the right one
    assert found.head.within == pytest.approx((1 + 2 / 3) / 2)
    # right .9 .8 .4 against wrong .75, e^-3 twice, e^-0.1 = .905, e^-2 = .14, e^-1 = .37: above 5, 5 and 4 of the 6
    assert found.head.auroc == pytest.approx(14 / 18)
    alone = measure(
        examples("a", (2, -1.0, -1.0, True), (3, -1.0, -1.0, False)) + examples("b", (3, -1.0, -1.0, False))
    )
    assert (
        alone.head.auroc is alone.head.auroc_interval is alone.head.within_interval is None
    )  # one problem tells little


def test_the_table_keeps_its_brackets() -> None:
    assert chance(0.5, (0.25, 1.0)).plain == ".500 [.250, 1.000]" and chance(None, None).plain == "-"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table({"plain": measure(POOL)}))
    assert "% majority vote" in (shown := console.export_text()) and "33.3 [6.1, 79.2]" in shown  # Wilson's 1 of 3


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tiny: LanguageModel, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    return tmp_path / "model"


def command(checkpoint: Path, out: Path, *more: str) -> list[str]:
    return ["reward-head", "--model", str(checkpoint), "--out", str(out), "--num-problems", "12", "--num-samples", "3",
            "--max-tokens", "6", *more]  # fmt: skip


def test_only_training_problems_are_asked_and_none_is_on_both_sides() -> None:
    fitted, aside = split(problems("train", 300), 0.25)
    assert (len(fitted), len(aside)) == (225, 75)
    ids = {problem.id for problem in (*fitted, *aside)}
    assert len(ids) == 300
    for other in ("held-out", "unseen-templates"):
        assert not ids & {problem.id for problem in problems(other, 300)}
    assert not any(is_held_out(hashlib.sha256(p.question.encode()).hexdigest()) for p in (*fitted, *aside))
    few = split(problems("train", 3), 0.25)
    assert (len(few[0]), len(few[1])) == (1, 2)


def test_the_command_makes_a_head_that_scores(
    capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights never answer, so here a completion is right if its text has an even number of characters."""
    graded, sizes = [], []

    def counted(seen: torch.Tensor, labels: torch.Tensor, *constants: float) -> tuple:
        sizes.append(len(labels))
        return fit(seen, labels, *constants)

    def even(problem: Problem, text: str, policy: str) -> Verdict:
        graded.append(policy)
        return Verdict("correct" if len(text) % 2 == 0 else "incorrect", None, "")

    monkeypatch.setattr(reward_head, "verify", even)
    monkeypatch.setattr(reward_head, "fit", counted)
    out = tmp_path / "run"
    cli.main(command(checkpoint, out))
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("AUROC", "plain", "step-by-step", "together", FILE))
    made = {"config.json", "metrics.json", "samples.jsonl", "reward_head"}
    assert {path.name for path in out.iterdir() if path.name != ".lock"} == made | {
        "metrics.jsonl", "finished.json", "checkpoints"
    }  # fmt: skip
    assert graded == ["strict"] * (12 * 3 * 2)
    rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 3 * 3 * 2 and sizes == [
        9 * 3 * 2
    ]  # a quarter of the problems was kept aside, and not fitted to
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["together"]["samples_per_problem"] == 6

    model, head = LanguageModel.load(str(checkpoint), device="cpu"), RewardHead.load(out)
    assert head.model == str(checkpoint)
    first = rows[0]
    (problem,) = (p for p in problems("train", 12, suite="quantities") if p.id == first["id"])
    prompt = reward_head.prompt_of(model, first["template"], problem.question)
    place = 3 * [p.id for p in problems("train", 12, suite="quantities")].index(problem.id)
    sampling = Sampling(max_tokens=6, seed=reward_head.derive_seed(0, "reward-head", first["template"]))
    completion = model.complete_all([prompt] * (place + 1), sampling)[place]
    assert completion.text == first["response"]
    assert asyncio.run(head(model, problem, completion)) == pytest.approx(first["score"], abs=1e-4)


def test_a_run_that_died_resumes_and_ends_with_the_same_head(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked five problems at a time, in six steps, it draws what it would draw at once; and what was asked before it
    died is not asked again."""

    def even(problem: Problem, text: str, extraction: str) -> Verdict:
        return Verdict("correct" if len(text) % 2 == 0 else "incorrect", None, "")

    monkeypatch.setattr(reward_head, "verify", even)
    cli.main(command(checkpoint, tmp_path / "at once"))
    monkeypatch.setattr(reward_head, "PROBLEMS_PER_STEP", 5)
    cli.main(command(checkpoint, tmp_path / "whole"))
    take, steps = reward_head.Collector.take, []

    def dies(self: reward_head.Collector, step: int) -> reward_head.CollectMetrics:
        steps.append(step)
        if steps == [0, 1, 2]:
            raise KeyboardInterrupt
        return take(self, step)

    monkeypatch.setattr(reward_head.Collector, "take", dies)
    for end in (pytest.raises(SystemExit), nullcontext()):
        with end:
            cli.main(command(checkpoint, tmp_path / "died"))
    assert steps == [0, 1, 2, 2, 3, 4, 5]
    samples = [
        [(row["question"], row["response"]) for row in read_jsonl(tmp_path / name / "samples.jsonl")]
        for name in ("at once", "whole", "died")
    ]
    assert samples[0] == samples[1] == samples[2]
    whole, died = (RewardHead.load(tmp_path / name) for name in ("whole", "died"))
    assert torch.equal(whole.weight, died.weight)


def test_a_model_that_is_never_right_teaches_nothing(
    capsys: pytest.CaptureFixture, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(command(checkpoint, tmp_path / "run"))
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "0 are right" in error


def test_reading_a_group_equals_reading_each_completion(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = tiny.text_prompt("Question: What is 2 + 3?\nAnswer:\n")
    group = [tiny.complete_all([prompt], Sampling(max_tokens=n, seed=n))[0] for n in (3, 9, 1, 6)]
    alone = [features(asyncio.run(tiny.hidden_states(c.prompt_tokens, c)), c.logprobs) for c in group]
    for budget in (10_000, 10):  # at once, and in several passes
        monkeypatch.setattr(reward_head, "READ_TOKENS", budget)
        for fast, slow in zip(read(tiny.network, group), alone, strict=True):
            torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "flags, complaint",
    [
        ({"validation_share": 1.0}, "--validation-share"),
        ({"num_problems": 2}, "--num-problems"),
        ({"temperature": 0.0}, "--temperature"),
        ({"templates": ()}, "--templates"),
    ],
)
def test_settings_are_checked(tmp_path: Path, flags: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        RewardHeadTraining(out=tmp_path, **flags)
