"""The progress of a scan on the error stream: bars on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wclayer.cli.output import size_text, warn
from wclayer.win32.shown import count_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from wclayer.fleet.scan.progress import ScanCallback, ScanProgress

_EVERY = 15.0
"""The seconds between two lines."""


@contextmanager
def scan_progress(*, quiet: bool) -> Iterator[ScanCallback | None]:
    """Shows how far a scan is; yields None if `quiet` is True."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield _Lines().show
    else:
        from rich import progress as rich_progress
        from rich.console import Console

        columns: list[Any] = [
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TextColumn("{task.fields[note]}", markup=False),
        ]
        with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield _Bars(bars).show


class _Bars:
    """A bar each for references, layers and images."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, state: ScanProgress) -> None:
        if not self._tasks and state.dashboard:
            self._bars.console.print(f"dashboard: {state.dashboard}", highlight=False, markup=False)
        self._update("references", state.resolved, state.listed, f"{state.resolved} of {state.listed}")
        note = f"{state.layers_done} of {state.layers}, {_bytes(state)}"
        # Layers differ in size by three orders of magnitude: their bytes tell better how far it is.
        self._update("layers", state.bytes_done, state.bytes, note)
        self._update("images", state.images_done, state.images, f"{state.images_done} of {state.images}")
        if state.errors:
            self._update("errors", 0, 0, str(state.errors))

    def _update(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, note="")
        self._bars.update(self._tasks[name], completed=done, total=total or None, note=note if total else "")


class _Lines:
    """A line for the dashboard, one when a part is done, and one now and then."""

    def __init__(self) -> None:
        self._told = 0.0
        self._part = ""

    def show(self, state: ScanProgress) -> None:
        if not self._told and state.dashboard:
            warn(f"dashboard: {state.dashboard}")
        part, text = _part(state)
        now = time.monotonic()
        if part != self._part or now - self._told > _EVERY:
            self._part, self._told = part, now
            warn(text)


def _part(state: ScanProgress) -> tuple[str, str]:
    """Returns which part of the scan goes on, and how far it is."""
    errors = f", {count_text(state.errors, 'error')}" if state.errors else ""
    if state.resolved < state.listed:
        return "references", f"{state.resolved} of {count_text(state.listed, 'reference')} resolved{errors}"
    if not (state.layers or state.images):
        return "resolved", f"{count_text(state.listed, 'reference')} resolved{errors}"
    images = f"{state.images_done} of {count_text(state.images, 'image')}"
    layers = f"{state.layers_done} of {count_text(state.layers, 'layer')} read ({_bytes(state)})"
    return ("layers" if state.layers_done < state.layers else "images"), f"{layers}, {images} merged{errors}"


def _bytes(state: ScanProgress) -> str:
    return f"{size_text(state.bytes_done)} of {size_text(state.bytes)}"
