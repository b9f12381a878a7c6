"""Guesses change nothing but the number of passes: greedy, sampled, penalised, measured, told, forced, stopped."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from test_engine import STOP, far_from_uniform, requests, run

from thinkling.generate.engine import Engine
from thinkling.generate.guesses import Guesses
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.generate.scheduler import Request
from thinkling.model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    return far_from_uniform()


def test_guesses_by_hand() -> None:
    guesses = Guesses([1, 2, 3, 4, 9, 2, 3])
    assert guesses.next(9) == [4, 9, 2, 3]  # behind 2, 3 came 4
    assert guesses.next(2) == [4, 9] and guesses.next(0) == guesses.next(-1) == []
    guesses.push(5)
    assert guesses.next(9) == []
    for token in (2, 3):
        guesses.push(token)
    assert guesses.next(3) == [5, 2, 3]  # the last time it came
    for token in (4, 1, 2, 3):
        guesses.push(token)
    assert guesses.next(2) == [4, 9]  # three tokens the same, 1, 2, 3, say more than the two of a later place
    assert Guesses([]).next(3) == Guesses([1]).next(3) == []


def finished(engine: Engine, made: list[Request]) -> list[Request]:
    engine.add(*made)
    for _ in range(500):
        if engine.busy:
            engine.step()
    return made


def asked(engine: Engine) -> list[Request]:
    """Prompts that repeat, and all that a request may want to know."""
    greedy = dict(temperature=0.0)
    kinds = [greedy, dict(temperature=0.3, measure=True), greedy | dict(frequency_penalty=0.1),
             dict(temperature=0.5, top_k=3, sampling_mask=True), greedy | dict(repetition_penalty=1.05)]  # fmt: skip
    made = []
    for i, (prompt, sampling) in enumerate(requests(10, seed=4)):
        sampling = replace(sampling, max_tokens=25, **kinds[i % 5])
        made.append(engine.request(prompt[:30] * 2, sampling, tell=i % 3 or None))
    return made


def test_what_is_drawn_is_what_the_plain_loop_draws(model: Transformer) -> None:
    engine = Engine(model, STOP, max_rows=10, max_length=96)
    plain = finished(engine, asked(engine))
    engine = Engine(model, STOP, max_rows=10, max_length=96, speculate=6)
    right, own = [], engine.runner.accept
    engine.runner.accept = lambda counts: right.append(sum(counts)) or own(counts)
    found = finished(engine, asked(engine))
    assert sum(right) > 20  # else there is nothing to see here
    for one, other in zip(found, plain, strict=True):
        wanted = generate(model, one.prompt, one.sampling, STOP)
        assert tuple(one.tokens) == wanted.tokens == tuple(other.tokens)
        assert one.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)
        assert tuple(one.sampling_mask) == wanted.sampling_mask
        assert len(one.told) == len(other.told)
        for mine, theirs in zip(one.told, other.told, strict=True):
            assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-4)
            assert [token for token, _ in mine.top] == [token for token, _ in theirs.top]
        if one.sampling.measure:
            assert [row[0] for row in one.measured] == pytest.approx(wanted.confidence, abs=1e-3)


def counted(function: Callable[[Request], object], speculate: int, model: Transformer) -> tuple[Request, int]:
    engine = Engine(model, (), max_rows=2, max_length=96, speculate=speculate)
    sampling = Sampling(temperature=0.0, max_tokens=24)
    request = engine.request([7] * 12, sampling, lambda token: function(request))
    engine.add(request, engine.request([5, 6], sampling))
    while engine.busy:
        engine.step()
    return request, len(request.tokens)


def test_a_callback_sees_each_token_in_turn_and_may_end_or_force(model: Transformer) -> None:
    """Nothing stands behind the token at which a request ended, and what is forced comes at once."""

    def ends(request: Request) -> bool:
        seen.append(tuple(request.tokens))
        return len(request.tokens) == 11

    def forces(request: Request) -> None:
        if len(request.tokens) in (6, 13):
            request.forced.extend([8, 9])

    for guesses in (0, 5):
        seen: list[tuple[int, ...]] = []
        _, length = counted(ends, guesses, model)
        assert length == 11 and [len(tokens) for tokens in seen] == list(range(1, 12))
    (plain, _), (found, _) = (counted(forces, guesses, model) for guesses in (0, 5))
    assert found.tokens == plain.tokens and found.tokens[6:8] == [8, 9] == found.tokens[13:15]


def test_the_end_of_the_context_and_of_the_tokens_is_the_same(model: Transformer) -> None:
    jobs = [([7] * 80, Sampling(temperature=0.0, max_tokens=50)), ([7] * 20, Sampling(temperature=0.0, max_tokens=3)),
            ([7] * 20, Sampling(temperature=0.0, max_tokens=1))]  # fmt: skip
    engine = Engine(model, (), max_rows=3, max_length=96, speculate=8)
    found = finished(engine, [engine.request(*job) for job in jobs])
    assert [len(one.tokens) for one in found] == [16, 3, 1]
    for one, (prompt, sampling) in zip(found, jobs, strict=True):
        assert tuple(one.tokens) == generate(model, prompt, sampling, ()).tokens


@pytest.mark.parametrize("seed", [7, 9, 11])
def test_what_was_read_behind_guesses_moves_along(model: Transformer, seed: int) -> None:
    """Between the pass that reads guesses and the one that takes them, rows are cut anew for others that join (seed
    11), or moved to where a cancelled one was (7 and 9). Their guesses had been left behind."""
    pick = random.Random(seed)
    jobs = [([pick.randrange(61)] * pick.choice([2, 20, 30]), Sampling(0.0, max_tokens=pick.choice([10, 30, 50])))
            for _ in range(12)]  # fmt: skip
    wanted = [generate(model, prompt, sampling, ()).tokens for prompt, sampling in jobs]
    engine = Engine(model, (), max_rows=8, max_length=96, cache_gb=1e-4, speculate=3)
    assert [found.tokens for found in run(engine, jobs, 1)] == wanted
    engine = Engine(model, (), max_rows=8, max_length=96, speculate=3)
    ids, done, steps = [engine.submit(*job) for job in jobs], {}, 0
    while engine.busy:
        done |= dict(engine.step())
        steps += 1
        if steps % 4 == 0 and len(engine.running) > 1:
            engine.cancel(engine.running[0].id)
    for number, tokens in zip(ids, wanted, strict=True):
        assert number not in done or done[number].tokens == tokens
