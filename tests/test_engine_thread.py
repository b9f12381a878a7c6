"""Any thread, event loop or notebook may ask one model: what each gets is what it gets alone, and nobody hangs."""

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
import torch

from thinkling.errors import UserError
from thinkling.evaluate.run import evaluate
from thinkling.generate.explain import explain
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.scale.direct import Direct

SAMPLING = Sampling(max_tokens=12, seed=4)
LONG = replace(SAMPLING, max_tokens=400)


def alone(tiny: LanguageModel, prompts: list[str], sampling: Sampling = SAMPLING) -> list[tuple[int, ...]]:
    """What `complete_all` says, by the loop without a cache."""
    seeds = [derive_seed(sampling.seed, place) for place in range(len(prompts))]
    encoded = [tiny.tokenizer.encode(prompt) for prompt in prompts]
    return [generate(tiny.network, prompt, replace(sampling, seed=seed), tiny.tokenizer.stop_ids).tokens
            for prompt, seed in zip(encoded, seeds, strict=True)]  # fmt: skip


def said(tiny: LanguageModel, prompts: list[str], sampling: Sampling = SAMPLING) -> list[tuple[int, ...]]:
    return [completion.tokens for completion in tiny.complete_all(prompts, sampling)]


# --- from anywhere ---


def test_many_threads_ask_one_model(tiny: LanguageModel) -> None:
    """As Flask and Gradio do. Two threads once waited for each other's steps for ever."""
    prompts = [[f"{i} + {j} =" for j in range(3)] for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(said, tiny, own) for own in prompts]
        for own, future in zip(prompts, found, strict=True):
            assert future.result(timeout=60) == alone(tiny, own)


def test_inside_a_running_event_loop(tiny: LanguageModel) -> None:
    """As in a notebook: complete_all, explain and a whole evaluation, each called by code that a loop runs."""
    problems = [Problem(f"p{i}", f"{i} + 1?", str(i + 1)) for i in range(4)]
    method = Direct(replace(SAMPLING, temperature=0.0))
    expected = [sample.answer.text for sample in evaluate(tiny, method, problems)[1]]
    steps = [step.token for step in explain(tiny, "1 + 1 =", SAMPLING).steps]

    async def cell() -> None:
        assert said(tiny, ["a", "b"]) == alone(tiny, ["a", "b"])
        assert [step.token for step in explain(tiny, "1 + 1 =", SAMPLING).steps] == steps
        assert [sample.answer.text for sample in evaluate(tiny, method, problems)[1]] == expected

    asyncio.run(cell())


def test_two_event_loops_at_once(tiny: LanguageModel) -> None:
    async def ask(prompts: list[str]) -> list[tuple[int, ...]]:
        seeds = [derive_seed(SAMPLING.seed, place) for place in range(len(prompts))]
        asked = (tiny.complete(p, replace(SAMPLING, seed=s)) for p, s in zip(prompts, seeds, strict=True))
        return [completion.tokens for completion in await asyncio.gather(*asked)]

    prompts = ["a", "bb", "ccc", "dd"]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(asyncio.run, ask(own)) for own in (prompts, prompts[::-1])]
        assert [future.result(timeout=60) for future in both] == [alone(tiny, prompts), alone(tiny, prompts[::-1])]


def test_a_loop_that_blocks_itself_is_not_waited_for_for_ever(tiny: LanguageModel) -> None:
    async def cell() -> None:
        mine = asyncio.ensure_future(tiny.complete("mine", replace(SAMPLING, max_tokens=2)))
        await asyncio.sleep(0.001)
        assert said(tiny, ["a"]) == alone(tiny, ["a"])  # blocks the loop in which `mine` is to arrive
        assert len((await mine).tokens) <= 2

    asyncio.run(asyncio.wait_for(cell(), 60))


def test_two_streams_at_once(tiny: LanguageModel) -> None:
    (whole,) = tiny.complete_all(["x"], SAMPLING)
    own = replace(SAMPLING, seed=derive_seed(SAMPLING.seed, 0))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: "".join(tiny.stream("x", own)), range(2), timeout=60))
    assert found == [whole.text] * 2
    both = tiny.stream("x", own), tiny.stream("x", own)  # and by turns, in one thread
    begins = [next(one) for one in both]
    assert [begin + "".join(rest) for begin, rest in zip(begins, both, strict=True)] == [whole.text] * 2
    assert not tiny.engine.busy


def test_a_callback_that_waits_for_its_own_engine_is_an_error(tiny: LanguageModel) -> None:
    job = tiny.engine.request([5, 6], SAMPLING, lambda token: tiny.complete_all(["a"], SAMPLING))
    with pytest.raises(RuntimeError, match="must not wait for the engine that calls it"):
        list(tiny.engine_thread.outcomes([job]))


# --- what is asked together runs together ---


def test_coroutines_that_were_answered_ask_on_before_the_next_step(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a seeded run has the same batches each time, however fast threads take turns."""
    sizes: list[int] = []
    real = tiny.engine.step
    monkeypatch.setattr(tiny.engine, "step", lambda: (real(), sizes.append(len(tiny.engine.running)))[0])

    async def pair(name: str) -> None:
        await asyncio.gather(*(tiny.complete(f"{name}{i}", replace(SAMPLING, max_tokens=4)) for i in range(2)))

    async def method(name: str) -> None:
        await asyncio.gather(pair(f"{name}a"), pair(f"{name}b"))
        await asyncio.gather(pair(f"{name}c"), pair(f"{name}d"))

    async def run() -> None:
        await asyncio.gather(*(method(f"m{i}") for i in range(3)))

    monkeypatch.setattr(tiny.engine, "stop_ids", frozenset())
    asyncio.run(run())
    assert sizes == [12, 12, 12, 0] * 2  # three methods of four completions at a time, twice


# --- cancelled, interrupted, broken ---


def test_closing_a_stream_ends_its_request(tiny: LanguageModel) -> None:
    with closing(tiny.stream_tokens("x", LONG)) as tokens:
        next(tokens)
    assert not tiny.engine.busy
    assert said(tiny, ["a"]) == alone(tiny, ["a"])


def test_ctrl_c_ends_complete_all(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("only the main thread of a program sees Ctrl+C")
    real, steps = tiny.engine.step, []

    def step() -> list:
        steps.append(0)
        if len(steps) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return real()

    monkeypatch.setattr(tiny.engine, "step", step)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl+C
    try:
        with pytest.raises(KeyboardInterrupt):
            tiny.complete_all(["a", "b"] * 20, replace(LONG, max_tokens=450))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not tiny.engine.busy
    assert said(tiny, ["a"]) == alone(tiny, ["a"])


def test_after_any_failure_the_same_model_works(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing pass once left its rows in the engine; the same prompt then raised a TypeError."""
    expected = alone(tiny, ["a", "b", "a"])
    real, calls = tiny.network.forward, []

    def failing(*arguments: object) -> torch.Tensor:
        calls.append(0)
        if len(calls) in (1, 4):  # in prefill, and in the third step
            raise RuntimeError("the device is lost")
        return real(*arguments)

    monkeypatch.setattr(tiny.network, "forward", failing)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the device is lost"):
            tiny.complete_all(["a", "b", "a"], SAMPLING)
        assert not tiny.engine.busy
    assert said(tiny, ["a", "b", "a"]) == expected


def test_one_broken_request_ends_complete_all_and_its_others(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tiny.network.forward

    def broken(tokens: torch.Tensor, *rest: object) -> torch.Tensor:
        return real(tokens, *rest).masked_fill((tokens == 7).any(1)[:, None, None], float("nan"))

    monkeypatch.setattr(tiny.network, "forward", broken)
    with pytest.raises(UserError, match=r"request \d+, token 1: the model's logits are not finite"):
        tiny.complete_all([[5, 6], [5, 7], [9]], LONG)
    assert not tiny.engine.busy


# --- the thread sleeps, and ends ---


def test_weights_may_change_between_calls_and_nothing_leaks_into_training(tiny: LanguageModel) -> None:
    before = said(tiny, ["a", "b"])
    with torch.no_grad():
        for weight in tiny.network.parameters():
            weight.mul_(3)
    assert said(tiny, ["a", "b"]) == alone(tiny, ["a", "b"]) != before
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    tiny.network(torch.tensor([[1, 2]])).sum().backward()


@pytest.mark.parametrize("asleep, told, expected", [(False, False, 2), (True, False, 1), (True, True, 2)])
def test_the_engine_computes_with_the_callers_number_of_threads(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, asleep: bool, told: bool, expected: int
) -> None:
    """Each thread of torch has its own number; another one adds in another order. A small model takes one where threads
    sleep, unless the environment says how many."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive" if asleep else "active")
    monkeypatch.setenv("OMP_NUM_THREADS", "2") if told else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    seen = []
    job = tiny.engine.request([5], Sampling(max_tokens=2), lambda token: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(tiny.engine_thread.outcomes([job]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {expected}


def test_a_model_that_is_forgotten_takes_its_thread_along(tiny: LanguageModel) -> None:
    model = LanguageModel("own", tiny.network, tiny.tokenizer, max_rows=2, max_length=64)
    model.complete_all(["a"], Sampling(max_tokens=2))
    thread, engine = model.engine_thread._last, weakref.ref(model.engine)
    assert thread.is_alive()
    del model
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
    gc.collect()
    assert engine() is None


def test_a_program_ends_while_a_request_is_under_way() -> None:
    program = """
import torch
from thinkling.generate.engine import Engine
from thinkling.generate.engine_thread import EngineThread
from thinkling.generate.sampling import Sampling
from thinkling.model.config import ModelConfig
from thinkling.model.transformer import Transformer, init_weights
config = ModelConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=1, head_dim=16, max_position_embeddings=4096, rope_theta=10_000.0)
engine = Engine(init_weights(Transformer(config), 0).eval(), (), max_rows=2, max_length=4096)
thread = EngineThread(engine)
thread.ask([engine.request([1], Sampling(max_tokens=4000))], print)
print("leaving")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


def test_a_program_ends_just_after_its_model_was_forgotten() -> None:
    """The command's model is gone when main returns; its thread, still freeing the weights, aborted it once."""
    command = [sys.executable, "-m", "thinkling.cli", "generate", "1 + 1?", "--max-tokens", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
