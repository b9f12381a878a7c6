"""`thinkling scale`, `scorers`, and an `eval` that goes on: costs by hand, resuming, and what they leave behind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scripted import boxed
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from thinkling import cli
from thinkling.commands.eval import Eval
from thinkling.commands.scale import METHODS
from thinkling.errors import UserError
from thinkling.evaluate.run import Sample
from thinkling.evaluate.sweep import Sweep
from thinkling.generate import language_model
from thinkling.generate.cached import CachedModel
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.cache import KVCache
from thinkling.model.weights import save_model
from thinkling.problem import Problem
from thinkling.runs import open_run
from thinkling.scale.method import Answer
from thinkling.scale.methods import parse, scorer_for
from thinkling.scale.scorers import Scorer
from thinkling.verify.math.grade import grade


@pytest.fixture
def checkpoint(tiny: LanguageModel, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    return tmp_path / "model"


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    rows = [{"question": f"What is {i} + {i}?", "reference": str(2 * i)} for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recommending(checkpoint: Path) -> Path:
    """The checkpoint, with a generation_config.json as Qwen3's."""
    path = checkpoint / "generation_config.json"
    wanted = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    path.write_text(json.dumps(json.loads(path.read_text()) | wanted))
    return checkpoint


# --- how it samples -------------------------------------------------------------------------------------------------


def test_eval_samples_as_the_checkpoint_recommends_unless_flags_say_otherwise(
    recommending: Path, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def measured(out: str, *flags: str) -> tuple[list, str]:
        cli.main(["eval", "--model", str(recommending), "--tasks", str(tasks), "--max-tokens", "8",
                  "--out", str(tmp_path / out), *flags])  # fmt: skip
        rows = [json.loads(line) for line in (tmp_path / out / "samples.jsonl").read_text().splitlines()]
        rows.sort(key=lambda row: row["id"])
        return [[c["text"] for c in row["completions"]] for row in rows], capsys.readouterr().err

    own, said = measured("own", "--top-k", "5")
    assert "sampling as the checkpoint recommends: temperature 0.6, top-p 0.95\n" in said
    found = json.loads((tmp_path / "own" / "sampling.json").read_text())
    assert found == {"temperature": 0.6, "top_k": 5, "top_p": 0.95}
    greedy, said = measured("greedy", "--temperature", "0", "--template", "chat-thinking")
    assert "recommends: " not in said and "may repeat itself in its thinking" in said and greedy != own
    (recommending / "generation_config.json").write_text('{"eos_token_id": 2}')
    assert measured("same", "--temperature", "0.6", "--top-k", "5", "--top-p", "0.95") == (own, "")
    assert measured("plain")[0] != own and not (tmp_path / "plain" / "sampling.json").exists()


def test_scale_samples_as_the_checkpoint_recommends_where_a_method_names_no_temperature(
    recommending: Path, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def drawn(out: str, *flags: str) -> set[tuple[str, str]]:
        """What was asked, by its key (prompt and sampling), and the text that came."""
        cli.main(["scale", "--model", str(recommending), "--tasks", str(tasks), "--max-tokens", "8",
                  "--out", str(tmp_path / out), "--methods", *flags])  # fmt: skip
        rows = [json.loads(line) for line in (tmp_path / out / "pool.jsonl").read_text().splitlines()[1:]]
        return {(row["key"], row["text"]) for row in rows}

    own = drawn("own", "direct", "self-consistency~0.9=2", "direct@chat-thinking~0")
    said = capsys.readouterr()
    assert "recommends: temperature 0.6, top-k 20, top-p 0.95" in said.err
    assert "may repeat itself in its thinking" in said.err
    assert "plain, one answer, T = 0.6:" in said.out and "plain, vote of 2, T = 0.9:" in said.out
    assert json.loads((tmp_path / "own" / "sampling.json").read_text())["top_k"] == 20
    with pytest.raises(SystemExit):
        drawn("refused", "direct", "--top-p", "7")
    assert "top-p must be above 0" in capsys.readouterr().err and not (tmp_path / "refused").exists()
    path = recommending / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": json.loads(path.read_text())["eos_token_id"]}))
    same = drawn("same", "direct~0.6", "self-consistency~0.9=2", "direct@chat-thinking~0", "--top-k", "20",
                 "--top-p", "0.95")  # fmt: skip
    assert same == own and "recommends" not in capsys.readouterr().err


# --- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_tokens", "start"), [(1, 0), (7, 0), (1, 12), (5, 12)])
def test_flops_are_those_that_torch_counts(tiny: LanguageModel, num_tokens: int, start: int) -> None:
    """torch counts every query against every key; a token sees only the keys before it, which is subtracted here."""
    config, network = tiny.network.config, tiny.network
    cache = KVCache(config, 1, start + num_tokens, network.device, network.dtype)
    if start:
        network(torch.ones(1, start, dtype=torch.long), cache.view(1, start))
        cache.advance(start)
    # The plain form of attention: torch does not count within its fused ones on a CPU.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network.logits(network(torch.ones(1, num_tokens, dtype=torch.long), cache))
    unseen = num_tokens * (num_tokens - 1) / 2
    per_key = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim
    assert config.flops(num_tokens, start) == counter.get_total_flops() - per_key * unseen


def test_flops_of_two_pieces_are_those_of_the_whole(tiny: LanguageModel) -> None:
    config = tiny.network.config
    assert config.flops(5) + config.flops(7, 5) == config.flops(12)


def scorer_named(name: str, template: str) -> Scorer:
    return scorer_for(name, template, 16, "thinkling-base")


def test_a_points_cost_by_hand(tiny: LanguageModel, tmp_path: Path) -> None:
    """Two problems: right with 3 + 2 tokens from one prompt, wrong with 4, cut off. The prompt of the first is read
    once."""
    first, second = Problem("a", "?", "1"), Problem("b", "?", "2")
    completions = boxed(1, -1, -1, -1, seconds=0.5), boxed(1, -1, -1, seconds=0.25)
    cut = boxed(9, -1, -1, -1, -1, seconds=0.25, finish="length")
    samples = [
        Sample(first, Answer("\\boxed{1}", "1", completions), grade("\\boxed{1}", "1")),
        Sample(second, Answer("\\boxed{9}", "9", (cut,)), grade("\\boxed{9}", "2")),
    ]
    config = tiny.network.config
    sweep = Sweep(
        CachedModel(tiny, tmp_path / "pool.jsonl"),
        [first, second],
        Sampling(),
        scorer_named,
        config,
    )
    point = sweep.point("vote", "samples", 2, samples)
    assert (point.accuracy, point.correct, point.tokens, point.seconds) == (0.5, (True, False), 4.5, 0.5)
    assert point.truncated == pytest.approx(1 / 3)
    assert point.flops == (2 * config.flops(1) + config.flops(3, 1) + config.flops(2, 1) + config.flops(4, 1)) / 2


def test_oracle_is_pass_at_n_by_hand(tiny: LanguageModel, tmp_path: Path) -> None:
    """Four samples each: the first is right, the third is, none is. It averaged over all of them once, and so lay below
    the vote of those that came first: 1/6 of them is right, and the vote of one solved a third."""
    problems = [Problem("a", "?", "1"), Problem("b", "?", "8"), Problem("c", "?", "2")]
    completions = tuple(boxed(value, -1.0, -1.0) for value in (1, 7, 8, 9))
    samples = [
        Sample(problem, Answer("\\boxed{1}", "1", completions), grade("\\boxed{1}", problem.reference))
        for problem in problems
    ]
    sweep = Sweep(CachedModel(tiny, tmp_path / "pool.jsonl"), problems, Sampling(), scorer_named)
    recipe = parse("self-consistency=1,2,4")
    for n in recipe.budgets:
        first = [replace(s, answer=replace(s.answer, completions=s.answer.completions[:n])) for s in samples]
        sweep.points.append(sweep.point(str(recipe), "samples", n, first))
    found = sweep.oracle(recipe, samples)
    assert [(p.budget, p.accuracy, p.tokens, p.oracle) for p in found] == [
        (1, 1 / 3, 2.0, True), (2, 1 / 3, 4.0, True), (4, 2 / 3, 8.0, True)
    ]  # fmt: skip
    assert [p.correct for p in found] == [(True, False, False)] * 2 + [(True, True, False)]
    assert all(p.flops is None and p.accuracy >= vote.accuracy for p, vote in zip(found, sweep.points, strict=True))


def test_the_table_without_methods_can_be_parsed() -> None:
    assert len({str(parse(text, (1, 2))) for text in METHODS}) == len(METHODS)


# --- the commands ---------------------------------------------------------------------------------------------------


def scale(checkpoint: Path, tasks: Path, out: Path, *more: str) -> None:
    cli.main(
        ["scale", "--model", str(checkpoint), "--tasks", str(tasks), "--max-tokens", "12", "--out", str(out), *more]
    )


def table(out: Path) -> list[dict]:
    return json.loads((out / "table.json").read_text())["points"]


def test_scale_measures_draws_and_goes_on(checkpoint: Path, tasks: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "scale"
    methods = ["--methods", "direct", "self-consistency", "best-of-n:heuristic", "refine=1,2", "beam=2"]
    scale(checkpoint, tasks, out, *methods, "--budgets", "1", "2")
    rows = table(out)
    assert [(row["method"], row["budget"]) for row in rows if not row["oracle"]] == [
        ("plain, one answer", None), ("plain, vote of n", 1), ("plain, vote of n", 2),
        ("plain, best of n by heuristic", 1), ("plain, best of n by heuristic", 2),
        ("plain, refinement x n", 1), ("plain, refinement x n", 2),
        ("step by step, beam search with n paths by mean-logprob", 2),
    ]  # fmt: skip
    assert [row["budget"] for row in rows if row["oracle"]] == [1, 2]
    assert rows[1]["tokens"] == rows[3 + 2]["tokens"]  # one sample is one sample, whoever chooses
    page = (out / "report.html").read_text()
    assert "wrong -&gt; right" in page and "<script" not in page
    assert list((out / "plots").glob("*.png"))
    shown = json.loads((out / "prompts.json").read_text())["templates"]
    assert shown["plain"]["first_prompt"] == "Question: What is 0 + 0?\nAnswer:\n"
    capsys.readouterr()
    scale(checkpoint, tasks, out, *methods, "--budgets", "1", "2")
    assert "; 0 answers asked now" in capsys.readouterr().out.replace("\n", " ")
    assert table(out) == rows
    scale(checkpoint, tasks, out, "--methods", "adaptive", "--budgets", "2")
    assert [row["method"] for row in table(out)] == ["plain, adaptive vote of at most n"]


def test_scorers_ranks_them_on_the_runs_samples(
    checkpoint: Path, tasks: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    out = tmp_path / "scale"
    monkeypatch.setattr("thinkling.evaluate.scorer_quality.verify", lambda problem, text: Verdicts(text))
    scale(checkpoint, tasks, out, "--methods", "self-consistency", "--budgets", "4")
    before = (out / "pool.jsonl").read_text().count("\n")
    cli.main(["scorers", str(out), "--num-samples", "4", "--scorers", "mean-logprob", "confidence-tail"])
    assert "confidence-tail" in capsys.readouterr().out
    assert (out / "pool.jsonl").read_text().count("\n") == before  # nothing was drawn anew
    rows = json.loads((out / "scorers-plain-1.json").read_text())
    assert {row["scorer"] for row in rows} == {"mean-logprob", "confidence-tail"}
    assert all(0 <= row["within"] <= 1 and 0 <= row["overall"] <= 1 for row in rows)


class Verdicts:
    """A random network is never right, so half of the texts are called so."""

    def __init__(self, text: str) -> None:
        self.correct = sum(text.encode()) % 2 == 0


def test_scorers_of_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["scorers", str(tmp_path)])
    assert end.value.code == 2


def test_eval_goes_on_where_it_stopped(checkpoint: Path, tasks: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Killed after ten completions of twelve: started again it asks for two, and reports what a whole run does."""
    flags = ["--model", str(checkpoint), "--tasks", str(tasks), "--max-tokens", "12", "--method", "self-consistency",
             "--num-samples", "3", "--max-rows", "2"]  # fmt: skip
    cli.main(["eval", *flags, "--out", str(tmp_path / "whole")])
    real, left = language_model.LanguageModel.complete, [10]

    async def mortal(self: LanguageModel, prompt: object, sampling: object) -> object:
        completion = await real(self, prompt, sampling)
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the power is gone")
        return completion

    monkeypatch.setattr(language_model.LanguageModel, "complete", mortal)
    with pytest.raises(RuntimeError, match="the power is gone"):
        cli.main(["eval", *flags, "--out", str(tmp_path / "cut")])
    assert not (tmp_path / "cut" / "report.json").exists()
    asked = []
    monkeypatch.setattr(
        language_model.LanguageModel, "complete", lambda self, *a: asked.append(a) or real(self, *a)
    )  # fmt: skip
    cli.main(["eval", *flags, "--out", str(tmp_path / "cut")])
    assert len(asked) == 2

    def rows(folder: str) -> list[tuple]:
        lines = (tmp_path / folder / "samples.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return sorted((row["id"], row["response"], [c["text"] for c in row["completions"]]) for row in found)

    assert rows("cut") == rows("whole") and len(rows("cut")) == 4


def test_a_run_goes_on_only_with_its_own_flags(tmp_path: Path) -> None:
    settings = Eval(out=tmp_path / "run", num_problems=5)
    assert open_run(settings.out, settings, "report.json") == settings.out
    open_run(settings.out, settings, "report.json")
    with pytest.raises(UserError, match="holds an unfinished run with --num-problems 5, not 6: give the same flags"):
        open_run(settings.out, Eval(out=settings.out, num_problems=6), "report.json")
    (settings.out / "report.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a run"):
        open_run(settings.out, settings, "report.json")
