"""The files of a subject, wherever they are from: what collectors see of a merged chain or of a volume."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from fnmatch import translate
from re import compile as compile_pattern
from typing import BinaryIO

from wclayer._walk import Walk
from wclayer.inventory.item import Origin, SubjectLayer
from wclayer.inventory.subject.readings import Reader, Reading, check_size
from wclayer.win32.names import name_key

DRIVE = "C:\\"
"""The beginning of the paths of files, as Windows writes them."""


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """A file or a directory of a subject.

    Attributes:
        path: the path below C:, in the stored spelling, with slashes; "" for C: itself.
        size: the size of the contents in bytes.
        is_directory: True for a directory.
        is_link: True for a symbolic link or a junction; nothing is listed below it.
        layer: the layer that brought it.
        handle: what `SubjectFiles` knows it by.
    """

    path: str
    size: int
    is_directory: bool
    is_link: bool
    layer: SubjectLayer
    handle: object

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def windows_path(self) -> str:
        r"""The path as Windows writes it: `C:\Windows\notepad.exe`."""
        return windows_path(self.path)

    @property
    def origin(self) -> Origin:
        """The file as the origin of an item."""
        return Origin(self.windows_path, self.layer)


def windows_path(path: str) -> str:
    r"""Returns a path below C: as Windows writes it: `C:\Windows\notepad.exe`."""
    return DRIVE + path.replace("/", "\\")


class SubjectFiles(ABC):
    """The files of a subject. Names are compared as Windows does. Links are not followed."""

    @abstractmethod
    def root(self) -> SubjectFile | None:
        """Returns the directory C:, or None if there is none."""

    @abstractmethod
    def child(self, directory: SubjectFile, name: str) -> SubjectFile | None:
        """Returns what a directory has under a name, or None."""

    @abstractmethod
    def children(self, directory: SubjectFile) -> Iterator[SubjectFile]:
        """Yields what is in a directory, in Windows' order; nothing for a file or a link."""

    @abstractmethod
    def open(self, file: SubjectFile) -> BinaryIO:
        """Opens the contents of a file for reading at any offset, buffered. The caller closes it."""

    @abstractmethod
    def identity(self, file: SubjectFile) -> Hashable:
        """Returns what all names of one file have in common, and no other file has."""

    @abstractmethod
    def sha256(self, file: SubjectFile) -> str:
        """Returns the SHA-256 of the contents of a file in hexadecimal: the recorded one, or that of what is read.

        Raises:
            LimitExceededError: the files that were hashed are larger in total than the limits allow.
        """

    @abstractmethod
    def security(self, file: SubjectFile) -> bytes | None:
        """Returns the self-relative security descriptor of a file or a directory; None if none is stored.

        Raises:
            FormatError, CorruptLayerError: it cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes what the files are read from."""

    def find(self, path: str) -> SubjectFile | None:
        """Returns the file or directory at a path below C: (with slashes), or None."""
        found = self.root()
        for name in path.split("/") if path else ():
            if found is None:
                return None
            found = self.child(found, name)
        return found

    def matching(self, pattern: str) -> Iterator[SubjectFile]:
        """Yields the files and directories whose path below C: has a form, component by component.

        Args:
            pattern: components with slashes between them, such as `Users/*/NTUSER.DAT`; `*` and `?` as in a shell.
        """
        root = self.root()
        if root is not None:
            yield from self._matching(root, pattern.split("/"))

    def _matching(self, directory: SubjectFile, components: list[str]) -> Iterator[SubjectFile]:
        first, *others = components
        if "*" not in first and "?" not in first:
            named = self.child(directory, first)
            found = iter(() if named is None else (named,))
        else:
            accepts = compile_pattern(translate(name_key(first))).match
            found = (child for child in self.children(directory) if accepts(name_key(child.name)))
        for child in found:
            if others:
                yield from self._matching(child, others)
            else:
                yield child

    def walk(self, directory: SubjectFile | None = None) -> Iterator[SubjectFile]:
        """Yields everything below a directory, by default below C:, parents before children."""
        top = directory or self.root()
        if top is None:
            return
        walk = Walk(self.children(top), None)
        for _, child in walk:
            yield child
            if child.is_directory and not child.is_link:
                walk.enter(self.children(child), None)

    def read(self, file: SubjectFile, limit: int) -> bytes:
        """Returns the contents of a file.

        Args:
            file: the file.
            limit: the size in bytes up to which it is read.

        Raises:
            FormatLimitError: it is larger.
        """
        check_size(file.size, limit)
        with self.open(file) as opened:
            return opened.read(limit)

    def reading(self, file: SubjectFile, reader: Reader[Reading]) -> Reading:
        """Returns what a reader finds in the contents of a file.

        Raises:
            FormatError: the file is damaged, or has no contents.
        """
        with self.open(file) as opened:
            return reader.read(opened, file.size)
