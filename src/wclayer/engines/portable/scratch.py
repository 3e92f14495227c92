"""`create_scratch_layer` and `expand_scratch_size`: the read-write layer of a container, and its disk."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

from wclayer._types import Chain, StrPath
from wclayer.engines.portable.base_processing import BLANK, BLANK_BASE, make_disks
from wclayer.engines.portable.blank_disks import make_child
from wclayer.engines.portable.scratch_disk import reshaping
from wclayer.errors import InvalidParameterError, PathNotFoundError, boundary, during, errors_at
from wclayer.formats.gpt.table import grown_table, read_table, write_table
from wclayer.formats.ntfs.grow import grow_volume
from wclayer.layers.atomic import StagedFile, wait_for_place
from wclayer.layers.directory import open_layer
from wclayer.layers.directory.chain import resolve_chain
from wclayer.layers.directory.database import FILE_NAME
from wclayer.layers.directory.migration import make_scratch
from wclayer.layers.directory.scratch import DISK
from wclayer.layers.directory.writer import DirectoryLayerWriter
from wclayer.layers.inputs import open_any_place
from wclayer.layers.volume.disk_file import DiskFile, PartitionWindow, locator_for


@boundary
class _ScratchWriter(DirectoryLayerWriter):
    """Writes an empty layer with a disk in it."""

    operation = "create scratch layer"

    def _before_commit(self) -> None:
        base = self.chain[-1]
        staged = self._staged.path / DISK
        blank = base / BLANK
        with StagedFile(staged) as copy, open_any_place(blank) as source:
            shutil.copyfileobj(source, copy.stream, 1 << 20)
        # Damage of the copy is damage of the original.
        with DiskFile(blank, parent=base / BLANK_BASE) as opened:
            opened.vhdx()
        with DiskFile(staged, writable=True, parent=base / BLANK_BASE) as opened:
            disk = opened.vhdx()
            with DiskFile(base / BLANK_BASE) as above:
                # The disk must find its parent from its final path.
                disk.set_locator(locator_for(Path(self.target) / DISK, base / BLANK_BASE, above.vhdx()))

    def _before_rename(self) -> None:
        make_scratch(self._staged.path / FILE_NAME)


@during(_ScratchWriter.operation)
def create_scratch_layer(path: StrPath, parents: Chain) -> None:
    """Makes an empty layer with a copy of the base layer's `blank.vhdx`, which finds its parent from its new path."""
    chain = resolve_chain(parents)
    if not chain:
        raise InvalidParameterError(path, "a scratch layer needs at least one parent")
    base = chain[-1]
    # A missing parent, or one that is not a layer, is reported as such, not as a path that cannot be locked.
    open_layer(base).close()
    while True:
        # The two disks belong together: no other process may remove the base layer between the two steps.
        with closing(wait_for_place(base, shared=True)):
            if (base / BLANK).is_file():
                with _ScratchWriter(path, parents):
                    return
        _make_blank(base)


def _make_blank(base: Path) -> None:
    """Makes the blank disk of a base layer if it is missing."""
    with closing(wait_for_place(base)):
        if not (base / BLANK).is_file() and (base / BLANK_BASE).is_file():
            make_child(base / BLANK_BASE, base / BLANK)
    if not (base / BLANK).is_file():
        make_disks(base)


@during("expand scratch")
def expand_scratch_size(path: StrPath, size: int) -> None:
    """Grows the VHDX file, then the partition table, then the NTFS volume."""
    if size < 1:
        raise InvalidParameterError(path, f"a size of {size} bytes")
    place = Path(os.path.abspath(path)) / DISK
    try:
        _expand(place, size)
    except (InvalidParameterError, PathNotFoundError):
        if place.is_file():
            raise
        problem = f"not a scratch layer: it has no {DISK}"
        raise PathNotFoundError(place.parent, problem) from None


def _expand(place: Path, size: int) -> None:
    if not place.is_file():
        raise PathNotFoundError(place, "is not there")
    with (
        errors_at(place),
        reshaping(place.parent) as guid,
        DiskFile(place, writable=True) as opened,
    ):
        disk = opened.vhdx()
        disk.write_guid = guid
        wanted = -(-size // (1 << 20)) << 20
        if wanted > disk.size:
            with errors_at(place, damage=InvalidParameterError):
                disk.resize(wanted)
        # The backup table is still at the end of the smaller disk; the primary table is sufficient.
        table = read_table(disk)
        if table.problems or grown_table(table, disk.size) != table:
            table = grown_table(table, disk.size)
            write_table(disk, table)
        data = table.data_partition
        grow_volume(PartitionWindow(disk, data.offset, data.size))
