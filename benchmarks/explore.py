"""Times `wclayer explore` on an image of 100,000 files: the first screen, and the answer to every key of every pane.

    python -m benchmarks.explore [--folder FOLDER] [--runs N] [--keys] [--document FILE]

The program runs on a terminal of its own of 120 columns and 40 lines. The first screen is there when the tree, and the
step of the top layer, are written; the time begins before the process. A key is answered when what it has changed is on
the screen (`benchmarks.explore_program`); what a thread reads for it comes later. Keys are pressed while threads
compute the sums of directories, the inventory and the waste, while a search reads contents, and in each pane when all
of that has ended. The CPU time beside the wall time is that of all threads between the key and its answer: on a machine
that does other work, too, the wall time has the wait for a processor.

With --keys, each key is printed. With --document, the table is put into that file, between its marks.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.binding import Binding, BindingType

from benchmarks.document import machine, write_part
from benchmarks.explore_image import NAME, make_image
from benchmarks.explore_program import ANSWERED
from benchmarks.measuring import compiled_environment
from wclayer.cli.explore import ESCAPE_DELAY, FRAMES
from wclayer.explore.app import ExploreApp
from wclayer.explore.widgets.dialogs import key_name
from wclayer.explore.widgets.marked_pane import MarkedPane
from wclayer.explore.widgets.pane import Pane
from wclayer.explore.widgets.tree_pane import TreePane

_SIZE = struct.pack("HHHH", 40, 120, 0, 0)
_SECONDS = 20.0
_GRACE = 5.0
"""Seconds in which the program may end by itself."""
_LOOK = 0.5
_IDLE = 0.03
"""CPU seconds that a program may take in `_LOOK` seconds while it waits: it looks at its terminal."""
_FIRST = (b"C:", b"COPY app", b"UtilityVM")
_ANSWERED = ANSWERED.encode()
_RIGHT, _ESC, _ENTER, _TAB, _SHIFT_TAB = b"l", b"\x1b", b"\r", b"\t", b"\x1b[Z"
_BYTES = {
    "up": b"\x1b[A", "down": b"\x1b[B", "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F",
    "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~", "f1": b"\x1bOP", "tab": _TAB, "shift+tab": _SHIFT_TAB,
    "enter": _ENTER, "escape": _ESC, "backspace": b"\x7f", "space": b" ", "ctrl+space": b"\0", "ctrl+@": b"\0",
}  # fmt: skip
"""What a terminal sends for keys that are not written as they are sent."""
_AFTER: dict[str, int | bytes] = {
    "mark": 1, "next_view": 1, "times": 1, "sort": 1, "fold": 1, "enter": 1, "zoom": 1, "preview": 2, "keys": _ESC,
    "export": _ESC, "search": _ESC, "focus_next": _SHIFT_TAB, "focus_previous": _TAB, "next_tab(1)": b"[",
    "next_tab(-1)": b"]", "layer(-1)": b".",
}  # fmt: skip
"""By the action of a key, what brings back what was there: the same key so many times, or another one."""
_LAST = ("close_all",)
"""The actions that change what other keys find."""
_SEARCH = b"/type:zip bench\r"
"""Reads the contents of all files, and finds nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a key.

    Attributes:
        place: where the key was pressed.
        key: the key, as people write it.
        what: what it does.
        seconds: until the answer was on the screen.
        cpu: the CPU seconds of all threads in that time.
    """

    place: str
    key: str
    what: str
    seconds: float
    cpu: float


class Terminal:
    """The explorer on a terminal.

    Args:
        store: the store with the image.
        tells: whether it is the program that tells when a key is answered.
    """

    def __init__(self, store: Path, *, tells: bool) -> None:
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, _SIZE)
        module = "benchmarks.explore_program" if tells else "wclayer"
        command = [sys.executable, "-m", module, "explore", "--store", str(store), NAME]
        environment = compiled_environment() | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        # The verb sets them before it loads Textual, which the module of the benchmark needs earlier.
        environment.setdefault("ESCDELAY", ESCAPE_DELAY)
        environment.setdefault("TEXTUAL_FPS", FRAMES)
        self.start = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
        )
        os.close(child)
        self._terminal = parent

    def wait_for(self, *texts: bytes) -> float:
        """Reads until all texts were written, and returns when."""
        seen = b""
        end = time.perf_counter() + _SECONDS
        while any(text not in seen for text in texts):
            if not self._read(max(0.0, end - time.perf_counter())):
                raise SystemExit(f"the explorer did not write {texts}")
            seen += self._last
        return time.perf_counter()

    def quiet(self, seconds: float = 0.05) -> None:
        """Reads until nothing is written for some time."""
        while self._read(seconds):
            pass

    def idle(self) -> None:
        """Waits until all threads wait: what they do in the background is done."""
        before = -1.0
        while (now := self.cpu_seconds()) - before > _IDLE:
            before = now
            end = time.perf_counter() + _LOOK
            while (rest := end - time.perf_counter()) > 0:
                self._read(rest)

    def press(self, key: bytes) -> tuple[float, float]:
        """Presses a key, and returns the seconds and the CPU seconds of the process until it is answered."""
        while self._read(0.0):
            pass
        start, cpu = time.perf_counter(), self.cpu_seconds()
        os.write(self._terminal, key)
        return self.wait_for(_ANSWERED) - start, self.cpu_seconds() - cpu

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds of all threads that the program has, as the scheduler of Linux counts them."""
        total = 0
        for told in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            try:
                total += int(told.read_text().split()[0])
            except OSError:
                # The thread has ended in the meantime.
                continue
        return total / 1e9

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            self._last = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        return bool(self._last)

    def close(self) -> float:
        """Ends the program, by force if it does not end by itself, and returns the most MiB that it had resident."""
        if self._process.returncode is not None:
            return 0.0
        self._process.send_signal(signal.SIGTERM)
        end = time.perf_counter() + _GRACE
        while time.perf_counter() < end and self._read(0.2):
            pass
        os.close(self._terminal)
        while True:
            found, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if found:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss / 1024
            if time.perf_counter() > end:
                self._process.kill()
            time.sleep(0.05)


@contextmanager
def _running(store: Path, *, tells: bool) -> Iterator[Terminal]:
    terminal = Terminal(store, tells=tells)
    try:
        yield terminal
    finally:
        terminal.close()


def sent(key: str) -> bytes:
    """Returns what a terminal sends for a key, which is named as in a binding."""
    if key in _BYTES:
        return _BYTES[key]
    if key.startswith("ctrl+"):
        return bytes([ord(key[-1]) & 0x1F])
    return key_name(key).encode()


def press_all(
    terminal: Terminal, place: str, groups: Iterable[Sequence[BindingType]], *, tab: int = 1
) -> Iterator[Answer]:
    """Presses each key of some groups once, and what brings back what was there before.

    Args:
        terminal: the explorer.
        place: what the keys are pressed in.
        groups: the bindings, of each of which the first key is pressed.
        tab: the number of the tab in which they are pressed.
    """
    bindings = [each for group in groups for each in group if isinstance(each, Binding) and each.action != "quit"]
    for binding in sorted(bindings, key=lambda each: each.action in _LAST):
        key = binding.key.split(",")[0]
        pressed = [sent(key)]
        action = binding.action.removeprefix("app.")
        after = _AFTER.get(action, _AFTER.get(action.partition("(")[0], b""))
        if action.startswith("tab("):
            after = b"%d" % tab
        pressed += [after] if isinstance(after, bytes) else pressed * after
        for each in filter(None, pressed):
            name = key_name(key) if each == pressed[0] else f"{_shown(each)} after {key_name(key)}"
            yield Answer(place, name, binding.description, *terminal.press(each))
            if not place.startswith(_BUSY):
                terminal.quiet()


def _shown(key: bytes) -> str:
    return {_ESC: "Esc", _ENTER: "Enter", _TAB: "Tab", _SHIFT_TAB: "Shift+Tab"}.get(key, key.decode())


def type_all(terminal: Terminal, place: str, keys: Iterable[bytes]) -> Iterator[Answer]:
    """Presses keys, each when the one before is answered."""
    for key in keys:
        yield Answer(place, _shown(key), "", *terminal.press(key))


_BUSY = "While"
_TREE = (MarkedPane.BINDINGS, ExploreApp.BINDINGS, Pane.BINDINGS, TreePane.BINDINGS)
_OUTLINE = (ExploreApp.BINDINGS, Pane.BINDINGS, TreePane.BINDINGS)
_FILES = "Files"


def press_keys(store: Path) -> Iterator[Answer]:
    """Presses all keys, and yields the answers."""
    with _running(store, tells=True) as terminal:
        terminal.wait_for(*_FIRST)
        busy = f"{_BUSY} sums, inventory and waste are computed"
        yield from type_all(terminal, busy, (b"5", b"3", b"1"))
        yield from press_all(terminal, busy, _TREE)
        terminal.idle()
        yield from type_all(terminal, _FILES, (b"g", b" "))
        yield from press_all(terminal, _FILES, _TREE)
        # To WinSxS, the last directory of Windows.
        search = "Search for a name"
        yield from type_all(terminal, search, _letters(b"/WinSxS\r"))
        terminal.wait_for(b"found")
        yield from type_all(terminal, search, (b"\r",))
        terminal.idle()
        large = "Files, 12,060 directories open"
        seconds, cpu = terminal.press(_RIGHT)
        yield Answer(large, "→", "open them", seconds, cpu)
        terminal.idle()
        yield from type_all(terminal, large, (b"j", b"j", b"j"))
        yield from press_all(terminal, large, _TREE)
        for number, (place, groups) in enumerate(
            (("Registry", _TREE), ("Inventory", _OUTLINE), ("Image", _OUTLINE), ("Waste", _OUTLINE)), 2
        ):
            yield from type_all(terminal, place, (b"%d" % number,))
            terminal.idle()
            yield from press_all(terminal, place, groups, tab=number)
        for place, to in (("Layers", _SHIFT_TAB), ("Details", _TAB)):
            yield from type_all(terminal, place, (b"1", to))
            yield from press_all(terminal, place, (Pane.BINDINGS,))
        terminal.press(b"1")
        busy = f"{_BUSY} a search reads contents"
        yield from type_all(terminal, busy, _letters(_SEARCH))
        yield from press_all(terminal, busy, (MarkedPane.BINDINGS, Pane.BINDINGS))
        yield from type_all(terminal, busy, (_ESC,))


def _letters(text: bytes) -> list[bytes]:
    return [bytes([each]) for each in text]


def first_screen(store: Path) -> tuple[float, float, float]:
    """Returns the seconds until the first screen, the CPU seconds until then, and the peak memory in MiB when the sums
    are computed."""
    with _running(store, tells=False) as terminal:
        seconds, cpu = terminal.wait_for(*_FIRST) - terminal.start, terminal.cpu_seconds()
        terminal.idle()
        return seconds, cpu, terminal.close()


def _cells(seconds: Iterable[float]) -> Iterator[str]:
    for each in seconds:
        yield f"{each * 1000:.0f} ms"


def table(starts: Sequence[tuple[float, float, float]], runs: Sequence[Sequence[Answer]]) -> str:
    """Returns the table of what was measured: a row for each place."""
    walls, cpus, memories = zip(*starts, strict=True)
    found = [
        f"First screen: {statistics.median(walls):.2f} s, {max(walls):.2f} s at most; CPU time"
        f" {statistics.median(cpus):.2f} s, {max(cpus):.2f} s at most. Peak memory: {max(memories):.0f} MiB.",
        "",
        "| keys pressed | how many | median | largest | largest CPU | slowest key |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    places: dict[str, list[Answer]] = {}
    for answer in (each for run in runs for each in run):
        places.setdefault(answer.place, []).append(answer)
    for place, answers in places.items():
        slowest = max(answers, key=lambda each: each.seconds)
        times = (
            statistics.median(each.seconds for each in answers),
            slowest.seconds,
            max(each.cpu for each in answers),
        )
        found.append(f"| {place} | {len(answers)} | {' | '.join(_cells(times))} | {slowest.key} |")
    return "\n".join(found)


def keys_table(runs: Sequence[Sequence[Answer]]) -> str:
    """Returns a line for each key: the median and the largest of its times, and of its CPU times."""
    keys: dict[tuple[str, str], list[Answer]] = {}
    for answer in (each for run in runs for each in run):
        keys.setdefault((answer.place, answer.key), []).append(answer)
    found = []
    for (place, key), answers in sorted(keys.items(), key=lambda each: -max(answer.seconds for answer in each[1])):
        walls, cpus = [each.seconds for each in answers], [each.cpu for each in answers]
        times = (statistics.median(walls), max(walls), statistics.median(cpus), max(cpus))
        found.append(f"{place:<46} {key:<20} {' '.join(f'{each:>8}' for each in _cells(times))}  {answers[0].what}")
    return "\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.explore", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "wclayer-explore")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", action="store_true", help="print each key, the slowest first")
    parser.add_argument("--document", type=Path, help="the file into which the table is put")
    options = parser.parse_args()
    # The explorer is ended, too, when this program is.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    store = make_image(options.folder)
    load = os.getloadavg()[0]
    starts = [first_screen(store) for _ in range(options.runs)]
    runs = [list(press_keys(store)) for _ in range(options.runs)]
    text = f"{machine()} {options.runs} runs; load of other jobs at the beginning: {load:.1f}.\n\n{table(starts, runs)}"
    if options.keys:
        print(keys_table(runs))
    print(text)
    if options.document is not None:
        write_part(options.document, "explore", text)


if __name__ == "__main__":
    main()
