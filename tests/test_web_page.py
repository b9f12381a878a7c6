"""The web chat's page, served by Gradio and tried in a browser. Gradio is an extra (90 MB), so it is not in `test`:
where it is missing, what is said about that is all that can be tried. What needs no page: test_web_chat.py."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from browser import CHROMIUM, Browser
from test_cli import fails

from thinkling.generate.engine import Engine
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.serve.security import Access
from thinkling.serve.server import address as address_of
from thinkling.serve.server import listening
from thinkling.serve.web.door import Door
from thinkling.serve.web.known import Known
from thinkling.serve.web.page import House, application

# No connection of the server's own may leave this machine: it ends at once if one is tried.
WATCHED = """
import os, socket, sys
connect = socket.socket.connect
def watched(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        print("asked outside:", address, file=sys.stderr, flush=True)
        os._exit(9)
    return connect(self, address)
socket.socket.connect = watched
from thinkling import cli
cli.main(sys.argv[1:])
"""


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install -e '.[chat]'" in fails(capsys, "chat", "--web")
    assert "--compare is for the chat in the browser: add --web" in fails(capsys, "chat", "--compare", "x")
    assert "--votes is for the chat" in fails(capsys, "chat", "--votes", "x.jsonl")  # it was passed over in silence
    assert "cannot meet itself" in fails(capsys, "chat", "--web", "--compare", "thinkling-reasoner")


@pytest.fixture
def able() -> None:
    pytest.importorskip("gradio", reason="the extra chat is not installed: pip install -e '.[chat]'")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")


@pytest.fixture
def address(able: None, tmp_path: Path) -> Iterator[str]:
    flags = ["chat", "--web", "--port", "0", "--temperature", "0", "--device", "cpu"]
    log, env = tmp_path / "errors", os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, "-c", WATCHED, *flags], env=env, cwd=tmp_path, text=True,
                                   stdout=subprocess.PIPE, stderr=errors)  # fmt: skip
    try:
        line = process.stdout.readline()
        assert "open http" in line, log.read_text()
        yield re.search(r"http://\S+", line)[0]
        assert process.poll() is None and "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait()


def wait(browser: Browser, what: str) -> None:
    end = time.monotonic() + 120
    while not browser.find(what):
        assert time.monotonic() < end, f"never: {what}; {shown(browser)}; {browser.errors}"
        time.sleep(0.05)


def shown(browser: Browser) -> str:
    return browser.find("document.querySelector('#chat')?.innerText ?? ''")


def press(browser: Browser, selector: str) -> None:
    wait(browser, f"!!document.querySelector({selector!r})")
    browser.find(f"document.querySelector({selector!r}).click()")


def send(browser: Browser, text: str) -> None:
    wait(
        browser,
        "!!document.querySelector('#message textarea') && !!document.querySelector('#chat .greeting, #chat .model')",
    )
    browser.find("document.querySelector('#message textarea').focus()")
    browser.call("Input.insertText", text=text)
    wait(browser, f"document.querySelector('#message textarea').value === {text!r}")
    press(browser, "#send")


def test_two_users_in_the_browser(address: str) -> None:
    """Ask, edit the thinking and go on, and reload; what one user does the other never sees; nothing is asked for
    outside, and nothing that is typed is run."""
    with Browser() as one, Browser() as two:
        one.visit(address)
        two.visit(address, width=390, dark=True)
        send(one, "What is 12 * 34?")
        wait(one, "!!document.querySelector('#chat .model [data-act=edit]')")
        assert "408" in shown(one) and one.find("document.querySelectorAll('#chat math').length") == 1
        press(one, "#chat .model [data-act=edit]")
        wait(one, "!!document.querySelector('[data-field=thinking]')")
        one.find(
            "document.querySelector('[data-field=thinking]').value = '12 * 34 = 12 * 30 + 12 * 4\\n12 * 30 = 370\\n'"
        )
        press(one, "[data-act=think-on]")
        wait(one, "document.querySelector('#chat').innerText.includes('2 of 2') && "
                  "!!document.querySelector('#chat .model [data-act=edit]')")  # fmt: skip
        assert "418" in shown(one) and "408" not in shown(one)
        hostile = "<img src=x onerror=window.ran=1>7 + 5"
        send(two, hostile)
        wait(two, "!!document.querySelector('#chat .bar [data-act=regenerate]')")
        assert hostile in shown(two) and not two.find("!!window.ran || !!document.querySelector('#chat img')")
        assert "12 * 34" not in shown(two) and "7 + 5" not in shown(one)
        assert two.find("document.documentElement.scrollWidth") <= 390
        one.visit(address)
        wait(one, "document.querySelector('#chat')?.innerText.includes('2 of 2')")
        assert "418" in shown(one)
        for browser in (one, two):
            asked = {url for url in browser.asked if not url.startswith(("data:", "blob:", address))}
            assert not asked and not browser.errors


@pytest.fixture
def here(able: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Engine, list[None]]]:
    """A page of this process, whose replies are slow and do not end by themselves; its engine, and that one's steps."""
    steps, step = [], Engine.step

    def slow_step(engine: Engine) -> list:
        time.sleep(0.05)
        steps.append(None)
        return step(engine)

    monkeypatch.setattr(Engine, "step", slow_step)
    model = LanguageModel.load("thinkling-base", device="cpu")
    model.engine.stop_ids = frozenset()
    sampling = Sampling(temperature=2.0, max_tokens=900, seed=4)
    house = House((model,), sampling, "none", tmp_path / "votes.jsonl", Known(()))
    door, listener = Door(application(house), Access("127.0.0.1")), listening("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(door, lifespan="on", log_level="error", ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield address_of(listener), model.engine, steps
    server.should_exit = True
    thread.join()


def test_a_closed_tab_gives_up_its_reply(here: tuple[str, Engine, list[None]]) -> None:
    """Reloaded, the page shows what was said until then; closed, nobody waits for the rest, and nothing draws it."""
    url, engine, steps = here

    def begin(browser: Browser) -> int:
        begun = len(steps)
        send(browser, "Tell me something")
        while len(steps) < begun + 20:
            time.sleep(0.02)
        return begun

    def drawn_since(begun: int) -> int:
        while engine.busy:
            time.sleep(0.02)
        return len(steps) - begun

    with Browser() as browser:
        browser.visit(url)
        begun = begin(browser)
        browser.visit(url)
        assert 20 <= drawn_since(begun) < 400
        wait(browser, "!!document.querySelector('#chat .model [data-act=regenerate]')")
        assert "Tell me something" in shown(browser)
        begun = begin(browser)
    assert 20 <= drawn_since(begun) < 400
