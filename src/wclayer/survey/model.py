"""What a survey consists of: sizes by directory and by layer, and what is wasted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wclayer.inventory.item import SubjectLayer
from wclayer.win32.names import path_key


class HiddenReason(StrEnum):
    """Why a file that a layer stores is not visible."""

    REPLACED = "replaced"
    """A later layer has another file in its place."""
    REMOVED = "removed"
    """A later layer removes it, or a directory above it."""


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """What one layer stores and changes in a directory and all that lies below it. The directory itself does not count.

    Attributes:
        layer: the number of the layer; the base layer is 1.
        entries: the entries that the layer stores.
        bytes: the bytes of its files, with their alternate streams. A file with several names counts at its first name.
        hidden_bytes: how many of these bytes belong to files that no name shows in the end.
        added: names that the layers below do not show.
        replaced: files that the layers below show, too.
        removed: names that the layers below show, and this layer does not.
        hides_bytes: the bytes of the layers below whose last name this layer replaces or removes.
        shown: names that are visible in the end, and are from this layer.
        shown_files: how many of them are no directories.
    """

    layer: int
    entries: int
    bytes: int
    hidden_bytes: int
    added: int
    replaced: int
    removed: int
    hides_bytes: int
    shown: int
    shown_files: int

    def to_json(self) -> dict[str, Any]:
        """Returns the usage for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class DirectoryUsage:
    """What a directory, with all that lies below it, takes.

    Attributes:
        path: the path from the layer's root, as it is stored: `Files/Windows`; "" for the root.
        layers: the layers that store or change something below it, base layer first.
    """

    path: str
    layers: tuple[LayerUsage, ...]

    @property
    def bytes(self) -> int:
        """The bytes that all layers store."""
        return sum(usage.bytes for usage in self.layers)

    @property
    def hidden_bytes(self) -> int:
        """How many of them belong to files that no name shows."""
        return sum(usage.hidden_bytes for usage in self.layers)

    @property
    def visible_bytes(self) -> int:
        """The bytes of the other files."""
        return self.bytes - self.hidden_bytes

    @property
    def entries(self) -> int:
        """The number of visible names."""
        return sum(usage.shown for usage in self.layers)

    @property
    def files(self) -> int:
        """The number of visible names that are no directories."""
        return sum(usage.shown_files for usage in self.layers)

    def of_layer(self, number: int) -> LayerUsage:
        """Returns the usage of the layer with that number."""
        return next((usage for usage in self.layers if usage.layer == number), LayerUsage(number, *[0] * 9))

    def to_json(self) -> dict[str, Any]:
        """Returns the usage for JSON."""
        return {
            "path": self.path, "bytes": self.bytes, "hidden_bytes": self.hidden_bytes, "entries": self.entries,
            "files": self.files, "layers": [usage.to_json() for usage in self.layers],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A visible file.

    Attributes:
        path: its path from the layer's root, as it is stored: the first of several names.
        size: its bytes, with its alternate streams.
        layer: the number of the layer that stores it.
    """

    path: str
    size: int
    layer: int

    def to_json(self) -> dict[str, Any]:
        """Returns the file for JSON."""
        return {"path": self.path, "size": self.size, "layer": self.layer}


@dataclass(frozen=True, slots=True)
class HiddenFile:
    """A file that a layer stores, and that is not visible under any name.

    Attributes:
        path: its path from the layer's root, as it is stored: the first of several names.
        size: its bytes, with its alternate streams.
        layer: the number of the layer that stores it.
        hidden_by: the number of the layer that hides its first name.
        reason: how that layer does it.
        is_same: True if the file in its place has the same contents, so that it was stored twice.
    """

    path: str
    size: int
    layer: int
    hidden_by: int
    reason: HiddenReason
    is_same: bool

    def to_json(self) -> dict[str, Any]:
        """Returns the file for JSON."""
        return {
            "path": self.path, "size": self.size, "layer": self.layer, "hidden_by": self.hidden_by,
            "reason": str(self.reason), "is_same": self.is_same,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class DuplicateContents:
    """Contents that several visible files have.

    Attributes:
        sha256: the recorded SHA-256 of the contents, in hexadecimal.
        size: the bytes of one of the files.
        count: the number of the files. A file with several names counts once.
        paths: their paths from the layer's root, the first ones in the order of the tree.
    """

    sha256: str
    size: int
    count: int
    paths: tuple[str, ...]

    @property
    def extra_bytes(self) -> int:
        """The bytes of all files but one."""
        return self.size * (self.count - 1)

    def to_json(self) -> dict[str, Any]:
        """Returns the contents for JSON."""
        return {
            "sha256": self.sha256, "size": self.size, "count": self.count, "extra_bytes": self.extra_bytes,
            "paths": list(self.paths),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Survey:
    """What the layers of a chain take, and what of it is wasted.

    Attributes:
        name: what the user calls the chain.
        layers: its layers, base layer first.
        directories: the directories by their path keys, each before those in it; "" is the root. Those that later
            layers remove are among them.
        left_out: how many directories are missing there because there are too many: the smallest ones.
        largest: the largest visible files, the largest first.
        hidden: the largest files that are stored and not visible, the largest first.
        duplicates: the contents that several visible files have, those that waste most first.
        hidden_files: the number of all files that are stored and not visible.
        duplicate_files: the number of visible files whose contents another file has, without one of each contents.
        duplicate_bytes: the bytes of these files.
    """

    name: str
    layers: tuple[SubjectLayer, ...]
    directories: Mapping[str, DirectoryUsage]
    left_out: int
    largest: tuple[StoredFile, ...]
    hidden: tuple[HiddenFile, ...]
    duplicates: tuple[DuplicateContents, ...]
    hidden_files: int
    duplicate_files: int
    duplicate_bytes: int

    @property
    def total(self) -> DirectoryUsage:
        """What the whole chain takes."""
        return self.directories[""]

    @property
    def hidden_bytes(self) -> int:
        """The bytes of all files that are stored and not visible."""
        return self.total.hidden_bytes

    def of_layer(self, number: int) -> LayerUsage:
        """Returns what the layer with that number takes in the whole chain."""
        return self.total.of_layer(number)

    def usage(self, path: str) -> DirectoryUsage | None:
        """Returns what the directory at a path from the layer's root takes, or None if it is not among `directories`.

        Args:
            path: with slashes, in any case: `files/windows`.
        """
        return self.directories.get(path_key(path))

    def to_json(self) -> dict[str, Any]:
        """Returns the survey for JSON."""
        return {
            "name": self.name,
            "layers": [layer.to_json() for layer in self.layers],
            "total": self.total.to_json(),
            "hidden_files": self.hidden_files, "hidden_bytes": self.hidden_bytes,
            "duplicate_files": self.duplicate_files, "duplicate_bytes": self.duplicate_bytes,
            "directories": [usage.to_json() for usage in self.directories.values()],
            "directories_left_out": self.left_out,
            "largest": [file.to_json() for file in self.largest],
            "hidden": [file.to_json() for file in self.hidden],
            "duplicates": [contents.to_json() for contents in self.duplicates],
        }  # fmt: skip
