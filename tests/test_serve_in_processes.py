"""`thinkling serve --data-parallel-size 2`: as its clients meet it, and how its processes begin and end."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import torch
from serving import ANSWER, TOKEN, Running, events, start

from thinkling import cli
from thinkling.commands.serve import Serve
from thinkling.device import usable_cores
from thinkling.errors import UserError
from thinkling.generate.data_parallel import check_on_a_cpu, threads_for_each
from thinkling.serve import front
from thinkling.serve.channel import CONNECTION, line, messages
from thinkling.serve.front import Front
from thinkling.serve.metrics import Metrics
from thinkling.serve.parameters import CHAT, TEXT
from thinkling.serve.security import Access

TWO = ("--data-parallel-size", "2", "--prefix-gb", "0.01")
QUICK = ANSWER | {"chat_template_kwargs": {"enable_thinking": False}}
LONG = {"messages": ANSWER["messages"], "temperature": 50, "max_tokens": 900, "stream": True}  # it rarely ends before
DONE = b"data: [DONE]\n\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each process draws one choice at a time, and lets one more client in, so that two streams of one client run only
    in two processes."""
    log = tmp_path_factory.mktemp("serve") / "log"
    yield from start(log, *TWO, "--max-rows", "1", "--queue", "0", "--max-connections", "20")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("serve") / "log", *TWO, "--max-rows", "8")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("serve") / "log", "--max-rows", "8")


def client(server: Running) -> httpx.Client:
    """One with a connection of its own, which it keeps."""
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=120)


@contextmanager
def streams(server: Running, num: int, **more: object) -> Iterator[list[Iterator[bytes]]]:
    """So many at once, each begun."""
    with ExitStack() as stack:
        found = []
        for seed in range(num):
            http = stack.enter_context(client(server))
            reply = stack.enter_context(http.stream("POST", CHAT, json=LONG | {"seed": seed} | more))
            assert reply.status_code == 200, reply.read()
            parts = reply.iter_bytes()
            next(parts)
            found.append(parts)
        yield found


# --- which process takes a connection ---


def test_two_connections_go_to_two_processes(server: Running) -> None:
    with streams(server, 2):
        with client(server) as third:
            assert third.post(CHAT, json=QUICK).status_code == 429
        assert server.gauge("rows_running") == 2
    server.wait_for("choices_under_way", 0)


def test_idle_connections_do_not_count(server: Running) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(client(server)) for _ in range(3)]
        with streams(server, 1):  # in one process, and these three in the other
            assert [http.get("/health").status_code for http in idle] == [200] * 3
            with streams(server, 1):
                assert server.gauge("rows_running") == 2
        server.wait_for("choices_under_way", 0)
        with streams(server, 2):
            assert server.gauge("rows_running") == 2
    server.wait_for("choices_under_way", 0)


def test_a_connection_that_is_kept_counts_when_it_asks_again(server: Running) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(client(server))
        with kept.stream("POST", CHAT, json=LONG | {"seed": 1, "max_tokens": 100}) as reply:
            next(parts := reply.iter_bytes())
            for idle in [stack.enter_context(client(server)) for _ in range(5)]:  # all in the other process
                assert idle.get("/health").status_code == 200
            assert b"".join(parts).endswith(DONE)
        server.wait_for("choices_under_way", 0)
        with kept.stream("POST", CHAT, json=LONG | {"seed": 1}) as reply:
            assert reply.status_code == 200
            next(parts := reply.iter_bytes())
            with streams(server, 1):
                assert server.gauge("rows_running") == 2
    server.wait_for("choices_under_way", 0)


class Taker(SimpleNamespace):
    """A process that only notes what it is given."""

    def __init__(self) -> None:
        super().__init__(busy=0, open=0, given=0)

    def give(self, connection: socket.socket) -> None:
        connection.close()
        self.busy, self.open, self.given = self.busy + 1, self.open + 1, self.given + 1


def test_the_one_with_the_fewest_busy_ones_takes_it() -> None:
    takers = [Taker(), Taker(), Taker()]
    here = Front(takers, Access("127.0.0.1"), 0, 100, 1.0)

    async def come(num: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            accepting = asyncio.create_task(here.accept(listener))
            for _ in range(num):
                before = sum(taker.given for taker in takers)
                with socket.create_connection(listener.getsockname()):
                    while sum(taker.given for taker in takers) == before:
                        await asyncio.sleep(0.001)
            accepting.cancel()

    asyncio.run(come(7))
    assert [taker.given for taker in takers] == [3, 2, 2]
    for said in (["idle"], ["idle"], ["closed", True]):
        here.act(takers[0], said)
    here.act(takers[1], ["closed", False])
    assert [(taker.busy, taker.open) for taker in takers] == [(0, 2), (2, 1), (2, 2)]
    here.act(takers[0], ["busy"])  # 1, 2, 2 of them are busy now
    asyncio.run(come(1))
    assert [taker.given for taker in takers] == [4, 2, 2]
    asyncio.run(come(1))  # all have two, and the second has the fewest connections
    assert [taker.given for taker in takers] == [4, 3, 2]


def test_connections_are_counted_over_all(server: Running) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    crowd = [server.raw() for _ in range(25)]
    for sock in crowd:
        sock.sendall(head)
    replies = []
    for sock in crowd:
        with suppress(ConnectionError):  # refused before its head was read
            replies.append(sock.recv(100))
    assert 16 <= sum(b" 200 " in reply for reply in replies) <= 20
    for sock in crowd:
        sock.close()
    wait(lambda: server.http.get("/health").status_code == 200)


def wait(holds: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


# --- what they answer ---


def test_the_answers_of_one_process(wide: Running, alone: Running) -> None:
    """From eight clients at once, whichever process each of them has."""
    asks = [(CHAT, QUICK | {"temperature": 2, "seed": seed, "max_tokens": 40}) for seed in range(5)]
    asks += [(CHAT, ANSWER | {"temperature": 1, "seed": 5, "n": 2})]
    asks += [(CHAT, QUICK | {"model": "thinkling-base+vote@2", "seed": 6, "temperature": 2})]
    asks += [(TEXT, {"prompt": "7 + 5 =", "temperature": 1, "seed": 7, "max_tokens": 20})]

    def choices(ask: tuple) -> list:
        path, body = ask
        with client(wide) as http:
            reply = http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["choices"]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(choices, asks))
    assert together == [alone.ask(path, **body)["choices"] for path, body in asks]
    assert len({str(one) for one in together}) > 5


def test_streams_from_each_are_the_plain_answer(wide: Running) -> None:
    body = QUICK | {"temperature": 2, "seed": 3, "max_tokens": 40}
    whole = wide.ask(**body)["choices"][0]["message"]["content"]
    with streams(wide, 1), client(wide) as one, streams(wide, 1), client(wide) as other:
        for http in (one, other):
            chunks = events(http.post(CHAT, json=body | {"stream": True}).content)
            assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == whole
            assert len(chunks) > 5
    wide.wait_for("choices_under_way", 0)


def test_a_connection_ends_for_its_client(wide: Running) -> None:
    with wide.raw() as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert sock.recv(2**16).startswith(b"HTTP/1.1 200 ") and sock.recv(10) == b""


def test_a_client_that_goes_is_noticed_in_each(wide: Running) -> None:
    soon, given_up = wide.seconds_of(300), cancelled(wide)  # they would go on for 900
    with streams(wide, 4):
        assert wide.gauge("rows_running") == 4
    wide.wait_for("rows_running", 0, soon)
    wide.wait_for("choices_under_way", 0)
    assert cancelled(wide) == given_up + 4


def cancelled(server: Running) -> float:
    found = re.search(r"^thinkling_cancelled_total (\S+)$", server.http.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_are_of_all(wide: Running) -> None:
    def page(http: httpx.Client) -> str:
        return http.get("/metrics").text

    tokenized, lines = 'requests_total{path="/tokenize",status="200"}', []
    with client(wide) as one, streams(wide, 1), client(wide) as other:  # one each
        for http, times in ((one, 2), (other, 3)):
            for _ in range(times):
                assert http.post("/tokenize", json={"prompt": "a"}).status_code == 200
        for http in (one, other):
            lines += [line for line in page(http).splitlines() if line.startswith(f"thinkling_{tokenized}")]
        assert wide.gauge("rows") == 16
    assert lines == [f"thinkling_{tokenized} 5"] * 2
    wide.wait_for("choices_under_way", 0)


def test_snapshots_add_up() -> None:
    one, other = Metrics(), Metrics()
    for metrics, num in ((one, 2), (other, 3)):
        metrics.count("requests", num, path="/a", status=200)
        metrics.observe("request_seconds", num)
        metrics.gauges["rows"] = ("Rows", lambda num=num: 10 * num)
    other.count("cancelled")
    lines = one.text([other.snapshot()]).splitlines()
    for line_ in ('thinkling_requests_total{path="/a",status="200"} 5', "thinkling_cancelled_total 1",
                  'thinkling_request_seconds_bucket{le="1.0"} 0', 'thinkling_request_seconds_bucket{le="3.0"} 2',
                  "thinkling_request_seconds_sum 5", "thinkling_request_seconds_count 2",
                  "thinkling_rows 50"):  # fmt: skip
        assert line_ in lines


def test_weights_do_not_change(wide: Running) -> None:
    for reply in (wide.http.post("/update_weights", json={"folder": "a", "version": "b"}),
                  wide.http.get("/weight_info")):  # fmt: skip
        assert reply.status_code == 400 and "--data-parallel-size" in reply.json()["error"]["message"]


# --- messages ---


def test_connections_arrive_with_their_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a read may cut them."""
    read = socket.recv_fds
    monkeypatch.setattr(socket, "recv_fds", lambda channel, size, most: read(channel, 7, most))
    near, far = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(3)]
    with near, far:
        near.send(line("count", 1))
        for _, given in pairs:
            socket.send_fds(near, [line(CONNECTION)], [given.fileno()])
            given.close()
        near.send(line("end"))
        near.shutdown(socket.SHUT_WR)
        found = list(messages(far))
    assert [message for message, _ in found] == [["count", 1], *[[CONNECTION]] * 3, ["end"]]
    for (mine, _), (_, given) in zip(pairs, found[1:4], strict=True):
        with mine, given:
            mine.sendall(b"x")
            assert given.recv(1) == b"x" and not given.get_inheritable()


# --- how it begins and ends ---


def children(parent: int) -> list[int]:
    """All processes that a process has started, and those in turn, except such as have ended."""
    said = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=True).stdout
    rows = [(int(pid), int(above)) for pid, above, state in map(str.split, said.splitlines()) if state[0] != "Z"]
    found = [parent]
    for own in found:
        found += [pid for pid, above in rows if above == own]
    return found[1:]


def workers(parent: int) -> list[int]:
    """Of a server: what serves, without multiprocessing's own helper."""
    said = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [row.split(maxsplit=1) for row in said.splitlines()]
    serves = {int(pid) for pid, words in rows if "spawn_main" in words}
    return [pid for pid in children(parent) if pid in serves]


def alive(pid: int) -> bool:
    said = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(said) and said[0] != "Z"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    yield from start(tmp_path / "log", *TWO)


def ended(server: Running, pids: list[int]) -> int:
    """The exit status of a server that ends, and leaves none of these."""
    status = server.process.wait(60)
    wait(lambda: not any(map(alive, pids)), 20)
    return status


def test_ctrl_c_waits_for_answers(wide: Running) -> None:
    """The last test of this server. The signal comes to all processes, as from a terminal."""
    pids = children(wide.process.pid)
    assert len(workers(wide.process.pid)) == 2
    with streams(wide, 2, max_tokens=100) as under_way:
        for pid in (wide.process.pid, *pids):
            os.kill(pid, signal.SIGINT)
        wait(lambda: refuses(wide))
        assert all(b"".join(parts).endswith(DONE) for parts in under_way)
    assert ended(wide, pids) == 130
    log = wide.log.read_text()
    assert "Traceback" not in log and log.endswith("\nstopped\n")


def refuses(server: Running) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", server.port), 5):
            return False
    except ConnectionRefusedError:
        return True


def test_ctrl_c_ends_the_waiting(server: Running) -> None:
    """The last test of this server."""
    pids = children(server.process.pid)
    with streams(server, 2) as under_way:
        server.process.send_signal(signal.SIGTERM)
        wait(lambda: refuses(server))
        server.process.send_signal(signal.SIGINT)
        assert ended(server, pids) == -signal.SIGTERM
        for parts in under_way:
            with pytest.raises(httpx.HTTPError):
                list(parts)


def test_a_process_that_dies_ends_the_server_and_is_named(fresh: Running) -> None:
    pids = children(fresh.process.pid)
    with streams(fresh, 2, max_tokens=300) as under_way:
        os.kill(workers(fresh.process.pid)[0], signal.SIGKILL)
        ends = []
        for parts in under_way:
            with suppress(httpx.HTTPError):
                ends.append(b"".join(parts).endswith(DONE))
        assert ends == [True]  # the other process's answer is let come to its end
    assert ended(fresh, pids) == 2
    log = fresh.log.read_text()
    assert re.search(r"^thinkling: the server's process [12] of 2 has ended \(signal 9\).*lower --data-p", log, re.M)
    assert log.count("has ended") == 2 and "Traceback" not in log


def test_a_front_that_is_killed_leaves_nobody(fresh: Running) -> None:
    pids = children(fresh.process.pid)
    with streams(fresh, 2):
        fresh.process.kill()
        assert len(pids) >= 2 and ended(fresh, pids) == -signal.SIGKILL


COMMAND = [sys.executable, "-m", "thinkling", "serve", "--port", "0", "--device", "cpu", "--data-parallel-size", "2"]


@pytest.mark.parametrize("own", [signal.SIGKILL, signal.SIGINT])
def test_it_can_end_while_it_begins(own: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait(lambda: len(workers(process.pid)) == 2)
            pids = children(process.pid)
            for pid in (process.pid, *(pids if own == signal.SIGINT else ())):
                os.kill(pid, own)
            out, said = process.communicate(timeout=60)
        finally:
            process.kill()
    wait(lambda: not any(map(alive, pids)), 30)
    assert out == "" and process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[own]
    assert "Traceback" not in said


def test_a_model_that_none_can_load_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    run = subprocess.run([*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 2 and run.stdout == ""
    assert len(run.stderr.splitlines()) == 1 and "config.json" in run.stderr


# --- what cannot be ---


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"data_parallel_size": 0}, "--data-parallel-size must be at least 1, not 0"),
        ({"data_parallel_size": -1}, "--data-parallel-size must be at least 1, not -1"),
        ({"data_parallel_size": 2, "allow_weight_updates": Path("x")}, "--allow-weight-updates has no meaning with"),
    ],
)
def test_flags_that_cannot_be_are_refused(flags: dict, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Serve(**flags)
    Serve(**flags | {"data_parallel_size": 1})


def test_what_this_machine_cannot_do_is_refused_at_once(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*flags: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(["serve", "--port", "0", "--device", "cpu", *flags])
        assert end.value.code == 2
        return capsys.readouterr().err

    monkeypatch.setattr(front, "all_started", None)  # it never comes to that
    assert f"--data-parallel-size 1,000 is more than {usable_cores()} core" in said("--data-parallel-size", "1000")
    assert "no such file or folder" in said("nothing", "--data-parallel-size", "2")
    monkeypatch.setattr(front, "can_hand_over", lambda: False)
    assert "each with a --port of its own" in said("--data-parallel-size", "2")


def test_each_has_its_share_of_the_cores() -> None:
    assert threads_for_each(2) == max(1, usable_cores() // 2) and threads_for_each(2 * usable_cores()) == 1
    with pytest.raises(UserError, match="use at most"):
        threads_for_each(2 * usable_cores() + 1)


def test_it_is_for_a_cpu() -> None:
    check_on_a_cpu(2, torch.device("cpu"), "")
    with pytest.raises(UserError, match=r"--data-parallel-size 2 is for a CPU, and the model is on cuda:0: .*--port"):
        check_on_a_cpu(2, torch.device("cuda:0"), "start a server for each device, with a --port of its own")


def test_what_is_of_the_server_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def started(setups: list) -> None:
        found.extend(setups)
        raise UserError("enough")

    monkeypatch.setattr(front, "all_started", started)
    flags = ["--queue", "5", "--cache-gb", "1", "--prefix-gb", "0.5", "--max-rows", "7", "--data-parallel-size", "2"]
    with pytest.raises(SystemExit):
        cli.main(["serve", "--port", "0", "--device", "cpu", *flags])
    assert [own.limits.queue for own in found] == [3, 2]
    for own in found:
        engine = own.load.keywords
        assert (engine["cache_gb"], engine["prefix_gb"], engine["max_rows"]) == (0.5, 0.25, 7) and own.size == 2


def test_help_says_it(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    said = " ".join(re.sub(r"[│|]", " ", capsys.readouterr().out).split())
    assert "--data-parallel-size" in said and "Processes behind the one port" in said
