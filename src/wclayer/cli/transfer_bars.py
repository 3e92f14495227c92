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
    from rich.console import Console

_WORDS = {TransferStep.COPY: "copying", TransferStep.PRESENT: "present", TransferStep.UNPACK: "unpacking"}


@contextmanager
def transfer_bars(*, quiet: bool) -> Iterator[TransferCallback | None]:
    """Shows the progress on the error stream; yields None if that is not a terminal, or `quiet` is True."""
    with _bars(quiet) as bars:
        yield None if bars is None else Blobs(bars).show


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

        yield show, Blobs(bars).show


@contextmanager
def _bars(quiet: bool) -> Iterator[rich_progress.Progress | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with new_bars(Console(stderr=True)) as bars:
        yield bars


def new_bars(console: Console) -> rich_progress.Progress:
    """Returns bars for a terminal, which are shown inside their context, or by whoever shows what they render."""
    from rich import progress as rich_progress

    columns: list[Any] = [
        rich_progress.TextColumn("{task.fields[digest]} {task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
    ]
    return rich_progress.Progress(*columns, console=console, transient=True)


class Blobs:
    """The bars of blobs, each of which begins when it is first told of."""

    def __init__(self, bars: rich_progress.Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, bool], rich_progress.TaskID] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Removes the bars of what has been transferred."""
        with self._lock:
            for task in self._tasks.values():
                self._bars.remove_task(task)
            self._tasks.clear()

    def show(self, state: TransferProgress) -> None:
        """Shows the state of a blob (see `TransferCallback`)."""
        descriptor = state.descriptor
        key = (descriptor.digest, state.step is TransferStep.UNPACK)
        with self._lock:
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task("", total=descriptor.size, digest=descriptor.digest[7:19])
        self._bars.update(self._tasks[key], completed=state.done, description=f"{state.what}: {_WORDS[state.step]}")
