"""The progress of a build on the error stream: lines, and on a terminal what runs, as the users of BuildKit know it."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from wclayer.builder.progress import BuildProgress, PlainLines, RunningStep, Silent, one_line
from wclayer.cli.output import warn
from wclayer.cli.transfer_bars import Blobs, new_bars
from wclayer.images.transfer_progress import TransferCallback

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

_MARGIN = 2
"""The columns that stay free at the right edge: a terminal echoes `^C` there, which must not begin another line."""
_SHOWN = 4
"""The lines of a command that are shown while it runs."""
_KEPT = 20
"""The last lines of a command that are shown when it has failed."""


@contextmanager
def build_progress(*, quiet: bool, is_plain: bool) -> Iterator[tuple[BuildProgress, TransferCallback | None]]:
    """Shows a build until the end of the context; a step that an exception ends is shown as such.

    Args:
        quiet: show nothing but warnings.
        is_plain: show lines, even on a terminal.

    Returns:
        The progress of the steps, and the callback for base images and pushes; None if they are not shown.
    """
    if quiet:
        yield Silent(warn), None
    elif is_plain or not sys.stderr.isatty():
        lines = PlainLines(lambda text: click.echo(text, err=True), warn)
        with _told_of_failures(lines):
            yield lines, None
    else:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True, highlight=False)
        steps = TerminalSteps(console)
        with Live(steps, console=console, refresh_per_second=8, transient=True), _told_of_failures(steps):
            yield steps, steps.blobs.show


@contextmanager
def _told_of_failures(steps: PlainLines | TerminalSteps) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        steps.stops("CANCELED")
        raise
    except BaseException:
        steps.stops("ERROR")
        raise


class TerminalSteps:
    """Tells a build on a terminal: a line for each step that has ended, and below them what runs.

    Lines are cut at the width of the terminal, and their times stand at its right edge. What a command prints is shown
    while it runs, and stays if it fails. An object of this class is what `rich` shows live.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = new_bars(console)
        self.blobs = Blobs(self._bars)
        """The bars of what is transferred."""
        self._lock = threading.Lock()
        self._step: RunningStep | None = None
        self._more = ""
        self._lines: deque[str] = deque(maxlen=_KEPT)

    def begins(self, number: int, total: int, stage: str, text: str) -> None:
        """See `BuildProgress`."""
        self.blobs.clear()
        with self._lock:
            self._step, self._more = RunningStep(number, total, stage, text), ""
            self._lines.clear()

    def entries(self, number: int) -> None:
        """See `BuildProgress`."""
        self._more = f"  {number} entries"

    def line(self, text: str) -> None:
        """See `BuildProgress`."""
        with self._lock:
            self._lines.append(f" => => {one_line(text)}")

    def warn(self, text: str) -> None:
        """See `BuildProgress`."""
        warn(text)

    def ends(self, *, is_cached: bool) -> None:
        """See `BuildProgress`."""
        self._end("CACHED" if is_cached else "")

    def stops(self, word: str) -> None:
        """Takes the end of a step that has not come to its end, if one runs.

        Args:
            word: what has become of it.
        """
        for line in self._end(word, style="red"):
            self._print(self._cut(line))

    def _end(self, word: str, *, style: str = "") -> list[str]:
        """Ends the running step, and returns the last lines of its commands."""
        with self._lock:
            step, self._step = self._step, None
        if step is None:
            return []
        self._print(self._timed(step.line(word), step.seconds, style=style))
        return list(self._lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._bars.tasks:
            yield self._bars.get_renderable()
        with self._lock:
            step, lines = self._step, list(self._lines)[-_SHOWN:]
        if step is not None:
            yield self._timed(step.line("") + self._more, step.seconds)
            yield from map(self._cut, lines)

    def _print(self, line: Text) -> None:
        self._console.print(line, no_wrap=True)

    def _timed(self, text: str, seconds: float, *, style: str = "") -> Text:
        """Returns a line with a time at the right edge."""
        time = f" {seconds:.1f}s"
        line = self._cut(text, len(time), style=style)
        line.pad_right(self._console.width - _MARGIN - len(time) - line.cell_len)
        return line.append(time)

    def _cut(self, text: str, room: int = 0, *, style: str = "") -> Text:
        """Returns a line that leaves room in the width of the terminal."""
        from rich.text import Text

        line = Text(text, style, no_wrap=True)
        line.truncate(max(1, self._console.width - _MARGIN - room), overflow="ellipsis")
        return line
