"""Text on top of the engine: async callers share a batch, streams never cut a character, stop strings stop."""

import asyncio
from dataclasses import replace

import pytest

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel, StopStrings
from thinkling.generate.plain import generate
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.model.tokenizer import Tokenizer

SAMPLING = Sampling(max_tokens=24, seed=4)


def test_complete_all_equals_plain(tiny: LanguageModel) -> None:
    prompts = ["1 + 1 =", "Question: how many?", "1 + 1 =", "ü€😀"]
    for i, completion in enumerate(tiny.complete_all(prompts, SAMPLING)):
        own = replace(SAMPLING, seed=derive_seed(SAMPLING.seed, i))
        alone = generate(tiny.network, tiny.tokenizer.encode(prompts[i]), own, tiny.tokenizer.stop_ids)
        assert completion.tokens == alone.tokens
        assert completion.text == tiny.text_of(alone.tokens)


def test_sequential_methods_run_as_one_batch(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight methods of two calls each, written one after the other, take the steps of two calls, not of sixteen."""
    steps = []
    real = tiny.engine.step
    monkeypatch.setattr(tiny.engine, "step", lambda: steps.append(len(tiny.engine.rows)) or real())

    async def method(i: int) -> str:
        first = await tiny.complete(f"draft {i}", replace(SAMPLING, seed=i))
        second = await tiny.complete(first.text + " check", replace(SAMPLING, seed=100 + i))
        return second.text

    async def all_methods() -> list[str]:
        return await asyncio.gather(*(method(i) for i in range(8)))

    asyncio.run(all_methods())
    assert len(steps) < 4 * SAMPLING.max_tokens
    assert max(steps) >= 7


def test_an_error_reaches_the_caller(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny.engine, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tiny.complete_all(["a", "b"], SAMPLING)


def test_a_cancelled_caller_frees_its_row(tiny: LanguageModel) -> None:
    async def run() -> None:
        task = asyncio.create_task(tiny.complete("a", replace(SAMPLING, max_tokens=400)))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert not tiny.engine.busy


def test_a_prompt_that_does_not_fit_is_one_clear_error(tiny: LanguageModel) -> None:
    with pytest.raises(UserError, match=r"the prompt is \d+ tokens long, but the context holds 512"):
        tiny.complete_all(["7 " * 600], SAMPLING)


@pytest.mark.parametrize("seed", range(6))
def test_stream_equals_complete(tiny: LanguageModel, seed: int) -> None:
    """A random model emits bytes that are no UTF-8; whole or in pieces, the text is the same."""
    sampling = Sampling(max_tokens=60, seed=derive_seed(seed, 0), temperature=1.5)
    (whole,) = tiny.complete_all(["x"], Sampling(max_tokens=60, seed=seed, temperature=1.5))
    assert "".join(tiny.stream("x", sampling)) == whole.text


def test_stop_string_cuts_text_and_ends_generation(tiny: LanguageModel) -> None:
    (free,) = tiny.complete_all(["x"], Sampling(max_tokens=60))
    stop = free.text[10:13]
    place = free.text.index(stop)
    (cut,) = tiny.complete_all(["x"], Sampling(max_tokens=60, stop=("never seen", stop)))
    assert cut.text == free.text[:place]
    assert cut.finish_reason == "stop"
    assert len(cut.tokens) < len(free.tokens)
    streamed = "".join(tiny.stream("x", Sampling(max_tokens=60, stop=(stop,), seed=derive_seed(0, 0))))
    assert streamed == cut.text
    assert not tiny.engine.busy


def test_nothing_of_a_stop_string_is_streamed_early(tiny_tokenizer: Tokenizer) -> None:
    watcher = StopStrings(tiny_tokenizer, ("STOP",))
    shown = []
    for token in tiny_tokenizer.encode("ab ST ok STOP more"):
        if watcher(token):
            break
        shown.append(watcher.safe)
    assert all("ab ST ok STOP".startswith(text) and not text.endswith(("S", "ST", "STO")) for text in shown)
    assert watcher.safe == "ab ST ok "
