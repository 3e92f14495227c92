"""`Progress`: how far a function has come, as it tells its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wclayer.errors import OperationCancelledError


@dataclass(slots=True)
class Progress:
    """How far a function has come.

    Attributes:
        entries: the entries, or files, that are done.
        bytes: the bytes that are done: of data streams, or of a disk.
        name: the entry that the function is at.
        total_entries, total_bytes: the number of all of them; None if the function does not know it.
    """

    entries: int = 0
    bytes: int = 0
    name: str = ""
    total_entries: int | None = None
    total_bytes: int | None = None


class ProgressCallback(Protocol):
    """A function calls it from time to time, and at its end, with the same `Progress` each time."""

    def __call__(self, progress: Progress, /) -> None: ...


Cancelled = Callable[[], bool]
"""A function calls it as often as the `ProgressCallback`, and stops when it returns True."""


def report(state: Progress, progress: ProgressCallback | None, cancelled: Cancelled | None = None) -> None:
    """Tells the caller of a function how far it has come, and asks whether it shall stop.

    Raises:
        OperationCancelledError: it shall.
    """
    if progress is not None:
        progress(state)
    if cancelled is not None and cancelled():
        raise OperationCancelledError(state.name, "cancelled")
