"""What travels between readers and writers: entries, data streams, and the two protocols of the spine.

A layer is a sequence of entries. A `LayerReader` produces it, a `LayerWriter` takes it, and `copy_layer` joins the two.
Both have two interfaces: the parsed form (`Entry` and `DataStream`), which the package itself uses, and Win32 backup
streams (`read`, `write`), for callers who know hcsshim's readers and writers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Protocol, Self

from wclayer.win32.attributes import DIRECTORY, SPARSE_FILE, FileBasicInfo

__all__ = [
    "DataStream",
    "Entry",
    "ExtraStream",
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
    record_size: int = _limit(16 << 20, "Refuse a value of more than N bytes in `layer.db`")

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
    """What the source's header says beyond the canonical header of this entry (see docs/formats/tar.md)."""
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
    """A data stream of an entry. It must be consumed before the reader is asked for the next one."""

    name: str
    """The name of an alternate stream; "" for the main stream."""
    size: int
    """The total length of the chunks."""
    chunks: Iterable[bytes | memoryview]
    """The bytes, in order, once. A chunk is valid until the next one is asked for."""
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
    """How many names the file has."""
    file_id: bytes
    """The 128-bit id of the file."""


class LayerReader(Protocol):
    """Produces a layer's entries in order: parents before children, a hard link's target before the link."""

    def next(self) -> Entry | None:
        """Moves to the next entry, and skips the rest of the current one.

        Returns:
            The entry; None at the end of the layer.
        """

    def streams(self) -> Iterator[DataStream]:
        """Yields the data streams of the current entry: the main one first, then the alternate ones."""

    def read(self, size: int = -1, /) -> bytes:
        """Returns up to `size` bytes of the current entry's Win32 backup stream (-1: the rest); b"" at its end."""

    def link_info(self) -> LinkInfo:
        """Returns how many names the current entry's file has, and its id."""

    def close(self) -> None:
        """Releases the resources of the reader. Further calls do nothing."""

    def __iter__(self) -> Iterator[Entry]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


class LayerWriter(Protocol):
    """Takes a layer's entries in order.

    At the end of its `with` block the writer is closed; if an exception ends the block, the layer is discarded.
    """

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry. `write` takes its Win32 backup stream."""

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`, of this layer or of a parent."""

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Takes more of the current entry's Win32 backup stream. Returns the number of bytes: always all of them."""

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        """Adds an entry in its parsed form, with its data."""

    def close(self) -> None:
        """Completes the layer, which appears only now. Further calls do nothing."""

    def abort(self) -> None:
        """Discards the layer. Nothing of it remains."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...
