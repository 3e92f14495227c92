"""What a file system is, in memory and in the plainest way: the measure for the merged view."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field

from wclayer.view.layer_view import LayerView
from wclayer.win32.names import name_key


class ModelError(Exception):
    """An operation that a file system refuses; `args[0]` is the errno."""


@dataclass
class File:
    data: bytearray = field(default_factory=bytearray)
    streams: dict[str, bytes] = field(default_factory=dict)
    attributes: int = 0x20


@dataclass
class Directory:
    entries: dict[str, tuple[str, File | Directory]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)


Path = tuple[str, ...]


class Model:
    """Directories and files by name, in any case; a file may have several names."""

    def __init__(self) -> None:
        self.root = Directory()

    def find(self, path: Path) -> File | Directory:
        node: File | Directory = self.root
        for part in path:
            if not isinstance(node, Directory):
                raise ModelError(errno.ENOTDIR)
            if name_key(part) not in node.entries:
                raise ModelError(errno.ENOENT)
            node = node.entries[name_key(part)][1]
        return node

    def parent(self, path: Path) -> Directory:
        node = self.find(path[:-1])
        if not isinstance(node, Directory):
            raise ModelError(errno.ENOTDIR)
        return node

    def find_file(self, path: Path) -> File:
        node = self.find(path)
        if isinstance(node, Directory):
            raise ModelError(errno.EISDIR)
        return node

    def _add(self, path: Path, node: File | Directory) -> None:
        parent = self.parent(path)
        if name_key(path[-1]) in parent.entries:
            raise ModelError(errno.EEXIST)
        parent.entries[name_key(path[-1])] = (path[-1], node)

    def mkdir(self, path: Path) -> None:
        self._add(path, Directory())

    def create(self, path: Path, data: bytes) -> None:
        self._add(path, File(bytearray(data)))

    def write(self, path: Path, offset: int, data: bytes) -> None:
        file = self.find_file(path)
        if len(file.data) < offset:
            file.data.extend(bytes(offset - len(file.data)))
        file.data[offset : offset + len(data)] = data

    def truncate(self, path: Path, size: int) -> None:
        file = self.find_file(path)
        file.data[:] = file.data[:size] + bytes(max(0, size - len(file.data)))

    def link(self, path: Path, target: Path) -> None:
        self._add(path, self.find_file(target))

    def unlink(self, path: Path) -> None:
        self.find_file(path)
        del self.parent(path).entries[name_key(path[-1])]

    def rmdir(self, path: Path) -> None:
        node = self.find(path)
        if not isinstance(node, Directory):
            raise ModelError(errno.ENOTDIR)
        if node.entries:
            raise ModelError(errno.ENOTEMPTY)
        del self.parent(path).entries[name_key(path[-1])]

    def rename(self, source: Path, target: Path) -> None:
        node = self.find(source)
        parent = self.parent(target)
        if tuple(map(name_key, target[: len(source)])) == tuple(map(name_key, source)) and len(target) > len(source):
            raise ModelError(errno.EINVAL)
        there = parent.entries.get(name_key(target[-1]))
        if there is not None and there[1] is not node:
            if isinstance(there[1], Directory) and not isinstance(node, Directory):
                raise ModelError(errno.EISDIR)
            if isinstance(node, Directory) and not isinstance(there[1], Directory):
                raise ModelError(errno.ENOTDIR)
            if isinstance(there[1], Directory) and there[1].entries:
                raise ModelError(errno.ENOTEMPTY)
        same_name = tuple(map(name_key, source)) == tuple(map(name_key, target))
        if there is not None and there[1] is node and not same_name:
            return
        del self.parent(source).entries[name_key(source[-1])]
        parent.entries[name_key(target[-1])] = (target[-1], node)

    def set_stream(self, path: Path, name: str, data: bytes) -> None:
        if name_key(path[-1]) not in self.parent(path).entries:
            self.create(path, b"")
        self.find(path).streams[name_key(name)] = data

    def listing(self) -> dict[str, object]:
        """Every path with what is there: kind, contents, streams, attributes, and which names are one file."""
        found: dict[str, object] = {}
        first: dict[int, str] = {}

        def walk(directory: Directory, at: str) -> None:
            for key in sorted(directory.entries):
                name, node = directory.entries[key]
                path = os.path.join(at, name)
                if isinstance(node, Directory):
                    found[path] = ("directory", tuple(sorted(node.streams.items())))
                    walk(node, path)
                else:
                    file = first.setdefault(id(node), path)
                    found[path] = (
                        bytes(node.data), tuple(sorted(node.streams.items())), node.attributes, file,
                    )  # fmt: skip

        walk(self.root, "")
        return found


def listing_of(view: LayerView) -> dict[str, object]:
    """The same of a view as `Model.listing` gives of a model."""
    found: dict[str, object] = {}
    first: dict[int, str] = {}

    def walk(at: str) -> None:
        for status in view.scan("C:\\" + at):
            path = os.path.join(at, status.path.rpartition("/")[2])
            streams = tuple(
                sorted(
                    (name_key(name), view.read_bytes(f"C:\\{path}:{name}")) for name, _ in view.streams("C:\\" + path)
                )
            )
            if status.is_directory:
                found[path] = ("directory", streams)
                walk(path)
            else:
                data = view.read_bytes("C:\\" + path)
                assert len(data) == status.size
                found[path] = (data, streams, status.info.attributes, first.setdefault(status.file_id, path))

    walk("")
    return found
