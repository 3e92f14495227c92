"""Every format that has a reader or a writer, for the tests of what all of them promise (`test_contract.py`).

A new format is one class here, which `FORMATS` names: where it writes, where it reads, and what it refuses.
"""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import wclayer
from tests.support import TIME, contents, layer_tar, put_directories, put_file
from wclayer.builder.changes import ChangesReader
from wclayer.builder.workspace import EmptyScratchWriter
from wclayer.engines.portable.base_processing import ProcessingInPlaceWriter, ProcessingLayerWriter
from wclayer.engines.portable.scratch import _ScratchWriter
from wclayer.errors import InvalidDataError, LayerError, NotSupportedError
from wclayer.formats.disk import Disk
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.layers.base import LayerReaderBase, LayerWriterBase
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.in_place import InPlaceLayerWriter
from wclayer.layers.directory.migration import make_scratch
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.directory.scratch import DISK, ScratchDirectory
from wclayer.layers.directory.scratch_writer import ScratchWriter
from wclayer.layers.directory.update import own_directory
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.folder import FolderLayerReader
from wclayer.layers.tar import TarLayerReader, TarLayerWriter
from wclayer.layers.transport import TransportLayerReader, TransportLayerWriter
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.reader import VolumeLayerReader
from wclayer.layers.volume.scratch import ScratchLayerReader
from wclayer.layers.volume.scratch_writer import ScratchVolumeWriter
from wclayer.layers.volume.writer import VolumeLayerWriter
from wclayer.model import LayerReader, LayerWriter
from wclayer.view.flatten import MergedLayerReader
from wclayer.view.rootfs.reader import RootfsReader
from wclayer.win32.attributes import FileAttributes, FileBasicInfo
from wclayer.win32.inherit import volume_root

Build = Callable[[LayerWriter], None]
Row = tuple[Any, ...]
"""What an entry has besides its name (see `tests.support.contents`)."""
Rows = dict[str, Row | None]
"""The entries of a layer by their names; None for those that are only tombstones."""
_VOLUME = 16 << 20
_NOT_STORED = int(FileAttributes.NORMAL | FileAttributes.ENCRYPTED)
"""What a volume says by the absence of others, and what it cannot keep without a key."""


def rows_of(reader: LayerReader) -> Rows:
    """The entries that a reader shows."""
    found: Rows = {}
    for name, *rest in contents(reader):
        if rest != [None]:
            found[str(name)] = tuple(rest)
        else:
            # The name may be made anew.
            found.setdefault(str(name), None)
    return found


def _without(packed: bytes | str, attributes: int) -> bytes | str:
    """A packed basic info without these attributes."""
    if isinstance(packed, str):
        return packed
    info = FileBasicInfo.unpack(packed)
    return replace(info, attributes=info.attributes & ~attributes).pack()


def merged(rows: Rows, parent: Path) -> Rows:
    """What shows in `Files` of a layer with these entries over its parent."""
    shown = rows_of(DirectoryLayerReader(parent))
    for name in (name for name, row in rows.items() if row is None):
        shown = {kept: row for kept, row in shown.items() if not f"{kept}/".startswith(f"{name}/")}
    shown |= {name: row for name, row in rows.items() if row is not None}
    return {name: row for name, row in shown.items() if f"{name}/".startswith("Files/")}


class Part(Enum):
    """What a layer may have, and not every format has a place for."""

    TOMBSTONE = auto()
    TOMBSTONE_ALONE = auto()
    """A tombstone in a directory that is no entry of the layer."""
    TOMBSTONE_IN_UTILITY_VM = auto()
    UTILITY_VM = auto()
    OBJECT_ID = auto()
    PROPERTY_DATA = auto()


TOMBSTONES = (Part.TOMBSTONE, Part.TOMBSTONE_ALONE, Part.TOMBSTONE_IN_UTILITY_VM)


def refusing(*parts: Part, error: type[LayerError] = NotSupportedError) -> dict[Part, type[LayerError]]:
    """Those parts are refused with that error."""
    return dict.fromkeys(parts, error)


class Format(ABC):
    """A folder for layers of one format, with a parent beside them."""

    writes: ClassVar[type[Any] | None]
    """The class of its writers; None: the format is only read."""
    reads: ClassVar[type[Any]]
    refuses: ClassVar[Mapping[Part, type[LayerError]]] = MappingProxyType({})
    """What its writers refuse, and with which error."""
    keeps_metadata = True
    """Its layers have all metadata of their entries; else they have what the host keeps of files."""
    is_volume = False
    """All of its entries have a security descriptor, and alternate streams come in an order of its own."""
    is_staged = True
    """Its writers make something that is not at its place before `close`; else they write into what the caller has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.held = ExitStack()

    @property
    def place(self) -> Path:
        """Where the last layer is, or will be."""
        return self.folder / f"layer{self.count}"

    @property
    def parent(self) -> Path:
        """A base layer, which the layers of this format may refer to."""
        path = self.folder / "parent"
        if not path.exists():
            with DirectoryLayerWriter(path) as writer:
                put_directories(writer, "Files", "Files/deleted", "UtilityVM", "UtilityVM/Files")
                put_file(writer, "Files/deleted/file")
                put_file(writer, "UtilityVM/Files/gone")
        return path

    def prepare(self) -> None:  # noqa: B027 (not every format needs something)
        """Makes what all layers of the format need beside them."""

    def writer(self) -> LayerWriterBase:
        """A writer to a new place."""
        self.held.close()
        self.prepare()
        self.count += 1
        return self._writer()

    @abstractmethod
    def _writer(self) -> LayerWriterBase: ...

    def reader(self) -> LayerReaderBase:
        """A reader of the layer that was written last."""
        self.held.close()
        return self._reader()

    @abstractmethod
    def _reader(self) -> LayerReaderBase: ...

    def make(self, build: Build) -> None:
        """Makes the layer that a function puts together."""
        with self.writer() as writer:
            build(writer)

    def expected(self, rows: Rows) -> Rows:
        """What the reader shows of a layer with these entries."""
        return dict(rows)

    def damage(self) -> None:
        """Damages the layer that was written last: reading all of it is an error."""
        self.held.close()
        path = max((path for path in self.place.rglob("*") if path.is_file() and path.name not in (FILE_NAME, DISK)),
                   key=lambda path: path.stat().st_size)  # fmt: skip
        os.truncate(path, 3)


class Tar(Format):
    writes, reads = TarLayerWriter, TarLayerReader
    is_staged = False
    compression = wclayer.Compression.NONE

    def _writer(self) -> LayerWriterBase:
        self.raw = io.BytesIO()
        return TarLayerWriter(self.raw, str(self.place), compression=self.compression)

    def _reader(self) -> LayerReaderBase:
        return TarLayerReader(io.BytesIO(self.raw.getvalue()), str(self.place))

    def damage(self) -> None:
        self.raw.truncate(len(self.raw.getvalue()) // 2)


class GzipTar(Tar):
    compression = wclayer.Compression.GZIP


class ZstdTar(Tar):
    compression = wclayer.Compression.ZSTD


class Transport(Format):
    writes, reads = TransportLayerWriter, TransportLayerReader
    refuses = refusing(Part.TOMBSTONE_IN_UTILITY_VM)

    def _writer(self) -> LayerWriterBase:
        return TransportLayerWriter(self.place)

    def _reader(self) -> LayerReaderBase:
        return TransportLayerReader(self.place)


class Directory(Format):
    writes: ClassVar[type[Any] | None] = DirectoryLayerWriter
    reads: ClassVar[type[Any]] = DirectoryLayerReader

    def prepare(self) -> None:
        assert self.parent

    def _writer(self) -> LayerWriterBase:
        assert self.writes is not None
        writer: LayerWriterBase = self.writes(self.place, [self.parent])
        return writer

    def _reader(self) -> LayerReaderBase:
        return DirectoryLayerReader(self.place)


class Processed(Directory):
    """What `new_layer_writer` makes."""

    writes = ProcessingLayerWriter


class NewScratch(Directory):
    """What `create_scratch_layer` makes."""

    writes = _ScratchWriter

    def prepare(self) -> None:
        if not (self.folder / "scratch").exists():
            # The first one makes the blank disk that the others copy.
            wclayer.create_scratch_layer(self.folder / "scratch", [self.parent])


class Scratch(Directory):
    """A scratch that is there already, and gets other changes."""

    writes = ScratchWriter
    refuses = refusing(Part.OBJECT_ID, Part.PROPERTY_DATA)
    is_staged = False

    def _writer(self) -> LayerWriterBase:
        DirectoryLayerWriter(self.place, [self.parent]).close()
        make_scratch(self.place / FILE_NAME)
        scratch = self.held.enter_context(ScratchDirectory(self.place))
        return ScratchWriter(scratch, [self.held.enter_context(open_layer(self.parent))])


class EmptyScratch(Directory):
    """The scratch of a build."""

    writes = EmptyScratchWriter


class Changes(Scratch):
    """A scratch that becomes a layer, which always has `Files` and `Hives`."""

    reads = ChangesReader

    def _reader(self) -> LayerReaderBase:
        return ChangesReader(self.place, [self.parent], latest=None, now=TIME)

    def expected(self, rows: Rows) -> Rows:
        files = rows_of(DirectoryLayerReader(self.parent))["Files"]
        hives: Row = (own_directory(TIME).pack(), None, volume_root().encode(), b"", None, (), [])
        return {"Files": files, "Hives": hives, **rows}


class Chain(Directory):
    """A layer that is read together with its parent."""

    reads: ClassVar[type[Any]] = MergedLayerReader

    def _reader(self) -> LayerReaderBase:
        return MergedLayerReader([self.place, self.parent])

    def expected(self, rows: Rows) -> Rows:
        return merged(rows, self.parent)


class Rootfs(Chain):
    """A layer that is read together with its parent, for a plain tar."""

    reads = RootfsReader

    def _reader(self) -> LayerReaderBase:
        return RootfsReader([self.place, self.parent], lambda path, what: None)


class ChangedChain(Scratch):
    """A scratch that is read together with its parent."""

    reads = MergedLayerReader

    def _reader(self) -> LayerReaderBase:
        return MergedLayerReader([self.place, self.parent])

    def expected(self, rows: Rows) -> Rows:
        return merged(rows, self.parent)


class Volume(Format):
    writes: ClassVar[type[Any] | None] = VolumeLayerWriter
    reads: ClassVar[type[Any]] = VolumeLayerReader
    refuses: ClassVar[Mapping[Part, type[LayerError]]] = refusing(*TOMBSTONES, Part.PROPERTY_DATA)
    is_staged = False
    is_volume = True

    def _disk(self) -> Disk:
        file = self.held.enter_context(self.place.open("w+b"))
        file.truncate(_VOLUME)
        return RawDisk(file)

    def _writer(self) -> LayerWriterBase:
        return VolumeLayerWriter(self._disk(), str(self.place), whole=True, serial=7, time=TIME)

    def _reader(self) -> LayerReaderBase:
        return VolumeLayerReader(self.place)

    def expected(self, rows: Rows) -> Rows:
        return {name: row and (_without(row[0], _NOT_STORED), *row[1:]) for name, row in rows.items()}

    def damage(self) -> None:
        self.held.close()
        data = bytearray(self.place.read_bytes())
        # Every record of a file starts with this.
        data[:] = data.replace(b"FILE0", b"FILEX")
        self.place.write_bytes(data)


class VhdxVolume(Volume):
    def _disk(self) -> Disk:
        file = self.held.enter_context(self.place.open("w+b"))
        disk = create_vhdx(file, _VOLUME)
        self.held.callback(disk.flush)
        return disk


class ScratchVolume(Volume):
    """The disk of a scratch, as Windows' container filter leaves it."""

    writes, reads = ScratchVolumeWriter, ScratchLayerReader
    refuses: ClassVar[Mapping[Part, type[LayerError]]] = {
        **refusing(Part.UTILITY_VM, Part.TOMBSTONE_IN_UTILITY_VM, Part.PROPERTY_DATA),
        # A scratch has the directories of all that it changes.
        Part.TOMBSTONE_ALONE: InvalidDataError,
    }

    def prepare(self) -> None:
        assert self.parent

    def _writer(self) -> LayerWriterBase:
        return ScratchVolumeWriter(
            self._disk(), str(self.place), owner=lambda path: None, serial=7, time=TIME, hidden_sectors=0
        )

    def _reader(self) -> LayerReaderBase:
        return ScratchLayerReader(self.place, [self.parent])

    def expected(self, rows: Rows) -> Rows:
        # An empty folder of hives is no change.
        has_hives = any(name.startswith("Hives/") for name in rows)
        return {name: row for name, row in super().expected(rows).items() if name != "Hives" or has_hives}


class Folder(Format):
    """A folder of the host with the files of a layer, which nobody has made a layer of."""

    writes: ClassVar[type[Any] | None] = None
    reads: ClassVar[type[Any]] = FolderLayerReader
    keeps_metadata = False

    def _writer(self) -> LayerWriterBase:
        raise NotImplementedError

    def _reader(self) -> LayerReaderBase:
        return FolderLayerReader(self.place)

    def make(self, build: Build) -> None:
        self.count += 1
        self._lay_out(build)

    def _lay_out(self, build: Build) -> None:
        self.place.mkdir()
        with TarLayerReader(io.BytesIO(layer_tar(build))) as reader:
            for item in reader:
                entry = item.entry
                path = self.place / entry.name
                if entry.is_directory:
                    path.mkdir()
                elif entry.link_target is not None:
                    os.link(self.place / entry.link_target, path)
                else:
                    path.write_bytes(b"".join(stream.read_all() for stream in item.streams() if not stream.name))

    def damage(self) -> None:
        # A layer has no place for it.
        (self.place / "Files" / "zz").symlink_to("elsewhere")


class InPlace(Folder):
    """A folder that becomes a base layer where it is."""

    writes: ClassVar[type[Any] | None] = InPlaceLayerWriter
    reads: ClassVar[type[Any]] = DirectoryLayerReader
    # A base layer has no parents of which it could delete anything.
    refuses = refusing(*TOMBSTONES, error=InvalidDataError)
    is_staged = False

    def _writer(self) -> LayerWriterBase:
        self._lay_out(lambda writer: put_directories(writer, "Files"))
        assert self.writes is not None
        writer: LayerWriterBase = self.writes(self.place)
        return writer

    def _reader(self) -> LayerReaderBase:
        return DirectoryLayerReader(self.place)

    def make(self, build: Build) -> None:
        super().make(build)
        assert self.writes is not None
        with FolderLayerReader(self.place) as reader, self.writes(self.place) as writer:
            copy_layer(reader, writer)

    def damage(self) -> None:
        Format.damage(self)


class ProcessedInPlace(InPlace):
    """What `make_base_layer` makes."""

    writes = ProcessingInPlaceWriter


FORMATS: tuple[type[Format], ...] = (
    Tar, GzipTar, ZstdTar, Transport, Directory, Processed, NewScratch, EmptyScratch, Scratch, Changes, Chain,
    Rootfs, ChangedChain, Volume, VhdxVolume, ScratchVolume, Folder, InPlace, ProcessedInPlace,
)  # fmt: skip
"""The table."""
UNDER_WINE = {
    "BaseLayerReader", "ExportedLayerReader", "HcsLayerWriter", "BaseLayerWriter", "ChildLayerWriter",
}  # fmt: skip
"""Classes of the hcs engine, which calls Windows: `tests/windows/guest/test_layers.py` looks at them."""
