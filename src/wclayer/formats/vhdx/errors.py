"""What is wrong with a VHDX file."""

from __future__ import annotations

from wclayer.formats.disk import DiskError


class VhdxError(DiskError):
    """The file is not a sound VHDX file, or cannot do what was asked; `offset` is the place in the file, or None."""

    def __init__(self, problem: str, offset: int | None = None) -> None:
        self.problem = problem
        self.offset = offset
        super().__init__(problem if offset is None else f"offset {offset:#x}: {problem}")
