"""What a file or directory has besides its name and its data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class FileMetadata:
    """The metadata of a file or directory: everything besides its name and its data. Times are FILETIMEs."""

    creation_time: int
    last_write_time: int
    change_time: int
    last_access_time: int
    attributes: int
    security: bytes
    eas: bytes = b""
    reparse: bytes | None = None
    object_id: bytes | None = None

    @property
    def is_plain(self) -> bool:
        """True if there are no EAs, no reparse point and no object id."""
        return not self.eas and self.reparse is None and self.object_id is None
