"""The progress of a transfer on a terminal: one bar for each blob that is being copied or unpacked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wclayer.images.transfer_progress import TransferCallback, TransferProgress, TransferStep

_WORDS = {TransferStep.COPY: "copying", TransferStep.PRESENT: "present", TransferStep.UNPACK: "unpacking"}


@contextmanager
def transfer_bars(*, quiet: bool) -> Iterator[TransferCallback | None]:
    """Shows the progress on the error stream; yields None if that is not a terminal, or `quiet` is True."""
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
    tasks: dict[tuple[str, bool], rich_progress.TaskID] = {}
    lock = threading.Lock()
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(state: TransferProgress) -> None:
            descriptor = state.descriptor
            key = (descriptor.digest, state.step is TransferStep.UNPACK)
            with lock:
                if key not in tasks:
                    tasks[key] = bars.add_task("", total=descriptor.size, digest=descriptor.digest[7:19])
            bars.update(tasks[key], completed=state.done, description=f"{state.what}: {_WORDS[state.step]}")

        yield report
