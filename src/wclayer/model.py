"""The spine: entries, data streams, and the protocols of the readers and writers that pass them on.

A layer is a sequence of entries. A `LayerReader` produces it, a `LayerWriter` takes it, and `copy_layer` joins the two.
`BackupReader` and `BackupWriter` are the same for callers who know hcsshim: they use Win32 backup streams, which
`layers/backup_api.py` translates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Protocol, Self

from wclayer.win32.attributes import DIRECTORY, SPARSE_FILE, FileBasicInfo
from wclayer.win32.names import encode_name, path_key

__all__ = [
    "BackupReader",
    "BackupWriter",
    "DataStream",
    "Entry",
    "ExtraStream",
    "LayerItem",
    "LayerReader",
    "LayerWriter",
    "Limits",
    "LinkInfo",
    "limits_in_use",
    "use_limits",
]


def _limit(default: int, meaning: str) -> int:
    """Returns a field of `Limits` with its default and the meaning of a value N, for `--help` and the documents."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an input is accepted. Every limit is stated here and nowhere else.

    The limits hold for every kind of source: a tar, a transport folder, a plain folder, a disk, a hive, a layer
    directory that another machine made. The defaults accept what Windows makes, with room to spare, and keep the
    memory of the process below 256 MiB. Each limit is an argument here and an option of the verbs that read
    (`--max-FIELD N`). The error that refuses an input names the limit (`limit_hint`).
    """

    entries: int = _limit(5_000_000, "Refuse more than N entries in one layer")
    total_size: int = _limit(4 << 40, "Refuse more than N bytes in total: of a decompressed tar, of a folder's files")
    ratio: int = _limit(1000, "Refuse more than N bytes of output for each stored byte, after the unrated bytes")
    unrated_size: int = _limit(64 << 20, "Do not apply the ratio to the first N bytes of output")
    pax_size: int = _limit(1 << 20, "Refuse more than N bytes of PAX records, or of a GNU long name, of one member")
    global_pax_size: int = _limit(1 << 20, "Refuse more than N bytes of global PAX records of one tar")
    trailer_size: int = _limit(1 << 20, "Refuse more than N bytes, or 16 N zeros, after the end of a tar")
    path_length: int = _limit(32_767, "Refuse a path of more than N UTF-16 units")
    path_depth: int = _limit(16_384, "Refuse a path of more than N names")
    names_size: int = _limit(64 << 20, "Refuse a folder whose names take more than N bytes of memory at one time")
    streams: int = _limit(8_192, "Refuse more than N alternate streams of one file")
    security_size: int = _limit(132 << 10, "Refuse a security descriptor of more than N bytes")
    all_security_size: int = _limit(64 << 20, "Refuse more than N bytes of distinct security descriptors in a layer")
    metadata_size: int = _limit(
        1 << 20, "Refuse more than N bytes of EAs, reparse data or similar metadata of one entry"
    )
    hive_size: int = _limit(192 << 20, "Refuse to assemble a registry hive of more than N bytes in memory")
    reg_file_size: int = _limit(64 << 20, "Refuse a .reg file of more than N bytes")
    key_paths: int = _limit(1 << 28, "Refuse registry keys whose paths have more than N characters in total")
    chain_length: int = _limit(256, "Refuse more than N parents of a layer")
    json_size: int = _limit(1 << 20, "Refuse a JSON file of a layer directory of more than N bytes")
    manifest_size: int = _limit(
        4 << 20, "Refuse a manifest, an index or a configuration of an image of more than N bytes"
    )
    archive_members: int = _limit(100_000, "Refuse an archive of images with more than N members")
    advisory_size: int = _limit(16 << 20, "Refuse a document of advisories with more than N bytes")
    record_size: int = _limit(16 << 20, "Refuse a value of more than N bytes in `layer.db`")
    facts_size: int = _limit(4 << 30, "Refuse a layer whose facts have more than N bytes")

    def __post_init__(self) -> None:
        for limit in fields(self):
            if getattr(self, limit.name) < 0:
                raise ValueError(f"limit {limit.name} is {getattr(self, limit.name)}: a limit is not negative")


_limits_in_use = Limits()


def use_limits(limits: Limits) -> None:
    """Sets the limits of this process. They hold for every call that has no `limits` argument of its own.

    Args:
        limits: the limits for every source that is opened from now on.
    """
    global _limits_in_use
    _limits_in_use = limits


def limits_in_use() -> Limits:
    """Returns the limits that `use_limits` set last, or the defaults."""
    return _limits_in_use


@dataclass(frozen=True, slots=True)
class ExtraStream:
    """A backup stream that is neither data nor one of the parsed kinds: link, property, object id or TxF data."""

    id: int
    attributes: int
    name: str
    data: bytes


@dataclass(slots=True)
class Entry:
    """One entry of a layer: a file, a directory, a further name of a file (hard link), or a tombstone."""

    name: str
    """The path from the layer's root, `/`-separated, in the spelling of the source ("Files/Windows/INF")."""
    info: FileBasicInfo | None
    """The attributes and times; None for a tombstone, which says that the name is deleted from the parents."""
    size: int = 0
    """The length of the main data stream."""
    security: bytes | None = None
    """The self-relative security descriptor."""
    eas: bytes = b""
    """The extended attributes, as a FILE_FULL_EA_INFORMATION list."""
    reparse: bytes | None = None
    """The reparse point, as a REPARSE_DATA_BUFFER."""
    link_target: str | None = None
    """For a hard link: the path of the file of which this entry is a further name, as in `name`."""
    extra: tuple[ExtraStream, ...] = ()
    """Backup streams of the other kinds."""
    header_delta: bytes | None = None
    """The difference between the source's header and the canonical header of this entry (see docs/formats/tar.md)."""
    place: str = ""
    """The entry's position in its source, for messages ("offset 1024")."""

    @property
    def is_tombstone(self) -> bool:
        """True if the entry says that its name is deleted from the parents."""
        return self.info is None

    @property
    def is_directory(self) -> bool:
        """True for a directory, with or without a reparse point."""
        return self.info is not None and self.info.is_directory

    @property
    def is_plain(self) -> bool:
        """True for a file that has nothing besides a name, basic info, a security descriptor and data.

        Such a file may still have alternate data streams: the entry does not record them.
        """
        return (
            self.info is not None
            and not self.info.attributes & (DIRECTORY | SPARSE_FILE)
            and self.link_target is None
            and self.reparse is None
            and not self.eas
            and not self.extra
            and self.header_delta is None
        )

    @property
    def has_data(self) -> bool:
        """True if the entry has a main data stream, possibly an empty one."""
        return (
            self.info is not None
            and self.link_target is None
            and not self.info.is_directory
            and (self.reparse is None or self.size > 0)
        )


@dataclass(slots=True)
class DataStream:
    """A data stream of an entry. It must be consumed before the next one is requested from the reader."""

    name: str
    """The name of an alternate stream; "" for the main stream."""
    size: int
    """The total length of the chunks."""
    chunks: Iterable[bytes | memoryview]
    """The bytes, in order, which can be read once. A chunk is valid until the next one is requested."""
    attributes: int = 0
    """Win32 stream attributes (8: sparse)."""
    header_delta: bytes | None = None
    """Like `Entry.header_delta`, for the header that an alternate stream has of its own."""

    def read_all(self) -> bytes:
        """Returns all of the data as one object."""
        # Each chunk is copied before the next one makes it invalid; `bytes` of a `bytes` object is no copy.
        return b"".join(map(bytes, self.chunks))


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """The names of a file in its layer."""

    number_of_links: int
    """The number of names of the file."""
    file_id: bytes
    """The 128-bit id of the file."""


class LayerItem:
    """An entry that a reader has reached, with its data. The data can be read until the reader moves on.

    Args:
        entry: the entry.
        streams: its data streams: the main one first, then the alternate ones.
    """

    __slots__ = ("_streams", "entry")

    def __init__(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        self.entry = entry
        self._streams: Iterator[DataStream] | None = iter(streams)

    def streams(self) -> Iterator[DataStream]:
        """Returns the data streams: the main one first, then the alternate ones. All calls return the same iterator."""
        assert self._streams is not None
        return self._streams

    def link_info(self) -> LinkInfo:
        """Returns the number of the file's names, and its id.

        A reader of a stream knows only the names that came before: a link counts as the second of two names.
        """
        entry = self.entry
        # All names of one file have the same id.
        first_name = path_key(entry.link_target or entry.name)
        file_id = hashlib.sha256(encode_name(first_name)).digest()[:16]
        return LinkInfo(1 if entry.link_target is None else 2, file_id)


class LayerReader(Protocol):
    """An iterator of a layer's entries in order: parents before children, a hard link's target before the link.

    Unread data of an item is skipped when the reader moves on.
    """

    def __iter__(self) -> Iterator[LayerItem]: ...

    def __next__(self) -> LayerItem: ...

    def close(self) -> None:
        """Releases the source. Further calls do nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


class LayerWriter(Protocol):
    """Takes a layer's entries in order.

    Leaving the context closes the writer; an exception discards the layer.
    """

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        """Adds an entry with its data."""

    def close(self) -> None:
        """Completes the layer, which exists only from now on. Further calls do nothing."""

    def abort(self) -> None:
        """Discards the layer: nothing of it stays behind."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


class BackupReader(LayerReader, Protocol):
    """A reader in the language of hcsshim: a cursor over entries, whose contents are Win32 backup streams."""

    def next(self) -> Entry | None:
        """Moves to the next entry. Unread data of the current entry is skipped.

        Returns:
            The entry, or None at the end.
        """

    def streams(self) -> Iterator[DataStream]:
        """Returns the data streams of the current entry: the main one first, then the alternate ones."""

    def read(self, size: int = -1, /) -> bytes:
        """Reads from the current entry's Win32 backup stream.

        Returns:
            Up to `size` bytes (-1: all remaining bytes); an empty object at the stream's end.
        """

    def link_info(self) -> LinkInfo:
        """Returns the number of names of the current entry's file, and its id."""


class BackupWriter(LayerWriter, Protocol):
    """A writer in the language of hcsshim: an entry is started, and its Win32 backup stream follows."""

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry. `write` takes its Win32 backup stream."""

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`, of this layer or of a parent."""

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Accepts more of the current entry's Win32 backup stream.

        Returns:
            The number of bytes accepted: all of them.
        """
