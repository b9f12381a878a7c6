"""Distillation losses: each one's expected gradient is that of the divergence it states, by enumeration."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import rl_steps
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_sft import made, trainer
from torch import Tensor

from thinkling.commands import distill
from thinkling.commands.distill import Distill
from thinkling.commands.grpo import Grpo, rollout_config, update_config
from thinkling.errors import UserError
from thinkling.generate import score as scoring
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import packed_states
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.problem import Problem
from thinkling.train.batch import by_prompt, flat_mask
from thinkling.train.distill import exact, soft
from thinkling.train.distill.divergence import coarse, divergence, with_tail
from thinkling.train.distill.exact import expected_gradient, numeric_gradient, tables
from thinkling.train.distill.on_policy import credits_of, hinted, teacher_credits
from thinkling.train.distill.soft import SoftConfig, SoftLoss, check_vocabularies, soft_loss
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.update import Updater
from thinkling.verify.verifier import Verdict

TEACHER, STUDENT = tables()
KINDS = [SoftConfig(), SoftConfig(divergence="reverse-kl"), SoftConfig(divergence="jsd", beta=0.3),
         SoftConfig(temperature=2.0), SoftConfig(divergence="reverse-kl", temperature=0.5)]  # fmt: skip


def close(found: Tensor, wanted: Tensor) -> bool:
    assert wanted.norm() > 1e-3  # else the comparison would say nothing
    return torch.allclose(found, wanted, atol=1e-8)


# --- the proofs ---------------------------------------------------------------------------------------------------


def test_on_the_teachers_samples_both_descend_the_sequences_kl() -> None:
    """Hard and soft distillation have one expected gradient, that of KL(P || Q) of whole completions."""
    wanted = numeric_gradient(lambda student: exact.sequence_kl(TEACHER, student), STUDENT)
    assert close(expected_gradient(exact.hard(), STUDENT, TEACHER), wanted)
    assert close(expected_gradient(exact.soft(TEACHER, SoftConfig()), STUDENT, TEACHER), wanted)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_on_the_students_samples_each_descends_its_own_divergence(config: SoftConfig) -> None:
    often = exact.visits(STUDENT, 1.0)
    wanted = numeric_gradient(lambda student: exact.over_states(config, TEACHER, student, often), STUDENT)
    assert close(expected_gradient(exact.soft(TEACHER, config), STUDENT, STUDENT), wanted)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_tokens_descend_the_reverse_kl(temperature: float) -> None:
    """At the sampling temperature, without the square of it, for that stands in the logits' own gradient."""
    config = SoftConfig(divergence="reverse-kl", temperature=temperature)
    often = exact.visits(STUDENT, temperature)
    wanted = numeric_gradient(lambda student: exact.over_states(config, TEACHER, student, often), STUDENT)
    loss = exact.sampled(TEACHER, STUDENT, temperature=temperature)
    assert close(temperature**2 * expected_gradient(loss, STUDENT, STUDENT, temperature), wanted)


def test_credits_for_all_that_follows_descend_the_sequences_reverse_kl() -> None:
    wanted = numeric_gradient(lambda student: exact.sequence_kl(student, TEACHER), STUDENT)
    loss = exact.sampled(TEACHER, STUDENT, discount=1.0)
    assert close(expected_gradient(loss, STUDENT, STUDENT), wanted)
    without = expected_gradient(exact.sampled(TEACHER, STUDENT), STUDENT, STUDENT)
    assert not torch.allclose(without, wanted, atol=1e-3)


@pytest.mark.parametrize("config", KINDS[:3], ids=str)
@pytest.mark.parametrize("of", ["teacher", "student"])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_top_k_and_a_tail_descend_the_coarser_divergence(config: SoftConfig, of: str, top_k: int) -> None:
    config, often = replace(config, top_k=top_k, of=of), exact.visits(STUDENT, 1.0)
    kept = exact.likeliest(TEACHER if of == "teacher" else STUDENT, top_k)
    wanted = numeric_gradient(lambda student: exact.over_states(config, TEACHER, student, often, kept), STUDENT)
    assert close(expected_gradient(exact.soft(TEACHER, config), STUDENT, STUDENT), wanted)


@pytest.mark.parametrize("kind", ["forward-kl", "reverse-kl", "jsd"])
def test_the_bias_of_top_k_falls_to_nothing(kind: str) -> None:
    """With three of four tokens the tail is one token: nothing is lost."""
    bias = [exact.top_k_bias(SoftConfig(divergence=kind, top_k=k), TEACHER, STUDENT) for k in (1, 2, 3)]
    assert bias[0] > 0.2
    assert bias[0] > bias[1] > 0.01
    assert bias[2] < 1e-9


# --- divergences --------------------------------------------------------------------------------------------------


def test_divergences_by_hand() -> None:
    """P = (1/2, 1/2), Q = (1/4, 3/4)."""
    teacher, student = (torch.tensor([row]).log() for row in ([0.5, 0.5], [0.25, 0.75]))
    forward = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    reverse = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert divergence("forward-kl", teacher, student).item() == pytest.approx(forward)
    assert divergence("reverse-kl", teacher, student).item() == pytest.approx(reverse)
    jsd = sum(w * (a * math.log(a / 0.35) + (1 - a) * math.log((1 - a) / 0.65)) for w, a in ((0.4, 0.5), (0.6, 0.25)))
    assert divergence("jsd", teacher, student, 0.4).item() == pytest.approx(jsd, abs=1e-6)
    certain = torch.tensor([[1.0, 0.0]]).log()
    assert divergence("forward-kl", certain, student).item() == pytest.approx(math.log(4))
    found = soft_loss(SoftConfig(temperature=3.0), teacher, student)
    assert found.item() == pytest.approx(9 * forward)


def test_a_tail_by_hand() -> None:
    rows = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    assert coarse(rows, torch.tensor([[0, 3]])).exp()[0].tolist() == pytest.approx([0.5, 0.1, 0.4])
    assert with_tail(torch.tensor([[0.0, -math.inf]])).exp()[0, 2].item() == pytest.approx(1e-10)


@given(st.lists(st.floats(-4, 4), min_size=12, max_size=12), st.integers(1, 5))
def test_a_coarser_divergence_is_never_larger(values: list[float], k: int) -> None:
    teacher, student = torch.tensor(values, dtype=torch.float64).view(2, 1, 6).log_softmax(-1)
    ids = teacher.topk(k, dim=-1).indices
    for kind in ("forward-kl", "reverse-kl", "jsd"):
        whole = divergence(kind, teacher, student).item()
        assert -1e-12 <= divergence(kind, coarse(teacher, ids), coarse(student, ids)).item() <= whole + 1e-9


# --- through the networks -----------------------------------------------------------------------------------------


def other(tiny: LanguageModel, seed: int = 1, vocab_size: int = 512) -> LanguageModel:
    config = replace(tiny.network.config, vocab_size=vocab_size)
    network = init_weights(Transformer(config), seed).requires_grad_(False).eval()
    with torch.no_grad():
        network.lm_head.weight *= 20
    return LanguageModel("teacher", network, tiny.tokenizer, max_length=512)


def plainly(config: SoftConfig, teacher: Transformer, student: Transformer, examples: list[Completion]) -> Tensor:
    """All logits whole."""
    rows = []
    for network in (teacher, student):
        states, _ = packed_states(network, *by_prompt(examples), False, flat_mask(examples))
        rows.append((network.logits(states)[:, :512] / config.temperature).log_softmax(-1))
    return soft_loss(config, *rows).sum()


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("config", [KINDS[3], replace(KINDS[1], top_k=5), replace(KINDS[2], top_k=5, of="student")],
                         ids=str)  # fmt: skip
def test_in_chunks_or_from_what_is_known_it_is_the_same(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, config: SoftConfig, keeps: bool
) -> None:
    """The teacher's embedding is padded, and it is asked once for each completion, in whatever company."""
    teacher, examples = other(tiny, vocab_size=520).network, made(5)
    wanted = plainly(config, teacher, tiny.network, examples)
    gradients = torch.autograd.grad(wanted, list(tiny.network.parameters()))
    loss = SoftLoss(teacher, config)
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", 3 * 512)
    if keeps:
        loss.remember(examples, 512, micro_batch_tokens=30)
    found = loss(tiny.network, examples, recompute=True)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    for one, expected in zip(torch.autograd.grad(found, list(tiny.network.parameters())), gradients, strict=True):
        assert torch.allclose(one, expected, atol=1e-4)
    assert len(loss.known) == (5 if keeps and config.top_k and config.of == "teacher" else 0)
    if loss.known:

        def mine_alone(network: Transformer, *rest: object) -> tuple:
            assert network is not teacher  # it is not asked again
            return packed_states(network, *rest)

        monkeypatch.setattr(soft, "packed_states", mine_alone)
        assert loss(tiny.network, examples).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_soft_labels_bring_the_student_to_the_teacher(tiny: LanguageModel) -> None:
    examples, teacher = made(7), other(tiny).network
    own = trainer(tiny, examples, epochs=25)
    own.loss = SoftLoss(teacher, SoftConfig(top_k=8))
    losses = [own.take(step).loss for step in range(25)]
    assert losses[-1] < 0.3 * losses[0]


def test_vocabularies_that_differ_are_named(tiny: LanguageModel) -> None:
    check_vocabularies(tiny, other(tiny, vocab_size=520))
    changed = tiny.tokenizer.backend.to_str().replace('"<think>"', '"<thinks>"')
    tokenizer = Tokenizer(type(tiny.tokenizer.backend).from_str(changed), tiny.tokenizer.stop_ids)
    stranger = LanguageModel("stranger", tiny.network, tokenizer)
    with pytest.raises(UserError, match=r"teacher stranger and the student tiny .* '<thinks>' in one and '<think>'"):
        check_vocabularies(tiny, stranger)


# --- on policy ----------------------------------------------------------------------------------------------------


def test_credits_by_hand() -> None:
    """log p_teacher - log p_student; a given token gets none; all that follows, at half its worth a step."""
    c = Completion((1,), (4, 5, 6), (-1.0, 0.0, -3.0), "stop", mask=(True, False, True))
    assert credits_of(c, [-2.0, -1.0], 1.0, 0.0) == (-1.0, 0.0, 2.0)
    assert credits_of(c, [-2.0, -1.0], 2.0, 0.5) == (2 * (-1.0 + 0.25 * 2.0), 0.0, 4.0)


def rollouts(tiny: LanguageModel) -> list[list[Rollout]]:
    problem, wrong = Problem("p", "q", "0"), Verdict("incorrect", None, "")
    settings = rl_settings(Path("unused"))
    drawn = tiny.complete_all(["Question: what?"] * 3 + ["x"] * 2, rollout_config(settings).sampling)
    found = [Rollout(problem, c, wrong, 0.0) for c in drawn]
    return [found[:3], found[3:]]


def rl_settings(out: Path, **changes: object) -> Grpo:
    return Grpo(out=out, max_tokens=8, prompts_per_step=2, rollouts_per_prompt=3, **changes)


def gradients_of(
    tiny: LanguageModel, groups: list[list[Rollout]], monkeypatch: pytest.MonkeyPatch, reward: float = 1.0,
    **more: object,
) -> dict:  # fmt: skip
    settings, seen = rl_settings(Path("unused"), micro_batch_tokens=30), {}
    optimizer = rl_steps.adam(tiny.network, 0.0)

    def look(scale: float) -> float:
        seen.update({name: weight.grad.clone() for name, weight in tiny.network.named_parameters()})
        return 0.0

    monkeypatch.setattr(optimizer, "step", look)
    rollout, differentiated = replace(rollout_config(settings), rewards={"correct": reward}), []
    updater = Updater(tiny, optimizer, exact.CREDITS, rollout, update_config(settings), **more)
    prepared, read = updater.prepare(groups), updater.read

    def looked_at(*arguments: object) -> tuple[Tensor, ...]:
        found = read(*arguments)
        differentiated.append(found[2].requires_grad)
        return found

    monkeypatch.setattr(updater, "read", looked_at)
    updater.update(prepared)
    return {"gradients": seen, "groups": prepared, "differentiated": set(differentiated)}


def test_the_teachers_credits_reach_the_gradient_as_they_are(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing earns a reward, no group has a signal, and every token is learnt from: -mean of credit times log p."""
    teacher, groups = other(tiny), rollouts(tiny)
    found = gradients_of(tiny, groups, monkeypatch, credit=teacher_credits(teacher.network, 1.0, micro_batch_tokens=20))
    flat = [r for group in found["groups"] for r in group]
    completions = [r.completion for r in flat]
    states = [packed_states(n, *by_prompt(completions)) for n in (teacher.network, tiny.network)]
    theirs, mine = (
        n.logits(s).log_softmax(-1).gather(-1, t[:, None])[:, 0]
        for n, (s, t) in zip((teacher.network, tiny.network), states, strict=True)
    )
    credits = torch.tensor([value for r in flat for value in r.credits])
    assert torch.allclose(credits, (theirs - mine).detach(), atol=1e-4)
    assert credits.std() > 0.1
    wanted = torch.autograd.grad(-(credits * mine).mean(), list(tiny.network.parameters()))
    for (name, _), expected in zip(tiny.network.named_parameters(), wanted, strict=True):
        assert torch.allclose(found["gradients"][name], expected, atol=1e-5), name


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_a_whole_distribution_on_the_students_rollouts(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, reward: float
) -> None:
    """Where nothing earns a reward, the policy's own loss needs no backward pass; where something may, it has one."""
    teacher, groups, config = other(tiny), rollouts(tiny), SoftConfig(divergence="reverse-kl")
    found = gradients_of(tiny, groups, monkeypatch, reward, token_loss=SoftLoss(teacher.network, config))
    assert found["differentiated"] == {reward != 0}
    completions = [r.completion for group in groups for r in group]
    mean = plainly(config, teacher.network, tiny.network, completions) / sum(len(c.tokens) for c in completions)
    wanted = torch.autograd.grad(mean, list(tiny.network.parameters()))
    for (name, _), expected in zip(tiny.network.named_parameters(), wanted, strict=True):
        assert torch.allclose(found["gradients"][name], expected, atol=1e-5), name


# --- the command --------------------------------------------------------------------------------------------------


def plan(tmp_path: Path, out: str = "run", **changes: object) -> Distill:
    tasks, data = tmp_path / "tasks.jsonl", tmp_path / "data.jsonl"
    rows = [{"question": f"What is {i} + 1?", "response": f"It is {i + 1}", "reference": str(i + 1)} for i in range(8)]
    for path in (tasks, data):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    small = dict(out=tmp_path / out, teacher="unused", data=data, tasks=(str(tasks),), eval_every=0, max_tokens=8)
    small |= dict(steps=4, prompts_per_step=2, rollouts_per_prompt=2, lr=1e-2, batch_size=4, save_every=2)
    return Distill(**(small | changes))


def distance(teacher: LanguageModel, student: LanguageModel) -> float:
    """Mean reverse KL over tokens that the student samples."""
    with torch.no_grad():
        drawn = student.complete_all(["Question: What is 3 + 1?\nAnswer:\n"] * 16, Sampling(max_tokens=8, seed=9))
        loss = SoftLoss(teacher.network, SoftConfig(divergence="reverse-kl"))
        return float(loss(student.network, drawn)) / sum(len(c.tokens) for c in drawn)


@pytest.mark.parametrize("how", [dict(score="sampled"), dict(score="full", top_k=20)], ids=lambda how: how["score"])
def test_on_policy_the_student_comes_nearer(tiny: LanguageModel, tmp_path: Path, how: dict) -> None:
    """A student that begins as its teacher with noise on it. Nothing that it says is right: no reward leads it."""
    teacher, random = other(tiny, 2), torch.Generator().manual_seed(0)
    tiny.network.load_state_dict(teacher.network.state_dict())
    with torch.no_grad():
        tiny.network.lm_head.weight += 0.2 * torch.randn(tiny.network.lm_head.weight.shape, generator=random)
    before = distance(teacher, tiny)
    folder = distill.train(plan(tmp_path, steps=8, rollouts_per_prompt=6, **how), tiny, teacher=teacher)
    assert (folder / "model.safetensors").exists()
    assert distance(teacher, tiny) < 0.6 * before
    told, rows = ([json.loads(line) for line in (tmp_path / "run" / f"{name}.jsonl").read_text().splitlines()]
                  for name in ("metrics", "samples"))  # fmt: skip
    if how["score"] == "full":
        assert 0.5 * before < told[0]["kl"] < 1.5 * before and told[-1]["kl"] < told[0]["kl"]  # of other draws
    else:
        first = [credit for row in rows if row["step"] == 0 for credit in row["credits"]]
        assert told[0]["kl"] == pytest.approx(-sum(first) / len(first), rel=1e-4)


@pytest.mark.parametrize("changes", [dict(), dict(method="soft", top_k=4)], ids=str)
def test_a_run_that_died_ends_with_the_same_bits(tiny: LanguageModel, tmp_path: Path, changes: dict) -> None:
    start = {name: weight.clone() for name, weight in tiny.network.state_dict().items()}
    teacher = other(tiny)

    def train(out: str, die_at: int | None = None) -> bytes:
        def show(shown: object) -> None:
            if shown.step == die_at:
                raise KeyboardInterrupt

        tiny.network.load_state_dict(start)
        folder = distill.train(plan(tmp_path, out, **changes), tiny, show, teacher)
        return (folder / "model.safetensors").read_bytes()

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("broken", die_at=2)
    assert train("broken") == whole
    told = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (told["teacher"], told["top_k"]) == ("unused", changes.get("top_k", 0))


def test_from_strong_to_weak_is_soft_and_then_on_policy(tiny: LanguageModel, tmp_path: Path) -> None:
    settings = plan(tmp_path, method="strong-to-weak", epochs=1, steps=1)
    folder = distill.train(settings, tiny, teacher=other(tiny))
    assert folder == tmp_path / "run" / "on-policy" / "checkpoints" / "step-00001"
    told = json.loads((tmp_path / "run" / "on-policy" / "config.json").read_text())
    assert told["model"] == str(tmp_path / "run" / "soft" / "checkpoints" / "step-00002")


def test_a_model_that_teaches_itself_reads_the_solution(tiny: LanguageModel, tmp_path: Path) -> None:
    """The same tokens, behind another prompt; and the teacher stays as the student began."""
    (group, _) = rollouts(tiny)
    solved = replace(group[0], problem=Problem("p", "1 + 1?", "2", solution="1 + 1 = 2"))
    seen = hinted(tiny, "plain")(solved)
    assert tiny.tokenizer.decode(seen.prompt_tokens) == (
        "Question: 1 + 1?\nA right solution, to compare with:\n1 + 1 = 2\nAnswer:\n"
    )
    assert seen.tokens == solved.completion.tokens
    teacher = distill.load_teacher(plan(tmp_path, teacher="self"), tiny)
    assert not any(weight.requires_grad for weight in teacher.network.parameters())
    assert teacher.network.lm_head.weight.data_ptr() != tiny.network.lm_head.weight.data_ptr()
    assert all(weight.requires_grad for weight in tiny.network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(method="soft", data=None), "--method soft learns replies that are given"),
        (dict(divergence="jsd"), "--score sampled descends the reverse KL, not jsd"),
        (dict(teacher="self", score="full"), "--teacher self needs --method on-policy and --score sampled"),
        (dict(memory_gb=4.0), "--plan and --memory-gb know nothing of teachers"),
        (dict(beta=1.0), "--beta 1.0 must lie between 0 and 1"),
        (dict(rollouts_per_prompt=1), "--rollouts-per-prompt must be at least 2"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, **changes)
