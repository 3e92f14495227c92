"""What travels between readers and writers: entries, data streams, and the two protocols of the spine.

A layer is a sequence of entries. A `LayerReader` produces it, a `LayerWriter` takes it, and `copy_layer` joins the two.
Both speak two languages: the parsed form (`Entry` and `DataStream`), which is what travels inside, and Win32 backup
streams (`read`, `write`), for callers who know hcsshim's readers and writers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from wclayer.win32.attributes import FileBasicInfo

__all__ = [
    "DataStream",
    "Entry",
    "ExtraStream",
    "LayerReader",
    "LayerWriter",
    "Limits",
    "LinkInfo",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an input is accepted; every bound can be raised by the caller."""

    entries: int = 20_000_000
    """Entries in one layer."""
    total_size: int = 4 << 40
    """Bytes of the decompressed layer."""
    ratio: int = 1000
    """Decompressed bytes for one compressed byte, once 64 MiB have come out."""
    pax_size: int = 1 << 20
    """Bytes of one PAX header or GNU long name."""
    path_length: int = 32_767
    """UTF-16 units of an entry's path: the longest path of the NT object manager."""


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
    form: bytes | None = None
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
    def has_data(self) -> bool:
        """Whether the entry has a main data stream, possibly an empty one."""
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
    form: bytes | None = field(default=None)

    def read_all(self) -> bytes:
        """Everything, as one object."""
        return b"".join(self.chunks)


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
