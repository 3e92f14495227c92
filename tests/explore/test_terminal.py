"""The driver of the terminal: what is pressed is told at once, also Esc."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from textual import constants, events
from textual.driver import Driver
from textual.message import Message

from tests.explore.made import explored
from wclayer import sample
from wclayer.explore import terminal
from wclayer.explore.app import ExploreApp
from wclayer.explore.terminal import TerminalDriver

_SECONDS = 60.0
_NEVER = 3600.0


class _Keys(TerminalDriver):
    """The driver without a terminal: what is pressed comes from a pipe."""

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno
        self.exit_event = threading.Event()
        self._debug = False
        self.told: Queue[Message] = Queue()

    def process_message(self, message: Message) -> None:
        self.told.put(message)

    def keys(self, count: int) -> list[str]:
        told = [self.told.get(timeout=_SECONDS) for _ in range(count)]
        assert all(isinstance(each, events.Key) for each in told)
        return [each.key for each in told if isinstance(each, events.Key)]


@contextmanager
def _reading() -> Iterator[tuple[_Keys, int]]:
    reads, writes = os.pipe()
    driver = _Keys(reads)
    thread = threading.Thread(target=driver.run_input_thread)
    thread.start()
    try:
        yield driver, writes
    finally:
        driver.exit_event.set()
        # It may be waiting for ever.
        os.write(writes, b"q")
        thread.join(_SECONDS)
        os.close(writes)
        os.close(reads)
    assert not thread.is_alive()


def test_esc_is_told_as_soon_as_nothing_may_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread wakes for it, and not before it looks anyway whether the program ends."""
    waited: list[float] = []

    def wait(reads: list[int], writes: list[int], others: list[int], seconds: float) -> Any:
        waited.append(seconds)
        return select_as_it_is(reads, writes, others, seconds)

    select_as_it_is = select.select
    monkeypatch.setattr(terminal, "_LOOK", _NEVER)
    monkeypatch.setattr(constants, "ESCAPE_DELAY", 0.01)
    monkeypatch.setattr(select, "select", wait)
    with _reading() as (driver, writes):
        os.write(writes, b"\x1b")
        assert driver.keys(1) == ["escape"]
    # As seldom as before when nothing is pending: only after what was read, it waits a short time.
    assert waited == [_NEVER, 0.01, _NEVER]


def test_what_keys_send_in_pieces_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ESCAPE_DELAY", _SECONDS)
    with _reading() as (driver, writes):
        for piece in (b"\x1b", b"[", b"A", b"\xe2", b"\x82\xac", b"\x1bO", b"P"):
            os.write(writes, piece)
        assert driver.keys(3) == ["up", "euro_sign", "f1"]


def test_bytes_that_are_no_text_end_nothing() -> None:
    with _reading() as (driver, writes):
        os.write(writes, b"\xffj")
        assert driver.keys(2)[1] == "j"


def test_a_pipe_that_has_ended_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def read(fileno: int, count: int) -> bytes:
        nonlocal asked
        asked += 1
        return b""

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == terminal._LOOK
            self.set()
            return True

    reads, writes = os.pipe()
    os.close(writes)
    driver = _Keys(reads)
    driver.exit_event = Event()
    monkeypatch.setattr(os, "read", read)
    driver.run_input_thread()
    os.close(reads)
    assert asked == 1


def test_the_program_has_the_driver_where_textual_has_that_of_posix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = explored(tmp_path, sample.write_base)
    assert ExploreApp(image).driver_class is TerminalDriver
    # The server of the pages has chosen another one.
    monkeypatch.setattr(constants, "DRIVER", "textual.drivers.web_driver:WebDriver")
    assert _driver(ExploreApp(image)) == "WebDriver"
    monkeypatch.undo()
    # A Textual that has its parser at another place.
    monkeypatch.delitem(sys.modules, "wclayer.explore.terminal")
    monkeypatch.setitem(sys.modules, "textual._xterm_parser", None)
    assert _driver(ExploreApp(image)) == "LinuxDriver"


def _driver(app: ExploreApp) -> str:
    chosen: type[Driver] = app.driver_class
    return chosen.__name__


@pytest.mark.parametrize(
    ("chosen", "told"),
    [({}, "0.04 240"), ({"ESCDELAY": "500", "TEXTUAL_FPS": "30"}, "0.5 30")],
    ids=["by the verb", "by the user"],
)
def test_the_verb_tells_textual_not_to_wait(tmp_path: Path, chosen: dict[str, str], told: str) -> None:
    program = (
        "import atexit, sys; from wclayer.cli.main import main; of = lambda: sys.modules['textual.constants'];"
        "atexit.register(lambda: print(of().ESCAPE_DELAY, of().MAX_FPS)); main(sys.argv[1:])"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("ESCDELAY", "TEXTUAL_FPS")}
    done = subprocess.run(
        [sys.executable, "-c", program, "explore", str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, env=environment | chosen, check=False,
    )  # fmt: skip
    assert "needs a terminal" in done.stderr
    assert done.stdout.strip() == told
