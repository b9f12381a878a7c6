"""Who is served next where more is asked for than fits at once: clients take turns, whatever each of them asks for."""

import asyncio
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.memory import Memory
from thinkling.generate.sampling import Sampling
from thinkling.generate.scheduler import Request, Scheduler
from thinkling.serve.api import Api, Limits
from thinkling.serve.desk import Desk, Generation, Plan, follow
from thinkling.serve.metrics import Metrics
from thinkling.serve.parameters import CHAT
from thinkling.serve.refusals import ApiError
from thinkling.serve.security import Access
from thinkling.serve.served import Served


def request(number: int, client: str | None = None) -> Request:
    return Request(number, (number,), Sampling(), None, iter(()), client=client)


def rows(num: int) -> Memory:
    return Memory(num * 8, num, 8)


def test_one_request_is_not_kept_waiting_by_fifty() -> None:
    scheduler = Scheduler(rows(2), 99)
    for number in range(50):
        scheduler.waiting.append(request(number, "many"))
    first, second = scheduler.admit()
    scheduler.waiting.append(request(99, "one"))
    assert (first.id, second.id) == (0, 1) and scheduler.admit() == []
    scheduler.remove(first)
    assert [joined.id for joined in scheduler.admit()] == [99]


def test_with_a_single_row_clients_take_turns() -> None:
    """Those who come later go to the end of the round, so nobody is passed for ever by ever new clients."""
    scheduler, served = Scheduler(rows(1), 99), []
    for number, client in enumerate("aaabbc"):
        scheduler.waiting.append(request(number, client))
    for number in range(10, 20):
        (now,) = scheduler.admit()
        served.append(now.client)
        scheduler.remove(now)
        if number < 14:
            scheduler.waiting.append(request(number, f"new {number}"))
    assert served[:6] == ["a", "b", "c", "a", "new 10", "b"] and "a" in served[6:]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 4))
def test_no_client_is_passed_by_one_that_has_more(events: list[tuple[str, bool]], max_rows: int) -> None:
    """Each step somebody asks, and perhaps the oldest row ends. A client's own requests come in order, none is lost."""
    scheduler, waiting, admitted = Scheduler(rows(max_rows), 99), [], []
    for number, (client, ends) in enumerate(events):
        new = request(number, client)
        scheduler.waiting.append(new)
        waiting.append(new)
        if ends and scheduler.running:
            scheduler.remove(min(scheduler.running, key=lambda running: running.id))
        joined = set(scheduler.admit())
        of_client = Counter(running.client for running in scheduler.running)
        waiting = [other for other in waiting if other not in joined]
        for other in waiting:
            assert all(of_client[now.client] - 1 <= of_client[other.client] for now in joined)
        admitted += sorted(joined, key=lambda now: now.row)
    for client in "abc":
        own = [now.id for now in admitted if now.client == client]
        assert own == sorted(own)
    assert len(admitted) + len(waiting) == len(events) and len(scheduler.running) <= max_rows


def test_requests_without_a_client_come_in_order_and_can_be_dropped() -> None:
    scheduler = Scheduler(rows(1), 99)
    for number in range(4):
        scheduler.waiting.append(request(number))
    assert scheduler.forget([0, 2]) == [] and [now.id for now in scheduler.admit()] == [1]
    scheduler.forget([3])
    assert not scheduler.waiting


def test_a_crowd_of_one_client_and_another(tiny: LanguageModel) -> None:
    """Through the desk and the engine: the one ends while nearly all of the crowd still waits."""
    model = LanguageModel("tiny", tiny.network, tiny.tokenizer, max_rows=2, max_length=512)
    ended = []

    async def drawn(desk: Desk, number: int, client: str) -> None:
        plan = Plan((5, number), Sampling(max_tokens=4, seed=number))
        async for _ in follow([Generation(desk, plan, client)]):
            pass
        ended.append(client)

    async def work() -> None:
        desk = Desk(model, 64, Metrics())
        crowd = [asyncio.create_task(drawn(desk, number, "many")) for number in range(50)]
        await asyncio.sleep(0)  # all of them have asked
        await asyncio.gather(drawn(desk, 60, "one"), *crowd)

    asyncio.run(work())
    assert len(ended) == 51 and ended.index("one") <= 8


def test_a_full_desk_has_a_place_for_who_has_none(tiny: LanguageModel) -> None:
    async def work() -> None:
        desk = Desk(tiny, 4, Metrics())  # 36 places, and a spare one
        desk.take(36, "many")
        for client, num in (("many", 1), ("one", 2)):
            with pytest.raises(ApiError, match="the queue is full"):
                desk.take(num, client)
        desk.take(1, "one")
        with pytest.raises(ApiError, match="37 choices are under way"):
            desk.take(1, "another")
        desk.give_back(36, 1.0, "many")
        desk.give_back(1, 1.0, "one")
        assert not desk.taken_by

    asyncio.run(work())


def test_the_server_tells_its_clients_apart(tiny: LanguageModel) -> None:
    """By address, and by the user that a request names; chats, methods and completions alike."""

    async def run() -> list[str]:
        api = Api(Served.of(tiny, None, 0), Limits(), Access("127.0.0.1"))
        api.desk = desk = Desk(tiny, 40, Metrics())
        app, seen = api.app(), []
        ask, own = tiny.engine.request, desk.take
        tiny.engine.request = lambda *given, **more: seen.append(more.get("client", given[-1])) or ask(*given, **more)
        desk.take = lambda num, client: seen.append(client) or own(num, client)

        async def asked(host: str, path: str, body: dict) -> None:
            arriving = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

            async def receive() -> dict:
                return arriving.pop() if arriving else await asyncio.Future()

            async def send(message: dict) -> None:
                assert message.get("status", 200) == 200, message

            headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
            await app({"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
                       "client": (host, 1), "headers": headers}, receive, send)  # fmt: skip

        chat = {"messages": [{"role": "user", "content": "2"}], "max_tokens": 2}
        await asked("10.0.0.1", CHAT, chat)
        await asked("10.0.0.1", CHAT, chat | {"user": "eve", "model": "tiny+vote@2"})
        await asked("10.0.0.2", "/v1/completions", {"prompt": "2", "max_tokens": 2, "user": "eve"})
        await asked("10.0.0.2", "/v1/responses", {"input": "2", "max_output_tokens": 2})
        assert not desk.taken_by
        return seen

    assert asyncio.run(run()) == 2 * ["10.0.0.1 "] + 3 * ["10.0.0.1 eve"] + 2 * ["10.0.0.2 eve"] + 2 * ["10.0.0.2 "]
