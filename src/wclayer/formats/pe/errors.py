"""The errors of PE files."""

from __future__ import annotations

from wclayer.errors import FormatError


class PeError(FormatError):
    """A PE file is damaged, or beyond what is read. `offset` is the file offset, or None."""

    def __init__(self, problem: str, offset: int | None = None) -> None:
        self.problem = problem
        self.offset = offset
        super().__init__(problem if offset is None else f"offset {offset:#x}: {problem}")


class NotPeError(PeError):
    """The file is no PE file at all: it lacks one of the two signatures."""
