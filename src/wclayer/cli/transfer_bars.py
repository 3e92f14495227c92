"""The progress of a transfer on a terminal: one bar for each blob that is being copied or unpacked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wclayer.images.transfer_progress import TransferCallback, TransferProgress, TransferStep
from wclayer.layers.progress import Progress, ProgressCallback

if TYPE_CHECKING:
    from rich import progress as rich_progress

_WORDS = {TransferStep.COPY: "copying", TransferStep.PRESENT: "present", TransferStep.UNPACK: "unpacking"}


@contextmanager
def transfer_bars(*, quiet: bool) -> Iterator[TransferCallback | None]:
    """Shows the progress on the error stream; yields None if that is not a terminal, or `quiet` is True."""
    with _bars(quiet) as bars:
        yield None if bars is None else _Blobs(bars).show


@contextmanager
def making_bars(label: str, *, quiet: bool) -> Iterator[tuple[ProgressCallback | None, TransferCallback | None]]:
    """Shows one bar more than `transfer_bars`: for a layer that is made, and whose size is not known before.

    Args:
        label: what is done.
        quiet: show nothing.

    Returns:
        A context manager of the callbacks for the layer and for the blobs.
    """
    with _bars(quiet) as bars:
        if bars is None:
            yield None, None
            return
        task = bars.add_task(label, total=None, digest="")

        def show(state: Progress) -> None:
            bars.update(task, completed=state.bytes, description=f"{label}: {state.entries} entries")

        yield show, _Blobs(bars).show


@contextmanager
def _bars(quiet: bool) -> Iterator[rich_progress.Progress | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns: list[Any] = [
        rich_progress.TextColumn("{task.fields[digest]} {task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
    ]
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars


class _Blobs:
    """The bars of blobs, each of which begins when it is first told of."""

    def __init__(self, bars: rich_progress.Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, bool], rich_progress.TaskID] = {}
        self._lock = threading.Lock()

    def show(self, state: TransferProgress) -> None:
        descriptor = state.descriptor
        key = (descriptor.digest, state.step is TransferStep.UNPACK)
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task("", total=descriptor.size, digest=descriptor.digest[7:19])
        self._bars.update(self._tasks[key], completed=state.done, description=f"{state.what}: {_WORDS[state.step]}")
