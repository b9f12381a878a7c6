"""Every fast path against the plain loop: alone, in a crowd, joining late, sharing a prompt."""

import copy
import random
import tracemalloc
from dataclasses import replace

import pytest
import torch

from thinkling.errors import UserError
from thinkling.generate.completion import repeats
from thinkling.generate.distribution import not_finite
from thinkling.generate.engine import Engine
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.model.config import ModelConfig
from thinkling.model.transformer import Transformer, init_weights

STOP = (3,)


def far_from_uniform() -> Transformer:
    """Of random weights, so large that a wrong cache entry shows at once."""
    config = ModelConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=96, rope_theta=10_000.0,
    )  # fmt: skip
    network = init_weights(Transformer(config), seed=1).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(12)
    return network


@pytest.fixture(scope="module")
def model() -> Transformer:
    return far_from_uniform()


def requests(num: int, seed: int) -> list[tuple[list[int], Sampling]]:
    """Mixed lengths and settings, from one token to most of the context; every third prompt is a repeat."""
    pick = random.Random(seed)
    made: list[tuple[list[int], Sampling]] = []
    for i in range(num):
        length = pick.choice([1, 2, 7, 30, 60])
        prompt = made[-1][0] if i % 3 == 2 else [pick.randrange(61) for _ in range(length)]
        kinds = [dict(temperature=0.0), dict(temperature=1.0), dict(temperature=0.7, top_k=5),
                 dict(temperature=1.3, top_p=0.8), dict(temperature=1.0, min_p=0.1)]  # fmt: skip
        made.append((prompt, Sampling(max_tokens=pick.choice([1, 5, 25]), seed=i, **pick.choice(kinds))))
    return made


def run(engine: Engine, jobs: list[tuple[list[int], Sampling]], together: int) -> list:
    """Submit `together` jobs per step, so that requests join a running batch."""
    done, ids, queue = {}, [], list(jobs)
    while queue or engine.busy:
        for prompt, sampling in queue[:together]:
            ids.append(engine.submit(prompt, sampling))
        queue = queue[together:]
        done |= dict(engine.step())
    return [done[i] for i in ids]


@pytest.mark.parametrize(("max_rows", "together"), [(1, 99), (4, 99), (7, 1), (64, 99), (5, 3)])
def test_a_request_does_not_depend_on_its_neighbours(model: Transformer, max_rows: int, together: int) -> None:
    jobs = requests(40, seed=max_rows)
    found = run(Engine(model, STOP, max_rows=max_rows, max_length=96), jobs, together)
    for (prompt, sampling), completion in zip(jobs, found, strict=True):
        alone = generate(model, prompt, sampling, STOP)
        assert completion.tokens == alone.tokens
        assert completion.finish_reason == alone.finish_reason
        assert completion.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_the_jobs_above_cover_stop_and_length(model: Transformer) -> None:
    reasons = [generate(model, p, s, STOP).finish_reason for p, s in requests(40, seed=64)]
    assert {"stop", "length"} <= set(reasons)


def test_sibling_that_joins_late_reads_only_the_prompt(model: Transformer) -> None:
    """A second sample of a prompt, admitted when the first has gone on for a while, must not see the first's tokens."""
    engine = Engine(model, STOP, max_rows=4, max_length=96)
    first, second = Sampling(max_tokens=30, seed=5), Sampling(max_tokens=30, seed=6)
    prompt = [9, 8, 7, 6, 5]
    engine.submit(prompt, first)
    done = {}
    for _ in range(4):
        done |= dict(engine.step())
    late = engine.submit(prompt, second)
    while engine.busy:
        done |= dict(engine.step())
    assert done[late].tokens == generate(model, prompt, second, STOP).tokens


def test_prompt_is_read_once_for_all_its_samples(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    forward = Transformer.forward
    monkeypatch.setattr(
        Transformer, "forward", lambda self, t, cache=None: shapes.append(t.shape) or forward(self, t, cache)
    )
    run(
        Engine(model, STOP, max_rows=8, max_length=96),
        [([5, 6, 7], Sampling(max_tokens=4, seed=i)) for i in range(8)],
        8,
    )
    assert [tuple(shape) for shape in shapes if shape[1] > 1] == [(1, 3)]


def test_same_seed_same_tokens_other_seed_other_tokens(model: Transformer) -> None:
    jobs = [([1, 2, 3], Sampling(max_tokens=20, seed=s)) for s in (1, 1, 2)]
    one, again, other = run(Engine(model, STOP, max_rows=3, max_length=96), jobs, 3)
    assert one == again
    assert one.tokens != other.tokens


def test_context_ends_a_completion(model: Transformer) -> None:
    prompt = [4] * 90
    (found,) = run(Engine(model, (), max_rows=2, max_length=96), [(prompt, Sampling(max_tokens=50))], 1)
    assert (len(found.tokens), found.finish_reason) == (6, "length")


def test_prompt_longer_than_the_context_is_refused(model: Transformer) -> None:
    engine = Engine(model, STOP, max_rows=2, max_length=96)
    with pytest.raises(UserError, match="96 tokens long, but the context holds 96"):
        engine.submit([1] * 96, Sampling())
    with pytest.raises(UserError, match="empty"):
        engine.submit([], Sampling())
    assert not engine.busy


def test_cancelled_requests_leave_the_rest_alone(model: Transformer) -> None:
    engine = Engine(model, (), max_rows=3, max_length=96)
    ids = [engine.submit([i + 1, 2], Sampling(max_tokens=20, seed=i)) for i in range(5)]
    engine.step()
    engine.cancel(ids[0])  # runs
    engine.cancel(ids[4])  # waits
    done = {}
    while engine.busy:
        done |= dict(engine.step())
    assert sorted(done) == ids[1:4]
    for i in range(1, 4):
        assert done[ids[i]].tokens == generate(model, [i + 1, 2], Sampling(max_tokens=20, seed=i), ()).tokens


def test_on_token_ends_a_request(model: Transformer) -> None:
    engine = Engine(model, (), max_rows=2, max_length=96)
    seen: list[int] = []
    engine.submit([1, 2], Sampling(max_tokens=20), lambda token: seen.append(token) or len(seen) == 3)
    done = []
    while engine.busy:
        done += engine.step()
    assert (len(done[0][1].tokens), done[0][1].finish_reason, len(seen)) == (3, "stop", 3)


def test_measures_are_those_of_the_plain_loop(model: Transformer) -> None:
    jobs = [(p, replace(s, measure=i % 2 == 0)) for i, (p, s) in enumerate(requests(12, seed=3))]
    for (prompt, sampling), found in zip(
        jobs, run(Engine(model, STOP, max_rows=5, max_length=96), jobs, 2), strict=True
    ):
        alone = generate(model, prompt, sampling, STOP)
        for name in ("confidence", "certainty", "margin"):
            assert len(getattr(found, name)) == (len(found.tokens) if sampling.measure else 0)
            assert getattr(found, name) == pytest.approx(getattr(alone, name), abs=1e-3)


def test_a_trace_ends_where_its_confidence_falls(model: Transformer) -> None:
    """At the first full window whose mean is below the threshold; a trace shorter than the window never."""
    prompt, free = [5, 6, 7], Sampling(max_tokens=25, seed=8, measure=True)
    confidence = generate(model, prompt, free, ()).confidence
    means = [sum(confidence[end - 4 : end]) / 4 for end in range(4, 26)]
    for threshold in (sorted(means)[3] + 1e-4, means[0] + 1e-4):  # the second falls in the very first window
        expected = next(end for end, mean in enumerate(means, start=4) if mean < threshold)
        watched = replace(free, measure=False, min_confidence=threshold, confidence_window=4)
        jobs = [(prompt, watched), ([1], Sampling(max_tokens=9)), (prompt, replace(watched, confidence_window=26))]
        short, _, whole = run(Engine(model, (), max_rows=3, max_length=96), jobs, 3)
        assert (len(short.tokens), short.finish_reason, short.confidence) == (expected, "confidence", ())
        assert short.tokens == generate(model, prompt, watched, ()).tokens
        assert len(whole.tokens) == 25


def test_repeats_by_hand() -> None:
    assert repeats([7, 1, 2, 1, 2, 1, 2], 3)
    assert not repeats([7, 1, 2, 1, 2, 1, 2], 4)
    assert repeats([5, 5, 5, 5], 4)
    assert not repeats([5, 5, 5, 6], 3)
    assert not repeats([1], 2)
    assert repeats(list(range(64)) * 2, 2)
    assert not repeats(list(range(65)) * 2, 2)  # longer than the longest block looked for


def test_repetition_ends_a_completion(model: Transformer) -> None:
    prompt, greedy = [11, 12, 13], Sampling(temperature=0.0, max_tokens=60)
    free = generate(model, prompt, greedy, ())
    times = next(n for n in (4, 3, 2) if any(repeats(free.tokens[:i], n) for i in range(1, 61)))
    stopped = generate(model, prompt, replace(greedy, max_repeats=times), ())
    assert stopped.finish_reason == "repetition"
    assert repeats(stopped.tokens, times)
    assert not any(repeats(stopped.tokens[:i], times) for i in range(1, len(stopped.tokens)))


def test_rows_are_limited_by_the_memory_for_the_cache(model: Transformer) -> None:
    """Two layers, two key-value heads of 8, keys and values, 4 bytes: 256 bytes a token, 24,576 for 96 tokens."""
    memory = Engine(model, STOP, max_rows=9, max_length=96, cache_gb=24_576 * 3.5 / 1e9).scheduler.memory
    assert [memory.rows(room) for room in (96, 84, 48, 36, 12)] == [3, 4, 7, 9, 9] and memory.first_room == 36
    assert Engine(model, STOP, max_rows=2, max_length=96).max_rows == 2
    with pytest.raises(UserError, match=r"96 tokens needs 2.5e-05 GB .*, more than --cache-gb 2.4e-05: raise it, or"):
        Engine(model, STOP, max_rows=2, max_length=96, cache_gb=24_000 / 1e9)  # it was "needs 0.0 GB, but only 2.4e-05"


# --- what goes wrong ---


def test_a_failed_step_leaves_an_empty_engine(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows once entered before prefill, and nobody removed them: the same prompt then raised a TypeError."""
    engine, jobs = Engine(model, STOP, max_rows=2, max_length=96), requests(5, seed=1)
    for prompt, sampling in jobs:
        engine.submit(prompt, sampling)
    with monkeypatch.context() as patch:
        patch.setattr(engine.runner, "_read_into", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.step()
    assert not engine.busy
    assert [c.tokens for c in run(engine, jobs, 9)] == [generate(model, p, s, STOP).tokens for p, s in jobs]


def test_out_of_memory_in_prefill_halves_the_pass(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for 16 padded tokens. Five prompts of 6 and one of 7 make a pass of 42, then of 21, then two of 14, one of
    12; one of 30 tokens, and its sibling, can never be read, and the others do not suffer for it."""
    real, shapes = Transformer.forward, []

    def forward(self: Transformer, tokens: torch.Tensor, cache: object = None) -> torch.Tensor:
        if tokens.shape[1] > 1:
            shapes.append(tuple(tokens.shape))
            if tokens.numel() > 16:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, tokens, cache)

    prompts = [[i + 1] * 6 for i in range(5)] + [[9] * 7]
    jobs = [(prompt, Sampling(max_tokens=5, seed=i)) for i, prompt in enumerate(prompts)]
    long = [([8] * 30, Sampling(max_tokens=5, seed=i)) for i in range(2)]
    expected = [generate(model, p, s, STOP).tokens for p, s in jobs]
    monkeypatch.setattr(Transformer, "forward", forward)
    engine = Engine(model, STOP, max_rows=9, max_length=96)
    assert [c.tokens for c in run(engine, jobs, 9)] == expected
    assert (
        shapes == [(6, 7), (3, 7), (1, 7), (1, 6), (1, 6), (1, 6), (1, 6), (1, 6)]
        or max(b * t for b, t in shapes[-4:]) <= 16
    )
    first, lost, also_lost, *others = run(engine, [jobs[0], *long, *jobs[1:]], 9)
    assert [c.tokens for c in (first, *others)] == expected
    for error in (lost, also_lost):
        assert isinstance(error, UserError) and "no memory is left to read its 30 tokens" in str(error)


def test_other_runtime_errors_are_not_taken_for_memory(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("shapes do not match")

    engine = Engine(model, STOP, max_rows=2, max_length=96)
    engine.submit([1, 2], Sampling())
    monkeypatch.setattr(Transformer, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        engine.step()


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(), Sampling(top_p=0.9, top_k=5, min_p=0.01)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_end_their_request_alone(model: Transformer, sampling: Sampling, bad: float) -> None:
    """Greedy once wrote !!!! with log-probabilities nan. Token 60 is broken; a request that takes over the row later
    must not inherit what it left in the cache."""
    untied = Transformer(replace(model.config, tie_word_embeddings=False))
    untied.load_state_dict(copy.deepcopy(model.state_dict()), strict=False)
    with torch.no_grad():
        untied.lm_head.weight.copy_(model.lm_head.weight)
        untied.model.embed_tokens.weight[60] = bad
    sampling = replace(sampling, max_tokens=12)
    jobs = [([5, 6, n % 50], replace(sampling, seed=n)) for n in range(8)]
    jobs[1] = ([7, 60, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], sampling)
    jobs[5] = ([60], sampling)
    jobs[0] = (list(range(1, 31)), sampling)  # so that shorter rows read past their end, masked
    found = run(Engine(untied, (60,), max_rows=3, max_length=96), jobs, 9)
    for place, ((prompt, own), outcome) in enumerate(zip(jobs, found, strict=True)):
        if place in (1, 5):
            assert str(outcome).startswith(f"request {place + 1}, token 1: the model's logits are not finite numbers")
            with pytest.raises(UserError, match="token 1: the model's logits are not finite"):
                generate(untied, prompt, own, (60,))
        else:
            assert outcome.tokens == generate(untied, prompt, own, (60,)).tokens


def test_float16_is_named_as_the_likely_cause(model: Transformer) -> None:
    assert "float16 overflowed: use --dtype bfloat16" in str(not_finite("request 1", 3, torch.float16))
    assert "float16" not in str(not_finite("request 1", 3, torch.float32))


def test_a_callback_that_raises_ends_its_request_alone(model: Transformer) -> None:
    engine = Engine(model, (), max_rows=2, max_length=96)
    broken = engine.submit([1, 2], Sampling(max_tokens=9), lambda token: 1 / 0)
    stopped = engine.submit([1, 2], Sampling(max_tokens=9), lambda token: next(iter([])))
    fine = engine.submit([3], Sampling(max_tokens=9))
    done = {}
    while engine.busy:
        done |= dict(engine.step())
    assert isinstance(done[broken], ZeroDivisionError) and isinstance(done[stopped], RuntimeError)
    assert done[fine].tokens == generate(model, [3], Sampling(max_tokens=9), ()).tokens


# --- what waiting costs ---


def test_a_queued_request_takes_little_memory(model: Transformer) -> None:
    """Its random stream was once written out: 2.1 GB for 8,000 requests of 8,192 tokens, and no end at 10^9."""
    engine = Engine(model, STOP, max_rows=2, max_length=96)
    tracemalloc.start()
    for i in range(100):
        engine.submit([1, 2, 3], Sampling(max_tokens=20_000, seed=i))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6
    engine.clear()
    assert run(engine, [([1], Sampling(max_tokens=10**9))], 1)


class Counted(int):
    """A token that counts how often it is hashed."""

    hashed = 0

    def __hash__(self) -> int:
        Counted.hashed += 1
        return super().__hash__()


def test_running_prompts_are_not_hashed_at_every_step(model: Transformer) -> None:
    prompts = [[Counted(n), Counted(1), Counted(2)] for n in range(4)]
    Counted.hashed = 0
    run(Engine(model, (), max_rows=4, max_length=96), [(p, Sampling(max_tokens=40)) for p in prompts], 9)
    assert Counted.hashed <= 2 * 12  # once when it joins, once when it leaves


# --- penalties ---


def test_penalties_in_a_crowd_are_those_of_the_plain_loop(model: Transformer) -> None:
    kinds = [dict(presence_penalty=1.5), dict(frequency_penalty=0.8), dict(repetition_penalty=1.7), {},
             dict(repetition_penalty=1.3, presence_penalty=-0.5, top_p=0.9, sampling_mask=True)]  # fmt: skip
    jobs = [(p, replace(s, max_tokens=25, measure=True, **kinds[i % 5])) for i, (p, s) in enumerate(requests(10, 2))]
    for (prompt, sampling), found in zip(
        jobs, run(Engine(model, STOP, max_rows=6, max_length=96), jobs, 3), strict=True
    ):
        one = generate(model, prompt, sampling, STOP)
        assert (found.tokens, found.sampling_mask) == (one.tokens, one.sampling_mask)
        assert found.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def told_of(model: Transformer, prompt: list[int], tokens: tuple[int, ...]) -> torch.Tensor:
    """The log-probabilities behind the prompt and each token but the last, from one plain pass."""
    with torch.inference_mode():
        hidden = model(torch.tensor([[*prompt, *tokens[:-1]]]))[0, len(prompt) - 1 :]
        return model.logits(hidden).log_softmax(-1)


def test_what_is_told_of_tokens_is_the_models_own_opinion(model: Transformer) -> None:
    """At temperature 1 and before penalties and cuts, whatever the token was drawn by; each request gets what it asked
    for."""
    engine, sampling = Engine(model, (), max_rows=3, max_length=96), Sampling(temperature=0.6, top_k=4, max_tokens=9)
    asks = [(None, replace(sampling, seed=1)), (0, replace(sampling, seed=2, presence_penalty=1.5)), (3, sampling)]
    made = [engine.request([3, i], own, tell=tell) for i, (tell, own) in enumerate(asks)]
    engine.add(*made)
    while engine.busy:
        engine.step()
    assert made[0].told == []
    for i in (1, 2):
        wanted = told_of(model, [3, i], tuple(made[i].tokens))
        for told, token, row in zip(made[i].told, made[i].tokens, wanted, strict=True):
            assert told.logprob == pytest.approx(float(row[token]), abs=1e-4)
            assert [number for number, _ in told.top] == row.topk(asks[i][0]).indices.tolist()
            assert [value for _, value in told.top] == pytest.approx(row.topk(asks[i][0]).values.tolist(), abs=1e-4)


def test_forced_tokens_come_next_and_change_no_neighbour(model: Transformer) -> None:
    engine, sampling = Engine(model, (), max_rows=2, max_length=96), Sampling(max_tokens=10, seed=4)

    def after_three(token: int) -> None:
        if len(forced.tokens) == 3:
            forced.forced.extend([7, 8])

    forced = engine.request([1, 2], sampling, after_three)
    free = engine.request([5, 6], sampling)
    engine.add(forced, free)
    while engine.busy:
        engine.step()
    own = generate(model, [1, 2], sampling, ()).tokens
    assert tuple(forced.tokens[:3]) == own[:3] and forced.tokens[3:5] == [7, 8] and len(forced.tokens) == 10
    assert tuple(free.tokens) == generate(model, [5, 6], sampling, ()).tokens
    wanted = told_of(model, [1, 2], tuple(forced.tokens))
    assert forced.logprobs[3:5] == pytest.approx([float(wanted[3, 7]), float(wanted[4, 8])], abs=1e-4)
    # The random stream goes on as if nothing had been forced: number 6 of it draws token 6.
    alone = Engine(model, (), max_rows=1, max_length=96)
    behind = alone.request([1, 2, *forced.tokens[:5]], replace(sampling, max_tokens=20))
    for _ in range(5):
        next(behind.uniforms)
    alone.add(behind)
    for _ in range(5):
        alone.step()
    assert behind.tokens == forced.tokens[5:]


def test_what_was_read_before_is_not_read_again(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second turn reads only what is new, and says what an engine without memory says."""
    first = ([*range(1, 20)], Sampling(max_tokens=12, seed=1))
    (said,) = run(Engine(model, (), max_rows=2, max_length=96), [first], 1)
    follow = [*first[0], *said.tokens[:9], 3, 4, 5]  # as a template that drops the end of a reply goes on
    jobs = [(follow, Sampling(max_tokens=9, seed=2)), ([9, 8], Sampling(max_tokens=9, seed=3)),
            (follow[:10], Sampling(max_tokens=3)), (first[0], Sampling(max_tokens=9, seed=4))]  # fmt: skip
    wanted = run(Engine(model, (), max_rows=4, max_length=96), jobs, 4)
    engine = Engine(model, (), max_rows=4, max_length=96, prefix_gb=1.0)
    assert run(engine, [first], 1) == [said]
    sizes, own = [], type(engine.runner)._padded
    monkeypatch.setattr(type(engine.runner), "_padded", lambda self, rows: sizes.append(list(map(len, rows)))
                        or own(self, rows))  # fmt: skip
    found = run(engine, jobs, 4)
    assert sorted(sizes[0]) == [2, 3, 10, 15]  # a block of 16 tokens was known, of the second turn and of the first
    assert engine.prefixes.reused == 16 + 16
    engine.add(engine.request(follow, Sampling(max_tokens=1), tell=0))
    engine.step()
    assert sizes[-1] == [len(follow)]  # who wants log-probabilities gets the same to the last bit each time
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.tokens == theirs.tokens
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)
