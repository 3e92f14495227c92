"""The explorer as a process on a terminal: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.explore.chains import base, update
from tests.explore.made import chain
from tests.explore.process import SECONDS, Terminal
from tests.support import run


@contextmanager
def running(folder: Path, *, controlling: bool = True) -> Iterator[Terminal]:
    with showing(Terminal(chain(folder, base, update)[0], controlling=controlling), b"becomes-directory") as terminal:
        yield terminal


@contextmanager
def showing(terminal: Terminal, text: bytes) -> Iterator[Terminal]:
    try:
        terminal.read_until(text)
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as terminal:
        assert termios.tcgetattr(terminal.parent) != terminal.before
        terminal.process.send_signal(number)
        terminal.read_until(b"\x1b[?1049l")
        assert terminal.process.wait(SECONDS) == 128 + number
        assert termios.tcgetattr(terminal.parent)[3] == terminal.before[3]
        assert b"Traceback" not in terminal.seen
        os.close(terminal.parent)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_though_the_terminal_reads_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as terminal:
        _stall(terminal)
        terminal.process.send_signal(number)
        assert terminal.process.wait(SECONDS) == 128 + number
        assert termios.tcgetattr(terminal.parent) == terminal.before
        # What was not read is gone, but for what ends the drawing.
        terminal.seen = b""
        terminal.read_until(b"\x1b[?1049l")


def _stall(terminal: Terminal) -> None:
    """Makes the explorer draw, and reads nothing, until its main thread waits for the terminal."""
    os.write(terminal.parent, b"z" * 400)
    status = Path(f"/proc/{terminal.process.pid}/stat")
    idle = 0
    used = -1
    end = time.monotonic() + SECONDS
    while idle < 10:
        assert time.monotonic() < end
        time.sleep(0.1)
        fields = status.read_text().rpartition(")")[2].split()
        before, used = used, int(fields[11]) + int(fields[12])
        idle = idle + 1 if used - before <= 1 else 0


def _state(terminal: Terminal) -> str:
    return Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def _wait_for_state(terminal: Terminal, state: str) -> None:
    end = time.monotonic() + SECONDS
    while _state(terminal) != state:
        assert time.monotonic() < end
        terminal.read(0.05)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_it_goes_on_after_it_was_stopped(tmp_path: Path, number: signal.Signals) -> None:
    """As with `kill -STOP`, or Ctrl-Z in the program that has started it, and `fg`."""
    with running(tmp_path) as terminal:
        terminal.process.send_signal(number)
        _wait_for_state(terminal, "T")
        while terminal.read(0.2):
            pass
        if number == signal.SIGTSTP:
            assert termios.tcgetattr(terminal.parent) == terminal.before
            assert b"\x1b[?1049l" in terminal.seen
        # A shell has the terminal in the meantime.
        termios.tcsetattr(terminal.parent, termios.TCSANOW, terminal.before)
        terminal.seen = b""
        terminal.process.send_signal(signal.SIGCONT)
        terminal.read_until(b"\x1b[?1049h")
        # All is drawn anew.
        terminal.seen = terminal.seen.partition(b"\x1b[?1049h")[2]
        terminal.read_until(b"becomes-directory")
        terminal.read_until(b"q quit")
        terminal.seen = b""
        os.write(terminal.parent, b"?")
        terminal.read_until(b"Go up a page")
        os.write(terminal.parent, b"?q")
        terminal.read_until(b"\x1b[?1049l")
        assert terminal.process.wait(SECONDS) == 0
        assert termios.tcgetattr(terminal.parent) == terminal.before


def test_it_draws_on_the_terminal_though_the_standard_error_is_a_file(tmp_path: Path) -> None:
    errors = tmp_path / "errors"
    layer = chain(tmp_path, base, update)[0]
    with errors.open("wb") as file, showing(
        Terminal(layer, controlling=True, errors=file), b"becomes-directory"
    ) as terminal:  # fmt: skip
        os.write(terminal.parent, b"q")
        terminal.read_until(b"\x1b[?1049l")
        assert terminal.process.wait(SECONDS) == 0
    assert not errors.read_bytes()


@pytest.mark.parametrize("controlling", [True, False])
def test_it_ends_with_its_terminal(tmp_path: Path, controlling: bool) -> None:
    with running(tmp_path, controlling=controlling) as terminal:
        os.close(terminal.parent)
        assert terminal.process.wait(SECONDS) != 0


def test_two_are_compared_on_a_terminal(tmp_path: Path) -> None:
    layers = chain(tmp_path, base, update)
    with showing(Terminal(layers[1], layers[0], controlling=True), b"becomes-directory") as terminal:
        os.write(terminal.parent, b"q")
        terminal.read_until(b"\x1b[?1049l")
        assert terminal.process.wait(SECONDS) == 0
        assert b"changes from the first to the second" in terminal.seen


def test_chains_of_many_layers_are_shown_though_few_files_may_be_open(tmp_path: Path) -> None:
    below = chain(tmp_path / "common", base)
    pair = [chain(tmp_path / name, *[update] * 20, below=below)[0] for name in ("a", "b")]
    with showing(Terminal(*pair, controlling=True, most_files=50), b"becomes-directory") as terminal:
        os.write(terminal.parent, b"5")
        terminal.read_until(b"Layers in both")


def test_without_a_terminal_it_says_so(tmp_path: Path) -> None:
    done = run("explore", chain(tmp_path, base)[0], status=64)
    assert b"needs a terminal" in done.stderr


def test_what_is_no_layer_is_told_in_one_line(tmp_path: Path) -> None:
    done = run("explore", tmp_path, status=None)
    assert done.returncode
    assert b"Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
