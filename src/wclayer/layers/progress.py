"""`Progress`: the progress of a function, which it reports to its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wclayer.errors import OperationCancelledError


@dataclass(slots=True)
class Progress:
    """The progress of a function.

    Attributes:
        entries: the number of entries, or files, that are done.
        bytes: the number of bytes that are done: of data streams, or of a disk.
        name: the name of the current entry.
        total_entries, total_bytes: the total numbers; None if the function does not know them.
    """

    entries: int = 0
    bytes: int = 0
    name: str = ""
    total_entries: int | None = None
    total_bytes: int | None = None


class ProgressCallback(Protocol):
    """A callback that a function calls from time to time, and at its end, with the same `Progress` each time."""

    def __call__(self, progress: Progress, /) -> None: ...


Cancelled = Callable[[], bool]
"""A callback that a function calls as often as the `ProgressCallback`. The function stops when it returns True."""


def report(state: Progress, progress: ProgressCallback | None, cancelled: Cancelled | None = None) -> None:
    """Reports the progress of a function to its caller, and checks whether the caller cancels it.

    Raises:
        OperationCancelledError: the caller has cancelled the function.
    """
    if progress is not None:
        progress(state)
    if cancelled is not None and cancelled():
        raise OperationCancelledError(state.name, "cancelled")


def count_entries(progress: ProgressCallback | None, cancelled: Cancelled | None = None) -> Callable[[str, int], None]:
    """Returns a function that is called with the name of each entry and its bytes, and reports the progress."""
    state = Progress()

    def tell(name: str, size: int) -> None:
        state.entries += 1
        state.bytes += size
        state.name = name
        report(state, progress, cancelled)

    return tell
