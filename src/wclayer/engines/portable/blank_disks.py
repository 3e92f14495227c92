"""Blank disks: an NTFS volume without files in a VHDX file, and a differencing child of it."""

from __future__ import annotations

from pathlib import Path
from time import time_ns
from uuid import uuid4

from wclayer.formats.ntfs.builder import VolumeBuilder
from wclayer.formats.ntfs.file_metadata import FileMetadata
from wclayer.formats.vhdx.create import create_vhdx
from wclayer.layers.atomic import StagedFile
from wclayer.layers.volume.disk_file import DiskFile, locator_for, partition_data_disk
from wclayer.win32.attributes import FileAttributes
from wclayer.win32.filetime import from_unix_ns
from wclayer.win32.inherit import volume_root

_ROOT_ATTRIBUTES = int(FileAttributes.DIRECTORY | FileAttributes.HIDDEN | FileAttributes.SYSTEM)


def make_blank_pair(base: Path, child: Path, size: int, *, final: Path | None = None) -> None:
    """Makes a disk of `size` bytes with a partition table and an empty NTFS volume, and its differencing child.

    Existing files are left as they are.

    Args:
        base, child: the paths of the two disks.
        final: the folder in which the disks will be at the end, if it is another one.
    """
    if not base.is_file():
        with StagedFile(base, readable=True) as staged, create_vhdx(staged.stream, size) as disk:
            volume = partition_data_disk(disk, uuid4(), (uuid4(), uuid4()))
            now = from_unix_ns(time_ns())
            root = FileMetadata(now, now, now, now, _ROOT_ATTRIBUTES, volume_root().encode())
            VolumeBuilder(
                volume, root, serial=uuid4().int >> 64, time=now, hidden_sectors=volume.offset // disk.sector_size
            ).finish()  # fmt: skip
    if not child.is_file():
        make_child(base, child, final=final)


def make_child(parent: Path, child: Path, *, final: Path | None = None) -> None:
    """Makes the differencing disk `child` on the VHDX file `parent`; see `make_blank_pair`."""
    places = (child, parent) if final is None else (final / child.name, final / parent.name)
    with DiskFile(parent) as above:
        disk = above.vhdx()
        with (
            StagedFile(child, readable=True) as staged,
            create_vhdx(
                staged.stream, disk.size, block_size=disk.metadata.block_size, logical_sector_size=disk.sector_size,
                parent=disk, locator=locator_for(*places, disk),
            ),
        ):  # fmt: skip
            pass
