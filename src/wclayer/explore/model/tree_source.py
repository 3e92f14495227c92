"""A tree of files as what files are copied from: paths are found in it, and links are followed inside of it."""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from wclayer._types import StrPath
from wclayer.errors import (
    EntryNotDirectoryError,
    FormatError,
    NotSupportedError,
    PathNotFoundError,
    UnresolvedLinkError,
    errors_inside,
)
from wclayer.explore.model.files import FileItem, FileTree
from wclayer.layers.names import ROOTS
from wclayer.view.layer_view import FileStatus
from wclayer.view.resolve import MAX_LINKS, link_path
from wclayer.view.spelling import split_stream
from wclayer.win32.names import name_key, path_key, split_path

_VOLUMES = tuple(path_key(root) for root in ROOTS if root.endswith("Files"))
"""The path keys of the directories that are the root of a volume, to which absolute links lead."""
_KEPT = 64
"""Directories whose items are kept."""


class TreeSource:
    """A tree as a `CopySource`.

    Args:
        name: what the tree is called in messages.
        places: the files of the host that it is read from.
        tree: the tree.
        left_out: called with the path of each item that cannot be read, and the reason.
    """

    def __init__(
        self, name: str, places: Sequence[StrPath], tree: FileTree, left_out: Callable[[str, str], None]
    ) -> None:
        self.name = name
        self.places = places
        self._tree = tree
        self._left_out = left_out
        self._known: OrderedDict[str, _Names] = OrderedDict()

    def stat(self, path: str) -> FileStatus:
        """See `CopySource`.

        Raises:
            PathNotFoundError: the entry, or a directory on the way, does not exist.
            EntryNotDirectoryError: a component on the way is a file.
            UnresolvedLinkError: links lead in a circle, or out of the tree.
        """
        with errors_inside(self.name, path.strip("/")):
            return self._tree.status(self._find(path, follow=True))

    def scan(self, path: str) -> Sequence[FileStatus]:
        """See `CopySource`. What cannot be read is left out."""
        found = []
        with errors_inside(self.name, path.strip("/")):
            directory = self._find(path, follow=True)
            try:
                inside = self._inside(directory)
            except FormatError as error:
                self._left_out(directory.path, f"its names cannot be read: {error}")
                return ()
            for item in inside.items:
                try:
                    found.append(self._status_of_copied(item))
                except FormatError as error:
                    self._left_out(item.path, str(error))
        return found

    def _status_of_copied(self, item: FileItem) -> FileStatus:
        """Returns the status of an item that can be copied.

        Raises:
            FormatError: it cannot be.
        """
        if item.damage:
            raise FormatError(item.damage)
        status = self._tree.status(item)
        if not (status.is_directory or status.reparse is not None or self._tree.has_data(item)):
            raise FormatError("it has no contents here, such as a hard link to a file of a layer below")
        return status

    def streams(self, path: str) -> Sequence[tuple[str, int]]:
        """See `CopySource`."""
        with errors_inside(self.name, path.strip("/")):
            return self._tree.streams(self._find(path, follow=False))

    def has_data(self, path: str) -> bool:
        """See `CopySource`."""
        return self._tree.has_data(self._find(path, follow=False))

    def open(self, path: str) -> TreeFile:
        """See `CopySource`.

        Raises:
            NotSupportedError: it is an alternate stream.
        """
        with errors_inside(self.name, path.strip("/")):
            if split_stream(path)[1]:
                raise NotSupportedError(path, "is an alternate stream, and only files are copied from here")
            item = self._find(path, follow=True)
            return TreeFile(self._tree.open(item), self._tree.stored_size(item), self.name, item.path)

    def _find(self, path: str, *, follow: bool) -> FileItem:
        """Returns the item at a path.

        Args:
            path: the path, with slashes.
            follow: whether a link at its end is followed, too.
        """
        above: list[FileItem] = []
        parts = deque(split_path(path))
        links = 0
        while parts:
            name = parts.popleft()
            if name == ".":
                continue
            if name == "..":
                if above and above[-1].key not in _VOLUMES:
                    above.pop()
                continue
            if above and not above[-1].is_directory:
                raise EntryNotDirectoryError(path, f"{above[-1].path} is not a directory")
            item = self._inside(above[-1] if above else None).find(name)
            if item is None:
                raise PathNotFoundError(path, f"{above[-1].path if above else self.name} has no {name!r}")
            if item.is_link and (follow or parts):
                links += 1
                if links > MAX_LINKS:
                    raise UnresolvedLinkError(path, f"more than {MAX_LINKS} links on the way")
                target = link_path(self._tree.status(item).reparse or b"")
                if target is None or not target.parts:
                    raise UnresolvedLinkError(path, f"the link {item.path} leads out of what is read")
                if not target.is_relative:
                    volume = next((root for root in _VOLUMES if item.key.startswith(f"{root}/")), _VOLUMES[0])
                    above = [each for each in above if f"{volume}/".startswith(f"{each.key}/")]
                parts.extendleft(reversed(target.parts))
                continue
            above.append(item)
        if not above:
            raise PathNotFoundError(path, "is above all files")
        return above[-1]

    def _inside(self, directory: FileItem | None) -> _Names:
        """Returns the items in a directory; of None, those at the top."""
        path = "" if directory is None else directory.path
        known = self._known.pop(path, None)
        if known is None:
            known = _Names(self._tree.roots() if directory is None else self._tree.children(directory))
            while len(self._known) >= _KEPT:
                self._known.popitem(last=False)
        # The last one is the one that was used last.
        self._known[path] = known
        return known


class _Names:
    """The items of a directory, which are found by their names.

    Args:
        items: the items. Names may differ in case only: NTFS has a flag for that, and POSIX's names of Windows.
    """

    def __init__(self, items: Sequence[FileItem]) -> None:
        self.items = items
        self._exact = {item.name: item for item in items}
        # The first one of several is found by other spellings.
        self._by_key = {name_key(item.name): item for item in reversed(items)}

    def find(self, name: str) -> FileItem | None:
        """Returns the item of exactly this name, or else one of the same name in another case; None without one."""
        return self._exact.get(name) or self._by_key.get(name_key(name))


class TreeFile:
    """The contents of a file of a tree, open for reading: a `CopiedFile`.

    Args:
        stream: the contents; they are closed with this object.
        stored_size: the bytes that they take where they are stored.
        name, path: what the tree is called, and where in it the file is, for messages.
    """

    def __init__(self, stream: BinaryIO, stored_size: int, name: str, path: str) -> None:
        self._stream = stream
        self._stored_size = stored_size
        self._name = name
        self._path = path

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Goes to a place in the contents, and returns it."""
        return self._stream.seek(offset, whence)

    def stored_size(self) -> int:
        """Returns the bytes that the contents take where they are stored."""
        return self._stored_size

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yields the contents in pieces of `size` bytes.

        Raises:
            LayerError: they are damaged, or the host refuses to read them.
        """
        with errors_inside(self._name, self._path):
            self._stream.seek(0)
            while piece := self._stream.read(size):
                yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stream.close()
