"""Memory that does not suffice, and memory that is shared: everyone still says what the plain loop says."""

import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_engine import STOP, far_from_uniform, requests, run

from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.engine import Engine
from thinkling.generate.memory import Memory, memory_for
from thinkling.generate.prefixes import BLOCK, Prefixes
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.generate.scheduler import Request, Scheduler
from thinkling.model.cache import KVCache
from thinkling.model.config import ModelConfig
from thinkling.model.transformer import Transformer

TOKEN = 256  # bytes of one token in the test's model: two layers, two key-value heads of 8, keys and values, 4 bytes
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return far_from_uniform()


def gb(tokens: float) -> float:
    return tokens * TOKEN / 1e9


# --- how memory is cut ---


def test_short_requests_run_in_many_short_rows() -> None:
    """250 tokens of memory, requests of at most 80: rows of 10, 20, ..., 80 tokens, at most 9 of them."""
    memory = Memory(250, 9, 80)
    assert [memory.room(length) for length in (1, 10, 11, 75, 80)] == [10, 10, 20, 80, 80]
    assert [memory.rows(room) for room in (10, 20, 30, 80)] == [9, 9, 8, 3]
    assert (memory.most_rows, memory.first_room) == (9, 20)
    assert Memory(9 * 80, 9, 80).first_room == 80  # with memory for all, rows are never cut anew


def test_rows_have_room_for_the_token_to_come_and_grow_shorter_only_with_a_step_to_spare() -> None:
    """A prompt of 20 tokens does not fit into rows of 20, since it draws one. When rows of 80 are too few for a fourth
    request, rows of 20 would do for what all hold: with a step of 10 to spare they are 30."""
    scheduler = Scheduler(Memory(250, 9, 80), 99)
    assert scheduler.room == 20
    scheduler.waiting.append(Request(0, (0,) * 20, Sampling(), None, iter(())))
    assert len(scheduler.admit()) == 1 and scheduler.room == 30
    scheduler.room = 80
    for number in (1, 2, 3):
        scheduler.waiting.append(Request(number, (number,) * 12, Sampling(), None, iter(())))
    assert len(scheduler.admit()) == 3 and scheduler.room == 30


def test_what_can_never_fit_is_refused_with_its_arithmetic() -> None:
    assert memory_for(TOKEN, 4, 100, gb(100)).num_tokens == 100
    with pytest.raises(UserError, match=r"one request of 1,000 tokens needs 0.1 GB of key-value cache, more than "
                                        r"--cache-gb 0.05: raise it, or lower --max-length"):  # fmt: skip
        memory_for(100_000, 4, 1000, 0.05)


@given(st.integers(1, 6), st.integers(1, 12), st.data())
@settings(max_examples=25)
def test_rows_keep_what_they_hold_when_memory_is_cut_anew(num_used: int, length: int, data: st.DataObject) -> None:
    config = ModelConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                         num_key_value_heads=2, head_dim=4, max_position_embeddings=64)  # fmt: skip
    made = KVCache(config, 20, length, CPU, torch.float32, num_tokens=6 * 24)
    held = torch.randn(num_used, 2, length, 4)
    made.keys[0][:num_used], made.values[0][:num_used] = held, -held
    for room in data.draw(st.lists(st.integers(length, 24), max_size=4)):
        made.recut(144 // room, room, num_used, length)
        assert made.keys[0].shape == (144 // room, 2, room, 4) and made.max_length == room
    assert torch.equal(made.keys[0][:num_used, :, :length], held)
    assert torch.equal(made.values[0][:num_used, :, :length], -held)


# --- memory that does not suffice ---


@cache
def alone(network: Transformer, prompt: tuple[int, ...], sampling: Sampling) -> Completion:
    return generate(network, prompt, sampling, STOP)


def same(network: Transformer, prompt: list[int], sampling: Sampling, found: Completion) -> None:
    wanted = alone(network, tuple(prompt), sampling)
    assert (found.tokens, found.finish_reason) == (wanted.tokens, wanted.finish_reason)
    assert found.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)


@pytest.mark.parametrize("recorded", [False, True])
def test_the_newest_makes_way_and_loses_nothing(
    model: Transformer,
    monkeypatch: pytest.MonkeyPatch,
    recorded: bool,
) -> None:
    """Memory for 100 tokens, and four requests that grow from 3 to 40: at first all run, at last two."""
    from thinkling.generate import cuda_graph

    engine = Engine(model, (), max_rows=4, max_length=96, cache_gb=gb(100))
    if recorded:  # the twin of what a GPU records
        monkeypatch.setattr(cuda_graph, "POSITIONS", 16)
        engine.runner.decoder = cuda_graph.CudaGraphDecoder(model, engine.runner.cache, 1024)
    jobs = [([i, 2, 3], Sampling(max_tokens=37, seed=i)) for i in range(4)]
    ids = [engine.submit(prompt, sampling) for prompt, sampling in jobs]
    ran, done, fewest = [], {}, []
    while engine.busy:
        done |= dict(engine.step())
        ran.append([request.id for request in engine.running])
        assert len(ran[-1]) * engine.scheduler.room <= 100
    assert ran[0] == ids and [ids[0], ids[1]] in ran and ids[0] in ran[30]
    fewest = min(len(row) for row in ran[:36])
    assert fewest == 2
    for (prompt, sampling), number in zip(jobs, ids, strict=True):
        assert done[number].tokens == generate(model, prompt, sampling, ()).tokens


def test_a_sample_that_made_way_reads_what_it_has_said_though_another_has_read_the_prompt(model: Transformer) -> None:
    """Two samples of a prompt and a shorter request beside them: the newest makes way, and comes back before the other
    sample has ended."""
    engine = Engine(model, (), max_rows=3, max_length=96, cache_gb=gb(100))
    jobs = [([1, 2, 3], Sampling(max_tokens=60, seed=0)), ([4, 2, 3], Sampling(max_tokens=30, seed=1)),
            ([1, 2, 3], Sampling(max_tokens=40, seed=2))]  # fmt: skip
    ids = [engine.submit(prompt, sampling) for prompt, sampling in jobs]
    ran, done = [], {}
    while engine.busy:
        done |= dict(engine.step())
        ran.append({request.id for request in engine.running})
    runs = [ids[2] in row for row in ran if ids[0] in row]
    first = runs.index(False)
    assert any(runs[:first]) and any(runs[first:])
    for (prompt, sampling), number in zip(jobs, ids, strict=True):
        assert done[number].tokens == generate(model, prompt, sampling, ()).tokens


def test_a_long_request_is_not_passed_by_short_ones(model: Transformer) -> None:
    """It needs all the memory. Short ones come on and on, and those behind it wait until it has run."""
    engine = Engine(model, (), max_rows=4, max_length=96, cache_gb=gb(96))
    short = [engine.submit([1, 2], Sampling(max_tokens=9, seed=i)) for i in range(3)]
    long = engine.submit([3] * 80, Sampling(max_tokens=9))
    order = []
    for i in range(60):
        engine.submit([4, 5], Sampling(max_tokens=9, seed=i))
        order += [number for number, _ in engine.step()]
        if long in order:
            break
    assert sorted(order[:-1]) == short and order[-1] == long


Step = tuple[int, int]  # how many requests come, and which of those under way is cancelled (-1: none)


@settings(max_examples=12)
@given(seed=st.integers(0, 1), memory=st.sampled_from([96, 130, 250, 700]), max_rows=st.integers(1, 6),
       shared=st.booleans(), budget=st.sampled_from([4, 9, 30, 2048]), speculate=st.sampled_from([0, 4]),
       steps=st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), max_size=12))  # fmt: skip
@example(seed=0, memory=96, max_rows=6, shared=True, budget=9, speculate=0, steps=[(4, -1), (0, -1), (3, 0), (2, 2)])
def test_in_a_crowd_as_alone(
    model: Transformer,
    seed: int,
    memory: int,
    max_rows: int,
    shared: bool,
    budget: int,
    speculate: int,
    steps: list[Step],
) -> None:
    """Whoever comes and goes, however little memory there is, in however small chunks prompts are read, and whatever is
    guessed: the tokens are those of the plain loop, and their log-probabilities the same to rounding."""
    jobs = requests(12, seed)
    system = [random.Random(seed).randrange(61) for _ in range(20)]
    jobs = [(system + prompt if i % 2 else prompt, sampling) for i, (prompt, sampling) in enumerate(jobs)]
    room = gb(2 * memory) if shared else gb(memory)
    engine = Engine(model, STOP, max_rows=max_rows, max_length=96, cache_gb=room, prefix_gb=shared * gb(memory),
                    max_num_batched_tokens=budget, speculate=speculate)  # fmt: skip
    asked, done, waiting = {}, {}, list(jobs)
    for number, cancelled in [*steps, (99, -1)]:
        for job in waiting[:number]:
            asked[engine.submit(*job)] = job
        del waiting[:number]
        if cancelled >= 0 and asked.keys() - done.keys():
            gone = sorted(asked.keys() - done.keys())[cancelled % len(asked.keys() - done.keys())]
            engine.cancel(gone)
            del asked[gone]
        done |= dict(engine.step())
    while engine.busy:
        done |= dict(engine.step())
    assert done.keys() == asked.keys()
    for number, (prompt, sampling) in asked.items():
        same(model, prompt, sampling, done[number])
    assert engine.scheduler._of_prompt == {} and engine.scheduler.num_decoding == 0


# --- blocks, each stored once ---


def test_what_begins_alike_is_stored_once(model: Transformer) -> None:
    """Two blocks in common, and one of each prompt's own; of the answers, nothing fills another block."""
    engine = Engine(model, (), max_rows=3, max_length=96, prefix_gb=gb(40 * BLOCK))
    common = list(range(2 * BLOCK))
    jobs = [(common + [i] * (BLOCK + 1), Sampling(max_tokens=4, seed=i)) for i in range(3)]
    found = run(engine, jobs[:1], 1) + run(engine, jobs[1:], 2)
    assert len(engine.prefixes.kept) == 2 + 3 and engine.prefixes.reused == 2 * 2 * BLOCK
    again = run(engine, [(jobs[2][0], replace(jobs[2][1], seed=9))], 1)
    assert engine.prefixes.reused == (4 + 3) * BLOCK
    for (prompt, sampling), one in zip([*jobs, (jobs[2][0], replace(jobs[2][1], seed=9))], found + again, strict=True):
        assert one.tokens == generate(model, prompt, sampling, ()).tokens


def test_blocks_are_bounded_and_the_longest_unused_goes(model: Transformer) -> None:
    engine = Engine(model, (), max_rows=1, max_length=96, prefix_gb=gb(3 * BLOCK))
    for start in (0, 20, 40):
        run(engine, [(list(range(start, start + 20)), Sampling(max_tokens=4))], 1)
    assert len(engine.prefixes.kept) == engine.prefixes.num_blocks == 3
    run(engine, [(list(range(20)), Sampling(max_tokens=4))], 1)  # the first is used again, and so the second goes
    run(engine, [([60] * 20, Sampling(max_tokens=4))], 1)
    assert [tokens[0] for _, tokens in engine.prefixes.kept] == [40, 0, 60]
    assert Engine(model, (), max_rows=1, max_length=96).prefixes is None


def test_what_is_found_is_used_lately_and_a_token_is_left_to_read(model: Transformer) -> None:
    prefixes = Prefixes(model.config, CPU, torch.float32, gb=4 * BLOCK * TOKEN / 1e9)
    row, one, two = KVCache(model.config, 1, 2 * BLOCK, CPU, torch.float32), [1] * BLOCK, [2] * BLOCK
    for tokens in (one, two):
        prefixes.keep(tokens, row, 0)
    assert prefixes.find(one) == [] and len(prefixes.find([*one, 7])) == 1
    assert [tokens[0] for _, tokens in prefixes.kept] == [2, 1]


def test_room_for_a_block_is_found_at_the_first_look(model: Transformer) -> None:
    """A long conversation, unused for a while, goes on where the memory is full: for each new block all of its own were
    looked at, each time compared with all of them, and the engine stood still for seconds."""
    prefixes, looked = Prefixes(model.config, CPU, torch.float32, gb=30.5 * BLOCK * TOKEN / 1e9), []

    class Kept(OrderedDict):
        def __iter__(self) -> Iterator:
            for key in super().__iter__():
                looked.append(key)
                yield key

    prefixes.kept = Kept()
    row, long, other = KVCache(model.config, 1, 30 * BLOCK, CPU, torch.float32), range(20 * BLOCK), [7] * 10 * BLOCK
    for tokens in (list(long), other, [*long, *[8] * 6 * BLOCK]):
        prefixes.keep(tokens, row, 0)
    assert len(looked) == 6 and len(prefixes.kept) == 30 and len(prefixes.find([*long, *[8] * 6 * BLOCK, 1])) == 26


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), min_size=1, max_size=5)), max_size=25))
def test_a_block_is_what_was_read_behind_what_came_before(calls: list[tuple[bool, list[int]]]) -> None:
    """Keys are the sum of all tokens so far, so a block in a wrong chain would show. None outlives those before it."""
    config = ModelConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                         num_key_value_heads=1, head_dim=2, max_position_embeddings=128)  # fmt: skip
    prefixes = Prefixes(config, CPU, torch.float32, gb=4 * BLOCK * 16 / 1e9)
    row = KVCache(config, 1, 5 * BLOCK, CPU, torch.float32)
    for keeps, blocks in calls:
        tokens = [block + 1 for block in blocks for _ in range(BLOCK)]
        sums = torch.tensor(tokens, dtype=torch.float32).cumsum(0)[:, None]
        if keeps:
            row.keys[0][0, 0, : len(tokens)], row.values[0][0, 0, : len(tokens)] = sums, -sums
            prefixes.keep(tokens, row, 0)
        else:
            places = prefixes.find([*tokens, 7])
            row.keys[0].zero_()
            prefixes.read(places, row, 0)
            length = len(places) * BLOCK
            assert row.lengths[0] == length and torch.equal(row.keys[0][0, 0, :length], sums[:length].expand(-1, 2))
        numbers = {number for _, number in prefixes.kept.values()}
        assert all(before in numbers | {0} for before, _ in prefixes.kept)
        places = [place for place, _ in prefixes.kept.values()]
        assert sorted(places + prefixes.free) == list(range(4))
