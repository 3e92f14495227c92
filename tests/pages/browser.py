"""Chromium without a window, driven through a pipe by its DevTools protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tests.support import witness

_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--remote-debugging-pipe",
]  # fmt: skip


_ON_DESCRIPTORS = """
import fcntl, os, sys
commands, events = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(events, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Runs a program that has the protocol on the descriptors 3 and 4."""


class Browser:
    """A running browser. Each page of it is a `Page`."""

    def __init__(self, commands: int, events: BinaryIO) -> None:
        self._commands = commands
        self._events = events
        self._number = 0
        self.noted: list[dict[str, Any]] = []
        """The events that have come so far."""

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.noted.append(answer)

    def wait_for(self, method: str) -> None:
        """Waits for an event, if it has not come yet."""
        while not any(event["method"] == method for event in self.noted):
            self.noted.append(self._next())

    def _next(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._events.read(1)) != b"\0":
            assert byte, "the browser has ended"
            data += byte
        answer: dict[str, Any] = json.loads(data)
        return answer


class Page:
    """A page that a browser shows.

    Args:
        browser: the browser.
        place: the file, or the address.
        with_scripts: whether the browser runs scripts.
        width: of the window, in pixels.
    """

    def __init__(self, browser: Browser, place: Path | str, *, with_scripts: bool = True, width: int = 1000) -> None:
        self._browser = browser
        browser.noted.clear()
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        if not with_scripts:
            self.call("Emulation.setScriptExecutionDisabled", value=True)
        browser.noted.clear()
        self.call("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        browser.wait_for("Page.loadEventFired")

    def close(self) -> None:
        """Closes the page."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol for this page."""
        return self._browser.call(method, self._session, **parameters)

    def value(self, expression: str) -> Any:
        """Returns the value of an expression of JavaScript, which may be a promise. It is DevTools that runs it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def requested(self) -> list[str]:
        """The addresses that the page has requested, its own among them."""
        return [event["params"]["request"]["url"] for event in self._of("Network.requestWillBeSent")]

    def happened(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of a kind, so far."""
        return [event["params"] for event in self._of(method)]

    def complaints(self) -> list[dict[str, Any]]:
        """What the browser reports: errors of scripts, lines of the console, violations of the page's policy."""
        kinds = (
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
            "Page.javascriptDialogOpening",
        )
        return [event for kind in kinds for event in self._of(kind)]

    def _of(self, method: str) -> list[dict[str, Any]]:
        self.call("Runtime.evaluate", expression="0")  # what has happened before has been told after this
        return [event for event in self._browser.noted if event["method"] == method]


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser whose profile is an empty folder."""
    command = [witness("chromium"), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    read_commands, commands = os.pipe()
    read_events, events = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _ON_DESCRIPTORS, str(read_commands), str(events), *command],
        pass_fds=[read_commands, events], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(events)
    with open(read_events, "rb") as stream:
        browser = Browser(commands, stream)
        try:
            yield browser
            browser.call("Browser.close")
        finally:
            os.close(commands)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
