"""What travels between readers and writers: entries, data streams, and the two protocols of the spine.

A layer is a sequence of entries. A `LayerReader` produces it, a `LayerWriter` takes it, and `copy_layer` joins the two.
Both speak two languages: the parsed form (`Entry` and `DataStream`), which is what travels inside, and Win32 backup
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
    """A field of `Limits`: its default, and what a value of N does, for `--help` and the documents."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an input is accepted: the one place that states every limit.

    Every source obeys those that concern it: a tar, a transport folder, a plain folder, a disk, a hive, a layer
    directory from elsewhere. The defaults let through what Windows makes, with room to spare, and keep the memory of
    the process below 256 MiB. Each is an argument here and an option of every verb (`--max-FIELD N`); the error that
    refuses something names its limit (`limit_hint`).
    """

    entries: int = _limit(5_000_000, "Refuse more than N entries in one layer")
    total_size: int = _limit(4 << 40, "Refuse more than N bytes in all: of a decompressed tar, of a folder's files")
    ratio: int = _limit(1000, "Refuse more than N bytes that come out for each stored one, after the unrated ones")
    unrated_size: int = _limit(64 << 20, "Let N bytes come out before the ratio counts")
    pax_size: int = _limit(1 << 20, "Refuse more than N bytes of PAX records, or of a GNU long name, of one member")
    global_pax_size: int = _limit(1 << 20, "Refuse more than N bytes of global PAX records of one tar")
    trailer_size: int = _limit(1 << 20, "Refuse more than N bytes, or 16 N zeros, behind the end of a tar")
    path_length: int = _limit(32_767, "Refuse a path of more than N UTF-16 units")
    path_depth: int = _limit(16_384, "Refuse a path of more than N names")
    names_size: int = _limit(64 << 20, "Refuse a folder whose names take more than N bytes of memory at one time")
    streams: int = _limit(8_192, "Refuse more than N alternate streams of one file")
    security_size: int = _limit(132 << 10, "Refuse a security descriptor of more than N bytes")
    all_security_size: int = _limit(64 << 20, "Refuse more than N bytes of different security descriptors in a layer")
    metadata_size: int = _limit(1 << 20, "Refuse more than N bytes of EAs, reparse data and the like of one entry")
    hive_size: int = _limit(192 << 20, "Put no registry hive of more than N bytes together in memory")
    reg_file_size: int = _limit(64 << 20, "Refuse a .reg file of more than N bytes")
    key_paths: int = _limit(1 << 28, "Refuse registry keys whose paths have more than N characters in all")
    chain_length: int = _limit(256, "Refuse more than N parents of a layer")
    json_size: int = _limit(1 << 20, "Refuse a JSON file of a layer directory of more than N bytes")
    record_size: int = _limit(16 << 20, "Refuse a value of more than N bytes in `layer.db`")

    def __post_init__(self) -> None:
        for limit in fields(self):
            if getattr(self, limit.name) < 0:
                raise ValueError(f"limit {limit.name} is {getattr(self, limit.name)}: a limit is not negative")


_limits_in_use = Limits()


def use_limits(limits: Limits) -> None:
    """Says which limits hold in this process wherever a caller gives none of its own.

    Args:
        limits: for every source that is opened from now on.
    """
    global _limits_in_use
    _limits_in_use = limits


def limits_in_use() -> Limits:
    """The limits that `use_limits` set last, or the defaults."""
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
    """One entry of a layer.

    `name` is its path from the layer's root, `/`-separated, spelled as the source spells it ("Files/Windows/INF").
    `info` is None for a tombstone: the name is deleted from the parents. `link_target` is the path, in the same form,
    of the file that a hard link is another name of. `size` is the length of the main data stream.
    """

    name: str
    info: FileBasicInfo | None
    size: int = 0
    security: bytes | None = None
    """Self-relative security descriptor."""
    eas: bytes = b""
    """FILE_FULL_EA_INFORMATION list."""
    reparse: bytes | None = None
    """REPARSE_DATA_BUFFER."""
    link_target: str | None = None
    extra: tuple[ExtraStream, ...] = ()
    header_delta: bytes | None = None
    """What the source's header says beyond the canonical form of this entry (see docs/formats/tar.md)."""
    place: str = ""
    """Where in its source the entry stands, for messages ("offset 1024")."""

    @property
    def is_tombstone(self) -> bool:
        return self.info is None

    @property
    def is_directory(self) -> bool:
        return self.info is not None and self.info.is_directory

    @property
    def is_plain(self) -> bool:
        """True for a file that has nothing besides a name, basic info, a security descriptor and data.

        It may still have alternate data streams, which the entry does not know of.
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
    """The main data stream of an entry (`name` is "") or an alternate one, to be consumed before the next is asked for.

    `chunks` yields the bytes once, in order; `size` is their total. A chunk is valid until the next one is asked for.
    """

    name: str
    size: int
    chunks: Iterable[bytes | memoryview]
    attributes: int = 0
    """Win32 stream attributes (8: sparse)."""
    header_delta: bytes | None = None
    """Of an alternate stream: as `Entry.header_delta`, for its own header."""

    def read_all(self) -> bytes:
        """Returns all of the data as one object."""
        # Each chunk is copied before the next one makes it invalid; `bytes` of a `bytes` object is no copy.
        return b"".join(map(bytes, self.chunks))


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """How many names the current entry's file has in its layer, and the file's 128-bit id."""

    number_of_links: int
    file_id: bytes


class LayerReader(Protocol):
    """Produces a layer's entries in order: parents before children, a hard link's target before the link."""

    def next(self) -> Entry | None:
        """Moves to the next entry; None at the end. What was not read of the current one is skipped."""

    def streams(self) -> Iterator[DataStream]:
        """The data streams of the current entry: the main one first, then the alternate ones."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes of the current entry's Win32 backup stream (-1: all that is left); empty at its end."""

    def link_info(self) -> LinkInfo:
        """The current entry's links."""

    def close(self) -> None:
        """Gives back what the reader holds; calling it again does nothing."""

    def __iter__(self) -> Iterator[Entry]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


class LayerWriter(Protocol):
    """Takes a layer's entries in order. Leaving its context closes it; by an exception, it discards the layer."""

    def add(self, name: str, info: FileBasicInfo) -> None:
        """Starts an entry; its backup stream follows through `write`."""

    def add_link(self, name: str, target: str) -> None:
        """Adds `name` as a further name of the file `target`, of this layer or of a parent."""

    def remove(self, name: str) -> None:
        """Records that `name` is deleted from the parents."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Takes more of the current entry's Win32 backup stream; gives the number of bytes taken: all of them."""

    def put(self, entry: Entry, streams: Iterable[DataStream] = ()) -> None:
        """Adds an entry in its parsed form, with its data."""

    def close(self) -> None:
        """Ends the layer: only now is it there. Calling it again does nothing."""

    def abort(self) -> None:
        """Discards the layer: nothing of it stays behind."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...
