"""Ask once, answer ever after: the same answers, the same costs, after a crash too."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scripted import Scripted, boxed

from thinkling.errors import UserError
from thinkling.generate.cached import CachedModel, cut_where_unsure
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.scale.judge import PTrue
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency

PROBLEM = Problem("p", "1 + 1?", "2")


def test_what_was_asked_is_not_asked_again(tiny: LanguageModel, tmp_path: Path) -> None:
    pool = CachedModel(tiny, tmp_path / "pool.jsonl")
    large = asyncio.run(SelfConsistency(Sampling(max_tokens=9), 6)(pool, PROBLEM))
    assert pool.num_asked == 6
    small = asyncio.run(SelfConsistency(Sampling(max_tokens=9), 4)(pool, PROBLEM))
    adaptive = asyncio.run(AdaptiveConsistency(Sampling(max_tokens=9), 5)(pool, PROBLEM))
    assert pool.num_asked == 6
    assert small.completions == large.completions[:4]
    assert adaptive.completions == large.completions[: len(adaptive.completions)]
    asyncio.run(SelfConsistency(Sampling(max_tokens=9, temperature=0.9), 1)(pool, PROBLEM))
    asyncio.run(SelfConsistency(Sampling(max_tokens=9), 1, "step-by-step")(pool, PROBLEM))
    assert pool.num_asked == 8


def test_it_answers_what_the_model_answers(tiny: LanguageModel, tmp_path: Path) -> None:
    method = SelfConsistency(Sampling(max_tokens=9, measure=True), 5)
    alone = asyncio.run(method(tiny, PROBLEM)).completions
    for c, own in zip(asyncio.run(method(CachedModel(tiny, tmp_path / "p"), PROBLEM)).completions, alone, strict=True):
        assert (c.tokens, c.text, c.finish_reason, c.prompt_tokens) == (
            own.tokens, own.text, own.finish_reason, own.prompt_tokens
        )  # fmt: skip
        for name in ("logprobs", "confidence", "certainty", "margin"):
            assert getattr(c, name) == pytest.approx(getattr(own, name), rel=1e-5, abs=1e-12)


def test_a_file_read_back_gives_the_very_same_completions(tiny: LanguageModel, tmp_path: Path) -> None:
    """Bit for bit, so that no tie falls otherwise after an interruption; the seconds too: it costs what it cost."""
    method = SelfConsistency(Sampling(max_tokens=9), 4)
    first = asyncio.run(method(CachedModel(tiny, tmp_path / "pool.jsonl"), PROBLEM))
    again = CachedModel(tiny, tmp_path / "pool.jsonl")
    second = asyncio.run(method(again, PROBLEM))
    assert again.num_asked == 0 and second == first
    assert [c.seconds for c in second.completions] == [c.seconds for c in first.completions]
    assert all(c.seconds > 0 for c in first.completions)


def test_a_line_that_was_half_written_is_asked_again(tiny: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    method = SelfConsistency(Sampling(max_tokens=9), 4)
    whole = asyncio.run(method(CachedModel(tiny, path), PROBLEM))
    path.write_bytes(path.read_bytes()[:-20])
    fixed = CachedModel(tiny, path)
    again = asyncio.run(method(fixed, PROBLEM))
    assert fixed.num_asked == 1 and [c.tokens for c in again.completions] == [c.tokens for c in whole.completions]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_file_that_ends_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    """Killed there, it was left empty, and the first answer stood where the model's name belongs."""
    path = tmp_path / "pool.jsonl"
    CachedModel(Scripted(boxed(1, -1.0)), path)
    first = path.read_bytes()
    for kept in (0, 1, len(first) - 1):
        path.write_bytes(first[:kept])
        asyncio.run(CachedModel(Scripted(boxed(1, -1.0)), path).complete("Q", Sampling()))
        assert path.read_bytes().startswith(first)
        again = CachedModel(Scripted(boxed(1, -1.0)), path)
        asyncio.run(again.complete("Q", Sampling()))
        assert again.num_asked == 0


def test_two_that_ask_the_same_at_once_ask_once(tmp_path: Path) -> None:
    model = Scripted(boxed(1, -1.0))

    async def both() -> list:
        pool = CachedModel(model, tmp_path / "pool.jsonl")
        return await asyncio.gather(*(pool.complete("Q", Sampling()) for _ in range(3)))

    first, *others = asyncio.run(both())
    assert len(model.asked) == 1 and all(other is first for other in others)


def test_opinions_are_remembered(tiny: LanguageModel, tmp_path: Path) -> None:
    (completion,) = asyncio.run(SelfConsistency(Sampling(max_tokens=4), 1)(tiny, PROBLEM)).completions
    pool = CachedModel(tiny, tmp_path / "pool.jsonl")
    first = asyncio.run(PTrue()(pool, PROBLEM, completion))
    assert pool.num_asked == 2 and asyncio.run(PTrue()(pool, PROBLEM, completion)) == first and pool.num_asked == 2
    assert first == pytest.approx(asyncio.run(PTrue()(tiny, PROBLEM, completion)), abs=1e-6)


def test_an_error_is_everybodys_and_nothing_is_written(tmp_path: Path) -> None:
    def fails(prompt: str, sampling: Sampling) -> None:
        raise UserError("the server is gone")

    pool = CachedModel(Scripted(fails), tmp_path / "pool.jsonl")

    async def two() -> list:
        return await asyncio.gather(*(pool.complete("Q", Sampling()) for _ in range(2)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(two())] == ["the server is gone"] * 2
    assert len((tmp_path / "pool.jsonl").read_text().splitlines()) == 1  # the line that names the model


def test_samples_of_other_weights_are_refused(tiny: LanguageModel, tmp_path: Path) -> None:
    asyncio.run(SelfConsistency(Sampling(max_tokens=4), 1)(CachedModel(tiny, tmp_path / "pool.jsonl"), PROBLEM))
    with torch.no_grad():
        tiny.network.lm_head.weight[0, 0] += 1
    with pytest.raises(UserError, match="these samples are of tiny, with other weights or another name than tiny"):
        CachedModel(tiny, tmp_path / "pool.jsonl")


def test_a_watched_trace_is_cut_from_the_whole_one(tiny: LanguageModel, tmp_path: Path) -> None:
    """Replayed or drawn anew, DeepConf's stopped trace is the same; replayed it costs its share of the whole."""
    free = Sampling(max_tokens=24, seed=5, measure=True)
    prompt = tiny.text_prompt("Question: 1 + 1?\nAnswer:\n")
    pool = CachedModel(tiny, tmp_path / "pool.jsonl")
    whole = asyncio.run(pool.complete(prompt, free))
    means = sorted(sum(whole.confidence[i : i + 4]) / 4 for i in range(len(whole.confidence) - 3))
    for threshold in (means[0] + 1e-4, means[len(means) // 2] + 1e-4, means[0] - 1e-2):
        watched = replace(free, min_confidence=threshold, confidence_window=4)
        drawn, cut = asyncio.run(tiny.complete(prompt, watched)), asyncio.run(pool.complete(prompt, watched))
        assert (cut.tokens, cut.text, cut.finish_reason) == (drawn.tokens, drawn.text, drawn.finish_reason)
        assert len(cut.confidence) == len(cut.logprobs) == len(cut.tokens)
        assert cut.seconds == pytest.approx(whole.seconds * len(cut.tokens) / len(whole.tokens))
    assert pool.num_asked == 1
    assert cut_where_unsure(whole, replace(free, min_confidence=-9.0, confidence_window=4), tiny) is whole
