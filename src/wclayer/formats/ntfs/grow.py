"""Grows an NTFS volume in place, whoever made it.

The larger cluster bitmap is put into free clusters of the old volume, and what is written before the boot sector does
no harm to the volume with its old size; the boot sector, written at once, makes the new size valid. Stopped between
two writes, clusters may be marked as used that nobody uses, which Windows' own checks put right.
"""

from __future__ import annotations

from wclayer.formats.disk import Disk
from wclayer.formats.ntfs import structs
from wclayer.formats.ntfs.runs import Run, encode_runs
from wclayer.formats.ntfs.structs import SECTOR_SIZE, AttributeType, NtfsError, OutOfSpaceError, SystemFile
from wclayer.formats.ntfs.volume import NtfsVolume, StreamAttribute

_DIRTY = 0x0001
_SECTORS_OFFSET = 0x28


def grow_volume(disk: Disk) -> int:
    """Grows the NTFS volume at the start of `disk` to the disk's size; gives the volume's size in bytes.

    A disk that is not larger than the volume by a cluster is left as it is. Stopped anywhere, the volume is sound and
    has its old or its new size.

    Raises:
        NtfsError: there is no sound volume; it was not cleanly unmounted; it cannot have so many clusters.
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
    bits = bytearray(volume.value(bitmap))
    runs = _grow_bitmap(disk, volume, bitmap, bits, old, new)
    disk.flush()
    # The bad-cluster list is a hole as large as the volume; that it is larger does no harm.
    _resize_bad_clusters(disk, volume, new)
    boot = bytearray(disk.read(0, SECTOR_SIZE))
    boot[_SECTORS_OFFSET : _SECTORS_OFFSET + 8] = sectors.to_bytes(8, "little")
    disk.write(sectors * volume.sector_size, bytes(boot))
    disk.flush()
    disk.write(0, bytes(boot))
    disk.flush()
    # What was beyond the old end is marked used in any bitmap, and is free now.
    padding = min(new, -(-old // 64) * 64)
    for cluster in range(old, padding):
        bits[cluster >> 3] &= ~(1 << (cluster & 7)) & 0xFF
    _write_bits(disk, volume, runs, bits, old >> 3, -(-padding // 8))
    disk.flush()
    return sectors * volume.sector_size


def _check_clean(volume: NtfsVolume) -> None:
    information = volume.record(SystemFile.VOLUME).find(AttributeType.VOLUME_INFORMATION)
    if information is None or information.value is None or len(information.value) < structs.VOLUME_INFORMATION.size:
        raise NtfsError("the volume has no information about itself")
    flags = structs.VOLUME_INFORMATION.unpack_from(information.value)[3]
    if flags & _DIRTY:
        raise NtfsError("the volume is marked dirty: Windows has to check it first")


def _grow_bitmap(
    disk: Disk, volume: NtfsVolume, bitmap: StreamAttribute, bits: bytearray, old: int, new: int
) -> list[Run]:
    """Makes the bitmap large enough for `new` clusters; gives where it is then."""
    size = volume.cluster_size
    length = -(-new // 64) * 8
    have = sum(run.length for run in bitmap.runs)
    runs = list(bitmap.runs)
    added = _free_runs(bits, old, -(-length // size) - have) if length > have * size else []
    # The clusters are taken first, in the bitmap as it is.
    for run in added:
        assert run.start is not None
        for cluster in range(run.start, run.start + run.length):
            bits[cluster >> 3] |= 1 << (cluster & 7)
        disk.write(run.start * size, bytes(run.length * size))
    _write_bits(disk, volume, bitmap.runs, bits, 0, len(bits))
    disk.flush()
    for run in added:
        last = runs[-1]
        if last.start is not None and run.start == last.start + last.length:
            runs[-1] = Run(last.start, last.length + run.length)
        else:
            runs.append(run)
    bits += bytes(length - len(bits))
    for cluster in range(new, length * 8):
        bits[cluster >> 3] |= 1 << (cluster & 7)
    _write_bits(disk, volume, runs, bits, old >> 3, length)
    disk.flush()
    if length != bitmap.size or added:
        allocated = sum(run.length for run in runs) * size
        _replace_attribute(disk, volume, SystemFile.BITMAP, "", runs, length, allocated, length)
    return runs


def _free_runs(bits: bytearray, clusters: int, needed: int) -> list[Run]:
    """Free clusters of the volume, in as few runs as the first fit gives."""
    found: list[Run] = []
    cluster = 0
    while needed > 0 and cluster < clusters:
        if not cluster & 7 and bits[cluster >> 3] == 0xFF:
            cluster += 8
            continue
        start = cluster
        while cluster < clusters and cluster - start < needed and not bits[cluster >> 3] >> (cluster & 7) & 1:
            cluster += 1
        if cluster > start:
            found.append(Run(start, cluster - start))
            needed -= cluster - start
        else:
            cluster += 1
    if needed > 0:
        raise OutOfSpaceError("the volume has no free clusters for its larger bitmap")
    return found


def _write_bits(disk: Disk, volume: NtfsVolume, runs: list[Run], bits: bytearray, first: int, end: int) -> None:
    """Writes a part of the bitmap to where its runs are."""
    position = 0
    for run in runs:
        extent = run.length * volume.cluster_size
        start, stop = max(first, position), min(end, position + extent)
        if start < stop and run.start is not None:
            disk.write(run.start * volume.cluster_size + start - position, bytes(bits[start:stop]))
        position += extent


def _resize_bad_clusters(disk: Disk, volume: NtfsVolume, clusters: int) -> None:
    bad = volume.record(SystemFile.BAD_CLUSTERS).find(AttributeType.DATA, "$Bad")
    if bad is None or bad.value is not None:
        return
    have = sum(run.length for run in bad.runs)
    runs = list(bad.runs)
    if runs and runs[-1].start is None:
        runs[-1] = Run(None, runs[-1].length + clusters - have)
    else:
        runs.append(Run(None, clusters - have))
    whole = clusters * volume.cluster_size
    _replace_attribute(disk, volume, SystemFile.BAD_CLUSTERS, "$Bad", runs, whole, whole, bad.initialized)


def _replace_attribute(
    disk: Disk, volume: NtfsVolume, number: int, name: str, runs: list[Run], size: int, allocated: int, initialized: int
) -> None:
    """Gives a non-resident data attribute of a system file other runs and sizes, in its record, in one write."""
    offset = volume.record_offset(number)
    block = bytearray(disk.read(offset, volume.record_size))
    sequence = int.from_bytes(block[_usa(block) : _usa(block) + 2], "little")
    if not structs.unprotect(block):
        raise NtfsError(f"record {number}: it was not written as a whole")
    header = list(structs.RECORD.unpack_from(block))
    position = header[6]
    encoded_name = name.encode("utf-16-le")
    while True:
        kind = int.from_bytes(block[position : position + 4], "little")
        length = int.from_bytes(block[position + 4 : position + 8], "little")
        if kind == structs.ATTRIBUTE_END or not length:
            raise NtfsError(f"record {number}: its data is in another record")
        fields = list(structs.NON_RESIDENT.unpack_from(block, position))
        start = position + fields[4]
        if kind == AttributeType.DATA and fields[2] and block[start : start + 2 * fields[3]] == encoded_name:
            break
        position += length
    pairs = encode_runs(runs)
    fields[8] = sum(run.length for run in runs) - 1
    fields[12], fields[13], fields[14] = allocated, size, initialized
    head = bytes(block[position + structs.NON_RESIDENT.size : position + fields[9]])
    fields[1] = new_length = (fields[9] + len(pairs) + 7) & ~7
    attribute = (structs.NON_RESIDENT.pack(*fields) + head + pairs).ljust(new_length, b"\0")
    rest = bytes(block[position + length : header[8]])
    used = position + new_length + len(rest)
    if used > volume.record_size:
        raise NtfsError(f"record {number}: no room for {len(runs)} runs")
    header[8] = used
    structs.RECORD.pack_into(block, 0, *header)
    block[position:] = (attribute + rest).ljust(volume.record_size - position, b"\0")
    structs.protect(block, sequence % 0xFFFF + 1)
    disk.write(offset, bytes(block))


def _usa(block: bytearray) -> int:
    return int.from_bytes(block[4:6], "little")
