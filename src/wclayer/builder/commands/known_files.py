"""`KnownFiles`: what commands may ask of files before anything is built."""

from __future__ import annotations

from enum import Enum
from typing import Protocol


class FileKind(Enum):
    """What is at a path."""

    ABSENT = "nothing"
    FILE = "a file"
    DIRECTORY = "a directory"


class KnownFiles(Protocol):
    """The files that a command will find, as far as they are known before anything is built."""

    def kind(self, path: str) -> FileKind | None:
        r"""Returns what will be at a path `C:\…` of Windows; None if only the run decides it."""
        ...

    def read(self, path: str, most: int) -> bytes | None:
        """Returns the contents that a file will have; None if only the run decides them, or if they are larger.

        Args:
            path: the path.
            most: the most bytes to read.
        """
        ...
