"""Headless Chromium for the tests of pages: what it logs and asks for, what a script on the page finds, screenshots.

Spoken to in its DevTools protocol over a pipe. `python tests/browser.py PAGE FOLDER` takes screenshots of a page at
1280 and 390 pixels, light and dark.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """One page. errors: what its console said in the way of errors; asked: the addresses that it asked for."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp()
        to_it, self._write = os.pipe()
        self._read, from_it = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                 "--disable-background-networking", f"--user-data-dir={self.folder}",
                 "--remote-debugging-pipe"]  # fmt: skip

        def as_three_and_four() -> None:
            high = [os.dup(to_it), os.dup(from_it)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([CHROMIUM, *flags], preexec_fn=as_three_and_four, close_fds=False, **quiet)
        os.close(to_it)
        os.close(from_it)
        self._rest, self._number, self._session = b"", 0, None
        self.errors: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, **parameters: object) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._notice(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def _notice(self, event: dict) -> None:
        name, said = event.get("method"), event.get("params", {})
        if name == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        if name == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if name == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])
        if name == "Page.loadEventFired":
            self.loaded = True

    def open(self, path: Path, width: int = 1280, dark: bool = False) -> None:
        self.visit(path.resolve().as_uri(), width, dark)

    def visit(self, url: str, width: int = 1280, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.loaded = False
        self.call("Page.navigate", url=url)
        while not self.loaded:
            self._notice(self._next())

    def find(self, expression: str) -> object:
        """The value of a JavaScript expression on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, path: Path, height: int = 0) -> None:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or min(size["height"], 4000), "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    page, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for width in (1280, 390):
            for dark in (False, True):
                browser.open(page, width, dark)
                browser.screenshot(folder / f"{page.stem}-{width}-{'dark' if dark else 'light'}.png")
        print(f"errors: {browser.errors}; asked for: {sorted(set(browser.asked))}")
