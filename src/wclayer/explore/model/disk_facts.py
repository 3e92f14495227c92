"""What is known of a disk file and its volume as a whole, as facts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from wclayer.engines.portable.disk import disk_info
from wclayer.errors import FormatError
from wclayer.explore.model.details import Fact, heading, warning
from wclayer.formats.ntfs.structs import (
    VOLUME_INFORMATION,
    VOLUME_IS_DIRTY,
    AttributeType,
    SystemFile,
    VolumeInformation,
)
from wclayer.formats.ntfs.volume import NtfsVolume
from wclayer.inventory.subject.disk_files import DiskFiles
from wclayer.layers.volume.disk_file import PartitionWindow
from wclayer.layers.volume.reader import find_volume
from wclayer.win32.shown import count_text, size_text

_MOST_BITMAP = 64 << 20
"""The largest `$Bitmap` in bytes that is counted."""


def disk_facts(files: DiskFiles) -> Iterator[Fact]:
    """Yields what is known of a disk and its volume.

    Raises:
        LayerError: the disk is damaged, or the host refuses to read it.
    """
    volume = files.volume
    with files.disk.errors():
        yield Fact(volume.label or "-", "label")
        size = volume.clusters * volume.cluster_size
        yield Fact(_size(size), "size")
        used = _used_clusters(volume)
        if used is not None:
            yield Fact(_size(used * volume.cluster_size), "used")
        yield from _ntfs_facts(volume)
        yield Fact("a layer" if files.holds_layer else "a volume of Windows or of data", "holds")
        place = find_volume(files.disk.disk)
    info = disk_info(files.disk.path)
    yield heading("Disk")
    yield Fact(" ".join(filter(None, (info.kind, info.format.upper() if info.format != "raw" else "raw"))), "format")
    yield Fact(_size(info.size), "disk size")
    yield Fact(_size(info.file_size), "file size")
    if info.partition_table is not None:
        yield Fact(f"{info.partition_table}, {count_text(len(info.partitions), 'partition')}", "table")
    if isinstance(place, PartitionWindow):
        yield Fact(f"at {place.offset:,} of the disk", "volume")
    yield Fact(str(info.path), "file")
    for parent in info.parents:
        yield Fact(str(parent), "parent")


def _ntfs_facts(volume: NtfsVolume) -> Iterator[Fact]:
    version = ""
    with suppress(FormatError):
        found = volume.record(SystemFile.VOLUME).find(AttributeType.VOLUME_INFORMATION)
        if found is not None and found.value is not None and len(found.value) >= VOLUME_INFORMATION.size:
            about = VolumeInformation._make(VOLUME_INFORMATION.unpack_from(found.value))
            version = f" {about.major_version}.{about.minor_version}"
            if about.flags & VOLUME_IS_DIRTY:
                yield warning("the volume was not unmounted cleanly: what was written last may be missing")
    yield Fact(f"NTFS{version}, clusters of {size_text(volume.cluster_size)}", "kind")
    yield Fact(f"{volume.serial:016X}", "serial")
    yield Fact(f"{volume.records:,} of {volume.record_size:,} bytes", "records")


def _used_clusters(volume: NtfsVolume) -> int | None:
    """Returns how many clusters are in use; None if that cannot be read."""
    with suppress(FormatError):
        bitmap = volume.record(SystemFile.BITMAP).find(AttributeType.DATA)
        if bitmap is not None and bitmap.size <= _MOST_BITMAP:
            used = sum(int.from_bytes(piece, "little").bit_count() for piece in volume.chunks(bitmap))
            # The bits behind the last cluster are set.
            return used - max(0, 8 * bitmap.size - volume.clusters)
    return None


def _size(size: int) -> str:
    return f"{size_text(size)} ({size:,} bytes)"
