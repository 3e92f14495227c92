"""The files as a tree of marked items."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import BinaryIO

from wclayer.explore.model.details import Fact
from wclayer.explore.model.tree import MarkedItem, MarkedTree
from wclayer.view.layer_view import FileStatus
from wclayer.win32.names import path_key

DRIVE = "C:"
"""What stands for the directory `Files`, which is the volume of a container."""
_ROOT = "FILES"


class FileItem(MarkedItem):
    """A file or a directory."""

    __slots__ = ()

    @property
    def title(self) -> str:
        """The name as it is shown: `C:` for the directory `Files`."""
        return DRIVE if self.key == _ROOT else self.name

    @property
    def shown_path(self) -> str:
        return windows_path(self.path)

    @property
    def damage(self) -> str:
        """What is wrong with an item of which no more than its name can be read; "" for any other."""
        return ""


def windows_path(path: str) -> str:
    r"""Returns a path inside a layer as Windows writes it: `C:\Windows` for `Files/Windows`, else `Hives\…`."""
    first, _, rest = path.partition("/")
    text = rest.replace("/", "\\")
    if path_key(first) == _ROOT:
        return f"{DRIVE}\\{text}"
    return f"{first}\\{text}" if text else first


class FileTree(MarkedTree[FileItem]):
    """A tree of files."""

    @abstractmethod
    def open(self, item: FileItem) -> BinaryIO:
        """Opens the contents of a file, to read at any offset. The caller closes it.

        Raises:
            FormatError: it has no contents.
            LayerError: the layer or the disk is damaged, or the host refuses to read it.
        """

    def before(self, item: FileItem) -> FileItem | None:
        """Returns a file as it was before, to be opened with this tree; None for one that was added or that nothing was
        compared with."""
        return None

    def rights(self, item: FileItem) -> Iterator[Fact]:
        """Yields in words who may do what with an item: what is shown below its contents."""
        return iter(())

    @abstractmethod
    def streams(self, item: FileItem) -> list[tuple[str, int]]:
        """Returns the names and sizes of the alternate streams of an item."""

    @abstractmethod
    def status(self, item: FileItem) -> FileStatus:
        """Returns the metadata of an item.

        Raises:
            FormatError: they cannot be read.
        """

    @abstractmethod
    def has_data(self, item: FileItem) -> bool:
        """Returns whether an item has contents, which `open` opens."""

    @abstractmethod
    def stored_size(self, item: FileItem) -> int:
        """Returns the bytes that the contents of an item take where they are stored, without holes."""

    @abstractmethod
    def read_stream(self, item: FileItem, stream: str, most: int) -> bytes:
        """Returns the beginning of an alternate stream, at most `most` bytes."""
