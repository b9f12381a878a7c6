"""The web chat's page, served by Gradio and tried in a browser. Gradio is an extra (90 MB), so it is not in `test`:
where it is missing, what is said about that is all that can be tried. What needs no page: test_web_chat.py."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from test_cli import fails

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
    assert "add --web" in fails(capsys, "chat", "--compare", "x")
    assert "cannot meet itself" in fails(capsys, "chat", "--web", "--compare", "thinkling-reasoner")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("gradio", reason="the extra chat is not installed: pip install -e '.[chat]'")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
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
        browser, "!!document.querySelector('#message textarea') && !!document.querySelector('#chat .greeting, #chat p')"
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
