"""Grows an NTFS volume in place. Any program may have made the volume.

The larger cluster bitmap is put into free clusters of the old volume. The writes before the boot sector do no harm to
the volume with its old size; the boot sector, which one write replaces, makes the new size valid. If the process is
stopped between two writes, unused clusters may be marked as used; Windows' own checks repair this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.runs import Run, RunList, encode_runs
from wclayer.formats.ntfs.structs import (
    SECTOR_SIZE,
    AttributeType,
    NonResidentHeader,
    NtfsError,
    OutOfSpaceError,
    RecordHeader,
    SystemFile,
    VolumeInformation,
)
from wclayer.formats.ntfs.volume import NtfsVolume

_PIECE = 1 << 20
_SAME_BYTES = re.compile(rb"\0+|\xff+")
_SECTORS_OFFSET = 0x28
_Writes = list[tuple[int, bytes]]
"""The bytes to write, each with its offset on the disk."""


def grow_volume(disk: Disk) -> int:
    """Grows the NTFS volume at the start of `disk` to the disk's size.

    A disk that is larger than the volume by less than a cluster is left as it is. If the process is stopped at any
    moment, the volume is sound and has its old or its new size.

    Returns:
        The volume's size in bytes.

    Raises:
        NtfsError: there is no sound volume; it was not cleanly unmounted; NTFS does not allow so many clusters.
        OutOfSpaceError: the volume has no free clusters for its larger bitmap.
    """
    volume = NtfsVolume(disk)
    size = volume.cluster_size
    sectors = disk.size // volume.sector_size - 1
    old = volume.sectors * volume.sector_size // size
    new = sectors * volume.sector_size // size
    if new <= old:
        return volume.sectors * volume.sector_size
    if new > structs.MAX_CLUSTERS:
        raise NtfsError(f"{new} clusters of {size} bytes; a volume has at most 2^32")
    _check_clean(volume)
    bitmap = volume.record(SystemFile.BITMAP).find(AttributeType.DATA)
    if bitmap is None or bitmap.value is not None:
        raise NtfsError("the cluster bitmap is not where it should be")
    if any(run.start is None or run.start + run.length > old for run in bitmap.runs):
        raise NtfsError("the cluster bitmap has holes, or is outside of the volume")
    length = -(-new // 64) * 8
    missing = -(-length // size) - bitmap.runs.clusters
    added = _free_runs(volume.chunks(bitmap), old, missing) if missing > 0 else []
    runs = RunList([*bitmap.runs, *added])
    # All checks are here, before the first write.
    changed_bitmap = _changed_record(
        disk, volume, SystemFile.BITMAP, "", list(runs), length, runs.clusters * size, length
    )
    changed_bad_clusters = _resized_bad_clusters(disk, volume, new)
    _take_clusters(disk, size, bitmap.runs, added)
    bits = _Bits(disk, size, runs)
    # The bits of the old bitmap beyond the old end stay set until the volume has its new size.
    bits.fill(-(-old // 64) * 64, new, used=False)
    bits.fill(new, length * 8, used=True)
    disk.flush()
    _write(disk, changed_bitmap)
    disk.flush()
    # The bad-cluster list is a hole as large as the volume. A larger one does no harm.
    _write(disk, changed_bad_clusters)
    boot = bytearray(disk.read(0, SECTOR_SIZE))
    boot[_SECTORS_OFFSET : _SECTORS_OFFSET + 8] = sectors.to_bytes(8, "little")
    disk.write(sectors * volume.sector_size, bytes(boot))
    disk.flush()
    disk.write(0, bytes(boot))
    disk.flush()
    # Every bitmap marks the clusters beyond its end as used. Those beyond the old end are free now.
    bits.fill(old, min(new, -(-old // 64) * 64), used=False)
    disk.flush()
    return sectors * volume.sector_size


def _check_clean(volume: NtfsVolume) -> None:
    information = volume.record(SystemFile.VOLUME).find(AttributeType.VOLUME_INFORMATION)
    if information is None or information.value is None or len(information.value) < structs.VOLUME_INFORMATION.size:
        raise NtfsError("the volume has no information about itself")
    found = VolumeInformation._make(structs.VOLUME_INFORMATION.unpack_from(information.value))
    if found.flags & structs.VOLUME_IS_DIRTY:
        raise NtfsError("the volume is marked dirty: Windows has to check it first")


class _Bits:
    """The cluster bitmap, changed in place.

    Args:
        disk: the disk with the volume.
        cluster_size: bytes of a cluster.
        runs: the clusters of the bitmap.
    """

    def __init__(self, disk: Disk, cluster_size: int, runs: Iterable[Run]) -> None:
        self._disk = disk
        self._cluster_size = cluster_size
        self._runs = list(runs)

    def fill(self, first: int, stop: int, *, used: bool) -> None:
        """Marks the clusters from `first` to the one before `stop` as used or as free."""
        while first < stop:
            start = first >> 3
            end = min(-(-stop // 8), start + _PIECE)
            data = self._read(start, end)
            last = min(stop, end * 8)
            whole = -(-first // 8), last >> 3
            data[whole[0] - start : whole[1] - start] = (b"\xff" if used else b"\0") * max(0, whole[1] - whole[0])
            for cluster in (*range(first, min(whole[0] * 8, last)), *range(max(whole[1] * 8, first), last)):
                bit = 1 << (cluster & 7)
                at = (cluster >> 3) - start
                data[at] = data[at] | bit if used else data[at] & ~bit
            self._write(start, data)
            first = last

    def _read(self, start: int, end: int) -> bytearray:
        return bytearray(b"".join(self._disk.read(place, length) for place, _, length in self._places(start, end)))

    def _write(self, start: int, data: bytearray) -> None:
        for place, offset, length in self._places(start, start + len(data)):
            self._disk.write(place, bytes(data[offset : offset + length]))

    def _places(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yields the pieces with the bytes from `start` to `end`: offset on the disk, offset from `start`, length."""
        position = 0
        for run in self._runs:
            extent = run.length * self._cluster_size
            first, stop = max(start, position), min(end, position + extent)
            if first < stop and run.start is not None:
                yield run.start * self._cluster_size + first - position, first - start, stop - first
            position += extent


def _take_clusters(disk: Disk, size: int, bitmap: Iterable[Run], added: list[Run]) -> None:
    """Fills clusters with zeros, and marks them as used in the current bitmap.

    Args:
        disk: the disk.
        size: bytes of a cluster.
        bitmap: the clusters of the bitmap.
        added: the clusters to take.
    """
    bits = _Bits(disk, size, bitmap)
    for run in added:
        assert run.start is not None
        for offset in range(0, run.length * size, _PIECE):
            disk.write(run.start * size + offset, bytes(min(_PIECE, run.length * size - offset)))
        bits.fill(run.start, run.start + run.length, used=True)
    disk.flush()


def _free_runs(pieces: Iterable[bytes], clusters: int, needed: int) -> list[Run]:
    """Returns `needed` free clusters of a volume: the first ones, in runs.

    Args:
        pieces: the cluster bitmap.
        clusters: how many clusters the volume has.
        needed: how many clusters to find.

    Raises:
        OutOfSpaceError: the volume has fewer free clusters.
    """
    found: list[Run] = []
    for start, stop in _free_ranges(pieces, clusters):
        count = min(stop - start, needed)
        found.append(Run(start, count))
        needed -= count
        if not needed:
            return found
    raise OutOfSpaceError("the volume has no free clusters for its larger bitmap")


def _free_ranges(pieces: Iterable[bytes], clusters: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges of clear bits of a bitmap."""
    start: int | None = None
    cluster = 0
    for piece in pieces:
        position = 0
        while position < len(piece) and cluster < clusters:
            byte = piece[position]
            same = _SAME_BYTES.match(piece, position)
            if same is not None:
                bits = [(byte & 1, (same.end() - position) * 8)]
                position = same.end()
            else:
                bits = [(byte >> bit & 1, 1) for bit in range(8)]
                position += 1
            for is_used, length in bits:
                if is_used and start is not None:
                    yield start, min(cluster, clusters)
                    start = None
                elif not is_used and start is None and cluster < clusters:
                    start = cluster
                cluster += length
    if start is not None:
        yield start, min(cluster, clusters)


def _write(disk: Disk, writes: _Writes) -> None:
    for offset, data in writes:
        disk.write(offset, data)


def _resized_bad_clusters(disk: Disk, volume: NtfsVolume, clusters: int) -> _Writes:
    """Returns the writes that resize the list of bad clusters to a volume of `clusters` clusters."""
    bad = volume.record(SystemFile.BAD_CLUSTERS).find(AttributeType.DATA, "$Bad")
    if bad is None or bad.value is not None:
        return []
    if bad.runs.clusters > clusters:
        raise NtfsError(f"a list of bad clusters for {bad.runs.clusters} clusters, which is more than {clusters}")
    runs = RunList([*bad.runs, Run(None, clusters - bad.runs.clusters)])
    whole = clusters * volume.cluster_size
    return _changed_record(disk, volume, SystemFile.BAD_CLUSTERS, "$Bad", list(runs), whole, whole, bad.initialized)


def _changed_record(
    disk: Disk, volume: NtfsVolume, number: int, name: str, runs: list[Run], size: int, allocated: int, initialized: int
) -> _Writes:
    """Returns the writes of a system file's record and its copy, with new runs and sizes of a non-resident stream."""
    offset = volume.record_offset(number)
    block = bytearray(disk.read(offset, volume.record_size))
    sequence = int.from_bytes(block[_usa(block) : _usa(block) + 2], "little")
    if not structs.unprotect(block):
        raise NtfsError(f"record {number}: it was not written as a whole")
    header = RecordHeader._make(structs.RECORD.unpack_from(block))
    position = header.first_attribute
    encoded_name = name.encode("utf-16-le")
    while True:
        kind = int.from_bytes(block[position : position + 4], "little")
        length = int.from_bytes(block[position + 4 : position + 8], "little")
        if kind == structs.ATTRIBUTE_END or not length or position + structs.NON_RESIDENT.size > len(block):
            raise NtfsError(f"record {number}: its data is in another record")
        fields = NonResidentHeader._make(structs.NON_RESIDENT.unpack_from(block, position))
        start = position + fields.name_offset
        found_name = block[start : start + 2 * fields.name_length]
        if kind == AttributeType.DATA and fields.is_non_resident and found_name == encoded_name:
            break
        position += length
    pairs = encode_runs(runs)
    new_length = (fields.runs_offset + len(pairs) + 7) & ~7
    fields = fields._replace(
        length=new_length, last_vcn=sum(run.length for run in runs) - 1, allocated=allocated, size=size,
        initialized=initialized,
    )  # fmt: skip
    # The name, and everything else before the runs.
    head = bytes(block[position + structs.NON_RESIDENT.size : position + fields.runs_offset])
    attribute = (structs.NON_RESIDENT.pack(*fields) + head + pairs).ljust(new_length, b"\0")
    rest = bytes(block[position + length : header.used])
    used = position + new_length + len(rest)
    if used > volume.record_size:
        raise NtfsError(f"record {number}: no room for {len(runs)} runs")
    structs.RECORD.pack_into(block, 0, *header._replace(used=used))
    block[position:] = (attribute + rest).ljust(volume.record_size - position, b"\0")
    structs.protect(block, sequence % 0xFFFF + 1)
    mirrored = volume.mirror_offset(number)
    return [(place, bytes(block)) for place in (offset, mirrored) if place is not None]


def _usa(block: bytearray) -> int:
    return int.from_bytes(block[4:6], "little")
