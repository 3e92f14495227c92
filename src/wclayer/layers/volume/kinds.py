"""Recognises disk files by their first or last bytes: supported disks, known unsupported formats, and other files."""

from __future__ import annotations

import io
from enum import Enum
from typing import BinaryIO, NamedTuple

from wclayer.formats.gpt.structs import HEADER_SIGNATURE as GPT_SIGNATURE
from wclayer.formats.gpt.structs import MBR_SIGNATURE
from wclayer.formats.mbr.table import MbrError, read_mbr
from wclayer.formats.ntfs.structs import BOOT_OEM_ID as NTFS_SIGNATURE
from wclayer.formats.vhd.structs import COOKIE as VHD_SIGNATURE
from wclayer.formats.vhdx.structs import IDENTIFIER_SIGNATURE as VHDX_SIGNATURE
from wclayer.layers.volume.raw import RawDisk

_HEAD = 40 << 10
_SECTOR_SIZES = (512, 4096)


class DiskKind(Enum):
    """How a file contains a disk."""

    VHDX = "vhdx"
    VHD = "vhd"
    PARTITIONED = "partitioned"
    """The file is the disk, with a GUID partition table or a master boot record."""
    VOLUME = "volume"
    """The file is an NTFS volume."""
    OTHER = "other"
    """The file may be the disk: it is blank, or starts with a boot sector."""


class _Foreign(NamedTuple):
    offset: int
    signature: bytes
    name: str
    qemu: str = ""
    """The name of the format for qemu-img, if it can convert it."""


_FOREIGN = (
    _Foreign(0, b"QFI\xfb\0\0\0\1", "a QCOW image", "qcow"),
    _Foreign(0, b"QFI\xfb", "a QCOW2 image", "qcow2"),
    _Foreign(0, b"KDMV", "a VMDK disk", "vmdk"),
    _Foreign(0, b"COWD", "a VMDK disk of ESX", "vmdk"),
    _Foreign(0, b"\xbe\xba\xfe\xca\0\0\0\0", "a VMDK disk with space-efficient grains", "vmdk"),
    _Foreign(0, b"# Disk DescriptorFile", "the descriptor of a VMDK disk", "vmdk"),
    _Foreign(0x40, b"\x7f\x10\xda\xbe", "a VDI disk of VirtualBox", "vdi"),
    _Foreign(0, b"QED\0", "a QED image", "qed"),
    _Foreign(0, b"WithoutFreeSpace", "a Parallels disk", "parallels"),
    _Foreign(0, b"WithouFreSpacExt", "a Parallels disk", "parallels"),
    _Foreign(0, b"Bochs Virtual HD Image", "a Bochs disk", "bochs"),
    _Foreign(0, b"LUKS\xba\xbe", "an encrypted LUKS disk"),
    _Foreign(3, b"-FVE-FS-", "a volume encrypted with BitLocker"),
    _Foreign(3, b"ReFS\0", "a ReFS volume"),
    _Foreign(3, b"EXFAT   ", "an exFAT volume"),
    _Foreign(32769, b"CD001", "an ISO 9660 image"),
    _Foreign(32769, b"BEA01", "a UDF image"),
    _Foreign(0, b"MSWIM\0\0\0", "a WIM archive"),
    _Foreign(0, b"WLPWM\0\0\0", "a WIM archive"),
    _Foreign(0, b"EVF\x09\x0d\x0a\xff\0", "an EWF (EnCase) image"),
    _Foreign(0, b"EVF2\x0d\x0a\x81\0", "an EWF (EnCase) image"),
    _Foreign(0, b"LVF\x09\x0d\x0a\xff\0", "an EWF (EnCase) image"),
    _Foreign(0, b"AFF10\r\n\0", "an AFF image"),
    _Foreign(0, b"CIMFILE0", "a composite image (CIM)"),
)
_NO_DISKS = (
    _Foreign(0, b"\x1f\x8b", "a gzip file"),
    _Foreign(0, b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    _Foreign(0, b"\xfd7zXZ\0", "an xz file"),
    _Foreign(0, b"BZh", "a bzip2 file"),
    _Foreign(0, b"PK\3\4", "a ZIP archive"),
    _Foreign(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    _Foreign(0, b"regf", "a registry hive"),
    _Foreign(0, b"SQLite format 3\0", "an SQLite database"),
    _Foreign(0, b"MZ", "a program"),
    _Foreign(257, b"ustar", "a tar"),
)


def foreign_format(file: BinaryIO) -> str | None:
    """Returns why a file in a known, unsupported format is refused, and how to convert it; None for any other file."""
    head = _head(file)
    for kind in _FOREIGN:
        if head.startswith(kind.signature, kind.offset):
            if not kind.qemu:
                return f"is {kind.name}, which is not read"
            return f"is {kind.name}, which is not read; `qemu-img convert -f {kind.qemu} -O vhdx` makes a disk of it"
    return None


def disk_kind(file: BinaryIO) -> DiskKind | None:
    """Returns how a file contains a disk; None if it is not a disk."""
    head = _head(file)
    size = file.seek(0, io.SEEK_END)
    if head.startswith(VHDX_SIGNATURE):
        return DiskKind.VHDX
    if head.startswith(VHD_SIGNATURE):
        return DiskKind.VHD
    # A volume that was copied out of a fixed VHD file may end with the footer of that file.
    if head[3:11] == NTFS_SIGNATURE:
        return DiskKind.VOLUME
    if any(_at(file, size - back, 8) == VHD_SIGNATURE for back in (512, 511)):
        return DiskKind.VHD
    if any(head.startswith(GPT_SIGNATURE, sector) for sector in _SECTOR_SIZES) or _has_mbr(file):
        return DiskKind.PARTITIONED
    sector = head[:512]
    if size and not size % 512 and (sector[-2:] == MBR_SIGNATURE or not any(sector)):
        return DiskKind.OTHER
    return None


def what_else(file: BinaryIO) -> str:
    """Returns a description, for messages, of a file that does not hold a disk."""
    head = _head(file)
    if not head:
        return "an empty file"
    return next((kind.name for kind in _NO_DISKS if head.startswith(kind.signature, kind.offset)), "something else")


def raw_sector_size(file: BinaryIO) -> int:
    """Returns the sector size of a raw disk in bytes, which its partition table shows.

    A GUID partition table starts in the second sector. The entries of a master boot record count in sectors, so the
    position of an NTFS volume shows the size. If neither shows it, the size is 512.
    """
    head = _head(file)
    if head.startswith(GPT_SIGNATURE, 512):
        return 512
    if not _has_mbr(file):
        return 4096 if head.startswith(GPT_SIGNATURE, 4096) else 512
    for size in _SECTOR_SIZES:
        for partition in read_mbr(RawDisk(file, sector_size=size)).partitions:
            if _at(file, partition.offset + 3, len(NTFS_SIGNATURE)) == NTFS_SIGNATURE:
                return size
    return 512


def _has_mbr(file: BinaryIO) -> bool:
    try:
        return bool(read_mbr(RawDisk(file)).partitions)
    except MbrError:
        return False


def _head(file: BinaryIO) -> bytes:
    return _at(file, 0, _HEAD)


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0:
        return b""
    file.seek(offset)
    return file.read(length)


def holds_disk(file: BinaryIO) -> bool:
    """Returns whether a file holds a disk or a volume, even in an unsupported format."""
    return foreign_format(file) is not None or disk_kind(file) not in (None, DiskKind.OTHER)


def starts_disk(head: bytes) -> bool:
    """Returns whether bytes are the beginning of a file that holds a disk."""
    return holds_disk(io.BytesIO(head))
