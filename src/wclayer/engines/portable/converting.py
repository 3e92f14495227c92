"""`convert_layer`: writes a layer, or a whole chain, as a disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import BinaryIO
from uuid import UUID, uuid4, uuid5

from wclayer._types import StrPath
from wclayer.errors import DiskFullError, InvalidParameterError, during, errors_at
from wclayer.formats.disk import Disk, UnbufferedFile
from wclayer.formats.ntfs.builder import DEFAULT_CLUSTER_SIZE
from wclayer.formats.ntfs.structs import OutOfSpaceError
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.formats.vhdx.image import Vhdx
from wclayer.layers.atomic import OutputFile
from wclayer.layers.copy import copy_layer
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain import as_chain, with_parents
from wclayer.layers.directory.reader import DirectoryLayerReader
from wclayer.layers.inputs import is_standard_input, open_stream
from wclayer.layers.names import NameChecker
from wclayer.layers.progress import Cancelled, Progress, ProgressCallback
from wclayer.layers.tar.reader import TarLayerReader
from wclayer.layers.volume.base_contents import base_contents, is_tar
from wclayer.layers.volume.disk_file import PartitionWindow, partition_data_disk
from wclayer.layers.volume.kinds import starts_disk
from wclayer.layers.volume.raw import RawDisk
from wclayer.layers.volume.writer import Copier, VolumeLayerWriter
from wclayer.model import LayerItem
from wclayer.view.flatten import MergedLayerReader
from wclayer.win32.filetime import from_unix_ns

FORMATS = ("vhdx", "raw", "ntfs")
DEFAULT_SIZE = 20 << 30
_GIB = 1 << 30
_USUAL_RATIO = 8
"""Bytes of a disk for each byte of a tar, which is usually compressed to a third."""
_HEAD = 1024
_VOLUME_OVERHEAD = 8 << 20
"""The size of the volume's own files in bytes; most of it is the log."""
_ENTRY_OVERHEAD = 2560
"""The bytes of an entry's record, plus half of that for the growth of the MFT, and the bytes of its names in a
directory."""
_REPRODUCIBLE = UUID("7b1c2a52-6d0c-5a0c-9f5e-3d8a1d1d9c77")
"""Replaces the random part of a disk's GUIDs if the same layer has to produce the same disk."""


@dataclass(frozen=True, slots=True)
class ConvertResult:
    """The result of a conversion: the size of the disk and of the volume in bytes, and the number of entries."""

    disk_size: int
    volume_size: int
    entries: int
    unencrypted: int
    """The number of entries whose attribute "encrypted" was dropped, because a volume without keys cannot have it."""
    diff_id: str | None = None
    """The digest of the uncompressed tar ("sha256:…"), if the disk was made of a tar."""
    digest: str | None = None
    """The digest of the tar as it was stored."""


@during("convert layer")
def convert_layer(
    layers: StrPath | Sequence[StrPath],
    target: StrPath,
    *,
    to: str = "vhdx",
    size: int | None = None,
    cluster_size: int = DEFAULT_CLUSTER_SIZE,
    alone: bool = False,
    label: str = "",
    reproducible: bool = False,
    progress: ProgressCallback | None = None,
    cancelled: Cancelled | None = None,
) -> ConvertResult:
    """Writes a layer with its parents as a disk, which appears at `target` when it is complete.

    A link is followed. A block device that is large enough is written to directly, as a raw disk or a volume.

    The chain is flattened: the contents of `Files` become the root of an NTFS volume, deleted names are left out, and
    the registry is merged into `Windows/System32/config`. With `alone`, the first layer is written as it is, without
    its parents: `Files`, `Hives` and `UtilityVM` are directories of the volume.

    A tar of one layer without parents is read once, from its beginning to its end, and no layer directory is made.

    Args:
        layers: the layer, or the chain, nearest first. For a single layer, the chain that it records is used. Or the
            tar of one layer: plain, gzip or zstd; a file, or a FIFO.
        to: "vhdx" (dynamic) or "raw" for a disk with a partition table; "ntfs" for the volume alone.
        size: the size of the disk in bytes. The default is 20 GiB, or more if the layer needs it (of a tar: eight times
            the size of the file); for a block device, the size of the device.
        cluster_size: the size of a cluster in bytes: a power of two from 512 to 65,536.
        label: the volume's name.
        reproducible: True if the same layers must produce the same bytes: no random GUIDs, no current time.
        progress, cancelled: see `copy_layer`.

    Raises:
        PathNotFoundError, NotALayerError, CorruptLayerError: a layer cannot be opened.
        InvalidParameterError: no disk can have these sizes; the chain is in the wrong order; `target` lies in a layer,
            or can only be written in order.
        NotSupportedError: with `alone`, the layer has tombstones; without, a tar is that of a layer with parents.
        InvalidDataError, LimitExceededError: a tar is damaged, hostile or too large.
        DiskFullError: the layer does not fit into `size`, or the host's disk is full.
    """
    if to not in FORMATS:
        raise InvalidParameterError(target, f"format {to!r}; possible are {', '.join(FORMATS)}")
    given = as_chain(layers)
    source: _Tar | _Chain
    if len(given) == 1 and is_tar(given[0]):
        source = _Tar(given[0] if is_standard_input(given[0]) else Path(os.path.abspath(given[0])), alone)
    else:
        source = _Chain([Path(os.path.abspath(given[0]))] if alone and len(given) == 1 else with_parents(given), alone)
    identity = _REPRODUCIBLE if reproducible else uuid4()
    place = Path(os.path.abspath(target))
    with ExitStack() as stack:
        stack.enter_context(errors_at(place))
        output = stack.enter_context(OutputFile(target, any_place=True, sources=source.paths))
        disk_size = size or output.room or max(DEFAULT_SIZE, source.needed())
        with errors_at(place, damage=InvalidParameterError):
            stream = UnbufferedFile(output.stream.fileno())
            disk = _new_disk(output, stream, to, disk_size, identity)
            volume = PartitionWindow(disk, 0, disk.size) if to == "ntfs" else _partition(disk, identity)
            # The blocks of a VHDX file have the order of the first writes to them, which is another one if contents are
            # copied beside. Not every host can do that, and the same layers have to give the same file.
            may_copy = to != "vhdx" or not reproducible
            writer = VolumeLayerWriter(
                volume,
                str(place),
                whole=alone,
                cluster_size=cluster_size,
                label=label,
                serial=uuid5(identity, "volume").int >> 64,
                time=0 if reproducible else from_unix_ns(time_ns()),
                hidden_sectors=volume.offset // disk.sector_size,
                names=source.names,
                copier=source.copier(stack, stream.fileno(), disk, volume.offset) if may_copy else None,
            )
        items = source.open(stack)
        try:
            with writer:
                done: Progress = copy_layer(items, writer, progress=progress, cancelled=cancelled)
                source.finish()
        except DiskFullError as error:
            if not isinstance(error.__cause__, OutOfSpaceError):
                raise
            raise DiskFullError(
                place, f"{error.detail}; {source.hint(cluster_size, disk.size - volume.size)}"
            ) from error.__cause__
        disk.flush()
    return ConvertResult(disk_size, volume.size, done.entries, writer.unencrypted, source.diff_id, source.digest)


class _Chain:
    """Layer directories, nearest first, as what is converted."""

    names: NameChecker | None = None
    diff_id: str | None = None
    digest: str | None = None

    def __init__(self, chain: list[Path], alone: bool) -> None:
        self.paths = chain
        self._alone = alone
        self._converted = chain[:1] if alone else chain
        self._lends = False

    def needed(self) -> int:
        """Returns a size of the disk in bytes, in whole GiB, that holds everything in the layers and a quarter more."""
        return (_room_for(self._converted, DEFAULT_CLUSTER_SIZE) * 5 // 4 // _GIB + 1) * _GIB

    def copier(self, stack: ExitStack, target: int, disk: Vhdx | RawDisk, offset: int) -> Copier | None:
        """Returns what copies contents of the layers until `stack` ends, where the host can.

        Args:
            target: the descriptor of the disk's file.
            offset: the offset of the volume on the disk.
        """
        if sys.platform == "linux":
            from wclayer.layers.volume.content_copier import ContentCopier

            self._lends = True
            return stack.enter_context(ContentCopier(target, lambda start, size: disk.reserve(offset + start, size)))
        return None

    def open(self, stack: ExitStack) -> Iterable[LayerItem]:
        """Opens the layers until `stack` ends, and returns what belongs on the volume."""
        reader = DirectoryLayerReader(self.paths[0]) if self._alone else MergedLayerReader(self.paths)
        stack.enter_context(reader)
        if self._lends:
            reader.lend_files()
        return reader

    def finish(self) -> None:
        """Does nothing: layers have no more than their entries."""

    def hint(self, cluster_size: int, around: int) -> str:
        """Returns what to do if the disk is too small; `around` are its bytes besides the volume."""
        room = _room_for(self._converted, cluster_size) + around
        return f"a disk of {room} bytes has room for what the layers hold"


class _Tar:
    """The tar of one layer, read once, as what is converted."""

    def __init__(self, path: StrPath, alone: bool) -> None:
        self.paths = [] if is_standard_input(path) else [path]
        # One checker for both: the reader has checked each entry when the writer asks for its path key.
        self.names = NameChecker(str(path), is_base=False)
        self._alone = alone
        self._path = path
        self._reader: TarLayerReader | None = None
        self.diff_id: str | None = None
        self.digest: str | None = None

    def needed(self) -> int:
        """Returns a size of the disk in bytes that should hold the contents: how many there are is known at the end."""
        if is_standard_input(self._path):
            return 0
        return os.stat(self._path).st_size * _USUAL_RATIO // _GIB * _GIB

    def copier(self, stack: ExitStack, target: int, disk: Vhdx | RawDisk, offset: int) -> Copier | None:
        """Returns None: the contents are in the tar alone."""
        return None

    def open(self, stack: ExitStack) -> Iterable[LayerItem]:
        """Opens the tar until `stack` ends, and returns what belongs on the volume."""
        stream = stack.enter_context(open_stream(self._path))
        if starts_disk(stream.peek(_HEAD)):
            raise InvalidParameterError(self._path, "is a disk, no layer; `wclayer disk convert` converts disks")
        self._reader = stack.enter_context(TarLayerReader(stream, self._path, names=self.names))
        return self._reader if self._alone else base_contents(self._reader, str(self._path))

    def finish(self) -> None:
        """Reads the tar to its end, so that it was checked and its digests are known."""
        assert self._reader is not None
        self._reader.finish()
        self.diff_id, self.digest = self._reader.diff_id, self._reader.digest

    def hint(self, cluster_size: int, around: int) -> str:
        """Returns what to do if the disk is too small."""
        return "a larger size may be stated (--size)"


def _new_disk(output: OutputFile, stream: BinaryIO, to: str, size: int, identity: UUID) -> Vhdx | RawDisk:
    """Returns a new, empty disk of that format, with `size` bytes, in the output's file `stream`."""
    if to == "vhdx":
        output.refuse_device("a VHDX file")
        return create_vhdx(stream, size, disk_id=uuid5(identity, "disk"), write_guid=uuid5(identity, "data"))
    output.make_empty_disk(size)
    return RawDisk(stream, size=size)


def _partition(disk: Disk, identity: UUID) -> PartitionWindow:
    """Writes the partition table of a data disk and returns the data partition."""
    guids = uuid5(identity, "reserved partition"), uuid5(identity, "data partition")
    return partition_data_disk(disk, uuid5(identity, "table"), guids)


def _room_for(chain: Sequence[Path], cluster_size: int) -> int:
    """Returns the size in bytes of a volume that holds all entries of all layers, even if none hides another."""
    total = _VOLUME_OVERHEAD
    for path in chain:
        with open_layer(path) as layer:
            for table, size in (("entries", "size"), ("streams", "size"), ("security", "2 * LENGTH(descriptor)")):
                clusters = f"({size} + {cluster_size - 1}) / {cluster_size}"
                count, needed = layer.query(
                    f"SELECT COUNT(1), IFNULL(CAST(SUM({clusters}) AS INTEGER), 0) FROM {table}"
                ).fetchone()
                total += needed * cluster_size + count * _ENTRY_OVERHEAD
    # The bitmap of the clusters, and the unused parts of the clusters of directories.
    return total + total // 16
