"""Text on top of the engine: async callers share a batch, streams never cut a character, stop strings stop."""

import asyncio
import time
from dataclasses import replace

import pytest
import torch

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.generate.stop_strings import StopStrings
from thinkling.model.chat_template import Mark
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
    monkeypatch.setattr(tiny.engine, "step", lambda: steps.append(len(tiny.engine.running)) or real())

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
    tiny.engine_thread.wait_until_idle()
    assert not tiny.engine.busy and not tiny.engine.running


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


# --- what methods build on ------------------------------------------------------------------------------------------


def test_going_on_behind_a_completion_gives_what_one_long_completion_gives(tiny: LanguageModel) -> None:
    """Greedy, 4 tokens and then 8 more from the extended prompt, against 12 at once."""
    prompt = tiny.text_prompt("Question: 2 + 3?\nAnswer:\n")

    async def run() -> None:
        whole = await tiny.complete(prompt, Sampling(temperature=0, max_tokens=12, measure=True))
        first = await tiny.complete(prompt, Sampling(temperature=0, max_tokens=4, measure=True))
        rest = await tiny.complete(tiny.extend(prompt, first), Sampling(temperature=0, max_tokens=8, measure=True))
        both = tiny.joined(first, rest)
        assert (both.tokens, both.text, both.prompt_tokens) == (whole.tokens, whole.text, tuple(prompt))
        assert both.logprobs == pytest.approx(whole.logprobs, abs=1e-4)
        assert both.confidence == pytest.approx(whole.confidence, abs=1e-3)
        assert both.finish_reason == rest.finish_reason

    asyncio.run(run())


def test_the_whole_of_two_parts_is_cut_where_the_second_is(tiny: LanguageModel) -> None:
    encode = tiny.tokenizer.encode
    first = Completion((1,), tuple(encode("ab")), (0.0,) * len(encode("ab")), "length", "ab")
    second = Completion((1,), tuple(encode("c.d")), (0.0,) * len(encode("c.d")), "stop", "c", stop_string=".")
    both = tiny.joined(first, second)
    assert (both.text, both.stop_string, both.tokens) == ("abc", ".", (*encode("ab"), *encode("c.d")))


def test_extend_goes_on_before_or_behind_the_stop_string(tiny: LanguageModel) -> None:
    encode, decode = tiny.tokenizer.encode, tiny.tokenizer.decode
    tokens = encode("ab cd, ef")
    prompt = encode("Q")
    cut = Completion((1,), tuple(tokens), (0.0,) * len(tokens), "stop", "ab c", stop_string="d")
    assert decode(tiny.extend(prompt, cut)) == "Qab cd, ef"  # all that was sampled
    assert decode(tiny.extend(prompt, cut, "!", " so")) == "Qab c! so"
    assert tiny.extend(prompt, cut, "!")[:2] == [*prompt, tokens[0]]  # whole tokens before the cut stay
    end = tiny.tokenizer.stop_ids[0]
    ended = Completion((1,), (*tokens, end), (0.0,) * (len(tokens) + 1), "stop", "ab cd, ef")
    assert tiny.extend(prompt, ended) == [*prompt, *tokens]
    assert tiny.extend(prompt, ended, "!") == [*prompt, *tokens, *encode("!")]


def test_extend_makes_control_tokens_of_marks_only(tiny: LanguageModel) -> None:
    nothing = Completion((1,), (), (), "length", "")
    think = tiny.tokenizer.special_id("</think>")
    assert tiny.extend([5], nothing, Mark("</think>")) == [5, think]
    assert think not in tiny.extend([5], nothing, "</think>")


def test_a_cut_inside_a_character_loses_nothing(tiny: LanguageModel) -> None:
    encode = tiny.tokenizer.encode
    tokens = encode("é|x")  # é is two tokens of one byte each
    cut = Completion((1,), tuple(tokens), (0.0,) * len(tokens), "stop", "é", stop_string="|")
    assert tiny.tokenizer.decode(tiny.extend([], cut, "?")) == "é?"
    before = Completion((1,), tuple(encode("aé")), (0.0,) * 3, "stop", "a", stop_string="é")
    assert tiny.tokenizer.decode(tiny.extend([], before, "!")) == "a!"  # no half of é is left
    half = Completion((1,), tuple(tokens[:1]), (0.0,), "length", "\ufffd")
    assert tiny.extend([], half, "") == tokens[:1]


def test_first_tokens_are_the_likeliest_and_logprob_of_is_the_models(tiny: LanguageModel) -> None:
    prompt = tiny.text_prompt("Question: 7?\nAnswer:\n")
    logprobs = tiny.network.logits(tiny.network(torch.tensor([prompt]))[0, -1]).detach().float().log_softmax(-1)

    async def run() -> None:
        begun = await tiny.first_tokens(prompt, 5)
        assert [c.tokens[0] for c in begun] == logprobs.topk(5).indices.tolist()
        assert [c.logprobs[0] for c in begun] == pytest.approx(logprobs.topk(5).values.tolist(), abs=1e-5)
        greedy = await tiny.complete(prompt, Sampling(temperature=0, max_tokens=6, measure=True))
        assert greedy.margin[0] == pytest.approx(begun[0].margin[0], abs=1e-5)
        text = tiny.tokenizer.decode(prompt[-3:])
        again = await tiny.logprob_of(prompt[:-3], text)
        behind = tiny.network.logits(tiny.network(torch.tensor([prompt]))[0]).detach().float().log_softmax(-1)
        own = [float(behind[place - 1, prompt[place]]) for place in range(len(prompt) - 3, len(prompt))]
        assert again == pytest.approx(sum(own), abs=1e-4)

    asyncio.run(run())


def test_reads_of_many_lengths_together_are_those_of_each_alone(tiny: LanguageModel) -> None:
    tiny.engine.runner.pass_tokens = 40  # so that they take several passes
    prompts = [list(range(5, 5 + n)) for n in (3, 17, 9, 30, 1, 12)]
    completion = Completion((1,), (7, 8), (-1.0, -1.0), "length", "")

    async def run() -> list[torch.Tensor]:
        return await asyncio.gather(*(tiny.hidden_states(prompt, completion) for prompt in prompts))

    for prompt, hidden in zip(prompts, asyncio.run(run()), strict=True):
        alone = tiny.network(torch.tensor([[*prompt, 7, 8]]))[0, -2:]
        assert torch.allclose(hidden, alone, atol=1e-4)


def test_a_read_that_fails_tells_those_who_wait(tiny: LanguageModel, monkeypatch) -> None:
    def broken(*tokens: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tiny.network, "forward", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(tiny.logprob_of([1, 2], "x"))


def test_states_are_used_before_more_are_computed(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of completions to score must not mean thousands of hidden states in memory at once."""
    tiny.engine.runner.pass_tokens = 10  # two prompts of three and their two tokens each
    events = []
    real = tiny.network.forward
    monkeypatch.setattr(tiny.network, "forward", lambda tokens, *cache: events.append("read") or real(tokens, *cache))
    completion = Completion((1,), (7, 8), (-1.0, -1.0), "length", "")

    async def one(prompt: list[int]) -> None:
        await tiny.hidden_states(prompt, completion)
        events.append("used")

    async def run() -> None:
        await asyncio.gather(*(one([5, 6, n]) for n in range(6)))

    asyncio.run(run())
    assert events == ["read", "used", "used"] * 3


def test_reads_that_were_abandoned_do_not_block_the_next(tiny: LanguageModel) -> None:
    tiny.engine.runner.pass_tokens = 1  # each takes a pass of its own
    completion = Completion((1,), (7, 8), (-1.0, -1.0), "length", "")

    async def abandoned() -> None:
        waiting = [asyncio.ensure_future(tiny.hidden_states([5], completion)) for _ in range(20)]
        await asyncio.sleep(0)  # they wait now, and here the loop ends
        assert not waiting[-1].done()

    asyncio.run(abandoned())
    assert asyncio.run(asyncio.wait_for(tiny.hidden_states([5], completion), 10)).shape[0] == 2


def test_seconds_add_up_to_the_engines_time(tiny: LanguageModel, monkeypatch) -> None:
    """A clock that ticks once per look: every tick belongs to exactly the rows that were under way."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    found = tiny.complete_all(["a", "a", "bb"], Sampling(max_tokens=4, temperature=0))
    steps = max(len(c.tokens) for c in found)
    assert sum(c.seconds for c in found) == 2 * steps  # a draw and a read each; admitting once, no read at the end
    assert all(c.seconds > 0 for c in found)


def test_one_prompt_is_not_taken_for_many(tiny: LanguageModel) -> None:
    """A text was once read as a list of letters."""
    for one in ("one string", iter([5, 6, 7])):
        with pytest.raises(UserError, match=r"write \[prompt\] for a single one"):
            tiny.complete_all(one, SAMPLING)
    assert tiny.complete_all([], SAMPLING) == []


def test_each_completion_comes_in_order(tiny: LanguageModel) -> None:
    prompts = ["a", "b", "c", "a"]
    assert [c.tokens for c in tiny.complete_each(prompts, SAMPLING)] == [
        c.tokens for c in tiny.complete_all(prompts, SAMPLING)
    ]


def test_a_prefill_begins_the_assistants_reply(tiny: LanguageModel) -> None:
    """The completion goes on behind it: greedy, it is the tail of what a longer prefill's is."""
    turn, greedy = [{"role": "user", "content": "2 + 2?"}], Sampling(temperature=0, max_tokens=8)
    plain = tiny.chat_prompt(turn, thinking=False)
    begun = tiny.chat_prompt(turn, thinking=False, prefill="It is")
    assert begun == [*plain, *tiny.tokenizer.encode("It is")]
    assert tiny.chat_prompt(turn, thinking=False, prefill="") == plain
    (whole,) = tiny.complete_all([begun], greedy)
    (rest,) = tiny.complete_all([[*begun, *whole.tokens[:3]]], greedy)
    assert rest.tokens[:5] == whole.tokens[3:]
