"""The explorer as a process on a terminal: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import termios
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
