"""A server in a process of its own, as a test's fixture, and small helpers to ask it."""

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

TOKEN = "a-token-for-tests"
ANSWER = {"messages": [{"role": "user", "content": "What is 12 * 34?"}], "temperature": 0}


@dataclass
class Running:
    """A server that runs. log: the file of its standard error."""

    process: subprocess.Popen
    port: int
    log: Path
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str = "/v1/chat/completions", **body: Any) -> dict:
        """The answer to a request that must succeed."""
        reply = self.http.post(path, json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, path: str = "/v1/chat/completions", **body: Any) -> tuple[int, dict]:
        reply = self.http.post(path, json=body)
        return reply.status_code, reply.json()["error"]

    def stream(self, path: str = "/v1/chat/completions", **body: Any) -> list[dict]:
        """The events of a stream, the end mark checked."""
        reply = self.http.post(path, json=body | {"stream": True})
        assert reply.status_code == 200, reply.text
        return events(reply.content)

    def raw(self, small: bool = False) -> socket.socket:
        """A connection. small: what the server sends soon fills it."""
        made = socket.socket()
        made.settimeout(60)
        if small:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", self.port))
        return made

    def gauge(self, name: str) -> float:
        return float(re.search(rf"^thinkling_{name} (\S+)$", self.http.get("/metrics").text, re.MULTILINE)[1])

    def wait_for(self, name: str, value: float, seconds: float = math.inf) -> None:
        until = time.monotonic() + seconds
        while self.gauge(name) != value:
            assert time.monotonic() < until, f"{name} is not {value} after {seconds:.2f} s"
            time.sleep(0.02)

    def seconds_of(self, num_tokens: int) -> float:
        """How long so many tokens of one choice take here and now, at least: a measure for what must be sooner."""
        started = time.monotonic()
        usage = self.ask(**ANSWER | {"temperature": 50, "max_tokens": 100})["usage"]
        return (time.monotonic() - started) / usage["completion_tokens"] * num_tokens


def events(body: bytes) -> list[dict]:
    """The JSON of server-sent events; chats and completions end with [DONE], which is left out."""
    found = []
    for block in body.decode().split("\n\n"):
        data = [line.removeprefix("data: ") for line in block.splitlines() if line.startswith("data: ")]
        if data:
            assert len(data) == 1
            found.append(data[0])
    done = [data for data in found if data == "[DONE]"]
    assert len(done) <= 1 and (not done or found[-1] == "[DONE]")
    return [json.loads(data) for data in found if data != "[DONE]"]


def start(log: Path, *flags: str) -> Iterator[Running]:
    """A server with these flags; ended afterwards."""
    env = os.environ | {"THINKLING_API_KEY": TOKEN, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "thinkling", "serve", "thinkling-base", "--port", "0", "--device", "cpu", *flags]
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
    try:
        said = process.stdout.readline()
        port = int(re.search(r":(\d+)/v1", said)[1])
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client:
            yield Running(process, port, log, client)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
