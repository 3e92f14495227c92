"""`wclayer explore --web`: the explorer in a real browser, and who gets no answer."""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.explore.chains import base, update
from tests.explore.made import chain
from tests.pages.browser import Page, started
from tests.support import run
from wclayer.explore.web.guard import Guard

_SECONDS = 60.0
_KEY = base64.b64encode(bytes(16)).decode()


class Served:
    """A running server.

    Attributes:
        process: it, with the explorers, in a group of its own.
        address: what it has printed.
    """

    def __init__(self, layer: Path, *options: str, before_verb: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "wclayer", *before_verb, "explore", "--web", *options, str(layer)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().decode().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", self.address), self.address
        self.host = urlsplit(self.address).netloc
        self.path = urlsplit(self.address).path

    def ask(self, path: str, host: str | None = None, origin: str | None = None, **headers: str) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=_SECONDS)
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host or self.host)
        for name, value in {"Origin": origin, **headers}.items():
            if value is not None:
                connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        status = answer.status
        body = b"" if status == 101 else answer.read()
        connection.close()
        return status, body

    def open_socket(self, path: str, **headers: str | None) -> int:
        """The status of the answer to who wants a WebSocket."""
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": _KEY,
        }
        return self.ask(path, **(upgrade | headers))[0]  # type: ignore[arg-type]

    def count(self) -> int:
        """The number of processes of the group."""
        return len(self.commands())

    def commands(self) -> list[list[str]]:
        """The words of the command of each process of the group."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal():
                try:
                    if os.getpgid(int(folder.name)) == self.process.pid and "Z" not in _state(folder):
                        found.append((folder / "cmdline").read_text().split("\0"))
                except OSError:
                    pass
        return found


def _state(folder: Path) -> str:
    return folder.joinpath("stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def _until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def serving(layer: Path, *options: str, before_verb: Sequence[str] = ()) -> Iterator[Served]:
    served = Served(layer, *options, before_verb=before_verb)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()
        assert served.process.stdout is not None
        served.process.stdout.close()
        _until(lambda: not served.count())


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chain(tmp_path_factory.mktemp("layers"), base, update)[0]


@pytest.fixture(scope="module")
def served(layer: Path) -> Iterator[Served]:
    with serving(layer) as found:
        yield found


class _Shown:
    """The explorer in a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def wait_for(self, text: str) -> None:
        """Waits until the explorer has written a text."""
        _until(lambda: text in self._written())

    def _written(self) -> str:
        frames = [event["response"]["payloadData"] for event in self.page.happened("Network.webSocketFrameReceived")]
        data = b"".join(base64.b64decode(frame) for frame in frames if not frame.startswith("["))
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode())

    def press(self, key: str) -> None:
        """Presses a key in the page, as a keyboard does."""
        for kind in ("keyDown", "keyUp"):
            self.page.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if kind == "keyDown" else "")

    def picture(self) -> bytes:
        """What the window shows."""
        return base64.b64decode(self.page.call("Page.captureScreenshot")["data"])


def _is_error(event: dict[str, Any]) -> bool:
    """Whether a script has failed, or the page's policy has refused something."""
    return bool(
        event["method"] == "Runtime.exceptionThrown" or event["params"].get("entry", {}).get("level") == "error"
    )


def test_a_browser_shows_the_explorer_and_its_keys_work(served: Served, tmp_path: Path) -> None:
    with started(tmp_path / "profile") as browser:
        page = Page(browser, served.address)
        shown = _Shown(page)
        shown.wait_for("becomes-directory")
        _until(lambda: page.value("document.body.className").split() == ["-loaded", "-first-byte"])
        assert page.value("document.title").startswith("wclayer explore /")
        before = shown.picture()
        page.value("document.querySelector('.xterm-helper-textarea').focus()")
        shown.press("?")
        shown.wait_for("Close all directories")
        _until(lambda: shown.picture() != before)
        assert page.value("document.fonts.check('14px \"Roboto Mono\"')")
        requested = {*page.requested(), *(event["url"] for event in page.happened("Network.webSocketCreated"))}
        assert len(requested) >= 5
        for address in requested:
            assert address == "data:," or address.split("://")[1].startswith(f"{served.host}{served.path}"), address
        shown.press("?")
        shown.press("q")
        _until(lambda: "-closed" in page.value("document.body.className"))
        _until(lambda: served.count() == 1)
        assert not [event for event in page.complaints() if _is_error(event)]


def test_only_the_page_itself_gets_an_answer(served: Served) -> None:
    origin = f"http://{served.host}"
    script, terminal = f"{served.path}static/js/textual.js", f"{served.path}ws"
    assert b"textual.js" in served.ask(served.path)[1]
    assert [served.ask(path)[0] for path in (served.path, script)] == [200, 200]
    assert served.ask(served.path, host=served.host.replace("127.0.0.1", "LocalHost"))[0] == 200
    assert served.open_socket(terminal, Origin=origin) == 101
    wrong = f"/{'x' * 43}/"
    for path in (served.path, script, terminal, f"{served.path}none"):
        guesses = ("/", path.replace(served.path, wrong), path[:20] + path[21:], path.replace(served.path, "//"))
        assert {served.ask(guess)[0] for guess in guesses} == {403}
        assert {served.open_socket(guess, Origin=origin) for guess in guesses} == {403}
        for host in (
            "attacker.example",
            f"attacker.example:{served.host.partition(':')[2]}",
            "127.0.0.1",
            "127.0.0.1:1",
        ):
            assert served.ask(path, host=host)[0] == 403
            assert served.open_socket(path, host=host, Origin=f"http://{host}") == 403
        for other in (
            "http://attacker.example",
            "null",
            origin.replace("127.0.0.1", "localhost"),
            f"https{origin[4:]}",
        ):
            assert served.ask(path, origin=other)[0] == 403
            assert served.open_socket(path, Origin=other) == 403
    assert served.open_socket(terminal) == 403
    assert served.ask("/%FF%00/" + "a" * 2000)[0] == 403


def test_no_other_file_is_sent_and_no_folder_listed(served: Served) -> None:
    for name in (
        "static", "static/", "static/js/", "static/images/background.png", "static/../server.py", "download/x",
        "static/%2e%2e/server.py", "static/js/..%2f..%2f..%2fserver.py", "static//etc/passwd",
    ):  # fmt: skip
        assert served.ask(served.path + name)[0] in (403, 404), name


def test_a_browser_keeps_the_address_to_itself(served: Served) -> None:
    connection = http.client.HTTPConnection(served.host, timeout=_SECONDS)
    connection.request("GET", served.path)
    headers = connection.getresponse().headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"connect-src ws://{served.host};" in f"{policy};"
    connection.close()


def test_the_token_is_another_one_each_time_and_not_in_the_command_line(served: Served, layer: Path) -> None:
    with serving(layer) as other:
        assert other.path != served.path
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                assert served.path.strip("/").encode() not in folder.joinpath("cmdline").read_bytes()
            except OSError:
                continue


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_it_ends_and_leaves_no_process(layer: Path, tmp_path: Path, number: signal.Signals) -> None:
    engine = ["--engine", "portable"]
    with serving(layer, before_verb=engine) as served, started(tmp_path / "profile") as browser:
        _Shown(Page(browser, served.address)).wait_for("becomes-directory")
        assert served.count() == 2
        # The explorer of a page has all options of the command, those before the verb too.
        assert all(words[words.index("wclayer") + 1 :][:2] == engine for words in served.commands())
        if number is signal.SIGINT:
            # As a terminal does at Ctrl-C.
            os.killpg(served.process.pid, number)
        else:
            served.process.send_signal(number)
        status = served.process.wait(_SECONDS)
        assert status == {signal.SIGINT: 0, signal.SIGTERM: 128 + number, signal.SIGKILL: -number}[number]
        _until(lambda: not served.count())
        assert served.process.stdout is not None
        assert served.process.stdout.read() == b"Ctrl-C ends it.\n"


def test_the_port_is_the_one_that_was_asked_for(layer: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("explore", "--web", "--port", str(port), layer, status=1)
    assert f"127.0.0.1:{port}: " in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    with serving(layer, "--port", str(port)) as served:
        assert served.host == f"127.0.0.1:{port}"
    assert b"--port is for --web" in run("explore", "--port", "1", layer, status=64).stderr


def test_what_is_no_layer_is_told_before_anything_is_served(tmp_path: Path) -> None:
    done = run("explore", "--web", tmp_path, status=None)
    assert done.returncode
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['textual_serve'] = None; from wclayer.cli.main import main; main(sys.argv[1:])"
    found = subprocess.run(
        [sys.executable, "-c", hidden, "explore", "--web", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 10
    assert "pip install 'wclayer[web]'" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_guard_knows_the_names_of_its_host() -> None:
    guard = Guard(80)
    path = f"/{guard.token}/"
    for host in ("127.0.0.1", "127.0.0.1:80", "localhost"):
        assert guard.refusal(path, [host], [f"http://{host}"], is_socket=True) == ""
    assert guard.refusal(path, ["127.0.0.1", "127.0.0.1"], [], is_socket=False)
    assert guard.refusal(path, [], [], is_socket=False)
    assert guard.refusal(path, ["127.0.0.1"], ["http://127.0.0.1"] * 2, is_socket=True)
    assert guard.refusal("\ud800", ["127.0.0.1"], [], is_socket=False)


@pytest.mark.parametrize(
    "text", ["x", "[]", '["stdin", 5]', '["resize", {"width": -5, "height": 1e999}]', "[" * 500_000]
)
def test_a_message_that_no_page_sends_is_passed_over(text: str) -> None:
    told: list[tuple[int, int]] = []

    class Explorer:
        async def set_terminal_size(self, width: int, height: int) -> None:
            told.append((width, height))

    server = pytest.importorskip("wclayer.explore.web.server")
    asyncio.run(server._pass_on(text, Explorer(), None))
    assert told in ([], [(1, 24)])
