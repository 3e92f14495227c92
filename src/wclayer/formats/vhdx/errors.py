"""The error of VHDX files."""

from __future__ import annotations

from wclayer.formats.disk import DiskError


class VhdxError(DiskError):
    """The file is not a sound VHDX file, or an operation is impossible. `offset` is the file offset, or None."""

    def __init__(self, problem: str, offset: int | None = None) -> None:
        self.problem = problem
        self.offset = offset
        super().__init__(problem if offset is None else f"offset {offset:#x}: {problem}")
