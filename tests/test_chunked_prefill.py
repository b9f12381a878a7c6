"""Prompts are read in chunks between the others' tokens, of one budget of tokens a step; what is said stays the same
(that, too, is in test_engine_memory.py: in a crowd as alone)."""

from dataclasses import replace

import pytest
import torch
from test_engine import STOP, far_from_uniform, requests, run

from thinkling.errors import UserError
from thinkling.generate import cuda_graph, runner
from thinkling.generate.engine import Engine
from thinkling.generate.memory import Memory
from thinkling.generate.reference import generate
from thinkling.generate.sampling import Sampling
from thinkling.generate.scheduler import Request, Scheduler
from thinkling.model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    return far_from_uniform()


def waits(number: int, length: int, client: str | None = None) -> Request:
    return Request(number, (number,) * length, Sampling(), None, iter(()), client=client)


def counted(engine: Engine) -> list[tuple[int, int]]:
    """For each step to come, appended when it ends: the tokens of its passes over prompts, and of the one that decodes.
    Padding is not counted."""
    made, now, inner = [], [0, 0], (engine.runner._read_into, engine.runner.decode, engine.step)

    def read_into(reads: list[runner.Prefill]) -> object:
        now[0] += sum(read.end - read.start for read in reads)
        return inner[0](reads)

    def decode(tokens: list[list[int]], *more: object) -> None:
        now[1] += sum(map(len, tokens))
        inner[1](tokens, *more)

    def step() -> list:
        now[:] = 0, 0
        ended = inner[2]()
        made.append(tuple(now))
        return ended

    engine.runner._read_into, engine.runner.decode, engine.step = read_into, decode, step
    return made


def test_a_long_prompt_does_not_hold_up_the_others(model: Transformer) -> None:
    """Two requests decode when a prompt of 80 tokens comes, and then a short one. With 24 tokens a step, each step
    draws a token for each of the two, and the short one's first token comes with the first step."""
    engine, drawn = Engine(model, (), max_rows=8, max_length=96, max_num_batched_tokens=24), []

    def ask(name: str, prompt: list[int], num: int) -> int:
        return engine.submit(prompt, Sampling(max_tokens=num, seed=len(name)), lambda token: drawn[-1].append(name))

    steps = counted(engine)
    jobs = {ask("one", [1, 2], 30): ([1, 2], 3), ask("other", [3] * 4, 30): ([3] * 4, 5)}
    drawn.append([])
    engine.step()
    jobs |= {
        ask("long", list(range(60)) + [5] * 20, 4): (list(range(60)) + [5] * 20, 4),
        ask("short", [7] * 8, 9): ([7] * 8, 5),
    }
    done = {}
    while engine.busy:
        drawn.append([])
        done |= dict(engine.step())
    first = next(number for number, names in enumerate(drawn) if "long" in names)
    assert all({"one", "other"} <= set(names) for names in drawn[: first + 1]) and "short" in drawn[1]
    # Two rows decode and two are being read: 20 are left, 10 of them for the long prompt, and 2 that are over. Then
    # three decode and one is read: 20 for it, three times, until it needs but 8.
    assert steps[1 : first + 1] == [(20, 3), (20, 3), (20, 3), (20, 3), (8, 4)] and first == 5
    assert all(sum(tokens) <= 24 for tokens in steps)
    for number, (prompt, seed) in jobs.items():
        assert (
            done[number].tokens
            == generate(model, prompt, Sampling(max_tokens=len(done[number].tokens), seed=seed), ()).tokens
        )


@pytest.mark.parametrize("speculate", [0, 5])
def test_no_step_reads_more_than_its_budget(model: Transformer, speculate: int) -> None:
    jobs = [(prompt[:20] * 3, replace(sampling, max_tokens=25)) for prompt, sampling in requests(14, seed=5)]
    engine = Engine(model, STOP, max_rows=6, max_length=96, max_num_batched_tokens=17, speculate=speculate)
    steps = counted(engine)
    found = run(engine, jobs, 3)
    assert max(map(sum, steps)) <= 17 and max(decoded for _, decoded in steps) > (6 if speculate else 5)
    for (prompt, sampling), completion in zip(jobs, found, strict=True):
        wanted = generate(model, prompt, sampling, STOP)
        assert completion.tokens == wanted.tokens
        assert completion.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)


def test_shares_by_hand() -> None:
    """Of 20 tokens, 4 are kept for the rows in use."""
    scheduler = Scheduler(Memory(800, 8, 100), 20)
    for number, length in enumerate((30, 3, 5, 9)):
        scheduler.waiting.append(waits(number, length))
    long, *short = scheduler.admit()
    assert [request.id for request in short] == [1, 2] and scheduler.prefilling == [long, *short]  # 10 + 3 + 5 = 18
    assert scheduler.shares() == {short[0]: 3, short[1]: 5, long: 9}  # 17, of which 9 are kept for the long one
    short[0].read = 3
    assert scheduler.is_read(short[0]) and scheduler.begin(short[0]) == (1, 0)
    assert scheduler.running == [short[0], long, short[1]] and [r.row for r in scheduler.running] == [0, 1, 2]
    assert scheduler.shares() == {short[1]: 5, long: 12}  # what the short ones leave goes to the long one, too
    long.read = 25
    assert scheduler.shares() == {long: 5, short[1]: 5}  # nobody is long any more: the oldest first
    assert scheduler.remove(short[0]) == [(2, 0)] and scheduler.running == [short[1], long]


def test_short_prompts_do_not_take_the_half_of_a_long_one() -> None:
    scheduler = Scheduler(Memory(800, 8, 100), 20)
    for number, length in enumerate((30, 4, 9)):
        scheduler.waiting.append(waits(number, length))
    long, one, other = scheduler.admit()
    assert scheduler.shares() == {one: 4, other: 4, long: 9}  # of 17


def test_a_gap_is_filled_by_who_decodes_and_theirs_by_the_last(model: Transformer) -> None:
    scheduler = Scheduler(Memory(800, 8, 100), 99)
    for number in range(5):
        scheduler.waiting.append(waits(number, 4))
    made = scheduler.admit()
    for request in made[:3]:
        request.read = 4
        assert scheduler.begin(request) is None
    assert scheduler.remove(made[0]) == [(2, 0), (4, 2)]
    assert scheduler.running == [made[2], made[1], made[4], made[3]] and scheduler.num_decoding == 2
    assert [request.row for request in scheduler.running] == [0, 1, 2, 3]
    assert scheduler.remove(made[4]) == [(3, 2)] and scheduler.remove(made[1]) == [(2, 1)]
    assert scheduler.running == [made[2], made[3]] and scheduler.num_decoding == 1


def test_one_long_prompt_at_a_time_and_no_more_prompts_than_a_step_reads() -> None:
    """A client with many long prompts does not keep another's short ones waiting, nor its second one for ever."""
    scheduler = Scheduler(Memory(800, 8, 100), 20)
    for number in range(3):
        scheduler.waiting.append(waits(number, 50, "long"))
    assert [request.id for request in scheduler.admit()] == [0]
    for number in range(3, 9):
        scheduler.waiting.append(waits(number, 4, "short"))
    joined = [request.id for request in scheduler.admit()]
    assert joined == [3, 4]  # with them and half a step for the long one, the 17 tokens of a step are spoken for
    scheduler.running[0].read = 45
    assert scheduler.admit()[0].id == 1


@pytest.mark.parametrize("recorded", [False, True])
def test_rows_that_decode_do_not_touch_those_that_are_read(
    model: Transformer,
    monkeypatch: pytest.MonkeyPatch,
    recorded: bool,
) -> None:
    """A CUDA graph's rows are rounded up to a power of two: some token is read in the rows behind, where a prompt is
    being read. Its twin without a graph showed the prompt's first token overwritten."""
    engine = Engine(model, (), max_rows=8, max_length=96, max_num_batched_tokens=12)
    if recorded:
        monkeypatch.setattr(cuda_graph, "POSITIONS", 16)
        engine.runner.decoder = cuda_graph.CudaGraphDecoder(model, engine.runner.cache, 1024)
    jobs = [([i, 9], Sampling(max_tokens=20, seed=i)) for i in range(3)] + [(list(range(50)), Sampling(max_tokens=6))]
    for (prompt, sampling), found in zip(jobs, run(engine, jobs, 3), strict=True):
        assert found.tokens == generate(model, prompt, sampling, ()).tokens


def test_what_is_not_finite_ends_its_request_in_the_chunk_that_holds_it(model: Transformer) -> None:
    """And does not stay in the row: others move into it, or out of it, while the rest of the prompt is unread."""
    broken = far_from_uniform()
    with torch.no_grad():
        broken.model.embed_tokens.weight[60] = float("nan")
    broken.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    engine = Engine(broken, (60,), max_rows=3, max_length=96, max_num_batched_tokens=12)
    bad = engine.submit([5, 60, *range(50)], Sampling(max_tokens=3))
    ended = dict(engine.step())
    assert isinstance(ended[bad], UserError) and "token 1: the model's logits are not finite" in str(ended[bad])
    jobs = [(list(range(1, 40)), Sampling(max_tokens=9, seed=1)), ([7, 8], Sampling(max_tokens=30, seed=2))]
    for (prompt, sampling), found in zip(jobs, run(engine, jobs, 2), strict=True):
        assert found.tokens == generate(model, prompt, sampling, (60,)).tokens


def test_samples_of_a_prompt_go_on_when_the_one_that_reads_it_is_cancelled(model: Transformer) -> None:
    """Its reading is lost, and the next of them reads the prompt."""
    engine, prompt = Engine(model, (), max_rows=4, max_length=96, max_num_batched_tokens=16), list(range(40))
    ids = [engine.submit(prompt, Sampling(max_tokens=5, seed=i)) for i in range(3)]
    engine.step()
    engine.step()
    assert [request.read > 0 for request in engine.running] == [True] + [False] * (len(engine.running) - 1)
    engine.cancel(ids[0])
    done = {}
    while engine.busy:
        done |= dict(engine.step())
    assert done.keys() == set(ids[1:])
    for i in (1, 2):
        assert done[ids[i]].tokens == generate(model, prompt, Sampling(max_tokens=5, seed=i), ()).tokens


def test_given_tokens_are_read_in_short_passes_where_requests_run(model: Transformer) -> None:
    engine, sizes = Engine(model, (), max_rows=2, max_length=96, max_num_batched_tokens=20), []
    own = engine.runner.read
    engine.runner.read = lambda *given: sizes.append(len(found := own(*given))) or found
    engine.add(*[engine.reading([i] * 10) for i in range(5)])
    engine.step()
    assert sizes == [5]
    engine.submit([1, 2], Sampling(max_tokens=9))
    engine.step()
    engine.add(*[engine.reading([i] * 10) for i in range(5)], engine.reading([1] * 50))
    for _ in range(4):
        engine.step()
    assert sizes == [5, 1, 2, 2, 1]


def test_what_is_much_shorter_is_not_padded(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three prompts of 90 tokens, one of 14 and two of 3, which take less in a pass of their own."""
    sizes, own = [], Transformer.forward
    monkeypatch.setattr(Transformer, "forward", lambda self, tokens, *more: sizes.append(tuple(tokens.shape))
                        or own(self, tokens, *more))  # fmt: skip
    engine = Engine(model, (), max_rows=8, max_length=96)
    for number, length in enumerate((90, 3, 90, 14, 90, 3)):
        engine.submit([number] * length, Sampling(max_tokens=1))
    engine.step()
    assert sizes == [(4, 90), (2, 3)]


def test_prompts_are_read_however_many_decode() -> None:
    """A budget of three tokens, and four requests."""
    scheduler = Scheduler(Memory(80, 8, 10), 3)
    for number in range(4):
        scheduler.waiting.append(waits(number, 1))
    for _ in range(4):
        scheduler.admit()
        for request, share in scheduler.shares().items():
            request.read += share
            scheduler.begin(request)
    assert scheduler.num_decoding == 4
