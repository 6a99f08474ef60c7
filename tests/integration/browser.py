"""A real browser: Chromium without a window, driven by chromedriver over the WebDriver protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.programs import free_port, listens, program
from tests.integration.server import eventually

__all__ = ["Browser", "BrowserError", "browsing"]

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
              "--force-device-scale-factor=1", "--lang=en-US")


class BrowserError(Exception):
    """The browser could not do what it was told."""


class Browser:
    """One window."""

    def __init__(self, port: int, chromium: str) -> None:
        self._base = f"http://127.0.0.1:{port}/session"
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"binary": chromium, "args": list(_ARGUMENTS)},
                  "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = str(self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"])

    def go(self, address: str) -> None:
        """Open a page."""
        self._do("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function with this body returns in the page."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        """The text that a reader sees in the first such element; empty where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def wait_for(self, text: str, selector: str = "body", timeout: float = 30.0) -> str:
        """Until that text is to be seen there; all of it."""
        return eventually(lambda: found if text in (found := self.text(selector)) else "", timeout,
                          lambda: f"{text!r} is not in {selector}: {self.text(selector)!r}; {self.complaints()}")

    def click(self, selector: str) -> None:
        """As the mouse does: it must be in sight and nothing before it."""
        self._do("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """As the keyboard does."""
        self._do("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Keys, into whatever has the focus; special ones by their WebDriver code point."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": steps}]})

    def size(self, width: int, height: int) -> None:
        """The page's own size, as of a phone's if it is narrow."""
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                       mobile=width < 600)

    def prefer(self, theme: str) -> None:
        """What the system prefers: light or dark."""
        self._devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def network(self, *, offline: bool) -> None:
        """Take the network away, or give it back."""
        self._devtools("Network.enable")
        self._devtools("Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1,
                       uploadThroughput=-1)

    def picture(self, path: Path, most: int = 4000) -> None:
        """The whole page as a PNG, down to so many pixels."""
        whole = self._devtools("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": min(whole["height"], most), "scale": 1}
        shot = self._devtools("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser has complained about since it was last asked: refused by policy, errors of scripts."""
        entries = self._do("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def close(self) -> None:
        """End the browser."""
        self._do("DELETE", "")

    def _find(self, selector: str) -> str:
        return str(self._do("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def _devtools(self, command: str, **parameters: Any) -> Any:
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/{self._session}{path}", body)

    def _call(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise BrowserError(json.load(error)["value"]["message"]) from None


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser that is gone at the end."""
    chromium, driver, port = program("chromium", "chromium"), program("chromedriver", "chromium-driver"), free_port()
    with (folder / "chromedriver.txt").open("wb") as log:
        process = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: listens(port), 20)
        browser = Browser(port, chromium)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(10)
